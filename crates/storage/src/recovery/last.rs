//! The last store that holds bytes: it alone may be torn, and is appended to.

use std::rc::Rc;

use corelog_record::Offset;

use super::settle::Kept;
use super::survey::Survey;
use super::{Findings, OpenStore, Recovery, copies, partial_block, settle};
use crate::Error;
use crate::disk::{Dir, round_up};
use crate::format::damage::Damage;
use crate::format::edit::{Edit, Generation};
use crate::format::quarantine::Reason;
use crate::log::{Event, Torn, UNSYNCED_BYTES_MAX};
use crate::planted::{self, Bug};
use crate::segment::{Below, Point, Segment, Stage, name, next_generation};
use crate::steps;
use crate::store::{Store, copy};

impl<D: Dir> Recovery<D> {
    /// The last store that holds bytes. `next` is where an empty one behind it begins.
    pub(super) async fn recover_last(
        &mut self,
        segment: &mut Segment<D>,
        open: &OpenStore<D>,
        next: Option<Point>,
    ) -> Result<(), Error> {
        let marked = self.marked_in(segment);
        let marked = marked.filter(|_| !planted::is(Bug::DamageCutAsTorn));
        let mark = marked.filter(|at| at.position.get() <= open.bytes);
        // Below the mark nothing is read: whoever reads there, or scrubs, finds what is bad.
        let start = mark.unwrap_or(segment.base);
        let before = self.findings.clone();
        match self.recover_from(segment, open, next, (start, mark)).await {
            // The disk was away for a moment, or does not give what the store cannot go on without: which offsets that are
            // only the whole store tells.
            Err(error) if error.is_unreadable() => {
                // Only that files went to quarantine stays true of what was found.
                let quarantined = std::mem::take(&mut self.findings.quarantined);
                self.findings = Findings {
                    quarantined,
                    ..before
                };
                let start = segment.base;
                self.recover_from(segment, open, next, (start, mark)).await
            }
            recovered => recovered,
        }
    }

    /// The same, read from `start` on.
    async fn recover_from(
        &mut self,
        segment: &mut Segment<D>,
        open: &OpenStore<D>,
        next: Option<Point>,
        (start, mark): (Point, Option<Point>),
    ) -> Result<(), Error> {
        let promised = self.promised();
        let marked = mark.map_or(0, |at| at.position.get());
        let known = mark.filter(|mark| start.position < mark.position);
        let of = self.survey_of(segment, open, start, known);
        let mut survey = Survey::new(of).await?;
        segment.below = None;
        let mut torn = None;
        let mut data_end;
        loop {
            self.reading(survey.run()).await?;
            self.note_unread(&open.store, &survey);
            self.doubt(&mut survey);
            let end = survey.point();
            segment.end = end;
            let position = end.position.get();
            // Nobody knows that it is zeros.
            data_end = open.end.max(
                survey
                    .unread()
                    .map_or(0, |unread| unread.until.min(open.bytes)),
            );
            // What was promised is damaged if it is not there, and never torn.
            if promised <= end.offset {
                if data_end <= position {
                    break;
                }
                let is_little = data_end - position <= UNSYNCED_BYTES_MAX as u64;
                if is_little && !survey.is_in_doubt() {
                    // A batch may stand there that was acknowledged: the log stays closed until the disk gives it.
                    if let Some(unread) = survey.take_unread() {
                        return Err(unread.error);
                    }
                    let range = position..data_end;
                    let copied = self.quarantine_bytes(&open.store, range, Reason::Torn);
                    match copied.await {
                        // A batch may stand further on that was acknowledged.
                        Err(error) if self.context.ends_before_unread && error.is_unreadable() => {
                            survey.doubt();
                        }
                        copied => {
                            copied?;
                            torn = Some(Torn {
                                segment: segment.base.offset,
                                offset: end.offset,
                                position: end.position,
                                bytes: data_end - position,
                                bytes_since_mark: position.saturating_sub(marked),
                            });
                            break;
                        }
                    }
                }
            }
            let is_over = self.resync(&open.store, &mut survey).await?;
            self.doubt(&mut survey);
            if !is_over {
                survey.damaged(end.offset, promised.max(end.offset.saturating_add(1)));
                let from = end.offset;
                self.findings.read_only_from = Some(from);
                self.findings.events.note(Event::ReadOnly { from });
                segment.end = self.promised_end(end);
                break;
            }
        }
        // Where the next store begins is known; what a bad batch counts is not to be believed.
        if let Some(next) = next.filter(|next| next.offset < segment.end.offset) {
            survey.end_damage(next.offset);
            segment.end = Point {
                position: segment.end.position,
                max_timestamp: segment.end.max_timestamp,
                ..next
            };
        }
        let is_read_only = self.findings.read_only_from.is_some();
        if !is_read_only {
            self.findings.cut_damage(segment.end.offset);
        }
        // What an opening before this one stepped over lies below the mark.
        let is_sound = survey.damage().is_empty() && !self.is_damaged(segment);
        segment.stage = match is_sound || is_read_only {
            true => Stage::Active,
            false => Stage::Damaged,
        };
        let position = segment.end.position.get();
        self.index_from(segment, &open.store, start);
        let kept = Kept {
            start: mark.unwrap_or(segment.base),
            bad: survey.bad(),
            sound_end: position,
            end: match &torn {
                Some(_) => position,
                // A batch may end in zeros, behind the last byte that is none.
                None => data_end.max(position),
            },
            is_left: is_read_only || segment.stage == Stage::Damaged,
            ..self.nothing(segment)
        };
        self.take_survey(segment, open, survey).await?;
        self.settle(segment, &open.store, kept, open.bytes).await?;
        if let Some(torn) = &torn {
            self.findings.events.note(Event::Torn(torn.clone()));
        }
        self.findings.torn = torn;
        Ok(())
    }

