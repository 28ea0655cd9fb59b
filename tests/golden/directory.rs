//! A data directory as a server of format 1 left it when it was killed: whoever comes later opens it, and reads what
//! was acknowledged.
//!
//! `data/directory.tar.gz` was made by `a_server_leaves_a_directory` below, which is run once. It holds
//!
//! ```text
//! topics/t/0    a sealed and an active segment, behind the last batch of which a write was cut off
//! topics/t/1    a batch of each codec
//! snapshots/s   the same, but for what came last
//! ```
//!
//! and no `place`: unpacked, it is meant as the only one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use corelog_protocol::message::describe_topic;
use corelog_record::batch::{self, BYTES_MAX, Batches, Builder, Codec, Records, View};
use corelog_record::{LeaderEpoch, Offset, Record, Timestamp};
use flate2::read::GzDecoder;

use crate::support::corelog::Corelog;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::wire::{Target, Wire};

const PACKED: &[u8] = include_bytes!("data/directory.tar.gz");

/// Batches of each partition, and how many of them the snapshot holds.
const BATCHES: [u64; 2] = [64, 5];
const BATCHES_KEPT: [u64; 2] = [60, 5];
/// Of a batch of each partition.
const RECORDS: [u64; 2] = [1, 3];

#[test]
fn a_directory_of_format_1_is_verified_to_the_last_record() {
    let folder = Folder::new();
    let data = unpack(&folder);
    let verify = ["verify", data.to_str().unwrap(), "--deep"];
    let json = ["--output", "json"];
    let mut told = Corelog::offline()
        .run(verify.iter().chain(&json))
        .json_lines();
    let summary = told.pop().unwrap()["summary"].clone();
    let [found] = &told[..] else {
        panic!("something else was found: {told:?}");
    };
    assert_eq!(
        (&found["grade"], &found["what"]),
        (&"note".into(), &"torn".into())
    );
    assert_eq!(
        found["found"],
        format!("{} bytes that are no sound batch", cut_off().len())
    );
    let batches = BATCHES.into_iter().chain(BATCHES_KEPT);
    assert_eq!(summary["batches"], batches.clone().sum::<u64>());
    let records = batches.zip(RECORDS.into_iter().cycle());
    let records = records.map(|(batches, each)| batches * each);
    assert_eq!(summary["records"], records.sum::<u64>());
}

#[test]
fn a_directory_of_format_1_is_opened_read_and_gone_on_with() {
    let folder = Folder::new();
    let data = unpack(&folder);
    let sealed = data.join("topics/t/0/00000000000000000000.log");
    let before = std::fs::read(&sealed).unwrap();
    let server = Server::start(&data);
    let (mut wire, topic) = at(&server, "t");
    for partition in 0..2 {
        assert_holds(&mut wire, &topic, partition, BATCHES[partition as usize]);
    }
    // What was cut off is kept aside, as it was.
    let kept_aside: Vec<Vec<u8>> = std::fs::read_dir(data.join("quarantine"))
        .unwrap()
        .map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .collect();
    assert!(kept_aside == [cut_off()], "{} files", kept_aside.len());

    for partition in 0..2 {
        let count = BATCHES[partition as usize];
        produce(&mut wire, &topic, partition, count..count + 3);
        assert_holds(&mut wire, &topic, partition, count + 3);
    }
    assert!(std::fs::read(&sealed).unwrap() == before, "it is sealed");
    assert_eq!(server.stop().status.code(), Some(0));
    Corelog::offline().run([Path::new("verify"), &data]).done();
}

#[test]
fn a_snapshot_of_format_1_is_restored() {
    let folder = Folder::new();
    let server = Server::start(&unpack(&folder));
    let restore = ["restore", "s", "--topic", "restored"];
    Corelog::to(&server).run(restore).done();
    let (mut wire, topic) = at(&server, "restored");
    for partition in 0..2 {
        assert_holds(
            &mut wire,
            &topic,
            partition,
            BATCHES_KEPT[partition as usize],
        );
    }
}

/// The golden directory, on its own.
fn unpack(folder: &Folder) -> PathBuf {
    let mut files = tar::Archive::new(GzDecoder::new(PACKED));
    files.unpack(folder.path()).unwrap();
    folder.path().join("data")
}

/// A topic that a server has.
fn at(server: &Server, name: &str) -> (Wire, Target) {
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let request = describe_topic::Request {
        name: name.parse().unwrap(),
    };
    let (told, _) = wire.call(&request, &[]).unwrap().unwrap();
    let topic = Target {
        name: request.name,
        id: told.id,
    };
    (wire, topic)
}

