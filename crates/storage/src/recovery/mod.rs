//! The room of recovery: from what a directory holds to a log that can be trusted.
//!
//! Lives here: the judgement of files ([`tidy`]) and of a store's bytes ([`survey`]), the repair of
//! a torn tail ([`settle`]), and [`recover`], which puts them in order. Never lives here: a log that
//! is open.
//!
//! The rule, in short. After a clean stop nothing is scanned. Else:
//! - below the mark any bad byte is damage;
//! - a torn tail exists only in the last store that holds bytes; an earlier one must end exactly, by
//!   offset and chain, where its successor begins;
//! - there, with B the first bad position and E the end of the last non-zero byte: E − B ≤ W is
//!   torn, to be quarantined, zeroed and synced; more is damage, to be stepped over by the bad
//!   batch's own length or by index rows, never by searching; else the log is read-only up to B;
//! - before it serves, `[mark, end)` is written again as it is and synced: a successful sync after a
//!   failed one proves nothing;
//! - a new epoch is durable before the first append.

mod settle;
mod survey;
mod tidy;

use std::collections::VecDeque;
use std::rc::Rc;

use corelog_record::{LeaderEpoch, Lineage, Offset, Timestamp};

use crate::Error;
use crate::disk::{Dir, Entry, Open, round_up};
use crate::error::At;
use crate::format::edit::{Edit, End, Epoch};
use crate::format::mark::Slot;
use crate::format::quarantine::Reason;
use crate::format::state;
use crate::index::{Builder, Loaded, Of, Sealed};
use crate::log::{Damage, Identity, Torn, UNSYNCED_BYTES_MAX, remove};
use crate::manifest::Manifest;
use crate::mark::Mark;
use crate::segment::{Index, NO_TIMESTAMP, Point, Segment, Stage, name};
use crate::store::Store;

use self::survey::Survey;

/// What recovery is told.
pub(crate) struct Context<D: Dir> {
    pub(crate) dir: D,
    pub(crate) quarantine: D,
    pub(crate) identity: Identity,
    pub(crate) interval_bytes: u32,
    pub(crate) now: Timestamp,
    /// The lineage of the epoch that begins, if one does.
    pub(crate) lineage: Lineage,
}

/// A log that can be trusted.
pub(crate) struct Recovered<D: Dir> {
    pub(crate) manifest: Manifest<D>,
    pub(crate) mark: Mark<D>,
    /// Never empty; the last one is active.
    pub(crate) segments: VecDeque<Segment<D>>,
    pub(crate) durable: Point,
    pub(crate) durable_segment: Offset,
    /// The last, partial block of the active store.
    pub(crate) partial: Vec<u8>,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) lineage: Lineage,
    pub(crate) findings: Findings,
}

/// What was found on the way.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) is_clean: bool,
    pub(crate) torn: Option<Torn>,
    pub(crate) damage: Vec<Damage>,
    pub(crate) quarantined: Vec<String>,
    pub(crate) read_only_from: Option<Offset>,
}

/// Recovers the log of `context.dir`; `None` if it has no files yet.
///
/// # Errors
/// Any error of the disk; a manifest that is missing, damaged, another partition's, or of a later
/// program.
pub(crate) async fn recover<D: Dir>(context: Context<D>) -> Result<Option<Recovered<D>>, Error> {
    let at = || At::dir(&context.dir);
    if !context
        .dir
        .exists()
        .await
        .map_err(|e| at().io("look at", e))?
    {
        return Ok(None);
    }
    let entries = context.dir.list().await.map_err(|e| at().io("list", e))?;
    if !entries
        .iter()
        .any(|entry| entry.name == crate::manifest::NAME)
    {
        tidy::unborn(&context, &entries).await?;
        return Ok(None);
    }
    let manifest = Manifest::open(context.dir.clone()).await?;
    tidy::check_identity(&context, &manifest)?;
    let mark = Mark::open(context.dir.clone()).await?;
    let header = *manifest.header();
    let is_ours = |slot: &Slot| slot.history == header.history && slot.copy == header.copy;
    let slot = mark.as_ref().and_then(Mark::last).copied().filter(is_ours);
    let findings = Findings::default();
    let recovery = Recovery {
        context,
        entries,
        manifest,
        slot,
        findings,
    };
    recovery.run(mark).await.map(Some)
}

/// A recovery under way.
struct Recovery<D: Dir> {
    context: Context<D>,
    entries: Vec<Entry>,
    manifest: Manifest<D>,
    slot: Option<Slot>,
    findings: Findings,
}

