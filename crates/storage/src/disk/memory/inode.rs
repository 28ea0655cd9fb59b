//! One file: what reads show, what is durable, and what is in doubt between the two.

use ::std::ops::Range;
use ::std::rc::Rc;

use super::super::{BLOCK_BYTES, Space};
use super::content::{Content, Stored, difference, mixed};
use super::spans::Spans;

/// A file. What is durable becomes what reads show by the effects that are pending, unless a sync
/// failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    /// What a read shows. Bytes behind the end are zeros.
    pub(super) shown: Rc<Content>,
    /// What is left if no effect that is pending survives.
    pub(super) durable: Rc<Content>,
    /// What was done since the last sync, oldest first.
    pub(super) pending: Vec<Effect>,
    /// The blocks that have space.
    space: Spans,
    /// Those of them that were written, or made zeros: what the disk held there before is gone once that is durable.
    written: Spans,
    /// Whether a sync failed, so that the disk may hold something else than reads show.
    pub(super) is_lost: bool,
}

/// A part of what an operation did to a file.
#[derive(Debug, Clone)]
pub(super) struct Effect {
    /// The number of the operation.
    pub(super) step: u64,
    pub(super) what: What,
}

/// Something that survives a power cut, or not.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// The block got this content, which was another in the sectors of the mask. Each of these
    /// survives for itself.
    Block {
        index: usize,
        block: Stored,
        mask: u8,
    },
    /// The file got this length.
    Len(usize),
}

impl Inode {
    pub(super) fn len(&self) -> usize {
        self.shown.len()
    }

    /// Copies the bytes from `start` on, which lie within the length.
    pub(super) fn read(&self, start: usize, into: &mut [u8]) {
        assert!(
            start + into.len() <= self.len(),
            "a read ends with the file"
        );
        self.shown.read(start, into);
    }

    /// What is in doubt, oldest first.
    pub(super) fn pending(&self) -> &[Effect] {
        &self.pending
    }

    /// Writes `blocks` from the block `first` on, growing the file if need be.
    pub(super) fn write(&mut self, step: u64, first: usize, blocks: &[Stored]) {
        self.space.insert(first..first + blocks.len());
        self.written.insert(first..first + blocks.len());
        for (index, block) in (first..).zip(blocks) {
            self.put(step, index, block.clone());
        }
        let end = (first + blocks.len()) * BLOCK_BYTES;
        if self.len() < end {
            self.note_len(step, end);
        }
    }

    /// Cuts or extends the file with zeros.
    pub(super) fn set_len(&mut self, step: u64, len: usize) {
        if len < self.len() {
            let whole = len.div_ceil(BLOCK_BYTES);
            for index in self.not_zeros(whole..usize::MAX) {
                self.put(step, index, None);
            }
            let last = self.shown.cut_block(len);
            if let Some((index, block)) = last {
                self.put(step, index, block);
            }
            self.space.cut(whole);
            self.written.cut(whole);
        }
        if len != self.len() {
            self.note_len(step, len);
        }
    }

    /// Gives space to the blocks of `range`, and length to the file.
    pub(super) fn allocate(&mut self, step: u64, range: Range<usize>, how: Space) {
        if how != Space::Reserved {
            for index in self.not_zeros(range.clone()) {
                self.put(step, index, None);
            }
            self.written.insert(range.clone());
        }
        let end = range.end * BLOCK_BYTES;
        if self.len() < end && !range.is_empty() {
            self.note_len(step, end);
        }
        self.space.insert(range);
    }

    /// Lets a power cut leave `old` in those blocks of `range` that are about to be made zeros, and were never written.
    /// Readers do not see it.
    pub(super) fn show_old(&mut self, step: u64, range: Range<usize>, old: &Stored) {
        for index in self.written.missing(range).into_iter().flatten() {
            self.note_block(step, index, old.clone(), u8::MAX);
            self.note_block(step + 1, index, None, u8::MAX);
        }
    }

