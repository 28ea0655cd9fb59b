//! Answers that may be long. Cores build their parts faster than this one encodes them: room for all of an answer is
//! taken before any of them is asked.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use corelog_protocol::message::{
    Call, describe_topic, metadata, replica_status, scrub_topic, segments,
};
use corelog_record::{Offset, TopicName};

use super::request::Asked;
use super::tell;
use super::untaken::{AnswerRoom, if_room, room_to_ask};
use crate::catalog::Topic;
use crate::core::Core;
use crate::failure::Failure;
use crate::frame_id::FrameId;
use crate::partition::SEALED_COUNT_MAX;
use crate::router::{self, Ask};
use crate::rt::{self, Work};

/// Memory of what is told of a partition's segments at most, with its epochs.
const SEGMENTS_BYTES_MAX: usize = SEALED_COUNT_MAX * size_of::<segments::Sealed>() + (64 << 10);
/// Memory that a partition's names and the like take beside what is told of it.
const NAMES_BYTES: usize = 128;
/// What takes no more than this needs no room.
const FEW_BYTES: usize = 64 << 10;
/// Bytes that are told of the scrub of a partition, but for its damage.
const SCRUB_BYTES: usize = 128;

impl Asked {
    /// Has the core that owns a partition tell of its segments.
    pub(super) fn segments(self, request: segments::Request) {
        let from = request.from;
        let target = (request.topic, request.id, request.partition);
        let Some((at, key)) = self.owner::<segments::Request>(&target) else {
            return;
        };
        let (core, frame) = (Rc::clone(&self.link.core), self.frame());
        let bytes = match at == core.id || from == Offset::MAX {
            // It is made and encoded in one go, or names none.
            true => 0,
            false => SEGMENTS_BYTES_MAX,
        };
        self.at_length::<segments::Request>(bytes, async move || {
            router::told(&core, at, Ask::Segments { key, from }, Some(frame)).await
        });
    }

    /// Tells of topics, of many by and by. Nothing else is read meanwhile: the names of many take memory, too. More than
    /// there can be, a head names thirteen times as many, wait for nothing.
    pub(super) async fn metadata(self, request: metadata::Request) {
        let core = Rc::clone(&self.link.core);
        if let Err(error) = tell::check_named(&request) {
            return self.told::<metadata::Request>(Err(error));
        }
        let bytes = metadata_bytes(&core, request.topics.as_deref());
        let told = async || Ok(tell::metadata_of(&core, request).await);
        self.with_room::<metadata::Request>(bytes, told).await;
    }

    /// Has every core tell of its partitions of a topic.
    pub(super) fn describe(self, request: describe_topic::Request) {
        let (core, frame) = (Rc::clone(&self.link.core), self.frame());
        let bytes = bytes_of::<describe_topic::Partition>(&core, &request.name);
        self.at_length::<describe_topic::Request>(bytes, async move || {
            tell::describe(&core, &request.name, frame).await
        });
    }

    /// Has every core tell of its partitions of a topic as replicas.
    pub(super) fn replicas(self, request: replica_status::Request) {
        let (core, frame) = (Rc::clone(&self.link.core), self.frame());
        let bytes = match request.partition {
            Some(_) => 0,
            None => bytes_of::<replica_status::Partition>(&core, &request.topic),
        };
        self.at_length::<replica_status::Request>(bytes, async move || {
            tell::replicas(&core, &request, frame).await
        });
    }

    /// Has every core scrub its partitions of a topic, which is done even if the connection dies meanwhile, or
    /// tell how far that is.
    pub(super) fn scrub(self, request: scrub_topic::Request) {
        let kept = match request.start {
            true => match self.kept::<scrub_topic::Request>() {
                Some(kept) => Some(kept),
                None => return,
            },
            false => None,
        };
        let (core, frame) = (Rc::clone(&self.link.core), self.frame());
        let bytes = match request.partition {
            Some(_) => 0,
            None => bytes_of::<scrub_topic::Partition>(&core, &request.topic),
        };
        self.at_length::<scrub_topic::Request>(bytes, async move || {
            let _kept = kept;
            scrubbed(&core, &request, frame).await
        });
    }

    /// Answers with what `told` gives, as [`with_room`](Self::with_room), while others are taken.
    fn at_length<R: Call + 'static>(
        self,
        bytes: usize,
        told: impl AsyncFnOnce() -> Result<R::Answer, Failure> + 'static,
    ) {
        rt::spawn(self.with_room::<R>(bytes, told)).detach();
    }

    /// Answers with what `told` gives, which takes so much memory. It waits for room unless the connection dies;
    /// with that it goes on to its end, since until then other cores are at it, whether anybody waits or not.
    async fn with_room<R: Call>(
        self,
        bytes: usize,
        told: impl AsyncFnOnce() -> Result<R::Answer, Failure>,
    ) {
        let _work = rt::outstanding(Work::Request);
        let link = &self.link;
        match link.alive(room_to_ask(&link.core, bytes)).await {
            // A thousand may wait, and few have room: who waits has none for what is done then.
            Some(Ok(_room)) => self.told::<R>(Box::pin(told()).await),
            Some(Err(error)) => self.told::<R>(Err(error)),
            None => {}
        }
    }
}

