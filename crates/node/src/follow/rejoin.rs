//! Making a former owner a follower of the one that took its place.

use std::rc::Rc;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::message::rejoin;
use corelog_record::{Offset, TopicName};
use corelog_storage::format::node::QUARANTINE;
use corelog_storage::format::replica::{Replica, Role};
use corelog_storage::log::Chore;
use corelog_storage::log::lineage::Common;

use super::line::Line;
use super::lineage::{diverged, shared};
use super::ownership::{chain_of, check_owner_at, check_same, follower_of, segments_of};
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure, failure_with};
use crate::partition::Change;
use crate::router;

impl Core {
    /// Makes a partition that was owned here a follower of its owner; what that does not have goes to
    /// quarantine.
    ///
    /// # Errors
    /// `Diverged` if the two are not of one history, or what they share is no longer here; `ReadOnly` if damage keeps
    /// this log from being cut; `Busy` while its owner is changed otherwise.
    pub(crate) async fn rejoin(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
        to: String,
    ) -> Result<rejoin::Partition, Failure> {
        let line = self.line_to(&to).await?;
        if line.hello().node == self.shared.node {
            let message = format!("{to} is this node");
            return Err(failure(ErrorCode::InvalidRequest, message));
        }
        // Looked at before anything is changed: whoever names the wrong node loses nothing by it.
        check_owner_at(&line, &topic, key, &to).await?;
        let _hand = self.take_hand(key)?;
        let before = self.replica(key)?;
        self.check_not_read_only(key)?;
        self.common(&line, &topic, key).await?;
        let (role, sources) = (Role::Fenced, vec![to.clone()]);
        let fenced = Replica {
            role,
            sources: sources.clone(),
            ..before.clone()
        };
        self.write_role(topic.clone(), key, before, role, sources)
            .await?;
        self.halt(key).await;
        let place = self.place(key)?;
        self.durable(key, place.log_end).await?;
        let common = self.common(&line, &topic, key).await?;
        let (at, end) = (common.offset, place.log_end);
        let (records, held) = (end.since(at), self.bytes_behind(key, Offset::ZERO));
        let cut = self.change(key, Change::Rejoin(common)).await?;
        let bytes = held.saturating_sub(self.bytes_behind(key, Offset::ZERO));
        if records > 0 {
            tracing::warn!(
                topic = %topic, partition = key.partition.get(), common = at.get(), records,
                owner = to, "rejoins: what the owner does not have went to quarantine"
            );
        }
        router::change_replica(self, topic, key, move |replica| {
            check_same(&fenced, &replica)?;
            Ok(follower_of(replica, to))
        })
        .await?;
        Ok(rejoin::Partition {
            id: key.partition,
            common: at,
            records,
            bytes,
            file: match cut {
                Chore::SuffixCut { quarantined, .. } => {
                    let file = quarantined.into_iter().next();
                    file.map(|name| format!("{}/{name}", QUARANTINE))
                }
                _ => None,
            },
        })
    }

    /// Up to where this log and another node's are the same.
    async fn common(
        self: &Rc<Self>,
        line: &Line,
        topic: &TopicName,
        key: PartitionKey,
    ) -> Result<Common, Failure> {
        let place = self.place(key)?;
        let there = segments_of(line, topic, key, Offset::MAX).await?;
        if !place.has_files {
            return Ok(Common {
                offset: place.log_end,
                epoch: None,
            });
        }
        if there.history != place.history {
            return Err(diverged(Offset::ZERO));
        }
        let mine = self.epochs(key)?;
        let theirs = (there.epochs.as_slice(), there.high_watermark);
        let common = shared((&mine, place.log_end), theirs);
        let at = common.offset;
        let oldest = place.log_start.max(there.log_start);
        if at < oldest {
            return Err(forgotten(at, oldest));
        }
        let (here, there) = (
            self.chain_at(key, at).await?,
            chain_of(line, topic, key, at).await?,
        );
        match (here.offset, here.chain) == (there.offset, there.chain) {
            true => Ok(common),
            false => Err(diverged(place.log_start)),
        }
    }
}

/// One of the two has let go of where they part: nothing shows any more what they share.
fn forgotten(at: Offset, oldest: Offset) -> Failure {
    let message = format!(
        "the two logs part at offset {at}, and one of them begins at {oldest} by now: this one cannot become a \
         copy; keep its files, delete the topic here, and clone it"
    );
    let detail = Detail {
        offset: Some(at),
        log_start: Some(oldest),
        ..Detail::default()
    };
    failure_with(ErrorCode::Diverged, message, detail)
}
