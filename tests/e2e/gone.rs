//! Directories that are gone when a server starts: what was in them is missed, and nothing takes its place unasked.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::corelog::Corelog;
use crate::support::folder::Folder;
use crate::support::http;
use crate::support::server::{Server, Start};

/// A data directory beside a place to put something away.
struct Data {
    folder: Folder,
}

impl Data {
    /// Of a server that is down, whose topic `t` of two partitions has two records in the first, and none in the other.
    fn kept(is_killed: bool) -> Self {
        let folder = Folder::new();
        let data = Self { folder };
        let (server, corelog) = data.start();
        let create = ["topic", "create", "t", "--partitions", "2"];
        corelog.run(create).done();
        let produce = ["produce", "t", "--partition", "0"];
        corelog.feed(produce, b"a\nb\n").done();
        match is_killed {
            true => drop(server.kill()),
            false => assert!(server.stop().status.success()),
        }
        data
    }

    fn start(&self) -> (Server, Corelog) {
        let server = Server::start(&self.dir());
        let corelog = Corelog::to(&server);
        (server, corelog)
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn partition(&self) -> PathBuf {
        self.dir().join("topics/t/0")
    }

    fn away(&self) -> PathBuf {
        self.folder.path().join("away")
    }

    /// What `corelog verify` finds, and how it ends.
    fn verified(&self) -> (String, Option<i32>) {
        let dir = self.dir();
        let args = [Path::new("verify"), &dir];
        let (out, _said, code) = Corelog::offline().run(args).parts();
        (String::from_utf8(out).unwrap(), code)
    }
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// It was opened as a new one: consumers were out of range, and producers were given its offsets again.
#[test]
fn a_partition_whose_directory_is_gone_is_damaged_to_all_who_ask_until_it_is_back() {
    for is_killed in [false, true] {
        let data = Data::kept(is_killed);
        fs::rename(data.partition(), data.away()).unwrap();
        let (server, corelog) = data.start();
        for args in [
            &["partition", "reopen", "t", "0"][..],
            &["produce", "t", "--partition", "0"],
            &["consume", "t", "--partition", "0"],
            &[
                "truncate",
                "t",
                "--partition",
                "0",
                "--before",
                "1",
                "--yes",
            ],
        ] {
            let (_, said, code) = corelog.feed(args, b"c\n").parts();
            assert_eq!(code, Some(3), "{args:?}: {said}");
        }
        let said = corelog.run(["partition", "reopen", "t", "0"]).failed(3);
        assert!(said.contains("topics/t/0.begun"), "{said}");
        assert!(!data.partition().exists(), "nothing takes its place");
        let told = http::json(server.ready.admin, "/v1/partitions?topic=t");
        assert_eq!(told["partitions"][0]["state"], "failed");
        // The other one never had a record.
        let produce = ["produce", "t", "--partition", "1"];
        corelog.feed(produce, b"x\n").done();
        let log = server.stop().log;
        assert!(log.contains("0.begun tells that it was there"), "{log}");

        let (found, code) = data.verified();
        assert_eq!(code, Some(3), "{found}");
        assert!(found.contains("damage: gone: "), "{found}");
        let topic = data.dir().join("topics/t");
        let (_, said, code) = Corelog::offline()
            .run([Path::new("inspect"), &topic])
            .parts();
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("topics/t/0 is gone"), "{said}");

        let (_server, corelog) = data.start();
        fs::rename(data.away(), data.partition()).unwrap();
        corelog.run(["partition", "reopen", "t", "0"]).done();
        let consume = ["consume", "t", "--partition", "0"];
        assert_eq!(corelog.run(consume).text(), "a\nb\n");
    }
}

/// As a mount point is without its volume, or a directory that somebody begins to copy back.
#[test]
fn a_partition_whose_directory_has_lost_its_manifest_is_not_touched() {
    for left in [&[][..], &["mark"]] {
        let data = Data::kept(false);
        fs::rename(data.partition(), data.away()).unwrap();
        fs::create_dir(data.partition()).unwrap();
        for name in left {
            fs::copy(data.away().join(name), data.partition().join(name)).unwrap();
        }
        let (server, corelog) = data.start();
        for _ in 0..2 {
            corelog.run(["partition", "reopen", "t", "0"]).failed(3);
            assert_eq!(names(&data.partition()), left);
        }
        assert!(server.stop().status.success());
        assert_eq!(names(&data.partition()), left);
        assert_eq!(data.verified().1, Some(3));
    }
}

#[test]
fn a_partition_that_is_gone_for_good_begins_anew_once_that_is_said() {
    let data = Data::kept(true);
    fs::remove_dir_all(data.partition()).unwrap();
    let (server, corelog) = data.start();
    let reopen = ["partition", "reopen", "t", "0", "--output", "json"];
    corelog.run(reopen).failed(3);
    let told = data.dir().join("topics/t/0.begun");
    fs::remove_file(&told).unwrap();
    assert_eq!(corelog.run(reopen).json()["log_end"], 0);
    let produce = ["produce", "t", "--partition", "0"];
    corelog.feed(produce, b"c\n").done();
    assert!(told.exists());
    assert!(server.stop().status.success());
    let (_server, corelog) = data.start();
    let consume = ["consume", "t", "--partition", "0"];
    assert_eq!(corelog.run(consume).text(), "c\n");
}

/// Nothing of the old one tells of the new one.
#[test]
fn a_topic_of_which_a_partition_is_gone_is_deleted_and_made_anew() {
    let data = Data::kept(false);
    fs::remove_dir_all(data.partition()).unwrap();
    let (server, corelog) = data.start();
    corelog.run(["topic", "delete", "t", "--yes"]).done();
    let create = ["topic", "create", "t", "--partitions", "2"];
    corelog.run(create).done();
    let topic = data.dir().join("topics/t");
    assert_eq!(names(&topic), ["topic"]);
    let produce = ["produce", "t", "--partition", "0"];
    corelog.feed(produce, b"c\n").done();
    assert_eq!(names(&topic), ["0", "0.begun", "topic"]);
    assert!(server.stop().status.success());
    let (_server, corelog) = data.start();
    let consume = ["consume", "t", "--partition", "0"];
    assert_eq!(corelog.run(consume).text(), "c\n");
    assert_eq!(data.verified().1, Some(0));
}

#[test]
fn a_snapshot_holds_nothing_that_tells_of_partitions_and_what_is_restored_is_told_of() {
    let data = Data::kept(false);
    let (server, corelog) = data.start();
    corelog.run(["snapshot", "create", "one"]).done();
    let snapshot = data.dir().join("snapshots/one/topics/t");
    assert_eq!(names(&snapshot), ["0", "topic"]);
    let restore = ["restore", "one", "--topic", "back", "--from-topic", "t"];
    corelog.run(restore).done();
    let restored = data.dir().join("topics/back");
    assert_eq!(names(&restored), ["0", "0.begun", "topic"]);
    assert!(server.stop().status.success());
    let (found, code) = data.verified();
    assert_eq!(code, Some(0), "{found}");
    fs::remove_dir_all(restored.join("0")).unwrap();
    let (_server, corelog) = data.start();
    corelog.run(["partition", "reopen", "back", "0"]).failed(3);
    let consume = ["consume", "t", "--partition", "0"];
    assert_eq!(corelog.run(consume).text(), "a\nb\n");
}

#[test]
fn a_directory_of_an_earlier_version_tells_of_its_partitions_from_the_first_start_on() {
    let data = Data::kept(true);
    let topic = data.dir().join("topics/t");
    fs::remove_file(topic.join("0.begun")).unwrap();
    let (server, _) = data.start();
    assert_eq!(names(&topic), ["0", "0.begun", "topic"]);
    assert!(server.stop().status.success());
    fs::remove_dir_all(data.partition()).unwrap();
    let (_server, corelog) = data.start();
    corelog.run(["partition", "reopen", "t", "0"]).failed(3);
}

/// All of a topic but what tells of its partitions: it was there, and its name is taken.
#[test]
fn a_topic_without_its_file_and_its_partitions_is_no_creation_that_was_cut_off() {
    let data = Data::kept(false);
    fs::remove_dir_all(data.partition()).unwrap();
    fs::remove_file(data.dir().join("topics/t/topic")).unwrap();
    let (_server, corelog) = data.start();
    for args in [&["topic", "list"][..], &["topic", "create", "t"]] {
        let (_, said, code) = corelog.run(args).parts();
        assert_eq!(code, Some(3), "{args:?}: {said}");
    }
    assert_eq!(names(&data.dir().join("topics/t")), ["0.begun"]);
}

/// It started with no topics, and everybody was told that there are none.
#[test]
fn a_node_whose_topics_are_gone_starts_once_they_are_back_or_given_up() {
    let data = Data::kept(false);
    let (dir, topics) = (data.dir(), data.dir().join("topics"));
    let identity = fs::read(dir.join("node")).unwrap();
    fs::rename(&topics, data.away()).unwrap();
    let (code, said) = Start::on(&dir).refused();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("topics is gone"), "{said}");
    assert!(!topics.exists());
    let (found, code) = data.verified();
    assert_eq!(code, Some(3), "{found}");
    fs::rename(data.away(), &topics).unwrap();
    let (server, corelog) = data.start();
    assert_eq!(corelog.run(["consume", "t"]).text(), "a\nb\n");
    assert!(server.stop().status.success());
    fs::rename(&topics, data.away()).unwrap();
    fs::create_dir(&topics).unwrap();
    let (_server, corelog) = data.start();
    let listed = corelog.run(["topic", "list", "--output", "json"]).text();
    assert!(!listed.contains("\"t\""), "{listed}");
    assert_eq!(fs::read(dir.join("node")).unwrap(), identity);
}

