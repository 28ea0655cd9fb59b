//! `corelog inspect`: what the files hold, without a server.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use corelog_record::{Offset, Position, Timestamp};
use corelog_storage::format::edit::Edit;
use corelog_storage::format::manifest::Manifest;
use corelog_storage::format::mark::Slot;
use corelog_storage::format::state::Segment;
use corelog_storage::segment::name;
use serde_json::Value;

use crate::kept::records::until_sealed;
use crate::support::corelog::Corelog;
use crate::support::deadline;
use crate::support::folder::Folder;
use crate::support::privilege;
use crate::support::server::Server;
use crate::support::stores;
use crate::support::wire::Wire;

/// A data directory with a topic `t` that holds two segments and more.
fn data() -> (Folder, PathBuf) {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog
        .run(["topic", "create", "t", "--segment-bytes", "1MiB"])
        .done();
    let line = "x".repeat(999);
    for _ in 0..3 {
        corelog
            .feed(
                ["produce", "t"],
                format!("{line}\n").repeat(1_000).as_bytes(),
            )
            .done();
    }
    let args = [
        "produce",
        "t",
        "--key-separator",
        ":",
        "--compression",
        "zstd",
        "-H",
        "h=1",
    ];
    corelog
        .feed(args, format!("key:last {}\n", "z".repeat(500)).as_bytes())
        .done();
    assert_eq!(server.stop().status.code(), Some(0));
    let partition = folder.path().join("topics/t/0");
    (folder, partition)
}

#[test]
fn a_directory_a_topic_and_a_partition_are_summarized() {
    let (folder, partition) = data();
    let inspect = |path: &Path| {
        Corelog::offline()
            .run(["inspect", path.to_str().unwrap(), "--output", "json"])
            .json()
    };
    let node = inspect(folder.path());
    assert_eq!(node["topics"], 1);
    assert_eq!(node["topic_list"][0]["topic"], "t");
    let topic = inspect(&folder.path().join("topics/t"));
    assert_eq!(topic["segment_bytes"], 1 << 20);
    let found = inspect(&partition);
    assert_eq!(found["log_start"], 0);
    assert_eq!(found["log_end"], 3_001);
    assert_eq!(found["is_clean"], true);
    let segments = found["segments"].as_array().unwrap();
    assert!(segments.len() >= 2, "{segments:?}");
    for pair in segments.windows(2) {
        assert_eq!(pair[1]["base"], pair[0]["next"].as_u64().unwrap());
        assert_eq!(pair[0]["state"], "sealed");
    }
    for file in [
        "manifest",
        "mark",
        "00000000000000000000.log",
        "00000000000000000000.index",
    ] {
        assert!(inspect(&partition.join(file)).is_object(), "{file}");
    }
    assert!(inspect(&folder.path().join("node"))["node"].is_string());
    assert_eq!(inspect(&folder.path().join("topics/t/topic"))["topic"], "t");
}

/// It said that there is no such directory, of a partition that there is.
#[test]
fn a_partition_without_records_is_told_as_one_that_has_no_directory() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    Corelog::to(&server).run(["topic", "create", "t"]).done();
    let path = folder.path().join("topics/t/0");
    for words in [&["inspect"][..], &["verify"], &["repair", "--dir"]] {
        let words = [words, &[path.to_str().unwrap()]].concat();
        let said = Corelog::offline().run(words).failed(1);
        assert!(said.contains("without records"), "{said}");
    }
}

#[test]
fn batches_and_records_are_listed() {
    let (_folder, partition) = data();
    let path = partition.to_str().unwrap();
    let list = |args: &[&str]| {
        let args = [&["inspect", path, "--output", "json"], args].concat();
        Corelog::offline().run(args).json_lines()
    };
    let batches = list(&["--batches"]);
    let records: u64 = batches
        .iter()
        .map(|batch| batch["records"].as_u64().unwrap())
        .sum();
    assert_eq!(records, 3_001);
    assert_eq!(batches.last().unwrap()["codec"], "zstd");
    let records = list(&["--records", "--from", "2999"]);
    assert_eq!(records.len(), 2);
    assert_eq!(records[1]["offset"], 3_000);
    assert_eq!(records[1]["key"], "a2V5");
    assert_eq!(records[1]["headers"][0]["name"], "h");
    assert_eq!(list(&["--records", "--count", "7"]).len(), 7);
    let table = Corelog::offline()
        .run(["inspect", path, "--records", "--from", "3000"])
        .text();
    // Between the cells stood a question mark, as for what moves the cursor in the words of others.
    let cells = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
    let rows: Vec<_> = table.lines().map(cells).collect();
    assert_eq!(rows[0], ["OFFSET", "TIME", "KEY", "VALUE", "HEADERS"]);
    assert_eq!((&*rows[1][0], &*rows[1][2]), ("3000", "key"));
    assert!(rows[1][3].contains("last"), "{table}");
    let table = Corelog::offline()
        .run(["inspect", path, "--batches"])
        .text();
    assert!(table.lines().all(|line| cells(line).len() == 9), "{table}");
}

