//! Produce requests: appended here or sent to the core that owns the partition, answered in line.

use std::rc::Rc;
use std::time::Duration;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::frame::CorrelationId;
use corelog_protocol::message::ack::Level;
use corelog_protocol::message::produce;

use super::link::Link;
use super::reader::close_with;
use super::request::{Asked, Next};
use crate::core::{Due, NotAppended, PartitionKey, Stand, Terms};
use crate::failure::{failure, invalid};
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
    let aborted = link.acks.borrow().aborted(key, request.run);
    let due = match aborted {
        Some(error) => Due::Now(Err(error)),
        None => produced(&link, correlation, request, batches).await,
    };
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
    correlation: CorrelationId,
    request: &produce::Request,
    batches: &[u8],
) -> Due {
    let (core, run, level) = (&link.core, request.run, request.level);
    let terms = Terms {
        frame: link.frame(correlation),
        level,
        taken: rt::now(),
    };
    if level == Some(Level::Unknown) {
        let refused = invalid("level", "level is durable or accepted");
        return Due::Now(Err(refused));
    }
    match router::route(core, &request.topic, request.id, request.partition) {
        Err(error) => Due::Now(Err(error)),
        Ok((owner, key)) if owner != core.id => {
            let produce = Produce {
                conn: link.id,
                key,
                run,
                terms,
                batches: batches.to_vec(),
            };
            match router::produce_away(core, owner, produce, Rc::clone(&link.acks)) {
                Ok(number) => Due::Away(number),
                Err(error) => Due::Now(Err(error)),
            }
        }
        Ok((_, key)) => match core.produce(key, batches, terms, Stand::Newcomer) {
            Ok(due) => due,
            Err(NotAppended::Refused(error)) => Due::Now(Err(error)),
            Err(NotAppended::TailFull(error)) => {
                // Reading no further until there is room is what slows a fast client down.
                let turn = Box::pin(core.produce_in_turn(key, batches, terms));
                let told = rt::timeout(TAIL_WAIT_MAX, link.alive(turn)).await.flatten();
                let told = told.unwrap_or(Err(error));
                told.unwrap_or_else(|error| Due::Now(Err(error)))
            }
        },
    }
}

/// How long a Produce waits for room in the tail before it is answered `Busy`.
const TAIL_WAIT_MAX: Duration = Duration::from_secs(5);
