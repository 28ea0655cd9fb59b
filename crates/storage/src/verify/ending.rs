//! Judging where a walk over a store came to its end.

use std::io;
use std::ops::Range;

use corelog_record::{Chain, Offset};

use super::finding::{Finding, What};
use super::store::{End, StoreCheck};
use super::walker::{Walker, visible};
use crate::disk::std::StdDir;
use crate::disk::std::stream::Stream;
use crate::format;
use crate::log::{STORE_BYTES_MAX, UNSYNCED_BYTES_MAX};
use crate::segment::Point;

impl Walker<'_> {
    /// Judges the end, behind which bytes lie up to `data_end`.
    pub(super) fn end(&mut self, data_end: io::Result<u64>) {
        let (at, position) = (self.point, self.point.position.get());
        let end = match self.check.end {
            End::Sealed(end) => {
                if position < end.position.get() {
                    let expected = format!("{} bytes", end.position);
                    let finding = Finding::of(
                        What::Batch,
                        self.check.path(),
                        expected,
                        format!("the end of the file at {position}"),
                    );
                    self.find(finding.at(position).about(at.offset..end.offset));
                    self.audit.step_over(true);
                    self.point = end;
                }
                end
            }
            End::Open { .. } | End::Unknown => match data_end {
                Ok(data_end) => self.open_end(data_end),
                Err(error) => {
                    let (file, error) = (self.check.path(), error.to_string());
                    let finding = Finding::of(What::Unreadable, file, "bytes", error);
                    self.find(finding.at(position));
                    self.as_stored()
                }
            },
        };
        if self.peek_row().is_some() && !self.index.is_empty() {
            self.wrong_index(format!("row {} points behind the end", self.row));
        }
        let verdict = self.audit.clone().conclude(&self.point, &end);
        for offsets in verdict.replaced {
            self.find_replaced(offsets, end.chain);
        }
        if !verdict.is_index_right
            && let Some(index) = &self.check.index
        {
            let why = self.index_fault.take();
            let why = why.unwrap_or_else(|| "rows of another chain".to_owned());
            let file = self.check.dir.join(&index.name);
            self.find(Finding::of(What::Index, file, "the store's index", why));
        }
    }

    fn find_replaced(&mut self, offsets: Range<Offset>, chain: Chain) {
        let finding = Finding::of(
            What::Chain,
            self.check.path(),
            format!("the batches that were appended, up to chain {chain}"),
            "sound batches that are others",
        );
        self.find(finding.about(offsets));
    }

    /// Judges the end of a store that is not sealed. Returns where it must be.
    fn open_end(&mut self, data_end: u64) -> Point {
        let promised = match self.check.end {
            End::Open {
                next: Some(next), ..
            } => {
                self.earlier_end(&next, data_end);
                return next;
            }
            End::Open { promised, .. } => promised,
            End::Sealed(_) | End::Unknown => Offset::ZERO,
        };
        self.last_end(promised, data_end);
        self.as_stored()
    }

    /// Where the walk has come to, by what the store has.
    fn as_stored(&self) -> Point {
        let chain = self.audit.stored(self.point.chain);
        Point {
            chain,
            ..self.point
        }
    }

    /// Judges the end of a store that is not sealed, and that ended before `next` was begun: it must end
    /// there, by offset and ordinal, and, as the verdict tells, by chain.
    fn earlier_end(&mut self, next: &Point, data_end: u64) {
        let (at, path) = (self.point, self.check.path());
        if (at.offset, at.ordinal) == (next.offset, next.ordinal) {
            return self.behind_end(data_end);
        }
        let place = |point: &Point| format!("offset {}, batch {}", point.offset, point.ordinal);
        let expected = format!("the next segment's begin at {}", place(next));
        let found = format!("the end of sound batches at {}", place(&at));
        // Batches up to there or beyond are others than those that were appended: which, nobody knows.
        let (what, from) = match at.offset < next.offset {
            true => (What::Batch, at.offset),
            false => (What::Chain, self.check.base.offset),
        };
        let finding = Finding::of(what, path, expected, found);
        self.find(finding.at(at.position.get()).about(from..next.offset));
        self.audit.step_over(true);
        let position = at.position;
        self.point = Point { position, ..*next };
    }

    /// Judges the end of a store behind which none holds a byte.
    fn last_end(&mut self, promised: Offset, data_end: u64) {
        let at = self.point;
        if at.offset < promised {
            let expected = format!("batches up to offset {promised}, which are durable");
            let found = format!("the end of sound batches at offset {}", at.offset);
            let finding = Finding::of(What::Batch, self.check.path(), expected, found);
            self.find(finding.at(at.position.get()).about(at.offset..promised));
        } else {
            self.behind_end(data_end);
        }
    }

    /// Judges what lies behind the last sound batch of a store that is not sealed.
    fn behind_end(&mut self, data_end: u64) {
        let (path, position) = (self.check.path(), self.point.position.get());
        if data_end <= position {
            return;
        }
        let bytes = data_end - position;
        let (what, expected) = match bytes <= UNSYNCED_BYTES_MAX as u64 {
            true => (What::Torn, "zeros"),
            false => (What::Batch, "a sound batch"),
        };
        let found = format!("{bytes} bytes that are no sound batch");
        self.find(Finding::of(what, path, expected, found).at(position));
    }

    /// Whether a server went on while the walk came to its end, so that more follows. That end was judged
    /// by a piece that was read before those behind it: if these hold more than is ever written without
    /// a sync, what stands there by now is whole, or damage.
    pub(super) fn has_gone_on(&mut self, data_end: &io::Result<u64>) -> bool {
        let at = self.point;
        let unsynced = at.position.get() + UNSYNCED_BYTES_MAX as u64;
        let is_far = data_end.as_ref().is_ok_and(|end| unsynced < *end);
        is_far && self.look_afresh().is_ok() && self.is_sound_at(&at)
    }

    /// Forgets what was read before.
    fn look_afresh(&mut self) -> io::Result<()> {
        self.stream = Stream::open(&StdDir::new(&self.check.dir), &self.check.name)?;
        self.limit = self.stream.len()?;
        Ok(())
    }

    /// The end of the last byte behind the walk's end that is not zero; of a sealed store its own length
    /// tells.
    pub(super) fn data_end(&mut self) -> io::Result<u64> {
        let position = self.point.position.get();
        if matches!(self.check.end, End::Sealed(_)) {
            return Ok(position);
        }
        if STORE_BYTES_MAX < self.limit {
            let (found, max) = (self.limit, STORE_BYTES_MAX);
            let too_long = format::Error::StoreTooLong { found, max };
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, too_long));
        }
        let (mut at, mut end) = (position, position);
        loop {
            let bytes = visible(&mut self.stream, at, 1, self.limit)?;
            if bytes.is_empty() {
                return Ok(end);
            }
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                end = at + last as u64 + 1;
            }
            at += bytes.len() as u64;
        }
    }
}

impl StoreCheck {
    /// Why a store that cannot be opened is a finding, if it is one.
    pub(super) fn cannot_begin(&self, error: &io::Error) -> Option<Finding> {
        let what = What::of_error(error);
        let offsets = match &self.end {
            End::Sealed(end) => self.base.offset..end.offset,
            End::Open {
                marked,
                next,
                promised,
            } if what == What::MissingStore => {
                let next = next.map_or(Offset::ZERO, |next| next.offset);
                let marked = marked.map_or(Offset::ZERO, |marked| marked.offset);
                let end = next.max(marked).max(*promised);
                // A store is added before it has a byte.
                if end <= self.base.offset {
                    return None;
                }
                self.base.offset..end
            }
            _ => self.base.offset..self.base.offset.saturating_add(1),
        };
        Some(Finding::of(what, self.path(), "a store", error.to_string()).about(offsets))
    }
}
