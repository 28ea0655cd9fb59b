//! Taking in segments that a peer sent: the files are there, whole and synced, the manifest decides.
//!
//! The manifest is told of all of them at once, then the files get their names. Before that all is as it
//! was; what a crash leaves undone of the names, opening does.

use std::collections::BTreeMap;

use super::Log;
use super::begun::{Begun, tell};
use super::chore::ChorePlan;
use super::epoch::check_source_epoch;
use super::mark::TakenMark;
use super::outcome::Chore;
use super::sums::Sums;
use super::work::Work;
use crate::disk::Dir;
use crate::format::edit::{Add, Edit, Epoch, Generation};
use crate::intake::Ready;
use crate::manifest::Manifest;
use crate::segment::{Point, Segment, Stage};
use crate::{Error, Now, steps};

/// Putting files in their places, and telling the manifest of them.
pub(super) struct Install<D: Dir> {
    pub(super) dir: D,
    pub(super) manifest: Manifest<D>,
    pub(super) mark: TakenMark<D>,
    /// What is to tell of the log, if it may be missing, and what is taken in is new.
    pub(super) untold: Option<Begun<D>>,
    pub(super) edits: Vec<Edit>,
    pub(super) segments: Vec<Ready>,
}

impl<D: Dir> Install<D> {
    /// Takes the segments in.
    pub(super) async fn run(&mut self) -> Result<(), Error> {
        self.find_files().await?;
        self.mark.say_first().await?;
        tell(&mut self.untold).await?;
        self.manifest.append_all(&self.edits).await?;
        // The edit is durable: there is no way back to try again.
        self.name_files().await.map_err(Error::for_good)
    }

    /// Looks whether all files are there, as long as an opening would ask for. One that was begun long ago
    /// may have been removed by an opening while it was still being received. Where that cannot be told the log
    /// goes on: nothing was written.
    async fn find_files(&self) -> Result<(), Error> {
        let Ok(entries) = self.dir.list().await else {
            return Ok(());
        };
        let found: BTreeMap<_, _> = entries
            .iter()
            .map(|entry| (entry.name.as_str(), entry.bytes))
            .collect();
        for Ready { seal, partial, .. } in &self.segments {
            if found.get(partial.as_str()) != Some(&seal.digest.bytes) {
                return Err(Error::ReceivedGone {
                    dir: self.dir.describe(),
                    file: partial.clone(),
                });
            }
        }
        Ok(())
    }

    async fn name_files(&self) -> Result<(), Error> {
        for ready in &self.segments {
            let (partial, store) = (&ready.partial, ready.store());
            steps::rename(&self.dir, partial, &store).await?;
        }
        steps::sync(&self.dir).await
    }
}

impl<D: Dir> Log<D> {
    /// Plans to take in the segments `ready`, which follow each other, the first of them at the log
    /// end: all or none, by one write of the manifest. They are sealed and durable when the plan is
    /// complete, and what epochs began in them is known. Without space they stay as they are, and may
    /// be given again. If the file of one is not there any more, the plan fails with
    /// [`Error::ReceivedGone`], and nothing has changed.
    ///
    /// # Errors
    /// [`Error::Busy`] while a chore is under way, or anything is pending or in flight, or a segment
    /// waits to be sealed; an active segment that ends where they begin is rolled first, and waits, too.
    /// [`Error::NotNext`] for segments that do not begin at the log end, also
    /// those of a log without files; [`Error::OtherLineage`]; [`Error::OwnEpoch`] for a log in whose last
    /// epoch they are not; [`Error::EpochTooHigh`]; [`Error::Contradicts`]; [`Error::ReadOnly`], [`Error::Fenced`].
    pub fn plan_install(
        &mut self,
        mut ready: Vec<Ready>,
        now: impl Into<Now>,
    ) -> Result<ChorePlan<D>, Error> {
        self.ready_to_change()?;
        if let Some(from) = self.read_only_from {
            return Err(Error::ReadOnly { from });
        }
        // Records that came meanwhile stay: no wait makes room for what begins before them.
        let log_end = self.log_end();
        if let Some(segment) = ready.first().map(Ready::base)
            && segment != log_end
        {
            return Err(Error::NotNext { segment, log_end });
        }
        if self.pending_bytes() > 0 || self.in_flight_bytes > 0 || self.is_flush_preparing {
            return Err(Error::Busy);
        }
        if !self.active().is_empty() {
            // Its source ended it here: what follows is sealed.
            if !ready.is_empty() {
                self.roll();
            }
            return Err(Error::Busy);
        }
        let is_waiting = |segment: &Segment<D>| segment.stage != Stage::Damaged;
        if self.newest_unsealed().skip(1).any(is_waiting) {
            return Err(Error::Busy);
        }
        let stamp = now.into().stamp;
        let mut edits = Vec::new();
        let mut end = self.active().base.place();
        for ready in &mut ready {
            // Retention goes by this node's clock: nothing is younger than it says.
            ready.seal.sealed = ready.seal.sealed.min(stamp);
            let digest = &ready.seal.digest;
            let is_next =
                digest.start() == end && self.generation_next(end.offset) <= ready.generation;
            if !is_next || !self.manifest.is_here() {
                let segment = digest.base;
                return Err(Error::NotNext { segment, log_end });
            }
            edits.extend(self.installing(ready));
            end = digest.end();
        }
        edits.extend(self.epochs_of(&ready)?);
        let mut install = self.install(ready, edits)?;
        install.untold = self.untold.clone();
        Ok(self.chore(Work::Install(Box::new(install))))
    }

