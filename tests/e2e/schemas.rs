//! What every command prints with `--output json` is what its schema in `tests/schemas` says. A
//! command is added by its schema and one call of [`Schemas::check`] here; that each has a schema is
//! asserted beside the command line itself.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::support::corelog::Corelog;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::schema;
use crate::support::server::Server;

/// The schemas by the words of their commands, and which of them were used.
struct Schemas {
    all: BTreeMap<String, Value>,
    used: RefCell<BTreeSet<String>>,
}

impl Schemas {
    fn read() -> Self {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemas");
        let files = std::fs::read_dir(dir).unwrap();
        let all = files.map(|file| {
            let path = file.unwrap().path();
            let schema: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, schema)
        });
        Self {
            all: all.collect(),
            used: RefCell::default(),
        }
    }

    /// Runs `args` with `--output json`, and holds each line of what is printed against the schema of
    /// `command`; gives the lines.
    fn check(&self, corelog: &Corelog, command: &str, args: &[&str]) -> Vec<Value> {
        self.check_fed(corelog, command, args, b"", 0)
    }

    fn check_fed(
        &self,
        corelog: &Corelog,
        command: &str,
        args: &[&str],
        input: &[u8],
        code: i32,
    ) -> Vec<Value> {
        let words = command.split(' ').chain(args.iter().copied());
        let called = corelog.feed(words.chain(["--output", "json"]), input);
        let (out, said, ended) = called.parts();
        assert_eq!(ended, Some(code), "{command} {args:?}: {said}");
        let name = command.replace(' ', "-");
        let schema = self.all.get(&name);
        let schema = schema.unwrap_or_else(|| panic!("tests/schemas has no {name}.json"));
        let out = String::from_utf8(out).unwrap();
        let lines = out.lines().map(|line| {
            let value: Value = serde_json::from_str(line).unwrap();
            let faults = schema::faults(schema, schema, &value);
            assert!(faults.is_empty(), "{command} {args:?}: {line}\n{faults:#?}");
            value
        });
        let lines: Vec<Value> = lines.collect();
        assert!(!lines.is_empty(), "{command} {args:?} prints something");
        self.used.borrow_mut().insert(name);
        lines
    }
}

#[test]
fn every_command_prints_json_as_its_schema_says() {
    let schemas = Schemas::read();
    let folders = [(); 3].map(|()| Folder::new());
    let dirs = folders.each_ref().map(|folder| folder.path());
    let here = Server::start(dirs[0]);
    let there = Server::start(dirs[1]);
    topics_and_records(&schemas, &here);
    snapshots(&schemas, &here, dirs[2]);
    replicas(&schemas, &here, &there);
    benches(&schemas, &here);
    machine(&schemas, &here, dirs[2]);
    assert!(here.stop().status.success());
    files(&schemas, dirs[0]);
    let all: BTreeSet<String> = schemas.all.keys().cloned().collect();
    assert_eq!(all, schemas.used.into_inner(), "each schema is used");
}

/// Programs saw fewer topics, and no reason.
#[test]
fn a_topic_that_cannot_be_read_is_listed_with_the_reason_as_the_schema_says() {
    let (schemas, folder) = (Schemas::read(), Folder::new());
    let server = Server::start(folder.path());
    for name in ["t", "u"] {
        let create = ["topic", "create", name];
        Corelog::to(&server).run(create).done();
    }
    assert!(server.stop().status.success());
    std::fs::write(folder.path().join("topics/t/topic"), "rot").unwrap();
    let server = Server::start(folder.path());
    let listed = schemas.check_fed(&Corelog::to(&server), "topic list", &[], b"", 3);
    let names: Vec<_> = listed.iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["u", "t"]);
    assert!(listed[1]["error"].is_string(), "{listed:?}");
}

fn topics_and_records(schemas: &Schemas, server: &Server) {
    let corelog = Corelog::to(server);
    let check = |command: &str, args: &[&str]| schemas.check(&corelog, command, args);
    let small = ["t", "--segment-bytes", "1MiB", "--retention-age", "7d"];
    check("topic create", &small);
    check("topic create", &["u", "--if-not-exists"]);
    check("topic list", &[]);
    let lines = format!("key:{}\n", "v".repeat(1_000)).repeat(3_000);
    let args = ["t", "--key-separator", ":", "-H", "name=value"];
    let acks = schemas.check_fed(&corelog, "produce", &args, lines.as_bytes(), 0);
    assert!(!acks.is_empty());
    check("consume", &["t", "--count", "2"]);
    check("offsets", &["t"]);
    check("topic describe", &["t"]);
    check("topic alter", &["u", "--retention-bytes", "1GiB", "--yes"]);
    check(
        "topic alter",
        &["u", "--retention-bytes", "1MiB", "--dry-run"],
    );
    check("topic add-partitions", &["u", "--partitions", "2"]);
    check(
        "truncate",
        &["t", "--partition", "0", "--before", "9", "--dry-run"],
    );
    check(
        "truncate",
        &["t", "--partition", "0", "--before", "9", "--yes"],
    );
    check("topic delete", &["u", "--dry-run"]);
    check("topic delete", &["u", "--yes"]);
    check("scrub", &["t", "--wait"]);
    check("partition reopen", &["t", "0"]);
}

