//! The bytes of a file, in blocks that copies share until one of them changes.

use ::std::cell::OnceCell;
use ::std::ops::Range;
use ::std::rc::Rc;

use xxhash_rust::xxh3::xxh3_64;

use super::super::BLOCK_BYTES;

/// A power cut leaves each sector in one of its versions, whole.
pub(super) const SECTOR_BYTES: usize = 512;

/// Sectors of a block.
pub(super) const SECTORS: usize = BLOCK_BYTES / SECTOR_BYTES;

/// A block that is not all zeros; it never changes.
#[derive(Debug)]
pub(super) struct Block {
    bytes: [u8; BLOCK_BYTES],
    hash: OnceCell<u64>,
}

/// A block, or zeros, which take no memory.
pub(super) type Stored = Option<Rc<Block>>;

/// The bytes of a file. Copying it copies pointers to groups of blocks.
///
/// Bytes behind the end of the file that lie within its last block are zeros.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    len: usize,
    /// Groups of [`GROUP_BLOCKS`] blocks; a missing one is zeros, and the last one is not.
    groups: Vec<Option<Rc<Group>>>,
}

type Group = [Stored; GROUP_BLOCKS];

/// Blocks that are copied together when one of them changes: a file of 16 MiB is 64 groups.
const GROUP_BLOCKS: usize = 64;

/// A block of these bytes.
///
/// # Panics
/// If they are not the bytes of one block.
pub(super) fn stored(bytes: &[u8]) -> Stored {
    if is_zeros(bytes) {
        assert_eq!(bytes.len(), BLOCK_BYTES, "a block is written whole");
        return None;
    }
    let mut block = Block {
        bytes: [0; BLOCK_BYTES],
        hash: OnceCell::new(),
    };
    block.bytes.copy_from_slice(bytes);
    Some(Rc::new(block))
}

/// The bytes of a block.
pub(super) fn bytes_of(block: &Stored) -> &[u8; BLOCK_BYTES] {
    block.as_ref().map_or(&ZEROS, |block| &block.bytes)
}

/// The sectors in which two blocks differ, a bit for each.
pub(super) fn difference(one: &Stored, other: &Stored) -> u8 {
    match (one, other) {
        (None, None) => return 0,
        (Some(one), Some(other)) if Rc::ptr_eq(one, other) => return 0,
        _ => {}
    }
    let pairs = bytes_of(one)
        .chunks(SECTOR_BYTES)
        .zip(bytes_of(other).chunks(SECTOR_BYTES));
    pairs.enumerate().fold(0, |mask, (index, (one, other))| {
        mask | (u8::from(one != other) << index)
    })
}

/// The block `old` with the sectors of `mask` taken from `new`.
pub(super) fn mixed(old: &Stored, new: &Stored, mask: u8) -> Stored {
    match mask {
        0 => return old.clone(),
        u8::MAX => return new.clone(),
        _ => {}
    }
    let mut bytes = *bytes_of(old);
    for index in (0..SECTORS).filter(|index| mask >> index & 1 == 1) {
        let sector = index * SECTOR_BYTES..(index + 1) * SECTOR_BYTES;
        bytes[sector.clone()].copy_from_slice(&bytes_of(new)[sector]);
    }
    stored(&bytes)
}

impl Content {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Says how long the file is. Whoever shortens it sees to it that zeros are behind the end.
    pub(super) fn set_len(&mut self, len: usize) {
        self.len = len;
    }

    /// Copies the bytes of a range to `into`; zeros behind the end.
    pub(super) fn read(&self, start: usize, into: &mut [u8]) {
        let end = start + into.len();
        for index in start / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES) {
            let first = index * BLOCK_BYTES;
            let from = first.max(start);
            let to = (first + BLOCK_BYTES).min(end);
            let target = &mut into[from - start..to - start];
            match self.block(index) {
                Some(block) => target.copy_from_slice(&block.bytes[from - first..to - first]),
                None => target.fill(0),
            }
        }
    }

    /// The block `index`; `None` if it is zeros.
    pub(super) fn block(&self, index: usize) -> &Stored {
        match self.groups.get(index / GROUP_BLOCKS) {
            Some(Some(group)) => &group[index % GROUP_BLOCKS],
            _ => &None,
        }
    }

    /// Puts a block in its place, and leaves the length alone.
    pub(super) fn put(&mut self, index: usize, block: Stored) {
        let group = index / GROUP_BLOCKS;
        if self.groups.len() <= group {
            if block.is_none() {
                return;
            }
            self.groups.resize(group + 1, None);
        }
        let blocks = match &mut self.groups[group] {
            Some(blocks) => Rc::make_mut(blocks),
            None if block.is_none() => return,
            none => Rc::make_mut(none.insert(Rc::new([const { None }; GROUP_BLOCKS]))),
        };
        blocks[index % GROUP_BLOCKS] = block;
    }

    /// The blocks of `range` that are not zeros, by their index.
    pub(super) fn blocks(&self, range: Range<usize>) -> impl Iterator<Item = usize> {
        let groups = self
            .groups
            .iter()
            .enumerate()
            .skip(range.start / GROUP_BLOCKS);
        let groups = groups.take_while(move |(index, _)| index * GROUP_BLOCKS < range.end);
        let blocks = groups.filter_map(|(index, group)| Some((index, group.as_ref()?)));
        let stored = blocks.flat_map(|(index, group)| {
            let stored = group
                .iter()
                .enumerate()
                .filter(|(_, block)| block.is_some());
            stored.map(move |(at, _)| index * GROUP_BLOCKS + at)
        });
        stored.filter(move |index| range.contains(index))
    }

    /// Makes all bytes behind the end zeros.
    pub(super) fn cut_behind_end(&mut self) {
        let whole = self.len.div_ceil(BLOCK_BYTES);
        let beyond: Vec<_> = self.blocks(whole..usize::MAX).collect();
        for index in beyond {
            self.put(index, None);
        }
        let last = self.cut_block(self.len);
        if let Some((index, block)) = last {
            self.put(index, block);
        }
    }

    /// The block in which a file of `len` bytes ends, with zeros behind that end; `None` if the end
    /// is that of a block.
    pub(super) fn cut_block(&self, len: usize) -> Option<(usize, Stored)> {
        let (index, kept) = (len / BLOCK_BYTES, len % BLOCK_BYTES);
        let block = self.block(index).as_ref().filter(|_| kept > 0)?;
        let mut bytes = block.bytes;
        bytes[kept..].fill(0);
        Some((index, stored(&bytes)))
    }

    /// A number that differs between files of different bytes, as far as 64 bits can.
    pub(super) fn hash(&self) -> u64 {
        let mut input = Vec::with_capacity(16 * 64);
        input.extend_from_slice(&self.len.to_le_bytes());
        for index in self.blocks(0..usize::MAX) {
            if let Some(block) = self.block(index) {
                input.extend_from_slice(&index.to_le_bytes());
                let hash = block.hash.get_or_init(|| xxh3_64(&block.bytes));
                input.extend_from_slice(&hash.to_le_bytes());
            }
        }
        xxh3_64(&input)
    }
}

/// Whether the bytes are zeros.
fn is_zeros(bytes: &[u8]) -> bool {
    bytes
        .chunks(BLOCK_BYTES)
        .all(|chunk| chunk == &ZEROS[..chunk.len()])
}

const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
