//! Where reading a partition begins and ends.

use std::time::Duration;

use corelog_protocol::message::list_offsets::{self, At};

use super::super::news::{Around, Begin, News};
use super::super::{End, Start};
use super::{Fetcher, Way};
use crate::Error;

impl Fetcher {
    /// If reading goes on behind a record that was read before.
    pub(super) fn goes_on(&self) -> bool {
        self.start.epoch().is_some()
    }

    /// Finds out where reading begins and ends, and tells, unless that may not be the log that was read.
    pub(super) async fn begin(&self, way: &mut Way) -> Result<Begin, Error> {
        let at = match self.start {
            Start::Earliest => At::Earliest,
            Start::Time(time) => At::Time(time),
            Start::Latest
            | Start::Offset(_)
            | Start::Behind { .. }
            | Start::Resumed { .. }
            | Start::LastN(_) => At::Latest,
        };
        let request = |id, _| list_offsets::Request {
            topic: (*self.topic).clone(),
            id,
            partition: self.partition,
            at,
        };
        let found = self.ask(way, Duration::ZERO, request).await;
        // What could not be opened is damaged from wherever it was to be read.
        let from = self.start.offset().unwrap_or_default();
        let found = found.map_err(|error| self.explain(from, error))?.head;
        let (log_start, high_watermark) = (found.log_start, found.high_watermark);
        let offset = match self.start {
            Start::Offset(offset)
            | Start::Behind { offset, .. }
            | Start::Resumed { offset, .. } => offset,
            Start::LastN(count) => {
                let readable = high_watermark.checked_since(log_start).unwrap_or(0);
                log_start.plus(readable.saturating_sub(count))
            }
            Start::Earliest | Start::Latest | Start::Time(_) => found.offset,
        };
        let is_beyond = high_watermark < offset && self.end != End::Follow;
        // Whether it is another log, which ends earlier, tells the fetch.
        if offset < log_start || (is_beyond && !self.goes_on()) {
            return Err(self.out_of_range(offset, log_start, high_watermark));
        }
        let end = match self.end {
            End::HighWatermark => Some(high_watermark),
            End::Offset(end) => Some(end.min(high_watermark)),
            End::Follow => None,
        };
        let since = match self.start {
            Start::Time(time) => Some(time),
            _ => None,
        };
        let epoch = match self.start {
            Start::Latest => found.epoch,
            // Where retention may be quicker, or somewhere else, it is not known.
            _ => self.start.epoch(),
        };
        let begin = Begin {
            topic: way.topic_id,
            offset,
            end,
            since,
            epoch,
        };
        let around = Around {
            log_start,
            high_watermark,
        };
        way.begun = Some(News::Begun { begin, around });
        if !self.goes_on() {
            self.tell_begun(way);
        }
        Ok(begin)
    }

    /// Tells where reading begins, where that is not told yet.
    pub(super) fn tell_begun(&self, way: &mut Way) {
        if let Some(begun) = way.begun.take() {
            self.tell(begun);
        }
    }

    /// What is left of the log if retention was quicker than the first fetch, and to begin with that is what was asked
    /// for: not where it was an offset, nor where it was all from now on.
    pub(super) fn left_by_retention(&self, error: &Error) -> Option<Around> {
        let may_begin_later = match self.start {
            Start::Earliest | Start::LastN(_) | Start::Time(_) => true,
            Start::Latest | Start::Offset(_) | Start::Behind { .. } | Start::Resumed { .. } => {
                false
            }
        };
        match *error {
            Error::OutOfRange {
                offset,
                log_start,
                high_watermark,
                ..
            } if may_begin_later && offset < log_start => Some(Around {
                log_start,
                high_watermark,
            }),
            _ => None,
        }
    }
}
