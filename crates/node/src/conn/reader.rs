//! The task that takes frames, in order.

use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_protocol::answer::CONNECTION_KIND;
use corelog_protocol::error::ErrorCode;
use corelog_protocol::frame::{CorrelationId, FrameError, Header};
use futures_lite::FutureExt;

use super::copy::copy;
use super::intake::{LOOK_EVERY, SLOWEST_BYTES_PER_SECOND};
use super::link::Link;
use super::receive::Receive;
use super::request::{self, Known, Next};
use crate::failure::{Failure, failure};
use crate::metrics::add;
use crate::rt::{self, ReadHalf};

/// How long an empty large buffer is kept for a client that pauses.
const LARGE_IDLE: Duration = Duration::from_secs(1);
/// A client with a turn is cut whose earlier requests leave no room for the frame for this long.
const TURN_WAIT: Duration = Duration::from_secs(5);
/// After so many bytes of frames, which take some 0.3 ms to append, the core looks for flushes that have landed, and
/// has others begin. A look and what is sent behind it are some 8 µs.
const UNLOOKED_BYTES_MAX: usize = 1 << 20;

/// Why nothing more is read.
#[derive(Clone, Copy)]
enum End {
    /// The client sends no more.
    Sent,
    /// Nothing came for too long.
    Idle,
    /// The node stops.
    Stopping,
    /// The client takes too long for a frame.
    Late,
    /// The client reset the connection, or it was cut already.
    Broken,
}

/// Takes frames until the client ends or is idle for too long, the framing is lost or the node stops.
pub(super) async fn read(link: &Rc<Link>, receiver: &mut ReadHalf) {
    let mut receive = Receive::new(link.intake.clone());
    let mut known = Known::default();
    let mut begun = None;
    let mut looked = None;
    // Asked for once for all reads: each asking is a place in two lists.
    let mut gone = pin!(gone(link));
    let mut unlooked = 0;
    loop {
        if link.is_dead() {
            return;
        }
        // Between two frames it is known which was taken last.
        if link.core.is_stopping.get() {
            return leave(link);
        }
        let header = match known.is_greeted {
            true => receive.header(),
            false => receive.first_header(),
        };
        match header {
            Ok(Some(header)) => {
                if !has_room(link, &mut receive, &mut looked).await {
                    continue;
                }
                if let Next::Close = take(link, &mut receive, header, &mut known).await {
                    return;
                }
                begun = None;
                unlooked += header.total_bytes();
                if unlooked < UNLOOKED_BYTES_MAX {
                    rt::yield_if_needed().await;
                } else {
                    unlooked = 0;
                    link.core.give_way_to_disk().await;
                }
            }
            Ok(None) => {
                looked = None;
                let was_partial = receive.is_partial();
                let since = (was_partial || !known.is_greeted, &mut begun);
                let more = read_more(link, receiver, &mut receive, since, gone.as_mut());
                if let Err(end) = more.await {
                    return end_with(link, end);
                }
                // The frame begins with its first byte, however long the client was silent.
                if known.is_greeted && !was_partial {
                    begun = None;
                }
            }
            Err(error) => return lose_framing(link, &error),
        }
    }
}

/// Takes the frame of a header, which has come.
async fn take(link: &Rc<Link>, receive: &mut Receive, header: Header, known: &mut Known) -> Next {
    let next = request::take(link, &receive.frame(header), known).await;
    // Of a first frame that is no Hello not all has come.
    if matches!(next, Next::Close) {
        return Next::Close;
    }
    receive.consume(header.total_bytes());
    match next {
        Next::Copy(asked, request) => {
            receive.rest();
            // Each connection has the room of this, and few ever need it.
            Box::pin(copy(asked, request)).await
        }
        next => next,
    }
}

/// Ends a connection of which nothing more is read.
fn end_with(link: &Rc<Link>, end: End) {
    match end {
        End::Sent => {}
        End::Idle => {
            add(&link.core.counters.connections_idle_total, 1);
            let why = failure(ErrorCode::Idle, "the connection was idle for too long");
            close_with(link, CorrelationId::new(0), why);
        }
        End::Stopping => leave(link),
        End::Late => link.cut(),
        End::Broken => link.die(),
    }
}

