//! Faults happen where they were asked for, and nowhere else.

mod gates;
mod lies;
mod plans;
mod told;

use ::std::io::ErrorKind;
use ::std::pin::pin;

use super::super::buf::AlignedBuf;
use super::super::memory::MemoryDir;
use super::super::std::StdDir;
use super::super::{BLOCK_BYTES, Buf, Space, block_on, is_full, poll_once};
use super::*;

fn dir() -> FaultyDir<MemoryDir> {
    FaultyDir::new(MemoryDir::new())
}

fn file<D: Backing>(dir: &FaultyDir<D>, name: &str) -> FaultyFile<D> {
    block_on(dir.open(name, Open::Create)).unwrap()
}

fn blocks<D: Backing<Buf = AlignedBuf>>(
    dir: &FaultyDir<D>,
    count: usize,
    byte: u8,
) -> Rc<AlignedBuf> {
    let mut buf = dir.alloc(count * BLOCK_BYTES);
    buf.as_mut_slice().fill(byte);
    Rc::new(buf)
}

/// The file `f` with two synced blocks of ones, and its entry synced.
fn with_ones(dir: &FaultyDir<MemoryDir>) -> FaultyFile<MemoryDir> {
    let file = file(dir, "f");
    block_on(file.write_at(blocks(dir, 2, 1), 0)).unwrap();
    block_on(file.fdatasync()).unwrap();
    block_on(dir.sync()).unwrap();
    file
}

/// What the file `f` holds.
fn read<D: Dir>(dir: &D) -> Vec<u8> {
    block_on(dir.read("f", u64::MAX)).unwrap()
}

/// What the file `f` holds after any of some power cuts.
fn left(dir: &FaultyDir<MemoryDir>) -> ::std::collections::BTreeSet<Vec<u8>> {
    (0..50)
        .map(|seed| read(&dir.inner().power_cut(seed)))
        .collect()
}
