//! Fetches, wherever the partition is: room for the answer first, then what there is, or a wait.

use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::fetch;
use corelog_record::{CoreId, Offset, PartitionId, TopicId, TopicName};
use corelog_storage::log::Piece;
use futures_lite::FutureExt;

use super::message::{Answered, What};
use super::patience::Patience;
use super::room::Room;
use super::route::{count_refusal, healed_at, route};
use crate::core::{Core, Disk, Fetched, PartitionKey, SMALL_BYTES};
use crate::failure::Failure;
use crate::frame_id::FrameId;
use crate::metrics::add;
use crate::partition::Appetite;
use crate::rt::{self, Semaphore};

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

/// Who fetches: what a connection has room and patience for.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    /// Bytes of batches that may be read for the client before it takes them.
    pub(crate) room: &'a Semaphore,
    pub(crate) patience: &'a Patience,
}

/// A Fetch wherever its partition is.
#[derive(Debug)]
pub(crate) struct FetchFrom<'a> {
    pub(crate) frame: FrameId,
    pub(crate) topic: &'a TopicName,
    pub(crate) id: TopicId,
    pub(crate) partition: PartitionId,
    pub(crate) from: Offset,
    /// What of it; it is parked while there is time to wait.
    pub(crate) appetite: Appetite,
    pub(crate) wait: Duration,
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
    let (owner, key) = request.route(core)?;
    match owner == core.id {
        true => fetch_here(core, asker, key, request, deadline).await,
        false => fetch_away(core, asker, (owner, key), request, deadline).await,
    }
}

impl FetchFrom<'_> {
    /// Where the partition is served now: after a wait its topic may be gone or another.
    pub(super) fn route(&self, core: &Core) -> Result<(CoreId, PartitionKey), Failure> {
        route(core, self.topic, self.id, self.partition)
    }
}

/// Fetches once on this core. `held`, which is given back, is kept as long as the disk is at it.
pub(super) async fn fetched_here<H: 'static>(
    core: &Rc<Core>,
    place: (PartitionKey, Offset),
    appetite: Appetite,
    frame: Option<FrameId>,
    held: H,
) -> Result<(H, Fetched), Failure> {
    reads(core, place, frame);
    core.fetch(place, appetite, held).await
}

/// The same for what is small and lies in memory; `None` for anything else.
pub(super) fn fetched_small_here(
    core: &Rc<Core>,
    (key, from): (PartitionKey, Offset),
    appetite: Appetite,
    frame: Option<FrameId>,
) -> Result<Option<Fetched>, Failure> {
    reads(core, (key, from), frame);
    core.fetch_small(key, from, appetite)
}

fn reads(core: &Core, (key, from): (PartitionKey, Offset), frame: Option<FrameId>) {
    if let Some(frame) = frame {
        frame.passes(core.id, format_args!("reads {key} from {from}"));
    }
}

/// Fetches with room for what it gives. Where others wait for room, what is small and lies in memory goes
/// by them.
async fn fetched_with_room(
    core: &Rc<Core>,
    asker: Asker<'_>,
    place: (PartitionKey, Offset),
    appetite: Appetite,
    frame: Option<FrameId>,
) -> Result<(Room, Fetched), Failure> {
    if let Some(room) = Room::at_once(core, asker.room) {
        return fetched_here(core, place, appetite, frame, room).await;
    }
    if appetite.bytes_min <= SMALL_BYTES as u64 {
        let room = Room::small(core, asker.room).await?;
        if let Some(fetched) = fetched_small_here(core, place, appetite, frame)? {
            return Ok((room, fetched));
        }
    }
    let room = Room::take(core, asker.room).await?;
    fetched_here(core, place, appetite, frame, room).await
}