/// Whoever asked for what lies behind a bad batch saw nothing of it.
#[test]
fn a_list_goes_on_behind_a_batch_that_is_bad() {
    let (_folder, partition) = data();
    let path = partition.to_str().unwrap();
    let list = |args: &[&str]| {
        let args = [&["inspect", path, "--output", "json"], args].concat();
        Corelog::offline().run(args).parts()
    };
    let (all, _, code) = list(&["--batches"]);
    assert_eq!(code, Some(0));
    let all = String::from_utf8(all).unwrap();
    let batches: Vec<Value> = all
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |batch: &Value, name: &str| batch[name].as_u64().unwrap();
    let store = partition.join("00000000000000000000.log");
    let sound = std::fs::read(&store).unwrap();
    // In what it holds, and in its length, behind which only the index leads on.
    for (at, fewest) in [(70, batches.len() - 1), (8, 1)] {
        let mut bytes = sound.clone();
        bytes[usize::try_from(of(&batches[1], "position")).unwrap() + at] ^= 0x40;
        std::fs::write(&store, &bytes).unwrap();
        let (out, said, code) = list(&[
            "--batches",
            "--from",
            // An index row may stand at the next one, and lead past what is bad.
            &of(&batches[1], "offset").to_string(),
        ]);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("at position"), "{said}");
        let listed = String::from_utf8(out).unwrap().lines().count();
        assert!(fewest <= listed + 1, "{listed} of {}", batches.len());
        let (out, ..) = list(&["--records", "--from", "2999"]);
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 2);
    }
    std::fs::write(&store, &sound).unwrap();
}

/// A segment that the manifest did not name any more was told as damage.
#[test]
fn what_a_server_lets_go_of_before_a_list_comes_to_it_is_no_damage() {
    let (folder, partition) = data();
    let server = Server::start(folder.path());
    let stores = stores::of(partition.parent().unwrap(), 0);
    let list = ["inspect", partition.to_str().unwrap(), "--records"];
    let mut listing = Corelog::offline().command(list).spawn().unwrap();
    let mut listed = BufReader::new(listing.stdout.take().unwrap());
    // The first segment is more than a pipe holds: the list waits in it.
    listed.read_line(&mut String::new()).unwrap();
    let truncate = ["truncate", "t", "--partition", "0", "--before", "latest"];
    let truncate = [&truncate[..], &["--yes"]].concat();
    Corelog::to(&server).run(truncate).done();
    deadline::until("the next segment is gone", || !stores[1].exists());
    let reader = std::thread::spawn(move || listed.read_to_end(&mut Vec::new()));
    let ended = deadline::output_of(listing, "the list");
    assert!(reader.join().unwrap().unwrap() > 0);
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{said}");
}

/// It was told as sound: only the length of a sealed store was looked at.
#[test]
fn damage_that_the_manifest_remembers_is_named_and_ends_with_3() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("t", 1, 1 << 20);
    let lines = format!("{}\n", "x".repeat(999)).repeat(3_000);
    corelog.feed(["produce", "t"], lines.as_bytes()).done();
    // Only what is sealed is scrubbed.
    until_sealed(&mut wire, &topic, 0, 2);
    let partition = folder.path().join("topics/t/0");
    let store = partition.join("00000000000000000000.log");
    stores::flip(&store, 1_000);
    let (_, said, code) = corelog.run(["scrub", "t", "--wait"]).parts();
    assert_eq!(code, Some(3), "{said}");
    assert!(server.stop().status.success());
    let path = partition.to_str().unwrap();
    let (out, said, code) = Corelog::offline()
        .run(["inspect", path, "--output", "json"])
        .parts();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("as the manifest remembers"), "{said}");
    let found: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(found["segments"][0]["state"], "damaged");
    assert_eq!(found["segments"][1]["state"], "sealed");
}

