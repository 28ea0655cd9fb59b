//! Buffers that a disk can take as they are; those in ordinary memory, aligned for direct I/O.

use ::std::cell::RefCell;
use ::std::ops::{Deref, DerefMut, Range};
use ::std::rc::Rc;
use ::std::sync::Arc;

use memmap2::{Advice, MmapMut};

use super::BLOCK_BYTES;

/// A writable buffer, aligned as its directory needs it.
pub trait Buf: 'static {
    /// The bytes.
    fn as_slice(&self) -> &[u8];

    /// The bytes, writable.
    fn as_mut_slice(&mut self) -> &mut [u8];

    /// Copies `bytes` to where the byte `at` is.
    ///
    /// # Panics
    /// If that is more than the buffer holds.
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.as_mut_slice()[at..][..bytes.len()].copy_from_slice(bytes);
    }

    /// Shortens the buffer to `bytes`, a multiple of [`BLOCK_BYTES`].
    ///
    /// # Panics
    /// If `bytes` exceeds the length or is no multiple of the block.
    fn truncate(&mut self, bytes: usize);
}

/// A buffer that starts on a multiple of [`BLOCK_BYTES`] in memory.
#[derive(Debug)]
pub struct AlignedBuf {
    /// Shared only while another thread writes it to a file.
    memory: Arc<Memory>,
    range: Range<usize>,
}

/// The bytes of a buffer that is given to the disk, for another thread to write.
#[derive(Debug)]
pub(super) struct Lent {
    memory: Arc<Memory>,
    range: Range<usize>,
}

/// What a buffer lies in.
#[derive(Debug)]
enum Memory {
    Heap(Vec<u8>),
    /// Of its own, in huge pages where the system has them: a page fault for each 4 KiB costs more
    /// than copying them does, and a disk is told of few large places instead of many.
    Map(MmapMut),
}

impl Memory {
    /// Zeros that hold whole blocks of `bytes` bytes.
    fn zeroed(bytes: usize) -> Self {
        let map = match bytes < HUGE_PAGE_BYTES {
            true => None,
            // A map begins on a block.
            false => MmapMut::map_anon(bytes.next_multiple_of(HUGE_PAGE_BYTES)).ok(),
        };
        match map {
            Some(map) => {
                // Without huge pages it is memory as well.
                let _advised = map.advise(Advice::HugePage);
                Self::Map(map)
            }
            // Taking a block more than needed and starting inside aligns it without `unsafe`.
            None => Self::Heap(vec![0; bytes + BLOCK_BYTES]),
        }
    }

    /// The first whole blocks, so many `bytes` of them, if there are.
    fn blocks(&self, bytes: usize) -> Option<Range<usize>> {
        let start = self.as_ptr().align_offset(BLOCK_BYTES);
        let end = start.checked_add(bytes)?;
        (end <= self.len()).then_some(start..end)
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Map(map) => map,
        }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Map(map) => map,
        }
    }
}

impl AlignedBuf {
    /// A buffer of `bytes` zeros.
    ///
    /// # Panics
    /// If `bytes` is no multiple of [`BLOCK_BYTES`].
    #[must_use]
    pub fn zeroed(bytes: usize) -> Self {
        assert!(
            bytes.is_multiple_of(BLOCK_BYTES),
            "{bytes} bytes are not whole blocks"
        );
        Self::within(Memory::zeroed(bytes), bytes)
    }

    /// A buffer of `bytes` bytes, whatever they are: large ones come from those that were dropped on
    /// this thread, whose memory is mapped already.
    ///
    /// # Panics
    /// As for [`AlignedBuf::zeroed`].
    #[must_use]
    pub fn any(bytes: usize) -> Self {
        let fits = |memory: &Memory| {
            memory.blocks(bytes).is_some() && memory.len() <= 2 * (bytes + BLOCK_BYTES)
        };
        let found = SPARE.with_borrow_mut(|spare| {
            let fitting = spare.iter().enumerate().filter(|(_, memory)| fits(memory));
            let (number, _) = fitting.min_by_key(|(_, memory)| memory.len())?;
            Some(spare.swap_remove(number))
        });
        match found.filter(|_| bytes.is_multiple_of(BLOCK_BYTES)) {
            Some(memory) => Self::within(memory, bytes),
            None => Self::zeroed(bytes),
        }
    }

