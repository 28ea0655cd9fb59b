//! Who receives beside whom, and who waits.

use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use corelog_record::{PartitionId, TopicId};
use corelog_storage::disk::std::StdDir;
use futures_lite::future::{block_on, poll_once};

use super::source::{Deed, Source};
use super::{Copied, directory, ordered, received, turn};
use crate::rate::Rate;
use crate::rt;
use crate::transfer::Transfers;
use crate::transfer::receive::job::Had;
use crate::transfer::receive::paces::Paces;
use crate::transfer::receive::queues::{Kind, Queues};
use crate::transfer::receive::sources::Sources;
use crate::transfer::receive::{Claims, Order, Progress, ReceiveError, Received, Receivers, job};
use crate::transfer::send::PLACE_WAIT_MAX;

/// Has a segment received for a copy that keeps a rate, in short turns.
fn copying(
    copied: &Copied,
    transfers: &Transfers,
    (source, rate): (&Source, u64),
    (_, dir): &(tempfile::TempDir, StdDir),
) -> Pin<Box<impl Future<Output = Received>>> {
    let order = Order {
        rate,
        turn: Duration::from_millis(50),
        ..copied.order(1..2, &[source], dir)
    };
    let progress = Arc::new(Progress::new(&order));
    Box::pin(transfers.copies().receive(order, progress))
}

/// Has so many copies begin that keep a rate of a byte a second, and then a segment received by others.
fn received_beside_slow_copies(count: usize, by: fn(&Transfers) -> &Receivers) {
    let copied = Copied::new();
    let (silent, source) = (Source::new(&copied, &[]), Source::new(&copied, &[]));
    let transfers = Transfers::start(Rate::default()).unwrap();
    let copies: Vec<_> = (0..count).map(|_| directory()).collect();
    let mut copies: Vec<_> = copies
        .iter()
        .map(|(_, dir)| {
            let order = Order {
                rate: 1,
                ..copied.order(1..2, &[&silent], dir)
            };
            let progress = Arc::new(Progress::new(&order));
            Box::pin(transfers.copies().receive(order, progress))
        })
        .collect();
    for copy in &mut copies {
        assert!(block_on(poll_once(copy)).is_none(), "at a byte a second");
    }
    let (_dir, dir) = directory();
    let order = copied.order(1..2, &[&source], &dir);
    let progress = Arc::new(Progress::new(&order));
    let received = block_on(by(&transfers).receive(order, progress));
    copied.assert_ready(&received, 1..2, &dir);
}

/// Copies that were slow enough took all threads, for days, and readers of what is damaged waited behind them.
#[test]
fn a_repair_does_not_wait_for_copies() {
    received_beside_slow_copies(20, Transfers::repairs);
}

/// Four of them took all threads: every other follower of the node stood still.
#[test]
fn a_copy_without_a_rate_does_not_wait_for_those_that_keep_one() {
    received_beside_slow_copies(20, Transfers::copies);
}

#[test]
fn who_waits_for_a_slow_copy_to_end_has_its_turn_when_that_is_given_up() {
    let copied = Copied::new();
    let source = Source::new(&copied, &[]);
    let transfers = Transfers::start(Rate::default()).unwrap();
    let dirs = [(); 3].map(|()| directory());
    let [first, second, third] = dirs.each_ref().map(|(_, dir)| {
        let order = copied.order(1..2, &[&source], dir);
        let progress = Arc::new(Progress::new(&order));
        (order, progress)
    });
    let at = |rate: u64, (order, progress): (Order, Arc<Progress>)| {
        Box::pin(
            transfers
                .copies()
                .receive(Order { rate, ..order }, progress),
        )
    };
    let (mut first, mut second) = (at(1, first), at(1, second));
    let mut third = at(1 << 30, third);
    assert!(block_on(poll_once(&mut first)).is_none());
    assert!(block_on(poll_once(&mut second)).is_none());
    assert!(block_on(poll_once(&mut third)).is_none());
    drop(first);
    let received = block_on(third);
    copied.assert_ready(&received, 1..2, &dirs[2].1);
}