#[test]
fn damage_is_named_and_ends_with_3() {
    let (_folder, partition) = data();
    let store = partition.join("00000000000000000000.log");
    let mut bytes = std::fs::read(&store).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&store, &bytes).unwrap();
    let (_, said, code) = Corelog::offline()
        .run(["inspect", store.to_str().unwrap(), "--batches"])
        .parts();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("position"), "{said}");
    std::fs::write(&store, &bytes[..middle]).unwrap();
    let (_, said, code) = Corelog::offline()
        .run(["inspect", partition.to_str().unwrap()])
        .parts();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("the manifest says"), "{said}");
    let manifest = partition.join("manifest");
    std::fs::write(&manifest, "garbage").unwrap();
    Corelog::offline()
        .run(["inspect", manifest.to_str().unwrap()])
        .failed(3);
}

/// A script that alarms on exit code 3 must stay quiet after a kill in the middle of a write.
#[test]
fn a_torn_end_is_no_damage_and_bad_bytes_below_the_mark_are() {
    let (_folder, partition) = data();
    let inspect = |args: &[&str]| {
        let args = [
            &["inspect", partition.to_str().unwrap(), "--output", "json"],
            args,
        ]
        .concat();
        Corelog::offline().run(args)
    };
    let sound = inspect(&[]).json();
    assert!(sound["torn_at"].is_null(), "{sound}");
    let active = sound["segments"].as_array().unwrap().last().unwrap();
    let store = partition.join(active["file"].as_str().unwrap());
    let end = usize::try_from(active["bytes"].as_u64().unwrap()).unwrap();
    let mut bytes = std::fs::read(&store).unwrap();
    bytes.resize(bytes.len().max(end + 100), 0);
    bytes[end..end + 100].fill(0xa5);
    std::fs::write(&store, &bytes).unwrap();
    let found = inspect(&[]).json();
    assert_eq!(found["torn_at"], end);
    assert_eq!(found["log_end"], 3_001);
    assert_eq!(
        inspect(&["--records", "--from", "3000"]).json_lines().len(),
        1
    );

    bytes[end - 1] ^= 1;
    std::fs::write(&store, &bytes).unwrap();
    assert_eq!(inspect(&[]).parts().2, Some(3));
    std::fs::remove_file(&store).unwrap();
    let (_, said, code) = inspect(&[]).parts();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("is missing"), "{said}");
}

/// The active store was believed wherever it ended, as after a power cut on a disk that lies.
#[test]
fn an_end_that_is_durable_and_reads_as_zeros_or_is_cut_off_is_damage() {
    let (_folder, partition) = data();
    let path = partition.to_str().unwrap();
    let inspect = |more: &[&str]| {
        let args = [&["inspect", path], more].concat();
        let (_, said, code) = Corelog::offline().run(args).parts();
        (code, said)
    };
    let found = Corelog::offline()
        .run(["inspect", path, "--output", "json"])
        .json();
    let active = found["segments"].as_array().unwrap().last().unwrap();
    let store = partition.join(active["file"].as_str().unwrap());
    let end = usize::try_from(active["bytes"].as_u64().unwrap()).unwrap();
    let batches = Corelog::offline()
        .run(["inspect", path, "--batches", "--output", "json"])
        .json_lines();
    let last = batches.last().unwrap()["position"].as_u64().unwrap();
    let last = usize::try_from(last).unwrap();
    let whole = std::fs::read(&store).unwrap();
    let mut zeroed = whole.clone();
    zeroed[last..end].fill(0);
    for bytes in [&zeroed, &whole[..last]] {
        std::fs::write(&store, bytes).unwrap();
        for more in [&[][..], &["--batches"], &["--records", "--from", "2990"]] {
            let (code, said) = inspect(more);
            assert_eq!(code, Some(3), "{more:?}: {said}");
            assert!(
                said.contains("the end of sound batches at offset 3000"),
                "{said}"
            );
        }
        // It was not looked at up to there.
        assert_eq!(inspect(&["--records", "--count", "1"]).0, Some(0));
    }
}

