//! What a failed sync leaves of a file, and bits that rot.

use ::std::rc::Rc;

use super::super::BLOCK_BYTES;
use super::content::{bytes_of, mixed, stored};
use super::inode::{Inode, What};

/// What a sync that failed leaves of the bytes it was to make durable. In no case does a later sync
/// that succeeds say anything about them, unless they were written again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailedSync {
    /// Direct I/O: the device took the writes and then failed to flush its cache. Reads show what
    /// was written; of each sector the disk holds any version written since the last sync, for good.
    /// The length is still in the journal: the next sync that succeeds makes it durable.
    #[default]
    Device,
    /// ext4 with `data=ordered`, through the page cache: every dirty page is marked clean, so reads
    /// show what was written, until the page is evicted. On the disk a page is new, or, where its
    /// write failed, old or new by sector. The length is durable all the same.
    Ext4,
    /// XFS, through the page cache: of data blocks the same as ext4.
    Xfs,
    /// Btrfs: nothing was overwritten in place, and the file goes back to what it was at the last
    /// sync: reads show the old bytes and the old length.
    Btrfs,
}

impl FailedSync {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Device, Self::Ext4, Self::Xfs, Self::Btrfs];
}

impl Inode {
    /// A sync fails; `seed` chooses what is left where there is a choice.
    pub(super) fn fail_sync(&mut self, how: FailedSync, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let pending = ::std::mem::take(&mut self.pending);
        match how {
            FailedSync::Btrfs => {
                // An earlier failure may have left bytes where the file did not get its length.
                Rc::make_mut(&mut self.durable).cut_behind_end();
                self.shown = Rc::clone(&self.durable);
                self.is_lost = false;
                return;
            }
            FailedSync::Device => {
                let durable = Rc::make_mut(&mut self.durable);
                for effect in pending {
                    match effect.what {
                        What::Block { .. } => effect.what.apply(durable, random.u8(..)),
                        What::Len(_) => self.pending.push(effect),
                    }
                }
            }
            FailedSync::Ext4 | FailedSync::Xfs => {
                let durable = Rc::make_mut(&mut self.durable);
                let mut pages: Vec<_> = pending.iter().filter_map(|e| e.what.block()).collect();
                pages.sort_unstable();
                pages.dedup();
                for index in pages {
                    let survived = if random.bool() {
                        u8::MAX
                    } else {
                        random.u8(..)
                    };
                    let page = mixed(durable.block(index), self.shown.block(index), survived);
                    durable.put(index, page);
                }
                durable.set_len(self.shown.len());
            }
        }
        self.is_lost = true;
    }

    /// Turns the bit `bit` of the file over, counted from its start: on the disk, in every version
    /// that may survive, and so for readers.
    pub(super) fn flip(&mut self, bit: u64) {
        let Ok(position) = usize::try_from(bit / 8) else {
            return;
        };
        if self.len() <= position {
            return;
        }
        let index = position / BLOCK_BYTES;
        let flipped = |block: &_| {
            let mut bytes = *bytes_of(block);
            bytes[position % BLOCK_BYTES] ^= 1 << (bit % 8);
            stored(&bytes)
        };
        for content in [&mut self.shown, &mut self.durable] {
            let block = flipped(content.block(index));
            Rc::make_mut(content).put(index, block);
        }
        for effect in &mut self.pending {
            if let What::Block {
                index: of, block, ..
            } = &mut effect.what
                && *of == index
            {
                *block = flipped(block);
            }
        }
    }
}
