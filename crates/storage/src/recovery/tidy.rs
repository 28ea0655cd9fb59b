//! Judging the files of a directory: the manifest says which are the log's.

use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

use corelog_record::{Offset, Position};

use super::{Context, Recovery, copies, settle};
use crate::Error;
use crate::disk::{ASIDE_SUFFIX, Dir, Entry, File, Open};
use crate::error::At;
use crate::format;
use crate::format::mark::Slot;
use crate::format::quarantine::Reason;
use crate::intake::partial;
use crate::log::{Event, STORE_BYTES_MAX};
use crate::manifest::Manifest;
use crate::planted::{self, Bug};
use crate::segment::name;
use crate::store::{Store, copy_range};
use crate::{manifest, mark, quarantine, steps};

/// A directory without a manifest, if it is there: nothing was promised in it, unless something says otherwise. Nothing is
/// touched then: somebody may be about to put the log back.
pub(super) async fn unborn<D: Dir>(context: &Context<D>, entries: &[Entry]) -> Result<(), Error> {
    for entry in entries
        .iter()
        .filter(|entry| name::is_store(&entry.name) && entry.bytes > 0)
    {
        let holds = holds_bytes(&context.way.dir, entry);
        if context.call_off.unless_called(holds).await? {
            let (dir, file) = (context.way.dir.describe(), entry.name.clone());
            return Err(Error::NoManifest { dir, file });
        }
    }
    if let Some(told) = files_that_tell(context, entries).await? {
        let dir = context.way.dir.describe();
        return Err(Error::Gone { dir, told });
    }
    let is_leftover = |name: &str| name::is_store(name) || name == name::NEXT;
    for entry in entries.iter().filter(|entry| is_leftover(&entry.name)) {
        steps::remove(&context.way.dir, &entry.name).await?;
    }
    Ok(())
}

/// Whether anything but zeros is in a store. One that is longer than any that was ever made is not read: nobody knows what it is.
pub(crate) async fn holds_bytes<D: Dir>(dir: &D, entry: &Entry) -> Result<bool, Error> {
    let store = Store::closed(dir, entry.name.clone());
    Ok(STORE_BYTES_MAX < entry.bytes || settle::data_end(&store, entry.bytes).await? > 0)
}

/// All that tells that a log without a manifest had one, if anything does: the manifest is made before the mark is, and before
/// what lies beside its directory.
async fn files_that_tell<D: Dir>(
    context: &Context<D>,
    entries: &[Entry],
) -> Result<Option<String>, Error> {
    let mut told = Vec::new();
    if let Some(begun) = &context.begun
        && begun.is_there().await?
    {
        told.push(begun.describe());
    }
    if entries.iter().any(|entry| entry.name == mark::NAME) {
        let dir = context.way.dir.describe();
        told.push(format!("{dir}/{}", mark::NAME));
    }
    Ok((!told.is_empty()).then(|| told.join(" as well as ")))
}

/// Waits for writes to the manifest that a killed process may have left with the kernel: only then can
/// it be read for good.
pub(super) async fn outwait_manifest<D: Dir>(dir: &D) -> Result<(), Error> {
    let at = || At::new(dir, manifest::NAME);
    let opened = dir.open(manifest::NAME, Open::Write).await;
    let file = Rc::new(opened.map_err(|e| at().io("open", e))?);
    file.outwait().await.map_err(|e| at().space("outwait", e))?;
    file.close().await.map_err(|e| at().io("close", e))
}

/// Whether the manifest is that of the partition whose directory this is.
pub(super) fn check_identity<D: Dir>(
    context: &Context<D>,
    manifest: &Manifest<D>,
) -> Result<(), Error> {
    let (header, identity) = (manifest.header(), &context.identity);
    // The history id is the manifest's to tell: a restored log keeps that of its origin.
    let is_ours = header.topic == identity.topic && header.partition == identity.partition;
    match is_ours {
        true => Ok(()),
        false => Err(Error::Foreign {
            dir: context.way.dir.describe(),
            topic: header.topic,
            partition: header.partition,
            history: header.history,
        }),
    }
}

/// What becomes of a file.
enum Verdict {
    Keep,
    Remove,
    Quarantine(Reason),
}

impl<D: Dir> Recovery<D> {
    /// Refuses a manifest whose last edits are lost, by what the mark knows: files that hold what was promised would go to
    /// quarantine, and their offsets be given out again.
    pub(super) fn check_edits(&self) -> Result<(), Error> {
        let is_behind = |slot: &Slot| self.manifest.state().is_behind(slot);
        match self.slot.filter(is_behind) {
            None => Ok(()),
            Some(Slot {
                segment, offset, ..
            }) => {
                let at = At::new(&self.context.way.dir, manifest::NAME);
                Err(at.format(format::Error::LostEdits { segment, offset }))
            }
        }
    }