    /// Makes what is pending durable.
    pub(super) fn sync(&mut self) {
        let pending = ::std::mem::take(&mut self.pending);
        if self.is_lost {
            let durable = Rc::make_mut(&mut self.durable);
            for effect in pending {
                effect.what.apply(durable, u8::MAX);
            }
        } else {
            self.durable = Rc::clone(&self.shown);
        }
    }

    /// Makes durable what is pending of `blocks`, and the length if the durable one is short of them.
    pub(super) fn sync_blocks(&mut self, blocks: &Range<usize>) {
        let durable = Rc::make_mut(&mut self.durable);
        let is_short = durable.len() < blocks.end * BLOCK_BYTES;
        self.pending.retain(|effect| {
            let is_meant = match effect.what.block() {
                Some(index) => blocks.contains(&index),
                None => is_short,
            };
            if is_meant {
                effect.what.apply(durable, u8::MAX);
            }
            !is_meant
        });
    }

    /// The blocks that have space.
    pub(super) fn space(&self) -> &Spans {
        &self.space
    }

    /// Changes a block, and notes in which sectors.
    ///
    /// A sector written again identically is in no doubt, so nothing is noted for it, unless the
    /// disk holds something else: then writing it is what heals it.
    fn put(&mut self, step: u64, index: usize, block: Stored) {
        let mask = difference(self.shown.block(index), &block)
            | difference(self.durable.block(index), &block);
        if mask == 0 {
            return;
        }
        Rc::make_mut(&mut self.shown).put(index, block.clone());
        self.note_block(step, index, block, mask);
    }

    fn note_block(&mut self, step: u64, index: usize, block: Stored, mask: u8) {
        let what = What::Block { index, block, mask };
        self.pending.push(Effect { step, what });
    }

    fn note_len(&mut self, step: u64, len: usize) {
        Rc::make_mut(&mut self.shown).set_len(len);
        let what = What::Len(len);
        self.pending.push(Effect { step, what });
    }

    /// The blocks of `range` that are not zeros, for readers or on the disk.
    fn not_zeros(&self, range: Range<usize>) -> Vec<usize> {
        let mut blocks: Vec<_> = self.shown.blocks(range.clone()).collect();
        if self.is_lost {
            blocks.extend(self.durable.blocks(range));
            blocks.sort_unstable();
            blocks.dedup();
        }
        blocks
    }
}

impl What {
    /// Does to `content` what survived of this, of a block the sectors of `mask`.
    pub(super) fn apply(&self, content: &mut Content, survived: u8) {
        match self {
            Self::Block { index, block, mask } => {
                let mask = mask & survived;
                if mask != 0 {
                    content.put(*index, mixed(content.block(*index), block, mask));
                }
            }
            Self::Len(len) => content.set_len(*len),
        }
    }
}

impl Inode {
    /// The file after a power cut, with the effects for which `survived` has sectors. It gets the
    /// index of an effect; for a length any sector will do.
    pub(super) fn image(&self, mut survived: impl FnMut(usize, &Effect) -> u8) -> Self {
        let mut content = Rc::clone(&self.durable);
        for (index, effect) in self.pending.iter().enumerate() {
            let mask = survived(index, effect);
            if mask != 0 {
                effect.what.apply(Rc::make_mut(&mut content), mask);
            }
        }
        if self.is_lost || !Rc::ptr_eq(&content, &self.durable) {
            Rc::make_mut(&mut content).cut_behind_end();
        }
        let (mut space, mut written) = (self.space.clone(), self.written.clone());
        for blocks in [&mut space, &mut written] {
            blocks.cut(content.len().div_ceil(BLOCK_BYTES));
        }
        Self {
            shown: Rc::clone(&content),
            durable: content,
            pending: Vec::new(),
            space,
            written,
            is_lost: false,
        }
    }

    /// Whether nothing is in doubt: then every image of the file is the file itself.
    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty() && !self.is_lost
    }

    /// A number that differs between files whose readers see other bytes.
    pub(super) fn hash(&self) -> u64 {
        self.shown.hash()
    }
}

impl What {
    /// The block that it changes.
    pub(super) fn block(&self) -> Option<usize> {
        match self {
            Self::Block { index, .. } => Some(*index),
            Self::Len(_) => None,
        }
    }
}
