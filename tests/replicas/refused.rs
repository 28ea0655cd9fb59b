//! What is not copied, or not copied over.

use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::kind::Kind;
use corelog_protocol::message::replica_status::{Role, State};
use corelog_protocol::message::{clone_topic, delete_topic, forget_follower, handover, rejoin};
use corelog_record::{Offset, PartitionId};

use super::copies::{assert_equal, bytes, status, wait_until_level};
use super::node::{Node, cloning};
use super::promote::{cut_off, promote, rejoining};
use super::several::has;
use crate::support::corelog::Corelog;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::mount::{Mount, leave};

fn refused(by: &Node, request: &clone_topic::Request) -> Box<ErrorBody> {
    by.ask(request).unwrap_err()
}

#[test]
fn a_topic_that_was_made_again_is_another_one() {
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let first = a.topic("t", 1);
    let end = a.fill(&first, 0, 20);
    b.follow(&first, &[&a]);
    wait_until_level(&a, &b, &first, 0);
    let held = bytes(&b, &first, 0, end);
    a.ask(&delete_topic::Request {
        name: first.name.clone(),
        id: first.id,
    })
    .unwrap();
    let second = a.topic("t", 1);
    a.fill(&second, 0, 30);
    until("it follows no more", || {
        status(&b, &first, 0).state == State::Stopped
    });
    let why = status(&b, &first, 0).error.unwrap();
    let is_typed = why.is(ErrorCode::TopicChanged) || why.is(ErrorCode::UnknownTopic);
    assert!(is_typed, "{why:?}");
    let again = refused(&b, &cloning(&second, &[&a]));
    assert!(again.is(ErrorCode::TopicChanged), "{again:?}");
    assert!(bytes(&b, &first, 0, end) == held, "nothing is overwritten");
}

/// Partitions come and never go: a source with fewer of them is a copy itself, and behind.
#[test]
fn a_topic_with_more_partitions_than_its_source_is_not_copied() {
    let folder = Folder::new();
    let (a, b, topic, _) = cut_off(&folder, 20);
    promote(&b, &topic);
    assert_eq!(b.alter(&topic, Some(2), Default::default()).partitions, 2);
    a.connect();
    let third = clone_topic::Request {
        partition: Some(PartitionId::new(1)),
        ..cloning(&topic, &[&a])
    };
    let why = refused(&b, &third);
    assert!(why.is(ErrorCode::UnknownPartition), "{why:?}");
    let why = refused(&b, &cloning(&topic, &[&a]));
    assert!(why.is(ErrorCode::InvalidPartitions), "{why:?}");
    assert_eq!(
        (why.detail.partitions, why.detail.found),
        (Some(2), Some(1))
    );
}

#[test]
fn what_a_node_has_of_its_own_is_not_copied_over() {
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let (theirs, own) = (a.topic("t", 1), b.topic("t", 1));
    a.fill(&theirs, 0, 20);
    let end = b.fill(&own, 0, 10);
    let held = bytes(&b, &own, 0, end);
    let why = refused(&b, &cloning(&theirs, &[&a]));
    assert!(why.is(ErrorCode::TopicChanged), "{why:?}");
    assert_eq!(why.detail.topic_id, Some(own.id));
    assert_eq!(status(&b, &own, 0).role, Role::Owner);
    b.fill(&own, 0, 1);
    assert!(bytes(&b, &own, 0, end) == held, "nothing is overwritten");
}

#[test]
fn a_clone_that_makes_no_sense_is_refused_and_leaves_nothing() {
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 1);
    let good = cloning(&topic, &[&a]);
    let from = |from: &[&str]| clone_topic::Request {
        from: from.iter().map(|&address| address.to_owned()).collect(),
        ..good.clone()
    };
    let missing = clone_topic::Request {
        topic: corelog_record::TopicName::new("missing").unwrap(),
        ..good.clone()
    };
    let far = clone_topic::Request {
        partition: Some(PartitionId::new(7)),
        ..good.clone()
    };
    let followed = clone_topic::Request {
        segments: vec![Offset::ZERO],
        ..good.clone()
    };
    // Nobody listens there: the proxy of a node that is down leads nowhere.
    let down = Node::start(&folder, "down");
    down.disconnect();
    for (request, code) in [
        (from(&[]), ErrorCode::InvalidRequest),
        (from(&["no-port"]), ErrorCode::InvalidRequest),
        (from(&[b.address().as_str()]), ErrorCode::UnknownTopic),
        (
            from(&[down.address().as_str()]),
            ErrorCode::SourceUnavailable,
        ),
        (
            from(&[a.server().ready.admin.to_string().as_str()]),
            ErrorCode::UnsupportedVersion,
        ),
        (missing, ErrorCode::UnknownTopic),
        (far, ErrorCode::UnknownPartition),
        (followed, ErrorCode::InvalidRequest),
    ] {
        let why = refused(&b, &request);
        assert!(why.is(code), "{why:?} instead of {code:?}");
    }
    assert!(!has(&b, "t"));
    // The first source that answers is the one that is followed.
    let request = from(&[down.address().as_str(), a.address().as_str()]);
    b.ask(&request).unwrap();
    assert!(has(&b, "t"));
    a.fill(&topic, 0, 3);
    wait_until_level(&a, &b, &topic, 0);
    assert_equal(&a, &b, &topic, 0);
}