/// Whether the connection may have one more request under way, once it may; false if it closes or the node stops instead.
/// Who has a turn, for which others wait, is not waited for long. `looked` is as [`give_back`] says.
async fn has_room(link: &Link, receive: &mut Receive, looked: &mut Option<Instant>) -> bool {
    let stopped = async {
        link.core.stopping().await;
        false
    };
    let has_turn = receive.has_turn();
    let room = link.room().or(stopped).or(give_back(link, receive, looked));
    if !has_turn {
        return room.await;
    }
    let late = async {
        rt::sleep(TURN_WAIT).await;
        link.cut();
        false
    };
    room.or(late).await
}

/// Gives back what is held for frames that were taken, while others need the room, and has the long polls answered that the
/// rest waits behind, where that holds some: it would for a minute. It does so every now and then since it `looked`, or a
/// frame first waited, of all that are there: each may wait for less. Never ready.
async fn give_back<T>(link: &Link, receive: &mut Receive, looked: &mut Option<Instant>) -> T {
    loop {
        let since = *looked.get_or_insert_with(rt::now);
        rt::sleep(LOOK_EVERY.saturating_sub(since.elapsed())).await;
        *looked = Some(rt::now());
        if link.intake.is_short() {
            receive.rest();
            if receive.is_large() {
                link.hurry();
            }
        }
    }
}

/// Ready once nothing more is to be read: the connection is dead, or the node stops.
async fn gone(link: &Link) -> End {
    let dead = async {
        link.dead().await;
        End::Broken
    };
    let stopped = async {
        link.core.stopping().await;
        End::Stopping
    };
    dead.or(stopped).await
}

/// Waits for bytes, unless it is `gone`. `begun` is since when the frame that they are of lasts, or the pause before one, where
/// either has a limit; from now on if it is `None`.
async fn read_more(
    link: &Rc<Link>,
    receiver: &mut ReadHalf,
    receive: &mut Receive,
    (is_expected, begun): (bool, &mut Option<Instant>),
    mut gone: Pin<&mut impl Future<Output = End>>,
) -> Result<(), End> {
    if is_expected || !link.core.shared.limits.idle_timeout.is_zero() {
        begun.get_or_insert_with(rt::now);
    }
    loop {
        if link.is_dead() {
            return Err(End::Broken);
        }
        let timeout = if is_expected {
            let slack = (receive.needed() / SLOWEST_BYTES_PER_SECOND) as u64;
            let limit = link.core.shared.limits.read_timeout + Duration::from_secs(slack);
            let lasted = begun.map_or(Duration::ZERO, |begun| begun.elapsed());
            let left = limit.saturating_sub(lasted);
            if left.is_zero() {
                return Err(End::Late);
            }
            // Whoever holds room is asked every now and then if it still sends.
            Some(if receive.is_large() {
                left.min(LOOK_EVERY)
            } else {
                left
            })
        } else {
            let idle = match begun.and_then(|begun| idle_left(link, begun)) {
                Some(Duration::ZERO) => return Err(End::Idle),
                idle => idle,
            };
            let large = receive.is_large().then_some(LARGE_IDLE);
            idle.into_iter().chain(large).min()
        };
        let room = async {
            receive.make_room().await;
            None
        };
        let gone_first = async { Some(gone.as_mut().await) };
        let (gone_first, waited) = rt::waited(room.or(gone_first)).await;
        if let Some(gone) = gone_first {
            return Err(gone);
        }
        // What it waits for others is not the client's time.
        *begun = begun.map(|begun| begun + waited);
        if receive.is_too_slow(rt::now) {
            return Err(End::Late);
        }
        receiver.set_timeout(timeout);
        let read = async { Ok(receiver.read(receive.free()).await) };
        let gone_first = async { Err(gone.as_mut().await) };
        match read.or(gone_first).await {
            Err(gone) => return Err(gone),
            Ok(Ok(0)) => return Err(End::Sent),
            Ok(Ok(bytes)) => {
                receive.arrived(bytes);
                link.traffic.received(bytes);
                add(&link.core.counters.received_bytes_total, bytes as u64);
                return Ok(());
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                if !is_expected && receive.is_large() {
                    receive.shrink();
                }
            }
            Ok(Err(_)) => return Err(End::Broken),
        }
    }
}

