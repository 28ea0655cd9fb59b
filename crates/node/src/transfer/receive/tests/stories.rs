//! Whatever the sources do, what is ready is what was sealed.

use std::fs::File;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use corelog_protocol::error::ErrorCode;
use corelog_record::HistoryId;
use corelog_storage::disk::Dir;
use corelog_storage::disk::std::StdDir;

use super::source::{Deed, Source};
use super::{Copied, Received, directory, received, turn};
use crate::transfer::peer::PeerError;
use crate::transfer::receive::claims::Claims;
use crate::transfer::receive::sources::Sources;
use crate::transfer::receive::{Fault, Order, Progress, ReceiveError};

fn receive(order: &Order) -> (Received, Progress) {
    receive_beside(order, &Arc::default())
}

/// Receives beside others who have `claims`.
fn receive_beside(order: &Order, claims: &Arc<Claims>) -> (Received, Progress) {
    let progress = Progress::new(order);
    (received(order, &progress, claims), progress)
}

#[test]
fn several_segments_come_in_at_once_from_several_sources() {
    let copied = Copied::new();
    let count = copied.sealed.len();
    let (one, other) = (Source::new(&copied, &[]), Source::new(&copied, &[]));
    let (_dir, dir) = directory();
    let (received, progress) = receive(&copied.order(0..count, &[&one, &other], &dir));
    assert!(
        received.error.is_none() && received.faults.is_empty(),
        "{received:?}"
    );
    copied.assert_ready(&received, 0..count, &dir);
    assert!(!one.asked().is_empty() && !other.asked().is_empty());
    assert_eq!(
        one.asked().len() + other.asked().len(),
        count,
        "each is asked for once"
    );
    let done = progress.done();
    assert_eq!(
        (done.bytes, done.segments),
        (done.bytes_total, count as u64)
    );
}

#[test]
fn only_the_named_segments_are_asked_for() {
    let copied = Copied::new();
    let source = Source::new(&copied, &[]);
    let (_dir, dir) = directory();
    let (received, _) = receive(&copied.order(2..3, &[&source], &dir));
    copied.assert_ready(&received, 2..3, &dir);
    assert_eq!(source.asked(), [(copied.sealed[2].0.digest.base.get(), 0)]);
}

#[test]
fn a_cut_connection_is_gone_on_with_behind_what_was_verified() {
    let copied = Copied::new();
    let deeds = [Deed::Cut(400_000), Deed::Cut(1), Deed::Cut(500_000)];
    let source = Source::new(&copied, &deeds);
    let (_dir, dir) = directory();
    let (received, _) = receive(&copied.order(1..2, &[&source], &dir));
    assert!(received.error.is_none(), "{received:?}");
    copied.assert_ready(&received, 1..2, &dir);
    let positions: Vec<_> = source
        .asked()
        .iter()
        .map(|(_, position)| *position)
        .collect();
    // Batches have 150,000 bytes and a little more.
    assert!(
        positions[0] == 0 && (300_000..400_000).contains(&positions[1]),
        "{positions:?}"
    );
    assert!(positions[2] == positions[1] && (700_000..900_000).contains(&positions[3]));
}

/// Has a source do this for longer than it may, with another one beside it, which is given back.
fn left_at_the_deadline(deed: Deed) -> Source {
    let copied = Copied::new();
    let slow = Source::new(&copied, &[deed]);
    let other = Source::new(&copied, &[]);
    let (_dir, dir) = directory();
    let mut order = copied.order(1..2, &[&slow, &other], &dir);
    order.patience = Duration::from_millis(300);
    let (received, _) = receive(&order);
    copied.assert_ready(&received, 1..2, &dir);
    let met = &received.faults[0];
    assert_eq!(met.source, slow.address);
    assert!(
        matches!(met.fault, Fault::Peer(PeerError::Stalled { .. })),
        "{met:?}"
    );
    other
}

