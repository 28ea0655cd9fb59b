//! The room of recovery: from what a directory holds to a log that can be trusted.
//!
//! Lives here: [`recover`], which puts in order what each file decides:
//! - [`tidy`]: which files are the log's, and where the others go;
//! - [`clean`]: whether the log was closed in order, and what needs no recovery;
//! - [`damage`]: what damage the manifest remembers, and how;
//! - [`stores`]: which unsealed store is the last;
//! - [`earlier`]: whether those before it end where their successors begin, and are sure;
//! - [`last`]: whether the end of that one is torn or damaged;
//! - [`empty`]: what becomes of empty stores behind the end;
//! - [`survey`]: which batches of one store are sound, and how bad ones are stepped over;
//! - [`settle`]: that bytes are on the disk before they are served;
//! - [`copies`]: whether a copy of a store is what it was made of;
//! - [`slot`]: what the mark says, and is to say;
//! - [`received`]: which files of installed segments still need their names;
//! - [`seal`]: what of it is sealed at once, so that it is never read again.
//!
//! Never lives here: a log that is open.
//!
//! The rule, in short. After a clean stop nothing is scanned, nothing is written, nobody is waited
//! for. Else:
//! - what a killed process may have left on its way to the files has arrived before they are read;
//! - the last store that holds bytes is read from the mark on; below the mark any bad byte is damage to
//!   whoever reads it, and so it is below log start and below where the last epoch began;
//! - a torn tail exists only in that store; an earlier one is read whole, must end exactly, by offset
//!   and chain, where its successor begins, and is then sealed; one with damage is neither cut nor
//!   sealed, and the manifest remembers the damage. Where nothing shows that the log rolled behind it, what is served of it is
//!   first written again, once it is known that the log can be opened;
//! - with B the first bad position and E the end of the last non-zero byte: E − B ≤ W is torn, to be
//!   quarantined, zeroed and synced; more is damage, to be stepped over by the bad batch's own length or
//!   by index rows, never by searching; else the log is read-only up to B;
//! - before it serves, `[mark, end)` is written again as it is, zeros behind the end as far as bytes
//!   that were never synced may lie, and all of it is synced: a successful sync after a failed one
//!   proves nothing, and zeros that a read showed are no surer than batches;
//! - a new epoch is durable before the first append, unless the log follows another; the manifest's last
//!   edit is, in any case. The mark is written, and synced unless the old one is still as true.

mod clean;
mod copies;
mod damage;
mod earlier;
mod empty;
mod last;
mod received;
mod seal;
mod settle;
mod slot;
mod stores;
mod survey;
mod tidy;

pub(crate) use settle::{data_end, partial_block};
pub(crate) use tidy::holds_bytes;

use std::collections::VecDeque;
use std::rc::Rc;

use corelog_record::{LeaderEpoch, Lineage, Offset};

use crate::disk::{Dir, Entry};
use crate::format::damage::{Damage, Known};
use crate::format::edit::{Edit, Epoch};
use crate::format::mark::Slot;
use crate::log::{Begun, CallOff, Event, Events, Identity, Ownership, Torn};
use crate::manifest::Manifest;
use crate::mark::Mark;
use crate::planted::{self, Bug};
use crate::quarantine::Way;
use crate::segment::{Point, Segment};
use crate::store::Store;
use crate::{Error, Now, steps};

/// What recovery is told.
pub(crate) struct Context<D: Dir> {
    /// The directory of the log, and the way to quarantine from there.
    pub(crate) way: Way<D>,
    /// What tells of its files where they are gone.
    pub(crate) begun: Option<Begun<D>>,
    pub(crate) identity: Identity,
    pub(crate) interval_bytes: u32,
    pub(crate) now: Now,
    pub(crate) ownership: Ownership,
    /// Whether what the disk does not give at the end is damage.
    pub(crate) ends_before_unread: bool,
    /// Who ends it before its time.
    pub(crate) call_off: CallOff,
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
    pub(crate) findings: Findings,
}

