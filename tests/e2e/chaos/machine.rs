//! A machine that is not fit to serve: one sentence that says what to do, an exit code that scripts
//! can rely on, and nothing damaged.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::support::corelog::Corelog;
use crate::support::folder::Folder;
use crate::support::mount::Mount;
use crate::support::server::{Server, Start};

/// A data directory with records in it, left by a server that was killed.
struct Data {
    folder: Folder,
    dir: PathBuf,
}

impl Data {
    fn new() -> Self {
        let folder = Folder::new();
        let dir = folder.path().join("data");
        let server = Start::on(&dir).cores(2).start();
        let corelog = Corelog::to(&server);
        corelog
            .run(["topic", "create", "t", "--partitions", "2"])
            .done();
        for partition in ["0", "1"] {
            let produce = ["produce", "t", "--partition", partition];
            corelog.feed(produce, RECORDS).done();
        }
        server.kill();
        Self { folder, dir }
    }

    fn start(&self) -> Start {
        Start::on(&self.dir).cores(2)
    }

    /// Everything is there, and more can be.
    fn assert_intact(&self) {
        let server = self.start().start();
        assert_whole(&server);
        let corelog = Corelog::to(&server);
        corelog.run(["topic", "create", "more"]).done();
        corelog.feed(["produce", "more"], RECORDS).done();
        assert_eq!(corelog.run(["consume", "more"]).done(), RECORDS);
        let ended = server.stop();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        assert!(!ended.log.contains("quarantine"), "{}", ended.log);
    }
}

fn assert_whole(server: &Server) {
    for partition in ["0", "1"] {
        let consume = ["consume", "t", "--partition", partition];
        let found = Corelog::to(server).run(consume).done();
        assert_eq!(found, RECORDS);
    }
}

/// The one sentence of a start that is refused with `code`.
fn refused(start: &Start, code: i32) -> String {
    let (ended, said) = start.refused();
    assert_eq!(ended, Some(code), "{said}");
    let mut lines = said.lines().filter(|line| line.starts_with("corelog: "));
    let sentence = lines
        .next()
        .unwrap_or_else(|| panic!("no sentence: {said}"));
    assert_eq!(lines.next(), None, "one sentence");
    assert_eq!(said.lines().last(), Some(sentence), "and nothing after it");
    assert!(!said.contains("panicked"), "{said}");
    println!("{sentence}");
    sentence.to_owned()
}

fn confined<const N: usize>(args: [&str; N]) -> Vec<OsString> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/confined.py");
    let words = ["python3", script].into_iter().chain(args);
    words.map(OsString::from).collect()
}

#[test]
fn without_io_uring_it_says_what_to_permit() {
    let data = Data::new();
    let forbidden = confined(["--forbid", "io_uring_setup=EPERM"]);
    let said = refused(&data.start().through(forbidden), 6);
    assert!(said.contains("seccomp profile"), "{said}");
    let missing = confined(["--forbid", "io_uring_setup=ENOSYS"]);
    let said = refused(&data.start().through(missing), 6);
    assert!(said.contains("CONFIG_IO_URING"), "{said}");
    data.assert_intact();
}

#[test]
fn with_too_little_locked_memory_it_says_how_to_raise_it() {
    let data = Data::new();
    for limit in ["0", "65536", "1048576"] {
        let low = confined(["--unprivileged", "--memlock", limit]);
        let said = refused(&data.start().through(low), 6);
        assert!(said.contains("ulimit -l"), "{said}");
        assert!(said.contains("LimitMEMLOCK"), "{said}");
    }
    // What a normal user has is enough.
    let normal = confined(["--unprivileged", "--memlock", "8388608"]);
    let server = data.start().through(normal).start();
    assert_whole(&server);
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    data.assert_intact();
}

#[test]
fn what_may_not_be_written_is_denied_by_name() {
    let data = Data::new();
    let set_mode = |path: &Path, mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, permissions).unwrap();
    };
    let node = data.dir.join("node");
    // Without the right to make the directory, to write in it, to read what is in it.
    let (locked, fresh) = (data.folder.path().join("locked"), data.folder.path());
    std::fs::create_dir(&locked).unwrap();
    for (path, mode, dir) in [
        (&locked, 0o500, locked.join("data")),
        (&locked, 0o500, locked.clone()),
        (&node, 0o400, data.dir.clone()),
        (&node, 0o000, data.dir.clone()),
    ] {
        set_mode(path, mode);
        let start = Start::on(&dir).through(confined(["--unprivileged"]));
        let said = refused(&start, 6);
        set_mode(path, 0o700);
        assert!(said.contains(&*dir.to_string_lossy()), "{said}");
    }
    assert!(fresh.join("locked").read_dir().unwrap().next().is_none());
    data.assert_intact();
}

#[test]
fn a_directory_that_another_process_has_locked_is_left_alone() {
    let data = Data::new();
    let node = std::fs::File::open(data.dir.join("node")).unwrap();
    node.lock().unwrap();
    let said = refused(&data.start(), 1);
    assert!(said.contains("in use by another process"), "{said}");
    node.unlock().unwrap();

    let server = data.start().start();
    for _ in 0..3 {
        let said = refused(&data.start(), 1);
        assert!(said.contains("in use by another process"), "{said}");
    }
    assert_whole(&server);
    server.kill();
    data.assert_intact();
}

#[test]
fn any_port_that_is_taken_is_named() {
    let data = Data::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    // The shared port, the first core's, the second core's.
    for below in 0..=2 {
        let listen = SocketAddr::new(address.ip(), address.port() - below);
        let start = data.start().arg("--listen").arg(listen.to_string());
        let said = refused(&start, 1);
        assert!(said.contains("--listen"), "{said}");
        // Of ports in a row one before may be taken too, by somebody else.
        let is_named = (0..=below).any(|above| {
            let port = SocketAddr::new(address.ip(), listen.port() + above);
            said.contains(&port.to_string())
        });
        assert!(is_named, "{said}");
    }
    let start = data.start().arg("--admin").arg(address.to_string());
    let said = refused(&start, 1);
    assert!(said.contains(&address.to_string()), "{said}");
    assert!(said.contains("--admin"), "{said}");
    drop(taken);
    data.assert_intact();
}

#[test]
fn an_overlay_is_refused_and_not_written_to() {
    let data = Data::new();
    let mount = Mount::overlay(&data.folder, &data.dir);
    let start = Start::on(&mount.inside("")).through(mount.wrapper());
    let said = refused(&start, 6);
    assert!(said.contains("overlay"), "{said}");
    assert!(said.contains("ext4 or xfs"), "{said}");
    let upper = data.folder.path().join("upper");
    assert!(upper.read_dir().unwrap().next().is_none());
    drop(mount);
    data.assert_intact();
}

const RECORDS: &[u8] = b"one\ntwo\nthree\n";
