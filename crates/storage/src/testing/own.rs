//! Help for tests of this crate alone.

use corelog_record::{ByteSize, Offset, Ordinal, Timestamp};

use super::{batch, flush};
use crate::disk::{BLOCK_BYTES, Dir, File, Open, block_on, padded};
use crate::format::edit::Edit;
use crate::format::manifest::Header;
use crate::log::{Log, Options};

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

/// Small segments, so that little data makes many.
pub(crate) fn small() -> Options {
    Options {
        segment_bytes_max: ByteSize::from_kib(16),
        index_interval_bytes: 512,
        ..Options::default()
    }
}

/// Appends `count` batches of one record of `bytes` bytes, each durable.
pub(crate) fn fill<D: Dir>(log: &mut Log<D>, count: usize, bytes: usize, now: Timestamp) {
    for number in 0..count {
        let value = vec![u8::try_from(number % 251).unwrap(); bytes];
        log.append(&batch(&[&value], now), now).unwrap();
        flush(log, now).unwrap();
    }
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
