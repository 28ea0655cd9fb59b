//! The tail: batches in memory, on their way to the disk and for readers that follow.
//!
//! ```text
//!   retained (durable, for readers)     in flight         pending
//!  [frozen][frozen][frozen][frozen]  [frozen][frozen]  [frozen][open ..]
//! ```
//!
//! A chunk covers whole blocks of one store. A batch never spans two chunks, so a chunk is read in
//! place; the block that two chunks share is copied from the older to the head of the younger, and
//! is written twice, identically as far as it was filled, never at the same time.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use corelog_record::Offset;

use super::UNSYNCED_BYTES_MAX;
use crate::disk::{BLOCK_BYTES, Buf, Dir};
use crate::segment::Point;

/// The smallest and the largest chunk, in bytes, but for a batch that needs a larger one. A first
/// chunk takes a group as large as the one before, or as small ones lately were: small for slow logs, few for
/// fast ones.
const CHUNK_BYTES: Range<usize> = BLOCK_BYTES..4 << 20;

/// A group of no more is a small one: a call costs about as much as writing it.
pub(super) const SMALL_BYTES: usize = 128 << 10;

/// What is kept of a store's last block takes so much more each time that it has no room.
const PARTIAL_BYTES_STEP: usize = 512;

/// A chunk that is still filled.
struct Open<D: Dir> {
    buf: D::Buf,
    /// Where in the store the buffer begins; a whole block.
    position: u64,
    /// Bytes filled, those copied from the chunk before included.
    len: usize,
    /// Where the first whole batch begins in the buffer, and its base offset.
    first: (usize, Offset),
    /// The first batch that begins in the block where the last one begins.
    block_first: (usize, Offset),
}

/// A chunk that is given to the disk, and shared with readers: never changed again.
pub(crate) struct Frozen<D: Dir> {
    /// The whole blocks; zeros behind the last batch.
    pub(crate) buf: Rc<D::Buf>,
    /// The base offset of the segment.
    pub(crate) segment: Offset,
    /// Where in the store the buffer begins.
    pub(crate) position: u64,
    /// Where the first whole batch begins in the buffer.
    pub(crate) first: usize,
    /// Where the last batch ends in the buffer.
    pub(crate) len: usize,
    /// The base offset of the first batch.
    pub(crate) base: Offset,
    /// Memory taken, in bytes.
    alloc_bytes: usize,
}

impl<D: Dir> Frozen<D> {
    /// Memory taken, in bytes.
    pub(crate) fn alloc_bytes(&self) -> usize {
        self.alloc_bytes
    }

    /// The store position after the last block.
    pub(crate) fn end_position(&self) -> u64 {
        self.position + self.buf.as_slice().len() as u64
    }
}

/// What is written and synced at once: batches of one segment, no more of them than may be unsynced.
pub(crate) struct Group<D: Dir> {
    /// The base offset of the segment.
    pub(crate) segment: Offset,
    /// The chunks, in order.
    pub(crate) chunks: Vec<Rc<Frozen<D>>>,
    /// The log's point after the last batch.
    pub(crate) end: Point,
    /// Bytes of batches.
    pub(crate) bytes: usize,
}

/// The last block of a store while it is not full: the head of the next chunk.
#[derive(Default)]
struct Partial {
    bytes: Vec<u8>,
    /// The first batch that begins in the block, and its base offset.
    first: Option<(usize, Offset)>,
}

/// The tail of a log.
pub(crate) struct Tail<D: Dir> {
    pending: VecDeque<Group<D>>,
    /// Belongs to the last pending group.
    open: Option<Open<D>>,
    partial: Partial,
    retained: VecDeque<Rc<Frozen<D>>>,
    retained_bytes: usize,
    group_bytes_last: usize,
    /// What small groups lately came to at most: it falls by 1/32 with each that is smaller. One that outgrows
    /// its first chunk takes two writes, and small ones vary.
    small_bytes: usize,
    /// What a group that forms holds at most, but for one batch of more.
    group_bytes_max: usize,
}

impl<D: Dir> Tail<D> {
    /// An empty tail behind a store that ends in the block `partial`.
    pub(crate) fn new(partial: Vec<u8>) -> Self {
        assert!(
            partial.len() < BLOCK_BYTES,
            "a partial block is less than a block"
        );
        Self {
            pending: VecDeque::new(),
            open: None,
            partial: Partial {
                bytes: partial,
                first: None,
            },
            retained: VecDeque::new(),
            retained_bytes: 0,
            group_bytes_last: 0,
            small_bytes: 0,
            group_bytes_max: UNSYNCED_BYTES_MAX,
        }
    }

    /// Groups that form from now on hold no more than so many bytes, but for one batch of more.
    pub(crate) fn bound_groups(&mut self, bytes_max: usize) {
        self.group_bytes_max = bytes_max.min(UNSYNCED_BYTES_MAX);
    }

