//! A topic's partitions, asked for one after the other: what was done to one is told, whatever becomes of the next.

use corelog_client::{Admin, Error};
use corelog_protocol::error::ErrorCode;
use corelog_record::{PartitionId, TopicId, TopicName};

/// What came of the partitions that were asked for.
pub(crate) struct Each<T> {
    /// What was done, by number.
    pub(crate) done: Vec<T>,
    /// Why no more was.
    pub(crate) ended: Option<Error>,
}

/// Asks for the partition `one` of a topic, or for all of them up to the first that is refused. Where all are meant,
/// one that is refused with `passed_over` is none of those that are, unless all are refused like that.
///
/// # Errors
/// Why the topic cannot be looked up.
pub(crate) async fn each<T>(
    admin: &Admin,
    topic: &TopicName,
    one: Option<u32>,
    passed_over: Option<ErrorCode>,
    ask: impl AsyncFn(TopicId, PartitionId) -> Result<Vec<T>, Error>,
) -> Result<Each<T>, Error> {
    let known = admin.describe_topic(topic).await?;
    let partitions = match one {
        Some(one) => vec![PartitionId::new(one)],
        None => known.partitions.iter().map(|known| known.id).collect(),
    };
    let (mut done, mut passed) = (Vec::new(), None);
    for partition in partitions {
        match ask(known.id, partition).await {
            Ok(parts) => done.extend(parts),
            Err(error) if one.is_none() && is_refused(&error, passed_over) => {
                passed.get_or_insert(error);
            }
            Err(error) => {
                let ended = Some(error);
                return Ok(Each { done, ended });
            }
        }
    }
    let ended = passed.filter(|_| done.is_empty());
    Ok(Each { done, ended })
}

fn is_refused(error: &Error, code: Option<ErrorCode>) -> bool {
    let refusal = error.refusal().zip(code);
    refusal.is_some_and(|(body, code)| body.is(code))
}
