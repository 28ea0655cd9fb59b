//! The stores before the last one that holds bytes: whether each ends where its successor begins, and is sure.

use corelog_record::Position;

use super::settle::Kept;
use super::survey::Survey;
use super::{OpenStore, Recovery};
use crate::Error;
use crate::disk::{Dir, round_up};
use crate::format::damage::Damage;
use crate::format::quarantine::Reason;
use crate::log::UNSYNCED_BYTES_MAX;
use crate::segment::{Point, Segment, Stage};

impl<D: Dir> Recovery<D> {
    /// An unsealed store with a successor that holds bytes: it must end where that begins. Returns what is served of it.
    pub(super) async fn recover_earlier(
        &mut self,
        segment: &mut Segment<D>,
        open: &OpenStore<D>,
        next: Point,
    ) -> Result<Kept, Error> {
        let mark = self
            .marked_in(segment)
            .filter(|at| at.position.get() <= open.bytes);
        // Its end is known by offset, not by position, and it is to be sealed: all of it is read.
        let of = self.survey_of(segment, open, segment.base, mark);
        let mut survey = Survey::new(of).await?;
        let sound_end = loop {
            self.reading(survey.run()).await?;
            self.note_unread(&open.store, &survey);
            let end = survey.point();
            let is_there = (end.offset, end.ordinal) == (next.offset, next.ordinal);
            // A rotten header that was stepped over bends the chain; the successor's is right.
            if is_there && (end.chain == next.chain || !survey.damage().is_empty()) {
                let behind = end.position.get()..open.end;
                let is_little = behind.end <= behind.start + UNSYNCED_BYTES_MAX as u64;
                // Damage is never cut: such a file stays as it is, and is not sealed. Nor what there is no copy of.
                let is_to_be_cut = is_little && survey.damage().is_empty();
                let is_cuttable = is_to_be_cut
                    && self
                        .quarantine_bytes(&open.store, behind, Reason::Damaged)
                        .await?;
                segment.stage = match is_cuttable {
                    true => Stage::Rolled,
                    false => Stage::Damaged,
                };
                segment.end = end;
                break end.position;
            }
            if end.offset < next.offset && self.resync(&open.store, &mut survey).await? {
                continue;
            }
            segment.stage = Stage::Damaged;
            segment.end = Point {
                position: end.position.max(file_end(open)),
                ..next
            };
            segment.end.max_timestamp = end.max_timestamp;
            // Valid batches up to there, but not those that were added: none can be trusted.
            let (from, sound_end) = match next.offset <= end.offset {
                true => (segment.base.offset, Position::ZERO),
                false => (end.offset, end.position),
            };
            survey.damaged(from, next.offset);
            break sound_end;
        };
        let sound_end = sound_end.get();
        let kept = Kept {
            start: mark.unwrap_or(segment.base),
            bad: survey.bad(),
            sound_end,
            end: match segment.stage {
                // What shares a block with the last batch is not cut.
                Stage::Damaged => round_up(sound_end).min(open.bytes).max(sound_end),
                _ => sound_end,
            },
            is_left: segment.stage == Stage::Damaged,
            ..self.nothing(segment)
        };
        self.take_survey(segment, open, survey).await?;
        Ok(kept)
    }

    /// Whether the segment before `next` rolled there: all of it was synced before anything was written to `next`. An epoch
    /// that begins there is an opening's, which may have had the log go on behind what the disk did not give.
    pub(super) fn is_rolled(&self, next: &Segment<D>) -> bool {
        let base = next.base.offset;
        let mut epochs = self.manifest.state().epochs().iter();
        let is_bad = |damage: &Damage| damage.from <= base && base < damage.to;
        let is_begun = || !next.is_empty() && !self.findings.damage.iter().any(is_bad);
        epochs.all(|began| began.offset != base) && (base < self.promised() || is_begun())
    }

    /// Makes sure of what is served of a store of which nothing says that all of it was ever synced.
    pub(super) async fn settle_earlier(
        &mut self,
        segment: &mut Segment<D>,
        open: &OpenStore<D>,
        kept: Kept,
    ) -> Result<(), Error> {
        let is_whole = segment.stage == Stage::Rolled;
        let bytes = if is_whole { kept.end } else { open.bytes };
        let settled = self.settle_or_hide(segment, &open.store, &kept, Some(bytes));
        if !settled.await? {
            segment.stage = Stage::Damaged;
        }
        Ok(())
    }
}

fn file_end<D: Dir>(open: &OpenStore<D>) -> Position {
    Position::new(open.bytes).unwrap_or(Position::MAX)
}