/// What was found on the way.
#[derive(Clone, Default)]
pub(crate) struct Findings {
    pub(crate) is_clean: bool,
    pub(crate) torn: Option<Torn>,
    pub(crate) damage: Known,
    /// Those of the damage that no manifest is to remember: the disk did not give these bytes, and may the next time.
    pub(crate) unread: Vec<Damage>,
    pub(crate) quarantined: Vec<String>,
    pub(crate) read_only_from: Option<Offset>,
    pub(crate) events: Events,
}

/// Recovers the log of `context.way.dir`; `None` if it has no files yet.
///
/// # Errors
/// Any error of the disk; a manifest that is missing where there was one, damaged, another partition's, or of a later
/// program.
pub(crate) async fn recover<D: Dir>(context: Context<D>) -> Result<Option<Recovered<D>>, Error> {
    let entries = steps::list(&context.way.dir).await?;
    let is_manifest = |entry: &Entry| entry.name == crate::manifest::NAME;
    if !entries.iter().any(is_manifest) {
        Box::pin(tidy::unborn(&context, &entries)).await?;
        return Ok(None);
    }
    // A new log, of which many are opened at once, has no room for what this takes.
    let recovered = Box::pin(recover_files(context, entries)).await?;
    Ok(Some(recovered))
}

async fn recover_files<D: Dir>(
    context: Context<D>,
    entries: Vec<Entry>,
) -> Result<Recovered<D>, Error> {
    let mark = Mark::open(context.way.dir.clone()).await?;
    // What a killed process left on its way may still change a manifest, unless the mark is clean.
    let seems_clean = mark.as_ref().is_some_and(Mark::is_clean);
    if !seems_clean {
        tidy::outwait_manifest(&context.way.dir).await?;
    }
    let manifest = Manifest::open_mending(context.way.dir.clone()).await?;
    tidy::check_identity(&context, &manifest)?;
    let mut recovery = Recovery {
        context,
        entries,
        manifest,
        mark,
        slot: None,
        is_marked_clean: false,
        partial: None,
        findings: Findings::default(),
    };
    recovery.take_slot();
    recovery.name_received().await?;
    recovery.run(seems_clean).await
}

/// A recovery under way.
struct Recovery<D: Dir> {
    context: Context<D>,
    entries: Vec<Entry>,
    manifest: Manifest<D>,
    /// As it was found, whosever it is.
    mark: Option<Mark<D>>,
    /// What it says, if it is this copy's.
    slot: Option<Slot>,
    /// Whether that says that the log was closed in order, and no slot that is not given can say otherwise.
    is_marked_clean: bool,
    /// The last, partial block of the active store, if it was read already.
    partial: Option<Vec<u8>>,
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
    /// What comes of something that only reads, of which there may be much, unless the opening is called off before.
    async fn reading<T>(
        &self,
        reading: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.context.call_off.unless_called(reading).await
    }

    async fn run(mut self, seems_clean: bool) -> Result<Recovered<D>, Error> {
        let mut segments = self.segments();
        let mut clean = match seems_clean {
            true => self.clean_end(&mut segments, false).await?,
            false => None,
        };
        if clean.is_none() {
            self.outwait(seems_clean).await?;
            segments = self.segments();
            clean = self.clean_end(&mut segments, true).await?;
        }
        if clean.is_none() {
            self.check_edits()?;
            segments = self.segments();
            self.unset().await?;
        }
        self.tidy().await?;
        let (durable, durable_segment) = match clean {
            Some(durable) => {
                self.findings.is_clean = true;
                let last = segments
                    .back()
                    .map_or(durable.offset, |last| last.base.offset);
                (durable, last)
            }
            None => {
                let end = self.recover_stores(&mut segments).await?;
                self.remember().await?;
                self.seal(&mut segments).await?;
                self.keep_marked(&segments).await?;
                end
            }
        };
        self.end_with_active(&mut segments, durable);
        self.finish(segments, durable, durable_segment).await
    }

    /// The segments as the manifest names them, and what is known of their damage.
    fn segments(&mut self) -> VecDeque<Segment<D>> {
        self.findings = Findings::default();
        self.findings.damage = self.manifest.state().damage().into_iter().collect();
        for damage in self.findings.damage.iter() {
            self.findings.events.note(Event::DamageKnown(*damage));
        }
        let named = self.manifest.state().segments().to_vec();
        named.iter().map(|named| self.segment(named)).collect()
    }

