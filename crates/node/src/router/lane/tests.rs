//! Calls that nobody waits for any more, and who finds a place.

use std::net::SocketAddr;
use std::time::Duration;

use corelog_record::{HistoryId, Offset, Timestamp};
use corelog_storage::format::edit::Point;
use futures_lite::future::block_on;

use super::super::message::Ask;
use super::*;
use crate::core;
use crate::follow::samples::found_nothing;
use crate::frame_id::tests::frame;
use crate::partition::{Appetite, Seek};
use crate::rt::Semaphore;

/// The way from one core to another, of eight places, on which one fetch may be parked, and where it comes out.
fn way() -> (Lanes, Inbox) {
    way_within(&NodeLimits {
        lane_requests_max: 8,
        parked_fetches_max: 1,
        ..NodeLimits::default()
    })
}

fn way_within(limits: &NodeLimits) -> (Lanes, Inbox) {
    let mut ends = connect(2, limits, 1 << 20).into_iter();
    let (lanes, _) = ends.next().unwrap().open();
    let (_, mut inboxes) = ends.next().unwrap().open();
    (lanes, inboxes.pop().unwrap())
}

fn lane(lanes: &Lanes) -> &Lane {
    lanes.to(CoreId::new(1))
}

fn key() -> PartitionKey {
    core::tests::key(1, 0)
}

/// Whether there is a place for a question, of a client if it has a frame.
fn has_room_for_question(lane: &Lane, frame: Option<FrameId>) -> bool {
    let (key, from) = (key(), Offset::ZERO);
    has_room_to_ask(lane, Ask::Segments { key, from }, frame)
}

/// A search of a client there.
fn search(peer: SocketAddr) -> (Ask, Option<FrameId>) {
    let seek = Seek::Time(Timestamp::from_millis(1));
    let frame = FrameId::new(peer, CorrelationId::new(1));
    (Ask::Find { key: key(), seek }, Some(frame))
}

/// A connection of this machine, by its port.
fn client(machine: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, machine], port))
}

/// What is asked where a copy tells of itself.
fn hear() -> Ask {
    let end = Point::origin(HistoryId::from_bytes([1; 16]));
    let (key, follower) = (key(), core::tests::follower(1, end));
    Ask::Hear { key, follower }
}

/// Whether there is one for a search of the client at this port.
fn has_room_for_search(lane: &Lane, port: u16) -> bool {
    let (ask, frame) = search(client(1, port));
    has_room_to_ask(lane, ask, frame)
}

fn has_room_to_ask(lane: &Lane, ask: Ask, frame: Option<FrameId>) -> bool {
    let asked = lane.call(What::Ask(Box::new(ask)), frame);
    assert!(
        asked
            .as_ref()
            .err()
            .is_none_or(|error| error.is(ErrorCode::Busy))
    );
    asked.is_ok()
}

/// Whether there is one for a Produce.
fn has_room_for_produce(lane: &Lane) -> bool {
    let produce = Produce {
        conn: 1,
        key: key(),
        run: 0,
        terms: core::tests::terms(),
        batches: vec![1],
    };
    let acks = Acks::new(Notify::new(), Rc::default());
    let acks = Rc::new(RefCell::new(acks));
    lane.produce(produce, acks).is_ok()
}

fn call(lane: &Lane, wait: Duration) -> Call<'_> {
    let what = What::Fetch {
        key: key(),
        from: Offset::ZERO,
        appetite: Appetite {
            may_park: !wait.is_zero(),
            ..Appetite::ONE
        },
        only_small: false,
        wait,
    };
    lane.call(what, None).ok().unwrap()
}

fn room(budget: &Semaphore) -> Room {
    let half = || budget.try_acquire(budget.available() / 2).unwrap();
    Room::of(half(), half())
}

const WAIT: Duration = Duration::from_secs(60);

/// Questions that waited for a slow disk took all places, and producers whose records go to that core were refused.
#[test]
fn what_clients_ask_leaves_a_quarter_of_the_places_to_produces_and_to_the_node() {
    let (lanes, _inbox) = way();
    let lane = lane(&lanes);
    let questions = (0..9).take_while(|_| has_room_for_question(lane, Some(frame())));
    assert_eq!(questions.count(), 6);
    assert!(has_room_for_produce(lane));
    assert!(!has_room_for_question(lane, Some(frame())));
    assert!(has_room_for_question(lane, None), "the node's own");
    assert!(!has_room_for_produce(lane) && !has_room_for_question(lane, None));
}

