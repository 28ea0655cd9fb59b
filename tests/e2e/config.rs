//! What a server is told: checked and shown without one, read again by one that runs, heeded.

use std::io::Read as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use crate::support::corelog::{Called, Corelog};
use crate::support::deadline::{DEADLINE, output_of, until};
use crate::support::folder::Folder;
use crate::support::http;
use crate::support::server::{Server, Start};

fn check(text: &str) -> (Folder, Called) {
    let folder = Folder::new();
    let file = folder.file("corelog.toml", text.as_bytes());
    let args = ["config", "check", file.to_str().unwrap()];
    let called = Corelog::offline().run(args);
    (folder, called)
}

/// A server on `file`, and where it logs.
fn start(folder: &Folder, file: &Path) -> (Server, PathBuf) {
    let log = folder.path().join("log");
    let script = format!(r#"exec "$0" "$@" 2>{}"#, log.display());
    let server = Start::on(&folder.path().join("data"))
        .through(["bash", "-c", &script])
        .arg("--config")
        .arg(file)
        .start();
    (server, log)
}

fn wait_for(log: &Path, words: &[&str]) {
    until(&format!("{words:?} in the log"), || {
        let text = std::fs::read_to_string(log).unwrap();
        text.lines()
            .any(|line| words.iter().all(|word| line.contains(word)))
    });
}

#[test]
fn a_right_file_is_good_and_shows_what_it_changes() {
    let (folder, called) = check("# mine\ncores = 3\nadvertise = 'log1'\n");
    let said = called.text();
    let place = format!("{}:2", folder.path().join("corelog.toml").display());
    let cores = said.lines().find(|line| line.starts_with("cores")).unwrap();
    assert!(cores.contains("  3  "), "{said}");
    assert!(cores.ends_with(&place), "{said}");
    assert!(!said.contains("scrub-rate"), "{said}");
    assert!(said.contains("good"), "{said}");
    let (_folder, called) = check("");
    assert_eq!(called.text(), "good: every setting is at its default\n");
}

#[test]
fn a_wrong_file_is_wrong_usage_and_every_line_is_named() {
    let (_folder, called) = check("cores = 1\ndata_dir = 'x'\nscrub-rate = '8MB'\n");
    let said = called.failed(2);
    assert!(
        said.contains("line 2: there is no key `data_dir`, did you mean `data-dir`?"),
        "{said}"
    );
    assert!(
        said.contains("line 3: scrub-rate: `8MB` is no size"),
        "{said}"
    );
    let (_folder, called) = check("listen = '0.0.0.0:7400'\n");
    assert!(called.failed(2).contains("--insecure"));
    let missing = Corelog::offline().run(["config", "check", "/no/such/file"]);
    assert!(missing.failed(2).contains("/no/such/file"));
}

#[test]
fn each_setting_is_shown_with_who_said_it() {
    let folder = Folder::new();
    let file = folder.file("corelog.toml", b"scrub-rate = '1MiB'\ninsecure = true\n");
    let file = file.to_str().unwrap();
    let args = ["config", "show", "--config", file, "--cores", "2"];
    let mut command = Corelog::offline().command(args.into_iter().chain(["--output", "json"]));
    command.env("CORELOG_NODE_STOP_TIMEOUT", "9s");
    let output = output_of(command.spawn().unwrap(), "config show");
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["file"], file);
    let told = |key: &str| {
        let settings = shown["settings"].as_array().unwrap();
        let setting = settings.iter().find(|setting| setting["key"] == key);
        let setting = setting.unwrap();
        json!([setting["value"], setting["origin"], setting["place"]])
    };
    let line = |line| format!("{file}:{line}");
    assert_eq!(told("scrub-rate"), json!(["1MiB", "file", line(1)]));
    assert_eq!(told("insecure"), json!([true, "file", line(2)]));
    assert_eq!(told("cores"), json!([2, "flag", "--cores"]));
    let variable = "CORELOG_NODE_STOP_TIMEOUT";
    let stop_timeout = told("stop-timeout");
    assert_eq!(stop_timeout, json!(["9s", "environment", variable]));
    assert_eq!(told("log"), json!(["info", "default", null]));
    assert_eq!(told("advertise"), json!([null, "default", null]));
    let table = Corelog::offline().run(args).text();
    let count = shown["settings"].as_array().unwrap().len();
    assert_eq!(table.lines().count(), 1 + count, "{table}");
}

#[test]
fn a_variable_that_is_no_setting_stops_a_start() {
    let folder = Folder::new();
    let start = Start::on(folder.path()).env("CORELOG_NODE_SCRUBRATE", "1MiB");
    let output = output_of(start.command().spawn().unwrap(), "a start that fails");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("did you mean CORELOG_NODE_SCRUB_RATE?"),
        "{said}"
    );
}