/// A running server beside what is moved away from under it, and back: a volume that is unmounted while it is in use is as
/// little there, and what stands in its place has none of its directories.
struct Running {
    data: Data,
    server: Server,
    corelog: Corelog,
}

impl Running {
    /// Its topic `t` has records in the first partition, and none in the second.
    fn start() -> Self {
        let data = Data::kept(false);
        let (server, corelog) = data.start();
        Self {
            data,
            server,
            corelog,
        }
    }

    /// A record is not taken by the partition that has none.
    fn refuse_first_record(&self) {
        let produce = ["produce", "t", "--partition", "1"];
        let (_, said, code) = self.corelog.feed(produce, b"x\n").parts();
        assert_ne!(code, Some(0), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }

    /// All is served, and the partition that was fenced takes its first record.
    fn check_whole(self) {
        let consume = ["consume", "t", "--partition", "0"];
        assert_eq!(self.corelog.run(consume).text(), "a\nb\n");
        let reopen = ["partition", "reopen", "t", "1"];
        self.corelog.run(reopen).done();
        let produce = ["produce", "t", "--partition", "1"];
        self.corelog.feed(produce, b"y\n").done();
        assert!(self.server.stop().status.success());
        let (_server, corelog) = self.data.start();
        for (partition, records) in [("0", "a\nb\n"), ("1", "y\n")] {
            let consume = ["consume", "t", "--partition", partition];
            assert_eq!(corelog.run(consume).text(), records);
        }
        assert_eq!(self.data.verified().1, Some(0));
    }
}

/// The directories were made anew, and records acknowledged in them that nobody found behind a restart.
#[test]
fn a_first_record_is_not_taken_where_the_directory_of_its_topic_is_gone() {
    let running = Running::start();
    let topic = running.data.dir().join("topics/t");
    fs::rename(&topic, running.data.away()).unwrap();
    running.refuse_first_record();
    let reopen = ["partition", "reopen", "t", "1"];
    running.corelog.run(reopen).failed(3);
    running.refuse_first_record();
    // The topic that is known makes no directory either.
    let add = ["topic", "add-partitions", "t", "--partitions", "3"];
    let (_, said, code) = running.corelog.run(add).parts();
    assert_ne!(code, Some(0), "{said}");
    assert!(!topic.exists(), "nothing takes its place");
    // Others are where they were.
    running.corelog.run(["topic", "create", "other"]).done();
    fs::rename(running.data.away(), &topic).unwrap();
    running.check_whole();
}

/// It was made in a directory of topics that was made anew, and a start behind it saw no other topic.
#[test]
fn no_topic_is_made_where_the_directory_of_topics_is_gone() {
    for gone in ["topics", ""] {
        let running = Running::start();
        let gone = running.data.dir().join(gone);
        fs::rename(&gone, running.data.away()).unwrap();
        running.refuse_first_record();
        for (args, back) in [
            (&["topic", "create", "other"][..], "put it back"),
            (&["snapshot", "create", "s"], "put it back"),
            (&["partition", "reopen", "t", "1"], ""),
        ] {
            let (_, said, code) = running.corelog.run(args).parts();
            assert_eq!(code, Some(3), "{args:?}: {said}");
            assert!(said.contains(back), "{args:?}: {said}");
        }
        assert!(!gone.exists(), "nothing takes its place");
        fs::rename(running.data.away(), &gone).unwrap();
        running.check_whole();
    }
}
