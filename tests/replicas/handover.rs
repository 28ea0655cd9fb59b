//! A follower becomes the owner while its owner lives: nothing is lost, and producers move on by
//! themselves.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use corelog_client::ProducerConfig;
use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::frame::{CorrelationId, Decoder, Peek};
use corelog_protocol::limits::FRAME_BYTES_MAX;
use corelog_protocol::message::replica_status::{Role, State};
use corelog_protocol::message::settings::SettingsChange;
use corelog_protocol::message::{clone_topic, delete_topic, describe_topic, handover, take_over};
use corelog_protocol::{answer, request};
use corelog_record::batch::Codec;
use corelog_record::{LeaderEpoch, Offset, PartitionId};

use super::copies::{assert_equal, chain_at, remembered, segments, status, wait_until_level};
use super::fence::hand_on;
use super::node::{Node, cloning};
use super::promote::{cut_off, promote};
use crate::support::chance;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::load::{Load, Task};
use crate::support::mount::Mount;
use crate::support::wire::{SILENCE_MAX, Target, batch};

pub(super) fn handing(topic: &Target) -> handover::Request {
    handover::Request {
        topic: topic.name.clone(),
        id: topic.id,
        partition: None,
        to: None,
        abort: false,
        accept_loss: false,
    }
}

pub(super) fn aborting(topic: &Target, accept_loss: bool) -> handover::Request {
    handover::Request {
        abort: true,
        accept_loss,
        ..handing(topic)
    }
}

/// A pair of which the second follows the first.
pub(super) fn pair(folder: &Folder, partitions: u32) -> ([Node; 2], Target) {
    let nodes = [Node::start(folder, "a"), Node::start(folder, "b")];
    let topic = nodes[0].topic("t", partitions);
    for partition in 0..partitions {
        nodes[0].fill(&topic, partition, 1);
    }
    nodes[1].follow(&topic, &[&nodes[0]]);
    for partition in 0..partitions {
        wait_until_level(&nodes[0], &nodes[1], &topic, partition);
    }
    until("the owner remembers its follower", || {
        remembered(&nodes[0], &topic) == partitions as usize
    });
    // It is written down before the cores hear of it, and the next change comes after that.
    nodes[0].alter(&topic, None, SettingsChange::default());
    (nodes, topic)
}

#[test]
fn a_partition_that_is_handed_over_loses_nothing() {
    let folder = Folder::new();
    let (mut nodes, topic) = pair(&folder, 1);
    for _ in 0..4 {
        let [a, b] = &nodes;
        let end = a.fill(&topic, 0, 20);
        let request = handover::Request {
            to: Some(b.address()),
            ..handing(&topic)
        };
        let answer = a.ask(&request).unwrap();
        let handed = &answer.partitions[0];
        assert_eq!((handed.end, &handed.owner), (end, &b.address()));
        assert_eq!(status(b, &topic, 0).role, Role::Owner);
        assert_eq!(status(a, &topic, 0).role, Role::Follower);
        // Its owner followed it before.
        assert_eq!(status(a, &topic, 0).followers, []);
        let bytes = batch(Codec::None, ["not here"]);
        let refused = a.wire().call(&topic.produce(0), &bytes).unwrap();
        assert_eq!(refused.unwrap_err().detail.address, Some(b.address()));
        b.fill(&topic, 0, 3);
        wait_until_level(b, a, &topic, 0);
        assert_equal(b, a, &topic, 0);
        nodes.swap(0, 1);
    }
}

/// A follower hears of it with the next answer: the new owner had not, and served again what had been truncated.
#[test]
fn what_was_truncated_before_a_handover_stays_gone() {
    let folder = Folder::new();
    let ([a, b], topic) = pair(&folder, 1);
    a.fill(&topic, 0, 20);
    wait_until_level(&a, &b, &topic, 0);
    let lowest = Offset::new(30).unwrap();
    a.truncate(&topic, lowest);
    a.ask(&handing(&topic)).unwrap();
    assert_eq!(segments(&b, &topic, 0).log_start, lowest);
    b.fill(&topic, 0, 1);
    wait_until_level(&b, &a, &topic, 0);
    assert_eq!(segments(&a, &topic, 0).log_start, lowest);
}

