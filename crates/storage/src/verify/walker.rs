//! Reading one store from its first batch to its last.

use std::io;

use corelog_record::batch::{HEADER_BYTES, Header, View};

use super::finding::{Finding, What};
use super::partition;
use super::store::{Checked, End, Hooks, StoreCheck};
use crate::disk::std::StdDir;
use crate::disk::std::stream::Stream;
use crate::epochs::is_of_its_epoch;
use crate::format::edit::Epoch;
use crate::format::index::Row;
use crate::index::{ROW_TRIES, UNREAD_TRIES};
use crate::scrub::Audit;
use crate::segment::Point;

/// A walk over a store.
pub(super) struct Walker<'a> {
    pub(super) check: &'a StoreCheck,
    pub(super) hooks: &'a Hooks<'a>,
    pub(super) stream: Stream,
    /// How much of the store there is to see, in bytes.
    pub(super) limit: u64,
    /// The point that rows are counted from.
    pub(super) base: Point,
    pub(super) point: Point,
    pub(super) audit: Audit,
    /// The epochs that batches must be of, oldest first.
    epochs: Vec<Epoch>,
    /// The whole index file; empty if it is of no use.
    pub(super) index: Vec<u8>,
    pub(super) row: usize,
    pub(super) row_ahead: Option<Row>,
    pub(super) row_position: u64,
    /// Why the index is wrong, once it is.
    pub(super) index_fault: Option<String>,
    pub(super) checked: Checked,
    told_bytes: u64,
    has_passed_mark: bool,
}

/// What stands at the point of the walk.
enum Step {
    Sound,
    Bad(String),
}

impl<'a> Walker<'a> {
    /// Reads the store of `check`.
    pub(super) fn check(check: &'a StoreCheck, hooks: &'a Hooks<'a>) -> Checked {
        match Self::begin(check, hooks) {
            Ok(walker) => walker.run(),
            Err(error) => {
                let mut findings = Vec::new();
                findings.extend(check.cannot_begin(&error));
                Checked {
                    findings,
                    ..Checked::default()
                }
            }
        }
    }

    fn begin(check: &'a StoreCheck, hooks: &'a Hooks<'a>) -> io::Result<Self> {
        let stream = Stream::open(&StdDir::new(&check.dir), &check.name)?;
        let bytes = stream.len()?;
        let limit = match &check.end {
            End::Sealed(end) => end.position.get().min(bytes),
            End::Open { .. } | End::Unknown => bytes,
        };
        let mut walker = Self {
            check,
            hooks,
            stream,
            limit,
            base: check.base,
            point: check.base,
            audit: Audit::new(check.base.offset),
            epochs: check.epochs.clone(),
            index: Vec::new(),
            row: 0,
            row_ahead: None,
            row_position: 0,
            index_fault: None,
            checked: Checked::default(),
            told_bytes: 0,
            has_passed_mark: false,
        };
        if let End::Sealed(end) = &check.end
            && end.position.get() < bytes
        {
            let found = format!("{bytes} bytes");
            walker.find(
                Finding::of(
                    What::Surplus,
                    check.path(),
                    format!("{} bytes", end.position),
                    found,
                )
                .at(end.position.get()),
            );
        }
        walker.load_index();
        Ok(walker)
    }

    pub(super) fn find(&mut self, finding: Finding) {
        self.checked.findings.push(finding);
    }

    fn run(mut self) -> Checked {
        self.walk();
        let mut data_end = self.data_end();
        while self.has_gone_on(&data_end) {
            self.walk();
            data_end = self.data_end();
        }
        self.end(data_end);
        self.tell(0);
        self.checked
    }

    /// Goes on to where nothing sound follows.
    fn walk(&mut self) {
        loop {
            self.meet_rows();
            self.meet_mark();
            if self.limit <= self.point.position.get() {
                break;
            }
            let step = match self.next() {
                Ok(step) => step,
                Err(error) => {
                    if !self.unreadable(&error) {
                        break;
                    }
                    continue;
                }
            };
            if let Step::Bad(why) = step
                && !self.bad(&why)
            {
                break;
            }
        }
    }

    /// Reads the next batch.
    fn next(&mut self) -> io::Result<Step> {
        let position = self.point.position.get();
        let head = visible(&mut self.stream, position, HEADER_BYTES, self.limit)?;
        let total = match Header::parse(head) {
            Ok(header) => header.total_bytes(),
            Err(error) => return Ok(Step::Bad(error.to_string())),
        };
        let bytes = visible(&mut self.stream, position, total, self.limit)?;
        let view = match View::verify(bytes.get(..total).unwrap_or(bytes)) {
            Ok(view) => view,
            Err(error) => return Ok(Step::Bad(error.to_string())),
        };
        if view.base_offset() != self.point.offset {
            let text = format!("a batch of offset {}", view.base_offset());
            return Ok(Step::Bad(text));
        }
        if !is_of_its_epoch(&view, &self.epochs) {
            // A server names an epoch before it writes the first batch of it.
            let now = partition::now(&self.check.dir).map(|state| state.epochs().to_vec());
            self.epochs = now.unwrap_or_default();
            if !is_of_its_epoch(&view, &self.epochs) {
                return Ok(Step::Bad("a batch of another epoch".to_owned()));
            }
        }
        self.audit.batch(view.header_bytes());
        let point = self.point.after(&view);
        self.checked.batches += 1;
        self.checked.records += u64::from(view.count());
        self.checked.bytes += total as u64;
        let failed = self.hooks.records.and_then(|records| records(&view).err());
        let offsets = self.point.offset..point.offset;
        self.point = point;
        if let Some(error) = failed {
            let file = self.check.path();
            let finding = Finding::of(What::Records, file, "records", error.to_string());
            self.find(finding.at(position).about(offsets));
        }
        self.tell(PROGRESS_BYTES);
        Ok(Step::Sound)
    }

