//! Calls that nobody waits for any more.

use std::time::Duration;

use corelog_protocol::message::fetch;
use corelog_record::{Offset, PartitionId, TopicId};
use futures_lite::future::block_on;

use super::*;
use crate::partition::Appetite;
use crate::rt::Semaphore;

/// The way from one core to another, on which one fetch may be parked, and where it comes out.
fn way() -> (Lanes, Inbox) {
    let limits = NodeLimits {
        parked_fetches_max: 1,
        ..NodeLimits::default()
    };
    let mut ends = connect(2, &limits, 1 << 20).into_iter();
    let (lanes, _) = ends.next().unwrap().open();
    let (_, mut inboxes) = ends.next().unwrap().open();
    (lanes, inboxes.pop().unwrap())
}

fn lane(lanes: &Lanes) -> &Lane {
    lanes.to(CoreId::new(1))
}

fn call(lane: &Lane, wait: Duration) -> Call<'_> {
    let key = PartitionKey {
        topic: TopicId::from_bytes([1; 16]),
        partition: PartitionId::new(0),
    };
    let what = What::Fetch {
        key,
        from: Offset::ZERO,
        appetite: Appetite {
            bytes_max: 1,
            bytes_min: 1,
            is_replica: false,
            last_epoch: None,
            may_park: !wait.is_zero(),
        },
        only_small: false,
        wait,
    };
    lane.call(what, None).ok().unwrap()
}

fn answer() -> fetch::Answer {
    fetch::Answer {
        log_start: Offset::ZERO,
        high_watermark: Offset::ZERO,
        segment_base: Offset::ZERO,
        next: Offset::ZERO,
        epochs: vec![],
        lag_bytes: 0,
    }
}

fn room(budget: &Semaphore) -> Room {
    let half = || budget.try_acquire(budget.available() / 2).unwrap();
    Room::of(half(), half())
}

const WAIT: Duration = Duration::from_secs(60);

/// Its place was taken for as long as the client had said that it would wait.
#[test]
fn a_fetch_that_is_given_up_before_it_is_parked_does_not_stay_so() {
    let (lanes, inbox) = way();
    let lane = lane(&lanes);
    let given_up = call(lane, WAIT);
    let id = inbox.requests.try_recv().unwrap().id;
    drop(given_up);
    assert!(inbox.requests.is_empty(), "it is not parked yet");
    let what = Answered::Parked(answer());
    lane.take(Reply { id, what });
    let told = inbox.requests.try_recv().unwrap().what;
    assert!(matches!(told, What::Unpark { fetch } if fetch == id));
    assert!(!lane.has_room_to_park(), "it comes back with its waking");
    let what = Answered::Woken;
    lane.take(Reply { id, what });
    assert!(lane.has_room_to_park());
    assert!(inbox.requests.is_empty());
}

#[test]
fn a_parked_fetch_that_is_given_up_is_unparked_also_where_nobody_has_heard_that_it_is() {
    for has_heard in [true, false] {
        let (lanes, inbox) = way();
        let lane = lane(&lanes);
        let call = call(lane, WAIT);
        let id = inbox.requests.try_recv().unwrap().id;
        let what = Answered::Parked(answer());
        lane.take(Reply { id, what });
        if has_heard {
            block_on(call.answered());
        }
        assert!(inbox.requests.is_empty(), "somebody waits");
        drop(call);
        let told = inbox.requests.try_recv().unwrap().what;
        assert!(matches!(told, What::Unpark { fetch } if fetch == id));
        let what = Answered::Woken;
        lane.take(Reply { id, what });
        assert!(lane.has_room_to_park() && inbox.requests.is_empty());
    }
}

/// The other core reads on for a client that is gone: so many such reads are under way as there is room.
#[test]
fn room_is_held_until_the_answer_comes_whether_anybody_waits_or_not() {
    let (lanes, inbox) = way();
    let lane = lane(&lanes);
    let budget = Semaphore::new(100);
    let given_up = call(lane, Duration::ZERO);
    given_up.hold(room(&budget));
    let id = inbox.requests.try_recv().unwrap().id;
    drop(given_up);
    assert!(budget.available() < 100);
    let what = Answered::Fetched(Ok((answer(), vec![])));
    lane.take(Reply { id, what });
    assert_eq!(budget.available(), 100);

    let parked = call(lane, WAIT);
    parked.hold(room(&budget));
    let id = inbox.requests.try_recv().unwrap().id;
    let what = Answered::Parked(answer());
    lane.take(Reply { id, what });
    assert_eq!(budget.available(), 100, "nothing is read for it");
}
