//! What a node tells of itself and its topics.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::frame;
use corelog_protocol::limits::{METADATA_TOPIC_COUNT_MAX, NODE_PARTITION_COUNT_MAX};
use corelog_protocol::message::{describe_topic, hello, metadata, replica_status, scrub_topic};
use corelog_record::{CoreId, TopicName};

use super::link::Link;
use crate::catalog::Topic;
use crate::core::Core;
use crate::failure::{Amount, Failure, failure_with};
use crate::frame_id::FrameId;
use crate::router::{self, Ask, Picked};
use crate::rt;

/// Topics that are told in one go, if they have
const TOPICS_AT_ONCE: usize = 64;
/// no more partitions than this: a node has no more, unless its operator allows that.
const PARTITIONS_AT_ONCE: usize = NODE_PARTITION_COUNT_MAX as usize;
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

/// Checks what a Metadata request names.
///
/// # Errors
/// `InvalidRequest` if it names more topics than a node may have.
pub(super) fn check_named(request: &metadata::Request) -> Result<(), Failure> {
    let named = Amount {
        found: request.topics.as_ref().map_or(0, Vec::len) as u64,
        limit: METADATA_TOPIC_COUNT_MAX.into(),
    };
    named.check("topics", "topics")
}

/// The answer to a Metadata request, whose names were checked.
pub(super) async fn metadata_of(core: &Core, request: metadata::Request) -> metadata::Answer {
    let (found, errors) = found(core, request.topics).await;
    let (shared, cores) = advertised(core);
    let mut topics = Vec::with_capacity(found.len());
    let (mut at_once, mut partitions) = (0, 0);
    for topic in &found {
        (at_once, partitions) = (at_once + 1, partitions + topic.owners.len());
        if !are_told_at_once(at_once, partitions) {
            rt::yield_if_needed().await;
            (at_once, partitions) = (1, topic.owners.len());
        }
        topics.push(told_topic(topic, &cores));
    }
    metadata::Answer {
        node: core.shared.node,
        cores,
        shared,
        topics,
        errors,
    }
}

/// If so many topics with so many partitions in all are told in one go.
pub(super) fn are_told_at_once(topics: usize, partitions: usize) -> bool {
    topics <= TOPICS_AT_ONCE && partitions <= PARTITIONS_AT_ONCE
}

/// The topics of these names, or all, and why others cannot be told of: of many that are not there each has its sentence, and
/// others have the core between any two.
async fn found(
    core: &Core,
    names: Option<Vec<TopicName>>,
) -> (Vec<Arc<Topic>>, Vec<metadata::TopicError>) {
    let (mut topics, mut errors) = (Vec::new(), Vec::new());
    let names: BTreeSet<_> = match names {
        None => {
            let routes = core.routes.borrow();
            topics.extend(routes.topics().cloned());
            let unreadable = routes.unreadable().iter();
            unreadable.take(UNREADABLE_TOLD_MAX).cloned().collect()
        }
        // Each once, however often it is named: the answer is bounded by what there is.
        Some(names) => names.into_iter().collect(),
    };
    for name in names {
        let found = core.routes.borrow().topic(&name).cloned();
        match found {
            Ok(topic) => topics.push(topic),
            Err(error) => {
                let error = *error;
                errors.push(metadata::TopicError { name, error });
                rt::yield_if_needed().await;
            }
        }
    }
    (topics, errors)
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
    let topic = Arc::clone(core.routes.borrow().topic(name)?);
    let ask = || Ask::Describe {
        topic: Arc::clone(&topic),
    };
    let asked = topic.owners.clone();
    let mut partitions: Vec<describe_topic::Partition> = gather((core, frame), asked, ask).await?;
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
    let (topic, owners) = {
        let routes = core.routes.borrow();
        let topic = Arc::clone(routes.topic_of(&request.topic, request.id)?);
        let owners = match request.partition {
            Some(partition) => vec![routes.owner(&request.topic, request.id, partition)?],
            None => topic.owners.clone(),
        };
        (topic, owners)
    };
    let ask = || Ask::Scrub {
        topic: Arc::clone(&topic),
        partition: request.partition,
        is_start: request.start,
    };
    let mut partitions: Vec<scrub_topic::Partition> = gather((core, frame), owners, ask).await?;
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
        // Of one that could not be read nobody knows what this node is to it: it may own it.
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
    let mut partitions: Vec<replica_status::Partition> = gather((core, frame), owners, ask).await?;
    partitions.sort_by_key(|partition| partition.id);
    Ok(replica_status::Answer { id, partitions })
}

/// What all cores tell that own partitions, each of which is asked once.
async fn gather<T>(
    (core, frame): (&Rc<Core>, FrameId),
    mut owners: Vec<CoreId>,
    ask: impl Fn() -> Ask,
) -> Result<Vec<T>, Failure>
where
    Vec<T>: Picked,
{
    owners.sort_unstable();
    owners.dedup();
    let mut gathered = Vec::new();
    for at in owners {
        let told: Vec<T> = router::told(core, at, ask(), Some(frame)).await?;
        gathered.extend(told);
    }
    Ok(gathered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::tests::{topic, with_core};
    use crate::rt::tests::ways_given;

    /// An answer of all topics held up a core for as long as it took to put together.
    #[test]
    fn others_have_the_core_while_many_topics_are_told() {
        with_core(|core| async move {
            let telling = |core: Rc<Core>| async move {
                let request = metadata::Request { topics: None };
                ways_given(metadata_of(&core, request)).await
            };
            let put = |number| core.routes.borrow_mut().put(topic(number).0);
            (1..=64).for_each(put);
            assert_eq!(telling(Rc::clone(&core)).await, 0);
            (65..=129).for_each(put);
            assert_eq!(telling(Rc::clone(&core)).await, 2);
        });
    }

    /// So it was for what is told of names that no topic has, a sentence each.
    #[test]
    fn others_have_the_core_while_it_is_told_that_many_topics_are_not_there() {
        with_core(|core| async move {
            let named = |number| topic(number).0.name.clone();
            core.routes.borrow_mut().put(topic(2).0);
            let topics = Some([3, 1, 2, 1].map(named).to_vec());
            let request = metadata::Request { topics };
            let told = metadata_of(&core, request.clone()).await;
            assert_eq!(told.topics.len(), 1);
            let names = Vec::from_iter(told.errors.into_iter().map(|error| error.name));
            assert_eq!(names, [1, 3].map(named));
            assert_eq!(ways_given(metadata_of(&core, request)).await, 2);
        });
    }
}
