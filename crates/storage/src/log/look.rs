//! Looking at bytes of a store: which of them are wanted, and whether they can be believed.

use corelog_record::Offset;
use corelog_record::batch::{HEADER_BYTES, Header, View};

use super::select::{Taken, Wanted};
use crate::epochs::is_of_its_epoch;
use crate::format::edit::Epoch;
use crate::segment::Point;

/// What a look gave.
pub(super) enum Look {
    /// Wanted batches, each verified, and the chain up to a point behind the last one.
    Taken(Taken),
    /// There is no wanted batch.
    None,
    /// The bytes end too early: all is right up to `sure`, for more so many bytes are needed from the
    /// start on.
    Short {
        /// Where to go on looking.
        sure: Point,
        /// How many bytes.
        needed: usize,
    },
    /// Between these points, at which the chain is known, something is not as it was appended. Where
    /// the second one is, is not always known.
    Doubt {
        /// The last point that is right.
        sure: Point,
        /// The next one that would be.
        check: Option<Point>,
    },
    /// These offsets cannot be trusted.
    Bad {
        /// The first one.
        from: Offset,
        /// The first one behind.
        to: Offset,
    },
}

/// A look under way.
struct Walk<'a> {
    bytes: &'a [u8],
    epochs: &'a [Epoch],
    wanted: Wanted,
    /// Where the next batch begins in the bytes.
    at: usize,
    point: Point,
    /// The last point at which the chain was found right.
    sure: Point,
    /// The next point at which the chain is known.
    check: Option<Point>,
    /// What is wanted up to `sure`, and up to `point`.
    sure_taken: Option<Taken>,
    taken: Option<Taken>,
    /// Whether nothing behind is wanted.
    is_done: bool,
    /// A wanted batch whose header leads on, and whose checksum is wrong, or its epoch.
    bad: Option<(Offset, Offset)>,
}

impl Look {
    /// Looks at `bytes`, which begin with the batch at `start`, of a log with these `epochs`; `check` tells the
    /// next point behind another at which the chain is known.
    pub(super) fn at(
        bytes: &[u8],
        start: Point,
        wanted: Wanted,
        epochs: &[Epoch],
        check: impl Fn(&Point) -> Option<Point>,
    ) -> Self {
        let mut walk = Walk {
            bytes,
            epochs,
            wanted,
            at: 0,
            point: start,
            sure: start,
            check: check(&start),
            sure_taken: None,
            taken: None,
            is_done: false,
            bad: None,
        };
        loop {
            if let Some(look) = walk.step() {
                return look;
            }
            let is_there = walk
                .check
                .is_none_or(|check| check.position == walk.point.position);
            if !is_there {
                continue;
            }
            if let Some(look) = walk.confirm() {
                return look;
            }
            walk.check = check(&walk.point);
        }
    }
}

impl Walk<'_> {
    /// Goes over one batch.
    fn step(&mut self) -> Option<Look> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if rest.len() < HEADER_BYTES {
            let end = self
                .check
                .map_or(self.at + HEADER_BYTES, |check| self.up_to(&check));
            return Some(self.short(end));
        }
        let next = self.point.after_header(rest);
        let is_within = |next: &Point| self.check.is_none_or(|c| next.position <= c.position);
        let Some(next) = next.filter(is_within) else {
            return Some(self.in_doubt());
        };
        let bytes = self.up_to(&next) - self.at;
        if !self.is_done && self.bad.is_none() && self.wanted.from < next.offset {
            let begin = self
                .taken
                .as_ref()
                .map_or(self.at, |taken| taken.range.start);
            let is_too_much = self.at + bytes - begin > self.wanted.bytes_max;
            let is_above = self.wanted.limit < next.offset;
            if self.taken.is_some() && (is_above || is_too_much) {
                self.is_done = true;
            } else if let Some(batch) = rest.get(..bytes) {
                // The chain does not tell its epoch behind damage, nor by rows that were made from what is there.
                let is_right = |batch| is_of_its_epoch(&batch, self.epochs);
                if !View::verify(batch).is_ok_and(is_right) {
                    // How many records it has cannot be believed either.
                    let to = next.offset.min(self.wanted.limit);
                    self.bad = Some((self.point.offset, to));
                } else if is_above {
                    self.is_done = true;
                } else {
                    self.taken = Some(Taken {
                        range: begin..self.at + bytes,
                        next: next.offset,
                    });
                }
            } else {
                let end = self.check.map_or(0, |check| self.up_to(&check));
                return Some(self.short(end.max(self.at + bytes)));
            }
        }
        self.at += bytes;
        self.point = next;
        None
    }

    /// Compares the chain where it is known. Where nothing is known any more, behind damage, batches
    /// stand for themselves.
    fn confirm(&mut self) -> Option<Look> {
        let is_right =
            |check: Point| (check.offset, check.chain) == (self.point.offset, self.point.chain);
        if !self.check.is_none_or(is_right) {
            return Some(self.in_doubt());
        }
        self.sure = self.point;
        self.sure_taken.clone_from(&self.taken);
        if let Some((from, to)) = self.bad {
            let bad = Look::Bad { from, to };
            return Some(self.sure_taken.take().map_or(bad, Look::Taken));
        }
        self.is_done
            .then(|| self.sure_taken.take().map_or(Look::None, Look::Taken))
    }

    /// How many bytes there are up to `point`.
    fn up_to(&self, point: &Point) -> usize {
        let ahead = point.position.get() - self.point.position.get();
        self.at + usize::try_from(ahead).unwrap_or(usize::MAX)
    }

    /// The bytes end here: what is sure is enough, if it is anything.
    fn short(&mut self, needed: usize) -> Look {
        let sure = self.sure;
        let short = Look::Short { sure, needed };
        self.sure_taken.take().map_or(short, Look::Taken)
    }

    fn in_doubt(&mut self) -> Look {
        let (sure, check) = (self.sure, self.check);
        let doubt = Look::Doubt { sure, check };
        self.sure_taken.take().map_or(doubt, Look::Taken)
    }
}

/// Where a sound batch stands behind the bad one at `at`, with which `bytes` begin, by the bad one's
/// own length. What the chain is there is not known, and its base offset lies outside its checksum: that
/// is believed if the bad one's count leads to it, or it leads to the next batch.
pub(super) fn behind(bytes: &[u8], at: &Point) -> Option<Point> {
    let bad = Header::parse(bytes).ok()?;
    let rest = bytes.get(bad.total_bytes()..)?;
    let length = Header::parse(rest).ok()?.total_bytes();
    let view = View::verify(rest.get(..length)?).ok()?;
    let span = u64::try_from(bad.last_offset_delta).ok();
    let counted = span.and_then(|span| at.offset.checked_add(span)?.checked_add(1));
    let is_led_to = || {
        let next = Header::parse(rest.get(length..)?).ok()?;
        let base = Offset::new(u64::try_from(next.base_offset).ok()?)?;
        (base == view.next_offset()).then_some(())
    };
    let offset = view.base_offset();
    let is_believed = counted == Some(offset) || is_led_to().is_some();
    (is_believed && at.offset < offset).then_some(Point {
        offset,
        position: at.position.checked_add(bad.total_bytes() as u64)?,
        ..*at
    })
}
