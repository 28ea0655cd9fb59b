//! Stepping over what is bad, or not given.

use super::super::rows::{Rows, Unreadable};
use super::Walk;
use crate::Error;
use crate::disk::Dir;
use crate::error::At;
use crate::index::{self, ROW_TRIES};
use crate::scan::{Scanner, Step};
use crate::segment::Point;

impl<D: Dir> Walk<D> {
    /// Steps over bytes that are no sound batch: by their own length, or by a row of the index, never
    /// by searching; else to the end of the segment. They are bad, but for those that are `unread`. Returns why something was
    /// not given, if it was not: if rows of the index, no more than the first offset is known to be bad.
    pub(super) async fn step_over(
        &mut self,
        scanner: &mut Scanner<D>,
        unread: Option<Error>,
    ) -> Result<Option<Error>, Error> {
        let (at, end) = (scanner.point(), self.target.end);
        let by_length = scanner.behind_bad().await?;
        let by_length = by_length.filter(|behind| behind.position <= end.position);
        let (behind, lost_rows) = match by_length {
            Some(behind) => (Some(behind), None),
            None => self.row_behind(scanner).await?,
        };
        self.audit.step_over(by_length.is_none());
        let behind = behind.unwrap_or(end);
        scanner.move_to(behind);
        if unread.is_none() {
            let to = match lost_rows {
                Some(_) => at.offset.saturating_add(1),
                None => behind.offset.min(end.offset),
            };
            self.bad.push(at.offset..to);
        }
        Ok(unread.or(lost_rows))
    }

    /// The first row behind at which a sound batch stands: each has a checksum of its own, whatever others are. And why the
    /// disk does not give all rows up to there, if it does not.
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
        let unread = rows.close().await;
        let at = || At::new(&self.target.dir, &self.target.index_name);
        Ok((behind?, unread.map(|error| at().io("read", error))))
    }

    async fn sound_row(
        &mut self,
        scanner: &mut Scanner<D>,
        rows: &mut Rows<D>,
    ) -> Result<Option<Point>, Error> {
        let at = scanner.point();
        let is_behind = |point: &Point| at.position < point.position && at.offset < point.offset;
        let mut tries = 0;
        (self.row, self.row_ahead) = (self.row_met, None);
        while tries < ROW_TRIES {
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
            let point = index::point(&self.target.base, &row).filter(is_behind);
            if let Some(point) = point {
                tries += 1;
                scanner.move_to(point);
                let is_sound = matches!(scanner.next().await?, Step::Batch(_));
                scanner.move_to(at);
                if is_sound {
                    return Ok(Some(point));
                }
            }
            (self.row, self.row_position) = (self.row + 1, row.position.into());
        }
        Ok(None)
    }
}
