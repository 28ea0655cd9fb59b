//! The background work of a log: each kind with what it takes along.

use std::rc::Rc;

use corelog_record::Offset;

use super::adopt::Adopt;
use super::cut::Suffix;
use super::epoch::NewEpoch;
use super::install::Install;
use super::mark::TakenMark;
use super::next::Next;
use super::prepare::Prepare;
use super::replace::Replace;
use super::snapshot::Snapshot;
use super::unsure::MakeSure;
use crate::Error;
use crate::disk::Dir;
use crate::format::edit::Edit;
use crate::format::mark::Slot;
use crate::format::state;
use crate::index::Sealed;
use crate::manifest::Manifest;
use crate::mark::Mark;
use crate::segment::{Finishing, finish_all};
use crate::steps;
use crate::store::Store;

/// One piece of background work.
pub(super) enum Work<D: Dir> {
    /// Make a store, or space in one, ready for the segment with this base.
    Prepare(Offset, Box<Prepare<D>>),
    /// Make space that was prepared in a store durable.
    SpaceSync(SpaceSync<D>),
    /// Make the store of a segment that does not exist yet.
    Next(Next<D>),
    /// Write the mark.
    Mark(MarkWork<D>),
    /// Give rolled segments their final files.
    Finish(Vec<Finishing<D>>),
    /// Append an edit to the manifest.
    Edit(Box<EditWork<D>>),
    /// Cut the end of the log.
    Suffix(Box<Suffix<D>>),
    /// Make the log an empty copy of another one.
    Adopt(Box<Adopt<D>>),
    /// Begin an epoch.
    Begin(Box<NewEpoch<D>>),
    /// Remove files that nothing names any more.
    Remove(Remove<D>),
    /// Write an index that was rebuilt in memory.
    Index(IndexWork<D>),
    /// Link sealed segments into a snapshot.
    Snapshot(Box<Snapshot<D>>),
    /// Take in segments at the end of the log.
    Install(Box<Install<D>>),
    /// Put a segment in the place of another.
    Replace(Box<Replace<D>>),
    /// Make sure of what an opening could not.
    MakeSure(Box<MakeSure<D>>),
}

impl<D: Dir> Work<D> {
    /// Does the work; what it made is in its fields.
    pub(super) async fn run(&mut self) -> Result<(), Error> {
        match self {
            Self::Prepare(_, prepare) => prepare.run_ahead().await,
            Self::SpaceSync(sync) => sync.store.sync().await,
            Self::Next(next) => next.run().await,
            Self::Mark(mark) => mark.run().await,
            Self::Finish(all) => finish_all(all).await,
            Self::Edit(edit) => edit.run().await,
            Self::Suffix(suffix) => suffix.run().await,
            Self::Adopt(adopt) => adopt.run().await,
            Self::Begin(begin) => begin.run().await,
            Self::Remove(remove) => remove.run().await,
            Self::Index(index) => index.run().await,
            Self::Snapshot(snapshot) => snapshot.run().await,
            Self::Install(install) => install.run().await,
            Self::Replace(replace) => replace.run().await,
            Self::MakeSure(make) => make.run().await,
        }
    }
}

/// Making prepared space durable.
pub(super) struct SpaceSync<D: Dir> {
    pub(super) store: Rc<Store<D>>,
    /// Base of the store's segment.
    pub(super) segment: Offset,
    /// How far its space reaches, in bytes.
    pub(super) bytes: u64,
}

/// Writing the mark.
pub(super) struct MarkWork<D: Dir> {
    pub(super) mark: Mark<D>,
    pub(super) slot: Slot,
    /// The durable bytes since opening that it covers.
    pub(super) total: u64,
    /// Whether it is made durable at once: nothing else would do so.
    pub(super) is_synced: bool,
}

impl<D: Dir> MarkWork<D> {
    async fn run(&mut self) -> Result<(), Error> {
        match self.is_synced {
            true => self.mark.write_durably(self.slot).await,
            false => self.mark.write(self.slot).await,
        }
    }
}

/// Appending an edit.
pub(super) struct EditWork<D: Dir> {
    pub(super) manifest: Manifest<D>,
    pub(super) edit: Edit,
    /// What the manifest does not name any more.
    pub(super) gone: Vec<state::Segment>,
    pub(super) mark: TakenMark<D>,
}

impl<D: Dir> EditWork<D> {
    async fn run(&mut self) -> Result<(), Error> {
        self.mark.say_first().await?;
        self.gone = self.manifest.append(&self.edit).await?;
        // Here nobody waits; the next edit may be one that a group waits for.
        self.manifest.make_room().await
    }
}

/// Removing files.
pub(super) struct Remove<D: Dir> {
    pub(super) dir: D,
    pub(super) garbage: Vec<Garbage<D>>,
}

/// A store that nothing names any more.
pub(super) struct Garbage<D: Dir> {
    pub(super) store: Rc<Store<D>>,
    /// The files to remove.
    pub(super) names: Vec<String>,
    /// Whether the store may become the next one instead.
    pub(super) is_reusable: bool,
}

impl<D: Dir> Garbage<D> {
    /// Whether the store may become the next one now.
    pub(super) fn is_spare(&self) -> bool {
        self.is_reusable && !self.store.is_pinned()
    }
}

impl<D: Dir> Remove<D> {
    /// Removes what can be removed; what cannot stays garbage.
    async fn run(&mut self) -> Result<(), Error> {
        let (mut left, mut result) = (Vec::new(), Ok(()));
        for garbage in std::mem::take(&mut self.garbage) {
            if let Err(error) = self.remove(&garbage).await {
                left.push(garbage);
                result = result.and(Err(error));
            }
        }
        self.garbage = left;
        result
    }

    async fn remove(&mut self, garbage: &Garbage<D>) -> Result<(), Error> {
        for name in &garbage.names {
            steps::remove(&self.dir, name).await?;
        }
        garbage.store.close().await
    }
}

/// Writing an index that was rebuilt in memory.
pub(super) struct IndexWork<D: Dir> {
    pub(super) dir: D,
    pub(super) segment: Offset,
    pub(super) sealed: Rc<Sealed<D>>,
    pub(super) bytes: Vec<u8>,
}

impl<D: Dir> IndexWork<D> {
    async fn run(&mut self) -> Result<(), Error> {
        steps::write(&self.dir, self.sealed.name(), &self.bytes).await
    }
}
