//! This core's end of the way to another core: credit, and what is outstanding.

mod places;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::frame::CorrelationId;
use corelog_record::CoreId;
use flume::{Receiver, Sender, TrySendError};

use self::places::{Class, Places, searches_max};
use super::message::{Answered, Produce, Reply, Request, What};
use super::room::Room;
use super::searches::SearchesHere;
use crate::config::NodeLimits;
use crate::core::{Acks, PartitionKey};
use crate::failure::{Failure, busy, failure};
use crate::frame_id::FrameId;
use crate::rt::{self, Notify, Outstanding, Work};

/// The answers to a connection's Produces.
pub(crate) type ConnAcks = Rc<RefCell<Acks<PartitionKey, Tag>>>;

/// Which request of a connection an answer is for.
pub(crate) struct Tag {
    pub(crate) correlation: CorrelationId,
    /// Bytes of the request's frame, in flight until it is answered.
    pub(crate) frame_bytes: usize,
}

/// The ways from one core to all others, by number; none to itself.
pub(crate) struct Lanes {
    lanes: Vec<Option<Lane>>,
    /// As many as go over a lane.
    pub(super) searches_here: Rc<SearchesHere>,
}

/// This core's end of the way to another core.
pub(crate) struct Lane {
    from: CoreId,
    to: CoreId,
    requests: Sender<Request>,
    /// The reply lane of requests that come from there.
    pub(super) replies: Sender<Reply>,
    limits: LaneLimits,
    /// Bytes of the bodies of requests that hold credit, on all lanes from this core.
    bytes: Rc<Cell<usize>>,
    state: RefCell<State>,
}

/// All that one core gets when the lanes are laid; it may still travel to the core's thread.
pub(crate) struct LaneEnds {
    core: CoreId,
    limits: LaneLimits,
    ways: Vec<Option<(Sender<Request>, Sender<Reply>)>>,
    inboxes: Vec<Inbox>,
}

/// Where requests of another core come out, and the replies to this core's own.
pub(crate) struct Inbox {
    pub(super) from: CoreId,
    pub(super) requests: Receiver<Request>,
    pub(super) replies: Receiver<Reply>,
}

/// A request that was sent; its answers come here. A fetch is no longer parked over there when this is
/// dropped.
pub(super) struct Call<'a> {
    lane: &'a Lane,
    id: u64,
    state: Rc<CallState>,
}

#[derive(Default)]
struct CallState {
    answered: RefCell<VecDeque<Answered>>,
    changed: Notify,
    /// For what comes: until then the other core is at it, whether anybody waits or not.
    room: Cell<Option<Room>>,
    /// Nobody waits any more.
    is_given_up: Cell<bool>,
}

#[derive(Debug, Clone, Copy)]
struct LaneLimits {
    requests_max: usize,
    /// Of all lanes from one core together.
    bytes_max: usize,
    parked_max: usize,
}

#[derive(Default)]
struct State {
    id_last: u64,
    /// Those of requests that hold credit.
    places: Places,
    /// Fetches that may be parked over there, or are.
    parkable: usize,
    pending: HashMap<u64, Pending>,
}

struct Pending {
    bytes: usize,
    is_parkable: bool,
    class: Class,
    holds_credit: Option<Outstanding>,
    to: Whom,
}

enum Whom {
    Call(Rc<CallState>),
    Produce {
        acks: ConnAcks,
        key: PartitionKey,
        run: u32,
    },
}