#[test]
fn a_source_that_stalls_is_left_at_the_deadline_for_another() {
    let other = left_at_the_deadline(Deed::Stall(200_000));
    assert!(other.asked()[0].1 > 0, "what the first one sent is kept");
}

/// A source that made others wait for their turn was left after ten seconds, and had them wait from the start again.
#[test]
fn a_source_may_wait_for_its_turn_before_a_piece() {
    let copied = Copied::new();
    let source = Source::new(&copied, &[Deed::Wait(1_000)]);
    let (_dir, dir) = directory();
    let order = Order {
        patience: Duration::from_millis(300),
        ..copied.order(1..2, &[&source], &dir)
    };
    let (received, _) = receive(&order);
    copied.assert_ready(&received, 1..2, &dir);
    assert!(received.faults.is_empty(), "{received:?}");
}

/// Whoever sent a byte now and then never came to the deadline, and held a thread for days.
#[test]
fn a_source_that_trickles_is_left_at_the_deadline_for_another() {
    left_at_the_deadline(Deed::Trickle(2_000));
}

/// Each piece has a deadline of its own: whoever sent one byte in each held a thread for years.
#[test]
fn a_source_that_sends_crumbs_is_left_for_another() {
    let copied = Copied::new();
    let crumbling = Source::new(&copied, &[Deed::Crumble(1_000)]);
    let other = Source::new(&copied, &[]);
    let (_dir, dir) = directory();
    let (received, _) = receive(&copied.order(1..2, &[&crumbling, &other], &dir));
    copied.assert_ready(&received, 1..2, &dir);
    let [met] = &received.faults[..] else {
        panic!("one of them is at fault: {received:?}");
    };
    assert_eq!(met.source, crumbling.address);
    let is_astray = matches!(met.fault, Fault::Peer(PeerError::Astray));
    assert!(is_astray, "{met:?}");
    let base = copied.sealed[1].0.digest.base;
    assert_eq!(other.asked(), [(base.get(), 0)]);
}

/// The rate is this node's: a piece takes longer than its source may, which is not blamed.
#[test]
fn a_source_is_not_blamed_for_the_rate_that_is_kept_here() {
    let copied = Copied::new();
    let source = Source::new(&copied, &[]);
    let (_dir, dir) = directory();
    let mut order = copied.order(1..2, &[&source], &dir);
    order.patience = Duration::from_millis(500);
    order.rate = 24 << 10;
    let progress = Progress::new(&order);
    let received = thread::scope(|scope| {
        let running = scope.spawn(|| received(&order, &progress, &Arc::default()));
        while progress.done().bytes < 64 << 10 && !running.is_finished() {
            thread::yield_now();
        }
        progress.stop.set();
        running.join().unwrap()
    });
    assert!(received.faults.is_empty(), "{received:?}");
    assert!(64 << 10 <= progress.done().bytes);
}

/// A piece of 4 MiB at 64 KiB/s was one that its source took not to be read, and cut.
#[test]
fn at_a_low_rate_short_pieces_are_asked_for() {
    let copied = Copied::new();
    let source = Source::new(&copied, &[Deed::Say(0, ErrorCode::Gone); 2]);
    let (_dir, dir) = directory();
    for rate in [64 << 10, 0] {
        let order = Order {
            rate,
            ..copied.order(1..2, &[&source], &dir)
        };
        receive(&order);
    }
    assert_eq!(source.pieces(), [64 << 10, 4 << 20]);
}

#[test]
fn a_source_that_sends_a_wrong_byte_is_named_and_asked_no_more() {
    let copied = Copied::new();
    let count = copied.sealed.len();
    let wrong = Source::new(&copied, &[Deed::Flip(600_000)]);
    let other = Source::new(&copied, &[]);
    let (_dir, dir) = directory();
    let (received, _) = receive(&copied.order(0..count, &[&wrong, &other], &dir));
    assert!(received.error.is_none(), "{received:?}");
    copied.assert_ready(&received, 0..count, &dir);
    assert_eq!(received.faults.len(), 1);
    assert_eq!(received.faults[0].source, wrong.address);
    assert!(matches!(received.faults[0].fault, Fault::Wrong(_)));
}

