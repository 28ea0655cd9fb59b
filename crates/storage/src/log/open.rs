//! Opening a log: what a clean stop left is believed, everything else is recovered.

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use corelog_record::{Chain, CopyId, LeaderEpoch, Lineage, Offset, Position, Timestamp};

use super::damage::Found;
use super::fence::Fence;
use super::held::Held;
use super::mark::Marked;
use super::options::draw;
use super::scrub::Scrub;
use super::space::Hurry;
use super::sums::Sums;
use super::tail::Tail;
use super::{Begun, Damage, Event, Events, Identity, Log, Options};
use crate::disk::Dir;
use crate::format::damage::Known;
use crate::recovery::{Context, Findings, Recovered, recover};
use crate::segment::{Point, Segment};
use crate::{Error, Now};

/// What opening found and did; worth one log line if anything but `is_clean` is unusual.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenReport {
    /// The oldest readable offset.
    pub log_start: Offset,
    /// The end of the log.
    pub log_end: Offset,
    /// The epoch that appends are stamped with.
    pub epoch: LeaderEpoch,
    /// Whether the log was closed cleanly, or has no files.
    pub is_clean: bool,
    /// Bytes that were never promised, cut from the end.
    pub torn: Option<Torn>,
    /// Bytes that were promised and cannot be trusted.
    pub damage: Vec<Damage>,
    /// Names of the files that went to quarantine.
    pub quarantined: Vec<String>,
    /// Whether the log accepts no appends, because damage at its end could not be stepped over.
    pub is_read_only: bool,
}

impl OpenReport {
    /// Whether the log did not end in order; one that takes nothing more is marked as clean by no end.
    #[must_use]
    pub const fn is_unclean(&self) -> bool {
        !self.is_clean && !self.is_read_only
    }
}

/// A torn tail: bytes behind the last whole batch, which were never acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Torn {
    /// The base offset of the segment.
    pub segment: Offset,
    /// The log end, at which they were cut.
    pub offset: Offset,
    /// Where in the store they began.
    pub position: Position,
    /// How many bytes.
    pub bytes: u64,
    /// How many bytes of whole batches lay between the last mark and the cut.
    pub bytes_since_mark: u64,
}

impl<D: Dir> Log<D> {
    /// Opens the log in `dir`, which need not exist: a partition without records has no files.
    /// Quarantined bytes go to `quarantine`. `seed` feeds the random ids, `now` the times.
    ///
    /// # Errors
    /// Any error of the disk; [`Error::NoManifest`], [`Error::Foreign`], [`Error::Format`] for files
    /// that are not this partition's, or need a newer program; [`Error::Gone`]; [`Error::CalledOff`].
    pub async fn open(
        dir: D,
        quarantine: D,
        identity: Identity,
        options: Options,
        seed: u64,
        now: impl Into<Now>,
    ) -> Result<(Self, OpenReport), Error> {
        let now = now.into();
        Self::open_any(dir, quarantine, None, identity, options, seed, now).await
    }

    /// The same of a log of which `begun` tells from its first files on: where it does and they are gone, the log is not
    /// opened as a new one, and what is left is not touched.
    ///
    /// # Errors
    /// As for [`Log::open`].
    pub async fn open_beside(
        dir: D,
        quarantine: D,
        begun: Begun<D>,
        identity: Identity,
        options: Options,
        seed: u64,
        now: impl Into<Now>,
    ) -> Result<(Self, OpenReport), Error> {
        let (begun, now) = (Some(begun), now.into());
        Self::open_any(dir, quarantine, begun, identity, options, seed, now).await
    }

    async fn open_any(
        dir: D,
        quarantine: D,
        begun: Option<Begun<D>>,
        identity: Identity,
        options: Options,
        mut seed: u64,
        now: Now,
    ) -> Result<(Self, OpenReport), Error> {
        let copy = CopyId::from_bytes(draw(&mut seed, &identity));
        let lineage = Lineage::from_bytes(draw(&mut seed, &identity));
        let mut log = Self::empty(dir, quarantine, identity, options, (seed, copy), now.time);
        let context = Context {
            way: log.way(now.time),
            begun: begun.clone(),
            identity,
            interval_bytes: log.options.index_interval_bytes,
            now,
            ownership: log.options.ownership,
            ends_before_unread: log.options.ends_before_unread,
            call_off: log.options.call_off.clone(),
            lineage,
        };
        let mut findings = Findings {
            is_clean: true,
            ..Findings::default()
        };
        if let Some(recovered) = recover(context).await? {
            findings = log.take_over(recovered, now.time);
        }
        log.untold = begun;
        log.tell_of_files().await;
        let report = OpenReport {
            log_start: log.log_start,
            log_end: log.log_end(),
            epoch: log.epoch(),
            is_clean: findings.is_clean,
            torn: findings.torn,
            damage: findings.damage.to_vec(),
            quarantined: findings.quarantined,
            is_read_only: findings.read_only_from.is_some(),
        };
        Ok((log, report))
    }

