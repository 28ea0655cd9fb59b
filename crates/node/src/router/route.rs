//! Where a request goes, and the questions that are the same wherever it does.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::fetch;
use corelog_record::{CoreId, Offset, PartitionId, TopicId, TopicName};
use corelog_storage::log::Piece;
use corelog_storage::snapshot::Name;
use futures_lite::FutureExt;

use super::here::answer_here;
use super::lane::ConnAcks;
use super::message::{Answered, Ask, Told, What};
use super::patience::Patience;
use super::room::Room;
use crate::catalog::{Change, Topic};
use crate::core::{Core, Disk, Fetched, Hunger, PartitionKey, Taken, Terms};
use crate::failure::Failure;
use crate::follow::Hearing;
use crate::frame_id::FrameId;
use crate::metrics::add;
use crate::partition::Seek;
use crate::rt::{self, Semaphore};

/// Where a partition is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// By this core.
    Here(PartitionKey),
    /// By another core of this node.
    Core(CoreId, PartitionKey),
}

/// Batches that were fetched, here or on another core.
pub(crate) enum Batches {
    Pieces(Vec<Piece<Disk>>),
    Bytes(Vec<u8>),
}

impl Batches {
    /// How many bytes they are.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Pieces(pieces) => pieces.iter().map(|piece| piece.len()).sum(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// A Produce that is done by another core.
pub(crate) struct Away<'a> {
    pub(crate) core: CoreId,
    pub(crate) conn: u64,
    pub(crate) key: PartitionKey,
    pub(crate) run: u32,
    pub(crate) terms: Terms,
    pub(crate) batches: &'a [u8],
    pub(crate) acks: ConnAcks,
}

/// A Fetch wherever its partition is.
#[derive(Debug)]
pub(crate) struct FetchFrom<'a> {
    pub(crate) frame: FrameId,
    pub(crate) topic: &'a TopicName,
    pub(crate) id: TopicId,
    pub(crate) partition: PartitionId,
    pub(crate) from: Offset,
    pub(crate) bytes_max: usize,
    pub(crate) bytes_min: u64,
    /// For a replica, also below the log start.
    pub(crate) is_replica: bool,
    pub(crate) wait: Duration,
}

/// Where the partition that a request names is served.
///
/// # Errors
/// `UnknownTopic`, `TopicChanged` or `UnknownPartition`.
pub(crate) fn route(
    core: &Core,
    name: &TopicName,
    topic: TopicId,
    partition: PartitionId,
) -> Result<Route, Failure> {
    let owner = core.routes.borrow().owner(name, topic, partition)?;
    let key = PartitionKey { topic, partition };
    Ok(if owner == core.id {
        Route::Here(key)
    } else {
        Route::Core(owner, key)
    })
}

/// Sends a Produce to the core that owns its partition; gives the number its answer comes under.
///
/// # Errors
/// `Busy` if the lane is full.
pub(crate) fn produce_away(core: &Core, away: Away<'_>) -> Result<u64, Failure> {
    let Away {
        core: to,
        conn,
        key,
        run,
        terms,
        batches,
        acks,
    } = away;
    let what = What::Produce {
        conn,
        key,
        run,
        terms,
        batches: batches.to_vec(),
    };
    let sent = core
        .lanes
        .to(to)
        .produce(what, terms.frame, (acks, key, run));
    count_hop(core, (Some(terms.frame), to), &sent);
    sent
}

/// Who fetches: what a connection has room and patience for.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    /// Bytes of batches that may be read for the client before it takes them.
    pub(crate) room: &'a Semaphore,
    pub(crate) patience: &'a Patience,
}

/// Fetches, waiting for data if there is none.
///
/// # Errors
/// What the client is told.
pub(crate) async fn fetch(
    core: &Rc<Core>,
    asker: Asker<'_>,
    request: &FetchFrom<'_>,
) -> Result<(fetch::Answer, Batches, Room), Failure> {
    let deadline = rt::now() + request.wait;
    match request.route(core)? {
        Route::Here(key) => fetch_here(core, asker, key, request, deadline).await,
        Route::Core(owner, key) => fetch_away(core, asker, (owner, key), request, deadline).await,
    }
}

