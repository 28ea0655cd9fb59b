//! Partitions of this core of which a copy has more than they have: what was acknowledged is gone here, as where files were put
//! back from an older copy. The owner takes records all the same, beside those that the copy alone has.

use std::rc::Rc;

use corelog_protocol::message::segments;
use corelog_record::TopicName;
use corelog_storage::format::replica::Peer;

use super::GONE_TIMEOUT;
use super::lineage::{lost_behind, newest};
use crate::core::{Core, PartitionKey};
use crate::failure::Failure;
use crate::metrics::set;
use crate::rt;

impl Core {
    /// Counts the partitions of which a copy has more. One that follows has no more than is here.
    pub(super) fn count_ahead(&self) {
        let is_it = |key, copy| self.is_follower(key, copy) && self.is_silent(key, copy);
        let count = self.followers.ahead.count(is_it);
        set(&self.counters.surpassed_partitions, count as u64);
    }

    /// Looks whether a copy that owns nothing has more of a partition than its owner, this node, and tells so once. It is served
    /// on: by the copy alone nobody can say that this was not wanted.
    pub(super) async fn look_if_ahead(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        (by, log): (&Peer, Option<&segments::Answer>),
    ) {
        let Some(there) = log else { return };
        // What it does not tell now it is asked for again, as long as it is silent.
        let looking = self.compare_with(topic, key, (by, there));
        let _ = rt::timeout(GONE_TIMEOUT, looking).await;
    }

    async fn compare_with(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        (by, there): (&Peer, &segments::Answer),
    ) -> Result<(), Failure> {
        // Of a log that damage ends it is told already that others may have more.
        if there.copy != by.copy || self.check_not_read_only(key).is_err() {
            return Ok(());
        }
        let (ahead, copy_end) = (&self.followers.ahead, there.high_watermark);
        let common = self.common_with(key, there)?;
        let newest = [self.epoch(key)?, newest(&there.epochs)];
        if let Some(common) = lost_behind(common, copy_end, newest) {
            if ahead.note(key, by.copy) {
                tracing::error!(
                    %topic, partition = key.partition.get(), common = common.get(),
                    end = self.place(key)?.log_end.get(), copy_end = copy_end.get(), by = by.address,
                    "a copy (`by`) has what was acknowledged from `common` to `copy_end`, and this node, its owner, has that no more, as \
                     where files were put back from an older copy: before more is produced here, promote that one and rejoin it"
                );
            }
        } else if ahead.knows(key, by.copy) && copy_end <= self.place(key)?.log_end {
            let line = self.line_to(&by.address).await?;
            // What came since may be other records. It is asked rarely, and large.
            if Box::pin(self.is_same_at(&line, topic, key, copy_end)).await? {
                ahead.settle(key, by.copy);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use corelog_protocol::message::chain_at;
    use corelog_protocol::message::epoch::Epoch;
    use corelog_record::{Chain, LeaderEpoch, Lineage, NodeId, Offset};

    use super::*;
    use crate::core::tests::{cold_batches, logged, with_core};
    use crate::follow::line::tests::{log, node, tell};
    use crate::follow::told;

    /// What came beside the records that only the copy had would have ended the alert as soon as there were as many.
    #[test]
    fn that_a_copy_has_more_is_told_once_and_known_until_the_two_are_the_same() {
        let (answer, answers) = mpsc::channel::<chain_at::Answer>();
        let address = node(move |mut stream, mut received| {
            for chain in answers {
                tell::<chain_at::Request>(&mut stream, &mut received, &chain);
            }
        });
        with_core(|core| async move {
            let (topic, key) = cold_batches(&core, 2).await;
            let (place, epochs) = (core.place(key).unwrap(), core.epochs(key).unwrap());
            let end = place.log_end;
            let there = |end| segments::Answer {
                history: place.history,
                epochs: told(&epochs),
                ..log(Offset::ZERO, end)
            };
            let by = Peer {
                node: NodeId::from_bytes([2; 16]),
                copy: there(end).copy,
                address,
            };
            let looked = async |there: segments::Answer, chain: Option<Chain>| {
                let chain = chain.map(|chain| chain_at::Answer {
                    offset: end,
                    ordinal: place.durable.ordinal,
                    chain,
                    epoch: None,
                });
                chain
                    .into_iter()
                    .for_each(|chain| answer.send(chain).unwrap());
                let looking = core.compare_with(&topic.name, key, (&by, &there));
                let lines = logged(async { looking.await.unwrap() }).await;
                let count = lines
                    .iter()
                    .filter(|line| line.contains("copy_end"))
                    .count();
                (count, core.followers.ahead.count(|_, _| true))
            };
            // It takes one connection.
            let line = core.line_to(&by.address).await.unwrap();
            assert_eq!(looked(there(end), None).await, (0, 0));
            let mut taken_over = there(end.plus(1));
            let began = Epoch {
                epoch: LeaderEpoch::new(1_000).unwrap(),
                lineage: Lineage::from_bytes([2; 16]),
                start: end,
            };
            taken_over.epochs.insert(0, began);
            assert_eq!(looked(taken_over, None).await, (0, 0), "another owner's");
            assert_eq!(looked(there(end.plus(1)), None).await, (1, 1));
            assert_eq!(looked(there(end.plus(1)), None).await, (0, 1));
            let other = Chain::from_raw(place.durable.chain.get() + 1);
            assert_eq!(looked(there(end), Some(other)).await, (0, 1));
            let same = place.durable.chain;
            assert_eq!(looked(there(end), Some(same)).await, (0, 0));
            drop(line);
        });
    }
}
