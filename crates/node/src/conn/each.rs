//! Requests about one partition or all of a topic, each done by the core that has it.

use std::rc::Rc;
use std::slice;
use std::sync::Arc;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::{Call, handover, promote, rejoin, repair_topic};
use corelog_record::{PartitionId, TopicId, TopicName};
use corelog_storage::format::replica::Replica;

use crate::core::{Core, PartitionKey};
use crate::failure::Failure;
use crate::follow::check_addresses;
use crate::frame_id::FrameId;
use crate::router::{self, Ask, Picked};
use crate::rt;

/// A request that is done for each of its partitions, and answered with what came of each.
pub(super) trait Each: Call + 'static {
    /// What came of one partition.
    type Part: Picked;

    /// Whose partitions; none named means all.
    fn target(&self) -> (&TopicName, TopicId, Option<PartitionId>);
    /// Checks what it asks for, whichever the partition.
    ///
    /// # Errors
    /// `InvalidRequest` if that cannot be.
    fn check(&self) -> Result<(), Failure> {
        Ok(())
    }
    /// What the core of one is asked.
    fn ask(&self, key: PartitionKey) -> Ask;
    /// The answer, in the order of the partitions.
    fn answer(parts: Vec<Self::Part>) -> Self::Answer;
    /// If a partition that is refused, and was such a replica before, is no matter when all are meant, and one of them is not.
    fn passes_over(_was: &Replica, _error: &Failure) -> bool {
        false
    }
}

/// Does it for each partition, one after the other.
///
/// # Errors
/// As [`Each::check`]. Why the first that could not be done could not; those before it are done. Why the first was passed over if all were.
pub(super) async fn each<R: Each>(
    core: &Rc<Core>,
    request: &R,
    frame: FrameId,
) -> Result<R::Answer, Failure> {
    request.check()?;
    let (name, id, one) = request.target();
    let topic = Arc::clone(core.routes.borrow().topic_of(name, id)?);
    let partitions: Vec<_> = match one {
        Some(one) => {
            let owner = core.routes.borrow().owner(name, id, one)?;
            vec![(one, owner)]
        }
        None => topic.partitions().collect(),
    };
    let (mut parts, mut passed_over) = (Vec::new(), None);
    for (partition, owner) in partitions {
        let key = PartitionKey {
            topic: id,
            partition,
        };
        let was = core
            .routes
            .borrow()
            .topic_of(name, id)?
            .known_replica(partition);
        match router::told(core, owner, request.ask(key), Some(frame)).await {
            Ok(part) => parts.push(part),
            Err(error) => {
                let error = Box::new(error.of(format_args!("{name}/{partition}")));
                if one.is_some() || !R::passes_over(&was, &error) {
                    return Err(error);
                }
                passed_over.get_or_insert(error);
            }
        }
        // Of thousands each may be refused at once.
        rt::yield_if_needed().await;
    }
    match passed_over.filter(|_| parts.is_empty()) {
        Some(error) => Err(error),
        None => Ok(R::answer(parts)),
    }
}

impl Each for promote::Request {
    type Part = promote::Partition;

    fn target(&self) -> (&TopicName, TopicId, Option<PartitionId>) {
        (&self.topic, self.id, self.partition)
    }

    fn ask(&self, key: PartitionKey) -> Ask {
        Ask::Promote {
            topic: self.topic.clone(),
            key,
            accept_loss: self.accept_loss,
            is_named: self.partition.is_some(),
        }
    }

    fn answer(partitions: Vec<promote::Partition>) -> promote::Answer {
        promote::Answer { partitions }
    }

    fn passes_over(_: &Replica, error: &Failure) -> bool {
        error.is(ErrorCode::NotFollower)
    }
}

impl Each for handover::Request {
    type Part = handover::Partition;

    fn target(&self) -> (&TopicName, TopicId, Option<PartitionId>) {
        (&self.topic, self.id, self.partition)
    }

    fn check(&self) -> Result<(), Failure> {
        check_addresses("to", self.to.as_slice())
    }

    fn ask(&self, key: PartitionKey) -> Ask {
        Ask::HandOver {
            topic: self.topic.clone(),
            key,
            to: self.to.clone(),
            is_abort: self.abort,
            accept_loss: self.accept_loss,
        }
    }

    fn answer(partitions: Vec<handover::Partition>) -> handover::Answer {
        handover::Answer { partitions }
    }

    fn passes_over(was: &Replica, error: &Failure) -> bool {
        // One that was owned here, or is being handed over, may have been found to be another node's: it waits for a word.
        error.is(ErrorCode::NotOwner) && !was.role.owns()
    }
}

