//! Cutting the end of the log off: what stays is copied to a new file, what goes to quarantine.
//!
//! The edit is the switch: before it all is as it was, after it the manifest names the shortened
//! file and nothing behind. Whatever a crash leaves half done, opening finishes: files that the
//! manifest does not name go to quarantine.

use std::collections::VecDeque;
use std::rc::Rc;

use corelog_record::{LeaderEpoch, Lineage, Offset, Position, Timestamp};

use super::Log;
use super::chore::{Chore, ChorePlan};
use super::sums::Sums;
use super::work::{Garbage, Work, remove};
use crate::Error;
use crate::disk::{Dir, Entry};
use crate::error::At;
use crate::format::edit::{Edit, End, Epoch};
use crate::format::mark::Slot;
use crate::format::quarantine::{Name, Reason};
use crate::index::Builder;
use crate::manifest::Manifest;
use crate::mark::Mark;
use crate::quarantine;
use crate::scan::{Scanner, Step};
use crate::segment::{Index, Point, Segment, Stage, name};
use crate::store::{Store, copy};

use super::Identity;

/// Cutting the log at the batch that holds an offset.
pub(super) struct Suffix<D: Dir> {
    dir: D,
    quarantine: D,
    identity: Identity,
    now: Timestamp,
    from: Offset,
    manifest: Manifest<D>,
    mark: Mark<D>,
    slot: Slot,
    /// The segment that holds the offset.
    cut: Cut<D>,
    /// Its files and those of the segments behind it.
    behind: Vec<Behind<D>>,
    /// What is read while it is moved away stays open until the log knows of the cut.
    open: Vec<Rc<D::File>>,
    interval_bytes: u32,
    /// The epoch and lineage to go on with, if the present epoch began behind the cut.
    epoch_next: (LeaderEpoch, Lineage),
    done: Option<Done<D>>,
}

/// The segment that is cut.
struct Cut<D: Dir> {
    store: Rc<Store<D>>,
    base: Point,
    end: Point,
    generation: u32,
}

/// What is moved away of a segment.
struct Behind<D: Dir> {
    store: Rc<Store<D>>,
    /// How often it is held if nobody reads it.
    holders: usize,
    /// The name of its index.
    index: String,
}

/// What a cut left.
struct Done<D: Dir> {
    point: Point,
    /// The shortened segment; `None` if nothing of it stays.
    kept: Option<(Rc<Store<D>>, u32, Builder)>,
}

impl<D: Dir> Suffix<D> {
    /// Cuts.
    pub(super) async fn run(&mut self) -> Result<(), Error> {
        let (point, rows) = self.find().await?;
        // What stays of it is read all the time.
        self.open.push(self.cut.store.file().await?);
        let created = self.quarantine.create().await;
        created.map_err(|e| At::dir(&self.quarantine).space("create", e))?;
        let taken = quarantine::list(&self.quarantine).await?;
        let is_whole = point.position == Position::ZERO;
        let generation = self.cut.generation + 1;
        let kept = match is_whole {
            true => None,
            false => Some(self.shorten(point, generation).await?),
        };
        let kept_generation = kept.is_some().then_some(generation);
        let mut epochs = self.manifest.state().epochs().iter();
        let last = epochs
            .rfind(|began| began.offset <= point.offset)
            .map(|began| began.epoch);
        let edit = Edit::TruncateSuffix(End {
            offset: point.offset,
            ordinal: point.ordinal,
            chain: point.chain,
            generation: kept_generation,
            epoch: last,
        });
        let before = self
            .manifest
            .state()
            .epochs()
            .last()
            .map(|began| began.epoch);
        // The edit forgets epochs that began behind it; the mark knows that they were used.
        self.mark.sync().await?;
        self.manifest.append(&edit).await?;
        let settled = self
            .settle(point, kept_generation, last != before, &taken)
            .await;
        // The edit is durable, the log in memory is another: there is no way back to try again.
        settled.map_err(Error::for_good)?;
        self.done = Some(Done {
            point,
            kept: kept.map(|store| (store, generation, rows)),
        });
        Ok(())
    }