/// Twelve connections that looked for times in cold logs, 64 each, took all places: every Fetch over that lane was refused.
#[test]
fn searches_leave_half_of_the_places_of_what_clients_ask_to_the_rest_of_it() {
    let (lanes, inbox) = way();
    let lane = lane(&lanes);
    let searches = (0..9).take_while(|client| has_room_for_search(lane, *client));
    assert_eq!(searches.count(), 3);
    assert!(has_room_for_question(lane, Some(frame())));
    let id = inbox.requests.try_recv().unwrap().id;
    let what = Answered::Told(Err(full()));
    lane.take(Reply { id, what });
    assert!(has_room_for_search(lane, 9), "one is done");
    assert!(!has_room_for_search(lane, 10));
}

/// Twelve connections whose Fetches met the same damage, 64 each, took all places for as long as its repair went on, and so did
/// those that told of copies which the disk was to be looked at for.
#[test]
fn who_waits_for_a_repair_and_who_follows_leave_as_many_places_to_the_rest_as_searches() {
    let heal = || Ask::Heal {
        key: key(),
        error: full(),
    };
    for (ask, count) in [(heal as fn() -> Ask, 3), (hear, 2)] {
        let (lanes, _inbox) = way();
        let lane = lane(&lanes);
        let all = (0..9).take_while(|port| {
            let frame = FrameId::new(client(1, *port), CorrelationId::new(1));
            has_room_to_ask(lane, ask(), Some(frame))
        });
        assert_eq!(all.count(), count);
        assert!(has_room_for_question(lane, Some(frame())));
    }
}

/// A copy that had been held against the log long ago was `Busy` behind those that searched, and began anew: it told its
/// epochs again, for which it searched itself. Then those that searched beside other searches took all places.
#[test]
fn who_follows_does_not_wait_on_its_way_to_another_core_behind_searches_nor_fetches_behind_both() {
    let (lanes, inbox) = way();
    let lane = lane(&lanes);
    let hears = || (0..9).take_while(|_| has_room_to_ask(lane, hear(), Some(frame())));
    assert_eq!(hears().count(), 2);
    let id = inbox.requests.try_recv().unwrap().id;
    let what = Answered::Told(Err(full()));
    lane.take(Reply { id, what });
    let searches = (0..9).take_while(|client| has_room_for_search(lane, *client));
    assert_eq!(searches.count(), 3);
    assert_eq!(hears().count(), 1);
    assert!(has_room_for_question(lane, Some(frame())));
}

/// They are no searches, and took all places of what clients ask: every Fetch over that lane was refused.
#[test]
fn who_asks_where_a_log_ends_leaves_places_to_fetches_and_to_searches() {
    let (lanes, inbox) = way();
    let lane = lane(&lanes);
    let has_room_for_end =
        |seek| has_room_to_ask(lane, Ask::Find { key: key(), seek }, Some(frame()));
    let ends = (0..9).take_while(|_| has_room_for_end(Seek::Latest));
    assert_eq!(ends.count(), 3);
    assert!(!has_room_for_end(Seek::Earliest));
    assert!(has_room_for_question(lane, Some(frame())));
    assert!(has_room_for_search(lane, 1));
    let id = inbox.requests.try_recv().unwrap().id;
    let what = Answered::Told(Err(full()));
    lane.take(Reply { id, what });
    assert!(has_room_for_end(Seek::Earliest), "one is done");
    assert!(!has_room_for_end(Seek::Latest));
}

/// Others' searches were refused for as long as it went on.
#[test]
fn one_client_that_searches_on_and_on_leaves_places_to_others() {
    let (lanes, inbox) = way();
    let lane = lane(&lanes);
    let floods = (0..9).take_while(|_| has_room_for_search(lane, 1));
    assert_eq!(floods.count(), 2);
    assert!(has_room_for_search(lane, 2));
    for _ in 0..3 {
        let id = inbox.requests.try_recv().unwrap().id;
        let what = Answered::Told(Err(full()));
        lane.take(Reply { id, what });
    }
    let again = (0..9).take_while(|_| has_room_for_search(lane, 1));
    assert_eq!(again.count(), 2, "what it had came back");
}

/// As many connections as there are places for searches, with one each, had those of everybody else refused.
#[test]
fn many_connections_of_one_machine_that_search_leave_places_to_others() {
    let (lanes, _inbox) = way_within(&NodeLimits::default());
    let mut held = Vec::new();
    leaves_places_to_others(|peer| {
        let (ask, frame) = search(peer);
        let place = lanes.searches_here.begin(&ask, frame);
        place.map(|place| held.push(place)).is_ok()
    });
    leaves_places_to_others(|peer| {
        let (ask, frame) = search(peer);
        has_room_to_ask(lane(&lanes), ask, frame)
    });
}

