//! The far end of the lanes: requests of another core are done here, in the order they came, and
//! their answers sent back; replies to this core's own requests are handed out. One task per lane.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use corelog_record::CoreId;
use corelog_storage::log;
use flume::{Receiver, TrySendError};
use futures_lite::FutureExt;

use super::fetch::{fetched_here, fetched_small_here};
use super::lane::Inbox;
use super::message::{Answered, Produce, Reply, Request, What};
use super::recent::RecentAborts;
use super::told::answer_asked;
use crate::core::{
    Acks, Core, Disk, Due, Fetched, NotAppended, Parked, PartitionKey, Stand, aborted_by,
};
use crate::failure::Failure;
use crate::rt::{self, Notify};

/// Behind so much that is copied the core looks at what came.
const UNLOOKED_BYTES_MAX: usize = 128 << 10;

/// Answers to the Produces of one other core, in order by connection and partition.
type InboxAcks = Rc<RefCell<Acks<(u64, PartitionKey), u64>>>;

/// Runs that were aborted and whose answers have left.
type Recent = Rc<RefCell<RecentAborts>>;

/// Fetches of one other core that are parked here, by number.
#[derive(Default)]
struct ParkedHere {
    given_up: RefCell<HashMap<u64, Notify>>,
}

impl ParkedHere {
    fn hold(&self, id: u64) -> Notify {
        self.given_up.borrow_mut().entry(id).or_default().clone()
    }

    fn release(&self, id: u64) {
        self.given_up.borrow_mut().remove(&id);
    }

    fn give_up(&self, id: u64) {
        if let Some(given_up) = self.given_up.borrow().get(&id) {
            given_up.notify();
        }
    }
}

/// Starts the tasks that serve the lanes; they run until the core ends.
pub(crate) fn start_inboxes(core: &Rc<Core>, inboxes: Vec<Inbox>) {
    for Inbox {
        from,
        requests,
        replies,
    } in inboxes
    {
        let due = Notify::new();
        // What is remembered here the credit of the lane bounds.
        let acks = Acks::new(due.clone(), Rc::default());
        let acks = Rc::new(RefCell::new(acks));
        let recent = RecentAborts::new(core.shared.limits.lane_requests_max);
        let lines = (acks, Rc::new(RefCell::new(recent)));
        rt::spawn(answer_in_line(Rc::clone(core), from, lines.clone(), due)).detach();
        rt::spawn(serve(Rc::clone(core), from, requests, lines)).detach();
        rt::spawn(hand_out(Rc::clone(core), from, replies)).detach();
    }
}

async fn serve(
    core: Rc<Core>,
    from: CoreId,
    requests: Receiver<Request>,
    (acks, recent): (InboxAcks, Recent),
) {
    let parked = Rc::<ParkedHere>::default();
    while let Ok(Request { id, frame, what }) = requests.recv_async().await {
        if let Some(frame) = frame {
            frame.passes(core.id, format_args!("has come from core {from}"));
        }
        match what {
            What::Produce(Produce {
                conn,
                key,
                run,
                terms,
                batches,
            }) => {
                let producer = (conn, key);
                // First, as others have the core meanwhile: what they do may abort the run.
                let incoming = core.checked(key, &batches).await;
                let cause = recent.borrow().cause(producer, run);
                let aborted = cause.map(|cause| aborted_by(run, cause));
                let aborted = aborted.or_else(|| acks.borrow().aborted(producer, run));
                let due = match (aborted, incoming) {
                    (Some(error), _) | (None, Err(error)) => Due::Now(Err(error)),
                    (None, Ok(incoming)) => match core.produce(key, incoming, terms, Stand::Passer)
                    {
                        Ok(due) => due,
                        Err(NotAppended::TailFull(error) | NotAppended::Refused(error)) => {
                            Due::Now(Err(error))
                        }
                    },
                };
                acks.borrow_mut().push(producer, run, id, due);
            }
            What::Fetch {
                key,
                from: offset,
                appetite,
                only_small,
                wait,
            } => {
                let (core, parked) = (Rc::clone(&core), Rc::clone(&parked));
                let fetch = async move {
                    let fetched = match only_small {
                        true => fetched_small_here(&core, (key, offset), appetite, frame),
                        // The room is held by the core that asks.
                        false => fetched_here(&core, (key, offset), appetite, frame, ())
                            .await
                            .map(|((), fetched)| Some(fetched)),
                    };
                    if let Some(place) = tell_fetched(&core, from, id, fetched).await {
                        let given_up = parked.hold(id);
                        rt::timeout(wait, place.woken().or(given_up.notified())).await;
                        parked.release(id);
                        reply(&core, from, id, Answered::Woken);
                    }
                };
                rt::spawn(fetch).detach();
            }
            What::Unpark { fetch } => parked.give_up(fetch),
            What::Ask(ask) => {
                let core = Rc::clone(&core);
                let answer = async move {
                    let told = answer_asked(&core, *ask, frame).await;
                    reply(&core, from, id, Answered::Told(told));
                };
                rt::spawn(answer).detach();
            }
        }
        rt::yield_if_needed().await;
    }
}