impl FetchFrom<'_> {
    /// Where the partition is served now: after a wait its topic may be gone or another.
    fn route(&self, core: &Core) -> Result<Route, Failure> {
        route(core, self.topic, self.id, self.partition)
    }
}

/// Has a core do something, for a `frame` unless the node wants it, and tell what came of it.
///
/// # Errors
/// What the client is told.
pub(crate) async fn answer(
    core: &Rc<Core>,
    at: CoreId,
    ask: Ask,
    frame: Option<FrameId>,
) -> Result<Told, Failure> {
    if at == core.id {
        return answer_here(core, ask).await;
    }
    let call = core.lanes.to(at).call(What::Ask(Box::new(ask)), frame);
    count_hop(core, (frame, at), &call);
    match call?.answered().await {
        Answered::Told(told) => told,
        _ => unreachable!("a question was answered as something else"),
    }
}

/// Has a core take its part of a snapshot.
///
/// # Errors
/// Why it could not, `Busy` if its lane is full.
pub(crate) async fn take_at(
    core: &Rc<Core>,
    at: CoreId,
    name: Name,
    topics: Vec<Arc<Topic>>,
) -> Result<Vec<Taken>, Failure> {
    match answer(core, at, Ask::TakeSnapshot { name, topics }, None).await? {
        Told::Taken(taken) => Ok(taken),
        _ => unreachable!("a snapshot was answered as something else"),
    }
}

/// Hears a follower, on the core that has its partition.
///
/// # Errors
/// `Diverged`, and what any request may be refused with.
pub(crate) async fn hear(
    core: &Rc<Core>,
    request: &FetchFrom<'_>,
    follower: fetch::Follower,
) -> Result<Hearing, Failure> {
    let (at, key) = match request.route(core)? {
        Route::Here(key) => (core.id, key),
        Route::Core(owner, key) => (owner, key),
    };
    match answer(core, at, Ask::Hear { key, follower }, Some(request.frame)).await? {
        Told::Heard(hearing) => Ok(hearing),
        _ => unreachable!("a follower was answered as something else"),
    }
}

/// Has another core take a change of the catalog, however long that takes.
pub(crate) async fn apply_at(core: &Rc<Core>, at: CoreId, change: Change) {
    loop {
        let ask = Ask::Apply(change.clone());
        match core.lanes.to(at).call(What::Ask(Box::new(ask)), None) {
            Ok(call) => {
                call.answered().await;
                return;
            }
            Err(error) if error.is(ErrorCode::Busy) => rt::sleep(APPLY_PAUSE).await,
            // The other core has ended: the node stops.
            Err(_) => return,
        }
    }
}

/// Fetches once on this core, for a `frame` unless the node wants it.
pub(super) async fn fetched_here(
    core: &Rc<Core>,
    (key, from): (PartitionKey, Offset),
    hunger: Hunger,
    frame: Option<FrameId>,
) -> Result<Fetched, Failure> {
    if let Some(frame) = frame {
        frame.passes(core.id, format_args!("reads {key} from {from}"));
    }
    core.fetch(key, from, hunger).await
}

async fn fetch_here(
    core: &Rc<Core>,
    asker: Asker<'_>,
    key: PartitionKey,
    request: &FetchFrom<'_>,
    deadline: Instant,
) -> Result<(fetch::Answer, Batches, Room), Failure> {
    loop {
        let mut room = Room::take(core, asker.room).await?;
        let wait = deadline.saturating_duration_since(rt::now());
        let is_over = core.is_stopping.get() || asker.patience.is_over();
        let may_park = !wait.is_zero() && !is_over;
        let hunger = Hunger {
            bytes_max: request.bytes_max,
            bytes_min: request.bytes_min,
            is_replica: request.is_replica,
            may_park,
        };
        match fetched_here(core, (key, request.from), hunger, Some(request.frame)).await? {
            Fetched::Batches {
                answer,
                pieces,
                bytes,
            } => {
                room.shrink_to(bytes);
                return Ok((answer, Batches::Pieces(pieces), room));
            }
            Fetched::Nothing {
                answer,
                parked: None,
            } => {
                room.shrink_to(0);
                return Ok((answer, none(), room));
            }
            Fetched::Nothing {
                parked: Some(parked),
                ..
            } => {
                drop(room);
                let given_up = core.stopping().or(asker.patience.over());
                rt::timeout(wait, parked.woken().or(given_up)).await;
                request.route(core)?;
            }
        }
    }
}

