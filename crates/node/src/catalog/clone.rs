//! Partitions of another node's topic, here too: what is asked of that node, checked and written down. Copying them is
//! the followers'.

use std::collections::{BTreeMap, BTreeSet};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::limits;
use corelog_protocol::message::{clone_topic, metadata, replica_status, segments};
use corelog_record::{Offset, PartitionId, TopicName};
use corelog_storage::format::replica::{Replica, Role};

use super::admin::Admin;
use super::routes::Routes;
use super::topic::{Topic, partition_count};
use crate::core::PartitionKey;
use crate::failure::{Amount, Failure, failure, failure_with, invalid, said_by};
use crate::follow::{ASK_TIMEOUT, Line, check_addresses, segments_of, topic_at};
use crate::rt;

/// How long a clone asks others before anything is written down: each answer may take its own while, and a source says
/// how many are asked for.
const ASK_ALL_TIMEOUT: Duration = Duration::from_secs(60);

impl Admin {
    /// Makes partitions of another node's topic replicas here; they copy by themselves from then on.
    ///
    /// # Errors
    /// What the client is told; nothing has changed then.
    pub(crate) async fn clone_topic(
        &self,
        request: clone_topic::Request,
    ) -> Result<clone_topic::Answer, Failure> {
        check_sources(&request)?;
        let asked = Box::pin(rt::timeout(ASK_ALL_TIMEOUT, self.ask(&request)));
        let late = || failure(ErrorCode::SourceUnavailable, "the sources take too long");
        let (line, origin, replicas) = asked.await.ok_or_else(late)??;
        let wanted: Vec<_> = replicas.iter().map(|replica| replica.partition).collect();
        let count = partition_count(&origin);
        let _turn = self.turn_of_shape().await;
        let before = self.known(&origin, &wanted)?;
        let known = match &before {
            Some(topic) => (**topic).clone(),
            None => self.replica_of(&origin, line.address()).await?,
        };
        self.check_count(known.partition_count(), count)?;
        let added = self
            .load
            .borrow_mut()
            .place(count - known.partition_count());
        let mut topic = known.grown(&added, |partition| waiting(partition, &request.from));
        for replica in replicas {
            // Those who follow it go on, those that it has yet to tell are told, and what it let go of it does not get from who had
            // it before.
            topic.change_replica(replica.partition, |before| Replica {
                followers: before.followers,
                outranked: before.outranked,
                let_go: before.let_go,
                ..replica
            });
        }
        if let Err(why) = self.write_and_put(before.as_deref(), topic).await {
            self.load.borrow_mut().remove(&added);
            return Err(why);
        }
        let (name, from) = (&request.topic, &request.from);
        tracing::info!(topic = %name, ?from, partitions = wanted.len(), "clones a topic");
        Ok(clone_topic::Answer {
            id: origin.id,
            partitions: wanted,
            created: before.is_none(),
        })
    }

    /// Its source, the topic as that tells of it, and what this node is to become to those of its partitions that the
    /// request means.
    async fn ask(
        &self,
        request: &clone_topic::Request,
    ) -> Result<(std::rc::Rc<Line>, metadata::Topic, Vec<Replica>), Failure> {
        let (line, origin) = self.origin(request).await?;
        let count = partition_count(&origin);
        if let Some(one) = request.partition.filter(|one| one.get() >= count) {
            let message = format!("topic {} has {count} partitions, not {one}", request.topic);
            return Err(failure(ErrorCode::UnknownPartition, message));
        }
        // As many as it likes to tell of.
        let here = self.known(&origin, &[])?;
        self.check_count(here.map_or(0, |topic| topic.partition_count()), count)?;
        let all = (0..count).map(PartitionId::new);
        let is_meant = |one: &PartitionId| request.partition.is_none_or(|asked| asked == *one);
        let wanted: Vec<_> = all.filter(is_meant).collect();
        self.known(&origin, &wanted)?;
        if request.follow {
            self.check_no_circle(&line, &origin, &wanted).await?;
        }
        let mut replicas = Vec::new();
        for partition in wanted {
            let until = match request.follow {
                true => None,
                false => Some(
                    self.end_of(&line, &origin, partition, &request.segments)
                        .await?,
                ),
            };
            replicas.push(Replica {
                role: Role::Follower,
                sources: request.from.clone(),
                until,
                rate: request.rate_bytes,
                segments: named(&request.segments),
                ..Replica::owner(partition)
            });
        }
        Ok((line, origin, replicas))
    }

