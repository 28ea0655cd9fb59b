//! Sealing what was read whole: whoever is killed again and again must not read it each time anew.

use std::collections::VecDeque;

use super::Recovery;
use crate::Error;
use crate::disk::Dir;
use crate::format::edit::{Edit, SEALS_MAX, Seals};
use crate::segment::{Segment, Stage, finish_all, seal};

impl<D: Dir> Recovery<D> {
    /// Seals the segments that ended before the last one and are whole. Without space for it they
    /// wait, as they would in a log that is open.
    pub(super) async fn seal(&mut self, segments: &mut VecDeque<Segment<D>>) -> Result<(), Error> {
        let is_due = |segment: &Segment<D>| segment.stage == Stage::Rolled && !segment.is_empty();
        let due = segments.iter().enumerate().filter(|(_, s)| is_due(s));
        let due: Vec<_> = due.map(|(number, _)| number).collect();
        for numbers in due.chunks(SEALS_MAX) {
            self.context.call_off.check()?;
            match self.seal_some(segments, numbers).await {
                Err(Error::StorageFull { .. }) if !self.manifest.is_in_doubt() => return Ok(()),
                other => other?,
            }
        }
        Ok(())
    }

    async fn seal_some(
        &mut self,
        segments: &mut VecDeque<Segment<D>>,
        numbers: &[usize],
    ) -> Result<(), Error> {
        let dir = self.context.way.dir.clone();
        let (history, stamp) = (self.manifest.header().history, self.context.now.stamp);
        let parts = numbers
            .iter()
            .filter_map(|n| Some((*n, segments[*n].finishing(&dir, history)?)));
        let (finished, mut parts): (Vec<_>, Vec<_>) = parts.unzip();
        finish_all(&mut parts).await?;
        let seals = numbers.iter().map(|n| seal(&segments[*n], stamp)).collect();
        self.manifest.append(&Edit::Seals(Seals { seals })).await?;
        for (number, part) in finished.into_iter().zip(&parts) {
            segments[number].finished(part);
        }
        for number in numbers {
            let segment = &mut segments[*number];
            segment.stage = Stage::Sealed(stamp);
            segment.index_in_file(&dir, history, self.context.interval_bytes);
        }
        Ok(())
    }
}