    /// Says how far the walk has come, if it is more than `least` bytes further.
    fn tell(&mut self, least: u64) {
        let at = self.point.position.get();
        let bytes = at.saturating_sub(self.told_bytes);
        if least <= bytes && 0 < bytes {
            (self.hooks.progress)(bytes);
            self.told_bytes = at;
        }
    }

    /// Compares the walk with the mark, when it comes to it.
    fn meet_mark(&mut self) {
        let End::Open {
            marked: Some(marked),
            ..
        } = self.check.end
        else {
            return;
        };
        if self.has_passed_mark || self.point.position < marked.position {
            return;
        }
        self.has_passed_mark = true;
        let at = self.point;
        let is_there = (at.position, at.offset) == (marked.position, marked.offset);
        if !is_there || !self.audit.agrees(at.chain, marked.chain) {
            let expected = format!("offset {}, chain {}", marked.offset, marked.chain);
            let found = format!("offset {}, chain {}", at.offset, at.chain);
            let finding = Finding::of(What::Chain, self.check.path(), expected, found);
            self.find(
                finding
                    .at(marked.position.get())
                    .about(self.check.base.offset..marked.offset),
            );
            self.point = marked;
        }
    }

    /// Judges bytes that are no sound batch. Returns whether the walk goes on behind them.
    fn bad(&mut self, why: &str) -> bool {
        let at = self.point;
        let Some(until) = self.must_be_sound_until() else {
            return false;
        };
        let behind = self.behind(&until);
        self.point = behind.unwrap_or(until);
        let end = self.point.offset.min(until.offset).max(at.offset);
        let expected = format!("a sound batch of offset {}", at.offset);
        let finding = Finding::of(What::Batch, self.check.path(), expected, why);
        self.find(finding.at(at.position.get()).about(at.offset..end));
        true
    }

    /// Steps over what the disk does not give, by a row of the index.
    fn unreadable(&mut self, error: &io::Error) -> bool {
        let at = self.point;
        let until = self.must_be_sound_until();
        let behind = until.and_then(|until| self.row_behind(&until, UNREAD_TRIES));
        let end = behind
            .or(until)
            .map_or(at.offset.saturating_add(1), |point| point.offset);
        let what = What::of_error(error);
        let finding = Finding::of(what, self.check.path(), "bytes", error.to_string());
        self.find(finding.at(at.position.get()).about(at.offset..end));
        self.audit.step_over(behind.is_some());
        match behind.or(until) {
            Some(point) => self.point = point,
            None => return false,
        }
        true
    }

    /// Up to where all was promised to be sound, if that is ahead.
    fn must_be_sound_until(&self) -> Option<Point> {
        match self.check.end {
            End::Sealed(end) => Some(end),
            End::Open { marked, next, .. } => {
                let marked = marked.filter(|marked| self.point.position < marked.position);
                let next = next.filter(|next| self.point.offset < next.offset);
                marked.or_else(|| next.map(|next| self.at_end(&next)))
            }
            End::Unknown => None,
        }
    }

    /// The point `next` as the end of this store.
    fn at_end(&self, next: &Point) -> Point {
        Point {
            position: corelog_record::Position::new(self.limit).unwrap_or(self.point.position),
            ..*next
        }
    }

    /// Where a sound batch stands behind bad bytes: by their own length, or by a row.
    fn behind(&mut self, until: &Point) -> Option<Point> {
        let position = self.point.position.get();
        let head = visible(&mut self.stream, position, HEADER_BYTES, self.limit);
        let by_length = head.ok().and_then(|head| self.point.after_header(head));
        let by_length = by_length
            .filter(|behind| behind.position <= until.position)
            .filter(|behind| behind.position == until.position || self.is_sound_at(behind));
        let behind = by_length.or_else(|| self.row_behind(until, ROW_TRIES));
        self.audit.step_over(by_length.is_none());
        behind
    }

    pub(super) fn is_sound_at(&mut self, point: &Point) -> bool {
        let (position, limit) = (point.position.get(), self.limit);
        let Ok(head) = visible(&mut self.stream, position, HEADER_BYTES, limit) else {
            return false;
        };
        let Ok(header) = Header::parse(head) else {
            return false;
        };
        let total = header.total_bytes();
        let Ok(bytes) = visible(&mut self.stream, position, total, limit) else {
            return false;
        };
        let view = bytes.get(..total).map(View::verify);
        matches!(view, Some(Ok(view)) if view.base_offset() == point.offset)
    }
}

/// The bytes from `position` on, up to `limit`.
pub(super) fn visible(
    stream: &mut Stream,
    position: u64,
    wanted: usize,
    limit: u64,
) -> io::Result<&[u8]> {
    let left = usize::try_from(limit.saturating_sub(position)).unwrap_or(usize::MAX);
    let bytes = stream.at(position, wanted.min(left))?;
    Ok(&bytes[..bytes.len().min(left)])
}

/// How often the caller is told of progress, in bytes.
const PROGRESS_BYTES: u64 = 1 << 20;