    /// Bytes of batches that wait for a flush.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending.iter().map(|group| group.bytes).sum()
    }

    /// The group that goes out next, if any.
    pub(crate) fn first_pending(&self) -> Option<&Group<D>> {
        self.pending.front()
    }

    /// Bytes of memory held by flushed chunks.
    pub(crate) fn retained_bytes(&self) -> usize {
        self.retained_bytes
    }

    /// The flushed chunks, oldest first, without gaps.
    pub(crate) fn retained(&self) -> &VecDeque<Rc<Frozen<D>>> {
        &self.retained
    }

    /// Copies `batch`, which begins at the point `start` of `segment`, into the open chunk. Returns
    /// the copy, for the fields that are stamped.
    pub(crate) fn push(
        &mut self,
        dir: &D,
        segment: Offset,
        start: &Point,
        batch: &[u8],
    ) -> &mut [u8] {
        let fits = |group: &Group<D>| {
            group.segment == segment && group.bytes + batch.len() <= self.group_bytes_max
        };
        if !self.pending.back().is_some_and(fits) {
            let last = self.pending.back().map(|group| group.segment);
            assert!(
                self.open.is_none() || last == Some(segment),
                "an open chunk belongs to the last group"
            );
            self.freeze();
            let end = *start;
            // Most often the only one.
            self.pending.reserve_exact(1);
            self.pending.push_back(Group {
                segment,
                chunks: Vec::new(),
                end,
                bytes: 0,
            });
        }
        let room = self
            .open
            .as_ref()
            .map_or(0, |open| open.buf.as_slice().len() - open.len);
        if room < batch.len() {
            self.freeze();
            self.open = Some(self.open_chunk(dir, start, batch.len()));
        }
        self.copy(start, batch)
    }

    /// Says where the last group now ends, after a batch was pushed and stamped.
    pub(crate) fn advance(&mut self, end: &Point, bytes: usize) {
        if let Some(group) = self.pending.back_mut() {
            group.end = *end;
            group.bytes += bytes;
        }
    }

    /// Ends the last group, because the log rolls: the next store begins with an empty block.
    pub(crate) fn roll(&mut self) {
        self.freeze();
        self.partial = Partial::default();
    }

    /// Takes the group that goes out next, frozen.
    pub(crate) fn take(&mut self) -> Option<Group<D>> {
        if self.pending.len() == 1 {
            self.freeze();
        }
        let group = self.pending.pop_front()?;
        self.group_bytes_last = group.bytes;
        let lately = self.small_bytes - self.small_bytes / 32;
        self.small_bytes = lately.max(group.bytes.min(SMALL_BYTES));
        Some(group)
    }

    /// Lets go of what waits for a flush: there will be none.
    pub(crate) fn forget_pending(&mut self) {
        self.pending.clear();
        self.open = None;
    }

    /// Puts back a group that found no space: it goes out before all others.
    pub(crate) fn put_back(&mut self, group: Group<D>) {
        self.pending.push_front(group);
    }

    /// Keeps the chunks of a group that is durable for readers, within `bytes_max`.
    pub(crate) fn retain(&mut self, chunks: Vec<Rc<Frozen<D>>>, bytes_max: usize) {
        for chunk in chunks {
            // A chunk whose batches the next one repeats in its first block is not needed.
            while let Some(last) = self.retained.back() {
                if last.segment != chunk.segment || last.base < chunk.base {
                    break;
                }
                self.retained_bytes -= last.alloc_bytes;
                self.retained.pop_back();
            }
            self.retained_bytes += chunk.alloc_bytes;
            self.retained.push_back(chunk);
        }
        self.shrink(bytes_max);
    }

    /// Lets flushed chunks go, oldest first, until at most `bytes_max` bytes are held.
    pub(crate) fn shrink(&mut self, bytes_max: usize) {
        while self.retained_bytes > bytes_max {
            self.shed();
        }
    }

    /// Lets go of flushed chunks of segments that begin below `segment`: they have gone.
    pub(crate) fn forget_below(&mut self, segment: Offset) {
        let has_gone = |chunk: &Rc<Frozen<D>>| chunk.segment < segment;
        while self.retained.front().is_some_and(has_gone) {
            self.shed();
        }
    }

    /// Lets the oldest flushed chunk go.
    pub(crate) fn shed(&mut self) {
        if let Some(chunk) = self.retained.pop_front() {
            self.retained_bytes -= chunk.alloc_bytes;
        }
    }

    /// Forgets everything: the log was cut, and goes on in a new store. Nothing is pending.
    pub(crate) fn reset(&mut self) {
        assert!(
            self.pending.is_empty(),
            "nothing that was appended is forgotten"
        );
        self.partial = Partial::default();
        self.retained.clear();
        self.retained_bytes = 0;
    }

    fn open_chunk(&self, dir: &D, start: &Point, batch_bytes: usize) -> Open<D> {
        let head = &self.partial.bytes;
        let position = start.position.get() - head.len() as u64;
        assert!(
            position.is_multiple_of(BLOCK_BYTES as u64),
            "a chunk begins at a whole block, not at {position}"
        );
        let mut pending = self.pending.iter().rev();
        let group = pending.next();
        let wanted = match group.and_then(|group| group.chunks.last()) {
            Some(last) => last.buf.as_slice().len() * 2,
            None => {
                let small_bytes = self.small_bytes + self.small_bytes / 4;
                // One that still waits says more than the last one that went: of many short ones each would hold as much.
                let before = pending.next().map(|group| group.bytes);
                head.len() + before.unwrap_or(self.group_bytes_last).max(small_bytes)
            }
        };
        let most = CHUNK_BYTES.end.min(self.group_bytes_max + BLOCK_BYTES);
        let wanted = wanted.max(CHUNK_BYTES.start).min(most);
        let bytes = (head.len() + batch_bytes)
            .max(wanted)
            .next_multiple_of(BLOCK_BYTES);
        let mut buf = dir.alloc(bytes);
        buf.as_mut_slice()[..head.len()].copy_from_slice(head);
        let own = (head.len(), start.offset);
        let first = self.partial.first.unwrap_or(own);
        Open {
            buf,
            position,
            len: head.len(),
            first,
            block_first: first,
        }
    }

    fn copy(&mut self, start: &Point, batch: &[u8]) -> &mut [u8] {
        #[expect(clippy::expect_used, reason = "push opens a chunk before it copies")]
        let open = self.open.as_mut().expect("push opened a chunk");
        assert_eq!(
            open.position + open.len as u64,
            start.position.get(),
            "a batch follows the one before"
        );
        if open.len / BLOCK_BYTES != open.block_first.0 / BLOCK_BYTES {
            open.block_first = (open.len, start.offset);
        }
        let range = open.len..open.len + batch.len();
        open.len = range.end;
        open.buf.put(range.start, batch);
        &mut open.buf.as_mut_slice()[range]
    }

    /// Moves the open chunk to the last group, and its partial last block aside.
    fn freeze(&mut self) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        let Some(group) = self.pending.back_mut() else {
            return;
        };
        let whole = open.len / BLOCK_BYTES * BLOCK_BYTES;
        let padded = open.len.next_multiple_of(BLOCK_BYTES);
        let alloc_bytes = open.buf.as_slice().len();
        open.buf.as_mut_slice()[open.len..padded].fill(0);
        open.buf.truncate(padded);
        let rest = &open.buf.as_slice()[whole..open.len];
        self.partial.bytes.clear();
        // What grows by doubling has room for more than a block in the end.
        let room = rest.len().next_multiple_of(PARTIAL_BYTES_STEP);
        self.partial.bytes.reserve_exact(room);
        self.partial.bytes.extend_from_slice(rest);
        let (at, offset) = open.block_first;
        let begins_in_last = whole <= at && at < open.len;
        self.partial.first = begins_in_last.then(|| (at - whole, offset));
        group.chunks.push(Rc::new(Frozen {
            buf: Rc::new(open.buf),
            segment: group.segment,
            position: open.position,
            first: open.first.0,
            len: open.len,
            base: open.first.1,
            alloc_bytes,
        }));
    }
}