    /// Does what follows from the edit.
    async fn settle(
        &mut self,
        point: Point,
        generation: Option<u32>,
        needs_epoch: bool,
        taken: &[Entry],
    ) -> Result<(), Error> {
        let epoch = match needs_epoch {
            true => Some(self.begin_epoch(point).await?),
            false => None,
        };
        self.write_mark(point, generation, epoch).await?;
        self.move_away(taken).await
    }

    /// The start of the batch that holds the offset, and the index rows before it. All before it is
    /// verified on the way.
    async fn find(&self) -> Result<(Point, Builder), Error> {
        let Cut {
            store, base, end, ..
        } = &self.cut;
        let file = store.file().await?;
        let mut scanner = Scanner::new(store, file, *base, end.position.get());
        let mut rows = Builder::default();
        loop {
            let point = scanner.point();
            let damaged = Error::Damaged {
                from: point.offset,
                to: end.offset,
                segment: base.offset,
            };
            match scanner.next().await? {
                Step::Batch(batch) if self.from < batch.next_offset() => return Ok((point, rows)),
                Step::Batch(_) => rows.note(base, &point, self.interval_bytes),
                Step::End => return Ok((point, rows)),
                Step::Bad => return Err(damaged),
            }
        }
    }

    /// Copies what stays to a file of its own, durably, and verifies the copy.
    async fn shorten(&self, point: Point, generation: u32) -> Result<Rc<Store<D>>, Error> {
        let Cut { store, base, .. } = &self.cut;
        let name = name::store(base.offset, generation);
        let made = copy(&self.dir, store, name, point.position.get()).await?;
        let file = made.file().await?;
        let bytes = point.position.get();
        let mut scanner = Scanner::new(&made, file, *base, bytes);
        while let Step::Batch(_) = scanner.next().await? {}
        let found = scanner.point();
        if (found.position, found.chain) != (point.position, point.chain) {
            let (from, to) = (found.offset, point.offset);
            return Err(Error::Damaged {
                from,
                to,
                segment: base.offset,
            });
        }
        Ok(made)
    }

    async fn begin_epoch(&mut self, point: Point) -> Result<LeaderEpoch, Error> {
        let (epoch, lineage) = self.epoch_next;
        let Point {
            offset, ordinal, ..
        } = point;
        self.manifest
            .append(&Edit::Epoch(Epoch {
                epoch,
                lineage,
                offset,
                ordinal,
            }))
            .await?;
        Ok(epoch)
    }

    /// The mark must not promise what was cut, not even to a segment of the same name.
    async fn write_mark(
        &mut self,
        point: Point,
        generation: Option<u32>,
        epoch: Option<LeaderEpoch>,
    ) -> Result<(), Error> {
        let slot = Slot {
            segment: self.cut.base.offset,
            generation: generation.unwrap_or(0),
            position: point.position,
            offset: point.offset,
            ordinal: point.ordinal,
            chain: point.chain,
            max_timestamp: point.max_timestamp,
            epoch: epoch.or(self.slot.epoch),
            ..self.slot
        };
        self.mark.write_durably(slot).await
    }

    /// Moves what was cut to quarantine, whole files at a time; indexes only speak of those. What is
    /// `taken` there already stays as it is.
    async fn move_away(&mut self, taken: &[Entry]) -> Result<(), Error> {
        for behind in &self.behind {
            let Behind { store, index, .. } = behind;
            // Reads that were planned before the cut go on with the open file, if there may be one.
            if store.is_held_beside(behind.holders) {
                match store.file().await {
                    Err(error) if error.is_shortage() => {}
                    opened => self.open.push(opened?),
                }
            }
            let file = store.name();
            remove(&self.dir, index).await?;
            let name = Name {
                time: self.now,
                reason: Reason::Cut,
                topic: self.identity.topic,
                partition: self.identity.partition,
                position: Position::ZERO,
                file: file.to_owned(),
            };
            let name = quarantine::free(name, taken).to_string();
            let moved = self.dir.rename(file, &self.quarantine, &name).await;
            moved.map_err(|e| At::new(&self.dir, file).io("move to quarantine", e))?;
        }
        for dir in [&self.quarantine, &self.dir] {
            dir.sync().await.map_err(|e| At::dir(dir).io("sync", e))?;
        }
        Ok(())
    }
}