async fn tell_fetched(
    core: &Core,
    to: CoreId,
    id: u64,
    fetched: Result<Option<Fetched>, Failure>,
) -> Option<Parked> {
    let (answered, parked) = match fetched.transpose() {
        None => (Answered::TooLarge, None),
        Some(Ok(Fetched::Batches { answer, read })) => {
            let body = copied(core, read).await;
            (Answered::Fetched(Ok((answer, body))), None)
        }
        Some(Ok(Fetched::Nothing {
            answer,
            parked: Some(parked),
        })) => (Answered::Parked(answer), Some(parked)),
        Some(Ok(Fetched::Nothing {
            answer,
            parked: None,
        })) => (Answered::Fetched(Ok((answer, Vec::new()))), None),
        Some(Err(error)) => (Answered::Fetched(Err(error)), None),
    };
    reply(core, to, id, answered);
    parked
}

/// What was read, for a thread that must not hold on to it. Others have the core between any two pieces.
async fn copied(core: &Core, read: log::Fetched<Disk>) -> Vec<u8> {
    let mut body = Vec::with_capacity(read.bytes);
    let mut unlooked = 0;
    for piece in &read.pieces {
        for part in piece.chunks(UNLOOKED_BYTES_MAX) {
            if UNLOOKED_BYTES_MAX < unlooked + part.len() {
                unlooked = 0;
                core.give_way().await;
            }
            body.extend_from_slice(part);
            unlooked += part.len();
        }
    }
    body
}

async fn answer_in_line(
    core: Rc<Core>,
    to: CoreId,
    (acks, recent): (InboxAcks, Recent),
    due: Notify,
) {
    loop {
        let next = due.notified();
        acks.borrow_mut().collect(|_, id, produced| {
            reply(&core, to, id, Answered::Produced(produced));
        });
        // From here on the abort has to be remembered for what the sender had sent before.
        acks.borrow_mut().take_settled(|producer, run, cause| {
            recent.borrow_mut().abort(producer, run, cause);
        });
        next.await;
    }
}

async fn hand_out(core: Rc<Core>, from: CoreId, replies: Receiver<Reply>) {
    while let Ok(reply) = replies.recv_async().await {
        core.lanes.to(from).take(reply);
        rt::yield_if_needed().await;
    }
}

fn reply(core: &Core, to: CoreId, id: u64, what: Answered) {
    match core.lanes.to(to).replies.try_send(Reply { id, what }) {
        // The other core has ended; nobody waits any more.
        Ok(()) | Err(TrySendError::Disconnected(_)) => {}
        Err(TrySendError::Full(_)) => {
            unreachable!("a reply without a place: its request had no credit")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use corelog_protocol::error::ErrorCode;
    use corelog_record::Offset;
    use futures_lite::future::poll_once;

    use super::*;
    use crate::core::tests::{batches, terms, topic, with_core, with_others};
    use crate::rt::tests::slice_over;

    /// What was on its way behind it went into the log without it, also once the answer had left.
    #[test]
    fn what_is_refused_here_aborts_its_run_for_what_another_core_had_sent_behind_it() {
        with_others(1, |core, mut others| async move {
            let (opened, key) = topic(1);
            assert!(core.open_partition(&opened, key).await);
            let (_, mut ends) = others.remove(0).open();
            let told = ends.remove(0).replies;
            let (requests, sent) = flume::bounded(8);
            let (_replies, replies) = flume::bounded(8);
            let inbox = Inbox {
                from: CoreId::new(1),
                requests: sent,
                replies,
            };
            start_inboxes(&core, vec![inbox]);
            let send = |id, batches| {
                let what = What::Produce(Produce {
                    conn: 1,
                    key,
                    run: 0,
                    terms: terms(),
                    batches,
                });
                let frame = None;
                requests.send(Request { id, frame, what }).unwrap();
            };
            let is_refused = async || match told.recv_async().await.unwrap().what {
                Answered::Produced(told) => told.is_err(),
                _ => panic!("it is no answer to a Produce"),
            };
            send(1, Vec::new());
            send(2, batches(100));
            assert!(is_refused().await);
            assert!(is_refused().await);
            send(3, batches(100));
            assert!(is_refused().await);
        });
    }

    /// Others have the core while what is large is checked, and the answer to what was refused before it may leave meanwhile.
    #[test]
    fn what_another_core_sent_of_a_run_that_is_aborted_while_it_is_checked_goes_into_no_log() {
        with_core(|core| async move {
            let (opened, key) = topic(1);
            assert!(core.open_partition(&opened, key).await);
            let (requests, sent) = flume::bounded(1);
            let acks = Rc::new(RefCell::new(Acks::new(Notify::new(), Rc::default())));
            let recent = Rc::new(RefCell::new(RecentAborts::new(1)));
            let what = What::Produce(Produce {
                conn: 1,
                key,
                run: 0,
                terms: terms(),
                batches: batches(200 << 10).repeat(3),
            });
            let (id, frame) = (1, None);
            requests.send(Request { id, frame, what }).unwrap();
            drop(requests);
            let lines = (Rc::clone(&acks), Rc::clone(&recent));
            let mut serving = pin!(serve(Rc::clone(&core), CoreId::new(1), sent, lines));
            slice_over().await;
            assert!(poll_once(&mut serving).await.is_none(), "it is checked");
            let cause = ErrorCode::InvalidBatch.number();
            recent.borrow_mut().abort((1, key), 0, cause);
            serving.await;
            let mut told = Vec::new();
            acks.borrow_mut()
                .collect(|_, _, produced| told.push(produced));
            assert!(matches!(&told[..], [Err(error)] if error.is(ErrorCode::Aborted)));
            assert_eq!(core.place(key).unwrap().log_end, Offset::ZERO);
        });
    }
}