    /// Has something tell of files that are there, which an earlier version or a copy may have left without. That it is durable
    /// is for what comes first to see to, so is that it is made if it cannot be now: what is there can be read all the same.
    async fn tell_of_files(&mut self) {
        if let Some(begun) = self.untold.as_ref().filter(|_| self.has_files())
            && let Err(error) = begun.create().await
        {
            let why = error.cause();
            self.events.note(Event::Untold { why });
        }
    }

    /// A log without files.
    fn empty(
        dir: D,
        quarantine: D,
        identity: Identity,
        options: Options,
        (seed, copy): (u64, CopyId),
        now: Timestamp,
    ) -> Self {
        let origin = Point::origin(Chain::seed(identity.history));
        Self {
            dir,
            quarantine,
            untold: None,
            identity,
            options,
            seed,
            copy,
            epochs: Rc::default(),
            epoch_used: None,
            fence: Fence::default(),
            segments: VecDeque::from([Segment::new(origin)]),
            sums: Sums::default(),
            log_start: Offset::ZERO,
            durable: origin,
            durable_segment: Offset::ZERO,
            durable_total: 0,
            idle_total: 0,
            tail: Tail::new(Vec::new()),
            manifest: Held::Missing,
            mark: Held::Missing,
            marked: Marked {
                ordinal: origin.ordinal,
                total: 0,
                time: now,
                synced_at: now,
                is_synced: true,
                is_clean: false,
                heard: None,
                retry_at: now,
            },
            in_flight_bytes: 0,
            is_flush_preparing: false,
            group_bytes: 0,
            chore: None,
            hurry: Hurry::default(),
            next: None,
            time_heard: now,
            is_full: false,
            is_out_of_files: false,
            space_retry_at: now,
            next_retry_at: now,
            seal_retry_at: now,
            index_retry_at: now,
            index_checks: Cell::new(0),
            garbage: Vec::new(),
            reuse_retry_at: now,
            remove_retry_at: now,
            damage: Known::default(),
            unread: Vec::new(),
            found: Found::default(),
            events: Events::default(),
            unwritten: BTreeSet::new(),
            scrub: Scrub::default(),
            read_only_from: None,
        }
    }

    /// Takes over what recovery found.
    fn take_over(&mut self, recovered: Recovered<D>, now: Timestamp) -> Findings {
        let Recovered {
            manifest,
            mark,
            segments,
            durable,
            durable_segment,
            ..
        } = recovered;
        let mut findings = recovered.findings;
        self.events = std::mem::take(&mut findings.events);
        let header = manifest.header();
        (self.copy, self.identity.history) = (header.copy, header.history);
        self.log_start = manifest.state().log_start();
        self.scrub = Scrub::since(manifest.state().scrubbed());
        self.epochs = manifest.state().epochs().into();
        let last = self.epochs.last().map(|last| last.epoch);
        self.epoch_used = mark.last().and_then(|slot| slot.epoch).max(last);
        self.sums = Sums::over(&segments);
        self.segments = segments;
        self.durable = durable;
        self.durable_segment = durable_segment;
        self.tail = Tail::new(recovered.partial);
        // What was put in order after a clean stop had to take it back.
        let is_still_clean = mark.last().is_some_and(|slot| slot.is_clean);
        self.manifest = Held::Here(manifest);
        self.mark = Held::Here(mark);
        self.marked.ordinal = durable.ordinal;
        self.marked.time = now;
        self.marked.is_clean = findings.is_clean && is_still_clean;
        self.marked.is_synced = findings.is_clean;
        self.damage.clone_from(&findings.damage);
        // The manifest may have ranges apart that are one.
        if !self.damage.is_empty() {
            self.unwrite_all();
        }
        let mut sealed = self.segments.iter().filter(|it| it.is_sealed());
        if sealed.any(|it| !it.is_index_written) {
            self.write_index_later(now);
        }
        self.unread = std::mem::take(&mut findings.unread);
        self.read_only_from = findings.read_only_from;
        assert!(
            self.log_start <= self.durable.offset,
            "log start lies within what is durable"
        );
        assert_eq!(
            self.log_end(),
            self.durable.offset,
            "all that was recovered is durable"
        );
        findings
    }
}
