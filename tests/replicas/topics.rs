//! A topic that follows as a whole has the partitions and the settings of its source, whatever becomes
//! of either node.

use corelog_protocol::error::ErrorCode;
use corelog_protocol::kind::Kind;
use corelog_protocol::message::ack::Level;
use corelog_protocol::message::replica_status::{Role, State};
use corelog_protocol::message::settings::{Change, RetentionHold, SettingsChange, TopicSettings};
use corelog_protocol::message::{clone_topic, delete_topic, describe_topic, handover, promote};
use corelog_record::PartitionId;

use super::copies::{assert_equal, remembered, segments, status, wait_until_level};
use super::fence::until_fenced;
use super::follow::with_two_copies;
use super::handover::handing;
use super::node::{Node, altering, cloning};
use crate::support::corelog::Corelog;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::wire::Target;

fn told(node: &Node, topic: &Target) -> describe_topic::Answer {
    let name = topic.name.clone();
    node.ask(&describe_topic::Request { name }).unwrap()
}

fn settings(node: &Node, topic: &Target) -> TopicSettings {
    told(node, topic).settings
}

fn count(node: &Node, topic: &Target) -> usize {
    told(node, topic).partitions.len()
}

fn nothing() -> SettingsChange {
    SettingsChange::default()
}

fn keeping(age_ms: u64) -> SettingsChange {
    SettingsChange {
        retention_age_ms: Change::Set(age_ms),
        ..nothing()
    }
}

#[test]
fn partitions_that_come_at_the_source_come_here_and_follow() {
    let folder = Folder::new();
    let mut a = Node::on(folder.path().join("a"), Vec::new(), 2);
    let mut b = Node::on(folder.path().join("b"), Vec::new(), 2);
    let c = Node::start(&folder, "c");
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 5);
    b.follow(&topic, &[&a]);
    c.follow(&topic, &[&b]);
    // While both are well, while the follower is away, and after the source was.
    let mut partitions = 1;
    for away in 0..3 {
        partitions += 2;
        if away == 1 {
            b.kill();
        }
        a.alter(&topic, Some(partitions), nothing());
        a.fill(&topic, partitions - 1, 5);
        match away {
            1 => b.up(),
            2 => {
                a.kill();
                a.up();
                // What was appended since tells of the epoch that began there.
                for partition in 0..partitions {
                    a.fill(&topic, partition, 1);
                }
            }
            _ => {}
        }
        for node in [&b, &c] {
            until("the partitions came", || {
                count(node, &topic) == partitions as usize
            });
        }
        for partition in 0..partitions {
            wait_until_level(&a, &b, &topic, partition);
            wait_until_level(&a, &c, &topic, partition);
            assert_equal(&a, &b, &topic, partition);
            assert_eq!(status(&b, &topic, partition).role, Role::Follower);
            assert_eq!(status(&b, &topic, partition).source, Some(a.address()));
        }
    }
    b.stop();
    b.up();
    assert_eq!(count(&b, &topic), partitions as usize);
    a.fill(&topic, partitions - 2, 3);
    wait_until_level(&a, &b, &topic, partitions - 2);
}

#[test]
fn settings_that_change_at_the_source_change_here_and_are_in_force_after_a_promotion() {
    let folder = Folder::new();
    let (mut a, mut b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 2);
    let end = a.fill(&topic, 0, 150);
    b.follow(&topic, &[&a]);
    let all = SettingsChange {
        ack: Some(Level::Accepted),
        retention_age_ms: Change::Set(86_400_000),
        retention_bytes: Change::Set(1 << 40),
        segment_bytes: Some(2 << 20),
        segment_age_ms: Change::Set(60_000),
        retention_hold: Some(RetentionHold::Replicated),
        retention_hold_bytes: Change::Set(1 << 41),
    };
    let changed = a.alter(&topic, None, all).settings;
    until("all settings came", || settings(&b, &topic) == changed);
    // What is set here would not last.
    let refused = b.ask(&altering(&topic, None, keeping(5))).unwrap_err();
    assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
    assert_eq!(refused.detail.address, Some(a.address()));
    let refused = b.ask(&altering(&topic, Some(9), nothing())).unwrap_err();
    assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");

    b.kill();
    let changed = a.alter(&topic, None, keeping(5_000_000)).settings;
    b.up();
    until("what was set meanwhile came", || {
        settings(&b, &topic) == changed
    });
    a.kill();
    a.up();
    let less = SettingsChange {
        retention_bytes: Change::Set(1 << 20),
        ..nothing()
    };
    let changed = a.alter(&topic, None, less).settings;
    until("what was set after that came", || {
        settings(&b, &topic) == changed
    });
    // Retention is the source's alone, until there is another one.
    wait_until_level(&a, &b, &topic, 0);
    a.kill();
    b.ask(&promote::Request {
        topic: topic.name.clone(),
        id: topic.id,
        partition: None,
        accept_loss: true,
    })
    .unwrap();
    let bare = SettingsChange {
        retention_hold: Some(RetentionHold::None),
        ..nothing()
    };
    let own = b.alter(&topic, Some(3), bare).settings;
    assert_eq!(own.retention_bytes, Some(1 << 20));
    b.fill(&topic, 0, 150);
    until("the new owner lets go by the settings it took over", || {
        segments(&b, &topic, 0).log_start > end
    });
}

