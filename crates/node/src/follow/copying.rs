//! What came from a source goes into the log, epoch by epoch.

use std::rc::Rc;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::epoch::Epoch;
use corelog_protocol::message::fetch;
use corelog_record::batch::{Batches, Header};
use corelog_record::{LeaderEpoch, Offset};
use corelog_storage::log::Begin;
use corelog_storage::log::lineage::Began;

use super::followed::Followed;
use super::lineage::{self, shared};
use super::task::{Following, Trouble};
use crate::core::Core;
use crate::failure::{Failure, failure};
use crate::partition::Change;

impl Following {
    /// Appends what came of what was asked for from `end` on; gives the log end, or nothing if an epoch among it is not known.
    pub(super) async fn append(
        &self,
        core: &Rc<Core>,
        mut end: Offset,
        answer: &fetch::Answer,
        mut body: &[u8],
        epochs: &[Epoch],
    ) -> Result<Option<Offset>, Trouble> {
        self.check_ends_at(core, end)?;
        while let Some((epoch, bytes)) = run_of(body) {
            let (run, rest) = body.split_at(bytes);
            if !self.enter(core, epoch, end, epochs).await? {
                return Ok(None);
            }
            let copied = core.copy(self.key, run, answer.segment_base).await;
            end = match copied {
                Ok(end) => end,
                Err(why) => {
                    let trouble = Trouble::of(why);
                    if matches!(trouble, Trouble::Stop(_)) {
                        self.check_ends_at(core, end)?;
                    }
                    return Err(trouble);
                }
            };
            body = rest;
        }
        if !body.is_empty() {
            let message = format!("behind offset {end} the source sent bytes that are no batch");
            return Err(Trouble::Again(failure(ErrorCode::BadSource, message)));
        }
        self.enter_next(core, end, epochs).await?;
        Ok(Some(end))
    }

    /// Whether the log still ends where it did. One that was opened anew meanwhile may have lost what was not durable: what
    /// was asked for does not follow it any more, which is no other log's.
    fn check_ends_at(&self, core: &Core, end: Offset) -> Result<(), Trouble> {
        let now = core.place(self.key).map_err(Trouble::Again)?.log_end;
        if now == end {
            return Ok(());
        }
        let message = format!("the log was opened anew: it ends at {now}, not at {end}");
        Err(Trouble::Again(failure(ErrorCode::Busy, message)))
    }

    /// Forgets epochs without batches that its source does not have: it began one of its own, and died
    /// before it owned the partition. A source that tells of none says nothing of them, unless it is the owner, which has had no
    /// record then. One that has none so late as came
    /// from another source was replaced by that one's owner: what it has more nobody takes in.
    ///
    /// Gives whether all of this log is the source's, too, as far as the epochs tell.
    pub(super) async fn forget_unused(
        &self,
        core: &Rc<Core>,
        (epochs, high_watermark): (&[Epoch], Offset),
        source: &Followed,
    ) -> Result<bool, Trouble> {
        let place = core.place(self.key).map_err(Trouble::Again)?;
        let mine = core.epochs(self.key).map_err(Trouble::Again)?;
        let common = shared((&mine, place.log_end), (epochs, high_watermark));
        let is_part = common.offset == place.log_end;
        let newest = mine.last().map(|last| last.epoch);
        let are_told = !epochs.is_empty() || source.is_owner();
        if are_told && is_part && common.epoch < newest {
            if lineage::newest(epochs) < newest && newest == self.copied.get() {
                self.earlier.set(self.earlier.get() + 1);
                return Err(Trouble::Again(replaced(newest)));
            }
            let forgotten = core.change(self.key, Change::Rejoin(common)).await;
            forgotten.map_err(Trouble::Again)?;
        }
        Ok(is_part)
    }

