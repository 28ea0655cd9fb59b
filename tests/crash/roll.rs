//! SIGKILL between a roll and the sealing of the store that was rolled, and a byte of that store that
//! rots before the server comes back.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::produce;
use corelog_record::Offset;
use corelog_record::batch::Codec;
use corelog_storage::disk::block_on;
use corelog_storage::disk::std::StdDir;
use corelog_storage::manifest;

use crate::kept::{check, value};
use crate::support::folder::Folder;
use crate::support::server::{Server, Start};
use crate::support::wire::{Target, Wire, batch};

/// So many kills are enough for one of them to come before the seal.
const KILLS_MAX: usize = 50;

/// How many records are on their way at once.
const WINDOW: u64 = 4;

/// Of so many records, some fifty of which fill a store, one is in a new one.
const RECORDS_MAX: u64 = 500;

#[test]
fn a_byte_that_rots_between_roll_and_seal_is_damage_and_costs_no_newer_record() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let partition = data.join("topics/t/0");
    let mut found = None;
    let mut acked = 0;
    for kills in 1..=KILLS_MAX {
        let server = Start::on(&data).start();
        let topic = Wire::open(server.ready.listen)
            .unwrap()
            .topic("t", 1, 1 << 20);
        acked = produce_until_rolled(server, &topic, &partition, acked);
        found = unsealed(&partition, acked);
        if found.is_some() {
            println!("kill {kills} came before the seal, {acked} records were promised");
            break;
        }
    }
    let (older, newer) = found.expect("a kill between a roll and a seal");
    let store = store(&partition, older);
    let bytes = rot_near_end(&store);

    for _ in 0..2 {
        let server = Start::on(&data).start();
        let mut wire = Wire::open(server.ready.listen).unwrap();
        let topic = wire.topic("t", 1, 1 << 20);
        let mut next = older;
        let error = loop {
            match wire.call(&topic.fetch(0, next), &[]).unwrap() {
                Ok((answer, _)) => {
                    assert!(next < answer.next, "the rot is met before the end");
                    next = answer.next;
                }
                Err(error) => break error,
            }
        };
        assert!(error.is(ErrorCode::Damaged), "{error:?}");
        let last = Offset::new(newer.get() - 1).unwrap();
        let told = (error.detail.segment, error.detail.offset, error.detail.next);
        assert_eq!(told, (Some(older), Some(last), Some(newer)), "{error:?}");
        let end = check(&mut wire, &topic, 0, newer);
        assert!(
            acked <= end,
            "{acked} records were promised, {end} are there"
        );
        acked = produce_one(&mut wire, &topic, end);
        let kept = fs::read(&store).unwrap();
        assert!(kept.starts_with(&bytes), "damage is never cut");
        server.kill();
    }
}

/// Produces from `acked` on until a store that is newer than all before holds acknowledged records, and
/// kills the server. Gives what was acknowledged.
fn produce_until_rolled(server: Server, topic: &Target, partition: &Path, acked: u64) -> u64 {
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let from = Offset::new(acked).unwrap();
    let (answer, _) = wire.call(&topic.fetch(0, from), &[]).unwrap().unwrap();
    let mut acked = answer.high_watermark.get();
    let before = newest(partition);
    let (first, mut sent) = (acked, acked);
    while newest(partition) == before || acked <= newest(partition).unwrap_or(0) {
        while sent < acked + WINDOW {
            let batch = batch(Codec::None, [value(0, sent)]);
            wire.send(&topic.produce(0), &batch).unwrap();
            sent += 1;
        }
        let (answer, _) = wire.receive().unwrap().read::<produce::Request>().unwrap();
        assert_eq!(answer.base.get(), acked, "offsets are dense");
        acked = answer.end.get();
        assert!(acked < first + RECORDS_MAX, "no store is rolled");
    }
    let ended = server.kill();
    assert!(!ended.log.contains("panicked"), "{}", ended.log);
    acked
}

/// The base of the newest store of a partition.
fn newest(partition: &Path) -> Option<u64> {
    let entries = fs::read_dir(partition).ok()?;
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter_map(|name| name.strip_suffix(".log")?.parse().ok())
        .max()
}

/// The bases of a store that is not sealed and of its successor, if that holds promised records.
fn unsealed(partition: &Path, acked: u64) -> Option<(Offset, Offset)> {
    let (_, state) = block_on(manifest::read(&StdDir::new(partition))).ok()?;
    let mut pairs = state.segments().windows(2);
    let pair = pairs.find(|pair| pair[0].seal.is_none())?;
    let (older, newer) = (pair[0].base, pair[1].base);
    (newer.get() < acked).then_some((older, newer))
}

fn store(partition: &Path, base: Offset) -> PathBuf {
    partition.join(format!("{:020}.log", base.get()))
}

/// Turns a byte of the last batch of a store over; gives what the store then holds.
fn rot_near_end(store: &Path) -> Vec<u8> {
    let mut bytes = fs::read(store).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate(end);
    bytes[end - 100] ^= 1;
    let file = OpenOptions::new().write(true).open(store).unwrap();
    let position = u64::try_from(end - 100).unwrap();
    file.write_all_at(&bytes[end - 100..=end - 100], position)
        .unwrap();
    file.sync_all().unwrap();
    bytes
}

/// Produces the next record; gives the offset behind it.
fn produce_one(wire: &mut Wire, topic: &Target, next: u64) -> u64 {
    let batch = batch(Codec::None, [value(0, next)]);
    let (answer, _) = wire.call(&topic.produce(0), &batch).unwrap().unwrap();
    assert_eq!(answer.base.get(), next, "offsets are dense");
    answer.end.get()
}
