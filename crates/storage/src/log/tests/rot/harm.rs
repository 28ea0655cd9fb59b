//! What can rot, and how.

use std::ops::Range;

use corelog_record::batch::Header;
use fastrand::Rng;

use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, Entry, block_on};
use crate::log::tests::recovery::change;

/// The fields of a batch's header, and where they lie.
const FIELDS: [(&str, Range<usize>); 13] = [
    ("base offset", 0..8),
    ("batch length", 8..12),
    ("leader epoch", 12..16),
    ("magic", 16..17),
    ("checksum", 17..21),
    ("attributes", 21..23),
    ("last offset delta", 23..27),
    ("base timestamp", 27..35),
    ("max timestamp", 35..43),
    ("producer id", 43..51),
    ("producer epoch", 51..53),
    ("base sequence", 53..57),
    ("record count", 57..61),
];

/// What is changed, and how: one row of the report.
pub(super) type Harm = (String, &'static str);

/// Changes something in `root`/p0 at random. `None` if nothing was changed after all.
pub(super) fn harm(root: &MemoryDir, rng: &mut Rng) -> Option<Harm> {
    let dir = root.child("p0");
    let files = block_on(dir.list()).unwrap();
    let named = |suffix: &str| -> Vec<Entry> {
        let is_it = |entry: &&Entry| entry.name.ends_with(suffix) && entry.bytes > 0;
        files.iter().filter(is_it).cloned().collect()
    };
    let (stores, indexes) = (named(".log"), named(".index"));
    let pick = |rng: &mut Rng, of: &[Entry]| of[rng.usize(..of.len())].clone();
    match rng.u32(0..100) {
        0..=29 => {
            let store = pick(rng, &stores);
            let batches = batches(&dir, &store.name);
            let batch = batches[rng.usize(..batches.len())].clone();
            let (field, range) = FIELDS[rng.usize(..FIELDS.len())].clone();
            let range = batch.start + range.start..batch.start + range.end;
            let how = alter(root, &store.name, range, rng)?;
            Some((format!("batch: {field}"), how))
        }
        30..=41 => {
            let store = pick(rng, &stores);
            let batches = batches(&dir, &store.name);
            let batch = batches[rng.usize(..batches.len())].clone();
            let how = alter(root, &store.name, batch.start + 61..batch.end, rng)?;
            Some(("batch: payload".to_owned(), how))
        }
        42..=51 => {
            let store = pick(rng, &stores);
            let how = sectors(root, &store.name, rng)?;
            Some(("store: sectors".to_owned(), how))
        }
        52..=56 => {
            let index = pick(rng, &indexes);
            let how = alter(root, &index.name, 0..64, rng)?;
            Some(("index: header".to_owned(), how))
        }
        57..=62 => {
            let index = pick(rng, &indexes);
            let end = usize::try_from(index.bytes).unwrap();
            let how = alter(root, &index.name, 64..end.max(65), rng)?;
            Some(("index: rows".to_owned(), how))
        }
        63..=66 => {
            let how = alter(root, "manifest", 0..512, rng)?;
            Some(("manifest: header".to_owned(), how))
        }
        67..=74 => {
            let bytes = block_on(dir.read("manifest", 1 << 20)).unwrap();
            let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
            let how = alter(root, "manifest", 4096..end.max(4097), rng)?;
            Some(("manifest: edits".to_owned(), how))
        }
        75..=79 => {
            let slot = 4096 * rng.usize(0..2);
            let how = alter(root, "mark", slot..slot + 512, rng)?;
            Some(("mark".to_owned(), how))
        }
        80..=87 => length(root, &pick(rng, &files), rng),
        88..=94 => names(root, &files, rng),
        _ => siblings(root, &files, rng),
    }
}

/// Where the batches of a store lie.
fn batches(dir: &MemoryDir, name: &str) -> Vec<Range<usize>> {
    let bytes = block_on(dir.read(name, 1 << 24)).unwrap();
    let (mut all, mut at) = (Vec::new(), 0);
    while let Some(Ok(header)) = bytes.get(at..).map(Header::parse) {
        let end = at + header.total_bytes();
        all.push(at..end);
        at = end;
    }
    all
}

/// Changes bytes within `range`.
fn alter(root: &MemoryDir, name: &str, range: Range<usize>, rng: &mut Rng) -> Option<&'static str> {
    let before = block_on(root.child("p0").read(name, 1 << 24)).unwrap();
    let range = range.start.min(before.len())..range.end.min(before.len());
    let mut after = before.clone();
    let bytes = &mut after[range];
    if bytes.is_empty() {
        return None;
    }
    let at = rng.usize(..bytes.len());
    let how = match rng.u32(0..4) {
        0 => {
            bytes[at] ^= 1 << rng.u32(0..8);
            "flip"
        }
        1 => {
            let end = bytes.len().min(at + rng.usize(1..600));
            bytes[at..end].fill(0);
            "zero"
        }
        2 => {
            let other = rng.usize(..bytes.len());
            let count = rng.usize(1..64).min(bytes.len() - at.max(other));
            for step in 0..count {
                bytes.swap(at + step, other + step);
            }
            "swap"
        }
        _ => {
            let end = bytes.len().min(at + rng.usize(1..40));
            bytes[at..end].fill_with(|| rng.u8(..));
            "noise"
        }
    };
    put(root, name, &before, after)?;
    Some(how)
}

