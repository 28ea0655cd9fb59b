//! Putting a segment that a peer sent in the place of one that is damaged.

use std::collections::BTreeMap;
use std::rc::Rc;

use corelog_record::Position;

use super::chore::ChorePlan;
use super::damage::Found;
use super::install::Install;
use super::outcome::Chore;
use super::sums::Sums;
use super::work::Work;
use super::{Event, Log};
use crate::disk::{Dir, Entry};
use crate::format::damage::place;
use crate::format::edit::{Edit, Generation, Settings};
use crate::format::quarantine::{Name, Reason};
use crate::intake::Ready;
use crate::manifest::Manifest;
use crate::quarantine::Way;
use crate::segment::{self, Index, Stage};
use crate::steps;
use crate::store::Store;
use crate::{Error, Now};

/// Putting new files in the place of a segment's, and the old store into quarantine.
pub(super) struct Replace<D: Dir> {
    install: Install<D>,
    way: Way<D>,
    old: Option<Old<D>>,
    /// What is read while it is moved away stays open until the log knows of it.
    open: Option<Rc<D::File>>,
    quarantined: Option<String>,
}

/// The files that are replaced.
struct Old<D: Dir> {
    store: Rc<Store<D>>,
    /// How often it is held if nobody reads it.
    holders: usize,
    index: String,
}

impl<D: Dir> Replace<D> {
    /// Replaces.
    pub(super) async fn run(&mut self) -> Result<(), Error> {
        self.install.run().await?;
        // The segment is whole from here on. What cannot be moved away now, opening does: the manifest
        // does not name it.
        self.quarantined = self.move_away().await.ok().flatten();
        Ok(())
    }

    /// Moves the old store to quarantine, or removes it. Returns its name there, if it has one.
    async fn move_away(&mut self) -> Result<Option<String>, Error> {
        let Some(Old {
            store,
            holders,
            index,
        }) = &self.old
        else {
            return Ok(None);
        };
        if store.is_held_beside(*holders) {
            self.open = store.file().await.ok();
        }
        let (dir, reason) = (&self.way.dir, Reason::Damaged);
        steps::remove(dir, index).await?;
        let taken = self.way.open().await?;
        let name = self.way.named(reason, Position::ZERO, store.name());
        // All that was promised of it stands in the new one. On a disk that does not keep that there would be no end of them.
        if !has_one(&taken, &name, length(dir, store.name()).await?) {
            match self
                .way
                .take(store.name(), reason, &taken, &|| Ok(()))
                .await
            {
                // What the disk does not give comes to no other file system.
                Err(error) if error.is_unreadable() => {}
                moved => {
                    let moved = moved?;
                    self.way.sync().await?;
                    return Ok(Some(moved));
                }
            }
        }
        steps::remove(dir, store.name()).await?;
        steps::sync(dir).await?;
        Ok(None)
    }
}

