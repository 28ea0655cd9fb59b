//! Starting, refusing to start, and stopping.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use crate::support::brake::Brake;
use crate::support::corelog::Corelog;
use crate::support::deadline::{Watch, output_of, until};
use crate::support::folder::Folder;
use crate::support::http;
use crate::support::server::{Ready, Server, Start};

/// A machine of too little memory was found out hours later, when the kernel ended the server.
#[test]
fn a_server_that_may_take_more_than_there_is_says_so_at_its_start() {
    let folder = Folder::new();
    let start = |memory| Start::on(folder.path()).cores(1).arg(memory).start();
    let log = start("--traffic-memory=9000GiB").stop().log;
    assert!(log.contains("1 cores may come to take"), "{log}");
    let log = start("--traffic-memory=198MiB").stop().log;
    assert!(!log.contains("may come to take"), "{log}");
    assert!(!log.contains("more cores than processors"), "{log}");
}

#[test]
fn a_server_says_where_it_listens_and_stops_on_sigterm_and_sigint() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let folder = Folder::new();
        let server = Start::on(&folder.path().join("data")).cores(2).start();
        let ready = server.ready.clone();
        assert_eq!(ready.cores.len(), 2);
        assert_ne!(ready.listen.port(), 0);
        assert!(ready.data.is_absolute());
        assert!(ready.data.join("node").is_file());
        let ended = server.end(signal);
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    }
}

#[test]
fn memory_that_is_taken_at_the_start_is_there_before_anyone_is_served_and_stays() {
    let folder = Folder::new();
    let args = [
        "--tail-memory=8MiB",
        "--traffic-memory=198MiB",
        "--prealloc-memory",
    ];
    let start = Start::on(&folder.path().join("data")).cores(2);
    // Whatever else it is told of memory that is free.
    let start = start.env("MIMALLOC_PURGE_DELAY", "0");
    let server = args.into_iter().fold(start, Start::arg).start();
    let is_taken = || 2 * (206 << 20) <= server.resident_bytes();
    assert!(is_taken(), "{} bytes", server.resident_bytes());
    let line = [[b'a'; 1023].as_slice(), b"\n"].concat();
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    corelog.feed(["produce", "t"], &line.repeat(8 << 10)).done();
    assert!(is_taken(), "{} bytes", server.resident_bytes());
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert!(ended.log.contains("took memory"), "{}", ended.log);
}

#[test]
fn more_memory_at_the_start_than_the_machine_has_is_refused_with_what_to_do() {
    let folder = Folder::new();
    let start = Start::on(&folder.path().join("data")).arg("--prealloc-memory");
    let (code, said) = start.arg("--tail-memory=1048576GiB").refused();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("MiB left, of which"), "{said}");
}

/// It promised what is durable, without a word.
#[test]
fn a_data_directory_in_memory_is_served_and_warned_of() {
    let folder = Folder::in_memory();
    let ended = Server::start(&folder.path().join("data")).stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let warnings = ended
        .log
        .lines()
        .filter(|line| line.contains("WARN") && line.contains("is memory: all of it is lost"));
    assert_eq!(warnings.count(), 1, "{}", ended.log);
}

/// Which only a binary shows that was linked as it is meant to be.
#[test]
fn completions_do_not_interrupt_a_core() {
    let folder = Folder::new();
    let start = Start::on(&folder.path().join("data")).cores(2);
    let log = ["--log", "info,corelog_node::rt::executor=debug"];
    let server = log.into_iter().fold(start, Start::arg).start();
    let log = server.stop().log;
    let told = log
        .lines()
        .filter(|line| line.contains("completions do not interrupt"));
    let rings: Vec<_> = told.collect();
    assert_eq!(rings.len(), 2, "{log}");
    let release = nix::sys::utsname::uname().unwrap();
    let release = release.release().to_str().unwrap();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse());
    let version: [u32; 2] = [(); 2].map(|()| numbers.next().unwrap().unwrap());
    let is_known = version >= [5, 19];
    let has_none = |line: &&str| line.contains("rings=0");
    assert_eq!(!rings.iter().any(has_none), is_known, "{release}: {log}");
}