/// Holds all records of a partition against what was produced.
fn assert_holds(wire: &mut Wire, topic: &Target, partition: u32, batches: u64) {
    let bytes = wire.read_all(topic, partition, Offset::ZERO);
    let mut found = BTreeMap::new();
    for bytes in Batches::over(&bytes) {
        let view = View::verify(bytes.unwrap()).unwrap();
        let plain = view.decompress(BYTES_MAX).unwrap();
        for record in Records::over(&plain, &view) {
            let record = record.unwrap();
            let owned = Record {
                timestamp: record.timestamp,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record
                    .headers()
                    .map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)))
                    .collect(),
            };
            found.insert(record.offset.get(), owned);
        }
    }
    let count = batches * RECORDS[partition as usize];
    let expected: BTreeMap<_, _> = (0..count).map(|it| (it, record(partition, it))).collect();
    assert!(found == expected, "{topic:?}/{partition} holds others");
}

/// The record at an offset, of which others in its partition lack a part.
fn record(partition: u32, offset: u64) -> Record {
    let text = format!("record {offset} of partition {partition}; ");
    // Some fifty of partition 0 fill a segment of 1 MiB.
    let times = if partition == 0 { 800 } else { 10 };
    Record {
        timestamp: Timestamp::from_millis(TIME + i64::try_from(offset).unwrap()),
        key: (!offset.is_multiple_of(3)).then(|| format!("key {}", offset % 7).into_bytes()),
        value: (offset % 11 != 10).then(|| text.repeat(times).into_bytes()),
        headers: (0..offset % 3)
            .map(|number| (format!("header {number}"), (number > 0).then(Vec::new)))
            .collect(),
    }
}

const TIME: i64 = 1_700_000_000_000;

/// The batch with this number of a partition, as a producer sends it.
fn built(partition: u32, number: u64) -> Vec<u8> {
    let codecs = Codec::ALL.len() as u64;
    let codec = match partition {
        0 => Codec::None,
        _ => Codec::ALL[usize::try_from(number % codecs).unwrap()],
    };
    let mut builder = Builder::new(codec);
    let count = RECORDS[partition as usize];
    for offset in number * count..(number + 1) * count {
        builder.append_record(&record(partition, offset)).unwrap();
    }
    builder.build().unwrap()
}

fn produce(wire: &mut Wire, topic: &Target, partition: u32, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let bytes = built(partition, number);
        let (answer, _) = wire
            .call(&topic.produce(partition), &bytes)
            .unwrap()
            .unwrap();
        assert_eq!(answer.base.get(), number * RECORDS[partition as usize]);
    }
}

/// The begin of the batch behind the last one of partition 0, of which the rest did not come to the disk.
fn cut_off() -> Vec<u8> {
    let mut bytes = built(0, BATCHES[0]);
    let base = Offset::new(BATCHES[0] * RECORDS[0]).unwrap();
    batch::patch(&mut bytes, base, LeaderEpoch::new(0).unwrap());
    bytes.truncate(bytes.len() * 2 / 3);
    bytes
}

#[test]
#[ignore = "golden files are for ever: this is how one was made"]
fn a_server_leaves_a_directory() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Server::start(&data);
    let corelog = Corelog::to(&server);
    let create = ["topic", "create", "t", "--partitions", "2"];
    let settings = ["--segment-bytes", "1MiB", "--retention-bytes", "1GiB"];
    corelog.run(create.iter().chain(&settings)).done();
    let (mut wire, topic) = at(&server, "t");
    for partition in 0..2 {
        let kept = BATCHES_KEPT[partition as usize];
        produce(&mut wire, &topic, partition, 0..kept);
    }
    until("a segment is sealed", || {
        let request = describe_topic::Request {
            name: topic.name.clone(),
        };
        let (told, _) = wire.call(&request, &[]).unwrap().unwrap();
        told.partitions[0].segments == 2
    });
    corelog.run(["snapshot", "create", "s"]).done();
    for partition in 0..2 {
        let numbers = BATCHES_KEPT[partition as usize]..BATCHES[partition as usize];
        produce(&mut wire, &topic, partition, numbers);
    }
    drop(wire);
    server.kill();
    let stores = std::fs::read_dir(data.join("topics/t/0")).unwrap();
    let stores = stores.map(|file| file.unwrap().path());
    let active = stores
        .filter(|path| path.extension().is_some_and(|ending| ending == "log"))
        .max()
        .unwrap();
    let bytes = std::fs::read(&active).unwrap();
    let whole = Batches::over(&bytes).map_while(Result::ok);
    let end: usize = whole
        .filter(|bytes| View::verify(bytes).is_ok())
        .map(<[u8]>::len)
        .sum();
    let store = File::options().write(true).open(&active).unwrap();
    store.write_all_at(&cut_off(), end as u64).unwrap();
    std::fs::remove_file(data.join("place")).unwrap();

    let packed = Command::new("tar")
        .args([
            "--sort=name",
            "--mtime=@1700000000",
            "--owner=0",
            "--group=0",
        ])
        .args(["--numeric-owner", "--create", "--directory"])
        .arg(folder.path())
        .args(["--use-compress-program=gzip -9n", "data"])
        .output()
        .unwrap();
    assert!(packed.status.success());
    let place = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/data/directory.tar.gz"
    );
    let mut file = File::create_new(place).unwrap();
    file.write_all(&packed.stdout).unwrap();
}
