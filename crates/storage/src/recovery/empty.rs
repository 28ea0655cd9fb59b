//! Empty stores behind the log's end.

use std::collections::VecDeque;

use super::Recovery;
use crate::Error;
use crate::disk::Dir;
use crate::format::edit::{Edit, End};
use crate::segment::{Point, Segment, name};
use crate::steps;

impl<D: Dir> Recovery<D> {
    /// Drops the empty stores behind the log's end, and what is remembered of damage there, unless the next group belongs
    /// into them. To a
    /// read-only log nothing is appended: its last store is the one that holds bytes.
    pub(super) async fn drop_empty(
        &mut self,
        segments: &mut VecDeque<Segment<D>>,
        last: Option<usize>,
        end: Point,
    ) -> Result<(), Error> {
        let first = last.map_or(0, |last| last + 1);
        let is_next = |segment: &Segment<D>| {
            let base = segment.base;
            let is_there = self.length(&segment.store_name()).is_some();
            (base.offset, base.ordinal, base.chain) == (end.offset, end.ordinal, end.chain)
                && is_there
        };
        let is_right = segments.len() == first + 1 && segments.get(first).is_some_and(is_next);
        if self.findings.read_only_from.is_some() {
            // The manifest goes on naming them: nothing of a read-only log is changed.
            segments.truncate(first);
            return Ok(());
        }
        // An opening that was not given what follows may have remembered some.
        let known = self.manifest.state().damage();
        let is_damaged_behind = known.iter().any(|damage| end.offset < damage.to);
        if is_right && !is_damaged_behind {
            return self.settle_empty(&mut segments[first]).await;
        }
        if segments.len() <= first && !is_damaged_behind {
            return Ok(());
        }
        let epoch = self
            .manifest
            .state()
            .epochs()
            .last()
            .map(|began| began.epoch);
        let edit = End::at(end.place(), epoch);
        let gone = self.manifest.append(&Edit::TruncateSuffix(edit)).await?;
        self.findings.cut_damage(end.offset);
        segments.retain(|segment| gone.iter().all(|gone| gone.base != segment.base.offset));
        for file in gone
            .iter()
            .flat_map(|it| name::files(it.base, it.generation))
        {
            steps::remove(&self.context.way.dir, &file).await?;
        }
        Ok(())
    }

    /// Makes sure that the empty store into which the next group belongs is empty.
    async fn settle_empty(&mut self, segment: &mut Segment<D>) -> Result<(), Error> {
        let bytes = segment.space_bytes;
        match segment.store.clone() {
            Some(store) => {
                let nothing = self.nothing(segment);
                self.settle(segment, &store, nothing, bytes).await
            }
            None => Ok(()),
        }
    }
}
