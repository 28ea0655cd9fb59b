//! A log of this node that has parted from another node's, which is to be its source.

use std::rc::Rc;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::{chain_at, segments};
use corelog_record::{Offset, TopicName};

use super::line::Line;
use super::questions::{has_none, is_same_at};
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure};
use crate::router::{self, Ask};

impl Core {
    /// Checks that what is here of a partition, if that is all that is asked for, up to `until`, is what `there` is in the log
    /// that `line` leads to, as far as both go: nothing comes then that would show it.
    ///
    /// # Errors
    /// `Diverged`, or why the two were not compared.
    pub(crate) async fn check_not_parted(
        self: &Rc<Self>,
        line: &Line,
        (topic, key): (&TopicName, PartitionKey),
        (there, until): (&segments::Answer, Offset),
    ) -> Result<(), Failure> {
        let owner = self
            .routes
            .borrow()
            .owner(topic, key.topic, key.partition)
            .ok();
        let Some(core) = owner else { return Ok(()) };
        let ask = Ask::Segments {
            key,
            from: Offset::MAX,
        };
        let here = match router::told::<segments::Answer>(self, core, ask, None).await {
            // It was deleted meanwhile.
            Err(error) if has_none(&error) => return Ok(()),
            // What cannot be compared now is not taken for nothing: it is not compared later, either.
            here => here.map_err(|why| uncompared(topic, key, why))?,
        };
        if here.high_watermark <= here.log_start || here.high_watermark < until {
            return Ok(());
        }
        let end = here.high_watermark.min(there.high_watermark);
        let is_same = match here.history == there.history {
            true if end < here.log_start.max(there.log_start) => true,
            true => {
                let ask = Ask::ChainAt { key, offset: end };
                let ours = router::told::<chain_at::Answer>(self, core, ask, None).await;
                let ours = ours.map_err(|why| uncompared(topic, key, why))?;
                is_same_at(line, topic, key, (end, (ours.offset, ours.chain))).await?
            }
            false => false,
        };
        match is_same {
            true => Ok(()),
            false => {
                let (partition, source) = (key.partition, line.address());
                let message =
                    format!("what is here of {topic}/{partition} is not what {source} has");
                Err(failure(ErrorCode::Diverged, message))
            }
        }
    }
}

/// Why what is here cannot be held against a source: it is neither that one which says so, nor need it be so of other partitions.
fn uncompared(topic: &TopicName, key: PartitionKey, mut why: Failure) -> Failure {
    why.message = format!(
        "what is here of {topic}/{} cannot be compared now: {}",
        key.partition, why.message
    );
    why
}
