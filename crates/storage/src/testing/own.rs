//! Help for tests of this crate alone.

use corelog_record::{ByteSize, Offset, Ordinal, Timestamp};

use super::{batch, chore, flush};
use crate::disk::{BLOCK_BYTES, Dir, File, Open, block_on, padded};
use crate::format::edit::Edit;
use crate::format::manifest::Header;
use crate::log::{Fetched, Log, Options, Ownership, Scrubbed};

/// So many ways the blocks and entries that were not synced may have gone are tried at each step.
pub(crate) const SEEDS: u64 = 4;

/// A time in the life of a log.
pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + millis)
}

/// The offset of this number.
pub(crate) fn offset(value: u64) -> Offset {
    Offset::new(value).unwrap()
}

/// The last ordinal but one.
pub(crate) fn last_but_one() -> Ordinal {
    Ordinal::new(Ordinal::MAX.get() - 1).unwrap()
}

/// A manifest of these edits, also if they do not follow from one another.
pub(crate) fn manifest(header: &Header, edits: &[Edit]) -> Vec<u8> {
    let frames = edits.iter().zip(1..);
    let mut bytes = header.encode();
    bytes.extend(frames.flat_map(|(edit, sequence)| edit.encode(sequence)));
    bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
    bytes
}

/// What there is in a directory, which may be missing.
pub(crate) fn names<D: Dir>(dir: &D) -> Vec<String> {
    let entries = block_on(dir.list()).unwrap_or_default();
    entries.into_iter().map(|entry| entry.name).collect()
}

/// The stores of the log in `root`/p0.
pub(crate) fn stores<D: Dir>(root: &D) -> Vec<String> {
    let mut names = names(&root.child("p0"));
    names.retain(|name| name.ends_with(".log"));
    names
}

/// Small segments, so that little data makes many.
pub(crate) fn small() -> Options {
    Options {
        segment_bytes_max: ByteSize::from_kib(16),
        index_interval_bytes: 512,
        ..Options::default()
    }
}

/// The same of a log that follows another: it begins no epoch of its own.
pub(crate) fn follower(options: Options) -> Options {
    Options {
        ownership: Ownership::Follower,
        ..options
    }
}

/// Appends `count` batches of one record of `bytes` bytes, each durable.
pub(crate) fn fill<D: Dir>(log: &mut Log<D>, count: usize, bytes: usize) {
    for number in 0..count {
        let value = vec![u8::try_from(number % 251).unwrap(); bytes];
        log.append(&batch(&[&value], at(0)), at(0)).unwrap();
        flush(log, at(0)).unwrap();
    }
}

/// Does all chores that are due.
pub(crate) fn chores<D: Dir>(log: &mut Log<D>, now: i64, is_idle: bool) {
    while chore(log, at(now), is_idle).unwrap().is_some() {}
}

/// Scrubs to the end of a pass, in pieces of so many bytes; without a sealed segment there is none.
pub(crate) fn scrub<D: Dir>(log: &mut Log<D>, bytes_max: usize, now: Timestamp) -> Vec<Scrubbed> {
    let mut pieces: Vec<Scrubbed> = Vec::new();
    while pieces.last().is_none_or(|last| !last.is_pass_complete) {
        let Some(plan) = log.plan_scrub(now, bytes_max).unwrap() else {
            break;
        };
        pieces.push(log.complete_scrub(block_on(plan.run()), now));
        assert!(pieces.len() < 10_000, "a pass ends");
    }
    pieces
}

/// All bytes that were fetched.
pub(crate) fn bytes<D: Dir>(fetched: &Fetched<D>) -> Vec<u8> {
    let pieces = fetched.pieces.iter();
    pieces.flat_map(|piece| piece.to_vec()).collect()
}

/// All batches of a log by a reader, chain verified.
pub(crate) fn walk<D: Dir>(log: &Log<D>) -> Vec<Vec<u8>> {
    let mut reader = log.reader(Offset::ZERO);
    let mut batches = Vec::new();
    while let Some(batch) = block_on(reader.next()).unwrap() {
        batches.push(batch.bytes().to_vec());
    }
    batches
}

/// Changes a file behind the log's back, durably. Its length stays, but for what is pushed.
pub(crate) fn alter<D: Dir>(dir: &D, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = block_on(dir.read(name, 1 << 30)).unwrap();
    change(&mut bytes);
    let file = block_on(dir.open(name, Open::Write)).unwrap();
    block_on(file.write_at(padded(dir, &bytes).into(), 0)).unwrap();
    block_on(file.set_len(bytes.len() as u64)).unwrap();
    block_on(file.sync_all()).unwrap();
}
