//! The next store, made ahead of the roll: out of one that has just left the log, if there is one.
//!
//! A store that retention lets go has the blocks that the next one needs. Removed, they are told to the disk as free, and
//! as many others are asked for a moment later: where a disk is virtual both cost it more than writing does.

use std::io::ErrorKind;
use std::rc::Rc;

use corelog_record::Timestamp;

use super::space::{self, Extent, Hurry};
use super::work::{Garbage, Remove, Work};
use super::{Log, STORE_BYTES_MAX};
use crate::Error;
use crate::disk::{Dir, File, Open};
use crate::error::At;
use crate::planted::{self, Bug};
use crate::segment::Segment;
use crate::segment::name::NEXT;
use crate::steps;
use crate::store::Store;

/// Making the next store ahead.
pub(super) struct Next<D: Dir> {
    dir: D,
    extent: Extent,
    hurry: Hurry,
    /// A store to make it of. Once it was tried what is left of it is to be removed, whatever came of it.
    pub(super) used: Option<Garbage<D>>,
    /// Whether that cannot be, and will not be soon either.
    pub(super) is_refused: bool,
    /// The store, and its space in bytes.
    pub(super) made: Option<(Rc<Store<D>>, u64)>,
}

impl<D: Dir> Next<D> {
    pub(super) async fn run(&mut self) -> Result<(), Error> {
        let made = self.make().await;
        if made.is_err() {
            // Half a store only takes space away from those that are written to, and the name from the next try.
            steps::remove(&self.dir, NEXT).await?;
        }
        made
    }

    async fn make(&mut self) -> Result<(), Error> {
        let is_used = self.reuse().await?;
        let (mode, action) = match is_used {
            true => (Open::Write, "open"),
            false => (Open::Create, "create"),
        };
        let at = || At::new(&self.dir, NEXT);
        let opened = self.dir.open(NEXT, mode).await;
        let file = Rc::new(opened.map_err(|e| at().space(action, e))?);
        // Of a used one what lies behind the end of its segment was nobody's, and no opening takes a store of any length.
        if is_used && STORE_BYTES_MAX < file.len().await.map_err(|e| at().io("measure", e))? {
            file.set_len(0).await.map_err(|e| at().io("cut", e))?;
        }
        let mut reached = 0;
        let prepared = self.extent.prepare(&*file, &mut reached, &self.hurry);
        prepared.await.map_err(|e| at().space("extend", e))?;
        let store = Store::opened(&self.dir, NEXT.to_owned(), file);
        self.made = Some((store, reached));
        Ok(())
    }

    /// Makes the used store the next one, if that can be. Whether it did.
    async fn reuse(&mut self) -> Result<bool, Error> {
        let Some(used) = &mut self.used else {
            return Ok(false);
        };
        used.is_reusable = false;
        match taken_over(&self.dir, used).await {
            Ok(()) => return Ok(true),
            // Somebody reads it.
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::ResourceBusy => {}
            Err(_) => self.is_refused = true,
        }
        // A new one does as well.
        steps::remove(&self.dir, NEXT).await?;
        Ok(false)
    }
}

/// Gives the store of `used` the name of the next one, and makes it zeros. The name first: then nobody finds it by the old
/// one. Whichever a crash leaves means nothing to a log whose manifest has let the segment go.
async fn taken_over<D: Dir>(dir: &D, used: &Garbage<D>) -> Result<(), Error> {
    used.store.close().await?;
    steps::rename(dir, used.store.name(), NEXT).await?;
    if planted::is(Bug::ReusedUncleared) {
        return Ok(());
    }
    let cleared = dir.reuse(NEXT).await;
    cleared.map_err(|e| At::new(dir, NEXT).io("clear", e))
}

