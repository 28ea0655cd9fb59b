//! What is produced is what is consumed: every file, every codec, before and after a restart.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::corelog::Corelog;
use crate::support::folder::Folder;
use crate::support::input::{self, Input};
use crate::support::server::{Server, Start};

const SEED: u64 = 20_260_101;

#[test]
fn files_come_back_byte_for_byte_without_compression_also_after_a_restart() {
    assert_files_come_back("none");
}

#[test]
fn files_come_back_byte_for_byte_through_gzip_also_after_a_restart() {
    assert_files_come_back("gzip");
}

#[test]
fn files_come_back_byte_for_byte_through_snappy_also_after_a_restart() {
    assert_files_come_back("snappy");
}

#[test]
fn files_come_back_byte_for_byte_through_lz4_also_after_a_restart() {
    assert_files_come_back("lz4");
}

#[test]
fn files_come_back_byte_for_byte_through_zstd_also_after_a_restart() {
    assert_files_come_back("zstd");
}

fn assert_files_come_back(codec: &str) {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let inputs = input::all(SEED);
    let topic = |index: usize| format!("file-{index}");
    let server = Server::start(&data);
    let corelog = Corelog::to(&server);
    for (index, input) in inputs.iter().enumerate() {
        let (file, topic) = (folder.file("input", &input.bytes), topic(index));
        corelog.run(["topic", "create", &topic]).done();
        let produce = ["produce", &topic, "--partition", "0", "--compression"];
        corelog
            .run([&produce[..], &[codec, file.to_str().unwrap()]].concat())
            .done();
        assert_same(&corelog, &topic, input);
    }
    assert_eq!(server.stop().status.code(), Some(0));
    let server = Server::start(&data);
    let corelog = Corelog::to(&server);
    for (index, input) in inputs.iter().enumerate() {
        assert_same(&corelog, &topic(index), input);
    }
}

fn assert_same(corelog: &Corelog, topic: &str, input: &Input) {
    let printed = corelog.run(["consume", topic, "--partition", "0"]).done();
    let expected = input.with_last_newline();
    // Not assert_eq: a mebibyte of bytes helps nobody.
    if printed != expected {
        let both = printed.iter().zip(&expected);
        let same = both.take_while(|(printed, wanted)| printed == wanted);
        let (name, same) = (&input.name, same.count());
        panic!("{name} through {topic} differs at byte {same}");
    }
}

#[test]
fn eight_partitions_lose_nothing_double_nothing_and_keep_each_files_order() {
    let folder = Folder::new();
    let server = Start::on(&folder.path().join("data")).cores(2).start();
    let corelog = Corelog::to(&server);
    corelog
        .run(["topic", "create", "t", "--partitions", "8"])
        .done();
    let mut sent: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for (index, input) in input::all(SEED).iter().enumerate() {
        // A number before each line makes it unlike any other of its file.
        let numbered = |(number, line): (usize, &&[u8])| {
            let mut numbered = format!("{number:08} ").into_bytes();
            // A record's limit includes the number.
            numbered.extend_from_slice(&line[..line.len().min((1 << 20) - 100)]);
            numbered
        };
        let lines: Vec<Vec<u8>> = input.lines().iter().enumerate().map(numbered).collect();
        let mut bytes = lines.join(&b'\n');
        bytes.push(b'\n');
        let header = format!("file={index}");
        corelog.feed(["produce", "t", "-H", &header], &bytes).done();
        sent.insert(header, lines);
    }
    let printed = corelog
        .run(["consume", "t", "--format", r"%p\x00%h\x00%v\n"])
        .done();
    let printed = printed.strip_suffix(b"\n").unwrap();
    let mut received: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    let mut last: BTreeMap<(String, String), Vec<u8>> = BTreeMap::new();
    for line in printed.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(3, |byte| *byte == 0);
        let mut text = || String::from_utf8(parts.next().unwrap().to_vec()).unwrap();
        let (partition, file) = (text(), text());
        let value = parts.next().unwrap().to_vec();
        let before = last.insert((partition, file.clone()), value.clone());
        assert!(
            before.is_none_or(|before| before < value),
            "{file} is out of order"
        );
        received.entry(file).or_default().push(value);
    }
    for (file, mut values) in received {
        values.sort();
        assert!(
            sent.remove(&file) == Some(values),
            "{file} lost or doubled something"
        );
    }
    sent.retain(|_, lines| !lines.is_empty());
    assert!(sent.is_empty(), "{:?} did not arrive", sent.keys());
    let partitions = last
        .keys()
        .map(|(partition, _)| partition)
        .collect::<BTreeSet<_>>();
    assert!(
        partitions.len() > 1,
        "records without a key spread over partitions"
    );
}

#[test]
fn all_records_of_a_key_are_in_one_partition_in_order() {
    let folder = Folder::new();
    let server = Start::on(&folder.path().join("data")).cores(2).start();
    let corelog = Corelog::to(&server);
    corelog
        .run(["topic", "create", "t", "--partitions", "8"])
        .done();
    let mut random = fastrand::Rng::with_seed(SEED);
    let lines = (0..5_000).map(|number| format!("key-{}:{number:05}\n", random.u32(0..100)));
    let lines: String = lines.collect();
    // Two calls: the partition is the key's, not the call's.
    let half = lines[..lines.len() / 2].rfind('\n').unwrap() + 1;
    for part in [&lines[..half], &lines[half..]] {
        corelog
            .feed(["produce", "t", "--key-separator", ":"], part.as_bytes())
            .done();
    }
    let printed = corelog
        .run(["consume", "t", "--format", r"%p %k %v\n"])
        .text();
    let mut homes: BTreeMap<&str, (&str, Vec<&str>)> = BTreeMap::new();
    for line in printed.lines() {
        let mut parts = line.split(' ');
        let mut next = || parts.next().unwrap();
        let (partition, key, value) = (next(), next(), next());
        let (home, values) = homes.entry(key).or_insert((partition, Vec::new()));
        assert_eq!(*home, partition, "{key}");
        assert!(
            values.last().is_none_or(|last| *last < value),
            "{key} is out of order"
        );
        values.push(value);
    }
    assert_eq!(
        homes
            .values()
            .map(|(_, values)| values.len())
            .sum::<usize>(),
        5_000
    );
    for (key, (home, _)) in homes {
        let expected = corelog_client::partition_of_key(key.as_bytes(), 8);
        assert_eq!(home, expected.to_string(), "{key}");
    }
}