/// Changes whole sectors: lost, exchanged, or those of another file.
fn sectors(root: &MemoryDir, name: &str, rng: &mut Rng) -> Option<&'static str> {
    const SECTOR: usize = 512;
    let dir = root.child("p0");
    let before = block_on(dir.read(name, 1 << 24)).unwrap();
    let mut after = before.clone();
    let count = after.len().div_ceil(SECTOR);
    let start = rng.usize(..count) * SECTOR;
    let end = after.len().min(start + SECTOR * rng.usize(1..9));
    let how = match rng.u32(0..3) {
        0 => {
            after[start..end].fill(0);
            "zero"
        }
        1 => {
            let other = rng.usize(..count) * SECTOR;
            let size = (end - start).min(after.len() - other);
            after.copy_within(other..other + size, start);
            "misdirect"
        }
        _ => {
            let other = block_on(root.child("p1").read(name, 1 << 24)).ok()?;
            let size = (end - start).min(other.len().saturating_sub(start));
            after[start..start + size].copy_from_slice(&other[start..start + size]);
            "a sibling's"
        }
    };
    put(root, name, &before, after)?;
    Some(how)
}

fn length(root: &MemoryDir, file: &Entry, rng: &mut Rng) -> Option<Harm> {
    let before = block_on(root.child("p0").read(&file.name, 1 << 24)).unwrap();
    let mut after = before.clone();
    let how = match rng.bool() {
        true => {
            after.truncate(rng.usize(..=before.len()));
            "cut"
        }
        false => {
            let more = rng.usize(1..9000);
            let byte = [0, rng.u8(..)][rng.usize(..2)];
            after.resize(before.len() + more, byte);
            "extend"
        }
    };
    put(root, &file.name, &before, after)?;
    Some((format!("length: {}", kind(&file.name)), how))
}

fn names(root: &MemoryDir, files: &[Entry], rng: &mut Rng) -> Option<Harm> {
    let dir = root.child("p0");
    let file = &files[rng.usize(..files.len())].name;
    let like: Vec<_> = files
        .iter()
        .filter(|other| kind(&other.name) == kind(file))
        .collect();
    let other = &like[rng.usize(..like.len())].name;
    let how = match rng.u32(0..3) {
        0 => {
            block_on(dir.remove(file)).unwrap();
            "remove"
        }
        1 if file != other => {
            exchange((&dir, file), (&dir, other));
            "swap"
        }
        _ => {
            let (stem, suffix) = file.split_at(file.len().min(20));
            let number: u64 = stem.parse().ok()?;
            let name = format!("{:020}{suffix}", number + rng.u64(1..50));
            block_on(dir.rename(file, &dir, &name)).unwrap();
            "rename"
        }
    };
    Some((format!("name: {}", kind(file)), how))
}

fn siblings(root: &MemoryDir, files: &[Entry], rng: &mut Rng) -> Option<Harm> {
    let (dir, other) = (root.child("p0"), root.child("p1"));
    if rng.u32(0..4) == 0 {
        for file in files {
            exchange((&dir, &file.name), (&other, &file.name));
        }
        return Some(("sibling: directory".to_owned(), "swap"));
    }
    let file = &files[rng.usize(..files.len())].name;
    block_on(other.read(file, 1 << 24)).ok()?;
    exchange((&dir, file), (&other, file));
    Some((format!("sibling: {}", kind(file)), "swap"))
}

/// Exchanges two files.
fn exchange(one: (&MemoryDir, &str), two: (&MemoryDir, &str)) {
    let read = |(dir, name): (&MemoryDir, &str)| block_on(dir.read(name, 1 << 24)).unwrap();
    let (first, second) = (read(one), read(two));
    block_on(one.0.write_aside(one.1, &second)).unwrap();
    block_on(two.0.write_aside(two.1, &first)).unwrap();
}

fn put(root: &MemoryDir, name: &str, before: &[u8], after: Vec<u8>) -> Option<()> {
    (before != after).then(|| change(root, name, |bytes| *bytes = after))
}

/// What kind of file `name` is.
fn kind(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, kind)| kind)
}