/// `CORELOG_HANDOVER_ROUNDS` sets how often the owner changes.
#[test]
fn under_load_nothing_is_lost_nothing_is_there_twice_and_producers_move_on() {
    let rounds = chance::number("CORELOG_HANDOVER_ROUNDS", 4);
    let folder = Folder::new();
    let nodes = [Node::start(&folder, "a"), Node::start(&folder, "b")];
    let [a, b] = &nodes;
    let topic = a.topic("t", PARTITIONS);
    b.follow(&topic, &[a]);
    let load = Load::begin(Task {
        server: a.address(),
        topic: topic.name.clone(),
        partitions: PARTITIONS,
        producer: ProducerConfig {
            batch_bytes_max: 20_000,
            memory_bytes_max: 400_000,
            in_flight_max: 4,
            ..ProducerConfig::default()
        },
        timeout: Duration::from_secs(30),
    });
    for round in 0..rounds {
        load.wait_for_acks(300);
        let (owner, next) = (&nodes[round % 2], &nodes[(round + 1) % 2]);
        let request = handover::Request {
            to: Some(next.address()),
            ..handing(&topic)
        };
        owner.ask(&request).unwrap();
    }
    load.wait_for_acks(300);
    let report = load.end();
    let (owner, other) = (&nodes[rounds % 2], &nodes[(rounds + 1) % 2]);
    let tally = report.books.audit(&mut owner.wire(), &topic, PARTITIONS);
    println!("{tally:?} after {rounds} handovers");
    assert_eq!((tally.not_applied, tally.unknown), (0, 0), "{tally:?}");
    for partition in 0..PARTITIONS {
        wait_until_level(owner, other, &topic, partition);
        assert_equal(owner, other, &topic, partition);
    }
    report.books.audit(&mut other.wire(), &topic, PARTITIONS);
}

/// Writes stopped for a target that was never to come level, until a person called it off.
#[test]
fn a_handover_to_a_copy_that_follows_no_more_changes_nothing() {
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 5);
    b.ask(&clone_topic::Request {
        follow: false,
        ..cloning(&topic, &[&a])
    })
    .unwrap();
    until("all is there that was asked for", || {
        status(&b, &topic, 0).state == State::Done
    });
    a.fill(&topic, 0, 5);
    let request = handover::Request {
        to: Some(b.address()),
        ..handing(&topic)
    };
    let refused = a.ask(&request).unwrap_err();
    assert!(refused.is(ErrorCode::NotFollower), "{refused:?}");
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
    a.fill(&topic, 0, 1);
}

/// As one that follows who owned the partition before, and is gone: writes stopped for it until a person called it off.
#[test]
fn a_handover_to_a_follower_that_does_not_hear_whom_it_follows_changes_nothing() {
    let folder = Folder::new();
    let (a, mut b, topic, _) = cut_off(&folder, 1);
    b.stop();
    b.up();
    a.fill(&topic, 0, 1);
    let refused = a.ask(&handing(&topic)).unwrap_err();
    assert!(refused.is(ErrorCode::NotEqual), "{refused:?}");
    assert!(
        refused.message.contains("not heard of the owner"),
        "{refused:?}"
    );
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
    a.fill(&topic, 0, 1);
    a.connect();
    a.ask(&handing(&topic)).unwrap();
    assert_eq!(status(&b, &topic, 0).role, Role::Owner);
}