/// A store that is not sealed, opened for writing.
struct OpenStore<D: Dir> {
    store: Rc<Store<D>>,
    /// Its length; 0 if the file is missing.
    bytes: u64,
    /// The end of its last byte that is not zero.
    end: u64,
}

impl<D: Dir> Recovery<D> {
    async fn run(mut self, mark: Option<Mark<D>>) -> Result<Recovered<D>, Error> {
        self.tidy().await?;
        let mut segments = VecDeque::new();
        let named = self.manifest.state().segments().to_vec();
        for segment in &named {
            segments.push_back(self.segment(segment));
        }
        let (durable, durable_segment) = match self.clean_end(&mut segments).await? {
            Some(durable) => {
                self.findings.is_clean = true;
                let last = segments
                    .back()
                    .map_or(durable.offset, |last| last.base.offset);
                (durable, last)
            }
            None => self.recover_stores(&mut segments).await?,
        };
        self.end_with_active(&mut segments, durable);
        self.finish(mark, segments, durable, durable_segment).await
    }

    /// A segment as the manifest names it.
    fn segment(&mut self, named: &state::Segment) -> Segment<D> {
        let base = Point {
            offset: named.base,
            ordinal: named.ordinal,
            chain: named.chain,
            ..Point::origin(named.chain)
        };
        let mut segment = Segment::new(base);
        segment.generation = named.generation;
        let name = segment.store_name();
        let store = Store::closed(&self.context.dir, name.clone());
        segment.store = Some(store.clone());
        let Some(seal) = &named.seal else {
            return segment;
        };
        let end = seal.digest.end();
        segment.stage = Stage::Sealed(seal.sealed);
        segment.space_bytes = seal.digest.bytes;
        segment.end = Point {
            offset: end.offset,
            position: base.position.plus(seal.digest.bytes),
            ordinal: end.ordinal,
            chain: end.chain,
            max_timestamp: seal.max_timestamp,
        };
        segment.index = Index::File(self.sealed_index(&segment, store));
        if self
            .length(&name)
            .is_none_or(|bytes| bytes < seal.digest.bytes)
        {
            let (from, to) = (base.offset, end.offset);
            self.findings.damage.push(Damage {
                from,
                to,
                segment: from,
            });
        }
        segment
    }

    fn sealed_index(&self, segment: &Segment<D>, store: Rc<Store<D>>) -> Rc<Sealed<D>> {
        let of = Of {
            history: self.context.identity.history,
            base: segment.base,
            store,
            store_bytes: segment.bytes(),
            interval_bytes: self.context.interval_bytes,
        };
        Sealed::new(&self.context.dir, segment.index_name(), of)
    }

    /// The length of the file `name`, if there is one.
    fn length(&self, name: &str) -> Option<u64> {
        self.entries
            .iter()
            .find(|entry| entry.name == name)
            .map(|entry| entry.bytes)
    }

    /// The end of a log that was closed in order; `None` if it was not, or if that cannot be told.
    async fn clean_end(
        &mut self,
        segments: &mut VecDeque<Segment<D>>,
    ) -> Result<Option<Point>, Error> {
        let Some(slot) = self.slot.filter(|slot| slot.is_clean) else {
            return Ok(None);
        };
        let unsealed = segments
            .iter()
            .filter(|segment| segment.seal_time().is_none())
            .count();
        let marked = marked_point(&slot);
        let is_same = |end: &Point| end.offset == marked.offset && end.chain == marked.chain;
        let Some(last) = segments.back_mut() else {
            let floor = self.manifest.state().end();
            let is_end = floor.is_some_and(|floor| floor.offset == marked.offset);
            return Ok(Some(marked.rolled()).filter(|_| is_end));
        };
        if last.seal_time().is_some() {
            return Ok(Some(last.end).filter(|end| is_same(end) && unsealed == 0));
        }
        let is_marked = slot.segment == last.base.offset && slot.generation == last.generation;
        let end = if is_marked { marked } else { last.base };
        let open = self.open_store(last).await?;
        let is_exact = open.end <= end.position.get() && end.position.get() <= open.bytes;
        if unsealed > 1 || !is_exact || !is_same(&end) {
            return Ok(None);
        }
        last.end = end;
        let index = self.sealed_index(last, open.store.clone());
        let rows = index.load().await?;
        last.index = Index::Growing(match &*rows {
            Loaded::Rebuilt(rows) => rows.clone(),
            Loaded::Mapped(_) => Builder::from(rows.to_vec()),
        });
        last.space_bytes = open.bytes.max(round_up(end.position.get())) / BLOCK * BLOCK;
        last.store = Some(open.store);
        last.born = (!last.is_empty()).then_some(self.context.now);
        Ok(Some(end))
    }

