//! A file system of a test's own, in a mount namespace that nobody else sees. As the superuser a
//! small ext4 on a loop device; as anybody else, or without loop devices, a small tmpfs.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use super::folder::Folder;

/// A mounted file system; dropping it unmounts it.
pub(crate) struct Mount {
    holder: Child,
    /// The holder lives as long as this is open, and ends with the test whatever ends that.
    _stdin: ChildStdin,
    point: PathBuf,
    /// What is mounted.
    pub(crate) kind: String,
}

impl Mount {
    /// A file system with room for so many bytes.
    pub(crate) fn small(folder: &Folder, bytes: u64) -> Self {
        Self::try_small(folder, bytes).unwrap_or_else(|| panic!("{ADVICE}"))
    }

    /// The same, if that may be mounted.
    pub(crate) fn try_small(folder: &Folder, bytes: u64) -> Option<Self> {
        let image = folder.path().join("image");
        File::create(&image).unwrap().set_len(bytes).unwrap();
        let made = Command::new("mkfs.ext4")
            .args(["-q", "-m", "0"])
            .arg(&image)
            .status();
        println!("mkfs.ext4: {made:?}");
        // The second argument is the size of what stands in.
        let script = "mount -o loop \"$1\" \"$0\" 2>/dev/null && echo ext4 ||
            { mount -t tmpfs -o size=\"$2\" tmpfs \"$0\" && echo tmpfs; } || exit 1";
        Self::hold(
            folder,
            script,
            &[image.as_os_str(), bytes.to_string().as_ref()],
        )
    }

    /// What a container sees of `lower`, which itself is not written to.
    pub(crate) fn overlay(folder: &Folder, lower: &Path) -> Self {
        let (upper, work) = (folder.path().join("upper"), folder.path().join("work"));
        std::fs::create_dir(&upper).unwrap();
        std::fs::create_dir(&work).unwrap();
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.display(),
            upper.display(),
            work.display()
        );
        let script = "mount -t overlay overlay -o \"$1\" \"$0\" && echo overlay || exit 1";
        let held = Self::hold(folder, script, &[options.as_ref()]);
        held.unwrap_or_else(|| panic!("{ADVICE}"))
    }

    /// Names of hosts, as lines of `/etc/hosts`, that nobody else knows.
    pub(crate) fn hosts(folder: &Folder, lines: &str) -> Self {
        let hosts = folder.path().join("hosts");
        std::fs::write(&hosts, lines).unwrap();
        let script = "mount --bind \"$1\" /etc/hosts && echo hosts || exit 1";
        let held = Self::hold(folder, script, &[hosts.as_ref()]);
        held.unwrap_or_else(|| panic!("{ADVICE}"))
    }

    /// Mounts by a script that is given the mount point and `args`, and says what it mounted; nothing if that may not be.
    fn hold(folder: &Folder, script: &str, args: &[&std::ffi::OsStr]) -> Option<Self> {
        let point = folder.path().join("mounted");
        std::fs::create_dir(&point).unwrap();
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if !is_superuser() {
            command.arg("--map-root-user");
        }
        command.args(["sh", "-c", &format!("{script}\nexec cat")]);
        command.arg(&point).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().unwrap();
        let stdin = holder.stdin.take().unwrap();
        let mut kind = String::new();
        let stdout = holder.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut kind).unwrap();
        let mount = Self {
            holder,
            _stdin: stdin,
            point,
            kind: kind.trim().to_owned(),
        };
        (!mount.kind.is_empty()).then_some(mount)
    }

    /// What a process has to be run through to see it.
    pub(crate) fn wrapper(&self) -> Vec<String> {
        let pid = self.holder.id().to_string();
        let mut words = vec!["nsenter", "--target", &pid, "--mount"];
        if !is_superuser() {
            words.extend(["--user", "--preserve-credentials"]);
        }
        words.into_iter().map(str::to_owned).collect()
    }

    /// A path on it, as those see it who are run through the wrapper.
    pub(crate) fn inside(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }

    /// The same path, as the test sees it.
    pub(crate) fn outside(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        let point = std::fs::canonicalize(&self.point).unwrap();
        root.join(point.strip_prefix("/").unwrap()).join(name)
    }

    /// Fills it to the last byte; removing the file makes room.
    pub(crate) fn fill(&self) -> PathBuf {
        let mut paths = (0..).map(|number| self.outside(&format!("filler-{number}")));
        let path = paths.find(|path| !path.exists()).unwrap();
        let filler = File::create(&path).unwrap();
        for piece in [1 << 20, 4096, 1] {
            let bytes = vec![1; piece];
            while std::io::Write::write_all(&mut &filler, &bytes).is_ok() {}
        }
        let _ = filler.sync_all();
        path
    }
}

/// Takes so many bytes of a filler off again.
pub(crate) fn leave(filler: &Path, bytes: u64) {
    let filler = File::options().write(true).open(filler).unwrap();
    let all = filler.metadata().unwrap().len();
    filler.set_len(all - bytes).unwrap();
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

const ADVICE: &str = "these tests mount file systems: run them as root, or allow user namespaces";

fn is_superuser() -> bool {
    nix::unistd::geteuid().is_root()
}
