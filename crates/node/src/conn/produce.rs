//! Produce requests: appended here or sent to the core that owns the partition, answered in line.

use std::rc::Rc;
use std::time::Duration;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::ack::Level;
use corelog_protocol::message::produce;

use super::link::Link;
use super::reader::close_with;
use super::request::{Asked, Next};
use crate::core::{Due, NotAppended, PartitionKey, Stand, Terms};
use crate::failure::{Failure, failure, invalid};
use crate::partition::Incoming;
use crate::router::{self, Produce, Tag};
use crate::rt;

/// Appends batches, or has their core do so, and puts the answer in line.
pub(super) async fn produce(asked: Asked, request: &produce::Request, batches: &[u8]) -> Next {
    let Asked {
        link,
        correlation,
        frame_bytes,
    } = asked;
    let key = PartitionKey {
        topic: request.id,
        partition: request.partition,
    };
    let terms = Terms {
        frame: link.frame(correlation),
        level: request.level,
        taken: rt::now(),
    };
    // First, as others have the core meanwhile: what they do may abort the run.
    let incoming = link.core.checked(key, batches).await;
    let aborted = link.acks.borrow().aborted(key, request.run);
    let due = match aborted {
        Some(error) => Err(error),
        None => produced(&link, request, terms, (batches, incoming)).await,
    };
    let due = due.unwrap_or_else(|error| Due::Now(Err(error)));
    let tag = Tag {
        correlation,
        frame_bytes,
    };
    let mut acks = link.acks.borrow_mut();
    acks.push(key, request.run, tag, due);
    // To refuse only what is new would let a later request of a run overtake an earlier one.
    if acks.remembers_too_much() {
        drop(acks);
        let why = "the connection produces to too many partitions that refuse it";
        close_with(&link, correlation, failure(ErrorCode::Busy, why));
        return Next::Close;
    }
    Next::Continue
}

async fn produced(
    link: &Rc<Link>,
    request: &produce::Request,
    terms: Terms,
    (batches, incoming): (&[u8], Result<Incoming<'_>, Failure>),
) -> Result<Due, Failure> {
    let (core, run) = (&link.core, request.run);
    if request.level == Some(Level::Unknown) {
        return Err(invalid("level", "level is durable or accepted"));
    }
    let (owner, key) = router::route(core, &request.topic, request.id, request.partition)?;
    if owner != core.id {
        let produce = Produce {
            conn: link.id,
            key,
            run,
            terms,
            batches: batches.to_vec(),
        };
        let number = router::produce_away(core, owner, produce, Rc::clone(&link.acks))?;
        return Ok(Due::Away(number));
    }
    let incoming = incoming?;
    match core.produce(key, incoming, terms, Stand::Newcomer) {
        Ok(due) => Ok(due),
        Err(NotAppended::Refused(error)) => Err(error),
        Err(NotAppended::TailFull(error)) => {
            // Reading no further until there is room is what slows a fast client down.
            let turn = Box::pin(core.produce_in_turn(key, incoming, terms));
            let told = rt::timeout(TAIL_WAIT_MAX, link.alive(turn)).await.flatten();
            told.unwrap_or(Err(error))
        }
    }
}

/// How long a Produce waits for room in the tail before it is answered `Busy`.
const TAIL_WAIT_MAX: Duration = Duration::from_secs(5);