#[test]
fn a_handover_to_a_node_that_does_not_answer_is_finished_or_called_off_later() {
    let folder = Folder::new();
    let (nodes, topic) = pair(&folder, 1);
    let [mut a, mut b] = nodes;
    let before = epoch(&a, &topic);
    let abort = handover::Request {
        abort: true,
        ..handing(&topic)
    };
    b.disconnect();
    let refused = a.ask(&handing(&topic)).unwrap_err();
    assert!(refused.is(ErrorCode::SourceUnavailable), "{refused:?}");
    // It was looked for before anything changed.
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
    b.connect();
    let running = behind(&a, &topic);
    b.kill();
    let refused = running.join().unwrap().unwrap_err();
    assert!(refused.is(ErrorCode::SourceUnavailable), "{refused:?}");
    // Nobody owns it now, and it stays so over a restart.
    for _ in 0..2 {
        assert_eq!(status(&a, &topic, 0).role, Role::HandingOver);
        let bytes = batch(Codec::None, ["not here"]);
        let refused = a.wire().call(&topic.produce(0), &bytes).unwrap();
        assert!(refused.unwrap_err().is(ErrorCode::NotOwner));
        a.kill();
        a.up();
    }
    // What the target did meanwhile is not known, so it cannot be called off.
    let refused = a.ask(&abort).unwrap_err();
    assert!(refused.is(ErrorCode::SourceUnavailable), "{refused:?}");
    b.up();
    let taken_back = a.ask(&abort).unwrap().partitions.remove(0);
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
    assert!(before < taken_back.epoch);
    let end = a.fill(&topic, 0, 10);
    wait_until_level(&a, &b, &topic, 0);

    // Cut off again, and finished by asking again.
    b.disconnect();
    a.ask(&handing(&topic)).unwrap_err();
    b.connect();
    let handed = a.ask(&handing(&topic)).unwrap().partitions.remove(0);
    assert_eq!((handed.end, handed.owner), (end, b.address()));
    let late = a.ask(&abort).unwrap_err();
    assert!(late.is(ErrorCode::NotOwner), "{late:?}");
    b.fill(&topic, 0, 1);
    wait_until_level(&b, &a, &topic, 0);
    assert_equal(&b, &a, &topic, 0);
    assert_eq!(segments(&b, &topic, 0).epochs[0].epoch, handed.epoch);
}

/// What a balancer says while the target is being started was taken for what answers there for good, which is not asked again:
/// nobody took writes.
#[test]
fn a_handover_whose_target_answers_rubbish_for_a_while_may_be_asked_for_again() {
    let folder = Folder::new();
    let ([a, b], topic) = pair(&folder, 1);
    let running = behind(&a, &topic);
    b.proxy
        .lead_to_words(b"HTTP/1.1 503 Service Unavailable\r\n\r\n");
    let refused = running.join().unwrap().unwrap_err();
    assert!(refused.is(ErrorCode::SourceUnavailable), "{refused:?}");
    let refused = a.ask(&handing(&topic)).unwrap_err();
    assert!(refused.is(ErrorCode::SourceUnavailable), "{refused:?}");
    a.connect();
    b.connect();
    a.ask(&handing(&topic)).unwrap();
    assert_eq!(status(&b, &topic, 0).role, Role::Owner);
}

#[test]
fn a_handover_is_called_off_while_it_waits_for_its_target() {
    let folder = Folder::new();
    let ([a, b], topic) = pair(&folder, 1);
    let running = behind(&a, &topic);
    let second = a.ask(&handing(&topic)).unwrap_err();
    assert!(second.is(ErrorCode::Busy), "{second:?}");
    let before = epoch(&a, &topic);
    let abort = handover::Request {
        abort: true,
        ..handing(&topic)
    };
    assert!(before < a.ask(&abort).unwrap().partitions[0].epoch);
    let called_off = running.join().unwrap().unwrap_err();
    assert!(called_off.is(ErrorCode::InvalidRequest), "{called_off:?}");
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
    assert_eq!(status(&b, &topic, 0).role, Role::Follower);
    // What was asked of the target before comes to nothing, and what is asked now does not.
    a.connect();
    a.fill(&topic, 0, 1);
    wait_until_level(&a, &b, &topic, 0);
    a.ask(&handing(&topic)).unwrap();
    assert_eq!(status(&b, &topic, 0).role, Role::Owner);
}

/// It gave out the epoch with which the owner had taken it back, and had not told of yet: neither of the two was fenced.
#[test]
fn a_target_that_promised_not_to_take_over_and_is_promoted_has_a_later_epoch_than_its_owner() {
    let folder = Folder::new();
    let ([mut a, b], topic) = pair(&folder, 1);
    let running = behind(&a, &topic);
    let abort = handover::Request {
        abort: true,
        ..handing(&topic)
    };
    let taken_back = a.ask(&abort).unwrap().partitions[0].epoch;
    running.join().unwrap().unwrap_err();
    a.kill();
    assert!(taken_back < promote(&b, &topic).epoch);
}

#[test]
fn a_handover_whose_target_is_gone_is_called_off_by_force() {
    let folder = Folder::new();
    let ([a, mut b], topic) = pair(&folder, 1);
    let running = behind(&a, &topic);
    b.kill();
    running.join().unwrap().unwrap_err();
    let abort = handover::Request {
        abort: true,
        ..handing(&topic)
    };
    let refused = a.ask(&abort).unwrap_err();
    assert!(refused.is(ErrorCode::SourceUnavailable), "{refused:?}");
    let forced = handover::Request {
        accept_loss: true,
        ..abort
    };
    a.ask(&forced).unwrap();
    a.fill(&topic, 0, 1);
    assert_eq!(status(&a, &topic, 0).role, Role::Owner);
}

