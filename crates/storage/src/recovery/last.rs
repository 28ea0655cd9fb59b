//! The last store that holds bytes: it alone may be torn, and is appended to.

use std::ops::Range;

use super::survey::Survey;
use super::{OpenStore, Recovery, settle};
use crate::Error;
use crate::disk::{Dir, round_up};
use crate::format::edit::{Edit, Generation};
use crate::format::quarantine::Reason;
use crate::log::{Event, Torn, UNSYNCED_BYTES_MAX};
use crate::planted::{self, Bug};
use crate::segment::{Point, Segment, Stage, name};
use crate::store::{Store, copy};

impl<D: Dir> Recovery<D> {
    /// The last store that holds bytes. `next` is where an empty one behind it begins.
    pub(super) async fn recover_last(
        &mut self,
        segment: &mut Segment<D>,
        open: OpenStore<D>,
        next: Option<Point>,
    ) -> Result<(), Error> {
        let marked = self.marked_in(segment);
        let marked = marked.filter(|_| !planted::is(Bug::DamageCutAsTorn));
        let promised = self.promised();
        let mark = marked.filter(|at| at.position.get() <= open.bytes);
        // Below the mark nothing is read: whoever reads there, or scrubs, finds what is bad.
        let start = mark.unwrap_or(segment.base);
        let of = self.survey_of(segment, &open, start, None);
        let mut survey = Survey::new(of).await?;
        let mut torn = None;
        loop {
            survey.run().await?;
            let end = survey.point();
            segment.end = end;
            let position = end.position.get();
            // What was promised is damaged if it is not there, and never torn.
            if promised <= end.offset {
                if open.end <= position {
                    break;
                }
                if open.end - position <= UNSYNCED_BYTES_MAX as u64 {
                    let marked = mark.map_or(0, |at| at.position.get());
                    torn = Some(Torn {
                        segment: segment.base.offset,
                        offset: end.offset,
                        position: end.position,
                        bytes: open.end - position,
                        bytes_since_mark: position - marked,
                    });
                    let range = position..open.end;
                    self.quarantine_bytes(&open.store, range, Reason::Torn)
                        .await?;
                    break;
                }
            }
            if !survey.resync().await? {
                survey.damaged(end.offset, promised.max(end.offset.plus(1)));
                let from = end.offset;
                self.findings.read_only_from = Some(from);
                self.findings.events.note(Event::ReadOnly { from });
                segment.end.offset = promised.max(end.offset);
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
        // What an opening before this one stepped over lies below the mark.
        let is_sound = survey.damage().is_empty() && !self.is_damaged(segment);
        let is_read_only = self.findings.read_only_from.is_some();
        segment.stage = match is_sound || is_read_only {
            true => Stage::Active,
            false => Stage::Damaged,
        };
        let store = open.store.clone();
        let marked = mark.map_or(0, |at| at.position.get());
        let kept = match &torn {
            Some(torn) => marked..torn.position.get(),
            // A batch may end in zeros, behind the last byte that is none.
            None => marked..open.end.max(segment.end.position.get()),
        };
        let bytes = open.bytes;
        self.index_from(segment, &store, start);
        self.take_survey(segment, open, survey).await?;
        self.settle(segment, &store, kept, bytes).await?;
        if let Some(torn) = &torn {
            self.findings.events.note(Event::Torn(torn.clone()));
        }
        self.findings.torn = torn;
        Ok(())
    }

    /// Makes sure of what is in doubt in a store of `bytes` bytes whose data ends with `kept`, of which
    /// all before is durable: `kept` itself, and the zeros behind it as far as writes that were never
    /// synced may have gone.
    pub(super) async fn settle(
        &mut self,
        segment: &mut Segment<D>,
        store: &Store<D>,
        kept: Range<u64>,
        bytes: u64,
    ) -> Result<(), Error> {
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
        if zeros_end <= kept.start {
            return Ok(());
        }
        let end = kept.end;
        match settle::rewrite(&self.context.dir, store, kept, zeros_end).await {
            Ok(()) => {
                // What lies behind is reserved at most: groups that are small want zeros there.
                segment.space_bytes = segment.space_bytes.min(round_up(zeros_end));
                Ok(())
            }
            Err(_) => self.replace(segment, store, end).await,
        }
    }

    /// Copies the first `bytes` bytes of a store that cannot be written in place any more to a new
    /// generation, which takes its place.
    async fn replace(
        &mut self,
        segment: &mut Segment<D>,
        store: &Store<D>,
        bytes: u64,
    ) -> Result<(), Error> {
        let (base, generation) = (segment.base.offset, segment.generation + 1);
        let name = name::store(base, generation);
        let made = copy(&self.context.dir, store, name, bytes).await?;
        let edit = Edit::Generation(Generation { base, generation });
        self.manifest.append(&edit).await?;
        segment.generation = generation;
        segment.store = Some(made);
        segment.space_bytes = round_up(bytes);
        let segment = base;
        let event = Event::StoreReplaced {
            segment,
            generation,
        };
        self.findings.events.note(event);
        Ok(())
    }
}
