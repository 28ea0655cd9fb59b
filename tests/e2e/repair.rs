//! `corelog repair --dir`: a partition without its manifest serves all its records again.

use crate::support::corelog::Corelog;
use crate::support::deadline::output_of;
use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::stores;

/// A stopped server's directory, with a topic `t` of several segments.
fn filled(folder: &Folder) -> String {
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog
        .run(["topic", "create", "t", "--segment-bytes", "1MiB"])
        .done();
    let lines: String = (0..30_000)
        .map(|n| format!("line {n} {}\n", "x".repeat(90)))
        .collect();
    corelog.feed(["produce", "t"], lines.as_bytes()).done();
    server.stop();
    lines
}

#[test]
fn a_server_serves_all_records_again_after_a_lost_manifest_was_repaired() {
    let folder = Folder::new();
    let lines = filled(&folder);
    let partition = folder.path().join("topics/t/0");
    let dir = partition.to_str().unwrap();
    std::fs::remove_file(partition.join("manifest")).unwrap();
    let server = Server::start(folder.path());
    let (_, said, code) = Corelog::to(&server).run(["consume", "t"]).parts();
    assert_ne!(code, Some(0), "{said}");
    // Each of these told of nothing, with 0: there are no ranges of what cannot be opened.
    let corelog = Corelog::to(&server);
    for args in [
        &["topic", "describe", "t"][..],
        &["repair", "t"],
        &["repair", "t", "--dry-run"],
    ] {
        let (_, said, code) = corelog.run(args).parts();
        assert_eq!(code, Some(3), "{args:?}: {said}");
    }
    corelog
        .run(["repair", "t", "--partition", "9", "--dry-run"])
        .failed(1);
    let offline = Corelog::offline();
    // So they do where nobody reads what they print: it was 0 then.
    for (corelog, args) in [
        (&corelog, ["topic", "describe", "t"].as_slice()),
        (&offline, &["verify", dir]),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = corelog.command(args).stdout(writer).spawn().unwrap();
        let ended = output_of(child, "a command without a reader");
        assert_eq!(ended.status.code(), Some(3), "{args:?}");
    }
    for path in [dir, folder.path().join("topics/t").to_str().unwrap()] {
        let (_, said, code) = offline.run(["inspect", path]).parts();
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("corelog repair --dir"), "{said}");
    }
    let said = offline.run(["repair", "--dir", dir, "--yes"]).failed(1);
    assert!(said.contains("a server has"), "{said}");
    server.stop();
    let (stdout, said, code) = offline.run(["repair", "--dir", dir]).parts();
    assert_eq!(code, Some(6), "{said}");
    assert!(
        String::from_utf8(stdout)
            .unwrap()
            .contains("readable again")
    );
    let args = ["repair", "--dir", dir, "--dry-run", "--output", "json"];
    let plan = offline.run(args).json();
    // Before it an index may be written: the store, which was closed with its last batch, is sealed.
    let steps = plan["steps"].as_array().unwrap();
    let manifest = steps.iter().find(|step| step["step"] == "manifest");
    assert_eq!(manifest.unwrap()["end"], 30_000);
    assert!(!partition.join("manifest").exists());
    offline.run(["repair", "--dir", dir, "--yes"]).done();
    offline.run(["verify", dir]).done();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    let got = corelog.run(["consume", "t"]).text();
    assert!(got == lines, "all records are there");
    corelog.feed(["produce", "t"], b"and on\n").done();
    assert_eq!(
        corelog.run(["consume", "t", "--from", "-1"]).text(),
        "and on\n"
    );
}

#[test]
fn a_sound_partition_has_nothing_to_repair_and_a_broken_one_is_refused_with_3() {
    let folder = Folder::new();
    filled(&folder);
    let topic = folder.path().join("topics/t");
    let offline = Corelog::offline();
    let args = [
        "repair",
        "--dir",
        topic.to_str().unwrap(),
        "--output",
        "json",
    ];
    let plan = offline.run(args).json();
    assert_eq!(plan["steps"], serde_json::json!([]));
    let partition = topic.join("0");
    std::fs::remove_file(partition.join("manifest")).unwrap();
    let mut stores: Vec<_> = std::fs::read_dir(&partition)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "log"))
        .collect();
    stores.sort();
    std::fs::remove_file(&stores[1]).unwrap();
    let dir = partition.to_str().unwrap();
    let said = offline.run(["repair", "--dir", dir, "--yes"]).failed(3);
    assert!(said.contains("put back what lies between"), "{said}");
    assert!(!partition.join("manifest").exists());
    offline
        .run(["repair", "--dir", "/nowhere/at/all"])
        .failed(1);
    offline.run(["repair"]).failed(2);
}