impl<D: Dir> Log<D> {
    /// The next store, ahead of the roll: for a log that is written to, and so may roll before it is idle.
    pub(super) fn plan_next(&mut self, now: Timestamp, is_idle: bool) -> Option<Work<D>> {
        let is_held = now < self.space_retry_at || self.is_full() || self.hurry.is_on();
        let is_of_use = self.is_written_to() && self.read_only_from.is_none();
        if is_idle || !is_of_use || self.next.is_some() || self.is_next_going() || is_held {
            return None;
        }
        let active = self.active();
        active.store.as_ref()?;
        let extent = space::next(active, self.group_bytes, &self.options)?;
        let spare = self.garbage.iter().position(Garbage::is_spare);
        if spare.is_none() && now < self.next_retry_at {
            return None;
        }
        Some(Work::Next(Next {
            dir: self.dir.clone(),
            extent,
            hurry: self.hurry.clone(),
            used: spare.map(|spare| self.garbage.remove(spare)),
            is_refused: false,
            made: None,
        }))
    }

    /// Giving back what was made ahead: a log that went idle may not roll for long, and on a full disk groups need the space.
    pub(super) fn plan_give_back(&mut self, is_idle: bool) -> Option<Work<D>> {
        if !is_idle && !self.is_full() {
            return None;
        }
        // One that has the name of its segment already waits to be added.
        let (store, _) = self.next.take_if(|(store, _)| store.name() == NEXT)?;
        Some(Work::Remove(Remove {
            dir: self.dir.clone(),
            garbage: vec![Garbage {
                store,
                names: vec![NEXT.to_owned()],
                is_reusable: false,
            }],
        }))
    }

    /// Whether one that was given back could not be removed yet: its name is taken.
    fn is_next_going(&self) -> bool {
        let mut names = self.garbage.iter().flat_map(|garbage| &garbage.names);
        names.any(|name| name == NEXT)
    }

    /// Whether so much was written since the log was opened, or idle, that a store for what follows costs little beside it: of
    /// one with a group now and then it would be made and given back for each.
    fn is_written_to(&self) -> bool {
        let written = self.durable_total - self.idle_total;
        let part = self.options.segment_bytes_max.bytes() / WRITTEN_PART;
        0 < written && part <= written
    }

    /// How many stores that left the log wait to become the next one: a few while it rolls often, or they would keep
    /// their space for long, and none on a full disk or where they cannot be used.
    pub(super) fn spares(&self, now: Timestamp, is_idle: bool) -> usize {
        let born = self.active().born;
        let is_rolling = born.is_none_or(|born| now.millis_since(born) <= SPARE_MS);
        let is_held = self.is_full() || now < self.space_retry_at || now < self.reuse_retry_at;
        match is_rolling && !is_idle && !is_held {
            true => SPARES_MAX,
            false => 0,
        }
    }

    /// Whether what a segment leaves is worth being used again: it is sound, and about as large as what comes.
    pub(super) fn is_reusable(&self, segment: &Segment<D>) -> bool {
        let (bytes, wanted) = (segment.bytes(), self.options.segment_bytes_max.bytes());
        let is_alike = wanted <= 2 * bytes && bytes <= 2 * wanted;
        is_alike && segment.seal_time().is_some() && self.damage.of(segment.base.offset).is_empty()
    }
}

/// A log is written to once so much of a segment was: as many zeros are made ahead at most.
const WRITTEN_PART: u64 = 16;

/// A log that rolls is as likely to do so again within this time, in milliseconds.
const SPARE_MS: i64 = 10_000;

/// How long no new one is made after one that found no space, in milliseconds: trying takes, for as long as it lasts, what is left
/// from those that need it.
pub(super) const NEXT_RETRY_MS: i64 = 60_000;

/// How long none is tried after one that could not be used, in milliseconds: the file system cannot, or its disk fails.
pub(super) const REUSE_RETRY_MS: i64 = 60_000;

/// One store comes for each that goes; a second one is at hand where rolls come faster than expiry.
const SPARES_MAX: usize = 2;