#[test]
fn a_start_takes_less_than_a_second() {
    let folder = Folder::new();
    // The first start of a directory makes it, the second finds it; the best of some counts, as the tests around it
    // share the cores.
    let mut best = Duration::MAX;
    let is_soon = |_| {
        let began = Instant::now();
        let server = Server::start(folder.path());
        best = best.min(began.elapsed());
        server.stop();
        best < Duration::from_secs(1)
    };
    let is_any_soon = (0..30).any(is_soon);
    assert!(is_any_soon, "{best:?}");
}

#[test]
fn a_second_server_on_a_directory_is_refused_and_harms_nothing() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    let (code, said) = Start::on(folder.path()).refused();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("in use by another process"), "{said}");
    corelog.feed(["produce", "t"], b"still\n").done();
    assert_eq!(corelog.run(["consume", "t"]).done(), b"still\n");
}

#[test]
fn an_address_that_others_reach_needs_insecure() {
    let folder = Folder::new();
    for option in ["--listen", "--admin"] {
        let (code, said) = Start::on(folder.path())
            .arg(option)
            .arg("0.0.0.0:0")
            .refused();
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("--insecure"), "{said}");
    }
    let server = Start::on(folder.path())
        .arg("--listen")
        .arg("0.0.0.0:0")
        .arg("--advertise=localhost")
        .arg("--insecure")
        .start();
    assert!(server.ready.listen.ip().is_unspecified());
    server.stop();
    let server = Start::on(folder.path())
        .arg("--listen")
        .arg("0.0.0.0:0")
        .env("CORELOG_NODE_ADVERTISE", "localhost")
        .env("CORELOG_NODE_INSECURE", "1")
        .start();
    server.stop();
}

#[test]
fn a_file_system_that_cannot_keep_promises_is_refused() {
    let (code, said) = Start::on(Path::new("/proc/corelog-data")).refused();
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains("ext4 or xfs"), "{said}");
}

#[test]
fn a_directory_that_cannot_be_written_is_denied() {
    let folder = Folder::new();
    let dir = folder.path().join("data");
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o500)).unwrap();
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        // Root may write anywhere: a file in the place of the directory stands in.
        std::fs::remove_dir(&dir).unwrap();
        std::fs::write(&dir, "not a directory").unwrap();
    }
    let (code, said) = Start::on(&dir).refused();
    assert_eq!(code, Some(if is_root { 1 } else { 6 }), "{said}");
    assert!(said.contains(&*dir.to_string_lossy()), "{said}");
}

#[test]
fn too_little_locked_memory_is_denied() {
    let folder = Folder::new();
    let start = Start::on(folder.path()).command();
    let mut limited = Command::new("bash");
    limited
        .args(["-c", r#"ulimit -l 64; exec "$0" "$@""#])
        .arg(start.get_program());
    limited.args(start.get_args());
    limited.envs(
        start
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    limited.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = output_of(limited.spawn().unwrap(), "a start with little memory");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("LimitMEMLOCK"), "{said}");
}

#[test]
fn wrong_options_and_configurations_are_wrong_usage() {
    let folder = Folder::new();
    let config = folder.file("corelog.toml", b"data_dir = 'x'\n");
    let start = Start::on(folder.path()).arg("--config").arg(config);
    let (code, said) = start.refused();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("data_dir"), "{said}");
    let (code, said) = Start::on(folder.path()).cores(0).refused();
    assert_eq!(code, Some(2), "{said}");
}

/// Whoever asks for a log that is not kept would notice too late.
#[test]
fn a_log_that_cannot_be_meant_is_wrong_usage() {
    let folder = Folder::new();
    for (variable, value) in [
        ("CORELOG_NODE_LOG", "corelog_node=loud"),
        ("CORELOG_NODE_LOG_FORMAT", "xml"),
    ] {
        let start = Start::on(&folder.path().join("data")).env(variable, value);
        let (code, said) = start.refused();
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(variable), "{said}");
    }
}