/// What was repaired was on this machine, whichever server was named.
#[test]
fn a_server_beside_a_directory_is_refused_unless_the_environment_names_it() {
    let folder = Folder::new();
    filled(&folder);
    let partition = folder.path().join("topics/t/0");
    let repair = ["repair", "--dir", partition.to_str().unwrap()];
    let named = [&repair[..], &["--server", "log1:7400"]].concat();
    let said = Corelog::offline().run(named).failed(2);
    assert!(
        said.contains("--server cannot be used with --dir"),
        "{said}"
    );
    Corelog::at("log1:7400").run(repair).done();
}

/// That there was damage was lost where consent was, with 6.
#[test]
fn what_cannot_be_repaired_is_told_by_the_code_with_and_without_consent_to_repair_the_rest() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    let create = ["topic", "create", "t", "--partitions", "2"];
    let small = ["--segment-bytes", "1MiB"];
    corelog.run([&create[..], &small].concat()).done();
    let lines = format!("{}\n", "x".repeat(999)).repeat(3_000);
    for (partition, lines) in [("0", &*lines), ("1", "one\n")] {
        let produce = ["produce", "t", "--partition", partition];
        corelog.feed(produce, lines.as_bytes()).done();
    }
    server.stop();
    let topic = folder.path().join("topics/t");
    for partition in ["0", "1"] {
        std::fs::remove_file(topic.join(partition).join("manifest")).unwrap();
    }
    std::fs::remove_file(&stores::of(&topic, 0)[1]).unwrap();
    let offline = Corelog::offline();
    let dir = topic.to_str().unwrap();
    let (_, said, code) = offline.run(["repair", "--dir", dir]).parts();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("--yes"), "{said}");
    let (_, said, code) = offline.run(["repair", "--dir", dir, "--yes"]).parts();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("repaired "), "{said}");
    assert!(!topic.join("0/manifest").exists());
    assert!(topic.join("1/manifest").exists());
}

/// What root had made, the service could not write. Only root can give a directory away.
#[test]
fn a_partition_of_another_user_s_is_left_as_it_is() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = Folder::new();
    filled(&folder);
    let partition = folder.path().join("topics/t/0");
    let manifest = partition.join("manifest");
    std::fs::remove_file(&manifest).unwrap();
    std::os::unix::fs::chown(&partition, Some(65_534), None).unwrap();
    for dir in [&partition, &folder.path().join("topics/t")] {
        for consent in ["--dry-run", "--yes"] {
            let repair = ["repair", "--dir", dir.to_str().unwrap(), consent];
            let said = Corelog::offline().run(repair).failed(6);
            assert!(said.contains("sudo -u "), "{said}");
        }
    }
    assert!(!manifest.exists());
}

/// What the disk refused was told as damage, with 3: here a directory in a file's place.
#[test]
fn what_the_disk_refuses_a_repair_is_a_failure_and_no_damage() {
    let folder = Folder::new();
    filled(&folder);
    let partition = folder.path().join("topics/t/0");
    std::fs::remove_file(partition.join("manifest")).unwrap();
    std::fs::create_dir(partition.join("manifest")).unwrap();
    let args = ["repair", "--dir", partition.to_str().unwrap(), "--dry-run"];
    let said = Corelog::offline().run(args).failed(1);
    assert!(said.contains("manifest"), "{said}");
}

/// The directory of a topic of this name stood in the way to the file that a server locks.
#[test]
fn a_topic_called_node_hides_no_server_from_a_repair_or_from_verify() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "node"]).done();
    corelog.run(["topic", "create", "events"]).done();
    corelog.feed(["produce", "events"], b"one\n").done();
    let partition = folder.path().join("topics/events/0");
    let dir = partition.to_str().unwrap();
    let offline = Corelog::offline();
    let said = offline.run(["repair", "--dir", dir, "--dry-run"]).failed(1);
    assert!(said.contains("a server has"), "{said}");
    let found = offline.run(["verify", dir, "--output", "json"]).json();
    assert_eq!(found["summary"]["is_live"], true, "{found}");
}

/// The server refused it and named a repair, which found nothing to do.
#[test]
fn a_manifest_that_was_cut_behind_its_edits_is_sound_to_all_who_read_it() {
    let folder = Folder::new();
    let lines = filled(&folder);
    let partition = folder.path().join("topics/t/0");
    let dir = partition.to_str().unwrap();
    let path = partition.join("manifest");
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let bytes = file.metadata().unwrap().len();
    for len in [bytes - 1, bytes - 5_000] {
        file.set_len(len).unwrap();
        let offline = Corelog::offline();
        offline.run(["verify", dir]).done();
        offline.run(["inspect", path.to_str().unwrap()]).done();
        let plan = offline.run(["repair", "--dir", dir, "--output", "json"]);
        assert_eq!(plan.json()["steps"], serde_json::json!([]));
        let server = Server::start(folder.path());
        let corelog = Corelog::to(&server);
        let got = corelog.run(["consume", "t"]).text();
        assert!(got == lines, "all records are there");
        server.stop();
    }
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.feed(["produce", "t"], b"and on\n").done();
    drop(server.kill());
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    let got = corelog.run(["consume", "t"]).text();
    assert!(got == format!("{lines}and on\n"), "it goes on");
    drop(server);
}