#[cfg(test)]
mod tests {
    use corelog_record::{Chain, HistoryId};

    use super::*;
    use crate::disk::memory::MemoryDir;

    /// What grows by itself has room for four groups, and for up to two blocks.
    #[test]
    fn a_tail_of_small_groups_has_no_room_for_more_groups_than_wait_and_a_block() {
        const GROUP_BYTES: usize = 84;
        let dir = MemoryDir::new();
        let mut tail = Tail::<MemoryDir>::new(Vec::new());
        let mut point = Point::origin(Chain::seed(HistoryId::from_bytes([7; 16])));
        let mut partial_bytes_max = 0;
        for number in 1..=100 {
            tail.push(&dir, Offset::ZERO, &point, &[7; GROUP_BYTES]);
            point.offset = Offset::ZERO.plus(number);
            point.position = point.position.plus(GROUP_BYTES as u64);
            tail.advance(&point, GROUP_BYTES);
            assert_eq!(tail.pending.capacity(), 1);
            tail.take().expect("a group waits");
            let (held, room) = (tail.partial.bytes.len(), tail.partial.bytes.capacity());
            partial_bytes_max = partial_bytes_max.max(held);
            let needed = partial_bytes_max.next_multiple_of(PARTIAL_BYTES_STEP);
            assert!(room <= needed, "{held} bytes, room for {room}");
        }
        assert!(BLOCK_BYTES - GROUP_BYTES <= partial_bytes_max);
    }
}