#[test]
fn a_node_file_that_is_damaged_is_said_as_damage() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Server::start(&data);
    Corelog::to(&server).run(["topic", "create", "t"]).done();
    assert!(server.stop().status.success());
    let node = data.join("node");
    let bytes = std::fs::read(&node).unwrap();
    let mut rotten = bytes.clone();
    rotten[20] ^= 1;
    // One that is longer than a block ended with 1, and with advice about permissions and space.
    for more in [
        rotten,
        [&bytes[..], &[0; 9]].concat(),
        [&bytes[..], &[0; 9_000]].concat(),
    ] {
        std::fs::write(&node, more).unwrap();
        let (code, said) = Start::on(&data).refused();
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("does not name a node"), "{said}");
        assert!(said.contains("from a backup"), "{said}");
    }
}

/// It may be a program of that name where somebody meant another directory.
#[test]
fn a_long_file_of_a_node_s_name_is_not_written_over_in_a_directory_without_topics() {
    let folder = Folder::new();
    let long = [7; 5_000];
    let node = folder.file("node", &long);
    let (code, said) = Start::on(folder.path()).refused();
    assert_eq!(code, Some(3), "{said}");
    assert_eq!(std::fs::read(node).unwrap(), long);
}

#[test]
fn a_configuration_file_and_the_environment_are_heeded() {
    let folder = Folder::new();
    let config = folder.file("corelog.toml", b"advertise = 'localhost'\n");
    let data = folder.path().join("data");
    let server = Start::on(&data)
        .arg("--config")
        .arg(config)
        .env("CORELOG_NODE_LOG", "debug")
        .start();
    // Clients are told the advertised name, and find the server by it.
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    corelog.feed(["produce", "t"], b"found\n").done();
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0));
    assert!(!ended.log.is_empty(), "debug says something");
}

#[test]
fn topics_and_records_survive_a_stop_and_a_kill() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    Corelog::to(&server)
        .run(["topic", "create", "t", "--retention-age", "7d"])
        .done();
    Corelog::to(&server).feed(["produce", "t"], b"one\n").done();
    assert_eq!(server.stop().status.code(), Some(0));

    let server = Server::start(folder.path());
    Corelog::to(&server).feed(["produce", "t"], b"two\n").done();
    server.kill();

    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    assert_eq!(corelog.run(["consume", "t"]).done(), b"one\ntwo\n");
    let topic = corelog
        .run(["topic", "describe", "t", "--output", "json"])
        .json();
    assert_eq!(topic["policy"]["retention_age_ms"], 7 * 86_400_000);
}

/// A log line that could not be written was told of on the same stderr, which panicked.
#[test]
fn a_server_goes_on_when_nobody_reads_its_log_any_more() {
    let folder = Folder::new();
    let start = Start::on(folder.path()).arg("--log").arg("debug");
    let mut child = start.command().spawn().unwrap();
    let _watch = Watch::over(child.id(), "a server whose log nobody has");
    drop(child.stderr.take());
    let mut ready = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut ready).unwrap();
    let ready = Ready::parse(ready.trim_end()).expect("it serves");
    let corelog = Corelog::at(&ready.listen.to_string());
    corelog.run(["topic", "create", "events"]).done();
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The buffer of the pipe fills. The core that logged next stood still in its line, then whoever else logged:
/// the other cores, the watchdog, and who was to stop the server.
#[test]
fn a_server_whose_log_is_open_and_never_read_goes_on_and_stops() {
    let folder = Folder::new();
    let start = Start::on(folder.path()).cores(2).arg("--log").arg("trace");
    let (mut unread, log) = std::io::pipe().unwrap();
    fcntl(&log, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let mut child = start.command().stderr(log).spawn().unwrap();
    let _watch = Watch::over(child.id(), "a server whose log nobody reads");
    let mut ready = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut ready).unwrap();
    let ready = Ready::parse(ready.trim_end()).expect("it serves");
    let corelog = Corelog::at(&ready.listen.to_string());
    let partitions = ["topic", "create", "t", "--partitions", "2"];
    corelog.run(partitions).done();
    for _ in 0..20 {
        corelog.feed(["produce", "t"], b"a\nb\nc\n").done();
    }
    assert_eq!(http::get(ready.admin, "/readyz").0, 200);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut log = Vec::new();
    unread.read_to_end(&mut log).unwrap();
    let log = String::from_utf8_lossy(&log);
    assert!(!log.contains("stopping"), "nothing kept it: {log}");
}