fn snapshots(schemas: &Schemas, server: &Server, dir: &Path) {
    let corelog = Corelog::to(server);
    let check = |command: &str, args: &[&str]| schemas.check(&corelog, command, args);
    check("snapshot create", &["one"]);
    check("snapshot list", &[]);
    check("snapshot list", &["one"]);
    let target = dir.join("copy");
    let data = server.ready.data.to_str().unwrap();
    let export = ["one", target.to_str().unwrap(), "--data-dir", data];
    check("snapshot export", &export);
    check("inspect", &[target.to_str().unwrap()]);
    check("restore", &["one", "--topic", "again", "--from-topic", "t"]);
    check("snapshot delete", &["one", "--dry-run"]);
    check("snapshot delete", &["one", "--yes"]);
}

fn replicas(schemas: &Schemas, here: &Server, there: &Server) {
    let (source, other) = (here.address(), there.address());
    let admins = [here, there].map(|server| server.ready.admin.to_string());
    let [here, there] = [here, there].map(Corelog::to);
    let check =
        |corelog: &Corelog, command: &str, args: &[&str]| schemas.check(corelog, command, args);
    check(&there, "clone", &["t", "--from", &source, "--dry-run"]);
    check(&there, "clone", &["t", "--from", &source, "--follow"]);
    let level = || {
        until("both have the same", || {
            let ends = [&here, &there].map(|corelog| {
                let topic = check(corelog, "topic describe", &["t"]);
                topic[0]["partitions"][0]["log_end"].clone()
            });
            ends[0] == ends[1]
        });
        let compared = check(&here, "compare", &["t", "--with", &other]);
        assert_eq!(compared[0]["verdict"], "equal");
    };
    level();
    until("the follower is told", || {
        let told = &check(&here, "topic describe", &["t"])[0];
        !told["partitions"][0]["followers"][0].is_null()
    });
    let again = ["again", "--from", &source, "--limit-rate", "64KiB"];
    let mut copying = there.command(["clone"].into_iter().chain(again));
    let mut copying = copying.spawn().unwrap();
    for (admin, of_each) in admins.iter().zip([&["to"][..], &["from", "from"]]) {
        until("top shows what is copied", || {
            let top = ["--admin", admin, "--once", "--interval", "100ms"];
            let told = &check(&there, "top", &top)[0]["clones"];
            let rows = told.as_array().unwrap();
            let ways: Vec<_> = rows.iter().map(|one| &one["way"]).collect();
            // Which share is here is known of what is copied as files.
            let is_copying = |row: &Value| row["done"].is_number();
            ways == of_each && (ways.len() == 1 || rows.iter().any(is_copying))
        });
    }
    copying.kill().unwrap();
    copying.wait().unwrap();
    check(
        &here,
        "offsets",
        &["t", "--server", &format!("{source},{other}")],
    );
    check(&there, "repair", &["t", "--from", &source, "--dry-run"]);
    check(&there, "repair", &["t", "--from", &source]);
    check(&here, "handover", &["t", "--to", &other]);
    level();
    check(&here, "promote", &["t", "--accept-loss"]);
    there.feed(["produce", "t"], b"of the old owner\n").parts();
    check(&there, "rejoin", &["t", "--to", &source]);
    let forget = ["topic", "forget-follower", "t", &other, "--dry-run"];
    until("the follower is known", || {
        here.run(forget)
            .parts()
            .0
            .starts_with(b"would remove follower")
    });
    check(&here, "topic forget-follower", &["t", &other, "--dry-run"]);
    check(&here, "topic forget-follower", &["t", &other, "--yes"]);

    for (corelog, args) in [
        (&here, &["topic", "create", "grown"][..]),
        (&there, &["clone", "grown", "--from", &source]),
        (
            &here,
            &["topic", "add-partitions", "grown", "--partitions", "2"],
        ),
    ] {
        corelog.run(args).done();
    }
    let grown = ["grown", "--with", &other];
    let compared = schemas.check_fed(&here, "compare", &grown, b"", 3);
    assert_eq!(compared[1]["verdict"], "missing");
}

