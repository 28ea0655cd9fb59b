//! The epochs of a log: which it has, and how another one begins.

use corelog_record::{LeaderEpoch, Lineage};

use super::begun::Begun;
use super::birth::Birth;
use super::chore::ChorePlan;
use super::held::Held;
use super::lineage::Began;
use super::mark::TakenMark;
use super::outcome::Chore;
use super::work::Work;
use super::{Log, options};
use crate::Error;
use crate::disk::Dir;
use crate::format::edit::{Edit, Epoch};
use crate::format::mark::Slot;
use crate::manifest::Manifest;

/// Beginning an epoch.
pub(super) struct NewEpoch<D: Dir> {
    dir: D,
    epoch: Epoch,
    /// The first files of a log, as far as it has none.
    birth: Birth,
    untold: Option<Begun<D>>,
    manifest: Option<Manifest<D>>,
    mark: TakenMark<D>,
}

impl<D: Dir> NewEpoch<D> {
    /// Makes it durable.
    pub(super) async fn run(&mut self) -> Result<(), Error> {
        self.mark.say_first().await?;
        let is_new = self.manifest.is_none();
        // A try before this one may have found no space for the mark.
        let (manifest, mark) = (&mut self.manifest, &mut self.mark.mark);
        let untold = &mut self.untold;
        self.birth.make(&self.dir, manifest, untold, mark).await?;
        match &mut self.manifest {
            Some(manifest) if !is_new => {
                manifest.append(&Edit::Epoch(self.epoch)).await?;
                manifest.make_room().await
            }
            _ => Ok(()),
        }
    }
}

/// How much higher than its owner's epoch one is, at least, that a copy begins which is given what that owns. An owner that is
/// killed again and again before it hears of that begins one more each time, and must not outrank it.
pub const TAKEOVER_STEP: i32 = 1_000;
/// How much higher one is that an owner begins which takes a handover back without its target's word: that may have taken over,
/// a [`TAKEOVER_STEP`] above or, where it was cut short before, a few more, and must not be level with it.
pub const TAKE_BACK_STEP: i32 = 2 * TAKEOVER_STEP;
/// How much higher one is that a copy begins which is promoted, and not given what it owns from then on. Its owner may meanwhile
/// have handed over to another copy, or taken that back, of which this one has not heard, and must not outrank it: fifteen times
/// the one, or seven the other by force.
pub const PROMOTION_STEP: i32 = 16 * TAKEOVER_STEP;
/// The highest epoch of a source that a copy takes: a million takeovers have room above it, or 62,500 promotions.
const SOURCE_EPOCH_MAX: i32 = i32::MAX - 1_000_000 * TAKEOVER_STEP;
/// The highest epoch that a log hears of without having it: as many above it are copied still. It is a word of
/// anybody's, and what begins above it must be taken by every copy.
pub const HEARD_EPOCH_MAX: i32 = SOURCE_EPOCH_MAX - 1_000_000 * TAKEOVER_STEP;

/// Which epoch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// One of this log's own: the next number, with a lineage drawn at random.
    Own,
    /// One of this log's own, [`TAKEOVER_STEP`] above this one of its owner, which gives it what it owns, or the next, if it had or
    /// heard of a later one.
    TakenOver(LeaderEpoch),
    /// One of this log's own, [`TAKE_BACK_STEP`] above the last: it was to be another log's, which may have begun some.
    TakenBack,
    /// One of this log's own, [`PROMOTION_STEP`] above the last that it had or heard of.
    Promoted,
    /// One of the source's, which a copy takes over.
    Copied(Began),
}

impl<D: Dir> Log<D> {
    /// Plans to begin an epoch at the log's end. It is durable, and what is appended is of it, when the
    /// plan is complete; meanwhile nothing is appended. A log without files gets them.
    ///
    /// # Errors
    /// [`Error::Busy`] while a chore is under way, or anything is pending or in flight;
    /// [`Error::Fenced`], [`Error::ReadOnly`], [`Error::EpochsExhausted`]; [`Error::EpochOrder`] for a
    /// copied epoch that is not above the last one, or did not begin here, or of a log that is its own;
    /// [`Error::EpochTooHigh`].
    pub fn plan_epoch(&mut self, begin: Begin) -> Result<ChorePlan<D>, Error> {
        self.ready_to_change_end()?;
        if let Some(from) = self.read_only_from {
            return Err(Error::ReadOnly { from });
        }
        let (epoch, lineage) = match begin {
            Begin::Own => (self.epoch_above(1)?, self.draw_lineage()),
            Begin::TakenOver(owners) => (self.epoch_given_at(owners)?, self.draw_lineage()),
            Begin::TakenBack => (self.epoch_above(TAKE_BACK_STEP)?, self.draw_lineage()),
            Begin::Promoted => (self.epoch_above(PROMOTION_STEP)?, self.draw_lineage()),
            Begin::Copied(began) => {
                self.check_copied(began)?;
                (began.epoch, began.lineage)
            }
        };
        let epoch = Epoch::behind(self.epochs().last(), self.end_place(), epoch, lineage);
        let begin = NewEpoch {
            dir: self.dir.clone(),
            birth: self.birth(epoch),
            untold: self.untold.clone(),
            epoch,
            manifest: self.manifest.take(),
            mark: TakenMark {
                first: self.unset_slot(),
                mark: self.mark.take(),
            },
        };
        Ok(self.chore(Work::Begin(Box::new(begin))))
    }

