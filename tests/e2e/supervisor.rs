//! What a supervisor such as systemd hears of a server, over a socket of the test's own.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};

use crate::support::corelog::Corelog;
use crate::support::deadline::{DEADLINE, until};
use crate::support::folder::Folder;
use crate::support::http;
use crate::support::server::Start;

/// The socket that `NOTIFY_SOCKET` names.
struct Supervisor {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Supervisor {
    /// What fills its socket.
    const FILLING: &str = "STATUS=nobody reads this";

    fn on(folder: &Folder) -> Self {
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { socket, path }
    }

    fn starts(&self, data_dir: &Path) -> Start {
        Start::on(data_dir).env("NOTIFY_SOCKET", self.path.to_str().unwrap())
    }

    /// The lines of the next message.
    fn hears(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).unwrap();
        let text = str::from_utf8(&message[..length]).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Fills what the socket holds for its reader.
    fn hears_no_more(&self) {
        let other = UnixDatagram::unbound().unwrap();
        other.set_nonblocking(true).unwrap();
        while other.send_to(Self::FILLING.as_bytes(), &self.path).is_ok() {}
    }

    /// Whether something was said that nobody heard.
    fn has_more(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let has_more = self.socket.recv(&mut [0; 4096]).is_ok();
        self.socket.set_nonblocking(false).unwrap();
        has_more
    }
}

fn monotonic_us() -> i128 {
    let now: Duration = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap().into();
    now.as_micros().try_into().unwrap()
}

#[test]
fn each_step_of_a_server_is_told() {
    let folder = Folder::new();
    let supervisor = Supervisor::on(&folder);
    let file = folder.file("corelog.toml", b"");
    let data = folder.path().join("data");
    let server = supervisor.starts(&data).arg("--config").arg(&file).start();
    let opening = format!("STATUS=opens the topics of {}", data.display());
    assert_eq!(supervisor.hears(), [opening]);
    let ready = supervisor.hears();
    assert_eq!(ready[0], "READY=1");
    let serves = format!(
        "STATUS=serves at {}; the start found 0 topics, 0 partitions, 0 of them not to be opened",
        server.address()
    );
    assert_eq!(ready[1..], [serves]);
    assert_eq!(http::get(server.ready.admin, "/readyz").0, 200);

    for (text, is_right) in [("scrub-rate = '1MiB'\n", true), ("scrub_rate = 1\n", false)] {
        std::fs::write(&file, text).unwrap();
        let before = monotonic_us();
        server.signal(Signal::SIGHUP);
        let reloading = supervisor.hears();
        assert_eq!(reloading[0], "RELOADING=1");
        let told = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap();
        let told: i128 = told.parse().unwrap();
        assert!((before..=monotonic_us()).contains(&told), "{told}");
        let reloaded = supervisor.hears();
        assert_eq!(reloaded[0], "READY=1");
        let is_wrong = reloaded[1].ends_with("the configuration is wrong: all stays as it was");
        assert_eq!(is_wrong, !is_right, "{reloaded:?}");
    }

    assert_eq!(server.stop().status.code(), Some(0));
    let stopping = supervisor.hears();
    assert_eq!(stopping[0], "STOPPING=1");
    // A supervisor that would wait less killed it in the middle of its flushes.
    assert_eq!(stopping[1], "EXTEND_TIMEOUT_USEC=75000000");
    assert!(!supervisor.has_more(), "nobody asked for a watchdog");
}

#[test]
fn a_watchdog_is_fed_while_the_node_serves_and_not_before_or_after() {
    let folder = Folder::new();
    let supervisor = Supervisor::on(&folder);
    let server = supervisor
        .starts(&folder.path().join("data"))
        .env("WATCHDOG_USEC", "300000")
        .start();
    assert!(supervisor.hears()[0].starts_with("STATUS=opens"));
    assert_eq!(supervisor.hears()[0], "READY=1");
    for _ in 0..5 {
        assert_eq!(supervisor.hears(), ["WATCHDOG=1"]);
    }
    server.signal(Signal::SIGTERM);
    until("it says that it stops", || {
        supervisor.hears() != ["WATCHDOG=1"]
    });
    assert_eq!(server.stop().status.code(), Some(0));
    // One may have been on its way.
    assert!(!supervisor.has_more() || !supervisor.has_more());
}

/// The word that it stops waited for a supervisor that did not read, and nothing stopped.
#[test]
fn a_supervisor_that_does_not_read_keeps_no_server_from_stopping() {
    let folder = Folder::new();
    let supervisor = Supervisor::on(&folder);
    supervisor.hears_no_more();
    let server = supervisor.starts(&folder.path().join("data")).start();
    Corelog::to(&server).run(["topic", "list"]).done();
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0));
    let warning = "the supervisor does not read what it is told";
    assert!(ended.log.contains(warning), "{}", ended.log);
    assert_eq!(supervisor.hears(), [Supervisor::FILLING]);
}

#[test]
fn a_supervisor_that_is_gone_keeps_no_server_from_serving() {
    let folder = Folder::new();
    let supervisor = Supervisor::on(&folder);
    std::fs::remove_file(&supervisor.path).unwrap();
    let server = supervisor.starts(&folder.path().join("data")).start();
    Corelog::to(&server).run(["topic", "list"]).done();
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0));
    let warning = "cannot tell the supervisor; is NOTIFY_SOCKET its socket?";
    assert!(ended.log.contains(warning), "{}", ended.log);
}