fn benches(schemas: &Schemas, server: &Server) {
    let corelog = Corelog::to(server);
    let check = |command: &str, args: &[&str]| schemas.check(&corelog, command, args);
    check("bench produce", &["--total", "2MiB"]);
    check("bench consume", &["--count", "100"]);
    check("bench seek", &["--count", "5"]);
    let admin = server.ready.admin.to_string();
    let mixed = ["--topic", "mixed", "--duration", "3s", "--rate", "200"];
    check("bench mixed", &[&mixed[..], &["--admin", &admin]].concat());
    let latency = ["--topic", "latency", "--duration", "1s", "--rate", "50"];
    check("bench latency", &latency);
    check("bench delivery", &["--topic", "delivery", "--count", "20"]);
}

/// A check that lets everything through would let commands change what they print.
#[test]
fn a_schema_refuses_what_it_does_not_say() {
    let schemas = Schemas::read();
    let schema = &schemas.all["truncate"];
    let faults = |text: &str| {
        let value = serde_json::from_str(text).unwrap();
        schema::faults(schema, schema, &value).len()
    };
    assert_eq!(faults(r#"{"topic":"t","partition":0,"log_start":9}"#), 0);
    assert_eq!(faults(r#"{"dry_run":true,"would_remove":null}"#), 0);
    for wrong in [
        r#"{"topic":"t","partition":0}"#,
        r#"{"topic":"t","partition":"0","log_start":9}"#,
        r#"{"topic":"t","partition":-1,"log_start":9}"#,
        r#"{"topic":"t","partition":0,"log_start":9,"more":1}"#,
        r#"[{"topic":"t","partition":0,"log_start":9}]"#,
    ] {
        assert!(faults(wrong) > 0, "{wrong}");
    }
}

/// What needs no server, and what is asked of the machine.
fn machine(schemas: &Schemas, server: &Server, dir: &Path) {
    let offline = Corelog::offline();
    let check = |command: &str, args: &[&str]| schemas.check(&offline, command, args);
    let data = server.ready.data.to_str().unwrap();
    check("doctor", &["--data-dir", data]);
    let admin = server.ready.admin.to_string();
    let out = dir.join("b.tar.gz");
    let bundle = ["--admin", &admin, "--out", out.to_str().unwrap()];
    check("debug bundle", &bundle);
    check("top", &["--admin", &admin, "--once", "--interval", "100ms"]);
    let file = dir.join("corelog.toml");
    std::fs::write(&file, "scrub-rate = '1MiB'\ninsecure = true\n").unwrap();
    check("config check", &[file.to_str().unwrap()]);
    check(
        "config show",
        &["--config", file.to_str().unwrap(), "--cores", "2"],
    );
}

/// What lies on the disk, and is damaged in the end.
fn files(schemas: &Schemas, data: &Path) {
    let offline = Corelog::offline();
    let check = |command: &str, path: &Path, more: &[&str]| {
        let args = [&[path.to_str().unwrap()], more].concat();
        schemas.check(&offline, command, &args)
    };
    let partition = data.join("topics/again/0");
    let store = first(&partition, ".log");
    for path in [
        data,
        &data.join("node"),
        &data.join("topics/again"),
        &data.join("topics/again/topic"),
        &partition,
        &partition.join("manifest"),
        &partition.join("mark"),
        &first(&partition, ".index"),
        &store,
    ] {
        check("inspect", path, &[]);
    }
    check("inspect", &partition, &["--batches", "--count", "2"]);
    check("inspect", &partition, &["--records", "--count", "2"]);
    check("verify", data, &[]);
    let dir = ["--dir", partition.to_str().unwrap(), "--dry-run"];
    schemas.check(&offline, "repair", &dir);
    let mut bytes = std::fs::read(&store).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&store, bytes).unwrap();
    std::fs::remove_file(partition.join("manifest")).unwrap();
    let topic = data.join("topics/again");
    let topic = [topic.to_str().unwrap()];
    schemas.check_fed(&offline, "verify", &topic, b"", 3);
}

/// The first file of a directory whose name ends like this.
fn first(dir: &Path, end: &str) -> std::path::PathBuf {
    let entries = std::fs::read_dir(dir).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.to_str().unwrap().ends_with(end))
        .collect();
    paths.sort();
    paths.swap_remove(0)
}
