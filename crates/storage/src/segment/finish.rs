//! Giving segments that are not written to any more their final files, several at once.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use corelog_record::{HistoryId, Offset, Timestamp};

use super::{Below, Point};
use crate::Error;
use crate::disk::Dir;
use crate::format::edit::{Digest, Seal};
use crate::index::Builder;
use crate::steps;
use crate::store::Store;

use super::Segment;

/// A segment on its way: its store is cut to its length and synced, its index is written.
pub(crate) struct Finishing<D: Dir> {
    pub(crate) dir: D,
    pub(crate) history: HistoryId,
    pub(crate) base: Point,
    pub(crate) store: Rc<Store<D>>,
    pub(crate) bytes: u64,
    pub(crate) index_name: String,
    pub(crate) rows: Builder,
    pub(crate) below: Option<Below<D>>,
    /// Whether the index has its file; without space for it the rows stay in memory.
    pub(crate) is_index_written: bool,
}

impl<D: Dir> Finishing<D> {
    /// The base offset of the segment.
    pub(crate) fn segment(&self) -> Offset {
        self.base.offset
    }

    /// The bytes of its batches are durable already: the sync is for the length.
    async fn run(&mut self) -> Result<(), Error> {
        self.store.cut(self.bytes).await?;
        if let Some(below) = self.below.take() {
            let lower = match below.index.load_all().await {
                Ok(lower) => lower.to_vec(),
                // Which of the batches below are those that were appended nothing tells: those behind have their rows.
                Err(Error::Damaged { .. }) => Vec::new(),
                // They are made when they are used. What may lead there is not written over.
                Err(_) => {
                    let at_hand = below.index.at_hand().await;
                    self.below = Some(below);
                    match at_hand {
                        Ok(lower) => lower,
                        // Without its rows it would be read up to the next one, or not at all: it is sealed later.
                        Err(error) if error.is_shortage() => return Err(error),
                        Err(_) => return Ok(()),
                    }
                }
            };
            self.rows = Builder::joined(lower, &self.rows);
        }
        self.rows.end(self.bytes);
        let index = self.rows.encode(self.history, &self.base);
        // Sealing must go on when the disk is full.
        self.is_index_written = steps::write_hint(&self.dir, &self.index_name, &index).await?;
        Ok(())
    }
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;

/// Finishes all segments at once, so that the syncs of one journal serve all of them.
///
/// # Errors
/// Any error of the disk, after all have come to their end.
pub(crate) async fn finish_all<D: Dir>(all: &mut [Finishing<D>]) -> Result<(), Error> {
    let mut running: Vec<Running<'_>> = Vec::new();
    for one in all {
        running.push(Box::pin(one.run()));
    }
    let mut outcome = Ok(());
    poll_fn(move |context| {
        running.retain_mut(|one| match one.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(result) => {
                if outcome.is_ok() {
                    outcome = result;
                }
                false
            }
        });
        match running.is_empty() {
            true => Poll::Ready(std::mem::replace(&mut outcome, Ok(()))),
            false => Poll::Pending,
        }
    })
    .await
}

/// What the manifest is told of a segment that will never change.
pub(crate) fn seal<D: Dir>(segment: &Segment<D>, stamp: Timestamp) -> Seal {
    let Segment { base, end, .. } = segment;
    Seal {
        digest: Digest::original(base.place(), end.place(), segment.bytes()),
        max_timestamp: end.max_timestamp,
        sealed: stamp,
    }
}