    /// Where a source's partition ends now, or the last of its segments that are `named`, if any are.
    ///
    /// # Errors
    /// `Diverged` if all that is here already, and no part of the source's.
    async fn end_of(
        &self,
        line: &Line,
        origin: &metadata::Topic,
        partition: PartitionId,
        named: &[Offset],
    ) -> Result<Offset, Failure> {
        let topic = origin.id;
        let key = PartitionKey { topic, partition };
        let from = named.iter().min().copied().unwrap_or(Offset::MAX);
        let told = segments_of(line, &origin.name, key, from).await?;
        let end = match named {
            [] => told.high_watermark,
            named => end_of_named(&told.sealed, named)?,
        };
        let place = (&origin.name, key);
        let checked = self.core.check_not_parted(line, place, (&told, end));
        checked.await.map(|()| end)
    }

    /// The topic as the first source that answers has it.
    async fn origin(
        &self,
        request: &clone_topic::Request,
    ) -> Result<(std::rc::Rc<Line>, metadata::Topic), Failure> {
        let mut why = failure(ErrorCode::SourceUnavailable, "no source was named");
        for address in &request.from {
            let line = match self.core.line_to_named(address).await {
                Ok(line) => line,
                // One that can never be right is told before one that may be yet.
                Err(error) => {
                    if why.is(ErrorCode::SourceUnavailable) {
                        why = error;
                    }
                    continue;
                }
            };
            let told = topic_at(&line, &request.topic).await;
            let told = told.map_err(|error| said_by(address, error))?;
            if line.node() == self.core.shared.node {
                let message = format!("{address} is this node");
                return Err(invalid("from", message));
            }
            if let Some(topic) = told {
                check_name(&topic, &request.topic, address)?;
                return Ok((line, topic));
            }
        }
        Err(why)
    }

    /// The topic here, if there is one of that name: the same one, of which nothing is owned of what is `wanted`.
    fn known(
        &self,
        origin: &metadata::Topic,
        wanted: &[PartitionId],
    ) -> Result<Option<Arc<Topic>>, Failure> {
        let known = self.core.routes.borrow().named(&origin.name).cloned();
        if let Some(topic) = &known {
            check_same(topic, origin)?;
            for partition in wanted {
                check_follower(topic, *partition)?;
            }
        }
        Ok(known)
    }

    /// Checks that a source does not follow this node in what is to follow it: two copies that follow each other follow
    /// nobody.
    async fn check_no_circle(
        &self,
        line: &Line,
        origin: &metadata::Topic,
        wanted: &[PartitionId],
    ) -> Result<(), Failure> {
        let is_wanted = |one: PartitionId| wanted.binary_search(&one).is_ok();
        let ask = replica_status::Request {
            topic: origin.name.clone(),
            id: Some(origin.id),
            partition: None,
        };
        let told = line.call(&ask, ASK_TIMEOUT).await?.head.partitions;
        let follows = |one: &replica_status::Partition| one.role == replica_status::Role::Follower;
        let copies = told
            .into_iter()
            .filter(|one| is_wanted(one.id) && follows(one));
        let sources = copies.filter_map(|one| one.source);
        // It may tell anything: only what can be an address is connected to.
        let is_address = |one: &String| check_addresses("source", slice::from_ref(one)).is_ok();
        let sources: BTreeSet<_> = sources.filter(is_address).collect();
        for source in sources.into_iter().take(limits::SOURCE_COUNT_MAX as usize) {
            let there = self.core.line_to(&source).await;
            if there.is_ok_and(|there| there.node() == self.core.shared.node) {
                let message = format!("it follows this node, at {source}: name the owner");
                return Err(invalid("from", message));
            }
        }
        Ok(())
    }

    /// A topic of the origin's id and settings, without partitions yet.
    async fn replica_of(&self, origin: &metadata::Topic, address: &str) -> Result<Topic, Failure> {
        origin.settings.check()?;
        check_id(origin, &self.core.routes.borrow(), address)?;
        self.check_free(&origin.name).await?;
        Ok(Topic {
            name: origin.name.clone(),
            id: origin.id,
            created: rt::wall_clock(),
            settings: origin.settings.clone(),
            owners: Vec::new(),
            replicas: BTreeMap::new(),
        })
    }
}