/// Sound batches with the right offsets, of another log: where they ended an honest source had no batch that began
/// there, and was asked no more. What was made up stayed.
#[test]
fn who_does_not_go_on_where_another_ended_is_asked_for_all_of_it_and_not_blamed() {
    let copied = Copied::new();
    let forging = Source::new(&copied.forged(), &[Deed::Cut(400_000)]);
    let honest = Source::new(&copied, &[]);
    let (_dir, dir) = directory();
    let (received, _) = receive(&copied.order(0..1, &[&forging, &honest], &dir));
    copied.assert_ready(&received, 0..1, &dir);
    let [met] = &received.faults[..] else {
        panic!("one of them is at fault: {received:?}");
    };
    assert!(met.source == forging.address && !met.fault.is_deceit());
    let positions: Vec<_> = honest.asked().iter().map(|(_, at)| *at).collect();
    assert!(positions.len() == 2 && 0 < positions[0] && positions[1] == 0);
}

#[test]
fn what_an_earlier_order_left_is_given_up_where_it_is_not_gone_on_with() {
    let copied = Copied::new();
    let deeds = [
        Deed::Cut(400_000),
        Deed::Say(0, ErrorCode::Gone),
        Deed::Say(0, ErrorCode::Gone),
    ];
    let forging = Source::new(&copied.forged(), &deeds);
    let (_dir, dir) = directory();
    let (received, _) = receive(&copied.order(0..1, &[&forging], &dir));
    assert!(received.ready.is_empty(), "{received:?}");
    let honest = Source::new(&copied, &[]);
    let (received, _) = receive(&copied.order(0..1, &[&honest], &dir));
    copied.assert_ready(&received, 0..1, &dir);
    assert!(received.faults.is_empty(), "{received:?}");
    assert!(0 < honest.asked()[0].1, "something was left");
}

/// What was left by another was sound, and ended so near the end that no batch fits behind it: the same bytes were asked for
/// again and again, of the same source, until the order ended.
#[test]
fn who_deceives_at_the_end_of_what_another_gave_is_found_out_as_well() {
    let copied = Copied::new();
    let gone = [Deed::Cut(400_000), Deed::Say(0, ErrorCode::Gone)];
    let early = Source::new(&copied, &gone);
    let (_dir, dir) = directory();
    let (received, _) = receive(&copied.order(0..1, &[&early], &dir));
    assert!(received.ready.is_empty(), "{received:?}");
    let forging = Source::new(&copied.shortened(30), &[]);
    let honest = Source::new(&copied, &[]);
    let (received, _) = receive(&copied.order(0..1, &[&forging, &honest], &dir));
    copied.assert_ready(&received, 0..1, &dir);
    let deceits = received.faults.iter().filter(|met| met.fault.is_deceit());
    let deceits: Vec<_> = deceits.map(|met| &met.source).collect();
    assert_eq!(deceits, [&forging.address]);
}

#[test]
fn who_deceives_behind_another_is_found_out_once_it_is_asked_for_all_of_it() {
    let copied = Copied::new();
    let honest = Source::new(&copied, &[Deed::Cut(400_000)]);
    let wrong = Source::new(&copied, &[Deed::Flip(600_000), Deed::Flip(600_000)]);
    let (_dir, dir) = directory();
    let (received, _) = receive(&copied.order(1..2, &[&honest, &wrong], &dir));
    copied.assert_ready(&received, 1..2, &dir);
    let deceits = received.faults.iter().filter(|met| met.fault.is_deceit());
    let deceits: Vec<_> = deceits.map(|met| &met.source).collect();
    assert_eq!(deceits, [&wrong.address]);
}