    /// Opens the store of a segment that is not sealed.
    async fn open_store(&self, segment: &Segment<D>) -> Result<OpenStore<D>, Error> {
        let name = segment.store_name();
        let Some(bytes) = self.length(&name) else {
            let store = Store::closed(&self.context.dir, name);
            return Ok(OpenStore {
                store,
                bytes: 0,
                end: 0,
            });
        };
        let at = || At::new(&self.context.dir, &name);
        let opened = self.context.dir.open(&name, Open::Write).await;
        let file = Rc::new(opened.map_err(|e| at().io("open", e))?);
        let store = Store::opened(&self.context.dir, name.clone(), file);
        let end = settle::data_end(&store, bytes).await?;
        Ok(OpenStore { store, bytes, end })
    }

    /// Recovers the stores that are not sealed. Returns where the log ends, and in which segment.
    async fn recover_stores(
        &mut self,
        segments: &mut VecDeque<Segment<D>>,
    ) -> Result<(Point, Offset), Error> {
        let mut stores = Vec::new();
        for segment in segments.iter() {
            stores.push(match segment.seal_time() {
                Some(_) => None,
                None => Some(self.open_store(segment).await?),
            });
        }
        let holds = |(segment, store): (&Segment<D>, &Option<OpenStore<D>>)| {
            let is_promised = self
                .marked_in(segment)
                .is_some_and(|at| at.position.get() > 0);
            store.as_ref().is_none_or(|store| store.end > 0) || is_promised
        };
        let last = segments.iter().zip(&stores).rposition(holds);
        let bases: Vec<Point> = segments.iter().map(|segment| segment.base).collect();
        for (number, store) in stores.into_iter().enumerate() {
            let Some(store) = store else { continue };
            let segment = &mut segments[number];
            match last {
                Some(last) if number < last => {
                    self.recover_earlier(segment, store, bases[number + 1])
                        .await?;
                }
                Some(last) if number == last => self.recover_last(segment, store).await?,
                _ => {
                    segment.space_bytes = store.bytes / BLOCK * BLOCK;
                    segment.store = Some(store.store);
                }
            }
        }
        let end = self.end_of(segments, last);
        self.drop_empty(segments, last, end.0).await?;
        Ok(end)
    }

    /// Where the log ends, if segment `last` is the last one that holds bytes.
    fn end_of(&self, segments: &VecDeque<Segment<D>>, last: Option<usize>) -> (Point, Offset) {
        if let Some(segment) = last.and_then(|last| segments.get(last)) {
            return (segment.end, segment.base.offset);
        }
        let chain = corelog_record::Chain::seed(self.context.identity.history);
        let point = segments.front().map(|segment| segment.base).or_else(|| {
            let floor = self.manifest.state().end()?;
            let (offset, ordinal, chain) = (floor.offset, floor.ordinal, floor.chain);
            Some(Point {
                offset,
                ordinal,
                ..Point::origin(chain)
            })
        });
        let point = point.unwrap_or(Point::origin(chain));
        (point, point.offset)
    }

    /// Drops the empty stores behind the log's end, unless the next group belongs into them.
    async fn drop_empty(
        &mut self,
        segments: &mut VecDeque<Segment<D>>,
        last: Option<usize>,
        end: Point,
    ) -> Result<(), Error> {
        let first = last.map_or(0, |last| last + 1);
        let is_next = |segment: &Segment<D>| {
            let base = segment.base;
            (base.offset, base.ordinal, base.chain) == (end.offset, end.ordinal, end.chain)
        };
        let is_right = segments.len() == first + 1 && segments.get(first).is_some_and(is_next);
        if segments.len() <= first || is_right || self.findings.read_only_from.is_some() {
            return Ok(());
        }
        let epoch = self
            .manifest
            .state()
            .epochs()
            .last()
            .map(|began| began.epoch);
        let Point {
            offset,
            ordinal,
            chain,
            ..
        } = end;
        let edit = End {
            offset,
            ordinal,
            chain,
            generation: None,
            epoch,
        };
        let gone = self.manifest.append(&Edit::TruncateSuffix(edit)).await?;
        segments.retain(|segment| gone.iter().all(|gone| gone.base != segment.base.offset));
        for segment in &gone {
            let name = name::store(segment.base, segment.generation);
            remove(&self.context.dir, &name).await?;
            remove(
                &self.context.dir,
                &name::index(segment.base, segment.generation),
            )
            .await?;
        }
        Ok(())
    }

