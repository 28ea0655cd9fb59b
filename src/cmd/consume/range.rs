//! What of a partition is printed: from which place to which.

use anyhow::Context as _;
use corelog_client::{Client, End, Start};
use corelog_protocol::message::list_offsets::At;
use corelog_record::{Offset, PartitionId, Timestamp};

use super::{Args, config};
use crate::quantity::Place;

/// Where to begin in a partition.
pub(super) fn start(place: Place) -> Start {
    match place {
        Place::Earliest => Start::Earliest,
        Place::Latest => Start::Latest,
        Place::Offset(offset) => Start::Offset(offset),
        Place::Last(count) => Start::LastN(count),
        Place::Time(time) => Start::Time(time),
    }
}

/// Where to end in a partition: the first offset that is not printed.
pub(super) async fn end(
    args: &Args,
    client: &Client,
    partition: PartitionId,
) -> anyhow::Result<End> {
    let Some(until) = args.until else {
        return Ok(if args.follow {
            End::Follow
        } else {
            End::HighWatermark
        });
    };
    let admin = client.admin();
    let offset = match until {
        Place::Offset(offset) => offset,
        Place::Latest => return Ok(End::HighWatermark),
        Place::Earliest => {
            admin
                .list_offsets(&args.topic, partition, At::Earliest)
                .await?
                .offset
        }
        Place::Last(count) => {
            let end = admin
                .list_offsets(&args.topic, partition, At::Latest)
                .await?
                .high_watermark;
            Offset::new(end.get().saturating_sub(count)).unwrap_or(Offset::ZERO)
        }
        Place::Time(time) => first_at(args, client, partition, time).await?,
    };
    Ok(End::Offset(offset))
}

/// The offset of the first record at or after a time; where the partition ended when it was looked for if there is none.
async fn first_at(
    args: &Args,
    client: &Client,
    partition: PartitionId,
    time: Timestamp,
) -> anyhow::Result<Offset> {
    let mut consumer = client.consumer(config(args));
    consumer.assign(
        &args.topic,
        partition,
        Start::Time(time),
        End::HighWatermark,
    );
    match consumer.next().await {
        Some(first) => Ok(first?.offset),
        None => {
            let ended = consumer.progress(&args.topic, partition);
            let ended = ended.context("it ended before it began")?;
            Ok(ended.next)
        }
    }
}