/// The answers of all sources were waited for, one after the other, before the next look.
#[test]
fn a_source_that_does_not_answer_delays_the_topics_of_no_other_one() {
    let folder = Folder::new();
    let nodes = ["a", "b", "c", "d"].map(|name| Node::start(&folder, name));
    let [a, b, c, d] = &nodes;
    let topic = a.topic("t", 1);
    b.follow(&topic, &[a]);
    for (name, mute) in [("u", c), ("v", d)] {
        b.follow(&mute.topic(name, 1), &[mute]);
        // By whichever port it is asked.
        for port in 0..2 {
            mute.proxy.hold(port, Kind::Metadata);
        }
    }
    let mut age_ms = 0;
    // Two changes take two looks. Where the next one waited for all answers, each asked all sources anew.
    until(
        "two changes came while another source had one question",
        || {
            let asked = c.proxy.asked(Kind::Metadata);
            for _ in 0..2 {
                age_ms += 1;
                a.alter(&topic, None, keeping(age_ms));
                until("it came", || {
                    settings(b, &topic).retention_age_ms == Some(age_ms)
                });
            }
            asked > 0 && asked == c.proxy.asked(Kind::Metadata)
        },
    );
}

#[test]
fn a_copy_of_one_partition_or_with_an_end_takes_up_nothing_by_itself() {
    let folder = Folder::new();
    let nodes = ["a", "b", "c", "d"].map(|name| Node::start(&folder, name));
    let [a, one, ended, whole] = &nodes;
    let topic = a.topic("t", 2);
    a.fill(&topic, 1, 5);
    let of_one = clone_topic::Request {
        partition: Some(PartitionId::new(1)),
        ..cloning(&topic, &[a])
    };
    let with_end = clone_topic::Request {
        follow: false,
        ..cloning(&topic, &[a])
    };
    one.ask(&of_one).unwrap();
    ended.ask(&with_end).unwrap();
    whole.follow(&topic, &[a]);
    let before = settings(one, &topic);
    a.alter(&topic, Some(3), keeping(777));
    a.fill(&topic, 2, 5);
    until("whoever follows as a whole has it", || {
        count(whole, &topic) == 3
    });
    // Two looks at the source later.
    a.alter(&topic, None, keeping(778));
    until("and has what came later", || {
        settings(whole, &topic).retention_age_ms == Some(778)
    });
    for node in [one, ended] {
        assert_eq!(count(node, &topic), 2);
        assert_eq!(settings(node, &topic), before);
    }
    // Asked again, it has what came.
    let cloned = ended.ask(&with_end).unwrap();
    assert_eq!((cloned.created, cloned.partitions.len()), (false, 3));
    until("it is done", || {
        status(ended, &topic, 2).state == State::Done
    });
    assert_equal(a, ended, &topic, 2);
    let third = clone_topic::Request {
        partition: Some(PartitionId::new(2)),
        ..of_one
    };
    assert_eq!(
        one.ask(&third).unwrap().partitions,
        third.partition.as_slice()
    );
    wait_until_level(a, one, &topic, 2);
    assert_eq!(status(one, &topic, 0).end.get(), 0);
}