impl Each for repair_topic::Request {
    type Part = repair_topic::Partition;

    fn target(&self) -> (&TopicName, TopicId, Option<PartitionId>) {
        (&self.topic, self.id, self.partition)
    }

    fn ask(&self, key: PartitionKey) -> Ask {
        Ask::Repair {
            key,
            from: self.from.clone(),
            is_named: self.partition.is_some(),
        }
    }

    fn check(&self) -> Result<(), Failure> {
        check_addresses("from", &self.from)
    }

    fn answer(partitions: Vec<repair_topic::Partition>) -> repair_topic::Answer {
        repair_topic::Answer { partitions }
    }
}

impl Each for rejoin::Request {
    type Part = rejoin::Partition;

    fn target(&self) -> (&TopicName, TopicId, Option<PartitionId>) {
        (&self.topic, self.id, self.partition)
    }

    fn check(&self) -> Result<(), Failure> {
        check_addresses("to", slice::from_ref(&self.to))
    }

    fn ask(&self, key: PartitionKey) -> Ask {
        Ask::Rejoin {
            topic: self.topic.clone(),
            key,
            to: self.to.clone(),
        }
    }

    fn answer(partitions: Vec<rejoin::Partition>) -> rejoin::Answer {
        rejoin::Answer { partitions }
    }
}

#[cfg(test)]
mod tests {
    use corelog_record::CoreId;

    use super::*;
    use crate::catalog::Topic;
    use crate::core::tests::{key, topic, topic_of, with_core, with_others};
    use crate::frame_id::tests::frame;
    use crate::rt::tests::ways_given;

    fn repair(topic: &Topic, from: Vec<String>) -> repair_topic::Request {
        repair_topic::Request {
            topic: topic.name.clone(),
            id: topic.id,
            partition: None,
            from,
        }
    }

    /// The request was `Busy`, as if nothing were done, behind those before it that were repaired, and none after it was tried.
    #[test]
    fn a_partition_that_is_being_repaired_already_keeps_no_other_one_from_it() {
        with_core(|core| async move {
            let (of_one, _) = topic(1);
            let mut topic = Arc::unwrap_or_clone(of_one);
            topic.owners = vec![core.id; 3];
            core.routes.borrow_mut().put(Arc::new(topic.clone()));
            assert!(core.repairs.begin(key(1, 1), None, true));
            let mut request = repair(&topic, vec!["127.0.0.1:1".to_owned()]);
            let told = each(&core, &request, frame()).await.unwrap().partitions;
            // There is none of them, as the core finds that tries.
            let codes = [
                ErrorCode::UnknownTopic,
                ErrorCode::Busy,
                ErrorCode::UnknownTopic,
            ];
            assert_eq!(told.len(), codes.len());
            for (index, (one, code)) in (0..).zip(told.iter().zip(codes)) {
                assert_eq!(one.id.get(), index);
                assert!(one.error.as_ref().unwrap().is(code), "{one:?}");
            }
            request.partition = Some(PartitionId::new(1));
            let refused = each(&core, &request, frame()).await.unwrap_err();
            assert!(refused.is(ErrorCode::Busy), "{refused:?}");
        });
    }

    /// What was refused at once kept the core to itself, for all partitions of a topic.
    #[test]
    fn others_have_the_core_between_any_two_partitions() {
        with_core(|core| async move {
            let topic = topic_of("t", 1, 3);
            core.routes.borrow_mut().put(Arc::new(topic.clone()));
            let request = promote::Request {
                topic: topic.name,
                id: topic.id,
                partition: None,
                accept_loss: false,
            };
            let refused = each(&core, &request, frame()).await.unwrap_err();
            assert!(refused.is(ErrorCode::NotFollower), "{refused:?}");
            let refused = Box::pin(each(&core, &request, frame()));
            assert_eq!(ways_given(refused).await, 3);
        });
    }

    /// It was told of each partition, as of one that is repaired already, in an answer as if the others had been tried.
    #[test]
    fn what_refuses_a_repair_but_another_repair_is_the_answer() {
        with_others(1, |core, others| async move {
            // The other core ends.
            drop(others);
            let (of_one, _) = topic(1);
            let mut topic = Arc::unwrap_or_clone(of_one);
            topic.owners = vec![CoreId::new(1)];
            core.routes.borrow_mut().put(Arc::new(topic.clone()));
            let refused = each(&core, &repair(&topic, vec![]), frame())
                .await
                .unwrap_err();
            assert!(refused.is(ErrorCode::Stopping), "{refused:?}");
        });
    }
}