    /// The first whole blocks in `memory`.
    fn within(memory: Memory, bytes: usize) -> Self {
        #[expect(clippy::expect_used, reason = "it was made, or chosen, to hold them")]
        let range = memory.blocks(bytes).expect("the memory holds the blocks");
        Self {
            memory: Arc::new(memory),
            range,
        }
    }

    /// Gives the memory back at once: it is not kept for the next buffer.
    pub(super) fn free(mut self) {
        if let Some(memory) = Arc::get_mut(&mut self.memory) {
            *memory = Memory::Heap(Vec::new());
        }
    }

    /// The bytes for another thread, which must let go of them before they are written to again.
    pub(super) fn lend(&self) -> Lent {
        Lent {
            memory: Arc::clone(&self.memory),
            range: self.range.clone(),
        }
    }
}

impl Lent {
    /// The bytes.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.memory[self.range.clone()]
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        let Some(memory) = Arc::get_mut(&mut self.memory) else {
            return;
        };
        let memory = ::std::mem::replace(memory, Memory::Heap(Vec::new()));
        if memory.len() < SPARE_BYTES_MIN {
            return;
        }
        // A thread that ends keeps nothing.
        let _kept = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            spare.push(memory);
            // The smallest go first: those are the soonest found elsewhere.
            while spare.len() > SPARES_MAX || bytes_of(&spare) > SPARE_BYTES_MAX {
                let sizes = spare.iter().enumerate();
                let smallest = sizes.min_by_key(|(_, memory)| memory.len());
                let Some((number, _)) = smallest else { break };
                spare.swap_remove(number);
            }
        });
    }
}

fn bytes_of(spare: &[Memory]) -> usize {
    spare.iter().map(|memory| memory.len()).sum()
}

thread_local! {
    /// Memory of buffers that were dropped on this thread.
    static SPARE: RefCell<Vec<Memory>> = const { RefCell::new(Vec::new()) };
}

/// What one page fault maps of a large buffer, where the system can.
pub(super) const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Smaller buffers come from an allocator's own lists, and are cleared as fast as they are found here.
const SPARE_BYTES_MIN: usize = 32 << 10;

/// So many are looked through for one that fits.
const SPARES_MAX: usize = 64;

/// As many as an embedded log has in memory only, by default, with the group that is on its way, the tail
/// and what chunks leave empty: a thread that streamed once keeps them for the next time. A system takes
/// memory that it has not given out for a while from where it is slow to come back, in a virtual machine
/// above all.
const SPARE_BYTES_MAX: usize = 160 << 20;

impl Buf for AlignedBuf {
    fn as_slice(&self) -> &[u8] {
        &self.memory[self.range.clone()]
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        #[expect(clippy::expect_used, reason = "a buffer given to the disk is frozen")]
        let memory = Arc::get_mut(&mut self.memory).expect("nobody else has the bytes");
        &mut memory[self.range.clone()]
    }

    fn truncate(&mut self, bytes: usize) {
        assert!(
            bytes.is_multiple_of(BLOCK_BYTES),
            "{bytes} bytes are not whole blocks"
        );
        assert!(
            bytes <= self.range.len(),
            "truncating to {bytes} of {}",
            self.range.len()
        );
        self.range.end = self.range.start + bytes;
    }
}

/// Bytes that were read: a part of a buffer shared by reference.
#[derive(Debug, Clone)]
pub struct SharedBytes {
    buf: Rc<AlignedBuf>,
    range: Range<usize>,
}