/// An owner that handed all over takes up what its successor is given.
#[test]
fn a_former_owner_takes_up_what_comes_at_the_next_one() {
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 2);
    a.fill(&topic, 0, 1);
    a.fill(&topic, 1, 1);
    b.follow(&topic, &[&a]);
    for partition in 0..2 {
        wait_until_level(&a, &b, &topic, partition);
    }
    let giving = |partition| handover::Request {
        partition: Some(PartitionId::new(partition)),
        to: Some(b.address()),
        ..handing(&topic)
    };
    a.ask(&giving(0)).unwrap();
    // Each owns a part of it: neither may add to it.
    for node in [&a, &b] {
        let refused = node.ask(&altering(&topic, Some(3), nothing())).unwrap_err();
        assert!(refused.is(ErrorCode::NotOwner), "{refused:?}");
    }
    a.ask(&giving(1)).unwrap();
    let changed = b.alter(&topic, Some(3), keeping(999)).settings;
    b.fill(&topic, 2, 2);
    until("it came", || {
        count(&a, &topic) == 3 && settings(&a, &topic) == changed
    });
    wait_until_level(&b, &a, &topic, 2);
    assert_equal(&b, &a, &topic, 2);
}

/// It had the settings of an old owner, which was named first and is fenced: for ever, and then for as long as it had
/// followed that a moment ago.
#[test]
fn a_copy_takes_no_settings_from_who_owns_nothing_any_more() {
    let folder = Folder::new();
    let ([mut a, b, c], topic) = with_two_copies(&folder);
    until("the owner remembers both", || remembered(&a, &topic) == 2);
    a.kill();
    super::promote::promote(&b, &topic);
    a.up();
    until_fenced(&a, &topic);
    until("it follows the new owner, and knows it as that", || {
        let told = status(&c, &topic, 0);
        let follows = (told.state, told.source) == (State::Following, Some(b.address()));
        follows && told.owner_heard_ms.is_none()
    });
    let asked = a.proxy.asked(Kind::Metadata);
    for age_ms in 5_000_000..5_000_003 {
        let changed = b.alter(&topic, None, keeping(age_ms)).settings;
        until("it has the settings of the owner", || {
            settings(&c, &topic) == changed
        });
    }
    // One question may have been on its way.
    assert!(a.proxy.asked(Kind::Metadata) <= asked + 1);
}

/// What was acknowledged here was undone: the next owner had not looked yet, kept what it had, and the
/// former one took that back.
#[test]
fn what_was_altered_just_before_a_handover_is_in_force_after_it() {
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 1);
    b.follow(&topic, &[&a]);
    let mut nodes = [&a, &b];
    for round in 2..5 {
        let [owner, next] = nodes;
        owner.fill(&topic, 0, 1);
        wait_until_level(owner, next, &topic, 0);
        let changed = owner.alter(&topic, Some(round), keeping(u64::from(round)));
        let giving = handover::Request {
            to: Some(next.address()),
            ..handing(&topic)
        };
        owner.ask(&giving).unwrap();
        assert_eq!(settings(next, &topic), changed.settings);
        for partition in 0..round {
            assert_eq!(status(next, &topic, partition).role, Role::Owner);
        }
        nodes.swap(0, 1);
    }
}

/// The first server that answered had no such topic, which was the last word.
#[test]
fn of_several_servers_one_that_has_a_topic_describes_it_and_deletes_it() {
    let folder = Folder::new();
    let (a, mut b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = b.topic("t", 2);
    let corelog = Corelog::at(&format!("{},{}", a.address(), b.address()));
    let described = corelog.run(["topic", "describe", "t", "--output", "json"]);
    assert_eq!(described.json()["id"], topic.id.to_string());
    corelog.run(["topic", "delete", "t", "--yes"]).done();
    let said = corelog.run(["topic", "describe", "t"]).failed(1);
    assert!(said.contains("UnknownTopic"), "{said}");
    let name = topic.name;
    let gone = b.ask(&describe_topic::Request { name }).unwrap_err();
    assert!(gone.is(ErrorCode::UnknownTopic));
    // It might have it.
    b.kill();
    corelog.run(["topic", "describe", "t"]).failed(4);
}

/// Its followers heard that there is no such topic, and followed no more.
#[test]
fn a_topic_that_cannot_be_deleted_is_followed_on() {
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 1);
    b.follow(&topic, &[&a]);
    wait_until_level(&a, &b, &topic, 0);
    let deleted = folder.path().join("a/deleted");
    std::fs::remove_dir(&deleted).unwrap();
    std::fs::write(&deleted, b"in the way").unwrap();
    let request = delete_topic::Request {
        name: topic.name.clone(),
        id: topic.id,
    };
    let error = a.ask(&request).unwrap_err();
    assert!(error.is(ErrorCode::Internal), "{error:?}");
    a.fill(&topic, 0, 3);
    wait_until_level(&a, &b, &topic, 0);
    std::fs::remove_file(&deleted).unwrap();
    a.ask(&request).unwrap();
}
