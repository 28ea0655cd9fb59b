//! The segments of a partition as its manifest names them, and what of each is promised. The rules are those
//! of `FORMAT.md`, Opening a log.

use std::io::{ErrorKind, Read as _};
use std::path::Path;

use anyhow::Context as _;
use corelog_record::{Offset, Position};
use corelog_storage::format::manifest::Manifest;
use corelog_storage::format::mark::Slot;
use corelog_storage::format::state::Segment;
use corelog_storage::segment::name;

use super::files;

/// A segment as the manifest names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) segment: &'a Segment,
    /// All of its batches below are durable.
    pub(super) durable: Offset,
    /// What the mark says is durable of its store, if it speaks of that.
    pub(super) marked: Option<Position>,
    /// No store behind held a byte when this one was not read yet: what was written last may be torn here.
    pub(super) is_last: bool,
}

impl<'a> Named<'a> {
    /// The same of what the manifest names in its place by now; its store is another one if it was replaced.
    pub(super) fn replaced(self, now: &'a Segment) -> Self {
        let is_same = now.generation == self.segment.generation;
        Self {
            segment: now,
            marked: self.marked.filter(|_| is_same),
            ..self
        }
    }
}

/// The segments of the partition in `dir`, as far as its manifest and its mark, if it is this log's, know that
/// they are durable.
///
/// # Errors
/// If a store that is not sealed cannot be read.
pub(super) fn named<'a>(
    dir: &Path,
    manifest: &'a Manifest,
    mark: Option<&Slot>,
) -> anyhow::Result<Vec<Named<'a>>> {
    let (header, state) = (&manifest.header, &manifest.state);
    let is_ours = |mark: &&Slot| (mark.history, mark.copy) == (header.history, header.copy);
    let mark = mark.filter(is_ours);
    let promised = state.promised(mark);
    let marked_in = |segment: &Segment| {
        let mark = mark.filter(|mark| mark.is_of(segment.base, segment.generation));
        mark.map(|mark| mark.position)
    };
    let segments = state.segments();
    let mut last = None;
    for (number, segment) in segments.iter().enumerate().rev() {
        let is_promised = segment.base < promised
            || marked_in(segment).is_some_and(|position| position > Position::ZERO);
        if segment.seal.is_some() || is_promised || holds_bytes(dir, segment)? {
            last = Some(number);
            break;
        }
    }
    let each = segments.iter().enumerate().map(|(number, segment)| {
        let is_last = last.is_none_or(|last| number >= last);
        // The first group of a store is written after the last one of its predecessor was synced.
        let next = segments.get(number + 1).filter(|_| !is_last);
        Named {
            segment,
            durable: next.map_or(promised, |next| next.base),
            marked: marked_in(segment),
            is_last,
        }
    });
    Ok(each.collect())
}

/// Whether the store of `segment` has a byte that is not zero; one that is not there has none.
fn holds_bytes(dir: &Path, segment: &Segment) -> anyhow::Result<bool> {
    let path = dir.join(name::store(segment.base, segment.generation));
    let cannot = || format!("cannot read {}", path.display());
    let mut file = match files::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        opened => opened.with_context(cannot)?,
    };
    let mut chunk = vec![0; 64 << 10];
    loop {
        let bytes = file.read(&mut chunk).with_context(cannot)?;
        if bytes == 0 {
            return Ok(false);
        }
        if chunk[..bytes].iter().any(|byte| *byte != 0) {
            return Ok(true);
        }
    }
}
