//! `corelog top`.

use std::io::{BufRead as _, BufReader};
use std::thread;

use serde_json::Value;

use crate::support::corelog::Corelog;
use crate::support::deadline::Watch;
use crate::support::folder::Folder;
use crate::support::python;
use crate::support::server::{BINARY, Server, Start};

fn served(folder: &Folder) -> (Server, Corelog, String) {
    let server = Start::on(folder.path()).cores(2).start();
    let (corelog, admin) = (Corelog::to(&server), server.ready.admin.to_string());
    let create = ["topic", "create", "events", "--partitions", "2"];
    corelog.run(create).done();
    corelog.run(["topic", "create", "orders"]).done();
    let produce = ["produce", "events", "--partition", "1"];
    corelog.feed(produce, b"a\nb\n").done();
    (server, corelog, admin)
}

#[test]
fn one_picture_is_printed_as_tables_of_every_view() {
    let folder = Folder::new();
    let (_server, corelog, admin) = served(&folder);
    let top = ["top", "--admin", &admin, "--interval", "100ms"];
    // Stdout is no terminal here, so it is as if --once was said.
    let all = corelog.run(top).text();
    let once = corelog.run(top.into_iter().chain(["--once"])).text();
    for told in [&all, &once] {
        for title in [
            "Cores",
            "Topics",
            "Partitions",
            "Connections",
            "Clones",
            "Slowest",
        ] {
            assert!(told.contains(&format!("\n\n{title}\n")), "{title}: {told}");
        }
        let is_well = |line: &str| line.split_whitespace().eq(["partitions", "3", "ok"]);
        assert!(told.lines().any(is_well), "{told}");
        assert!(!told.contains('\u{1b}'), "there is no terminal to colour");
    }
    let some = [
        "--view",
        "partitions",
        "--sort",
        "size",
        "--filter",
        "EVENT",
    ];
    let some = corelog.run(top.into_iter().chain(some)).text();
    let rows = some.split("\n\nPartitions\n").nth(1).unwrap();
    let names = rows.lines().map(|line| line.split_whitespace().take(3));
    let names: Vec<Vec<_>> = names.map(Iterator::collect).collect();
    assert_eq!(names[0], ["TOPIC", "PART", "STATE"]);
    assert_eq!(names[1..], [["events", "1", "ok"], ["events", "0", "ok"]]);
    assert!(!some.contains("Cores"), "{some}");
}

#[test]
fn what_is_written_between_two_polls_is_told_as_rates() {
    let folder = Folder::new();
    let (_server, corelog, admin) = served(&folder);
    let args = ["top", "--admin", &admin, "--once", "--output", "json"];
    let told = thread::scope(|scope| {
        let top = scope.spawn(|| corelog.run(args).json());
        while !top.is_finished() {
            let produce = ["produce", "events", "--partition", "0"];
            corelog.feed(produce, b"a\nb\nc\n").done();
        }
        top.join().unwrap()
    });
    let is_above = |told: &Value| told.as_f64().is_some_and(|rate| rate > 0.0);
    let totals = &told["totals"];
    for rate in [
        "records_per_s",
        "in_bytes_per_s",
        "busy_cores",
        "sync_p99_us",
    ] {
        assert!(is_above(&totals[rate]), "{rate}: {totals}");
    }
    let partition = &told["partitions"].as_array().unwrap()[..];
    let written = partition
        .iter()
        .find(|one| one["topic"] == "events" && one["partition"] == 0);
    let written = written.unwrap();
    assert!(is_above(&written["records_per_s"]) && is_above(&written["bytes_per_s"]));
    let quiet = partition
        .iter()
        .find(|one| one["topic"] == "orders")
        .unwrap();
    assert_eq!(quiet["records_per_s"], 0.0);
    let cores = told["cores"].as_array().unwrap();
    assert_eq!(cores.len(), 2);
    assert!(
        cores.iter().any(|core| is_above(&core["sync_p99_us"])),
        "{told}"
    );
    assert!(cores.iter().all(|core| core["busy"].is_number()), "{told}");
    assert_eq!(told["node"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(told["node"]["resident_bytes"].as_u64().unwrap() > 1_000_000);
    assert_eq!(told["totals"]["states"]["ok"], 3);
}

#[test]
fn an_object_per_interval_also_while_the_node_is_away() {
    let folder = Folder::new();
    let (server, corelog, admin) = served(&folder);
    let args = [
        "top",
        "--admin",
        &admin,
        "--interval",
        "100ms",
        "--output",
        "json",
    ];
    let mut top = corelog.command(args).spawn().unwrap();
    let _watch = Watch::over(top.id(), "a node that goes away");
    let mut lines = BufReader::new(top.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert!(next()["unreachable_since"].is_null());
    server.kill();
    let mut away = next();
    while away["unreachable_since"].is_null() {
        away = next();
    }
    assert!(
        away["error"].as_str().unwrap().contains("cannot ask"),
        "{away}"
    );
    assert_eq!(next()["unreachable_since"], away["unreachable_since"]);
    drop(lines);
    // Whoever read it has left: it ends quietly.
    assert_eq!(top.wait().unwrap().code(), Some(0));
}

#[test]
fn a_node_that_is_not_there_and_options_that_mean_nothing_are_told() {
    let corelog = Corelog::offline();
    // Port 1 is nobody's.
    let said = corelog.run(["top", "--admin", "127.0.0.1:1"]).failed(4);
    assert!(said.contains("is it the server's --admin?"), "{said}");
    let said = corelog.run(["top", "--sort", "colour"]).failed(2);
    assert!(said.contains("no column is called `colour`") && said.contains("fsync-p99"));
    let said = corelog
        .run(["top", "--view", "slowest", "--sort", "lag"])
        .failed(2);
    assert!(said.contains("there are ago, answered"), "{said}");
    for interval in ["1ms", "2h", "soon"] {
        corelog.run(["top", "--interval", interval]).failed(2);
    }
    corelog.run(["top", "--admin", "nowhere"]).failed(2);
}

#[test]
fn a_terminal_is_taken_and_given_back_however_it_ends() {
    let folder = Folder::new();
    let (_server, _corelog, admin) = served(&folder);
    for end in ["q", "\u{3}", "SIGTERM", "SIGINT", "SIGHUP"] {
        for colour in [None, Some("--no-color")] {
            let command = ["80", "24", end, BINARY, "top", "--admin", &admin];
            let told = python::run("terminal.py", command.into_iter().chain(colour)).json();
            let drawn = told["drawn"].as_str().unwrap();
            assert_eq!(
                (&told["status"], &told["is_restored"]),
                (&0.into(), &true.into()),
                "{end:?}"
            );
            let screen = drawn.split_once("\u{1b}[?1049h").unwrap().1;
            let (screen, after) = screen.split_once("\u{1b}[?1049l").unwrap();
            assert!(
                screen.contains("Partitions") && screen.contains(&admin),
                "{screen}"
            );
            // Green is the fourth of the terminal's own colours.
            let is_coloured = screen.contains("38;5;2;") || screen.contains("\u{1b}[32m");
            assert_eq!(is_coloured, colour.is_none(), "{screen:?}");
            assert!(
                after.ends_with("\u{1b}[?25h"),
                "the cursor is seen again: {after:?}"
            );
        }
    }
}