/// A partition that follows and copies nothing yet.
fn waiting(partition: PartitionId, sources: &[String]) -> Replica {
    Replica {
        role: Role::Follower,
        sources: sources.to_vec(),
        until: Some(Offset::ZERO),
        ..Replica::owner(partition)
    }
}

/// Segments that are named, as they are written down: by offset, each once.
fn named(segments: &[Offset]) -> Vec<Offset> {
    let in_order = BTreeSet::from_iter(segments);
    in_order.into_iter().copied().collect()
}

/// Where the last of the segments ends that begin at the offsets `named`.
///
/// # Errors
/// `InvalidRequest` if one is not among those `sealed`, or does not follow the one before it.
fn end_of_named(sealed: &[segments::Sealed], named: &[Offset]) -> Result<Offset, Failure> {
    let lasts: BTreeMap<_, _> = sealed
        .iter()
        .map(|one| (one.base, one.digest.last))
        .collect();
    let mut end = None;
    for base in BTreeSet::from_iter(named) {
        let Some(next) = lasts.get(base).and_then(|last| last.checked_add(1)) else {
            let message = format!("the source has no sealed segment that begins at {base}");
            return Err(invalid("segments", message));
        };
        if let Some(end) = end.filter(|end| end != base) {
            let message =
                format!("segment {base} does not follow the one before, which ends at {end}");
            return Err(invalid("segments", message));
        }
        end = Some(next);
    }
    end.ok_or_else(|| invalid("segments", "no segment is named"))
}

fn check_sources(request: &clone_topic::Request) -> Result<(), Failure> {
    if request.from.is_empty() {
        return Err(invalid("from", "one source at least, please"));
    }
    check_addresses("from", &request.from)?;
    if !request.segments.is_empty() && (request.partition.is_none() || request.follow) {
        let message = "segments are of one partition, which is not followed";
        return Err(invalid("segments", message));
    }
    let named = Amount {
        found: request.segments.len() as u64,
        limit: limits::CLONE_SEGMENT_COUNT_MAX.into(),
    };
    named.check("segments", "segments")?;
    if request.rate_bytes == Some(0) {
        return Err(invalid("rate_bytes", "nothing comes at a rate of 0"));
    }
    Ok(())
}

/// A source tells of the topic that it is asked for, or it is none.
fn check_name(origin: &metadata::Topic, asked: &TopicName, address: &str) -> Result<(), Failure> {
    if origin.name == *asked {
        return Ok(());
    }
    let message = format!(
        "asked for topic {asked}, {address} tells of {}",
        origin.name
    );
    let detail = Detail {
        address: Some(address.to_owned()),
        ..Detail::default()
    };
    Err(failure_with(ErrorCode::BadSource, message, detail))
}

/// A topic that is new here has an id of its own: what a core does to partitions it does by their topic's id.
fn check_id(origin: &metadata::Topic, routes: &Routes, address: &str) -> Result<(), Failure> {
    let Some(other) = routes.topic_by_id(origin.id) else {
        return Ok(());
    };
    let message = format!(
        "at its source topic {} has the id of topic {} of this node",
        origin.name, other.name
    );
    let detail = Detail {
        topic_id: Some(origin.id),
        address: Some(address.to_owned()),
        ..Detail::default()
    };
    Err(failure_with(ErrorCode::BadSource, message, detail))
}

/// A topic of the same name is the same one; partitions may have come at its source, never gone.
fn check_same(topic: &Topic, origin: &metadata::Topic) -> Result<(), Failure> {
    if topic.id != origin.id {
        let message = format!(
            "topic {0} is another one here: its id differs; if nobody wants that one any more, `corelog topic delete {0}` \
             here, then clone it again",
            topic.name
        );
        let detail = Detail {
            topic_id: Some(topic.id),
            ..Detail::default()
        };
        return Err(failure_with(ErrorCode::TopicChanged, message, detail));
    }
    let (here, there) = (topic.partition_count(), partition_count(origin));
    if there < here {
        let message = format!(
            "topic {} has {here} partitions here, {there} there",
            topic.name
        );
        let detail = Detail {
            partitions: Some(here),
            found: Some(u64::from(there)),
            ..Detail::default()
        };
        return Err(failure_with(ErrorCode::InvalidPartitions, message, detail));
    }
    Ok(())
}

