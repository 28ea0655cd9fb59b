//! `corelog top`.

use std::io::{BufRead as _, BufReader};
use std::thread;

use serde_json::Value;

use crate::support::corelog::Corelog;
use crate::support::deadline::{Watch, output_of, until};
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
    let is_above = |told: &Value| told.as_f64().is_some_and(|rate| rate > 0.0);
    let rates = [
        "records_per_s",
        "in_bytes_per_s",
        "busy_cores",
        "sync_p99_us",
    ];
    let mut told = Value::Null;
    until("a record comes, and is synced, between two polls", || {
        told = thread::scope(|scope| {
            let top = scope.spawn(|| corelog.run(args).json());
            while !top.is_finished() {
                let produce = ["produce", "events", "--partition", "0"];
                corelog.feed(produce, b"a\nb\nc\n").done();
            }
            top.join().unwrap()
        });
        rates.iter().all(|rate| is_above(&told["totals"][rate]))
    });
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
fn json_has_the_rows_and_the_order_that_were_asked_for() {
    let folder = Folder::new();
    let (_server, corelog, admin) = served(&folder);
    let json = |more: &[&str]| {
        let top = ["top", "--admin", &admin, "--interval", "100ms", "--once"];
        let args = [&top, more, &["--output", "json"]].concat();
        corelog.run(args).json()
    };
    let names = |rows: &Value| -> Vec<String> {
        let rows = rows.as_array().unwrap().iter();
        rows.map(|one| format!("{}/{}", one["topic"].as_str().unwrap(), one["partition"]))
            .collect()
    };
    let told = json(&["--sort", "part", "--filter", "EVENT"]);
    assert_eq!(names(&told["partitions"]), ["events/0", "events/1"]);
    assert_eq!(told["topics"].as_array().unwrap().len(), 1);
    assert_eq!(told["topics"][0]["name"], "events");
    // The only written one is the largest.
    let told = json(&["--sort", "size", "--view", "partitions"]);
    assert_eq!(
        names(&told["partitions"]),
        ["events/1", "events/0", "orders/0"]
    );
    assert_eq!(told["totals"]["states"]["ok"], 3, "{told}");
    let keys: Vec<_> = told.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["admin", "node", "partitions", "time", "totals"]);
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
    assert_eq!(next().get("unreachable_since"), None);
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

/// It was there until the next picture, which nobody was to read: for an hour.
#[test]
fn who_prints_pictures_ends_when_the_reader_has_left_before_the_next_one() {
    let folder = Folder::new();
    let (_server, corelog, admin) = served(&folder);
    let args = [
        "top",
        "--admin",
        &admin,
        "--interval",
        "1h",
        "--output",
        "json",
    ];
    let mut top = corelog.command(args).spawn().unwrap();
    drop(top.stdout.take());
    let ended = output_of(top, "pictures without a reader");
    assert_eq!((ended.status.code(), &*ended.stderr), (Some(0), &[][..]));
}

/// That no rate of a picture is less than nothing, or more than anything that a test does.
fn check_rates(told: &Value) {
    let Some(fields) = told.as_object() else {
        let rows = told.as_array().into_iter().flatten();
        rows.for_each(check_rates);
        return;
    };
    for (name, field) in fields {
        let is_rate = name.ends_with("_per_s") || ["busy", "busy_cores"].contains(&&**name);
        if let Some(rate) = field.as_f64().filter(|_| is_rate) {
            assert!((0.0..1e7).contains(&rate), "{name}: {told}");
        }
        check_rates(field);
    }
}

#[test]
fn a_node_that_was_started_again_has_no_rates_until_it_was_asked_twice() {
    let folder = Folder::new();
    // An address of its own, so that nobody else comes by the port meanwhile.
    let start = || Start::on(folder.path()).cores(2).arg("--admin");
    let server = start().arg("127.0.0.77:0").start();
    let (corelog, admin) = (Corelog::to(&server), server.ready.admin.to_string());
    corelog.run(["topic", "create", "events"]).done();
    let lines = "a record\n".repeat(50_000);
    let produce = ["produce", "events", "--partition", "0"];
    corelog.feed(produce, lines.as_bytes()).done();
    let args = ["top", "--admin", &admin, "--interval", "100ms"];
    let args = args.into_iter().chain(["--output", "json"]);
    let mut top = corelog.command(args).spawn().unwrap();
    let _watch = Watch::over(top.id(), "a node that is started again");
    let mut lines = BufReader::new(top.stdout.take().unwrap()).lines();
    let mut next = || -> Value {
        let told = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        check_rates(&told);
        told
    };
    let before = next();
    assert!(before["cores"][0]["busy"].is_number(), "{before}");
    server.kill();
    let _again = start().arg(&admin).start();
    let is_of_the_new_run = |told: &Value| {
        let started = &told["node"]["started"];
        started.is_string() && *started != before["node"]["started"]
    };
    let mut first = next();
    while !is_of_the_new_run(&first) {
        first = next();
    }
    let totals = &first["totals"];
    for rate in [
        "records_per_s",
        "out_bytes_per_s",
        "busy_cores",
        "sync_p99_us",
    ] {
        assert_eq!(totals.get(rate), Some(&Value::Null), "{rate}: {totals}");
    }
    for view in ["cores", "partitions", "topics"] {
        let rows = first[view].as_array().unwrap();
        assert!(!rows.is_empty(), "{view}: {first}");
        for row in rows {
            assert_eq!(
                row.get("records_per_s"),
                Some(&Value::Null),
                "{view}: {row}"
            );
        }
    }
    let second = next();
    assert_eq!(second["totals"]["records_per_s"], 0.0, "{second}");
    drop(lines);
    assert_eq!(top.wait().unwrap().code(), Some(0));
}