/// Memory of an answer that tells of these topics, or all, as far as it needs room: what is told and encoded in one go, as of a
/// topic whose records wait for it, is the only one of its kind meanwhile.
fn metadata_bytes(core: &Core, names: Option<&[TopicName]>) -> usize {
    const TOPIC_BYTES: usize = size_of::<metadata::Topic>() + NAMES_BYTES;
    const PARTITION_BYTES: usize = size_of::<metadata::Partition>() + NAMES_BYTES;
    const ERROR_BYTES: usize = size_of::<metadata::TopicError>() + 2 * NAMES_BYTES;
    let routes = core.routes.borrow();
    let of_topic = |topic: &Arc<Topic>| {
        let partitions = topic.owners.len();
        (TOPIC_BYTES + partitions * PARTITION_BYTES, partitions)
    };
    let of_name = |name| routes.named(name).map_or((ERROR_BYTES, 0), of_topic);
    let of_each: Vec<(usize, usize)> = match names {
        None => routes.topics().map(of_topic).collect(),
        // Each once, as they are told.
        Some(names) => BTreeSet::from_iter(names)
            .into_iter()
            .map(of_name)
            .collect(),
    };
    let partitions = of_each.iter().map(|(_, partitions)| partitions).sum();
    match tell::are_told_at_once(of_each.len(), partitions) {
        true => 0,
        false => unless_few(of_each.iter().map(|(bytes, _)| bytes).sum()),
    }
}

/// Memory of an answer that tells a `Row` of each partition of a topic, likewise. Also this core tells of them by and by: others
/// begin meanwhile.
fn bytes_of<Row>(core: &Core, topic: &TopicName) -> usize {
    let routes = core.routes.borrow();
    let partitions = routes.named(topic).map_or(0, |topic| topic.owners.len());
    // What grows by and by takes up to twice as much.
    unless_few(partitions * (2 * size_of::<Row>() + NAMES_BYTES))
}

fn unless_few(bytes: usize) -> usize {
    match bytes <= FEW_BYTES {
        true => 0,
        false => bytes,
    }
}

