//! Sealed segments for those who send their files away.

use std::rc::Rc;

use corelog_record::Offset;

use super::Log;
use crate::Error;
use crate::disk::Dir;
use crate::format::edit::Seal;
use crate::segment::{self, Segment, name};
use crate::store::Store;

/// The store of a sealed segment, whose file stays until this is dropped: neither retention nor a
/// repair takes the name away, and once it is open nobody closes it. Counts as one open file.
pub struct Pinned<D: Dir> {
    store: Rc<Store<D>>,
    file: Option<Rc<D::File>>,
    generation: u32,
    seal: Seal,
}

impl<D: Dir> Pinned<D> {
    /// The name of the file within the log's directory.
    #[must_use]
    pub fn name(&self) -> &str {
        self.store.name()
    }

    /// The generation of the file.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// What the segment holds.
    #[must_use]
    pub fn seal(&self) -> &Seal {
        &self.seal
    }

    /// The file, open for reading until this is dropped.
    ///
    /// # Errors
    /// Any error of opening it.
    pub async fn file(&mut self) -> Result<Rc<D::File>, Error> {
        if let Some(file) = &self.file {
            return Ok(Rc::clone(file));
        }
        let file = self.store.file().await?;
        self.file = Some(Rc::clone(&file));
        Ok(file)
    }
}

impl<D: Dir> Log<D> {
    /// The sealed segments, oldest first, each with the generation of its files.
    pub fn sealed(&self) -> impl Iterator<Item = (u32, Seal)> + '_ {
        let sealed = |segment: &Segment<D>| {
            let time = segment.seal_time()?;
            Some((segment.generation, segment::seal(segment, time)))
        };
        self.segments.iter().filter_map(sealed)
    }

    /// Keeps the file of a sealed segment; `None` if there is no such segment, or it has another
    /// generation by now.
    #[must_use]
    pub fn pin(&self, base: Offset, generation: u32) -> Option<Pinned<D>> {
        let segment = self.segment_of(base);
        let is_it = segment.base.offset == base && segment.generation == generation;
        let time = segment.seal_time().filter(|_| is_it)?;
        Some(Pinned {
            store: segment.store.as_ref()?.apart(),
            file: None,
            generation,
            seal: segment::seal(segment, time),
        })
    }

    /// The generation that files of a segment at `base` are to have if they are to come into this log:
    /// one more than those that are there.
    #[must_use]
    pub fn generation_next(&self, base: Offset) -> u32 {
        let segment = self.segment_of(base);
        let is_there = segment.base.offset == base && segment.store.is_some();
        let first = name::store(base, 0);
        // One that was made for it and never added waits under that name.
        let is_waiting = self
            .next
            .as_ref()
            .is_some_and(|(next, _)| next.name() == first);
        match is_there {
            true => segment.generation + 1,
            false => u32::from(is_waiting),
        }
    }
}
