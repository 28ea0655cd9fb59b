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

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;

    use corelog_protocol::frame::CorrelationId;
    use corelog_record::Offset;
    use futures_lite::future::poll_once;

    use super::super::link::tests::linked;
    use super::*;
    use crate::core::tests::{batches, topic, with_core};
    use crate::rt::tests::slice_over;

    /// Others have the core while what is large is checked, and what was sent before it may be refused meanwhile.
    #[test]
    fn a_request_of_a_run_that_is_aborted_while_it_is_checked_goes_into_no_log() {
        with_core(|core| async move {
            let (opened, key) = topic(1);
            assert!(core.open_partition(&opened, key).await);
            core.routes.borrow_mut().put(Arc::clone(&opened));
            let (link, _client) = linked(&core).await;
            link.begin(0);
            let tag = |number| Tag {
                correlation: CorrelationId::new(number),
                frame_bytes: 0,
            };
            let asked = Asked {
                link: Rc::clone(&link),
                correlation: CorrelationId::new(2),
                frame_bytes: 0,
            };
            let request = produce::Request {
                topic: opened.name.clone(),
                id: key.topic,
                partition: key.partition,
                level: None,
                run: 0,
            };
            let large = batches(200 << 10).repeat(3);
            let mut producing = pin!(produce(asked, &request, &large));
            slice_over().await;
            assert!(poll_once(&mut producing).await.is_none(), "it is checked");
            let refused = Due::Now(Err(invalid("level", "there is none")));
            link.acks.borrow_mut().push(key, 0, tag(1), refused);
            producing.await;
            let mut told = Vec::new();
            link.acks
                .borrow_mut()
                .collect(|_, _, produced| told.push(produced));
            assert!(matches!(&told[..], [_, Err(error)] if error.is(ErrorCode::Aborted)));
            assert_eq!(core.place(key).unwrap().log_end, Offset::ZERO);
        });
    }
}