/// Has a topic scrubbed, or tells how far that is, if there is room for the answer: where it only asks
/// that is seen by the answer, else before anything begins.
async fn scrubbed(
    core: &Rc<Core>,
    request: &scrub_topic::Request,
    frame: FrameId,
) -> Result<scrub_topic::Answer, Failure> {
    if !request.start {
        let told = tell::scrub(core, request, frame).await?;
        return if_room::<scrub_topic::Request>(core, told);
    }
    let partitions = match request.partition {
        Some(_) => 1,
        None => {
            let routes = core.routes.borrow();
            let topic = routes.topic_of(&request.topic, request.id)?;
            topic.owners.len()
        }
    };
    let _room = AnswerRoom::take(core, partitions * SCRUB_BYTES)?;
    tell::scrub(core, request, frame).await
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::sync::atomic::Ordering;

    use corelog_protocol::error::ErrorCode;
    use corelog_protocol::frame::CorrelationId;
    use corelog_protocol::limits::METADATA_TOPIC_COUNT_MAX;
    use futures_lite::future::poll_once;

    use super::super::link::tests::linked;
    use super::*;
    use crate::core::tests::{topic, with_core};
    use crate::rt::tests::ways_given;

    /// A topic of as many partitions as one may have, all of this core.
    fn large(core: &Core, number: u8) -> Topic {
        let mut large = Arc::unwrap_or_clone(topic(number).0);
        large.owners = vec![core.id; 4_096];
        large
    }

    /// A request of a connection, and its client's end.
    async fn asked(core: &Rc<Core>) -> (Asked, TcpStream) {
        let (link, client) = linked(core).await;
        link.begin(0);
        let asked = Asked {
            link,
            correlation: CorrelationId::new(1),
            frame_bytes: 0,
        };
        (asked, client)
    }

    /// Each had 26 KiB, and nobody counts how many there are.
    #[test]
    fn who_waits_for_room_to_be_told_has_none_for_what_is_told() {
        with_core(|core| async move {
            let (asked, _client) = asked(&core).await;
            let name = large(&core, 1).name;
            let frame = asked.frame();
            let told = async || tell::describe(&core, &name, frame).await;
            let waiting = asked.with_room::<describe_topic::Request>(1, told);
            let bytes = size_of_val(&waiting);
            assert!(bytes <= 1 << 10, "{bytes}");
        });
    }

    /// Where one core had all of a topic, thousands of answers were put together at once, each a few rows at a time.
    #[test]
    fn also_what_this_core_alone_tells_has_its_room() {
        with_core(|core| async move {
            let topic = large(&core, 1);
            let name = topic.name.clone();
            assert_eq!(bytes_of::<describe_topic::Partition>(&core, &name), 0);
            core.routes.borrow_mut().put(Arc::new(topic));
            let row = size_of::<describe_topic::Partition>();
            assert!(bytes_of::<describe_topic::Partition>(&core, &name) > 4_096 * row);
        });
    }

    /// It waited two seconds for room while others asked for much, and with it all that came behind it on the connection.
    #[test]
    fn metadata_of_one_topic_however_many_partitions_it_has_is_told_at_once() {
        with_core(|core| async move {
            let large = large(&core, 1);
            let topics = Some(vec![large.name.clone()]);
            core.routes.borrow_mut().put(Arc::new(large));
            let _others = core.asked_budget.try_acquire(core.asked_budget.available());
            let (asked, _client) = asked(&core).await;
            let link = Rc::clone(&asked.link);
            let told = asked.metadata(metadata::Request { topics });
            assert!(poll_once(Box::pin(told)).await.is_some());
            assert_eq!(link.take_out().answers, 1);
        });
    }

    /// All of them, up to eight megabytes, were kept until there was room for what would have been told.
    #[test]
    fn more_names_than_there_can_be_topics_wait_for_no_room() {
        with_core(|core| async move {
            let _others = core.asked_budget.try_acquire(core.asked_budget.available());
            let (asked, _client) = asked(&core).await;
            let named = |number| TopicName::new(&format!("t{number}")).unwrap();
            let topics = Some((0..=METADATA_TOPIC_COUNT_MAX).map(named).collect());
            let told = asked.metadata(metadata::Request { topics });
            assert!(poll_once(Box::pin(told)).await.is_some());
            let refused = &core.counters.errors[usize::from(ErrorCode::InvalidRequest.number())];
            assert_eq!(refused.load(Ordering::Relaxed), 1);
        });
    }

    /// Sixty-four that had all partitions which one may have were told in one go, without room: some fifteen MiB at once.
    #[test]
    fn few_topics_of_more_partitions_than_a_node_has_as_a_rule_have_their_room() {
        with_core(|core| async move {
            let large = |number| large(&core, number);
            let named = Vec::from_iter((1..=64).map(|number| large(number).name));
            let bytes_of = |count| metadata_bytes(&core, Some(&named[..count]));
            (1..=64).for_each(|number| core.routes.borrow_mut().put(Arc::new(large(number))));
            assert_eq!([1, 2].map(bytes_of), [0, 0]);
            let row = size_of::<metadata::Partition>();
            for count in [3, 64] {
                assert!(bytes_of(count) > count * 4_096 * row);
            }
            let topics = Some(named[..64].to_vec());
            let told = tell::metadata_of(&core, metadata::Request { topics });
            assert_eq!(
                ways_given(told).await,
                31,
                "others have the core behind two"
            );
        });
    }

    /// Up to 500 names needed no room, whatever the topics had: a hundred that are named take as much as all.
    #[test]
    fn what_is_told_of_many_topics_or_partitions_has_its_room_and_of_a_few_needs_none() {
        with_core(|core| async move {
            let bytes_of = |names: Option<&[TopicName]>| metadata_bytes(&core, names);
            let put = |topic: Topic| core.routes.borrow_mut().put(Arc::new(topic));
            let small = Arc::unwrap_or_clone(topic(1).0);
            let few = vec![small.name.clone(); 501];
            put(small);
            assert_eq!(bytes_of(Some(&few)), 0, "one, named often");
            assert_eq!(bytes_of(None), 0);
            let unknown = |number| TopicName::new(&format!("unknown-{number}")).unwrap();
            let unknown: Vec<_> = (0..501).map(unknown).collect();
            assert!(bytes_of(Some(&unknown)) > 0, "each has an error");
            put(large(&core, 2));
            let more = (3..=65).map(|number| Arc::unwrap_or_clone(topic(number).0));
            more.for_each(put);
            let named = Vec::from_iter((1..=65).map(|number| topic(number).0.name.clone()));
            assert_eq!(bytes_of(Some(&few)), 0);
            let row = size_of::<metadata::Partition>();
            assert!(bytes_of(Some(&named)) > 4_096 * row);
            put(Arc::unwrap_or_clone(topic(66).0));
            assert!(bytes_of(None) > bytes_of(Some(&named)));
        });
    }
}
