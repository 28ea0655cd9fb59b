//! What is produced is what is consumed: every file, every codec, before and after a restart.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::corelog::Corelog;
use crate::support::folder::Folder;
use crate::support::input::{self, Input};
use crate::support::server::{Server, Start};

const SEED: u64 = 20_260_101;
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

#[test]
fn a_file_comes_back_byte_for_byte_with_each_codec_and_after_a_restart() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let inputs = input::all(SEED);
    let topic = |index: usize, codec: &str| format!("file-{index}-{codec}");
    let server = Server::start(&data);
    let corelog = Corelog::to(&server);
    for (index, input) in inputs.iter().enumerate() {
        let file = folder.file("input", &input.bytes);
        for codec in CODECS {
            let topic = topic(index, codec);
            corelog.run(["topic", "create", &topic]).done();
            let produce = [
                "produce",
                &topic,
                "--partition",
                "0",
                "--compression",
                codec,
            ];
            corelog
                .run([&produce[..], &[file.to_str().unwrap()]].concat())
                .done();
            assert_same(&corelog, &topic, input);
        }
    }
    assert_eq!(server.stop().status.code(), Some(0));
    let server = Server::start(&data);
    let corelog = Corelog::to(&server);
    for (index, input) in inputs.iter().enumerate() {
        CODECS
            .iter()
            .for_each(|codec| assert_same(&corelog, &topic(index, codec), input));
    }
}

fn assert_same(corelog: &Corelog, topic: &str, input: &Input) {
    let printed = corelog.run(["consume", topic, "--partition", "0"]).done();
    let expected = input.with_last_newline();
    // Not assert_eq: a mebibyte of bytes helps nobody.
    let name = &input.name;
    let same = printed
        .iter()
        .zip(&expected)
        .take_while(|(printed, wanted)| printed == wanted);
    let same = same.count();
    assert!(
        printed == expected,
        "{name} through {topic} differs at byte {same}"
    );
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