#[test]
fn a_node_that_is_not_there_and_options_that_mean_nothing_are_told() {
    let corelog = Corelog::offline();
    // Port 1 is nobody's.
    let said = corelog.run(["top", "--admin", "127.0.0.1:1"]).failed(4);
    assert!(said.contains("is it the server's --admin, and"), "{said}");
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

/// What was drawn on a terminal of 80 columns and 24 lines, and how that ended.
struct Drawn {
    told: Value,
}

impl Drawn {
    /// By `env` with these words, ended as `terminal.py` says.
    fn by(end: &str, words: &[&str]) -> Self {
        let command = ["80", "24", end, "env"].into_iter().chain(words.to_vec());
        Self {
            told: python::run("terminal.py", command).json(),
        }
    }

    fn all(&self) -> &str {
        self.told["drawn"].as_str().unwrap()
    }

    /// What was drawn on the alternate screen, after checking that everything was given back.
    fn screen(&self) -> &str {
        assert_eq!(self.told["status"], 0, "{}", self.told);
        assert_eq!(self.told["is_restored"], true, "it is raw no more");
        let (_, screen) = self.all().split_once("\u{1b}[?1049h").unwrap();
        let (screen, after) = screen.split_once("\u{1b}[?1049l").unwrap();
        assert!(
            after.ends_with("\u{1b}[?25h"),
            "the cursor is seen again: {after:?}"
        );
        screen
    }
}

/// Whether anything sets a colour: a parameter of `ESC [ … m` that is one. Back to the terminal's own
/// is none.
fn is_coloured(drawn: &str) -> bool {
    let codes = drawn.split("\u{1b}[").skip(1);
    let styles = codes.filter_map(|code| {
        let end = code.find(|c: char| !c.is_ascii_digit() && c != ';')?;
        code[end..].starts_with('m').then_some(&code[..end])
    });
    let is_colour = |code: &str| {
        let code = code.parse().unwrap_or(0);
        matches!(code, 30..=38 | 40..=48 | 90..=97 | 100..=107)
    };
    styles.flat_map(|style| style.split(';')).any(is_colour)
}

#[test]
fn a_terminal_is_taken_and_given_back_however_it_ends() {
    let folder = Folder::new();
    let (_server, _corelog, admin) = served(&folder);
    for end in ["q", "\u{3}", "SIGTERM", "SIGINT", "SIGHUP"] {
        let drawn = Drawn::by(end, &[BINARY, "top", "--admin", &admin]);
        let screen = drawn.screen();
        assert!(
            screen.contains("Partitions") && screen.contains(&admin),
            "{end:?}: {screen}"
        );
    }
}

#[test]
fn a_terminal_that_is_gone_ends_it() {
    let folder = Folder::new();
    let (_server, _corelog, admin) = served(&folder);
    for end in ["gone", "gone-unheard"] {
        // The next picture would be drawn far too late to notice.
        let top = [BINARY, "top", "--admin", &admin, "--interval", "1h"];
        let drawn = Drawn::by(end, &top);
        assert!(drawn.all().contains("q quit"), "{}", drawn.all());
        assert_eq!(drawn.told["status"], 0, "{end}");
    }
}

#[test]
fn colours_are_for_who_wants_them() {
    let folder = Folder::new();
    let (_server, _corelog, admin) = served(&folder);
    let top = [BINARY, "top", "--admin", &admin];
    let cases: [(&[&str], &[&str], bool); 4] = [
        (&["-u", "NO_COLOR"], &[], true),
        // Empty, it is as if it was not there.
        (&["NO_COLOR="], &[], true),
        (&["NO_COLOR=1"], &[], false),
        (&["-u", "NO_COLOR"], &["--no-color"], false),
    ];
    for (environment, option, wanted) in cases {
        let drawn = Drawn::by("q", &[environment, &top, option].concat());
        let screen = drawn.screen();
        assert_eq!(is_coloured(screen), wanted, "{environment:?}: {screen:?}");
        assert!(screen.contains("Partitions"), "{screen}");
    }
}

/// A shell within an editor, a console of a build: there is a terminal, but none that moves a cursor.
#[test]
fn a_terminal_that_cannot_draw_has_tables_printed() {
    let folder = Folder::new();
    let (_server, _corelog, admin) = served(&folder);
    let top = [BINARY, "top", "--admin", &admin, "--interval", "100ms"];
    for environment in [&["TERM=dumb"][..], &["TERM="], &["-u", "TERM"]] {
        let drawn = Drawn::by("", &[environment, &top].concat());
        assert_eq!(drawn.told["status"], 0, "{}", drawn.told);
        let printed = drawn.all();
        assert!(!printed.contains('\u{1b}'), "{printed:?}");
        assert!(printed.contains("\r\nSlowest\r\n"), "{printed}");
    }
}