/// Each partition of a clone had all of its rate.
#[test]
fn orders_of_one_topic_keep_its_rate_together() {
    let copied = Copied::new();
    let source = Source::new(&copied, &[]);
    let (_dir, dir) = directory();
    let order = Order {
        rate: 1 << 20,
        ..copied.order(1..2, &[&source], &dir)
    };
    let of_another_partition = Order {
        partition: PartitionId::new(9),
        ..order.clone()
    };
    let of_another_topic = Order {
        id: TopicId::from_bytes([9; 16]),
        ..order.clone()
    };
    let paces = Paces::default();
    let budget = paces.of(&order);
    assert!(Arc::ptr_eq(&budget, &paces.of(&of_another_partition)));
    assert!(!Arc::ptr_eq(&budget, &paces.of(&of_another_topic)));
}

/// Four whose sources gave little took all threads for hours, though nobody had asked for a rate.
#[test]
fn a_copy_does_not_wait_for_those_whose_sources_are_slow() {
    received_beside_copies_from_one_that(Deed::Trickle(60_000));
}

/// They were waited for as long as a source may wait for its turn to send.
#[test]
fn a_copy_does_not_wait_for_those_whose_sources_say_nothing() {
    received_beside_copies_from_one_that(Deed::Wait(60_000));
}

fn received_beside_copies_from_one_that(deed: Deed) {
    let copied = Copied::new();
    let trickling = Source::new(&copied, &[deed; 12]);
    let source = Source::new(&copied, &[]);
    let transfers = Transfers::start(Rate::default()).unwrap();
    let dirs = [(); 4].map(|()| directory());
    let mut copies = dirs.each_ref().map(|(_, dir)| {
        let order = Order {
            turn: Duration::from_millis(100),
            ..copied.order(1..2, &[&trickling], dir)
        };
        let progress = Arc::new(Progress::new(&order));
        Box::pin(transfers.copies().receive(order, progress))
    });
    for copy in &mut copies {
        assert!(block_on(poll_once(copy)).is_none(), "it has begun");
    }
    let (_dir, dir) = directory();
    let order = copied.order(1..2, &[&source], &dir);
    let (begun, progress) = (rt::now(), Arc::new(Progress::new(&order)));
    let received = block_on(transfers.copies().receive(order, progress));
    copied.assert_ready(&received, 1..2, &dir);
    assert!(rt::now() < begun + PLACE_WAIT_MAX, "it was waited for");
    for copy in &mut copies {
        assert!(block_on(poll_once(copy)).is_none(), "it goes on");
    }
}