impl<D: Dir> Log<D> {
    /// Plans to put the segment `ready` in the place of the one that the log has at its base: reads go
    /// to the new files, damage of the old ones is forgotten, and the old store goes to quarantine, unless that has a
    /// damaged store of the segment already. The log goes on meanwhile. If the new store is not there any more, the plan fails with
    /// [`Error::ReceivedGone`], and nothing has changed.
    ///
    /// # Errors
    /// [`Error::Busy`] while a chore is under way, or the segment is not sealed yet;
    /// [`Error::NotSame`] for one that holds other batches, or for the active segment;
    /// [`Error::Fenced`].
    pub fn plan_replace(
        &mut self,
        mut ready: Ready,
        now: impl Into<Now>,
    ) -> Result<ChorePlan<D>, Error> {
        let now = now.into();
        self.ready_to_change()?;
        ready.seal.sealed = ready.seal.sealed.min(now.stamp);
        let (base, digest) = (ready.base(), &ready.seal.digest);
        let number = self
            .segments
            .partition_point(|segment| segment.base.offset < base);
        let not_same = Error::NotSame { segment: base };
        let (Some(segment), Some(next)) =
            (self.segments.get(number), self.segments.get(number + 1))
        else {
            return Err(not_same);
        };
        let is_same = (segment.base.place(), next.base.place()) == (digest.start(), digest.end());
        let is_sealed = match segment.stage {
            Stage::Sealed(_) => true,
            Stage::Damaged => false,
            Stage::Active | Stage::Rolled | Stage::Finished => return Err(Error::Busy),
        };
        let is_length = !is_sealed || segment.bytes() == digest.bytes;
        if !is_same || !is_length || ready.generation <= segment.generation {
            return Err(not_same);
        }
        let generation = ready.generation;
        let mut edits = vec![Edit::Generation(Generation { base, generation })];
        if !is_sealed {
            edits.push(Edit::Seal(ready.seal.clone()));
        }
        edits.extend(self.forgetting(&ready));
        // The log, its index, and this.
        let holders = 2 + usize::from(matches!(segment.index, Index::File(_)));
        let index = segment.index_name();
        let old = segment.store.clone().map(|store| Old {
            store,
            holders,
            index,
        });
        let install = self.install(vec![ready], edits)?;
        let replace = Replace {
            install,
            way: self.way(now.time),
            old,
            open: None,
            quarantined: None,
        };
        Ok(self.chore(Work::Replace(Box::new(replace))))
    }

    /// Takes new files in that the manifest now names.
    pub(super) fn take_in_replace(&mut self, replace: Replace<D>, is_done: bool) -> Chore {
        let Replace {
            install,
            quarantined,
            ..
        } = replace;
        let Install {
            manifest,
            mark,
            segments,
            ..
        } = install;
        self.give_back(Some(manifest), mark.mark);
        let replaced = Chore::Replaced { quarantined };
        let Some(ready) = segments.into_iter().next().filter(|_| is_done) else {
            return replaced;
        };
        let (base, generation) = (ready.base(), ready.generation);
        let fresh = self.sealed_segment(&ready);
        let place = self.segment_at_mut(base);
        let time = place.seal_time();
        let old = std::mem::replace(place, fresh);
        if let Some(time) = time {
            // It was sealed when this log sealed it.
            place.stage = Stage::Sealed(time);
        }
        self.retire(old);
        // It may be of other segments.
        self.note_found();
        self.keep_damage(|damage| damage.segment != base);
        // What reads of the old files still find says nothing about the new ones.
        self.found = Found::default();
        self.sums = Sums::over(&self.segments);
        self.events.note(Event::Repaired {
            segment: base,
            generation,
        });
        replaced
    }

    /// What the manifest remembers of the damage of a segment, to be forgotten.
    fn forgetting(&self, ready: &Ready) -> Option<Edit> {
        let state = self.manifest.get().map(Manifest::state)?;
        let is_of = |key: &&String| place(key).is_some_and(|(base, _)| base == ready.base());
        let keys = state.settings().keys().filter(is_of);
        let changes: BTreeMap<_, _> = keys.map(|key| (key.clone(), None)).collect();
        (!changes.is_empty()).then_some(Edit::Settings(Settings { changes }))
    }
}

/// The length of a store in bytes.
async fn length<D: Dir>(dir: &D, store: &str) -> Result<u64, Error> {
    let entries = steps::list(dir).await?;
    let found = entries.iter().find(|entry| entry.name == store);
    Ok(found.map_or(0, |entry| entry.bytes))
}

/// Whether a store of the same segment, of whichever generation, is in quarantine for the same reason as that which is to be
/// called `name`, and is of `bytes` bytes: as long as that, and no part of one.
fn has_one(taken: &[Entry], name: &Name, bytes: u64) -> bool {
    let wanted = segment::name::base(&name.file);
    let whole = taken.iter().filter(|entry| bytes <= entry.bytes);
    let mut taken = whole.filter_map(|entry| entry.name.parse().ok());
    taken.any(|found: Name| {
        let is_of = (found.topic, found.partition) == (name.topic, name.partition);
        let is_same = (found.reason, found.position) == (name.reason, name.position);
        is_of && is_same && segment::name::base(&found.file) == wanted
    })
}