/// Nothing that this node owns, or owned, is copied over.
fn check_follower(topic: &Topic, partition: PartitionId) -> Result<(), Failure> {
    if topic.owner(partition).is_none() {
        return Ok(());
    }
    match topic.replica(partition).map(|replica| replica.role) {
        Some(Role::Follower) => Ok(()),
        role => {
            let what = match role {
                Some(Role::Fenced | Role::HandingOver) => "was owned by",
                _ => "is owned by",
            };
            let name = &topic.name;
            let message = format!("{name}/{partition} {what} this node: see `rejoin`");
            Err(failure(ErrorCode::NotFollower, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use corelog_protocol::message::settings::TopicSettings;
    use corelog_record::TopicId;

    use super::*;
    use crate::follow::samples::sealed;

    fn offset(number: u64) -> Offset {
        Offset::new(number).unwrap()
    }

    #[test]
    fn segments_that_are_named_are_the_sources_and_follow_each_other() {
        let source = [sealed(10, 29, 1), sealed(30, 79, 1), sealed(80, 99, 1)];
        let end = |named: &[u64]| {
            let named: Vec<_> = named.iter().copied().map(offset).collect();
            end_of_named(&source, &named)
        };
        assert_eq!(end(&[30]).unwrap(), offset(80));
        assert_eq!(end(&[80, 30]).unwrap(), offset(100), "in any order");
        assert_eq!(end(&[30, 30]).unwrap(), offset(80), "one of them twice");
        for named in [&[31][..], &[10, 100], &[10, 80]] {
            let refused = end(named).unwrap_err();
            assert!(refused.is(ErrorCode::InvalidRequest), "{refused:?}");
        }
        let beyond = [sealed(10, Offset::MAX.get(), 1)];
        assert!(end_of_named(&beyond, &[offset(10)]).is_err());
    }

    /// Each look at a source went through all of the names, in whatever order they were named.
    #[test]
    fn segments_that_are_named_are_few_and_written_down_in_order() {
        let naming = |count: u32| clone_topic::Request {
            topic: TopicName::new("t").unwrap(),
            partition: Some(PartitionId::new(0)),
            from: vec!["a:1".to_owned()],
            segments: vec![Offset::ZERO; count as usize],
            follow: false,
            rate_bytes: None,
        };
        check_sources(&naming(limits::CLONE_SEGMENT_COUNT_MAX)).unwrap();
        let refused = check_sources(&naming(limits::CLONE_SEGMENT_COUNT_MAX + 1)).unwrap_err();
        assert_eq!(refused.detail.field.as_deref(), Some("segments"));
        assert_eq!(refused.detail.found, Some(1_025));
        assert_eq!(refused.detail.limit, Some(1_024));
        let [a, b, c] = [10, 20, 30].map(offset);
        assert_eq!(named(&[c, a, c, b, a]), [a, b, c]);
    }

    fn told(name: &str, id: u8) -> metadata::Topic {
        metadata::Topic {
            name: TopicName::new(name).unwrap(),
            id: TopicId::from_bytes([id; 16]),
            settings: TopicSettings::default(),
            partitions: Vec::new(),
        }
    }

    #[test]
    fn a_source_that_tells_of_another_topic_than_it_was_asked_for_is_none() {
        let asked = TopicName::new("asked").unwrap();
        check_name(&told("asked", 1), &asked, "a:1").unwrap();
        let refused = check_name(&told("other", 1), &asked, "a:1").unwrap_err();
        assert!(refused.is(ErrorCode::BadSource), "{refused:?}");
        assert_eq!(refused.detail.address.as_deref(), Some("a:1"));
    }

    /// A source told of a new topic by the id of one that the node owned, and that one's partitions took no
    /// more appends: they had become those of a follower.
    #[test]
    fn a_topic_with_the_id_of_another_one_here_is_not_cloned() {
        let mut routes = Routes::default();
        let known = told("known", 1);
        routes.put(Arc::new(Topic {
            name: known.name,
            id: known.id,
            created: rt::wall_clock(),
            settings: known.settings,
            owners: Vec::new(),
            replicas: BTreeMap::new(),
        }));
        check_id(&told("new", 2), &routes, "a:1").unwrap();
        let refused = check_id(&told("new", 1), &routes, "a:1").unwrap_err();
        assert!(refused.is(ErrorCode::BadSource), "{refused:?}");
        assert_eq!(refused.detail.topic_id, Some(known.id));
        assert_eq!(refused.detail.address.as_deref(), Some("a:1"));
    }
}