/// It took the last of what partitions there were written to.
#[test]
fn a_topic_for_which_there_is_no_room_is_refused_before_any_of_it_comes() {
    let folder = Folder::new();
    let mount = Mount::small(&folder, 64 << 20);
    let small = Node::on(mount.inside("b"), mount.wrapper(), 1);
    let large = Node::start(&folder, "a");
    let topic = large.topic("t", 2);
    large.fill(&topic, 0, 20);
    let filler = mount.fill();
    let from = large.address();
    let clone = ["clone", "t", "--from", &from, "--follow"];
    let said = small.corelog().run(clone).failed(1);
    assert!(said.contains("bytes are to be copied"), "{said}");
    assert!(said.contains("`corelog topic alter`"), "{said}");
    assert!(!has(&small, "t"));
    let empty = clone_topic::Request {
        partition: Some(PartitionId::new(1)),
        ..cloning(&topic, &[&large])
    };
    leave(&filler, 64 << 10);
    small.ask(&empty).unwrap();
    std::fs::remove_file(filler).unwrap();
    let filler = mount.fill();
    let whole = refused(&small, &cloning(&topic, &[&large]));
    assert!(whole.message.contains("are to be copied"), "{whole:?}");
    // What was deleted, and is still being removed, makes room.
    let removed = mount.outside("b/deleted/one");
    std::fs::remove_file(filler).unwrap();
    std::fs::create_dir(&removed).unwrap();
    let filler = mount.fill();
    leave(&filler, 64 << 10);
    small.ask(&cloning(&topic, &[&large])).unwrap();
    std::fs::remove_file(filler).unwrap();
    std::fs::remove_dir(removed).unwrap();
    small.follow(&topic, &[&large]);
    wait_until_level(&large, &small, &topic, 0);
    // What is here already does not come again: there is room to write it down, and for no more.
    leave(&mount.fill(), 64 << 10);
    small.follow(&topic, &[&large]);
}

/// Each was asked for again until the time of the command was over.
#[test]
fn a_source_that_never_will_be_one_ends_the_command_at_once_and_one_that_is_down_soon() {
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    a.topic("t", 1);
    b.topic("own", 1);
    let (admin, nobody) = (a.server().ready.admin.to_string(), "127.0.0.1:1");
    let both = format!("{admin},{nobody}");
    for (words, next) in [
        (["clone", "t", "--from", &admin], "as --listen"),
        (["clone", "t", "--from", &both], "as --listen"),
        (["rejoin", "own", "--to", &admin], "as --listen"),
        (["handover", "own", "--to", &admin], "as --listen"),
        (["clone", "t", "--from", nobody], "see if that server runs"),
    ] {
        // No test waits for so long.
        let words = [&words[..], &["--timeout", "1h"]].concat();
        let said = b.corelog().run(&words).failed(4);
        let named = words[3].split(',').next().unwrap();
        assert!(said.contains(named) && said.contains(next), "{said}");
    }
}

/// Who asked a node to rejoin another one could not tell which of the two had refused it.
#[test]
fn a_refusal_of_a_node_that_another_one_asked_names_the_one_that_refuses() {
    let folder = Folder::new();
    let (a, mut b, topic, _) = cut_off(&folder, 10);
    promote(&b, &topic);
    b.kill();
    let manifest = b.topic_dir(&topic).join("0/manifest");
    std::fs::remove_file(&manifest).unwrap();
    std::fs::create_dir(&manifest).unwrap();
    b.up();
    until("it says why it does not serve the log", || {
        let refused = a.ask(&rejoining(&topic, &b)).unwrap_err();
        assert!(refused.message.contains(&b.address()), "{refused:?}");
        !refused.is(ErrorCode::Busy)
    });
}