    /// Waits for what a killed process may have left on its way to the files, and looks again.
    async fn outwait(&mut self, seems_clean: bool) -> Result<(), Error> {
        let dir = self.context.way.dir.clone();
        if let Some(mark) = &mut self.mark {
            mark.outwait().await?;
        }
        if seems_clean {
            tidy::outwait_manifest(&dir).await?;
            self.manifest = Manifest::open_mending(dir.clone()).await?;
            tidy::check_identity(&self.context, &self.manifest)?;
        }
        self.take_slot();
        self.entries = steps::list_known(&dir).await?;
        Ok(())
    }

    /// Begins an epoch, writes the mark, and hands all over.
    async fn finish(
        mut self,
        mut segments: VecDeque<Segment<D>>,
        durable: Point,
        durable_segment: Offset,
    ) -> Result<Recovered<D>, Error> {
        self.age_active(&mut segments);
        let last = self.manifest.state().epochs().last().copied();
        // What a follower holds is of its source's epochs, whatever happened to it.
        let is_follower = self.context.ownership == Ownership::Follower;
        if self.findings.is_clean && last.is_none() && !is_follower {
            // It followed another before it had an epoch of that.
            self.unset().await?;
            self.findings.is_clean = false;
        }
        let is_kept = self.findings.is_clean || self.findings.read_only_from.is_some();
        let is_kept = is_kept || planted::is(Bug::EpochReused);
        let epoch = match last.filter(|_| is_kept) {
            _ if is_follower => self.epoch_used(last),
            Some(last) => Some(last.epoch),
            None => Some(self.begin_epoch(last, durable).await?),
        };
        if !self.findings.is_clean {
            // What comes may follow from an edit that was only read: a follower wrote none behind it.
            self.manifest.confirm().await?;
        }
        let slot = self.slot_at(&segments, (durable, durable_segment), epoch);
        let kept = if is_kept { self.mark.take() } else { None };
        let mark = match kept {
            Some(mark) => mark,
            None => {
                // As long as the old one is true as well, either may survive.
                let is_true = |old| slot::is_still_true(&old, &segments, durable);
                let is_either = self.slot.is_some_and(is_true);
                self.write_mark(slot, !is_either).await?
            }
        };
        let partial = self
            .partial(segments.back(), durable_segment, durable)
            .await?;
        let (manifest, findings) = (self.manifest.mended(), self.findings);
        Ok(Recovered {
            manifest,
            mark,
            segments,
            durable,
            durable_segment,
            partial,
            findings,
        })
    }

    /// The highest epoch that this copy ever had: a cut may have dropped it from the manifest; the mark
    /// still knows it.
    fn epoch_used(&self, last: Option<Epoch>) -> Option<LeaderEpoch> {
        let marked = self.slot.and_then(|slot| slot.epoch);
        marked.max(last.map(|last| last.epoch))
    }

    async fn begin_epoch(&mut self, last: Option<Epoch>, end: Point) -> Result<LeaderEpoch, Error> {
        let above = match self.epoch_used(last) {
            None => Some(LeaderEpoch::ZERO),
            Some(used) => used.checked_next(),
        };
        let dir = || self.context.way.dir.describe();
        let epoch = above.ok_or_else(|| Error::EpochsExhausted { dir: dir() })?;
        let began = Epoch::behind(last.as_ref(), end.place(), epoch, self.context.lineage);
        self.manifest.append(&Edit::Epoch(began)).await?;
        Ok(epoch)
    }
}

const BLOCK: u64 = crate::disk::BLOCK_BYTES as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::MemoryDir;

    /// 64 are opened at once, and each had 12 KiB.
    #[test]
    fn a_new_log_is_opened_without_room_for_what_there_is_to_recover() {
        fn bytes<F>(_: impl Fn(Context<MemoryDir>) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = bytes(recover::<MemoryDir>);
        assert!(bytes <= 2 << 10, "{bytes}");
    }
}