#[test]
fn without_an_honest_source_nothing_is_ready_and_an_honest_one_goes_on_later() {
    let copied = Copied::new();
    let wrong = Source::new(&copied, &[Deed::Flip(1_200_000)]);
    let astray = Source::new(&copied, &[Deed::Stray]);
    let (_dir, dir) = directory();
    let (received, _) = receive(&copied.order(1..2, &[&wrong, &astray], &dir));
    let base = copied.sealed[1].0.digest.base;
    assert!(matches!(received.error, Some(ReceiveError::NoSource { segment }) if segment == base));
    assert!(received.ready.is_empty());
    let mut named: Vec<_> = received
        .faults
        .iter()
        .map(|met| met.source.clone())
        .collect();
    named.sort();
    let mut both = [wrong.address, astray.address];
    both.sort();
    assert_eq!(named, both);
    let honest = Source::new(&copied, &[]);
    let (received, _) = receive(&copied.order(1..2, &[&honest], &dir));
    copied.assert_ready(&received, 1..2, &dir);
    assert!(honest.asked()[0].1 > 1_000_000, "what was verified stayed");
}

#[test]
fn a_segment_that_is_gone_or_damaged_there_comes_from_elsewhere_or_not_at_all() {
    let copied = Copied::new();
    for code in [ErrorCode::Gone, ErrorCode::Damaged] {
        let deeds = [Deed::Say(128 << 10, code), Deed::Say(0, code)];
        let gone = Source::new(&copied, &deeds);
        let other = Source::new(&copied, &[]);
        let (_dir, dir) = directory();
        let (received, _) = receive(&copied.order(1..2, &[&gone], &dir));
        assert!(matches!(
            received.error,
            Some(ReceiveError::NoSource { .. })
        ));
        let met = &received.faults[0].fault;
        assert!(
            matches!(met, Fault::Refused(body) if body.is(code)),
            "{met:?}"
        );
        assert_eq!(gone.asked().len(), 1, "it is not asked again");
        let (received, _) = receive(&copied.order(1..2, &[&gone, &other], &dir));
        copied.assert_ready(&received, 1..2, &dir);
    }
}

#[test]
fn a_source_that_is_busy_is_asked_again() {
    let copied = Copied::new();
    let source = Source::new(
        &copied,
        &[Deed::Say(0, ErrorCode::Busy), Deed::Say(0, ErrorCode::Busy)],
    );
    let (_dir, dir) = directory();
    let (received, _) = receive(&copied.order(1..2, &[&source], &dir));
    copied.assert_ready(&received, 1..2, &dir);
    assert_eq!((source.asked().len(), received.faults.len()), (3, 2));
}

#[test]
fn sources_of_another_log_or_without_an_address_give_nothing() {
    let copied = Copied::new();
    let other = Source::of(&copied, HistoryId::from_bytes([5; 16]), &[]);
    let (_dir, dir) = directory();
    let mut order = copied.order(0..1, &[&other], &dir);
    order.sources.push("127.0.0.1:1".to_string());
    let (received, _) = receive(&order);
    assert!(matches!(
        received.error,
        Some(ReceiveError::NoSource { .. })
    ));
    let lacks = |fault: &Fault| matches!(fault, Fault::Lacks);
    let unreachable = |fault: &Fault| matches!(fault, Fault::Peer(PeerError::Unreachable { .. }));
    assert!(received.faults.iter().any(|met| lacks(&met.fault)));
    assert!(received.faults.iter().any(|met| unreachable(&met.fault)));
    assert!(other.asked().is_empty());
}

#[test]
fn at_a_rate_that_lets_little_through_an_order_can_be_stopped_and_gone_on_with() {
    let copied = Copied::new();
    let source = Source::new(&copied, &[]);
    let (_dir, dir) = directory();
    let mut order = copied.order(1..2, &[&source], &dir);
    order.rate = 64 << 10;
    let progress = Progress::new(&order);
    let received = thread::scope(|scope| {
        let running = scope.spawn(|| received(&order, &progress, &Arc::default()));
        while progress.done().bytes == 0 {
            thread::yield_now();
        }
        progress.stop.set();
        running.join().unwrap()
    });
    assert!(
        matches!(received.error, Some(ReceiveError::Stopped)),
        "{received:?}"
    );
    let done = progress.done();
    assert!(done.bytes < done.bytes_total && done.segments == 0);
    order.rate = 0;
    let (received, _) = receive(&order);
    copied.assert_ready(&received, 1..2, &dir);
}

