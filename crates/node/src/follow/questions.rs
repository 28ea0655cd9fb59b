//! What other nodes are asked of a partition that they may have, and what they answer.

use std::time::Duration;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::{chain_at, replica_status, segments};
use corelog_record::{Chain, Offset, TopicName};

use super::ASK_TIMEOUT;
use super::handover::LEVEL_PAUSE;
use super::line::Line;
use crate::core::PartitionKey;
use crate::failure::{Failure, failure, said_by};
use crate::rt;

/// The sealed segments of a partition of the node at the other end of `line`, from an offset on.
///
/// # Errors
/// As [`Line::call`].
pub(crate) async fn segments_of(
    line: &Line,
    topic: &TopicName,
    key: PartitionKey,
    from: Offset,
) -> Result<segments::Answer, Failure> {
    let ask = segments_from(topic, key, from);
    Ok(line.call(&ask, ASK_TIMEOUT).await?.head)
}

pub(super) fn segments_from(
    topic: &TopicName,
    key: PartitionKey,
    from: Offset,
) -> segments::Request {
    segments::Request {
        topic: topic.clone(),
        id: key.topic,
        partition: key.partition,
        from,
    }
}

/// The chain of a partition at an offset, as the node at the other end of `line` holds it. One that is busy, as with
/// what others search there, says nothing of its log with that: it is asked again.
pub(super) async fn chain_of(
    line: &Line,
    topic: &TopicName,
    key: PartitionKey,
    offset: Offset,
) -> Result<chain_at::Answer, Failure> {
    let ask = chain_at::Request {
        topic: topic.clone(),
        id: key.topic,
        partition: key.partition,
        offset,
    };
    let deadline = rt::now() + ASK_TIMEOUT;
    loop {
        let error = match line.call(&ask, ASK_TIMEOUT).await {
            Ok(reply) => return Ok(reply.head),
            Err(error) => error,
        };
        match busy_for(&error) {
            Some(pause) if rt::now() + pause < deadline => rt::sleep(pause).await,
            _ => return Err(error),
        }
    }
}

/// If a log here and the one at the other end of `line` are the same up to an offset, at which the chain `here` is this: what the
/// chains of both say there is of all below.
pub(super) async fn is_same_at(
    line: &Line,
    topic: &TopicName,
    key: PartitionKey,
    (at, here): (Offset, (Offset, Chain)),
) -> Result<bool, Failure> {
    let there = chain_of(line, topic, key, at).await?;
    Ok((there.offset, there.chain) == here)
}

/// How long another node that is busy asks to be left alone, if it says so.
fn busy_for(error: &Failure) -> Option<Duration> {
    let retry_ms = error
        .detail
        .retry_ms
        .filter(|_| error.is(ErrorCode::Busy))?;
    Some(Duration::from_millis(retry_ms.into()).max(LEVEL_PAUSE))
}

/// A partition as the node at the other end holds it.
pub(super) async fn partition_at(
    line: &Line,
    topic: &TopicName,
    key: PartitionKey,
) -> Result<replica_status::Partition, Failure> {
    let told = line.call(&status_of(topic, key), ASK_TIMEOUT).await?.head;
    told_of(key, told)
}

pub(super) fn status_of(topic: &TopicName, key: PartitionKey) -> replica_status::Request {
    replica_status::Request {
        topic: topic.clone(),
        id: Some(key.topic),
        partition: Some(key.partition),
    }
}

/// What a node told of a partition.
pub(super) fn told_of(
    key: PartitionKey,
    told: replica_status::Answer,
) -> Result<replica_status::Partition, Failure> {
    // A node of an earlier version tells of all.
    let mut partitions = told.partitions.into_iter();
    let there = partitions.find(|partition| partition.id == key.partition);
    let gone = || failure(ErrorCode::UnknownPartition, "it is not told of there");
    there.ok_or_else(gone)
}

/// If another node has no such partition.
pub(super) fn has_none(error: &Failure) -> bool {
    let codes = [
        ErrorCode::UnknownTopic,
        ErrorCode::TopicChanged,
        ErrorCode::UnknownPartition,
    ];
    codes.iter().any(|code| error.is(*code))
}

/// Checks that the node at the other end owns the partition: two that follow each other own nothing.
pub(super) async fn check_owner_at(
    line: &Line,
    topic: &TopicName,
    key: PartitionKey,
    address: &str,
) -> Result<(), Failure> {
    let there = partition_at(line, topic, key).await;
    match there.map_err(|why| said_by(address, why))?.role {
        replica_status::Role::Owner => Ok(()),
        _ => {
            let message = format!("{address} does not own it");
            Err(failure(ErrorCode::NotOwner, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use corelog_protocol::answer;
    use corelog_protocol::message::Call;
    use corelog_record::Ordinal;

    use super::*;
    use crate::core::tests::key;
    use crate::failure::busy;
    use crate::follow::line::tests::{connected, next, node};
    use crate::rt::tests::on_core;

    /// Where others searched in as many logs as may be searched at once, a replaced owner was not fenced, and a promotion
    /// that loses nothing was refused as one that may.
    #[test]
    fn a_node_that_is_busy_is_asked_again_for_a_chain() {
        let full = busy("too many searches are under way", 20);
        when_refused_twice(full, |_, of| assert_eq!(of, Ok(told())));
    }

    #[test]
    fn a_node_that_does_not_say_when_it_is_busy_no_more_is_not_asked_again() {
        let moved = failure(ErrorCode::Busy, "the segment was moved away");
        let damaged = failure(ErrorCode::Damaged, "it is damaged");
        for refusal in [moved, damaged] {
            when_refused_twice(refusal, |refusal, of| assert_eq!(of, Err(refusal)));
        }
    }

    /// Checks what comes of asking a node for a chain that tells it only after two refusals.
    fn when_refused_twice(refusal: Failure, check: fn(Failure, Result<chain_at::Answer, Failure>)) {
        let refused = refusal.clone();
        let address = node(move |mut stream, mut received| {
            for is_refused in [true, true, false] {
                let (mut out, asked) = (Vec::new(), next(&mut stream, &mut received));
                let kind = chain_at::Request::KIND.number();
                match is_refused {
                    true => answer::encode_err(kind, asked, &refused, &mut out).unwrap(),
                    false => {
                        answer::encode_ok::<chain_at::Request>(asked, &told(), 0, &mut out)
                            .unwrap();
                    }
                }
                stream.write_all(&out).unwrap();
            }
        });
        on_core(move || async move {
            let (line, topic) = (connected(&address).await, TopicName::new("t").unwrap());
            let key = key(1, 0);
            check(refusal, chain_of(&line, &topic, key, Offset::ZERO).await);
        });
    }

    fn told() -> chain_at::Answer {
        chain_at::Answer {
            offset: Offset::ZERO,
            ordinal: Ordinal::ZERO,
            chain: Chain::from_raw(7),
            epoch: None,
        }
    }
}
