//! How far an order is, for those who watch from other threads.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use corelog_record::Offset;

use super::{Order, Wanted};
use crate::transfer::stop::Stop;

/// See the [module](self). Numbers are published as they are, each by one thread at a time.
#[derive(Debug)]
pub(crate) struct Progress {
    segments: Vec<Part>,
    sources: Vec<String>,
    /// Set by whoever does not want the segments any more.
    pub(crate) stop: Stop,
}

/// One segment.
#[derive(Debug)]
struct Part {
    base: Offset,
    bytes_total: u64,
    bytes_done: AtomicU64,
    is_ready: AtomicU64,
    /// Which source was asked last, by its number: none has this one before the first is.
    source: AtomicUsize,
}

/// How far one segment, or all of them, are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) bytes: u64,
    pub(crate) bytes_total: u64,
    pub(crate) segments: u64,
    pub(crate) segments_total: u64,
}

impl Progress {
    /// Nothing of `order` is there yet.
    pub(crate) fn new(order: &Order) -> Self {
        let part = |Wanted { seal, .. }: &Wanted| Part {
            base: seal.digest.base,
            bytes_total: seal.digest.bytes,
            bytes_done: AtomicU64::new(0),
            is_ready: AtomicU64::new(0),
            source: AtomicUsize::new(usize::MAX),
        };
        Self {
            segments: order.segments.iter().map(part).collect(),
            sources: order.sources.clone(),
            stop: Stop::default(),
        }
    }

    /// How far all of it is.
    pub(crate) fn done(&self) -> Done {
        let each = self.each().map(|(_, _, done)| done);
        each.fold(Done::default(), |all, one| Done {
            bytes: all.bytes + one.bytes,
            bytes_total: all.bytes_total + one.bytes_total,
            segments: all.segments + one.segments,
            segments_total: all.segments_total + one.segments_total,
        })
    }

    /// How far each segment is, by its base offset, and the source that was asked for it last; empty: none yet.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Offset, &str, Done)> + '_ {
        self.segments.iter().map(|part| {
            let done = Done {
                bytes: part.bytes_done.load(Ordering::Relaxed),
                bytes_total: part.bytes_total,
                segments: part.is_ready.load(Ordering::Relaxed),
                segments_total: 1,
            };
            let source = self.sources.get(part.source.load(Ordering::Relaxed));
            (part.base, source.map_or("", String::as_str), done)
        })
    }

    /// The segment `number` is asked for at the source of that number.
    pub(super) fn note_source(&self, number: usize, source: usize) {
        if let Some(part) = self.segments.get(number) {
            part.source.store(source, Ordering::Relaxed);
        }
    }

    /// So many bytes of the segment `number` are there.
    pub(super) fn note(&self, number: usize, bytes: u64) {
        if let Some(part) = self.segments.get(number) {
            part.bytes_done.store(bytes, Ordering::Relaxed);
        }
    }

    /// The segment `number` is all there, verified and synced.
    pub(super) fn note_ready(&self, number: usize) {
        if let Some(part) = self.segments.get(number) {
            part.is_ready.store(1, Ordering::Relaxed);
        }
    }
}