    /// Begins the epoch that began where the log ends: were this copy to take over now, its own has to
    /// be above.
    async fn enter_next(
        &self,
        core: &Rc<Core>,
        end: Offset,
        epochs: &[Epoch],
    ) -> Result<(), Trouble> {
        let place = core.place(self.key).map_err(Trouble::Again)?;
        let last = core.epoch(self.key).map_err(Trouble::Again)?;
        let next = epochs.iter().filter(|began| began.start == end);
        let next = next.map(|began| began.epoch).max();
        if place.has_files && last < next {
            self.enter(core, next, end, epochs).await?;
        }
        Ok(())
    }

    /// Begins `epoch` here as it began at the source, if it is not the one in force; false if the
    /// source has not told of it.
    async fn enter(
        &self,
        core: &Rc<Core>,
        epoch: Option<LeaderEpoch>,
        end: Offset,
        epochs: &[Epoch],
    ) -> Result<bool, Trouble> {
        if core.epoch(self.key).map_err(Trouble::Again)? == epoch {
            return Ok(true);
        }
        let Some(began) = epochs.iter().find(|began| Some(began.epoch) == epoch) else {
            return Ok(false);
        };
        core.durable(self.key, end).await.map_err(Trouble::Again)?;
        let change = Change::Epoch(Begin::Copied(Began {
            epoch: began.epoch,
            lineage: began.lineage,
            offset: began.start,
        }));
        core.change(self.key, change)
            .await
            .map_err(Trouble::Again)?;
        self.copied.set(Some(began.epoch));
        Ok(true)
    }
}

/// The source has none so late: another node owns the partition by now.
pub(super) fn replaced(epoch: Option<LeaderEpoch>) -> Failure {
    let epoch = epoch.unwrap_or_default();
    let message =
        format!("the source has no epoch {epoch}, which another one has: it owns nothing any more");
    failure(ErrorCode::SourceUnavailable, message)
}

/// The whole batches at the front of `bytes` that are of one epoch, in bytes, and that epoch. Their
/// checksums are not looked at.
fn run_of(bytes: &[u8]) -> Option<(Option<LeaderEpoch>, usize)> {
    let epoch_of = |batch: &[u8]| {
        let header = Header::parse(batch).ok()?;
        Some(LeaderEpoch::new(header.leader_epoch))
    };
    let mut run = None;
    for batch in Batches::over(bytes) {
        let Ok(batch) = batch else { break };
        let Some(epoch) = epoch_of(batch) else { break };
        match &mut run {
            None => run = Some((epoch, batch.len())),
            Some((first, bytes)) if *first == epoch => *bytes += batch.len(),
            Some(_) => break,
        }
    }
    run
}

#[cfg(test)]
mod tests {
    use corelog_record::Timestamp;
    use corelog_record::batch::{Builder, Codec, patch};

    use super::*;

    /// A batch of one record of an epoch.
    fn batch(epoch: i32) -> Vec<u8> {
        let mut builder = Builder::new(Codec::None);
        let record = Some(b"a record".as_slice());
        builder.append(Timestamp::ZERO, None, record, &[]).unwrap();
        let mut batch = builder.build().unwrap();
        patch(&mut batch, Offset::ZERO, LeaderEpoch::new(epoch).unwrap());
        batch
    }

    fn run(bytes: &[u8]) -> Option<(Option<i32>, usize)> {
        run_of(bytes).map(|(epoch, bytes)| (epoch.map(LeaderEpoch::get), bytes))
    }

    #[test]
    fn a_run_ends_where_another_epoch_begins() {
        let bytes = [batch(3), batch(3), batch(4)].concat();
        let two = 2 * batch(3).len();
        assert_eq!(run(&bytes), Some((Some(3), two)));
        assert_eq!(run(&bytes[two..]), Some((Some(4), batch(4).len())));
    }

    #[test]
    fn bytes_that_are_no_batch_are_no_run() {
        assert_eq!(run(&[]), None);
        assert_eq!(run(&[0xa5; 200]), None);
        let (whole, cut) = (batch(3), batch(3));
        let bytes = [&whole[..], &cut[..cut.len() - 1]].concat();
        assert_eq!(run(&bytes), Some((Some(3), whole.len())));
        assert_eq!(run(&bytes[whole.len()..]), None);
    }
}
