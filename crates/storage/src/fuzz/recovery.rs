//! Opening a directory whose files anything may have happened to. No byte that was not appended is
//! served, nothing panics, and what one opening settled the next one finds.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::OnceLock;

use corelog_record::batch::{Batches, HEADER_BYTES};
use corelog_record::{ByteSize, Offset, Timestamp};

use super::split;
use crate::Log;
use crate::disk::memory::MemoryDir;
use crate::disk::{BLOCK_BYTES, Dir, File, Open, block_on, padded};
use crate::log::{OpenReport, Options, ReadError};
use crate::testing;

/// A log as it lay on the disk, and all that was ever appended to it.
pub(super) struct Image {
    files: Vec<(String, Vec<u8>)>,
    /// The batches by their base offsets, but for the epoch, which no checksum covers.
    batches: BTreeMap<u64, Vec<u8>>,
}

/// Opens the log after the changes that `input` describes, four bytes each, and reads all of it.
pub(super) fn open(input: &[u8]) {
    let _refused = opened(input);
}

/// The same; what the first opening found, if it opened.
pub(super) fn opened(input: &[u8]) -> Option<OpenReport> {
    let (which, changes) = split(input)?;
    let images = images();
    let image = &images[usize::from(which) % images.len()];
    let mut files = image.files.clone();
    for change in changes.chunks_exact(CHANGE_BYTES).take(CHANGES_MAX) {
        bend(&mut files, change);
    }
    let root = MemoryDir::new();
    let dir = root.child("p0");
    assert!(block_on(dir.create()).is_ok());
    for (name, bytes) in &files {
        write(&dir, name, bytes);
    }
    let (log, report) = testing::open(&root, options(), 3, at(1_000)).ok()?;
    assert!(log.log_start() <= log.durable());
    assert_eq!(log.durable(), log.log_end());
    read(&log, &image.batches);
    let (start, end) = (log.log_start(), log.log_end());
    drop(log);
    match testing::open(&root, options(), 4, at(2_000)) {
        Ok((again, _)) => {
            assert_eq!((again.log_start(), again.log_end()), (start, end));
            read(&again, &image.batches);
        }
        Err(error) => panic!("what was opened once is opened again: {error}"),
    }
    Some(report)
}

/// Reads all that can be read, and checks that it was appended so.
fn read(log: &Log<MemoryDir>, appended: &BTreeMap<u64, Vec<u8>>) {
    let mut next = log.log_start();
    while next < log.durable() {
        let planned = log.plan_read(next, Offset::MAX, 64 << 10);
        let fetched = planned.and_then(|plan| block_on(plan.run()));
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(ReadError::Damaged { from, to, .. }) => {
                assert!(
                    from <= next,
                    "damage from {from} is told where it is met, at {next}"
                );
                assert!(next < to, "damage from {from} ends at {to}, behind {next}");
                next = to;
                continue;
            }
            // A store that is gone, or shorter than it was.
            Err(_) => return,
        };
        assert!(next < fetched.next, "a read below the end moves on");
        for batch in fetched.pieces.iter().flat_map(|piece| Batches::over(piece)) {
            let Ok(batch) = batch else {
                panic!("a piece holds whole batches")
            };
            let known = appended.get(&base(batch));
            assert_eq!(
                known,
                Some(&without_epoch(batch)),
                "only what was appended is served"
            );
        }
        next = fetched.next;
    }
}

/// One change of a file: what, which, where, how.
fn bend(files: &mut Vec<(String, Vec<u8>)>, change: &[u8]) {
    let &[what, which, high, low] = change else {
        return;
    };
    let (count, which) = (files.len(), usize::from(which));
    if count == 0 {
        return;
    }
    let place = usize::from(u16::from_le_bytes([low, high]));
    let (other, how) = (usize::from(high) % count, low);
    let (_, bytes) = &mut files[which % count];
    let len = bytes.len().max(1);
    let at = place * (len / (1 << 16) + 1) % len;
    match what % 10 {
        0..=3 => bytes
            .iter_mut()
            .skip(at)
            .take(1)
            .for_each(|byte| *byte ^= 1 << (what >> 5)),
        4 => bytes
            .iter_mut()
            .skip(at)
            .take(1)
            .for_each(|byte| *byte = how),
        5 => {
            let sector = at - at % 512;
            bytes
                .iter_mut()
                .skip(sector)
                .take(512)
                .for_each(|byte| *byte = 0);
        }
        6 => bytes.truncate(at),
        7 => {
            let copied: Vec<_> = bytes.iter().copied().take(512).collect();
            bytes.extend(copied);
        }
        8 => {
            let taken = std::mem::take(bytes);
            let put = std::mem::replace(&mut files[other].1, taken);
            files[which % count].1 = put;
        }
        _ => drop(files.remove(which % count)),
    }
}

