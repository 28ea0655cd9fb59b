//! Cutting the end of the log off: what stays is copied to a new file, what goes to quarantine.
//!
//! The edit is the switch: before it all is as it was, after it the manifest names the shortened
//! file and nothing behind. Whatever a crash leaves half done, opening finishes: files that the
//! manifest does not name go to quarantine.

use std::rc::Rc;

use corelog_record::{LeaderEpoch, Lineage, Offset, Position};

use super::{Damage, Reader};
use crate::Error;
use crate::disk::{Dir, Entry};
use crate::format::edit::{Edit, End, Epoch};
use crate::format::mark::Slot;
use crate::format::quarantine::Reason;
use crate::index::Builder;
use crate::manifest::Manifest;
use crate::mark::Mark;
use crate::quarantine::Way;
use crate::recovery::partial_block;
use crate::scan::{Scanner, Step};
use crate::segment::{Point, name, next_generation};
use crate::steps;
use crate::store::{Store, copy};

/// Cutting the log at the batch that holds an offset.
pub(super) struct Suffix<D: Dir> {
    pub(super) way: Way<D>,
    pub(super) from: Offset,
    pub(super) aim: Aim,
    pub(super) manifest: Manifest<D>,
    pub(super) mark: Mark<D>,
    pub(super) slot: Slot,
    /// Where the log ends until now.
    pub(super) end: Point,
    /// The segment that holds the offset; `None` if nothing is cut, and only epochs are forgotten.
    pub(super) cut: Option<Cut<D>>,
    /// Its files and those of the segments behind it.
    pub(super) behind: Vec<Behind<D>>,
    /// What is read while it is moved away stays open until the log knows of the cut.
    pub(super) open: Vec<Rc<D::File>>,
    pub(super) interval_bytes: u32,
    /// The names in quarantine of what was cut.
    pub(super) quarantined: Vec<String>,
    /// The log may have been changed: what fails before that only read, or copied.
    pub(super) has_begun: bool,
    pub(super) done: Option<Done<D>>,
}

/// What a cut is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Aim {
    /// The log ends earlier; the epoch to go on with, if the present one began behind the cut.
    End(LeaderEpoch, Lineage),
    /// A copy gives up what its source does not have, and the epochs above this one.
    Rejoin(Option<LeaderEpoch>),
    /// The last segment goes on; nothing is given up.
    Unroll,
}

/// The segment that is cut.
pub(super) struct Cut<D: Dir> {
    pub(super) store: Rc<Store<D>>,
    pub(super) base: Point,
    pub(super) end: Point,
    pub(super) generation: u32,
    /// Reads it.
    pub(super) reader: Reader<D>,
    /// Where an opening stepped over damage in it: it knows no chain behind.
    pub(super) bent: Option<Damage>,
}

/// What is moved away of a segment.
pub(super) struct Behind<D: Dir> {
    pub(super) store: Rc<Store<D>>,
    /// How often it is held if nobody reads it.
    pub(super) holders: usize,
    /// The name of its index.
    pub(super) index: String,
    pub(super) is_empty: bool,
}

/// What a cut left.
pub(super) struct Done<D: Dir> {
    pub(super) point: Point,
    /// The shortened segment; `None` if nothing of it stays.
    pub(super) kept: Option<Kept<D>>,
}

/// What stays of a segment, in a file of its own.
pub(super) struct Kept<D: Dir> {
    pub(super) store: Rc<Store<D>>,
    pub(super) generation: u32,
    pub(super) rows: Builder,
    /// Its last, partial block.
    pub(super) partial: Vec<u8>,
}

impl Aim {
    /// Whether a segment that is cut goes on: a copy has no segments but its source's.
    pub(super) fn goes_on(self) -> bool {
        matches!(self, Self::Rejoin(_) | Self::Unroll)
    }