impl SharedBytes {
    /// The part `range` of `buf`.
    ///
    /// # Panics
    /// If `range` does not lie within the buffer.
    #[must_use]
    pub fn new(buf: Rc<AlignedBuf>, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end,
            "the range {range:?} runs backwards"
        );
        assert!(
            range.end <= buf.as_slice().len(),
            "the range {range:?} exceeds its buffer"
        );
        Self { buf, range }
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.buf.as_slice()[self.range.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_starts_on_a_block_and_shrinks_by_blocks() {
        let mut buf = AlignedBuf::zeroed(3 * BLOCK_BYTES);
        assert_eq!(buf.as_slice().as_ptr().align_offset(BLOCK_BYTES), 0);
        assert_eq!(buf.as_slice().len(), 3 * BLOCK_BYTES);
        buf.as_mut_slice()[BLOCK_BYTES - 1] = 7;
        buf.truncate(BLOCK_BYTES);
        assert_eq!(buf.as_slice().len(), BLOCK_BYTES);
        assert_eq!(buf.as_slice()[BLOCK_BYTES - 1], 7);
    }

    #[test]
    fn a_large_buffer_takes_the_memory_of_one_that_was_dropped() {
        let mut buf = AlignedBuf::any(64 * BLOCK_BYTES);
        buf.as_mut_slice().fill(7);
        let place = buf.as_slice().as_ptr();
        buf.truncate(BLOCK_BYTES);
        drop(buf);
        let again = AlignedBuf::any(60 * BLOCK_BYTES);
        assert_eq!(again.as_slice().as_ptr(), place);
        assert_eq!(again.as_slice().len(), 60 * BLOCK_BYTES);
        let other = AlignedBuf::any(60 * BLOCK_BYTES);
        assert_ne!(
            other.as_slice().as_ptr(),
            place,
            "it is used once at a time"
        );
        let zeroed = AlignedBuf::zeroed(64 * BLOCK_BYTES);
        assert!(zeroed.as_slice().iter().all(|byte| *byte == 0));
    }

    #[test]
    fn the_memory_of_a_very_large_buffer_is_taken_again_too() {
        let mut buf = AlignedBuf::any(1000 * BLOCK_BYTES);
        assert_eq!(buf.as_slice().as_ptr().align_offset(BLOCK_BYTES), 0);
        buf.as_mut_slice().fill(7);
        let place = buf.as_slice().as_ptr();
        let lent = buf.lend();
        assert!(lent.as_slice().iter().all(|byte| *byte == 7));
        drop(lent);
        drop(buf);
        let again = AlignedBuf::any(1024 * BLOCK_BYTES);
        assert_eq!(again.as_slice().as_ptr(), place);
        assert_eq!(again.as_slice().len(), 1024 * BLOCK_BYTES);
    }

    #[test]
    fn a_buffer_takes_the_smallest_memory_that_holds_it() {
        let large = AlignedBuf::any(200 * BLOCK_BYTES);
        let less = AlignedBuf::any(150 * BLOCK_BYTES);
        let place = less.as_slice().as_ptr();
        drop(large);
        drop(less);
        let again = AlignedBuf::any(140 * BLOCK_BYTES);
        assert_eq!(again.as_slice().as_ptr(), place);
    }

    #[test]
    fn a_thread_keeps_the_largest_and_no_more_than_it_may() {
        let large = AlignedBuf::any(HUGE_PAGE_BYTES);
        let small: Vec<_> = (0..2 * SPARES_MAX)
            .map(|_| AlignedBuf::any(SPARE_BYTES_MIN))
            .collect();
        let gone = AlignedBuf::any(2 * HUGE_PAGE_BYTES);
        drop(small);
        drop(large);
        gone.free();
        let sizes = SPARE.with_borrow(|spare| spare.iter().map(|m| m.len()).collect::<Vec<_>>());
        assert_eq!(sizes.len(), SPARES_MAX);
        assert_eq!(sizes.iter().max(), Some(&HUGE_PAGE_BYTES));
        let many: Vec<_> = (0..SPARES_MAX)
            .map(|_| AlignedBuf::any(2 * HUGE_PAGE_BYTES))
            .collect();
        drop(many);
        let held = SPARE.with_borrow(|spare| bytes_of(spare));
        assert_eq!(held, SPARE_BYTES_MAX);
    }

    #[test]
    fn shared_bytes_show_their_part() {
        let mut buf = AlignedBuf::zeroed(BLOCK_BYTES);
        buf.as_mut_slice()[10..13].copy_from_slice(b"abc");
        let bytes = SharedBytes::new(Rc::new(buf), 10..13);
        assert_eq!(bytes.clone().as_ref(), b"abc");
    }
}
