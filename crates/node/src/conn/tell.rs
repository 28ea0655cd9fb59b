//! What a node tells of itself and its topics.

use std::collections::BTreeSet;
use std::rc::Rc;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::frame;
use corelog_protocol::limits::METADATA_TOPIC_COUNT_MAX;
use corelog_protocol::message::{describe_topic, hello, metadata, replica_status, scrub_topic};
use corelog_record::{CoreId, TopicName};

use super::link::Link;
use crate::catalog::Topic;
use crate::core::Core;
use crate::failure::{Failure, failure, failure_with};
use crate::frame_id::FrameId;
use crate::router::{self, Ask, Told};

/// Topics that cannot be read, as they are told beside all others: each takes as much as several that can.
const UNREADABLE_TOLD_MAX: usize = 64;

/// The answer to a Hello.
///
/// # Errors
/// `UnsupportedVersion` if the client speaks none of ours.
pub(super) fn greet(link: &Link, request: &hello::Request) -> Result<hello::Answer, Failure> {
    if !request.versions.contains(&frame::VERSION) {
        let message = format!("this node speaks version {}", frame::VERSION);
        let detail = Detail {
            versions: Some(vec![frame::VERSION]),
            ..Detail::default()
        };
        return Err(failure_with(ErrorCode::UnsupportedVersion, message, detail));
    }
    let core = &link.core;
    let client = request.client_name();
    client.clone_into(&mut link.traffic.client.borrow_mut());
    tracing::debug!(peer = %link.peer, client, "a client says hello");
    let (shared, cores) = advertised(core);
    Ok(hello::Answer {
        version: frame::VERSION,
        node: core.shared.node,
        core: core.id,
        cores,
        shared,
        limits: hello::Limits::default(),
        auth: vec![hello::AUTH_NONE.to_owned()],
        software: concat!("corelog ", env!("CARGO_PKG_VERSION")).to_owned(),
    })
}

/// The answer to a Metadata request.
///
/// # Errors
/// `InvalidRequest` if it names more topics than a node may have.
pub(super) fn metadata_of(
    core: &Core,
    request: metadata::Request,
) -> Result<metadata::Answer, Failure> {
    let count = request.topics.as_ref().map_or(0, Vec::len);
    if count > METADATA_TOPIC_COUNT_MAX as usize {
        let message = format!("{METADATA_TOPIC_COUNT_MAX} topics at most, please, or all");
        let detail = Detail {
            field: Some("topics".to_owned()),
            limit: Some(METADATA_TOPIC_COUNT_MAX.into()),
            found: Some(count as u64),
            ..Detail::default()
        };
        return Err(failure_with(ErrorCode::InvalidRequest, message, detail));
    }
    let (shared, cores) = advertised(core);
    let routes = core.routes.borrow();
    let (mut topics, mut errors) = (Vec::new(), Vec::new());
    match request.topics {
        None => {
            topics.extend(routes.topics().map(|topic| told_topic(topic, &cores)));
            for name in routes.unreadable().iter().take(UNREADABLE_TOLD_MAX) {
                errors.extend(
                    routes
                        .topic_there(name)
                        .err()
                        .map(|error| told_error(name, error)),
                );
            }
        }
        Some(names) => {
            // Each once, however often it is named: the answer is bounded by what there is.
            for name in BTreeSet::from_iter(names) {
                match routes.topic_there(&name) {
                    Ok(topic) => topics.push(told_topic(topic, &cores)),
                    Err(error) => errors.push(told_error(&name, error)),
                }
            }
        }
    }
    Ok(metadata::Answer {
        node: core.shared.node,
        cores,
        shared,
        topics,
        errors,
    })
}

fn told_topic(topic: &Topic, cores: &[String]) -> metadata::Topic {
    let partitions = topic.partitions().map(|(id, core)| {
        let address = cores
            .get(usize::from(core.get()))
            .cloned()
            .unwrap_or_default();
        metadata::Partition { id, core, address }
    });
    metadata::Topic {
        name: topic.name.clone(),
        id: topic.id,
        settings: topic.settings.clone(),
        partitions: partitions.collect(),
    }
}