/// It waited for hours behind those that took the threads on which a rate may be kept, while others had nothing to do.
#[test]
fn a_copy_that_keeps_a_rate_does_not_wait_for_those_whose_sources_are_slow() {
    let copied = Copied::new();
    let trickling = Source::new(&copied, &[Deed::Trickle(60_000); 32]);
    let source = Source::new(&copied, &[]);
    let transfers = Transfers::start(Rate::default()).unwrap();
    let dirs = [(); 6].map(|()| directory());
    let mut copies = dirs
        .each_ref()
        .map(|dir| copying(&copied, &transfers, (&trickling, 0), dir));
    // Each thread has one that made way.
    while trickling.asked().len() < 6 + 4 {
        for copy in &mut copies {
            assert!(block_on(poll_once(copy)).is_none(), "it goes on");
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    let (_dir, dir) = directory();
    let order = Order {
        rate: 1 << 30,
        ..copied.order(1..2, &[&source], &dir)
    };
    let (begun, progress) = (rt::now(), Arc::new(Progress::new(&order)));
    let received = block_on(transfers.copies().receive(order, progress));
    copied.assert_ready(&received, 1..2, &dir);
    assert!(rt::now() < begun + PLACE_WAIT_MAX, "it was waited for");
}

/// It was passed over for as long as others kept coming, beside copies that kept a rate.
#[test]
fn a_copy_that_made_way_goes_on_however_many_others_keep_coming() {
    let copied = Copied::new();
    let source = Source::new(&copied, &[]);
    let slow = Source::new(&copied, &[Deed::Wait(60_000)]);
    let transfers = Transfers::start(Rate::default()).unwrap();
    let dirs = [(); 11].map(|()| directory());
    let receive = |source, rate, dir| copying(&copied, &transfers, (source, rate), dir);
    let mut rated = [0, 1].map(|number| receive(&source, 1, &dirs[number]));
    let mut copy = receive(&slow, 0, &dirs[2]);
    for one in rated.iter_mut().chain([&mut copy]) {
        assert!(block_on(poll_once(one)).is_none(), "it has begun");
    }
    let mut others: Vec<_> = dirs[3..]
        .iter()
        .map(|dir| receive(&source, 0, dir))
        .collect();
    let deadline = rt::now() + PLACE_WAIT_MAX;
    let received = loop {
        if let Some(received) = block_on(poll_once(&mut copy)) {
            break received;
        }
        for (other, dir) in others.iter_mut().zip(&dirs[3..]) {
            if block_on(poll_once(&mut *other)).is_some() {
                *other = receive(&source, 0, dir);
            }
        }
        for one in &mut rated {
            assert!(block_on(poll_once(one)).is_none(), "it goes on");
        }
        assert!(rt::now() < deadline, "it was passed over");
        thread::park_timeout(Duration::from_millis(1));
    };
    copied.assert_ready(&received, 1..2, &dirs[2].1);
}

/// They waited behind the others, which may take days, while there were threads that had nothing to do.
#[test]
fn copies_that_made_way_go_on_when_nobody_waits_whatever_rate_others_keep() {
    let copied = Copied::new();
    let source = Source::new(&copied, &[]);
    let slow = [(); 3].map(|()| Source::new(&copied, &[Deed::Wait(2_000)]));
    let transfers = Transfers::start(Rate::default()).unwrap();
    let dirs = [(); 5].map(|()| directory());
    let received = |source, rate, dir| copying(&copied, &transfers, (source, rate), dir);
    let mut rated = [0, 1].map(|number| received(&source, 1, &dirs[number]));
    let mut copies = [2, 3, 4].map(|number| received(&slow[number - 2], 0, &dirs[number]));
    for copy in rated.iter_mut().chain(&mut copies) {
        assert!(block_on(poll_once(copy)).is_none(), "it has begun");
    }
    // The last one makes way to nobody.
    let [first, second, _third] = copies;
    for (copy, (_, dir)) in [first, second].into_iter().zip(&dirs[2..]) {
        copied.assert_ready(&block_on(copy), 1..2, dir);
    }
    let asked = slow[..2].iter().map(|slow| slow.asked().len());
    assert!(2 < asked.sum::<usize>(), "one of them made way to the last");
    for copy in &mut rated {
        assert!(block_on(poll_once(copy)).is_none(), "it goes on");
    }
}

/// Two of them whose batches took longer than a turn began with these again and again, for ever.
#[test]
fn a_slow_copy_makes_way_to_its_kind_with_a_batch_at_least() {
    let copied = Copied::new();
    // Its first bytes take longer than a turn of that kind.
    let source = Source::new(&copied, &[Deed::Trickle(100); 8]);
    let dirs = [(); 2].map(|()| directory());
    let [order, other] = dirs.each_ref().map(|(_, dir)| Order {
        turn: Duration::from_millis(10),
        ..copied.order(1..2, &[&source], dir)
    });
    let (queues, slow) = (Queues::default(), ordered(&order, true));
    let claims = Arc::default();
    queues.put(ordered(&other, true));
    let makes_way = queues.who_makes_way(Kind::Slow, &slow);
    // However slow the machine, less than it has for its first batch.
    let at_most = order.turn * 100;
    let makes_way = |had: Had| {
        let lasted = had.lasted.min(at_most);
        makes_way(Had { lasted, ..had })
    };
    let again = || turn(&order, &slow.sources, &slow.progress, &claims, &makes_way);
    let first = again();
    assert!(matches!(first.error, Some(ReceiveError::MadeWay)));
    let second = again();
    assert!(0 < source.asked()[1].1, "a batch came and stayed");
    copied.assert_ready(&second, 1..2, &dirs[0].1);
}

/// Its wrong bytes were asked for again, and the good ones that were there given up for them.
#[test]
fn who_deceived_in_a_turn_is_asked_no_more_in_the_next_one() {
    let copied = Copied::new();
    let deceiver = Source::new(&copied, &[Deed::Flip(0); 8]);
    let honest = Source::new(&copied, &[Deed::Stall(500_000)]);
    let (_dir, dir) = directory();
    let order = Order {
        turn: Duration::ZERO,
        ..copied.order(1..2, &[&deceiver, &honest], &dir)
    };
    let (progress, claims) = (Progress::new(&order), Arc::default());
    let is_half_there = |_| !honest.asked().is_empty() && 400_000 < progress.done().bytes;
    let sources = Sources::new(&order);
    let outcome = job::run(&order, &sources, &progress, &claims, &is_half_there);
    assert!(matches!(outcome.error, Some(ReceiveError::MadeWay)));
    let received = turn(&order, &sources, &progress, &claims, &|_| false);
    copied.assert_ready(&received, 1..2, &dir);
    let asked = honest.asked();
    assert!(asked.len() == 2 && 0 < asked[1].1, "{asked:?}");
    assert_eq!(deceiver.asked().len(), 1);
    assert_eq!(received.faults.len(), 1, "{:?}", received.faults);
}

/// Each order began with a source that said nothing, and waited for it.
#[test]
fn who_failed_a_moment_ago_is_asked_behind_all_others() {
    let copied = Copied::new();
    let silent = Source::new(&copied, &[Deed::Wait(60_000); 8]);
    let source = Source::new(&copied, &[]);
    let (_dir, dir) = directory();
    let order = Order {
        failed: vec![silent.address.clone()],
        ..copied.order(0..4, &[&silent, &source], &dir)
    };
    let progress = Progress::new(&order);
    let received = received(&order, &progress, &Arc::default());
    copied.assert_ready(&received, 0..4, &dir);
    assert_eq!(silent.asked(), []);
}

/// Each turn was spent with it: it said nothing for as long as that lasts, which is less than a source is waited for.
#[test]
fn who_said_nothing_in_a_turn_is_asked_behind_others_in_the_next_one() {
    let copied = Copied::new();
    let silent = Source::new(&copied, &[Deed::Wait(60_000); 8]);
    let source = Source::new(&copied, &[]);
    let (_dir, dir) = directory();
    let order = Order {
        turn: Duration::from_millis(50),
        ..copied.order(1..2, &[&silent, &source], &dir)
    };
    let (sources, claims) = (Sources::new(&order), Arc::default());
    let progress = Progress::new(&order);
    let is_over = |had: Had| order.turn <= had.lasted;
    let outcome = job::run(&order, &sources, &progress, &claims, &is_over);
    assert!(matches!(outcome.error, Some(ReceiveError::MadeWay)));
    let received = turn(&order, &sources, &progress, &claims, &|_| false);
    copied.assert_ready(&received, 1..2, &dir);
    assert_eq!((silent.asked().len(), source.asked().len()), (1, 1));
    let [met] = &received.faults[..] else {
        panic!("one of them is at fault: {received:?}");
    };
    assert_eq!(met.source, silent.address);
}

/// Its rate lets nothing through for longer than a turn, as others that keep it have been let through.
#[test]
fn who_is_kept_waiting_at_a_rate_is_not_said_to_have_sent_nothing() {
    let copied = Copied::new();
    let source = Source::new(&copied, &[]);
    let (_dir, dir) = directory();
    let order = Order {
        rate: 1,
        turn: Duration::from_millis(50),
        ..copied.order(1..2, &[&source], &dir)
    };
    let (sources, progress) = (Sources::new(&order), Progress::new(&order));
    let claims = Arc::<Claims>::default();
    let budget = claims.paces.of(&order);
    assert!(budget.wait(1 << 20, || false));
    let is_over = |had: Had| order.turn <= had.lasted;
    let received = turn(&order, &sources, &progress, &claims, &is_over);
    assert!(matches!(received.error, Some(ReceiveError::MadeWay)));
    assert!(received.faults.is_empty(), "{received:?}");
}

/// It had failed before, and so it was asked no sooner than another one that had given nothing.
#[test]
fn who_gave_again_in_a_turn_is_gone_on_with_in_the_next_one() {
    let copied = Copied::new();
    let failing = Source::new(&copied, &[Deed::Cut(1); 8]);
    let source = Source::new(&copied, &[Deed::Cut(1), Deed::Stall(500_000)]);
    let (_dir, dir) = directory();
    let order = Order {
        turn: Duration::ZERO,
        ..copied.order(1..2, &[&failing, &source], &dir)
    };
    let (sources, claims) = (Sources::new(&order), Arc::default());
    let progress = Progress::new(&order);
    let is_half_there = |_| 1 < source.asked().len() && 400_000 < progress.done().bytes;
    let outcome = job::run(&order, &sources, &progress, &claims, &is_half_there);
    assert!(matches!(outcome.error, Some(ReceiveError::MadeWay)));
    let asked = failing.asked().len();
    let received = turn(&order, &sources, &progress, &claims, &|_| false);
    copied.assert_ready(&received, 1..2, &dir);
    assert_eq!(failing.asked().len(), asked);
}

/// What was there of a large segment was read for longer than a turn, and nobody asked for the rest.
#[test]
fn a_turn_begins_when_a_source_is_asked() {
    let copied = Copied::new();
    let source = Source::new(&copied, &[Deed::Cut(500_000)]);
    let (_dir, dir) = directory();
    let order = Order {
        turn: Duration::ZERO,
        ..copied.order(1..2, &[&source], &dir)
    };
    let (progress, claims) = (Progress::new(&order), Arc::default());
    let sources = Sources::new(&order);
    let is_asked = |_| !source.asked().is_empty();
    let outcome = job::run(&order, &sources, &progress, &claims, &is_asked);
    assert!(matches!(outcome.error, Some(ReceiveError::MadeWay)));
    let outcome = job::run(&order, &sources, &progress, &claims, &|_| true);
    assert!(matches!(outcome.error, Some(ReceiveError::MadeWay)));
    let is_asked_again = (0..1_000).any(|_| {
        thread::park_timeout(Duration::from_millis(10));
        1 < source.asked().len()
    });
    assert!(is_asked_again);
}

/// A node that was started again in one process wrote to the file that a thread of the one before still had, which then cut it.
#[test]
fn who_waits_until_nothing_is_received_any_more_has_all_files_to_itself() {
    let copied = Copied::new();
    let source = Source::new(&copied, &[]);
    let transfers = Transfers::start(Rate::default()).unwrap();
    let claims = transfers.copies().claims();
    assert!(claims.wait_until_free(Duration::ZERO));
    let (_dir, dir) = directory();
    let order = copied.order(1..2, &[&source], &dir);
    let slow = Order {
        rate: 64 << 10,
        ..order.clone()
    };
    let progress = Arc::new(Progress::new(&slow));
    let mut copy = Box::pin(transfers.copies().receive(slow, Arc::clone(&progress)));
    assert!(block_on(poll_once(&mut copy)).is_none());
    while progress.done().bytes == 0 {
        thread::yield_now();
    }
    assert!(!claims.wait_until_free(Duration::ZERO));
    drop(copy);
    assert!(claims.wait_until_free(Duration::from_secs(60)));
    let claims = Arc::default();
    let received = received(&order, &Progress::new(&order), &claims);
    copied.assert_ready(&received, 1..2, &dir);
}

/// An order was of a gibibyte, however long that took.
#[test]
fn an_order_ends_with_what_is_there_when_its_turn_is_over() {
    let copied = Copied::new();
    let count = copied.sealed.len();
    let source = Source::new(&copied, &[]);
    let (_dir, dir) = directory();
    let order = Order {
        turn: Duration::ZERO,
        ..copied.order(0..count, &[&source], &dir)
    };
    let progress = Progress::new(&order);
    let received = received(&order, &progress, &Arc::default());
    assert!(received.error.is_none(), "{received:?}");
    assert!((1..=job::WORKERS_MAX).contains(&received.ready.len()));
    assert_eq!(source.asked().len(), received.ready.len());
    // Where others wait it makes way.
    let (_dir, dir) = directory();
    let order = Order { dir, ..order };
    let sources = Sources::new(&order);
    let outcome = job::run(&order, &sources, &progress, &Arc::default(), &|_| true);
    let has_made_way = matches!(outcome.error, Some(ReceiveError::MadeWay));
    assert!(has_made_way && outcome.ready.is_empty(), "{outcome:?}");
}
