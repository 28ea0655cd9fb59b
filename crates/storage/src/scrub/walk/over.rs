//! Stepping over what is bad, or not given.

use super::super::rows::{Rows, Unreadable};
use super::Walk;
use crate::Error;
use crate::disk::Dir;
use crate::error::At;
use crate::index::{self, ROW_TRIES, UNREAD_TRIES};
use crate::scan::Scanner;
use crate::segment::Point;

impl<D: Dir> Walk<D> {
    /// Steps over bytes that are no sound batch: by their own length, or by a row of the index, never
    /// by searching; else to the end of the segment. They are bad, but for those that are `unread`. Returns why something was
    /// not given, if it was not: if what led over them, no more than the first offset is known to be bad.
    pub(super) async fn step_over(
        &mut self,
        scanner: &mut Scanner<D>,
        unread: Option<Error>,
    ) -> Result<Option<Error>, Error> {
        let (at, end) = (scanner.point(), self.target.end);
        let (by_length, lost) = match scanner.behind_bad().await? {
            Ok(by_length) => (by_length, None),
            Err(unread) => (None, Some(unread.error)),
        };
        let (behind, lost_rows) = match by_length {
            Some(behind) => (Some(behind), None),
            None => self.row_behind(scanner).await?,
        };
        let lost = lost.or(lost_rows);
        self.audit.step_over(by_length.is_none());
        let behind = behind.unwrap_or(end);
        scanner.move_to(behind);
        if unread.is_none() {
            let to = match lost {
                Some(_) => at.offset.saturating_add(1),
                None => behind.offset.min(end.offset),
            };
            self.bad.push(at.offset..to);
        }
        Ok(unread.or(lost))
    }

    /// The first row behind at which a sound batch stands: each has a checksum of its own, whatever others are. And why the
    /// disk does not give all rows up to there, or what stands at one of them, if it does not.
    async fn row_behind(
        &mut self,
        scanner: &mut Scanner<D>,
    ) -> Result<(Option<Point>, Option<Error>), Error> {
        let mut rows = match self.target.rows().await {
            Ok(Some(rows)) => rows,
            // With descriptors it may be had.
            Err(error) if error.is_shortage() => return Err(error),
            other => return Ok((None, other.err())),
        };
        let behind = self.sound_row(scanner, &mut rows).await;
        let lost_rows = rows.close().await;
        let (behind, unread) = behind?;
        let at = || At::new(&self.target.dir, &self.target.index_name);
        let lost_rows = lost_rows.map(|error| at().io("read", error));
        Ok((behind, unread.or(lost_rows)))
    }

    async fn sound_row(
        &mut self,
        scanner: &mut Scanner<D>,
        rows: &mut Rows<D>,
    ) -> Result<(Option<Point>, Option<Error>), Error> {
        let (at, end) = (scanner.point(), self.target.end);
        let is_within = |point: &Point| {
            let is_behind = at.position < point.position && at.offset < point.offset;
            is_behind && point.position < end.position
        };
        let (mut tries, mut unread_tries, mut unread) = (0, 0, None);
        (self.row, self.row_ahead) = (self.row_met, None);
        while tries < ROW_TRIES && unread_tries < UNREAD_TRIES {
            let row = match rows.row(self.row).await {
                Ok(None) => break,
                Ok(Some(row)) => row,
                Err(Unreadable { rows }) => {
                    tries += 1;
                    self.row += rows;
                    self.audit.lacking_row();
                    continue;
                }
            };
            let point = index::point(&self.target.base, &row).filter(is_within);
            if let Some(point) = point {
                tries += 1;
                match scanner.stands_at(point).await? {
                    Ok(true) => return Ok((Some(point), unread)),
                    Ok(false) => {}
                    Err(found) => {
                        unread_tries += 1;
                        unread = Some(found.error);
                    }
                }
            }
            (self.row, self.row_position) = (self.row + 1, row.position.into());
        }
        Ok((None, unread))
    }
}