    /// Whether `began` stays of a log that ends at `point`.
    fn keeps(self, began: &Epoch, point: &Point) -> bool {
        let is_shared = match self {
            Self::Rejoin(last) => Some(began.epoch) <= last,
            Self::End(..) | Self::Unroll => true,
        };
        is_shared && began.offset <= point.offset
    }

    /// Why what is cut goes to quarantine; `None` if another file has all of it.
    fn reason(self) -> Option<Reason> {
        match self {
            Self::End(..) => Some(Reason::Cut),
            Self::Rejoin(_) => Some(Reason::Rejoined),
            Self::Unroll => None,
        }
    }
}

impl<D: Dir> Suffix<D> {
    /// Cuts.
    pub(super) async fn run(&mut self) -> Result<(), Error> {
        let (point, rows) = self.find().await?;
        // What stays of it is read all the time.
        let kept = self.kept_of(point).map(|cut| Rc::clone(&cut.store));
        if let Some(store) = kept {
            self.open.push(store.file().await?);
        }
        let taken = self.way.open().await?;
        let kept = self.keep(point, rows).await?;
        let generation = kept.as_ref().map(|kept| kept.generation);
        let epochs = self.manifest.state().epochs();
        let before = epochs.last().map(|began| began.epoch);
        let last = epochs.iter().rfind(|began| self.aim.keeps(began, &point));
        let last = last.map(|began| began.epoch);
        let edit = Edit::TruncateSuffix(End {
            generation,
            ..End::at(point.place(), last)
        });
        // The edit forgets epochs that began behind it: that they were used, the mark has to know. Nor
        // may it be clean. Above all it says nothing of what is cut: files of the same names come
        // there, and what is written behind the edit may be lost.
        let present = self.cut.as_ref().map_or(0, |cut| cut.generation);
        self.has_begun = true;
        let mut edited = self.mark.write_durably(self.slot_at(point, present)).await;
        if edited.is_ok() {
            edited = self.manifest.append(&edit).await.map(drop);
        }
        if let Err(error) = edited {
            // If the edit is sure not to be there, nothing names what was to stay.
            if let Some(kept) = kept.filter(|_| error.is_shortage()) {
                let _is_gone = steps::remove(&self.way.dir, kept.store.name()).await;
            }
            return Err(error);
        }
        let began = match self.aim {
            Aim::End(epoch, lineage) if last != before => Some((epoch, lineage)),
            _ => None,
        };
        let settled = self.settle(point, generation, began, &taken).await;
        // The edit is durable, the log in memory is another: there is no way back to try again.
        settled.map_err(Error::for_good)?;
        self.done = Some(Done { point, kept });
        Ok(())
    }

    /// Does what follows from the edit; `began`: an epoch begins.
    async fn settle(
        &mut self,
        point: Point,
        generation: Option<u32>,
        began: Option<(LeaderEpoch, Lineage)>,
        taken: &[Entry],
    ) -> Result<(), Error> {
        if let Some((epoch, lineage)) = began {
            let last = self.manifest.state().epochs().last();
            let epoch = Epoch::behind(last, point.place(), epoch, lineage);
            self.manifest.append(&Edit::Epoch(epoch)).await?;
        }
        // What stays is in another file. If nothing was cut, the mark is right already.
        if self.cut.is_some() {
            let slot = Slot {
                epoch: began.map(|(epoch, _)| epoch).or(self.slot.epoch),
                ..self.slot_at(point, generation.unwrap_or(0))
            };
            self.mark.write_durably(slot).await?;
        }
        self.move_away(taken).await
    }

    /// What a mark says of the cut at `point`, in this generation of the segment; the present mark, if
    /// nothing is cut.
    fn slot_at(&self, point: Point, generation: u32) -> Slot {
        match &self.cut {
            Some(cut) => Slot {
                epoch: self.slot.epoch,
                ..point.slot(self.manifest.header(), (cut.base.offset, generation))
            },
            None => self.slot,
        }
    }