/// Lays the lanes between so many cores, each with at most `bytes_max` bytes of bodies on its way to
/// all others.
pub(crate) fn connect(core_count: u16, limits: &NodeLimits, bytes_max: usize) -> Vec<LaneEnds> {
    let lane_limits = LaneLimits {
        requests_max: limits.lane_requests_max,
        bytes_max,
        parked_max: limits.parked_fetches_max,
    };
    let places = lane_limits.requests_max + lane_limits.parked_max;
    let cores = usize::from(core_count);
    let end = |core| LaneEnds {
        core: core_id(core),
        limits: lane_limits,
        ways: (0..cores).map(|_| None).collect(),
        inboxes: Vec::new(),
    };
    let inbox = |from, requests, replies| Inbox {
        from: core_id(from),
        requests,
        replies,
    };
    let mut ends: Vec<LaneEnds> = (0..cores).map(end).collect();
    for a in 0..cores {
        for b in a + 1..cores {
            let (a_to_b, b_requests) = flume::bounded(places);
            let (b_to_a, a_requests) = flume::bounded(places);
            let (a_answers_b, b_replies) = flume::bounded(places);
            let (b_answers_a, a_replies) = flume::bounded(places);
            ends[a].ways[b] = Some((a_to_b, a_answers_b));
            ends[b].ways[a] = Some((b_to_a, b_answers_a));
            ends[a].inboxes.push(inbox(b, a_requests, a_replies));
            ends[b].inboxes.push(inbox(a, b_requests, b_replies));
        }
    }
    ends
}

impl LaneEnds {
    /// The lanes and inboxes of the core whose thread calls.
    pub(crate) fn open(self) -> (Lanes, Vec<Inbox>) {
        let Self {
            core,
            limits,
            ways,
            inboxes,
        } = self;
        let bytes = Rc::<Cell<usize>>::default();
        let open = |to, (requests, replies)| Lane {
            from: core,
            to: core_id(to),
            requests,
            replies,
            limits,
            bytes: Rc::clone(&bytes),
            state: RefCell::default(),
        };
        let lanes = ways.into_iter().enumerate();
        let lanes = lanes
            .map(|(to, way)| way.map(|way| open(to, way)))
            .collect();
        let searches_here = Rc::new(SearchesHere::new(searches_max(limits.requests_max)));
        (
            Lanes {
                lanes,
                searches_here,
            },
            inboxes,
        )
    }
}

impl Lanes {
    /// The way to another core.
    ///
    /// # Panics
    /// If it is this core, or none of the node's.
    pub(super) fn to(&self, core: CoreId) -> &Lane {
        match self.lanes.get(usize::from(core.get())) {
            Some(Some(lane)) => lane,
            _ => unreachable!("core {core} is another core of the node"),
        }
    }
}