async fn fetch_here(
    core: &Rc<Core>,
    asker: Asker<'_>,
    key: PartitionKey,
    request: &FetchFrom<'_>,
    deadline: Instant,
) -> Result<(fetch::Answer, Batches, Room), Failure> {
    let mut has_healed = false;
    loop {
        let wait = time_left(core, asker, deadline);
        let appetite = Appetite {
            may_park: !wait.is_zero(),
            ..request.appetite
        };
        let (place, frame) = ((key, request.from), Some(request.frame));
        let fetched = fetched_with_room(core, asker, place, appetite, frame).await;
        let (mut room, fetched) = match fetched {
            Ok(fetched) => fetched,
            // Without room, which others need meanwhile.
            Err(error) if !has_healed => {
                core.healed_for_reader(key, error).await?;
                has_healed = true;
                continue;
            }
            Err(error) => return Err(error),
        };
        match fetched {
            Fetched::Batches { answer, mut read } => {
                let held = read.hold_at_most(room.bytes());
                room.shrink_to(held);
                return Ok((answer, Batches::Pieces(read.pieces), room));
            }
            Fetched::Nothing {
                answer,
                parked: None,
            } => {
                room.shrink_to(0);
                pace(core, asker, deadline).await;
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
    let (mut parked_answer, mut has_healed, mut pause) = (None, false, WOKEN_PAUSE);
    let mut is_small = request.appetite.bytes_min <= SMALL_BYTES as u64;
    loop {
        let (mut room, only_small) = match Room::at_once(core, asker.room) {
            Some(room) => (room, false),
            None if is_small => (Room::small(core, asker.room).await?, true),
            None => (Room::take(core, asker.room).await?, false),
        };
        let wait = match lane.has_room_to_park() {
            true => time_left(core, asker, deadline),
            false => Duration::ZERO,
        };
        let what = What::Fetch {
            key,
            from: request.from,
            appetite: Appetite {
                may_park: !wait.is_zero(),
                ..request.appetite
            },
            only_small,
            wait,
        };
        let call = match (lane.call(what, Some(request.frame)), &parked_answer) {
            (Ok(call), _) => call,
            // It was parked, woke and finds no credit: data is there, so it tries again.
            (Err(error), Some(_)) if error.is(ErrorCode::Busy) && !wait.is_zero() => {
                // Without room, which others need meanwhile.
                drop(room);
                rt::sleep(pause.min(wait)).await;
                pause = (2 * pause).min(UNPARKED_PAUSE);
                continue;
            }
            (Err(_), Some(answer)) => {
                // Not `Busy`, though there is no room on the way: what it was told before holds.
                room.shrink_to(0);
                pace(core, asker, deadline).await;
                return Ok((fetch::Answer::clone(answer), none(), room));
            }
            (Err(error), None) => {
                count_refusal(core, &error);
                return Err(error);
            }
        };
        add(&core.counters.hops_total, 1);
        call.hold(room);
        match call.answered().await {
            // Without room, which others need meanwhile.
            Answered::Fetched(Err(error)) if !has_healed => {
                drop((call.let_go(), call));
                Box::pin(healed_at(core, (owner, key), error, request.frame)).await?;
                has_healed = true;
            }
            Answered::Fetched(fetched) => {
                let (answer, bytes) = fetched?;
                let Some(mut room) = call.let_go() else {
                    unreachable!("room is held until it is parked");
                };
                room.shrink_to(bytes.len());
                if bytes.is_empty() {
                    pace(core, asker, deadline).await;
                }
                return Ok((answer, Batches::Bytes(bytes), room));
            }
            Answered::TooLarge => is_small = false,
            Answered::Parked(answer) => {
                parked_answer = Some(answer);
                let woken = async {
                    call.answered().await;
                };
                woken.or(core.stopping()).or(asker.patience.over()).await;
                // Given up in whatever way, it is no longer parked over there.
                drop(call);
                pause = WOKEN_PAUSE;
                request.route(core)?;
            }
            _ => unreachable!("a fetch was answered as something else"),
        }
    }
}

/// How long an asker may still wait: for nothing once it or the core is about to go.
fn time_left(core: &Core, asker: Asker<'_>, deadline: Instant) -> Duration {
    match core.is_stopping.get() || asker.patience.is_over() {
        true => Duration::ZERO,
        false => deadline.saturating_duration_since(rt::now()),
    }
}

/// Holds an empty answer back a little if whoever had time found no place to park: it asks again at once.
/// As many wait like this as may be parked.
async fn pace(core: &Core, asker: Asker<'_>, deadline: Instant) {
    let left = time_left(core, asker, deadline);
    if left.is_zero() {
        return;
    }
    if let Some(_place) = core.paced.try_acquire(1) {
        let given_up = core.stopping().or(asker.patience.over());
        rt::timeout(UNPARKED_PAUSE.min(left), given_up).await;
    }
}

fn none() -> Batches {
    Batches::Bytes(Vec::new())
}

/// How long a long poll waits without a place to park.
const UNPARKED_PAUSE: Duration = Duration::from_millis(50);

/// Before a long poll that woke while the lane is full tries again; then twice as long each time.
const WOKEN_PAUSE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::Arc;

    use futures_lite::future::poll_once;

    use super::super::message::{Ask, Reply};
    use super::super::room::CONNECTION_BYTES_MAX;
    use super::*;
    use crate::core::tests::{cold, topic, with_core, with_others};
    use crate::follow::samples::found_nothing;
    use crate::frame_id::tests::frame;
    use crate::metrics::set;

    fn from_start(topic: &TopicName, key: PartitionKey, wait: Duration) -> FetchFrom<'_> {
        FetchFrom {
            frame: frame(),
            topic,
            id: key.topic,
            partition: key.partition,
            from: Offset::ZERO,
            appetite: Appetite {
                may_park: true,
                ..Appetite::ONE
            },
            wait,
        }
    }

    /// Both went back while the kernel still filled the memory: who asked and hung up, again and again, had the core hold
    /// more than it may, and the disk do so.
    #[test]
    fn a_read_that_nobody_waits_for_keeps_its_room_and_its_turn_until_the_disk_has_answered() {
        with_core(|core| async move {
            let (topic, key) = cold(&core).await;
            core.routes.borrow_mut().put(Arc::clone(&topic));
            let of_connection = Semaphore::new(CONNECTION_BYTES_MAX);
            let asker = Asker {
                room: &of_connection,
                patience: &Patience::default(),
            };
            let left = || {
                let rooms = (of_connection.available(), core.send_budget.available());
                (rooms, core.reads_left())
            };
            let all = left();
            let request = from_start(&topic.name, key, Duration::ZERO);
            {
                let mut fetched = pin!(fetch(&core, asker, &request));
                assert!(poll_once(fetched.as_mut()).await.is_none());
                assert!(left().1 < all.1, "the disk is asked");
            }
            let ((of_connection_left, of_core_left), reads_left) = left();
            assert!(of_connection_left < all.0.0);
            assert!(of_core_left < all.0.1);
            assert!(reads_left < all.1);
            let answered = async {
                while left() != all {
                    rt::next_turn().await;
                }
            };
            let answered = rt::timeout(Duration::from_secs(10), answered).await;
            answered.expect("all of it comes back");
        });
    }

    /// One that asked for none or more bytes was answered at once, and asked again at once.
    #[test]
    fn who_finds_no_place_to_wait_is_held_back_a_little_also_if_it_asks_for_no_bytes() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            assert!(core.open_partition(&topic, key).await);
            core.routes.borrow_mut().put(Arc::clone(&topic));
            let asker = Asker {
                room: &Semaphore::new(CONNECTION_BYTES_MAX),
                patience: &Patience::default(),
            };
            let most = core.shared.limits.parked_fetches_max as u64;
            set(&core.counters.parked_fetches, most);
            for bytes_min in [0, 1] {
                let mut request = from_start(&topic.name, key, Duration::from_secs(60));
                request.appetite.bytes_min = bytes_min;
                let mut fetched = pin!(fetch(&core, asker, &request));
                assert!(poll_once(fetched.as_mut()).await.is_none(), "{bytes_min}");
                assert!(fetched.await.is_ok(), "nothing, for now");
            }
        });
    }

    /// It tried every millisecond: thousands that woke at once had the core do nothing else.
    #[test]
    fn who_wakes_while_the_lane_is_full_tries_again_less_and_less_often() {
        with_others(1, |core, mut others| async move {
            let (_, mut inboxes) = others.remove(0).open();
            let requests = inboxes.remove(0).requests;
            let (topic, key) = topic(1);
            let mut away = Arc::unwrap_or_clone(topic);
            away.owners = vec![CoreId::new(1)];
            let name = away.name.clone();
            core.routes.borrow_mut().put(Arc::new(away));
            let asker = Asker {
                room: &Semaphore::new(CONNECTION_BYTES_MAX),
                patience: &Patience::default(),
            };
            let wait = Duration::from_millis(500);
            let request = from_start(&name, key, wait);
            let mut fetched = pin!(fetch(&core, asker, &request));
            assert!(poll_once(fetched.as_mut()).await.is_none());
            let lane = core.lanes.to(CoreId::new(1));
            let id = requests.try_recv().unwrap().id;
            let answered = |what| lane.take(Reply { id, what });
            answered(Answered::Parked(found_nothing()));
            assert!(poll_once(fetched.as_mut()).await.is_none());
            let ask = || {
                let from = Offset::ZERO;
                What::Ask(Box::new(Ask::Segments { key, from }))
            };
            while lane.call(ask(), None).is_ok() {}
            answered(Answered::Woken);
            let mut tries = 0;
            let told = poll_fn(|context| {
                tries += 1;
                fetched.as_mut().poll(context)
            });
            assert!(told.await.is_ok(), "what it was told before holds");
            assert!(tries < 60, "{tries} in half a second");
        });
    }
}