    /// The start of the batch that holds the offset, and the index rows before it. All before it is
    /// verified on the way, the chain too: what stays is sealed by the one that is found.
    async fn find(&mut self) -> Result<(Point, Builder), Error> {
        let Some(cut) = &mut self.cut else {
            return Ok((self.end, Builder::default()));
        };
        let (mut point, mut rows) = (cut.base, Builder::default());
        if self.from == point.offset {
            // Nothing of it stays, whether it is sound or not.
            return Ok((point, rows));
        }
        if let Some(bent) = cut.bent.filter(|bent| bent.from < self.from) {
            return Err(bent.into());
        }
        while point.offset < self.from {
            let next = match cut.reader.next().await {
                // It is damaged, as much as one in which nothing is right.
                Err(error) if error.is_missing() => None,
                next => next?,
            };
            match next {
                Some(batch) if self.from < batch.next_offset() => break,
                Some(batch) => {
                    rows.note(&cut.base, &point, self.interval_bytes);
                    point = point.after(&batch);
                }
                None => {
                    return Err(Error::Damaged {
                        from: point.offset,
                        to: cut.end.offset.max(point.offset.saturating_add(1)),
                        segment: cut.base.offset,
                    });
                }
            }
        }
        Ok((point, rows))
    }

    /// The segment that is cut at `point`, if anything of it stays.
    fn kept_of(&self, point: Point) -> Option<&Cut<D>> {
        let cut = self.cut.as_ref();
        cut.filter(|_| Position::ZERO < point.position)
    }

    /// Copies what stays of the segment to a file of its own, durably, and verifies the copy.
    async fn keep(&self, point: Point, rows: Builder) -> Result<Option<Kept<D>>, Error> {
        let Some(cut) = self.kept_of(point) else {
            return Ok(None);
        };
        let base = cut.base;
        let generation = next_generation(&self.way.dir, base.offset, cut.generation)?;
        let (name, bytes) = (name::store(base.offset, generation), point.position.get());
        let made = copy(&self.way.dir, &cut.store, name, bytes, &|| Ok(())).await?;
        match verified(&made, base, point).await {
            Ok(partial) => Ok(Some(Kept {
                store: made,
                generation,
                rows,
                partial,
            })),
            Err(error) => {
                let _is_gone = steps::remove(&self.way.dir, made.name()).await;
                Err(error)
            }
        }
    }

    /// Moves what was cut to quarantine, whole files at a time; indexes only speak of those. What is
    /// `taken` there already stays as it is.
    async fn move_away(&mut self, taken: &[Entry]) -> Result<(), Error> {
        for behind in &self.behind {
            let Behind { store, index, .. } = behind;
            // Reads that were planned before the cut go on with the open file, if there may be one.
            if store.is_held_beside(behind.holders) {
                match store.file().await {
                    Err(error) if error.is_shortage() || error.is_missing() => {}
                    opened => self.open.push(opened?),
                }
            }
            steps::remove(&self.way.dir, index).await?;
            match self.aim.reason().filter(|_| !behind.is_empty) {
                Some(reason) => {
                    match self.way.take(store.name(), reason, taken, &|| Ok(())).await {
                        // It was gone before.
                        Err(error) if error.is_missing() => {}
                        moved => self.quarantined.push(moved?),
                    }
                }
                None => steps::remove(&self.way.dir, store.name()).await?,
            }
        }
        self.way.sync().await
    }
}

/// The partial last block of `made`, which holds the batches from `base` to `point`, and them right.
async fn verified<D: Dir>(
    made: &Rc<Store<D>>,
    base: Point,
    point: Point,
) -> Result<Vec<u8>, Error> {
    let bytes = point.position.get();
    let mut scanner = Scanner::new(made, made.file().await?, base, bytes);
    while let Step::Batch(_) = scanner.next().await? {}
    let found = scanner.point();
    if (found.position, found.chain) != (point.position, point.chain) {
        return Err(Error::Damaged {
            from: found.offset,
            to: point.offset,
            segment: base.offset,
        });
    }
    partial_block(made, bytes).await
}