    /// Has nothing behind what the disk did not give be torn where it is not waited for.
    fn doubt(&self, survey: &mut Survey<D>) {
        if self.context.ends_before_unread && survey.unread().is_some() {
            survey.doubt();
        }
    }

    /// The bytes of the last, partial block of the active store.
    pub(super) async fn partial(
        &mut self,
        active: Option<&Segment<D>>,
        durable_segment: Offset,
        durable: Point,
    ) -> Result<Vec<u8>, Error> {
        let is_active = |active: &&Segment<D>| active.base.offset == durable_segment;
        let Some(store) = active
            .filter(is_active)
            .and_then(|active| active.store.as_ref())
        else {
            return Ok(Vec::new());
        };
        if let Some(partial) = self.partial.take() {
            return Ok(partial);
        }
        match partial_block(store, durable.position.get()).await {
            // To a read-only log nothing is appended.
            Err(error) if error.is_unreadable() && self.findings.read_only_from.is_some() => {
                Ok(Vec::new())
            }
            partial => partial,
        }
    }

    /// Nothing of a segment's store.
    pub(super) fn nothing(&self, segment: &Segment<D>) -> Kept {
        Kept {
            base: segment.base.offset,
            start: segment.base,
            bad: Vec::new(),
            sound_end: 0,
            end: 0,
            is_left: false,
            epochs: self.manifest.state().epochs().to_vec(),
            call_off: self.context.call_off.clone(),
        }
    }

    /// Makes sure of what is in doubt in a store of `bytes` bytes: what is `kept`, and the zeros behind it as far
    /// as writes that were never synced may have gone.
    pub(super) async fn settle(
        &mut self,
        segment: &mut Segment<D>,
        store: &Rc<Store<D>>,
        kept: Kept,
        bytes: u64,
    ) -> Result<(), Error> {
        if self.findings.ends_before_unread() {
            // What the survey did not reach may have been acknowledged, and nothing tells whether a read of it is right: there
            // is no copy, and no more of it is written than shares a block with the last sound batch.
            let end = round_up(kept.sound_end).min(bytes);
            let kept = Kept { end, ..kept };
            let settled = self.settle_or_hide(segment, store, &kept, None).await;
            return settled.map(drop);
        }
        // A store that a clean stop cut to its length may end within a block.
        let space = round_up(bytes);
        let zeros_end = match self.findings.read_only_from {
            None => space
                .min(kept.end + UNSYNCED_BYTES_MAX as u64)
                .max(round_up(kept.end)),
            // Behind damage nothing is appended, and nothing is cut.
            Some(_) => kept.end,
        };
        // Where a store ends with a block that is durable nothing was ever written behind it.
        if zeros_end <= kept.start.position.get() {
            return Ok(());
        }
        let ends = (zeros_end, Some(kept.end));
        self.make_sure(segment, store, &kept, ends).await?;
        // What lies behind is reserved at most: groups that are small want zeros there.
        segment.space_bytes = segment.space_bytes.min(round_up(zeros_end));
        Ok(())
    }