impl Lane {
    /// Sends a request that is answered to the caller.
    ///
    /// # Errors
    /// `Busy` without credit, `Stopping` if the other core has ended.
    pub(super) fn call(&self, what: What, frame: Option<FrameId>) -> Result<Call<'_>, Failure> {
        let state = Rc::<CallState>::default();
        let id = self.send(what, frame, Whom::Call(Rc::clone(&state)))?;
        Ok(Call {
            lane: self,
            id,
            state,
        })
    }

    /// Sends a Produce that is answered in line; gives its number.
    ///
    /// # Errors
    /// As for `call`.
    pub(super) fn produce(&self, produce: Produce, acks: ConnAcks) -> Result<u64, Failure> {
        let Produce {
            key, run, terms, ..
        } = produce;
        let to = Whom::Produce { acks, key, run };
        self.send(What::Produce(produce), Some(terms.frame), to)
    }

    /// If one more fetch may be parked over there.
    pub(super) fn has_room_to_park(&self) -> bool {
        self.state.borrow().parkable < self.limits.parked_max
    }

    fn send(&self, what: What, frame: Option<FrameId>, to: Whom) -> Result<u64, Failure> {
        let mut state = self.state.borrow_mut();
        let (bytes, is_parkable) = match &what {
            What::Produce(produce) => (produce.batches.len(), false),
            What::Fetch { wait, .. } => (0, !wait.is_zero()),
            What::Ask(_) | What::Unpark { .. } => (0, false),
        };
        let outstanding = self.bytes.get();
        let class = match &to {
            Whom::Call(_) => Class::of(&what, frame),
            Whom::Produce { .. } => Class::Produce,
        };
        let is_full = state.places.are_full(class, self.limits.requests_max)
            || (outstanding > 0 && outstanding + bytes > self.limits.bytes_max)
            || (is_parkable && state.parkable >= self.limits.parked_max);
        if is_full {
            return Err(full());
        }
        state.id_last += 1;
        let id = state.id_last;
        // Before it goes: the other core tells that it has come, and may be fast.
        if let Some(frame) = frame {
            frame.passes(self.from, format_args!("goes to core {}", self.to));
        }
        match self.requests.try_send(Request { id, frame, what }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(full()),
            Err(TrySendError::Disconnected(_)) => {
                return Err(failure(ErrorCode::Stopping, "the node is stopping"));
            }
        }
        state.places.take(class);
        self.bytes.set(outstanding + bytes);
        state.parkable += usize::from(is_parkable);
        let holds_credit = Some(rt::outstanding(Work::Hop));
        state.pending.insert(
            id,
            Pending {
                bytes,
                is_parkable,
                class,
                holds_credit,
                to,
            },
        );
        Ok(id)
    }

    /// If a fetch waits over there.
    fn is_parked(&self, id: u64) -> bool {
        let state = self.state.borrow();
        let pending = state.pending.get(&id);
        pending.is_some_and(|pending| pending.holds_credit.is_none())
    }

    /// Says that nobody waits any more for a fetch that is parked.
    fn unpark(&self, id: u64) {
        let (what, frame) = (What::Unpark { fetch: id }, None);
        // Its place is counted with the parked ones; without the other core nobody waits.
        let _ = self.requests.try_send(Request { id, frame, what });
    }

    /// Takes a reply: gives credit back and hands it to whoever waits for it.
    pub(super) fn take(&self, reply: Reply) {
        let mut state = self.state.borrow_mut();
        let is_parked = matches!(reply.what, Answered::Parked(_));
        let Some(mut pending) = state.pending.remove(&reply.id) else {
            unreachable!("a reply to a request that was never sent");
        };
        if pending.holds_credit.take().is_some() {
            state.places.give_back(pending.class);
            self.bytes.set(self.bytes.get() - pending.bytes);
        }
        let call = match pending.to {
            Whom::Produce { acks, key, run } => {
                drop(state);
                return hand_to_line(&acks, key, run, reply);
            }
            Whom::Call(call) => call,
        };
        if is_parked {
            let to = Whom::Call(Rc::clone(&call));
            state.pending.insert(
                reply.id,
                Pending {
                    bytes: 0,
                    holds_credit: None,
                    to,
                    ..pending
                },
            );
        } else {
            state.parkable -= usize::from(pending.is_parkable);
        }
        drop(state);
        if is_parked {
            drop(call.room.take());
            if call.is_given_up.get() {
                self.unpark(reply.id);
            }
        }
        call.answered.borrow_mut().push_back(reply.what);
        call.changed.notify();
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.state.is_given_up.set(true);
        if self.lane.is_parked(self.id) {
            self.lane.unpark(self.id);
        }
    }
}

impl Call<'_> {
    /// Holds room for the answer until it comes, or until it is parked, also if nobody waits for it.
    pub(super) fn hold(&self, room: Room) {
        self.state.room.set(Some(room));
    }

    /// The room that is held.
    pub(super) fn let_go(&self) -> Option<Room> {
        self.state.room.take()
    }

    /// Waits for the next answer.
    pub(super) async fn answered(&self) -> Answered {
        let next = || self.state.answered.borrow_mut().pop_front();
        self.state.changed.some(next).await
    }
}

fn hand_to_line(acks: &ConnAcks, key: PartitionKey, run: u32, reply: Reply) {
    let Answered::Produced(produced) = reply.what else {
        unreachable!("a Produce was answered as something else");
    };
    acks.borrow_mut().fill(key, run, reply.id, produced);
}

fn full() -> Failure {
    busy("the way to the partition's core is full", RETRY_MS)
}

fn core_id(number: usize) -> CoreId {
    CoreId::new(u16::try_from(number).unwrap_or(u16::MAX))
}

/// How long a client is asked to wait before it tries again, in milliseconds.
pub(super) const RETRY_MS: u32 = 20;

#[cfg(test)]
mod tests;
