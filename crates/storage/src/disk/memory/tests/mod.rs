//! Tests of the disk in memory: what a power cut may take, and what it may not.

mod crash;
mod cuts;
mod model;

use ::std::collections::BTreeSet;

use super::super::{Buf, File, Space, block_on};
use super::*;

fn file(dir: &MemoryDir, name: &str) -> Rc<MemoryFile> {
    Rc::new(block_on(dir.open(name, Open::Create)).unwrap())
}

fn filled(bytes: usize, byte: u8) -> Rc<AlignedBuf> {
    let mut buf = AlignedBuf::zeroed(bytes);
    buf.as_mut_slice().fill(byte);
    Rc::new(buf)
}

fn write(file: &MemoryFile, position: u64, bytes: usize, byte: u8) {
    block_on(file.write_at(filled(bytes, byte), position)).unwrap();
}

fn read(dir: &MemoryDir, name: &str) -> Vec<u8> {
    block_on(dir.read(name, u64::MAX)).unwrap()
}

fn names(dir: &MemoryDir) -> String {
    let entries = block_on(dir.list()).unwrap();
    entries
        .iter()
        .map(|entry| &*entry.name)
        .collect::<Vec<_>>()
        .join(" ")
}

/// What is seen of a disk over many power cuts.
fn seen<T: Ord>(dir: &MemoryDir, look: impl Fn(&MemoryDir) -> T) -> BTreeSet<T> {
    (0..100).map(|seed| look(&dir.power_cut(seed))).collect()
}
