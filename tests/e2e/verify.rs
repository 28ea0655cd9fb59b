//! `corelog verify`: whether the files are what was written, also under a running server.

use std::fs::File;
use std::path::Path;

use serde_json::Value;

use crate::support::corelog::Corelog;
use crate::support::deadline::output_of;
use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::stores;

/// What verify says of `path`: its exit code, its findings, its summary.
fn verify(path: &Path, more: &[&str]) -> (Option<i32>, Vec<Value>, Value) {
    let mut args = vec!["verify", path.to_str().unwrap(), "--output", "json"];
    args.extend(more);
    let (stdout, _said, code) = Corelog::offline().run(args).parts();
    let mut lines: Vec<Value> = String::from_utf8(stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let summary = lines.pop().unwrap()["summary"].clone();
    (code, lines, summary)
}

/// Two topics, one of several segments and compressed, on a server that runs.
fn filled(folder: &Folder) -> Server {
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog
        .run(["topic", "create", "t", "--segment-bytes", "1MiB"])
        .done();
    corelog
        .run(["topic", "create", "z", "--partitions", "2"])
        .done();
    for _ in 0..3 {
        let lines = format!("{}\n", "x".repeat(999)).repeat(1_000);
        corelog.feed(["produce", "t"], lines.as_bytes()).done();
    }
    let lines = "some line\n".repeat(5_000);
    corelog
        .feed(["produce", "z", "--compression", "zstd"], lines.as_bytes())
        .done();
    server
}

#[test]
fn what_a_server_wrote_is_sound_while_it_runs_and_after_it_stopped() {
    let folder = Folder::new();
    let server = filled(&folder);
    let (code, findings, summary) = verify(folder.path(), &[]);
    assert_eq!((code, findings), (Some(0), vec![]));
    assert_eq!(summary["is_live"], true);
    assert_eq!(summary["partitions"], 2); // One of three has no record, and so no files.
    server.stop();
    let (code, findings, summary) = verify(folder.path(), &["--deep", "--threads", "1"]);
    assert_eq!((code, findings), (Some(0), vec![]));
    assert_eq!(summary["is_live"], false);
    assert_eq!(summary["records"], 8_000);
    let (code, _, summary) = verify(&folder.path().join("topics/z"), &[]);
    assert_eq!((code, summary["records"].as_u64()), (Some(0), Some(5_000)));
    let store = folder.path().join("topics/t/0/00000000000000000000.log");
    assert_eq!(verify(&store, &[]).0, Some(0));
}

/// `1.41 MiB` here was `1.4 MiB` in every other command.
#[test]
fn bytes_are_told_as_in_other_commands() {
    let folder = Folder::new();
    let server = filled(&folder);
    let told = Corelog::offline().run(["verify", folder.path().to_str().unwrap()]);
    let told = told.text();
    let (_, read) = told.split_once(" records: ").unwrap();
    let (amount, _) = read.split_once(" in ").unwrap();
    let (_, rest) = amount.split_once('.').unwrap();
    assert_eq!(rest.find(' '), Some(1), "one decimal: {told}");
    drop(server);
}

#[test]
fn a_flipped_bit_ends_with_3_and_is_told_by_file_position_and_offsets() {
    let folder = Folder::new();
    filled(&folder).stop();
    let store = folder.path().join("topics/t/0/00000000000000000000.log");
    let mut bytes = std::fs::read(&store).unwrap();
    bytes[5_000] ^= 1;
    std::fs::write(&store, bytes).unwrap();
    let (code, findings, summary) = verify(folder.path(), &[]);
    assert_eq!((code, summary["damage"].as_u64()), (Some(3), Some(1)));
    assert_eq!(findings.len(), 1);
    let finding = &findings[0];
    assert_eq!(
        (finding["grade"].as_str(), finding["what"].as_str()),
        (Some("damage"), Some("batch"))
    );
    assert_eq!(finding["file"], store.to_str().unwrap());
    assert_eq!(
        (finding["position"].as_u64(), finding["from"].as_u64()),
        (Some(0), Some(0))
    );
    let (stdout, _, code) = Corelog::offline()
        .run(["verify", store.to_str().unwrap()])
        .parts();
    let text = String::from_utf8(stdout).unwrap();
    assert_eq!(code, Some(3));
    assert!(text.starts_with("damage: batch: "), "{text}");
    assert!(text.contains("1 damage, 0 unread, 0 differences"), "{text}");
}

#[test]
fn what_is_nothing_of_a_node_is_refused() {
    let folder = Folder::new();
    let corelog = Corelog::offline();
    let said = corelog
        .run(["verify", folder.path().to_str().unwrap()])
        .failed(1);
    assert!(said.contains("no file or directory of a node"), "{said}");
    corelog.run(["verify", "/nowhere/at/all"]).failed(1);
    corelog.run(["verify", "/tmp", "--threads", "0"]).failed(2);
}

/// A full disk below stdout, or a reader who had seen enough, hid it: the code was that of a mere failure, or of none.
#[test]
fn damage_counts_also_where_it_cannot_be_printed() {
    let folder = Folder::new();
    filled(&folder).stop();
    let topic = folder.path().join("topics/t");
    stores::flip(&stores::of(&topic, 0)[0], 1_000);
    let server = Server::start(folder.path());
    let (offline, online) = (Corelog::offline(), Corelog::to(&server));
    online.run(["scrub", "t", "--wait"]).parts();
    online.run(["snapshot", "create", "s"]).done();
    let elsewhere = Folder::new();
    let other = Server::start(elsewhere.path());
    Corelog::to(&other).run(["topic", "create", "t"]).done();
    let both = format!("{},{}", server.address(), other.address());
    let restore = "restore s --topic r --from-topic t --with-damage";
    let restore: Vec<_> = restore.split(' ').collect();
    let (data, partition) = (folder.path(), topic.join("0"));
    let [data, partition] = [data, &partition].map(|path| path.to_str().unwrap());
    let commands = [
        (&offline, &["verify", data][..]),
        (&offline, &["inspect", partition]),
        (&offline, &["inspect", partition, "--records"]),
        (&online, &["topic", "describe", "t"]),
        (&online, &["scrub", "t"]),
        (&online, &["repair", "t", "--dry-run"]),
        (&online, &["partition", "reopen", "t", "0"]),
        (&online, &["offsets", "t", "--server", &both]),
        (&online, &restore),
    ];
    for (corelog, args) in commands {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let child = corelog.command(args).stdout(full).spawn().unwrap();
        let ended = output_of(child, "a command whose stdout is full");
        assert_eq!(ended.status.code(), Some(3), "{args:?}: {ended:?}");
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let list = offline.command(["inspect", partition, "--records"]);
    let ended = output_of({ list }.stdout(writer).spawn().unwrap(), "a list");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(3), "{said}");
    assert!(said.contains("damaged: "), "{said}");
}

/// Twice as many workers as that are none: nothing was checked, and all was well.
#[test]
fn as_many_threads_as_no_machine_has_processors_are_refused() {
    for threads in ["0", "1025", "9223372036854775808"] {
        let verify = ["verify", ".", "--threads", threads];
        Corelog::offline().run(verify).failed(2);
    }
}