impl<D: Dir> Log<D> {
    /// Plans to cut the log at the batch that holds `from`: it and all behind it go to quarantine.
    /// The caller has checked that this is allowed below the high watermark.
    ///
    /// # Errors
    /// As for [`Log::plan_truncate`]; [`Error::Busy`] also while bytes are pending or in flight.
    pub fn plan_truncate_suffix(
        &mut self,
        from: Offset,
        now: Timestamp,
    ) -> Result<Option<ChorePlan<D>>, Error> {
        self.ready_to_change()?;
        self.within(from)?;
        if let Some(from) = self.read_only_from {
            return Err(Error::ReadOnly { from });
        }
        if self.pending_bytes() > 0 || self.in_flight_bytes > 0 || self.mark.is_away() {
            return Err(Error::Busy);
        }
        let (log_start, durable) = (self.log_start, self.durable.offset);
        if from < log_start {
            return Err(Error::OutOfRange {
                offset: from,
                log_start,
                durable,
            });
        }
        let cut = self.segments.iter().find(|segment| segment.holds(from));
        let Some(cut) = cut else { return Ok(None) };
        let Some(store) = cut.store.clone() else {
            return Ok(None);
        };
        let (base, end, generation) = (cut.base, cut.end, cut.generation);
        let behind = self
            .segments
            .iter()
            .filter(|segment| base.offset <= segment.base.offset);
        let behind = behind.filter_map(|segment| {
            // The log, its index, and this.
            let is_indexed = matches!(segment.index, Index::File(_));
            Some(Behind {
                store: segment.store.clone()?,
                holders: 2 + usize::from(is_indexed),
                index: segment.index_name(),
            })
        });
        let behind = behind.collect();
        let slot = Slot {
            is_clean: false,
            ..self.slot()
        };
        let epoch_next = (self.epoch().next(), self.draw_lineage());
        let Some(manifest) = self.manifest.take() else {
            return Err(Error::Busy);
        };
        let Some(mark) = self.mark.take() else {
            self.return_manifest(Some(manifest));
            return Err(Error::Busy);
        };
        let suffix = Suffix {
            dir: self.dir.clone(),
            quarantine: self.quarantine.clone(),
            identity: self.identity,
            now,
            from,
            manifest,
            mark,
            slot,
            cut: Cut {
                store,
                base,
                end,
                generation,
            },
            behind,
            open: Vec::new(),
            interval_bytes: self.options.index_interval_bytes,
            epoch_next,
            done: None,
        };
        Ok(Some(self.chore(Work::Suffix(Box::new(suffix)))))
    }

    /// Takes a cut in that is now durable.
    pub(super) fn take_in_suffix(&mut self, suffix: Suffix<D>, is_done: bool) -> Chore {
        let Suffix {
            manifest,
            mark,
            cut,
            done,
            ..
        } = suffix;
        self.return_manifest(Some(manifest));
        self.mark.give_back(Some(mark));
        let Some(Done { point, kept }) = done.filter(|_| is_done) else {
            return Chore::SuffixCut {
                log_end: self.log_end(),
            };
        };
        let keep = self
            .segments
            .partition_point(|s| s.base.offset < cut.base.offset);
        let gone: VecDeque<_> = self.segments.split_off(keep);
        // Their files are away already, and the names may come back: only the handles are left.
        let stores = gone.into_iter().filter_map(|segment| segment.store);
        let stores = stores.inspect(|store| store.retire());
        self.garbage.extend(stores.map(|store| Garbage {
            store,
            names: Vec::new(),
        }));
        self.durable_segment = cut.base.offset;
        if let Some((store, generation, rows)) = kept {
            self.segments.push_back(Segment {
                end: point,
                generation,
                stage: Stage::Rolled,
                store: Some(store),
                space_bytes: point.position.get(),
                index: Index::Growing(rows),
                born: None,
                ..Segment::new(cut.base)
            });
        }
        self.segments.push_back(Segment::new(point.rolled()));
        self.sums = Sums::over(&self.segments);
        self.durable = point;
        self.log_start = self.log_start.min(point.offset);
        self.tail.reset();
        self.damage.retain(|damage| damage.from < point.offset);
        self.marked.is_clean = false;
        Chore::SuffixCut {
            log_end: point.offset,
        }
    }
}