    /// Takes along what an install needs. What a peer says is no edit of our own making: that it follows
    /// is looked at first.
    pub(super) fn install(
        &mut self,
        segments: Vec<Ready>,
        edits: Vec<Edit>,
    ) -> Result<Install<D>, Error> {
        if let (Some(manifest), Some(first)) = (self.manifest.get(), segments.first()) {
            let (mut state, segment) = (manifest.state().clone(), first.base());
            for edit in &edits {
                let applied = state.apply(edit);
                applied.map_err(|source| Error::Contradicts { segment, source })?;
            }
        }
        let (manifest, mark) = self.take_for_edit().ok_or(Error::Busy)?;
        Ok(Install {
            dir: self.dir.clone(),
            manifest,
            mark,
            untold: None,
            edits,
            segments,
        })
    }

    /// Takes segments in that are now durable.
    pub(super) fn take_in_install(&mut self, install: Install<D>, is_done: bool) -> Chore {
        let Install {
            manifest,
            mark,
            untold,
            segments,
            ..
        } = install;
        self.give_back(Some(manifest), mark.mark);
        self.untold = untold;
        let (true, Some(last)) = (is_done, segments.last()) else {
            return Chore::Installed;
        };
        let end = Point::sealed(&last.seal);
        if let Some(active) = self.segments.pop_back() {
            assert!(active.is_empty(), "nothing was appended meanwhile");
            self.discard(active);
        }
        self.durable_segment = last.base();
        for ready in segments {
            self.durable_total += ready.seal.digest.bytes;
            let segment = self.sealed_segment(&ready);
            self.segments.push_back(segment);
        }
        self.segments.push_back(Segment::new(end.rolled()));
        self.sums = Sums::over(&self.segments);
        self.durable = end;
        self.tail.reset();
        Chore::Installed
    }

    /// The segment of files that have their names.
    pub(super) fn sealed_segment(&self, ready: &Ready) -> Segment<D> {
        let mut segment = Segment::sealed(&self.dir, ready.generation, &ready.seal);
        let (history, interval_bytes) = (self.identity.history, self.options.index_interval_bytes);
        segment.index_in_file(&self.dir, history, interval_bytes);
        segment
    }

    /// What the manifest is told of a segment that is new to it, or of which it knows an empty store.
    fn installing(&self, ready: &Ready) -> Vec<Edit> {
        let base = ready.base();
        let state = self.manifest.get().map(Manifest::state);
        let named = state.and_then(|state| state.segments().last());
        let named = named.filter(|segment| segment.base == base);
        let start = ready.seal.digest.start();
        let add = named.is_none().then_some(Edit::Add(Add::from(start)));
        let present = named.map_or(0, |segment| segment.generation);
        let generation = ready.generation;
        let change =
            (present < generation).then_some(Edit::Generation(Generation { base, generation }));
        add.into_iter()
            .chain(change)
            .chain([Edit::Seal(ready.seal.clone())])
            .collect()
    }

    /// The edits for the epochs that began in `segments` and are new to the log.
    fn epochs_of(&self, segments: &[Ready]) -> Result<Vec<Edit>, Error> {
        let mut known = self.epochs().to_vec();
        self.check_ruling(segments)?;
        let mut edits = Vec::new();
        for ready in segments {
            for met in &ready.epochs {
                let same = known.iter().find(|known| known.epoch == met.epoch);
                if same.is_some_and(|same| same.lineage != met.lineage) {
                    return Err(Error::OtherLineage {
                        segment: ready.base(),
                        epoch: met.epoch,
                    });
                }
                if known.last().is_none_or(|last| last.epoch < met.epoch) {
                    check_source_epoch(met.epoch)?;
                    known.push(*met);
                    edits.push(Edit::Epoch(*met));
                }
            }
        }
        Ok(edits)
    }

    /// Checks that the last epoch of the log is one of the source's, or that one of the source's began
    /// behind it by the start of `segments`. An epoch of this copy's own would rule over batches that
    /// are not of it.
    fn check_ruling(&self, segments: &[Ready]) -> Result<(), Error> {
        let (Some(last), Some(first)) = (self.epochs().last(), segments.first()) else {
            return Ok(());
        };
        let (epoch, segment) = (last.epoch, first.base());
        let is_ruled =
            |met: &Epoch| met.epoch == epoch || (epoch < met.epoch && met.offset <= segment);
        match first.epochs.iter().any(is_ruled) {
            true => Ok(()),
            false => Err(Error::OwnEpoch { segment, epoch }),
        }
    }
}