fn leaves_places_to_others(mut has_room: impl FnMut(SocketAddr) -> bool) {
    let crowd = (0..1_000).filter(|port| has_room(client(1, *port)));
    assert_eq!(crowd.count(), 288);
    assert!(has_room(client(2, 1)));
    let flood = (0..1_000).filter(|_| has_room(client(3, 1)));
    assert_eq!(flood.count(), 57);
    assert!(has_room(client(3, 2)), "the same machine's");
}

/// Each has at most three times what is left free.
#[test]
fn as_many_machines_as_are_told_search_on_and_on_and_leave_a_place_to_another() {
    for (count, leave_one) in [(127, true), (128, false)] {
        let (lanes, _inbox) = way_within(&NodeLimits::default());
        let has_room = |machine, port| {
            let (ask, frame) = search(client(machine, port));
            has_room_to_ask(lane(&lanes), ask, frame)
        };
        for port in 1..=9 {
            for machine in 1..=count {
                has_room(machine, port);
            }
        }
        assert_eq!(has_room(200, 1), leave_one, "{count}");
    }
}

/// They waited for a disk in any number, and every Fetch of a cold log of this core behind them.
#[test]
fn searches_of_this_cores_own_logs_are_bounded_and_give_their_places_back() {
    let (lanes, _inbox) = way();
    let here = &lanes.searches_here;
    let (ask, frame) = search(client(1, 1));
    let mut floods = Vec::from_iter((0..9).map_while(|_| here.begin(&ask, frame).ok().flatten()));
    assert_eq!(floods.len(), 2);
    let refused = here.begin(&ask, frame).err().unwrap();
    assert!(refused.is(ErrorCode::Busy) && refused.detail.retry_ms.is_some());
    floods.pop();
    assert!(here.begin(&ask, frame).is_ok());
}

/// Who asked where a log ends was refused behind those who looked for times.
#[test]
fn what_is_told_from_memory_or_asked_by_the_node_is_no_search() {
    let (lanes, _inbox) = way();
    let here = &lanes.searches_here;
    let (by_time, frame) = search(client(1, 1));
    let _all = Vec::from_iter((0..9).map_while(|_| here.begin(&by_time, frame).ok().flatten()));
    assert!(here.begin(&by_time, frame).is_err());
    assert!(here.begin(&by_time, None).unwrap().is_none());
    for seek in [Seek::Earliest, Seek::Latest] {
        let ask = Ask::Find { key: key(), seek };
        assert!(here.begin(&ask, frame).unwrap().is_none());
    }
}

#[test]
fn produces_may_take_all_places() {
    let (lanes, _inbox) = way();
    let lane = lane(&lanes);
    let produces = (0..9).take_while(|_| has_room_for_produce(lane));
    assert_eq!(produces.count(), 8);
}

/// A handover, or a promotion, whose first steps were done was told that nothing was, since core 0 could not be told of it.
#[test]
fn what_clients_send_leaves_places_to_what_the_node_itself_asks() {
    let (lanes, _inbox) = way_within(&NodeLimits::default());
    let lane = lane(&lanes);
    let produces = (0..2_000).take_while(|_| has_room_for_produce(lane));
    assert_eq!(produces.count(), 992);
    assert!(!has_room_for_question(lane, Some(frame())));
    let own = (0..2_000).take_while(|_| has_room_for_question(lane, None));
    assert_eq!(own.count(), 32);
}

/// Three quarters of the places with Produces in them were too many for a question.
#[test]
fn questions_are_counted_apart_from_produces() {
    let (lanes, _inbox) = way();
    let lane = lane(&lanes);
    let produces = (0..7).take_while(|_| has_room_for_produce(lane));
    assert_eq!(produces.count(), 7);
    assert!(has_room_for_question(lane, Some(frame())));
    assert!(!has_room_for_question(lane, Some(frame())));
}

/// Its place was taken for as long as the client had said that it would wait.
#[test]
fn a_fetch_that_is_given_up_before_it_is_parked_does_not_stay_so() {
    let (lanes, inbox) = way();
    let lane = lane(&lanes);
    let given_up = call(lane, WAIT);
    let id = inbox.requests.try_recv().unwrap().id;
    drop(given_up);
    assert!(inbox.requests.is_empty(), "it is not parked yet");
    let what = Answered::Parked(found_nothing());
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
        let what = Answered::Parked(found_nothing());
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
    let what = Answered::Fetched(Ok((found_nothing(), vec![])));
    lane.take(Reply { id, what });
    assert_eq!(budget.available(), 100);

    let parked = call(lane, WAIT);
    parked.hold(room(&budget));
    let id = inbox.requests.try_recv().unwrap().id;
    let what = Answered::Parked(found_nothing());
    lane.take(Reply { id, what });
    assert_eq!(budget.available(), 100, "nothing is read for it");
}