async fn fetch_away(
    core: &Rc<Core>,
    asker: Asker<'_>,
    (owner, key): (CoreId, PartitionKey),
    request: &FetchFrom<'_>,
    deadline: Instant,
) -> Result<(fetch::Answer, Batches, Room), Failure> {
    let lane = core.lanes.to(owner);
    let mut parked_answer = None;
    loop {
        let mut room = Room::take(core, asker.room).await?;
        let mut wait = deadline.saturating_duration_since(rt::now());
        let is_over = core.is_stopping.get() || asker.patience.is_over();
        if is_over || !lane.has_room_to_park() {
            wait = Duration::ZERO;
        }
        let &FetchFrom {
            from,
            bytes_max,
            bytes_min,
            is_replica,
            ..
        } = request;
        let what = What::Fetch {
            key,
            from,
            bytes_max,
            bytes_min,
            is_replica,
            wait,
        };
        let call = lane.call(what, Some(request.frame));
        count_hop(core, (Some(request.frame), owner), &call);
        let call = match (call, &parked_answer) {
            (Ok(call), _) => call,
            // It was parked, woke and finds no credit: data is there, so it tries again.
            (Err(error), Some(_)) if error.is(ErrorCode::Busy) && !wait.is_zero() => {
                rt::sleep(WOKEN_PAUSE).await;
                continue;
            }
            (Err(_), Some(answer)) => {
                room.shrink_to(0);
                return Ok((fetch::Answer::clone(answer), none(), room));
            }
            (Err(error), None) => return Err(error),
        };
        match call.answered().await {
            Answered::Fetched(fetched) => {
                let (answer, bytes) = fetched?;
                room.shrink_to(bytes.len());
                return Ok((answer, Batches::Bytes(bytes), room));
            }
            Answered::Parked(answer) => {
                drop(room);
                parked_answer = Some(answer);
                // Given up in whatever way, it is no longer parked over there.
                let parked = lane.parked(&call);
                let woken = async {
                    call.answered().await;
                };
                woken.or(core.stopping()).or(asker.patience.over()).await;
                drop(parked);
                request.route(core)?;
            }
            _ => unreachable!("a fetch was answered as something else"),
        }
    }
}

fn count_hop<T>(core: &Core, (frame, to): (Option<FrameId>, CoreId), sent: &Result<T, Failure>) {
    if let (Some(frame), Ok(_)) = (frame, sent) {
        frame.passes(core.id, format_args!("goes to core {to}"));
    }
    let counters = &core.counters;
    add(
        if sent.is_ok() {
            &counters.hops_total
        } else {
            &counters.lane_busy_total
        },
        1,
    );
}

fn none() -> Batches {
    Batches::Bytes(Vec::new())
}

/// Which offset a time or a place stands for.
pub(crate) fn seek_of(at: corelog_protocol::message::list_offsets::At) -> Seek {
    use corelog_protocol::message::list_offsets::At;
    match at {
        At::Earliest => Seek::Earliest,
        At::Latest => Seek::Latest,
        At::Time(time) => Seek::Time(time),
    }
}

/// Between two attempts to tell another core of a change while its lane is full.
const APPLY_PAUSE: Duration = Duration::from_millis(1);

/// Between two attempts of a long poll that woke while the lane is full.
const WOKEN_PAUSE: Duration = Duration::from_millis(1);