    /// The mark, if it speaks of `segment`.
    fn marked_in(&self, segment: &Segment<D>) -> Option<Point> {
        let slot = self.slot?;
        let is_it = slot.segment == segment.base.offset && slot.generation == segment.generation;
        is_it.then(|| marked_point(&slot))
    }

    /// An unsealed store with a successor that holds bytes: it must end where that begins.
    async fn recover_earlier(
        &mut self,
        segment: &mut Segment<D>,
        open: OpenStore<D>,
        next: Point,
    ) -> Result<(), Error> {
        let mark = self
            .marked_in(segment)
            .filter(|at| at.position.get() <= open.bytes);
        let mut survey = Survey::new(self.survey_of(segment, &open, mark)).await?;
        loop {
            survey.run().await?;
            let end = survey.point();
            let is_right =
                (end.offset, end.ordinal, end.chain) == (next.offset, next.ordinal, next.chain);
            if is_right {
                if end.position.get() < open.end {
                    let range = end.position.get()..open.end;
                    self.quarantine_bytes(&open.store, range, Reason::Damaged)
                        .await?;
                }
                segment.stage = Stage::Rolled;
                segment.end = end;
                break;
            }
            if end.offset < next.offset && survey.resync().await? {
                continue;
            }
            // Damage is never cut: the file stays as it is, and is not sealed.
            segment.stage = Stage::Damaged;
            segment.end = Point {
                position: end.position.max(file_end(&open)),
                ..next
            };
            segment.end.max_timestamp = end.max_timestamp;
            survey.damaged(end.offset.min(next.offset), next.offset);
            break;
        }
        self.take_survey(segment, open, survey).await
    }