/// It needed room, of which there was none but for what had been begun by then.
#[test]
fn a_handover_is_called_off_on_a_full_disk_as_well() {
    let folder = Folder::new();
    let mount = Mount::small(&folder, 64 << 20);
    let a = Node::on(mount.inside("a"), mount.wrapper(), 1);
    let mut b = Node::start(&folder, "b");
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 1);
    b.follow(&topic, &[&a]);
    wait_until_level(&a, &b, &topic, 0);
    let running = behind(&a, &topic);
    b.kill();
    running.join().unwrap().unwrap_err();
    let filler = mount.fill();
    b.up();
    // Each change takes the blocks that are kept, and others are kept behind it.
    until("it is called off", || {
        let called_off = a.ask(&aborting(&topic, false));
        called_off.is_ok_and(|_| status(&a, &topic, 0).role == Role::Owner)
    });
    std::fs::remove_file(filler).unwrap();
    a.fill(&topic, 0, 1);
}

/// The target promised that it would take over no more; it had done so, and had passed the partition on: there were two
/// owners.
#[test]
fn what_the_target_took_over_and_gave_on_is_not_taken_back() {
    let folder = Folder::new();
    let ([a, mut b], topic) = pair(&folder, 1);
    let running = behind(&a, &topic);
    b.kill();
    running.join().unwrap().unwrap_err();
    a.connect();
    b.up();
    wait_until_level(&a, &b, &topic, 0);
    // As its owner asked, which did not hear the answer.
    b.ask(&taking_over(&a, &topic, 0)).unwrap();
    let c = hand_on(&folder, &b, &topic);
    for accept_loss in [false, true] {
        let refused = a.ask(&aborting(&topic, accept_loss)).unwrap_err();
        assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
        assert_eq!(refused.detail.address, Some(c.address()));
    }
    // What it was to the partition goes with its topic.
    b.ask(&delete_topic::Request {
        name: topic.name.clone(),
        id: topic.id,
    })
    .unwrap();
    let refused = a.ask(&aborting(&topic, false)).unwrap_err();
    assert!(refused.is(ErrorCode::SourceUnavailable), "{refused:?}");
    assert_eq!(status(&a, &topic, 0).role, Role::HandingOver);
    c.fill(&topic, 0, 1);
}

/// Nobody took its writes, and neither a refusal nor a start told why.
#[test]
fn a_handover_that_was_cut_off_is_told_of_until_it_is_asked_for_again() {
    let folder = Folder::new();
    let ([mut a, b], topic) = pair(&folder, 1);
    let running = behind(&a, &topic);
    a.kill();
    let _ = running.join();
    a.up();
    let told = format!("is being handed over to {}", b.address());
    let refused = a.wire().call(&topic.produce(0), &batch(Codec::None, ["x"]));
    let refused = refused.unwrap().unwrap_err();
    assert!(refused.message.contains(&told), "{refused:?}");
    assert_eq!(refused.detail.address, Some(b.address()));
    let described = a.corelog().run(["topic", "describe", "t"]).text();
    assert!(described.contains(&told), "{described}");
    let log = a.log_at_stop();
    assert!(log.contains("a handover has not ended"), "{log}");
    a.up();
    wait_until_level(&a, &b, &topic, 0);
    a.ask(&handing(&topic)).unwrap();
    a.stop();
    a.up();
    assert!(!a.log_at_stop().contains("a handover has not ended"));
}