#[test]
fn a_running_server_takes_over_what_can_change_and_tells_of_the_rest() {
    let folder = Folder::new();
    let file = folder.file("corelog.toml", b"log = 'warn'\n");
    let (server, log) = start(&folder, &file);
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(!said.contains("INFO"), "{said}");
    let is_refused = |wanted| {
        until("the metrics tell whether it is refused", || {
            http::metric(server.ready.admin, "corelog_configuration_refused") == wanted
        });
    };
    is_refused(0.0);

    let changed =
        "log = 'info'\nscrub-rate = '1MiB'\ntransfer-rate = '1MiB'\nstop-timeout = '2s'\n";
    std::fs::write(&file, changed).unwrap();
    server.signal(Signal::SIGHUP);
    wait_for(
        &log,
        &["WARN", "takes effect with a restart", "stop-timeout", "2s"],
    );
    wait_for(&log, &["INFO", "changed a setting", "key=log", "info"]);

    std::fs::write(&file, "scrub-rate = '3MiB'\nscrub_rate = '3MiB'\n").unwrap();
    server.signal(Signal::SIGHUP);
    wait_for(
        &log,
        &["ERROR", "stays as it was", "line 2", "`scrub-rate`?"],
    );
    is_refused(1.0);

    std::fs::write(&file, changed.replace("1MiB", "2MiB")).unwrap();
    server.signal(Signal::SIGHUP);
    for key in ["key=scrub-rate", "key=transfer-rate"] {
        wait_for(&log, &["changed a setting", key, "1MiB", "2MiB"]);
    }
    is_refused(0.0);

    Corelog::to(&server).run(["topic", "list"]).done();
    assert_eq!(server.stop().status.code(), Some(0));
    wait_for(&log, &["INFO", "stopped"]);
}

/// It waited for somebody who writes, and heard of no stop; what had come out of a pipe went back to the defaults.
#[test]
fn a_running_server_reads_nothing_again_that_is_no_file_and_stops() {
    let folder = Folder::new();
    let file = folder.file("corelog.toml", b"log = 'info'\n");
    let (server, log) = start(&folder, &file);
    std::fs::remove_file(&file).unwrap();
    mkfifo(&file, Mode::S_IRWXU).unwrap();
    server.signal(Signal::SIGHUP);
    wait_for(&log, &["ERROR", "all stays as it was", "is read once"]);
    // Once it is told for the second time all is done that the first one led to.
    server.signal(Signal::SIGHUP);
    until("it is told again", || {
        let said = std::fs::read_to_string(&log).unwrap();
        said.matches("is read once").count() == 2
    });
    let is_refused = http::metric(server.ready.admin, "corelog_configuration_refused");
    assert_eq!(is_refused, 0.0, "what it would start with is not known");
    assert_eq!(server.stop().status.code(), Some(0));
}

/// A line that repeats must not fill the disk that the log is on; how often it came must not be lost.
#[test]
fn a_line_that_repeats_is_logged_a_few_times_and_the_others_are_counted() {
    const COUNT: usize = 30;
    const LOGGED: usize = 10;
    let folder = Folder::new();
    let file = folder.file("corelog.toml", b"log = 'info'\n");
    let (server, log) = start(&folder, &file);
    let status = format!("/proc/{}/status", server.pid());
    let begun = Instant::now();
    for _ in 0..COUNT {
        server.signal(Signal::SIGHUP);
        // Signals that wait become one.
        until("the signal is taken", || {
            let status = std::fs::read_to_string(&status).unwrap();
            let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
            pending.unwrap().trim().chars().all(|digit| digit == '0')
        });
    }
    assert_eq!(server.stop().status.code(), Some(0));
    // They are counted together for ten seconds, within which they come unless the machine stands still.
    let windows = 1 + usize::try_from(begun.elapsed().as_secs() / 10).unwrap();
    let said = std::fs::read_to_string(&log).unwrap();
    let again = "read the configuration again";
    let lines = said.lines().filter(|line| line.contains(again));
    let (told, logged): (Vec<_>, Vec<_>) =
        lines.partition(|line| line.contains("not logged each time"));
    let count = |line: &&str| -> usize {
        let (_, count) = line.split_once("count=").unwrap();
        count.split(' ').next().unwrap().parse().unwrap()
    };
    let left_out: usize = told.iter().map(count).sum();
    assert_eq!(logged.len() + left_out, COUNT, "{said}");
    assert!(
        (LOGGED..=windows * LOGGED).contains(&logged.len()),
        "{said}"
    );
    assert!(told.len() <= windows, "{said}");
}

