//! Judging where a walk over a store came to its end.

use std::io;
use std::ops::Range;

use corelog_record::{Chain, Offset};

use super::finding::{Finding, What};
use super::store::{End, StoreCheck};
use super::walker::{Walker, visible};
use crate::log::UNSYNCED_BYTES_MAX;
use crate::segment::Point;

impl Walker<'_> {
    /// Judges the end.
    pub(super) fn end(&mut self) {
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
            End::Open { next, promised, .. } => {
                self.open_end(next, promised);
                Point {
                    chain: self.audit.stored(self.point.chain),
                    ..self.point
                }
            }
            End::Unknown => {
                self.open_end(None, Offset::ZERO);
                Point {
                    chain: self.audit.stored(self.point.chain),
                    ..self.point
                }
            }
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

    /// Judges what lies behind the last sound batch of a store that is not sealed.
    fn open_end(&mut self, next: Option<Point>, promised: Offset) {
        let (at, position) = (self.point, self.point.position.get());
        let data_end = match self.data_end(position) {
            Ok(end) => end,
            Err(error) => {
                let file = self.check.path();
                let finding = Finding::of(What::Unreadable, file, "bytes", error.to_string());
                return self.find(finding.at(position));
            }
        };
        let path = self.check.path();
        if let Some(next) = next
            && at.offset != next.offset
        {
            let expected = format!("the next segment's offset {}", next.offset);
            let found = format!("the end of sound batches at offset {}", at.offset);
            let offsets = at.offset.min(next.offset)..next.offset;
            let finding = Finding::of(What::Batch, path, expected, found);
            return self.find(finding.at(position).about(offsets));
        }
        if next.is_none() && at.offset < promised {
            let expected = format!("batches up to offset {promised}, which are durable");
            let found = format!("the end of sound batches at offset {}", at.offset);
            let finding = Finding::of(What::Batch, path, expected, found);
            return self.find(finding.at(position).about(at.offset..promised));
        }
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

    /// The end of the last byte behind `position` that is not zero.
    fn data_end(&mut self, position: u64) -> io::Result<u64> {
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
            _ => self.base.offset..self.base.offset.plus(1),
        };
        Some(Finding::of(what, self.path(), "a store", error.to_string()).about(offsets))
    }
}