/// The end of a pipe to write to, once somebody waits for what comes out of it.
fn awaited(pipe: &Path) -> File {
    let mut opening = File::options();
    let opening = opening.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let mut end = None;
    until("somebody reads it", || {
        end = opening.open(pipe).ok();
        end.is_some()
    });
    end.unwrap()
}

/// Asks a server that does not serve yet to stop, and gives what it logged.
fn stopped(child: Child, signal: Signal) -> String {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
    let output = output_of(child, "a server that does not serve yet");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(output.stdout.is_empty());
    said
}

/// Signals were taken only once everything was open, however long that took.
#[test]
fn a_server_that_does_not_serve_yet_ends_when_it_is_told_to() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let folder = Folder::new();
        let brake = Brake::on(&folder.path().join("place"));
        let child = Start::on(folder.path()).command().spawn().unwrap();
        brake.await_one();
        let said = stopped(child, signal);
        assert!(said.contains("INFO"), "it logs by then: {said}");
        assert!(said.contains("stopped before it served"), "{said}");
    }
}

/// What was typed as its file was a terminal, or a pipe that nobody wrote to: only a kill ended it.
#[test]
fn a_server_that_waits_for_its_configuration_ends_when_it_is_told_to() {
    let folder = Folder::new();
    let file = folder.path().join("file");
    mkfifo(&file, Mode::S_IRWXU).unwrap();
    let start = Start::on(&folder.path().join("data"));
    let child = start.arg("--config").arg(&file).command().spawn().unwrap();
    let _silent = awaited(&file);
    let said = stopped(child, Signal::SIGTERM);
    assert!(said.contains("stopped before it served"), "{said}");
}

/// The cores are in the midst of it: one partition is recovered, and of another the disk gives nothing.
#[test]
fn a_server_that_recovers_ends_when_it_is_told_to_and_the_next_start_finds_everything() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Server::start(&data);
    let corelog = Corelog::to(&server);
    corelog
        .run(["topic", "create", "t", "--partitions", "2"])
        .done();
    for partition in ["0", "1"] {
        let produce = ["produce", "t", "--partition", partition];
        corelog.feed(produce, b"a\nb\n").done();
    }
    server.kill();
    let home = data.join("topics/t");
    let brake = Brake::on(&home.join("1/mark"));
    let manifest = || std::fs::read(home.join("0/manifest")).unwrap();
    let before = manifest();
    let child = Start::on(&data).command().spawn().unwrap();
    // Whoever was not closed begins an epoch.
    until("one is recovered", || manifest() != before);
    let said = stopped(child, Signal::SIGTERM);
    assert!(said.contains("stopped before it served"), "{said}");
    drop(brake);
    let server = Server::start(&data);
    let corelog = Corelog::to(&server);
    for partition in ["0", "1"] {
        let consume = ["consume", "t", "--partition", partition];
        assert_eq!(corelog.run(consume).text(), "a\nb\n");
    }
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
}
