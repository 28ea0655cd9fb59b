//! Walking the whole log in order, by the same reads as [`super::ReadPlan`]s.

use std::collections::VecDeque;

use corelog_record::Offset;
use corelog_record::batch::{Header, View};

use super::Log;
use super::fetch::DiskRead;
use super::read::Fetched;
use super::select::Wanted;
use crate::Error;
use crate::disk::Dir;
use crate::segment::Segment;

/// Walks what was durable when it was made, batch by batch: every checksum, the offsets and the epochs are
/// verified, and the chain at the next index row or at the segment's end, before a batch is given.
/// Goes on while the log is appended to, and while segments expire: their files stay as long as a
/// reader may want them, and no longer than the reader.
///
/// Whoever uses it goes by the offsets of the batches: behind damage they jump.
pub struct Reader<D: Dir> {
    /// The next wanted offset.
    from: Offset,
    /// What is left to read, the first of them now.
    parts: VecDeque<DiskRead<D>>,
    /// Verified batches, and how many of their bytes were given.
    held: Option<Fetched<D>>,
    given: usize,
}

impl<D: Dir> Reader<D> {
    fn over(from: Offset, parts: VecDeque<DiskRead<D>>) -> Self {
        Self {
            from,
            parts,
            held: None,
            given: 0,
        }
    }

    /// The next batch; `None` at the end of the range.
    ///
    /// # Errors
    /// [`Error::Damaged`], after which it goes on where that says that the damage ends: behind the
    /// bad batch by its own length, or at an index row, or in the next segment. Any error of reading,
    /// after which it goes on with the next segment.
    pub async fn next(&mut self) -> Result<Option<View<'_>>, Error> {
        if self
            .held
            .as_ref()
            .is_none_or(|held| held.bytes <= self.given)
        {
            (self.held, self.given) = (self.read().await?, 0);
        }
        let Some(held) = &self.held else {
            return Ok(None);
        };
        let rest = held
            .pieces
            .first()
            .map_or(&[][..], |piece| &piece[self.given..]);
        let bytes = Header::parse(rest).map_or(rest.len(), |header| header.total_bytes());
        self.given += bytes;
        match rest.get(..bytes).map(View::verify) {
            Some(Ok(batch)) => {
                self.from = batch.next_offset();
                Ok(Some(batch))
            }
            // They were verified when they were read.
            Some(Err(_)) | None => Err(Error::Damaged {
                from: self.from,
                to: std::mem::replace(&mut self.from, held.next),
                segment: held.segment_base,
            }),
        }
    }

    /// The next run of batches. What cannot be read is behind it.
    async fn read(&mut self) -> Result<Option<Fetched<D>>, Error> {
        while let Some(part) = self.parts.front() {
            let end = part.end.offset;
            if self.from < end {
                let limit = part.limit_behind(self.from);
                let wanted = Wanted {
                    from: self.from,
                    limit,
                    bytes_max: READ_BYTES,
                };
                let read = match part.damage_at(self.from) {
                    Some(known) => Err(known.into()),
                    None => part.read(wanted).await,
                };
                match read {
                    Ok(fetched) if fetched.bytes > 0 => return Ok(Some(fetched)),
                    Ok(_nothing) if limit < end => {
                        self.from = limit;
                        continue;
                    }
                    Ok(_nothing) => {}
                    Err(error) => {
                        let behind = match error {
                            Error::Damaged { to, .. } => to.min(end),
                            _ => end,
                        };
                        assert!(
                            self.from < behind,
                            "a reader goes on behind what it cannot read"
                        );
                        self.from = behind;
                        return Err(error);
                    }
                }
            }
            self.parts.pop_front();
        }
        Ok(None)
    }
}

impl<D: Dir> Log<D> {
    /// A reader of what is durable now, from the batch that holds `from`, or from log start if that
    /// is higher.
    pub fn reader(&self, from: Offset) -> Reader<D> {
        let from = from.clamp(self.log_start, self.durable.offset);
        let first = self.segment_of(from).base.offset;
        let segments = self.segments.iter();
        let segments = segments.filter(|segment| first <= segment.base.offset);
        let parts = segments.flat_map(|segment| {
            // A walk over many segments must not leave them all open.
            let is_sealed = segment.is_sealed();
            let parts = self.parts_of(segment, from).into_iter();
            parts.map(move |read| if is_sealed { read.apart() } else { read })
        });
        Reader::over(from, parts.collect())
    }

    /// A reader of what is durable of `segment`, which judges anew what is known to be bad of it.
    pub(super) fn judge_of(&self, segment: &Segment<D>) -> Reader<D> {
        let from = segment.base.offset;
        let parts = self.parts_of(segment, from).into_iter();
        Reader::over(from, parts.map(|part| part.knowing(Vec::new())).collect())
    }

    /// What there is to read of `segment` from `from` on. The lower part of an index that is not whole in
    /// memory is a part of its own.
    fn parts_of(&self, segment: &Segment<D>, from: Offset) -> Vec<DiskRead<D>> {
        // Not by its bytes: of a store that is lost there are none, and whoever walks over it is told so.
        if self.durable_end(segment).offset <= segment.base.offset {
            return Vec::new();
        }
        let below = segment.below.as_ref().map(|below| below.end.offset);
        let starts = [Some(segment.base.offset), below].into_iter().flatten();
        let reads = starts.filter_map(|start| self.disk_read(segment, start.max(from)));
        reads.collect()
    }
}

/// So many bytes are read at once, unless a batch is larger.
const READ_BYTES: usize = 1 << 20;