/// Logs after a kill, and after a clean stop.
pub(super) fn images() -> &'static [Image; 2] {
    static IMAGES: OnceLock<[Image; 2]> = OnceLock::new();
    IMAGES.get_or_init(|| [image(false), image(true)])
}

fn image(is_clean: bool) -> Image {
    let root = MemoryDir::new();
    let Ok((mut log, _)) = testing::open(&root, options(), 1, at(0)) else {
        panic!("a new log opens");
    };
    for round in 0..24_u8 {
        let value = [round; 200];
        let batch = testing::batch(&[&value, b"", &[round]], at(round.into()));
        assert!(log.append(&batch, at(round.into())).is_ok());
        if round % 2 == 1 {
            assert!(testing::flush(&mut log, at(round.into())).is_ok());
        }
        if round % 6 == 5 && round < 20 {
            assert!(testing::settle(&mut log, at(round.into())).is_ok());
        }
    }
    if is_clean {
        assert!(block_on(log.close(at(100))).is_ok());
    }
    drop(log);
    let dir = root.child("p0");
    let Ok(entries) = block_on(dir.list()) else {
        panic!("the directory is there");
    };
    let files = entries.into_iter().map(|entry| {
        let bytes = block_on(dir.read(&entry.name, 1 << 20)).unwrap_or_default();
        (entry.name, bytes)
    });
    let files: Vec<_> = files.collect();
    let stores = files
        .iter()
        .filter(|(name, _)| crate::segment::name::is_store(name));
    let batches = stores.flat_map(|(_, bytes)| Batches::over(bytes).map_while(Result::ok));
    let batches = batches.map(|batch| (base(batch), without_epoch(batch)));
    Image {
        batches: batches.collect(),
        files,
    }
}

pub(super) fn write(dir: &MemoryDir, name: &str, bytes: &[u8]) {
    let file = block_on(dir.open(name, Open::Create));
    let Ok(file) = file.map(Rc::new) else {
        panic!("names are there once");
    };
    if !bytes.is_empty() {
        let written = block_on(file.write_at(Rc::new(padded(dir, bytes)), 0));
        assert!(written.is_ok());
    }
    if !bytes.len().is_multiple_of(BLOCK_BYTES) {
        assert!(block_on(file.set_len(bytes.len() as u64)).is_ok());
    }
}

/// The base offset, as the first eight bytes say it.
#[expect(clippy::big_endian_bytes, reason = "the batch format is big-endian")]
fn base(batch: &[u8]) -> u64 {
    batch
        .first_chunk()
        .map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn without_epoch(batch: &[u8]) -> Vec<u8> {
    assert!(HEADER_BYTES <= batch.len());
    let mut batch = batch.to_vec();
    batch[12..16].fill(0);
    batch
}

fn options() -> Options {
    Options {
        segment_bytes_max: ByteSize::from_kib(2),
        index_interval_bytes: 256,
        tail_bytes_max: 0,
        ..Options::default()
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

const CHANGE_BYTES: usize = 4;
const CHANGES_MAX: usize = 16;

impl Image {
    /// How many batches were appended.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.batches.len()
    }

    /// The bytes of the first file whose name ends in `suffix`.
    pub(super) fn file(&self, suffix: &str) -> &[u8] {
        let file = self.files.iter().find(|(name, _)| name.ends_with(suffix));
        file.map_or(&[][..], |(_, bytes)| bytes)
    }
}