    /// Leaves only files that the manifest names: finishes removals, quarantines the unknown.
    pub(super) async fn tidy(&mut self) -> Result<(), Error> {
        if let Some(torn) = self.manifest.torn() {
            let (position, bytes) = (torn.start, torn.end - torn.start);
            let file = Store::closed(&self.context.way.dir, manifest::NAME.to_owned());
            let copied = self.quarantine_bytes(&file, torn, Reason::Torn).await;
            file.close().await?;
            copied?;
            self.manifest.cut_torn().await?;
            let event = Event::ManifestTorn { position, bytes };
            self.findings.events.note(event);
        }
        let segments = self.manifest.state().segments().iter();
        let named: BTreeSet<String> = segments
            .flat_map(|segment| name::files(segment.base, segment.generation))
            .collect();
        let mut is_moved = false;
        for entry in self.entries.clone() {
            if named.contains(&entry.name) {
                continue;
            }
            let verdict = self.judge(&entry).await?;
            if name::is_store(&entry.name) && !matches!(verdict, Verdict::Keep) {
                // With a clean mark nobody would wait for a write of the manifest that a kill leaves on its way.
                self.unset().await?;
                self.manifest.confirm().await?;
            }
            match verdict {
                Verdict::Keep => {}
                Verdict::Remove => {
                    steps::remove(&self.context.way.dir, &entry.name).await?;
                }
                Verdict::Quarantine(reason) => {
                    match self.move_to_quarantine(&entry.name, reason).await {
                        Ok(()) => is_moved = true,
                        // The log makes no file of such a name: it is in nobody's way.
                        Err(error) if !name::is_store(&entry.name) => {
                            let why = error.cause();
                            let file = entry.name.clone();
                            self.findings.events.note(Event::Stray { file, why });
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        match is_moved {
            true => self.context.way.sync().await,
            false => Ok(()),
        }
    }

    /// What becomes of a file that the manifest does not name.
    async fn judge(&self, entry: &Entry) -> Result<Verdict, Error> {
        let name = entry.name.as_str();
        let segments = self.manifest.state().segments();
        let is_ours = name == manifest::NAME || name == mark::NAME;
        let is_awaited = partial::is_kept(name, self.context.now.time) && self.may_come_in(name);
        if is_ours || entry.is_dir || is_awaited {
            return Ok(Verdict::Keep);
        }
        // An index only repeats what a store says.
        let is_leftover = name == name::NEXT || name.ends_with(ASIDE_SUFFIX);
        if is_leftover || name::is_index(name) || partial::is_partial(name) {
            return Ok(Verdict::Remove);
        }
        if name::is_store(name) {
            let first = segments.first().map(|segment| segment.base);
            let start = first.unwrap_or(self.manifest.state().log_start());
            if name::base(name).is_some_and(|base: Offset| base < start) {
                return Ok(Verdict::Remove); // Expired; its removal was interrupted.
            }
            let holds = holds_bytes(&self.context.way.dir, entry);
            if !self.reading(holds).await? {
                return Ok(Verdict::Remove);
            }
        }
        match planted::is(Bug::UnnamedAdopted) {
            true => Ok(Verdict::Keep),
            false if self.is_unfinished_copy(name) => Ok(Verdict::Quarantine(Reason::Torn)),
            false => Ok(Verdict::Quarantine(Reason::Unnamed)),
        }
    }

    /// Whether `name` is that of a store which was made to take the place of one that the log has, and did not: all that
    /// was promised is in that one.
    fn is_unfinished_copy(&self, name: &str) -> bool {
        let Some((base, generation)) = name::parse(name) else {
            return false;
        };
        let mut segments = self.manifest.state().segments().iter();
        segments.any(|segment| {
            let is_older = segment.base == base && segment.generation < generation;
            is_older
                && self
                    .length(&name::store(base, segment.generation))
                    .is_some()
        })
    }

    /// Copies a range of a store, or of the manifest, to quarantine, durably. Torn bytes are about to be cut, so without the copy
    /// there is no going on; damaged ones stay where they are. Returns whether there is a copy: of what the disk does not give,
    /// or has no space for, there is none.
    pub(super) async fn quarantine_bytes(
        &mut self,
        store: &Store<D>,
        range: Range<u64>,
        reason: Reason,
    ) -> Result<bool, Error> {
        if range.is_empty() {
            return Ok(true);
        }
        let position = Position::new(range.start).unwrap_or(Position::MAX);
        let taken = match self.context.way.open().await {
            Err(Error::StorageFull { .. }) if reason != Reason::Torn => return Ok(false),
            taken => taken?,
        };
        let name = self.context.way.named(reason, position, store.name());
        let bytes = range.end - range.start;
        for kept in quarantine::same(&name, &taken, bytes) {
            let is_copied = self.is_copied(store, &range, kept).await;
            self.context.call_off.check()?;
            if is_copied {
                return self.keep_copy(kept.to_owned()).await.map(|()| true);
            }
        }
        let name = quarantine::free(name, &taken);
        let target = (&self.context.way.quarantine, name.as_str());
        let check = || self.context.call_off.check();
        match copy_range(store, range, target, &check).await {
            Ok(()) => {
                self.findings.quarantined.push(name);
                Ok(true)
            }
            Err(error) if reason == Reason::Torn => Err(error),
            Err(Error::StorageFull { .. }) => Ok(false),
            Err(error) if error.is_unreadable() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the file `kept` in quarantine holds `range` of a store, as an opening before this one left it that came no
    /// further: tried again and again, it would fill the disk with copies.
    async fn is_copied(&self, store: &Store<D>, range: &Range<u64>, kept: &str) -> bool {
        let kept = Store::closed(&self.context.way.quarantine, kept.to_owned());
        let is_same = self.reading(copies::is_copied(store, range, &kept)).await;
        let closed = kept.close().await;
        closed.is_ok() && is_same.unwrap_or(false)
    }

    /// Has a file in quarantine that is there already stand for what was to be copied.
    async fn keep_copy(&mut self, kept: String) -> Result<(), Error> {
        steps::sync(&self.context.way.quarantine).await?;
        if !self.findings.quarantined.contains(&kept) {
            self.findings.quarantined.push(kept);
        }
        Ok(())
    }

    pub(super) async fn move_to_quarantine(
        &mut self,
        file: &str,
        reason: Reason,
    ) -> Result<(), Error> {
        let way = &self.context.way;
        let taken = way.open().await?;
        let check = || self.context.call_off.check();
        let name = way.take(file, reason, &taken, &check).await?;
        self.findings.events.note(Event::Unnamed {
            file: file.to_owned(),
            quarantined: name.clone(),
        });
        self.findings.quarantined.push(name);
        Ok(())
    }
}