/// How long a connection without a request may still be idle, if there is a limit; it is zero only where
/// nobody waits for an answer.
fn idle_left(link: &Link, begun: Instant) -> Option<Duration> {
    let limit = link.core.shared.limits.idle_timeout;
    if limit.is_zero() {
        return None;
    }
    if link.in_flight_count() > 0 {
        return Some(limit);
    }
    let idle_since = begun.max(link.answered_at());
    Some(limit.saturating_sub(idle_since.elapsed()))
}

/// Says that the node stops: no more is read, and what is on its way is then known not to be taken.
pub(super) fn leave(link: &Rc<Link>) {
    let stopping = failure(ErrorCode::Stopping, "the node is stopping");
    close_with(link, CorrelationId::new(0), stopping);
}

/// Says why and closes: nobody can tell where the next frame begins.
fn lose_framing(link: &Rc<Link>, error: &FrameError) {
    link.count_cut();
    close_with(link, error.correlation(), Box::new(error.to_body()));
}

/// Queues an error that concerns the whole connection, of which no more is read.
pub(super) fn close_with(link: &Rc<Link>, correlation: CorrelationId, mut error: Failure) {
    error.detail.taken = link.taken.get().map(CorrelationId::get);
    link.begin(0);
    link.refuse(CONNECTION_KIND, correlation, 0, &error);
}

#[cfg(test)]
mod tests {
    use corelog_protocol::limits::IN_FLIGHT_REQUEST_COUNT_MAX;

    use super::super::link::tests::linked;
    use super::super::receive::tests::{ping, produce};
    use super::*;
    use crate::config::NodeConfig;
    use crate::core::tests::{with_core, with_core_of};

    /// Who waited long for an answer was closed in the moment in which it came.
    #[test]
    fn a_connection_is_idle_from_when_it_was_answered_last() {
        const LIMIT: Duration = Duration::from_secs(3_600);
        let limited = |config: &mut NodeConfig| config.limits.idle_timeout = LIMIT;
        with_core_of(limited, |core| async move {
            let (link, _client) = linked(&core).await;
            let begun = link.answered_at();
            while rt::now() == begun {}
            link.begin(0);
            assert_eq!(idle_left(&link, begun), Some(LIMIT), "it waits");
            link.answered(0);
            assert!(begun < link.answered_at());
            let long_ago = begun.checked_sub(LIMIT).unwrap();
            assert!(idle_left(&link, long_ago) > Some(Duration::ZERO));
        });
    }

    /// Each wait began to count anew, and only a read gave back what was held: a few clients, of each of which an answer left
    /// every second, had all room of a core for as long as they cared to.
    #[test]
    fn frames_that_each_wait_a_little_give_back_what_those_before_them_held() {
        with_core(|core| async move {
            let (link, _client) = linked(&core).await;
            for _ in 0..IN_FLIGHT_REQUEST_COUNT_MAX {
                link.begin(0);
            }
            let frames = [produce(1 << 20), ping().repeat(8)].concat();
            assert!(!is_hurried(&link, &frames).await, "nothing is held");
            let frames = ping().repeat((200 << 10) / ping().len());
            assert!(is_hurried(&link, &frames).await, "as much as it could be");
        });
    }

    /// Takes `frames`, each but the first of which waits for a second, while room is short, until what is held for them goes
    /// back or long polls are answered: whether they are.
    async fn is_hurried(link: &Link, mut frames: &[u8]) -> bool {
        let mut receive = Receive::new(link.intake.clone());
        while !frames.is_empty() {
            receive.header().expect("framed");
            receive.make_room().await;
            let free = receive.free();
            let count = free.len().min(frames.len());
            free[..count].copy_from_slice(&frames[..count]);
            receive.arrived(count);
            frames = &frames[count..];
        }
        let _others = link.intake.at_once(600 << 20).expect("room");
        assert!(link.intake.is_short());
        let patience = link.patience();
        let is_hurried = || !Rc::ptr_eq(&patience, &link.patience());
        let mut looked = None;
        loop {
            let frame = receive.header().expect("framed").expect("enough of them");
            receive.consume(frame.total_bytes());
            if !receive.is_large() || is_hurried() {
                return is_hurried();
            }
            let answered = async {
                rt::sleep(Duration::from_secs(1)).await;
                link.answered(0);
                std::future::pending().await
            };
            assert!(has_room(link, &mut receive, &mut looked).or(answered).await);
            link.begin(0);
        }
    }
}