/// Whoever reads a log of objects lost the line that said why a server ended, and met times that were texts.
#[test]
fn a_log_of_json_says_in_json_why_a_server_ended_and_how_long_things_took() {
    let folder = Folder::new();
    let start = || Start::on(folder.path()).arg("--log-format=json");
    let objects = |log: &str| -> Vec<serde_json::Value> {
        log.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let server = start().start();
    let second = output_of(start().command().spawn().unwrap(), "a second server");
    let said = objects(&String::from_utf8(second.stderr).unwrap());
    let last = said.last().unwrap();
    assert_eq!(last["level"], "ERROR");
    let message = last["fields"]["message"].as_str().unwrap();
    assert!(message.starts_with("cannot start"), "{message}");
    let said = objects(&server.stop().log);
    let started = said
        .iter()
        .find(|line| line["fields"]["message"] == "started");
    let fields = &started.unwrap()["fields"];
    assert!(fields["start_ms"].is_u64(), "{fields}");
    assert!(fields["recovery_ms"].is_u64(), "{fields}");
}

/// Whoever cleared a variable that way was told of an address, or a directory, that is none.
#[test]
fn a_variable_that_is_empty_says_nothing_to_a_client_either() {
    let folder = Folder::new();
    let out = folder.path().join("out");
    for args in [
        vec!["topic", "list", "--timeout", "1s"],
        vec!["doctor"],
        vec!["snapshot", "export", "monday", out.to_str().unwrap()],
    ] {
        let mut command = Corelog::offline().command(&args);
        command.current_dir(folder.path());
        command.env("CORELOG_SERVER", "");
        command.env("CORELOG_NODE_DATA_DIR", "");
        let output = output_of(command.spawn().unwrap(), "a client");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_ne!(output.status.code(), Some(2), "{args:?}: {said}");
    }
}

#[test]
fn a_server_without_a_file_stops_in_order_when_its_terminal_goes() {
    let folder = Folder::new();
    // Whoever runs the tests may ignore it, and have all that it starts do so.
    let server = Start::on(folder.path())
        .through(["env", "--default-signal=HUP"])
        .start();
    let ended = server.end(Signal::SIGHUP);
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.log.contains("stopped"), "{}", ended.log);
}

/// What blocks a signal gets it also if it is ignored: a server that was to live on did not.
#[test]
fn a_server_that_is_to_live_on_does_when_its_terminal_goes() {
    let folder = Folder::new();
    let server = Start::on(folder.path()).through(["nohup"]).start();
    server.signal(Signal::SIGHUP);
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    let ended = server.end(Signal::SIGTERM);
    assert_eq!(ended.status.code(), Some(0));
    assert!(!ended.log.contains("SIGHUP"), "{}", ended.log);
}

/// At the rate it begins with, the scrub would take longer than any test may.
#[test]
fn a_scrub_that_runs_goes_on_at_the_new_rate() {
    let folder = Folder::new();
    let file = folder.file("corelog.toml", b"scrub-rate = '64KiB'\n");
    let (server, log) = start(&folder, &file);
    let corelog = Corelog::to(&server);
    corelog
        .run(["topic", "create", "t", "--segment-bytes", "1MiB"])
        .done();
    let line = [[b'x'; 1023].as_slice(), b"\n"].concat();
    for _ in 0..4 {
        let input = line.repeat(2 * 1024);
        corelog.feed(["produce", "t"], &input).done();
    }
    corelog.run(["scrub", "t"]).done();
    std::fs::write(&file, "scrub-rate = '1GiB'\n").unwrap();
    server.signal(Signal::SIGHUP);
    wait_for(&log, &["changed a setting", "key=scrub-rate"]);
    let scrub = corelog.run(["scrub", "t", "--wait", "--output", "json"]);
    let scrub = scrub.json();
    let bytes = scrub["partitions"][0]["bytes_done"].as_u64().unwrap();
    assert!(bytes > 4 << 20, "{scrub}");
}

#[test]
fn limits_are_those_that_are_set() {
    let folder = Folder::new();
    let file = folder.file(
        "corelog.toml",
        b"connections-max = 1\npartitions-max = 2\nread-timeout = '1s'\n",
    );
    let (server, _log) = start(&folder, &file);
    let corelog = Corelog::to(&server);
    let args = ["topic", "create", "t", "--partitions", "3"];
    let said = corelog.run(args).failed(1);
    assert!(said.contains("at most 2"), "{said}");
    until("the command's connection is gone", || {
        let open = http::metric(server.ready.admin, "corelog_connections");
        open.abs() < 0.5
    });
    // The one place is taken until the server gives up waiting for a first request.
    let mut silent = TcpStream::connect(server.ready.listen).unwrap();
    silent.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut second = TcpStream::connect(server.ready.listen).unwrap();
    second.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut told = Vec::new();
    second.read_to_end(&mut told).unwrap();
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("connections"), "{told}");
    let told_why = silent.read_to_end(&mut Vec::new());
    assert!(told_why.is_ok(), "it is cut");
    until("a place for another", || {
        let (_, _, code) = corelog.run(["topic", "list"]).parts();
        code == Some(0)
    });
}
