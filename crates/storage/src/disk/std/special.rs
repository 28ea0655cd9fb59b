//! What stands in the place of a file, and is none.
//!
//! Whoever opens a pipe waits for somebody at its other end, who need never come, and so does the thread that does it for
//! him. Hence it is looked first, through links: they are followed by an open as well.

use ::std::fs::{self, File, OpenOptions};
use ::std::io::{self, Read};
use ::std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use ::std::path::Path;

use nix::fcntl::OFlag;

/// Opens the file or directory at `path` that is there.
///
/// # Errors
/// `InvalidInput` for a pipe, a socket or a device; any error of the file system.
pub fn open_file(path: &Path, options: &OpenOptions) -> io::Result<File> {
    refuse_special(path)?;
    options.open(path)
}

/// The whole of the small file at `path`.
///
/// # Errors
/// As for [`open_file`]; any error of reading it.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_file(path, File::options().read(true))?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens the directory at `path`, and nothing else.
pub(super) fn open_dir(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let flags = OFlag::O_DIRECTORY.bits();
    options.read(true).custom_flags(flags).open(path)
}

/// Refuses what is neither a file nor a directory. What is not there, or may not be looked at, is left to the open.
///
/// # Errors
/// `InvalidInput` for a pipe, a socket or a device.
pub fn refuse_special(path: &Path) -> io::Result<()> {
    let Ok(found) = fs::metadata(path) else {
        return Ok(());
    };
    let kind = found.file_type();
    let found = match () {
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () if kind.is_char_device() || kind.is_block_device() => "a device",
        () => return Ok(()),
    };
    let message = format!("{} is {found}, and no file", path.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

#[cfg(test)]
mod tests {
    use ::std::os::unix::fs::symlink;
    use ::std::os::unix::net::UnixListener;
    use ::std::path::PathBuf;
    use ::std::sync::mpsc;
    use ::std::thread;
    use ::std::time::Duration;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::super::StdDir;
    use super::super::stream::Stream;
    use super::*;
    use crate::disk::{Dir, Open, block_on};

    /// What comes of opening the file `name` of a directory in each way there is.
    fn opened(dir: &Path, name: &'static str) -> Vec<Option<io::ErrorKind>> {
        let (done, is_done) = mpsc::channel();
        let path = PathBuf::from(dir);
        // Who waits for ever waits beside the test.
        thread::spawn(move || {
            let dir = StdDir::new(&path);
            let mut opened: Vec<_> = [Open::Read, Open::Scan, Open::Write]
                .map(|mode| block_on(dir.open(name, mode)).map(drop))
                .into();
            opened.push(block_on(dir.map(name, |_| true)).map(drop));
            opened.push(Stream::open(&dir, name).map(drop));
            opened.push(read_file(&path.join(name)).map(drop));
            let kinds = opened.into_iter().map(|opened| Some(opened.err()?.kind()));
            done.send(kinds.collect())
        });
        is_done.recv_timeout(Duration::from_secs(20)).expect(name)
    }

    #[test]
    fn a_pipe_a_socket_and_a_device_are_refused_and_nobody_waits_for_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), [1; 4096]).unwrap();
        mkfifo(&path("pipe"), Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        for (name, to) in [
            ("device", "/dev/zero"),
            ("to-pipe", "pipe"),
            ("to-file", "file"),
        ] {
            symlink(to, path(name)).unwrap();
        }
        for name in ["pipe", "socket", "device", "to-pipe"] {
            let refused = opened(folder.path(), name);
            assert_eq!(refused, [Some(io::ErrorKind::InvalidInput); 6], "{name}");
        }
        for name in ["file", "to-file"] {
            assert_eq!(opened(folder.path(), name), [None; 6], "{name}");
        }
        let gone = opened(folder.path(), "gone");
        assert_eq!(gone, [Some(io::ErrorKind::NotFound); 6]);
        let is_dir = open_dir(&path("pipe")).map_err(|error| error.kind());
        assert_eq!(is_dir.unwrap_err(), io::ErrorKind::NotADirectory);
    }
}