    /// Takes in that an epoch has begun, or has not.
    pub(super) fn take_in_epoch(&mut self, begin: NewEpoch<D>) -> Chore {
        self.give_back(begin.manifest, begin.mark.mark);
        self.untold = begin.untold;
        Chore::EpochBegun
    }

    /// The first files of a log whose first epoch is `epoch`.
    pub(super) fn birth(&self, epoch: Epoch) -> Birth {
        Birth {
            header: self.header(self.identity.history),
            edits: vec![Edit::Epoch(epoch)],
            slot: Slot {
                epoch: Some(epoch.epoch),
                ..self.slot()
            },
        }
    }

    /// The first epoch of a log, that of the records which wait for its first files. They were appended
    /// while it was its own, and stamped with this epoch, also if it follows another by now: no copy is
    /// taken before its epoch is known.
    pub(super) fn first_epoch(&mut self) -> Epoch {
        assert!(
            0 < self.pending_bytes(),
            "a log gets its first files for records that wait for them"
        );
        if let Some(last) = self.epochs.last() {
            // The manifest is there; it is the mark for which there was no space.
            return *last;
        }
        let lineage = self.draw_lineage();
        Epoch::behind(None, self.durable_place(), LeaderEpoch::ZERO, lineage)
    }

    /// Notes an epoch of another copy of this log, where this one may never come to: what it begins itself is
    /// above. The mark says so as soon as nothing else goes on. One above [`HEARD_EPOCH_MAX`] is no node's: it
    /// could leave none to take over with that a copy takes, and is not believed.
    pub fn hear_epoch(&mut self, epoch: LeaderEpoch) {
        if epoch.get() <= HEARD_EPOCH_MAX {
            self.marked.heard = self.marked.heard.max(Some(epoch));
            self.epoch_used = self.epoch_used.max(Some(epoch));
        }
    }

    /// The number of an epoch of this log's own, so many above the last: no copy uses one twice.
    pub(super) fn epoch_above(&self, step: i32) -> Result<LeaderEpoch, Error> {
        let above = match self.epoch_used {
            None => Some(step - 1),
            Some(used) => used.get().checked_add(step),
        };
        let above = above.and_then(LeaderEpoch::new);
        above.ok_or_else(|| Error::EpochsExhausted {
            dir: self.dir.describe(),
        })
    }

    fn epoch_given_at(&self, owners: LeaderEpoch) -> Result<LeaderEpoch, Error> {
        let next = self.epoch_above(1)?;
        let far = owners.get().checked_add(TAKEOVER_STEP);
        Ok(far
            .and_then(LeaderEpoch::new)
            .map_or(next, |far| far.max(next)))
    }

    /// Whether an epoch of the source follows here. One that began below is taken over by an empty
    /// log only: batches of older epochs that stand above are none of the source's.
    fn check_copied(&self, began: Began) -> Result<(), Error> {
        let Began { epoch, offset, .. } = began;
        check_source_epoch(epoch)?;
        let log_end = self.log_end();
        let last = self.epochs().last().map(|last| last.epoch);
        let is_empty = self.floor_place().offset == log_end;
        let is_here = offset == log_end || (is_empty && offset < log_end);
        match self.is_follower() && last < Some(epoch) && is_here {
            true => Ok(()),
            false => Err(Error::EpochOrder {
                epoch,
                offset,
                last,
                log_end,
            }),
        }
    }

    /// The epoch of the batches that are appended now: the last one, 0 before any.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epochs
            .last()
            .map_or(LeaderEpoch::ZERO, |began| began.epoch)
    }

    /// The epochs that are durable and have a batch left to speak for, or none yet; oldest first. None
    /// without files.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// Takes the manifest back from a plan, with what was changed of the epochs, and whose log it is. One in doubt is away
    /// for good: it may say what is not durable, or never was written.
    pub(super) fn return_manifest(&mut self, manifest: Option<Manifest<D>>) {
        let Some(manifest) = manifest else {
            return;
        };
        if manifest.is_in_doubt() {
            self.manifest = Held::Away;
            return;
        }
        self.identity.history = manifest.header().history;
        let epochs = manifest.state().epochs();
        if *self.epochs != *epochs {
            self.epochs = epochs.into();
            let last = epochs.last().map(|last| last.epoch);
            self.epoch_used = self.epoch_used.max(last);
        }
        self.manifest.give_back(Some(manifest));
    }

    /// A fresh random lineage.
    pub(super) fn draw_lineage(&mut self) -> Lineage {
        Lineage::from_bytes(options::draw(&mut self.seed, &self.identity))
    }
}

/// Refuses an epoch of a source with one of the last numbers there are.
pub(super) fn check_source_epoch(epoch: LeaderEpoch) -> Result<(), Error> {
    let epoch_max = LeaderEpoch::new(SOURCE_EPOCH_MAX).unwrap_or_default();
    match epoch <= epoch_max {
        true => Ok(()),
        false => Err(Error::EpochTooHigh { epoch, epoch_max }),
    }
}
