//! What the mark says, and is to say.

use std::collections::VecDeque;

use corelog_record::{LeaderEpoch, Offset};

use super::Recovery;
use crate::Error;
use crate::disk::Dir;
use crate::format::mark::Slot;
use crate::index::Builder;
use crate::mark::Mark;
use crate::segment::{Point, Segment, Stage};
use crate::steps;

impl<D: Dir> Recovery<D> {
    /// Believes the mark, if it is this copy's.
    pub(super) fn take_slot(&mut self) {
        let mark = self.mark.as_ref();
        let header = *self.manifest.header();
        self.context.identity.history = header.history;
        let is_ours = |slot: &Slot| slot.history == header.history && slot.copy == header.copy;
        self.slot = mark.and_then(Mark::last).copied().filter(is_ours);
        self.is_marked_clean = self.slot.is_some() && mark.is_some_and(Mark::is_clean);
    }

    /// Takes back a clean mark that turned out to be none, before anything is changed.
    pub(super) async fn unset(&mut self) -> Result<(), Error> {
        if let Some(slot) = self.slot.as_mut().filter(|slot| slot.is_clean) {
            slot.is_clean = false;
            let slot = *slot;
            self.mark = Some(self.write_mark(slot, true).await?);
        }
        Ok(())
    }

    /// Writes the mark, as a new file if there is none or that fails in place: whatever the old one holds then, it is true,
    /// and each opening would fail there.
    pub(super) async fn write_mark(
        &mut self,
        slot: Slot,
        is_durable: bool,
    ) -> Result<Mark<D>, Error> {
        if let Some(mut mark) = self.mark.take() {
            let written = match is_durable {
                true => mark.write_durably(slot).await,
                false => mark.write(slot).await,
            };
            if !matches!(written, Err(Error::Io { .. })) {
                return written.map(|()| mark);
            }
        }
        Mark::create(self.context.way.dir.clone(), slot).await
    }

    /// What the mark is to say of a log that ends at `durable`.
    pub(super) fn slot_at(
        &self,
        segments: &VecDeque<Segment<D>>,
        (durable, durable_segment): (Point, Offset),
        epoch: Option<LeaderEpoch>,
    ) -> Slot {
        let segment = segments.iter().find(|s| s.base.offset == durable_segment);
        let generation = segment.map_or(0, |segment| segment.generation);
        let known = self.known(segment, durable);
        let slot = Slot {
            epoch,
            born: segment.and_then(|segment| segment.born),
            ..known.slot(self.manifest.header(), (durable_segment, generation))
        };
        // What was promised stays so, though less is known of the store in which the log ends.
        let is_more = |old: &Slot| slot.offset < old.offset && old.offset <= durable.offset;
        self.slot.filter(is_more).map_or(slot, |old| Slot {
            is_clean: false,
            epoch,
            ..old
        })
    }

    /// Keeps what the mark tells of a store with damage as a row of its index. Nothing is appended there any more, so the next
    /// mark tells of another one, and behind a header that leads nowhere nothing else may lead on.
    pub(super) async fn keep_marked(&self, segments: &VecDeque<Segment<D>>) -> Result<(), Error> {
        let mut damaged = segments.iter().filter(|s| s.stage == Stage::Damaged);
        let marked = damaged.find_map(|s| Some((s, s.store.clone()?, self.marked_in(s)?)));
        let Some((segment, store, marked)) = marked else {
            return Ok(());
        };
        let index = self.index_of(segment, store, segment.bytes(), None);
        let left = match index.at_hand().await {
            Err(error) if error.is_shortage() => return Err(error),
            // What may lead there is not written over.
            Err(_) => return Ok(()),
            Ok(left) => left,
        };
        let marked = Builder::beginning_at(&segment.base, &marked);
        let mut rows = Builder::joined(left.clone(), &marked);
        rows.end(segment.bytes());
        if rows.iter().eq(&left) {
            return Ok(());
        }
        let bytes = rows.encode(self.manifest.header().history, &segment.base);
        let written = steps::write_hint(&self.context.way.dir, index.name(), &bytes).await;
        written.map(drop)
    }

    /// What a mark may tell of a log that ends at `durable`, in `segment`.
    fn known(&self, segment: Option<&Segment<D>>, durable: Point) -> Point {
        let is_unread = |it: &&Segment<D>| self.findings.is_unread(it.base.offset);
        let is_unsure = |it: &&Segment<D>| self.findings.ends_before_unread() || is_unread(it);
        match segment.filter(is_unsure) {
            // What was not written again is read again.
            Some(segment) => self.marked_in(segment).unwrap_or(segment.base),
            // Behind damage that is not stepped over nothing is known but the offset.
            None => Point {
                offset: self.findings.read_only_from.unwrap_or(durable.offset),
                ..durable
            },
        }
    }
}

/// Whether what a mark stated before the recovery holds after it: what was cut may come again under
/// the same name.
pub(super) fn is_still_true<D: Dir>(
    old: &Slot,
    segments: &VecDeque<Segment<D>>,
    durable: Point,
) -> bool {
    let is_it = |s: &&Segment<D>| old.is_of(s.base.offset, s.generation);
    let segment = segments.iter().find(is_it);
    segment.is_some_and(|s| old.position <= s.end.position) && old.offset <= durable.offset
}