/// A source vanished within a segment, and another one was asked for it by a new order. The thread of the
/// old one was still connecting; once it saw that it was not wanted any more it wrote what it had verified
/// before, and zeros behind that, over what had come in meanwhile.
#[test]
fn a_segment_is_received_by_one_order_at_a_time_whoever_wants_it() {
    let copied = Copied::new();
    let source = Source::new(&copied, &[]);
    let (_dir, dir) = directory();
    let order = copied.order(1..2, &[&source], &dir);
    let slow = Order {
        rate: 64 << 10,
        ..order.clone()
    };
    let (claims, progress) = (Arc::default(), Progress::new(&slow));
    let early = thread::scope(|scope| {
        let running = scope.spawn(|| received(&slow, &progress, &claims));
        while progress.done().bytes == 0 {
            thread::yield_now();
        }
        // The first one to be refused took the claim away.
        let _refused = receive_beside(&order, &claims);
        let early = receive_beside(&order, &claims).0;
        // One that does not want it leaves it alone.
        let other = receive_beside(&copied.order(0..1, &[&source], &dir), &claims).0;
        copied.assert_ready(&other, 0..1, &dir);
        let base = copied.sealed[1].0.digest.base.get();
        assert!(partials(&dir).iter().any(|(one, _)| *one == base));
        progress.stop.set();
        running.join().unwrap();
        early
    });
    let base = copied.sealed[1].0.digest.base;
    let is_in_use = matches!(early.error, Some(ReceiveError::InUse { segment }) if segment == base);
    assert!(is_in_use && early.ready.is_empty(), "{early:?}");
    let (received, _) = receive_beside(&order, &claims);
    copied.assert_ready(&received, 1..2, &dir);
}

/// The names of files that come in, and their lengths.
fn partials(dir: &StdDir) -> Vec<(u64, u64)> {
    let entries = corelog_storage::disk::block_on(dir.list()).unwrap();
    let partials = entries
        .into_iter()
        .filter(|entry| entry.name.ends_with(".partial"));
    partials
        .map(|entry| (entry.name[..20].parse().unwrap(), entry.bytes))
        .collect()
}

/// What was there was read and written again to its end, up to a gibibyte, though nobody wanted the segment any more.
#[test]
fn what_is_there_is_not_read_anew_for_an_order_that_is_to_stop() {
    let copied = Copied::new();
    // What it ends with is found out once all of it is there, which is then read anew for another source.
    let forging = Source::new(&copied.shortened(30), &[]);
    let (_dir, dir) = directory();
    let order = copied.order(0..1, &[&forging], &dir);
    let (sources, progress) = (Sources::new(&order), Progress::new(&order));
    let stops_then = |_| {
        let done = progress.done();
        if done.bytes == done.bytes_total {
            let entries = corelog_storage::disk::block_on(dir.list()).unwrap();
            let path = dir.path().join(&entries[0].name);
            let file = File::options().write(true).open(path).unwrap();
            // Whoever read it would cut that.
            file.set_len(2 << 20).unwrap();
            progress.stop.set();
        }
        false
    };
    let received = turn(&order, &sources, &progress, &Arc::default(), &stops_then);
    let is_stopped = matches!(received.error, Some(ReceiveError::Stopped));
    assert!(is_stopped && received.faults.len() == 1, "{received:?}");
    let base = copied.sealed[0].0.digest.base.get();
    assert_eq!(partials(&dir), [(base, 2 << 20)]);
}