fn told_error(name: &TopicName, error: Failure) -> metadata::TopicError {
    metadata::TopicError {
        name: name.clone(),
        error: *error,
    }
}

fn advertised(core: &Core) -> (String, Vec<String>) {
    let addresses = core.shared.addresses.get();
    addresses.map_or_else(Default::default, |addresses| {
        (
            addresses.advertised.clone(),
            addresses.advertised_cores.clone(),
        )
    })
}

/// The answer to a DescribeTopic request: every core tells of its partitions.
///
/// # Errors
/// What the client is told.
pub(super) async fn describe(
    core: &Rc<Core>,
    name: &TopicName,
    frame: FrameId,
) -> Result<describe_topic::Answer, Failure> {
    let topic = Rc::new(core.routes.borrow().topic_there(name)?.clone());
    let ask = || Ask::Describe { topic: topic.id };
    let mut partitions = gather(
        (core, frame),
        topic.owners.clone(),
        ask,
        |told| match told {
            Told::Described(described) => Some(described),
            _ => None,
        },
    )
    .await?;
    partitions.sort_by_key(|partition| partition.id);
    let settings = topic.settings.clone();
    Ok(describe_topic::Answer {
        id: topic.id,
        settings,
        partitions,
    })
}

/// The answer to a ScrubTopic request: every core scrubs its partitions, or tells of them.
///
/// # Errors
/// What the client is told.
pub(super) async fn scrub(
    core: &Rc<Core>,
    request: &scrub_topic::Request,
    frame: FrameId,
) -> Result<scrub_topic::Answer, Failure> {
    let owners = {
        let routes = core.routes.borrow();
        match request.partition {
            Some(partition) => vec![routes.owner(&request.topic, request.id, partition)?],
            None => routes.topic_of(&request.topic, request.id)?.owners.clone(),
        }
    };
    let ask = || Ask::Scrub {
        topic: request.id,
        partition: request.partition,
        is_start: request.start,
    };
    let mut partitions = gather((core, frame), owners, ask, |told| match told {
        Told::Scrubs(scrubs) => Some(scrubs),
        _ => None,
    })
    .await?;
    partitions.sort_by_key(|partition| partition.id);
    Ok(scrub_topic::Answer { partitions })
}

/// The answer to a ReplicaStatus request: every core tells of its partitions, or one of the one that is meant.
///
/// # Errors
/// What the client is told.
pub(super) async fn replicas(
    core: &Rc<Core>,
    request: &replica_status::Request,
    frame: FrameId,
) -> Result<replica_status::Answer, Failure> {
    let (id, owners) = {
        let routes = core.routes.borrow();
        let known = match request.id {
            Some(id) => routes.topic_of(&request.topic, id)?,
            None => routes.topic(&request.topic)?,
        };
        let owners = match request.partition {
            Some(partition) => vec![routes.owner(&request.topic, known.id, partition)?],
            None => known.owners.clone(),
        };
        (known.id, owners)
    };
    let ask = || Ask::Replicas {
        topic: id,
        partition: request.partition,
    };
    let mut partitions = gather((core, frame), owners, ask, |told| match told {
        Told::Replicas(replicas) => Some(replicas),
        _ => None,
    })
    .await?;
    partitions.sort_by_key(|partition| partition.id);
    Ok(replica_status::Answer { id, partitions })
}

/// What all cores tell that own partitions, each of which is asked once.
async fn gather<T>(
    (core, frame): (&Rc<Core>, FrameId),
    mut owners: Vec<CoreId>,
    ask: impl Fn() -> Ask,
    pick: impl Fn(Told) -> Option<Vec<T>>,
) -> Result<Vec<T>, Failure> {
    owners.sort_unstable();
    owners.dedup();
    let mut gathered = Vec::new();
    for at in owners {
        let told = router::answer(core, at, ask(), Some(frame)).await?;
        let other = || failure(ErrorCode::Internal, "something else was told");
        gathered.extend(pick(told).ok_or_else(other)?);
    }
    Ok(gathered)
}