    /// Makes sure of what is `kept` of a store, or has it count as damage: the log goes on without it, the next opening tries
    /// again, and what the store holds that one may tell. If it takes no write, so many bytes of it may be `copied`. Returns
    /// whether it is sure.
    pub(super) async fn settle_or_hide(
        &mut self,
        segment: &mut Segment<D>,
        store: &Rc<Store<D>>,
        kept: &Kept,
        copied: Option<u64>,
    ) -> Result<bool, Error> {
        // Nothing is in doubt, or the store is gone, and there is no file to write to.
        if kept.sound_end <= kept.start.position.get() {
            return Ok(true);
        }
        let ends = (0, copied);
        let mut settled = self.make_sure(segment, store, kept, ends).await;
        if matches!(settled, Err(Error::Damaged { .. })) {
            settled = self.make_sure(segment, store, kept, ends).await;
        }
        let Err(error) = settled else {
            return Ok(true);
        };
        let is_to_pass = matches!(error, Error::CalledOff | Error::OutOfFiles { .. });
        if is_to_pass || self.manifest.is_in_doubt() {
            return Err(error);
        }
        // Read right once, and twice not, or it takes no write, and there is no copy: nobody is shown what is not sure.
        let end = self.findings.read_only_from.unwrap_or(Offset::MAX);
        let found = Damage {
            from: kept.start.offset,
            to: segment.end.offset.min(end),
            segment: segment.base.offset,
        };
        self.findings.unread.push(found);
        self.note_damage(found);
        Ok(false)
    }

    /// Writes what is `kept` again, zeros behind it up to `zeros_end`, or makes a new file of so many bytes as may be `copied`.
    async fn make_sure(
        &mut self,
        segment: &mut Segment<D>,
        store: &Rc<Store<D>>,
        kept: &Kept,
        (zeros_end, copied): (u64, Option<u64>),
    ) -> Result<(), Error> {
        match settle::rewrite(&self.context.way.dir, store, kept, zeros_end).await {
            Ok(()) => Ok(()),
            // A batch was sound, and came out as none: whoever opens next reads it anew.
            Err(error @ (Error::Damaged { .. } | Error::CalledOff)) => Err(error),
            Err(unwritten) => match copied {
                Some(bytes) => match self.replace(segment, store, kept, bytes).await {
                    // Another attempt would sync the same file: that it succeeds behind a sync that failed proves nothing.
                    Err(error) if error.is_unreadable() => Err(unwritten),
                    replaced => replaced,
                },
                None => Err(unwritten),
            },
        }
    }

    /// Copies the first `bytes` bytes of a store that cannot be written in place any more to a new
    /// generation, which takes its place once that and what is `kept` are verified; the old one goes to quarantine.
    async fn replace(
        &mut self,
        segment: &mut Segment<D>,
        store: &Store<D>,
        kept: &Kept,
        bytes: u64,
    ) -> Result<(), Error> {
        let base = segment.base.offset;
        let generation = next_generation(&self.context.way.dir, base, segment.generation)?;
        let name = name::store(base, generation);
        let (dir, check) = (&self.context.way.dir, || self.context.call_off.check());
        let made = copy(dir, store, name.clone(), bytes, &check).await?;
        let verified = self.reading(copies::verify(store, &made, bytes, kept));
        if let Err(error) = verified.await {
            made.close().await?;
            steps::remove(&self.context.way.dir, &name).await?;
            return Err(error);
        }
        let edit = Edit::Generation(Generation { base, generation });
        if let Err(error) = self.manifest.append(&edit).await {
            if error.is_shortage() && !self.manifest.is_in_doubt() {
                // The next opening moved it to quarantine, and on a disk with room for one copy found none for another.
                made.close().await?;
                steps::remove(&self.context.way.dir, &name).await?;
            }
            return Err(error);
        }
        segment.generation = generation;
        segment.space_bytes = round_up(bytes);
        if let Some(Below { end, .. }) = segment.below.take() {
            let known = Some((end.offset, end.chain));
            let index = self.index_of(segment, made.clone(), end.position.get(), known);
            segment.below = Some(Below { end, index });
        }
        segment.store = Some(made);
        // Its name would be in the way of the next segment that begins there.
        match bytes {
            // Nothing of it is kept, and quarantine is never emptied: it would hold the space of a whole segment. If it
            // comes back, the next opening removes it.
            0 => steps::remove(&self.context.way.dir, store.name()).await?,
            _ => {
                self.move_to_quarantine(store.name(), Reason::Unnamed)
                    .await?;
                self.context.way.sync().await?;
            }
        }
        let segment = base;
        let event = Event::StoreReplaced {
            segment,
            generation,
        };
        self.findings.events.note(event);
        Ok(())
    }
}