/// A partition as a kill leaves it: of its last two stores neither is sealed, and the mark speaks of the
/// first, of which it promises nothing yet.
struct Killed {
    _folder: Folder,
    partition: PathBuf,
    /// The last two stores.
    stores: [PathBuf; 2],
    /// Where the last one begins.
    base: u64,
}

/// An edit without the seal of the segment at `base`.
fn unsealed(edit: &Edit, base: Offset) -> Option<Edit> {
    match edit {
        Edit::Seal(seal) if seal.digest.base == base => None,
        Edit::Seals(seals) => {
            let mut seals = seals.clone();
            seals.seals.retain(|seal| seal.digest.base != base);
            (!seals.seals.is_empty()).then_some(Edit::Seals(seals))
        }
        edit => Some(edit.clone()),
    }
}

impl Killed {
    fn new() -> Self {
        let (folder, partition) = data();
        let path = partition.join("manifest");
        let manifest = Manifest::decode(&std::fs::read(&path).unwrap()).unwrap();
        let [.., before, last] = manifest.state.segments() else {
            panic!("it has two segments");
        };
        let mut bytes = manifest.header.encode();
        let edits = { manifest.edits.iter() }.filter_map(|edit| unsealed(edit, before.base));
        for (sequence, edit) in (1..).zip(edits) {
            bytes.extend(edit.encode(sequence));
        }
        bytes.resize(bytes.len().next_multiple_of(4096), 0);
        std::fs::write(path, bytes).unwrap();
        let mark = Slot {
            history: manifest.header.history,
            copy: manifest.header.copy,
            sequence: 1,
            segment: before.base,
            generation: 0,
            is_clean: false,
            position: Position::ZERO,
            offset: before.base,
            ordinal: before.ordinal,
            chain: before.chain,
            max_timestamp: Timestamp::MIN,
            epoch: None,
            born: None,
        };
        std::fs::write(partition.join("mark"), mark.encode()).unwrap();
        let store = |of: &Segment| partition.join(name::store(of.base, of.generation));
        Self {
            stores: [store(before), store(last)],
            base: last.base.get(),
            partition,
            _folder: folder,
        }
    }

    /// The offset and the position of the last batch in one of the stores.
    fn last_batch(&self, store: usize) -> (u64, usize) {
        let path = self.stores[store].to_str().unwrap();
        let list = ["inspect", path, "--batches", "--output", "json"];
        let batches = Corelog::offline().run(list).json_lines();
        let last = batches.last().unwrap();
        let number = |key: &str| last[key].as_u64().unwrap();
        (
            number("offset"),
            usize::try_from(number("position")).unwrap(),
        )
    }

    fn change(&self, store: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(&self.stores[store]).unwrap();
        change(&mut bytes);
        std::fs::write(&self.stores[store], bytes).unwrap();
    }

    /// What `corelog inspect` prints, says and ends with.
    fn inspect(&self) -> (Value, String, Option<i32>) {
        let path = self.partition.to_str().unwrap();
        let list = ["inspect", path, "--output", "json"];
        let (out, said, code) = Corelog::offline().run(list).parts();
        (serde_json::from_slice(&out).unwrap(), said, code)
    }

    fn assert_torn(&self, position: usize, log_end: u64) {
        let (found, said, code) = self.inspect();
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(found["torn_at"], position, "{found}");
        assert_eq!(found["log_end"], log_end, "{found}");
        let path = self.partition.to_str().unwrap();
        Corelog::offline()
            .run(["inspect", path, "--batches"])
            .done();
    }

    fn assert_damaged(&self, at: &str) {
        let (_, said, code) = self.inspect();
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains(at), "{said}");
    }
}

/// The mark is up to a second old, and speaks of the store before: the torn end of the next was damage.
#[test]
fn an_end_is_torn_though_the_mark_still_speaks_of_the_store_before() {
    let killed = Killed::new();
    let (offset, position) = killed.last_batch(1);
    killed.change(1, |bytes| bytes[position + 30..].fill(0xa5));
    killed.assert_torn(position, offset);
}

/// The next store is added before the last group of this one is synced: its torn end was damage, and the
/// log ended where the next store would have begun.
#[test]
fn an_end_is_torn_though_an_empty_store_is_there_already() {
    let killed = Killed::new();
    let (offset, position) = killed.last_batch(0);
    killed.change(0, |bytes| bytes[position + 30..].fill(0xa5));
    killed.change(1, |bytes| bytes.fill(0));
    killed.assert_torn(position, offset);
}