/// A source told of other segments each time, and gave none of them: for each of them there was a file, with
/// space for all of it, until the disk was full.
#[test]
fn what_came_of_segments_in_vain_leaves_no_more_than_the_last_order_may_go_on_with() {
    let copied = Copied::new();
    let (_dir, dir) = directory();
    let base = |number: usize| copied.sealed[number].0.digest.base.get();
    let order_of = |numbers: &[usize], deeds: &[Deed]| {
        let source = Source::new(&copied, deeds);
        let mut order = copied.order(0..1, &[&source], &dir);
        let each = numbers.iter();
        let each = each.map(|number| copied.order(*number..number + 1, &[&source], &dir));
        order.segments = each.flat_map(|order| order.segments).collect();
        order
    };
    let fail = |order: &Order| {
        let (received, _) = receive(order);
        let is_failed = matches!(received.error, Some(ReceiveError::NoSource { .. }));
        assert!(is_failed && received.ready.is_empty(), "{received:?}");
    };
    let gone = |bytes| [Deed::Say(bytes, ErrorCode::Gone); 2];
    fail(&order_of(&[1, 2], &gone(0)));
    assert_eq!(partials(&dir), []);
    let of_one = order_of(&[0], &gone(400_000));
    fail(&of_one);
    fail(&order_of(&[1, 2], &gone(400_000)));
    let last = order_of(&[1, 3], &gone(400_000));
    fail(&last);
    // What is below may be somebody else's.
    let (bases, bytes): (Vec<_>, Vec<_>) = partials(&dir).into_iter().unzip();
    assert!(
        bases.contains(&base(0)) && !bases.contains(&base(2)),
        "{bases:?}"
    );
    assert!(bytes.iter().all(|bytes| *bytes < 1_000_000), "{bytes:?}");
    let repair = Order {
        is_alone: false,
        ..of_one
    };
    fail(&repair);
    let beside: Vec<_> = partials(&dir).into_iter().map(|(base, _)| base).collect();
    assert_eq!(
        beside, bases,
        "a repair leaves alone what copies go on with"
    );
    let honest = Source::new(&copied, &[]);
    let (received, _) = receive(&copied.order(1..2, &[&honest], &dir));
    copied.assert_ready(&received, 1..2, &dir);
    assert!(0 < honest.asked()[0].1, "what was verified stayed");
}

/// An order that waited for its turn prepared space for two segments where its topic had been, in the directory of
/// the next one of that name.
#[test]
fn an_order_that_is_not_wanted_any_more_makes_no_file() {
    let copied = Copied::new();
    let source = Source::new(&copied, &[]);
    let (_dir, dir) = directory();
    let order = copied.order(0..3, &[&source], &dir);
    let progress = Progress::new(&order);
    progress.stop.set();
    let received = received(&order, &progress, &Arc::default());
    let is_stopped = matches!(received.error, Some(ReceiveError::Stopped));
    assert!(is_stopped, "{received:?}");
    assert_eq!(corelog_storage::disk::block_on(dir.list()).unwrap(), []);
}

#[test]
fn a_disk_that_refuses_ends_the_order_and_says_nothing_about_the_source() {
    let copied = Copied::new();
    let source = Source::new(&copied, &[]);
    let (_dir, dir) = directory();
    let missing = dir.child("missing");
    let (received, _) = receive(&copied.order(0..3, &[&source], &missing));
    assert!(
        matches!(received.error, Some(ReceiveError::Intake(_))),
        "{received:?}"
    );
    assert!(received.ready.is_empty() && received.faults.is_empty());
}

/// Whoever watched a clone was told of no address at all.
#[test]
fn a_segment_that_is_received_tells_from_whom() {
    let copied = Copied::new();
    let source = Source::new(&copied, &[]);
    let (_dir, dir) = directory();
    let order = copied.order(0..2, &[&source], &dir);
    let begun = Progress::new(&order);
    assert!(begun.each().all(|(_, from, _)| from.is_empty()));
    let (_, progress) = receive(&order);
    assert!(progress.each().all(|(_, from, _)| from == order.sources[0]));
}