/// A TakeOver may come after the promise that was given against it, however late: it goes to the process
/// that promised, or to nobody.
#[test]
fn a_promise_not_to_take_over_outlives_the_topic_at_its_target() {
    let folder = Folder::new();
    let ([a, mut b], topic) = pair(&folder, 1);
    let asked = taking_over(&a, &topic, 0);
    let taken_back = take_over::Request {
        end: Offset::MAX,
        ..asked.clone()
    };
    let promised = b.ask(&taken_back).unwrap_err();
    assert!(promised.is(ErrorCode::NotEqual), "{promised:?}");
    let late = b.ask(&asked).unwrap_err();
    assert!(late.is(ErrorCode::InvalidRequest), "{late:?}");
    b.ask(&delete_topic::Request {
        name: topic.name.clone(),
        id: topic.id,
    })
    .unwrap();
    b.follow(&topic, &[&a]);
    wait_until_level(&a, &b, &topic, 0);
    let later = b.ask(&asked).unwrap_err();
    assert!(later.is(ErrorCode::InvalidRequest), "{later:?}");
    assert_eq!(status(&b, &topic, 0).role, Role::Follower);
    // What was on its way to a process that is gone does not come to the next one, which takes no
    // request on a connection that did not say Hello to it.
    let mut stale = Vec::new();
    request::encode(CorrelationId::new(7), &asked, 0, &mut stale).unwrap();
    b.kill();
    b.up();
    let mut raw = TcpStream::connect(b.server().ready.listen).unwrap();
    raw.set_read_timeout(Some(SILENCE_MAX)).unwrap();
    raw.write_all(&stale).unwrap();
    let mut said = Vec::new();
    raw.read_to_end(&mut said).unwrap();
    let Ok(Peek::Frame(frame)) = Decoder::answers(FRAME_BYTES_MAX).peek(&said) else {
        panic!("no answer: {said:?}");
    };
    let refused = answer::decode_err(&frame).unwrap().unwrap();
    assert!(refused.is(ErrorCode::HelloRequired), "{refused:?}");
    assert_eq!(status(&b, &topic, 0).role, Role::Follower);
}

/// A promise was kept by the core that had the partition, and none was given while the topic was away:
/// the partition came again on another core, which knew of nothing.
#[test]
fn a_promise_not_to_take_over_holds_on_every_core_and_before_the_topic_comes() {
    let folder = Folder::new();
    let a = Node::start(&folder, "a");
    let b = Node::on(folder.path().join("b"), Vec::new(), 2);
    let topic = a.topic("t", 2);
    let asked = [0, 1].map(|partition| {
        a.fill(&topic, partition, 1);
        taking_over(&a, &topic, partition)
    });
    let mut cores = Vec::new();
    for round in 0..3 {
        if round < 2 {
            let taken_back = take_over::Request {
                end: Offset::MAX,
                ..asked[round].clone()
            };
            let promised = b.ask(&taken_back).unwrap_err();
            assert!(promised.is(ErrorCode::NotEqual), "{promised:?}");
        }
        b.follow(&topic, &[&a]);
        for partition in 0..2 {
            wait_until_level(&a, &b, &topic, partition);
        }
        for (partition, asked) in asked.iter().enumerate().take(round + 1) {
            let late = b.ask(asked).unwrap_err();
            assert!(late.is(ErrorCode::InvalidRequest), "{partition}: {late:?}");
        }
        let told = b.ask(&describe_topic::Request {
            name: topic.name.clone(),
        });
        cores.push(told.unwrap().partitions[0].core);
        b.ask(&delete_topic::Request {
            name: topic.name.clone(),
            id: topic.id,
        })
        .unwrap();
        // What takes a core's place has the topic come on another one.
        b.topic(&format!("w{round}"), 1);
    }
    cores.dedup();
    assert!(1 < cores.len(), "it came on one core only: {cores:?}");
}

/// Has `a` give its partition to its follower, which is behind and cannot reach it.
pub(super) fn behind(a: &Node, topic: &Target) -> JoinHandle<Result<(), Box<ErrorBody>>> {
    a.disconnect();
    a.fill(topic, 0, 1);
    let (mut wire, request) = (a.wire(), handing(topic));
    let running = thread::spawn(move || wire.call(&request, &[]).unwrap().map(drop));
    until("it takes no more appends", || {
        status(a, topic, 0).role == Role::HandingOver
    });
    running
}

/// What an owner asks its follower that is to own the partition from its end on.
pub(super) fn taking_over(owner: &Node, topic: &Target, partition: u32) -> take_over::Request {
    let log = segments(owner, topic, partition);
    take_over::Request {
        topic: topic.name.clone(),
        id: topic.id,
        partition: PartitionId::new(partition),
        history: log.history,
        end: log.high_watermark,
        chain: chain_at(owner, topic, partition, log.high_watermark).chain,
        epoch: log.epochs[0].epoch,
    }
}

pub(super) fn epoch(node: &Node, topic: &Target) -> LeaderEpoch {
    segments(node, topic, 0).epochs[0].epoch
}

const PARTITIONS: u32 = 2;