/// Recovery reads the whole store without a mark, and cuts it just as well: it was damage.
#[test]
fn an_end_is_torn_though_the_mark_is_lost() {
    let killed = Killed::new();
    let (offset, position) = killed.last_batch(1);
    killed.change(1, |bytes| bytes[position + 30..].fill(0xa5));
    std::fs::remove_file(killed.partition.join("mark")).unwrap();
    killed.assert_torn(position, offset);
}

/// A store's first group is written after the last one of its predecessor was synced, whatever the mark says: one
/// that ended early with zeros was believed.
#[test]
fn an_end_before_a_store_that_holds_bytes_is_damage() {
    let killed = Killed::new();
    let (offset, position) = killed.last_batch(0);
    killed.change(0, |bytes| bytes[position + 30] ^= 1);
    killed.assert_damaged(&format!("at position {position}"));
    killed.change(0, |bytes| bytes[position..].fill(0));
    let end = format!(
        "offset {offset}, where batches up to offset {}",
        killed.base
    );
    killed.assert_damaged(&end);
}

/// A base offset is not covered by its batch's checksum, and only one that went back was refused: the log ended
/// where no record is.
#[test]
fn a_batch_that_is_not_the_next_one_is_bad() {
    let killed = Killed::new();
    let (offset, position) = killed.last_batch(1);
    killed.change(1, |bytes| bytes[position + 5] ^= 1);
    killed.assert_torn(position, offset);
    killed.change(1, |bytes| bytes[5] ^= 1);
    killed.assert_torn(0, killed.base);
    killed.change(1, |bytes| bytes[5] ^= 1);
    let (offset, position) = killed.last_batch(0);
    killed.change(0, |bytes| bytes[position + 5] ^= 1);
    killed.assert_damaged(&format!("where {offset} follows"));
}

/// They were no files or directories of a node, with 1: whoever may not look does not know that.
#[test]
fn what_may_not_be_looked_into_is_denied() {
    let (folder, partition) = data();
    let hidden = folder.path().join("hidden");
    std::fs::create_dir(&hidden).unwrap();
    let inspect = Corelog::offline().through(privilege::without());
    let chmod = |dir: &Path, mode| {
        std::fs::set_permissions(dir, Permissions::from_mode(mode)).unwrap();
    };
    // Nothing can be asked of the first; the second says what it is not, and not what it holds.
    for (dir, mode) in [(&partition, 0o000), (&partition, 0o444), (&hidden, 0o111)] {
        chmod(dir, mode);
        let said = inspect.run(["inspect", dir.to_str().unwrap()]).failed(6);
        chmod(dir, 0o755);
        assert!(said.contains("cannot look at"), "{mode:o}: {said}");
        assert!(said.contains("sudo -u"), "{mode:o}: {said}");
    }
    // So is one in the middle of what can be listed.
    chmod(&partition, 0o000);
    let topic = partition.parent().unwrap();
    let said = inspect.run(["inspect", topic.to_str().unwrap()]).failed(6);
    chmod(&partition, 0o755);
    assert!(said.contains(partition.to_str().unwrap()), "{said}");
}

#[test]
fn what_is_not_ours_is_said() {
    let folder = Folder::new();
    let notes = folder.file("notes.txt", b"hello");
    Corelog::offline()
        .run(["inspect", notes.to_str().unwrap()])
        .failed(1);
    Corelog::offline()
        .run(["inspect", folder.path().to_str().unwrap()])
        .failed(1);
    // Names that no store has.
    folder.file("+0000000000000000123.log", b"hello");
    folder.file("00000000000000000123.+1.log", b"hello");
    let inspect = ["inspect", folder.path().to_str().unwrap()];
    let said = Corelog::offline().run(inspect).failed(1);
    assert!(said.contains("is no file or directory of a node"), "{said}");
    Corelog::offline()
        .run(["inspect", "/no/such/path"])
        .failed(1);
    Corelog::offline().run(["inspect"]).failed(2);
    Corelog::offline()
        .run(["inspect", "/", "--batches", "--records"])
        .failed(2);
    Corelog::offline()
        .run(["inspect", "/", "--from", "7"])
        .failed(2);
    Corelog::offline()
        .run(["inspect", "/", "--count", "7"])
        .failed(2);
}