    /// The last store that holds bytes.
    async fn recover_last(
        &mut self,
        segment: &mut Segment<D>,
        open: OpenStore<D>,
    ) -> Result<(), Error> {
        let marked = self.marked_in(segment);
        let mark = marked.filter(|at| at.position.get() <= open.bytes);
        let mut survey = Survey::new(self.survey_of(segment, &open, mark)).await?;
        let mut torn = None;
        loop {
            survey.run().await?;
            let end = survey.point();
            if let Some(marked) = marked.filter(|_| mark.is_none()) {
                // The store is shorter than what was promised of it.
                survey.damaged(end.offset, marked.offset.max(end.offset.plus(1)));
                self.findings.read_only_from = Some(end.offset);
                segment.end = Point {
                    position: end.position,
                    ..marked
                };
                break;
            }
            segment.end = end;
            let position = end.position.get();
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
                self.quarantine_bytes(&open.store, position..open.end, Reason::Torn)
                    .await?;
                break;
            }
            if !survey.resync().await? {
                survey.damaged(end.offset, end.offset.plus(1));
                self.findings.read_only_from = Some(end.offset);
                break;
            }
        }
        let start = mark.map_or(0, |at| at.position.get());
        let zeros_from = torn.as_ref().map(|torn| torn.position.get());
        let is_any = open.bytes > 0;
        if is_any {
            settle::rewrite(&self.context.dir, &open.store, start..open.end, zeros_from).await?;
        }
        self.findings.torn = torn;
        let is_sound = survey.damage().is_empty();
        let is_read_only = self.findings.read_only_from.is_some();
        segment.stage = if is_sound || is_read_only {
            Stage::Active
        } else {
            Stage::Rolled
        };
        self.take_survey(segment, open, survey).await
    }

    fn survey_of(
        &self,
        segment: &Segment<D>,
        open: &OpenStore<D>,
        mark: Option<Point>,
    ) -> survey::Of<D> {
        survey::Of {
            store: open.store.clone(),
            base: segment.base,
            bytes: open.bytes,
            mark,
            interval_bytes: self.context.interval_bytes,
            index: self.sealed_index(segment, open.store.clone()),
        }
    }

    /// Gives a segment what a survey of its store found.
    async fn take_survey(
        &mut self,
        segment: &mut Segment<D>,
        open: OpenStore<D>,
        survey: Survey<D>,
    ) -> Result<(), Error> {
        for range in survey.bad_ranges() {
            self.quarantine_bytes(&open.store, range, Reason::Damaged)
                .await?;
        }
        let (rows, damage) = survey.into_parts();
        segment.index = Index::Growing(rows);
        segment.space_bytes = round_up(open.end).max(open.bytes / BLOCK * BLOCK);
        segment.store = Some(open.store);
        segment.born = (!segment.is_empty()).then_some(self.context.now);
        self.findings.damage.extend(damage);
        Ok(())
    }

    /// Makes sure that the last segment is the one to append to.
    fn end_with_active(&self, segments: &mut VecDeque<Segment<D>>, durable: Point) {
        if segments
            .back()
            .is_none_or(|last| last.stage != Stage::Active)
        {
            segments.push_back(Segment::new(durable.rolled()));
        }
        let earlier = segments.len() - 1;
        for segment in segments.iter_mut().take(earlier) {
            if segment.stage == Stage::Active {
                segment.stage = Stage::Rolled;
            }
        }
    }

    /// Begins an epoch, writes the mark, and hands all over.
    async fn finish(
        mut self,
        mark: Option<Mark<D>>,
        segments: VecDeque<Segment<D>>,
        durable: Point,
        durable_segment: Offset,
    ) -> Result<Recovered<D>, Error> {
        let last = self.manifest.state().epochs().last().copied();
        let is_kept = self.findings.is_clean || self.findings.read_only_from.is_some();
        let (epoch, lineage) = match last.filter(|_| is_kept) {
            Some(last) => (last.epoch, last.lineage),
            None => self.begin_epoch(last, durable).await?,
        };
        let generation = segments.iter().find(|s| s.base.offset == durable_segment);
        let header = self.manifest.header();
        let slot = Slot {
            history: header.history,
            copy: header.copy,
            sequence: 0,
            segment: durable_segment,
            generation: generation.map_or(0, |segment| segment.generation),
            is_clean: false,
            position: durable.position,
            offset: durable.offset,
            ordinal: durable.ordinal,
            chain: durable.chain,
            max_timestamp: durable.max_timestamp,
            epoch: Some(epoch),
        };
        let mark = match mark {
            Some(mark) if is_kept => mark,
            Some(mut mark) => {
                mark.write(slot).await?;
                mark.sync().await?;
                mark
            }
            None => Mark::create(self.context.dir.clone(), slot).await?,
        };
        let partial = self
            .partial(segments.back(), durable_segment, durable)
            .await?;
        let (manifest, findings) = (self.manifest, self.findings);
        Ok(Recovered {
            manifest,
            mark,
            segments,
            durable,
            durable_segment,
            partial,
            epoch,
            lineage,
            findings,
        })
    }

    async fn begin_epoch(
        &mut self,
        last: Option<Epoch>,
        end: Point,
    ) -> Result<(LeaderEpoch, Lineage), Error> {
        let (mut offset, mut ordinal, mut epoch) = (end.offset, end.ordinal, LeaderEpoch::ZERO);
        // A cut may have dropped the epoch from the manifest; the mark still knows it was used.
        let used = self
            .slot
            .and_then(|slot| slot.epoch)
            .max(last.map(|last| last.epoch));
        if let Some(used) = used {
            epoch = used.next();
        }
        if let Some(last) = last {
            offset = offset.max(last.offset);
            ordinal = ordinal.max(last.ordinal);
        }
        let lineage = self.context.lineage;
        self.manifest
            .append(&Edit::Epoch(Epoch {
                epoch,
                lineage,
                offset,
                ordinal,
            }))
            .await?;
        Ok((epoch, lineage))
    }

    /// The bytes of the last, partial block of the active store.
    async fn partial(
        &self,
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
        settle::partial_block(store, durable.position.get()).await
    }
}

/// The point that a mark states.
fn marked_point(slot: &Slot) -> Point {
    Point {
        offset: slot.offset,
        position: slot.position,
        ordinal: slot.ordinal,
        chain: slot.chain,
        max_timestamp: slot.max_timestamp,
    }
}

fn file_end<D: Dir>(open: &OpenStore<D>) -> corelog_record::Position {
    corelog_record::Position::new(open.bytes).unwrap_or(corelog_record::Position::MAX)
}

const BLOCK: u64 = crate::disk::BLOCK_BYTES as u64;
const _: () = assert!(NO_TIMESTAMP.millis() == i64::MIN, "no record has this time");