/// Whoever was to look before asking again was not told with what.
#[test]
fn who_cannot_be_told_what_was_done_is_told_how_to_look() {
    let folder = Folder::new();
    let (a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    a.topic("t", 1);
    b.proxy.hold(0, Kind::CloneTopic);
    let corelog = Corelog::at(&b.address());
    let said = corelog.give_up(&["clone", "t", "--from", &a.address()]);
    assert!(
        said.contains("look with `corelog topic describe`"),
        "{said}"
    );
    b.proxy.hold(0, Kind::RepairTopic);
    let said = corelog.give_up(&["repair", "t"]);
    assert!(said.contains("the server goes on with it"), "{said}");
    let alter = ["topic", "alter", "t", "--retention-age", "7d"];
    let said = a.corelog().run(alter).failed(6);
    let own = a.server().address();
    assert!(said.contains(&format!(" at {own} for good")), "{said}");
}

/// It was told as level with its source, whatever that had got since.
#[test]
fn a_replica_that_asks_its_source_no_more_is_not_called_level_with_it() {
    let folder = Folder::new();
    let (a, done) = (Node::start(&folder, "a"), Node::start(&folder, "done"));
    let stopped = Node::start(&folder, "stopped");
    let topic = a.topic("t", 1);
    let end = a.fill(&topic, 0, 20);
    done.ask(&clone_topic::Request {
        follow: false,
        ..cloning(&topic, &[&a])
    })
    .unwrap();
    stopped.follow(&topic, &[&a]);
    wait_until_level(&a, &stopped, &topic, 0);
    until("all was copied", || {
        let told = status(&done, &topic, 0);
        (told.state, told.end) == (State::Done, end)
    });
    a.ask(&delete_topic::Request {
        name: topic.name.clone(),
        id: topic.id,
    })
    .unwrap();
    a.topic("t", 1);
    until("it follows no more", || {
        status(&stopped, &topic, 0).state == State::Stopped
    });
    // There it waited for ever.
    let moved = stopped.ask(&topic.fetch(0, end)).unwrap_err();
    assert!(moved.is(ErrorCode::NotOwner), "{moved:?}");
    assert_eq!(moved.detail.address, Some(a.address()));
    stopped.ask(&topic.fetch(0, Offset::ZERO)).unwrap();
    done.ask(&topic.fetch(0, end)).unwrap();
    let cases = [
        (done, "was copied from", "done"),
        (stopped, "it has stopped at", "stopped"),
    ];
    for (node, words, copying) in cases {
        assert_eq!(status(&node, &topic, 0).lag_records, None);
        let said = node.corelog().run(["topic", "describe", "t"]).text();
        assert!(said.contains(words) && !said.contains("level"), "{said}");
        let json = ["topic", "describe", "t", "--output", "json"];
        let told = node.corelog().run(json).json();
        assert_eq!(told["partitions"][0]["copying"], copying);
        assert!(told["partitions"][0]["lag_records"].is_null());
    }
}

/// Names as long as a frame allows went to the name server, and the answer was that nobody was there.
#[test]
fn an_address_that_cannot_be_one_is_refused_before_anybody_is_asked() {
    let folder = Folder::new();
    let a = Node::start(&folder, "a");
    let topic = a.topic("t", 2);
    let long = format!("{}:7400", "h".repeat(400));
    for address in [long.as_str(), "no-port", ":7400", ""] {
        let (name, to) = (topic.name.clone(), address.to_owned());
        let rejoining = a.ask(&rejoin::Request {
            topic: name.clone(),
            id: topic.id,
            partition: None,
            to: to.clone(),
        });
        let handing = [false, true].map(|abort| {
            a.ask(&handover::Request {
                topic: name.clone(),
                id: topic.id,
                partition: Some(PartitionId::new(0)),
                to: Some(to.clone()),
                abort,
                accept_loss: false,
            })
        });
        let forgetting = a.ask(&forget_follower::Request {
            topic: name,
            id: topic.id,
            partition: None,
            address: to,
        });
        let [handing, aborting] = handing.map(|told| (told.unwrap_err(), "to"));
        for (why, field) in [
            (rejoining.unwrap_err(), "to"),
            handing,
            aborting,
            (forgetting.unwrap_err(), "address"),
        ] {
            assert!(why.is(ErrorCode::InvalidRequest), "{address}: {why:?}");
            assert_eq!(why.detail.field.as_deref(), Some(field));
        }
    }
}
