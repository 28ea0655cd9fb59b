//! Topics through the wire: altered, deleted, created again, and never taken for one another.

use corelog_client::record::{PartitionId, Record};
use corelog_client::{Client, ClientConfig, Outcome, ProducerConfig};
use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::limits;
use corelog_protocol::message::ack::Level;
use corelog_protocol::message::list_offsets::At;
use corelog_protocol::message::settings::{Change, RetentionHold, SettingsChange, TopicSettings};
use corelog_protocol::message::{
    Call, alter_topic, clone_topic, copy_segments, create_topic, delete_topic, describe_topic,
    handover, metadata, ping, produce, rejoin, reopen_partition, restore_topic, truncate,
};
use corelog_record::batch::{Codec, View};
use corelog_record::{HistoryId, Offset, Position, TopicId, TopicName};

use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::server::{Server, Start};
use crate::support::wire::{Target, Wire, batch};

/// Settings and partitions change as asked, at once, and are still so after a kill; what is asked
/// wrongly changes nothing.
#[test]
fn what_alter_changes_is_in_force_and_outlives_a_kill() {
    let folder = Folder::new();
    let server = two_cores(&folder);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("altered", 2, 1 << 20);
    let one = batch(Codec::None, ["one"]);
    wire.call(&topic.produce(1), &one).unwrap().unwrap();

    let change = SettingsChange {
        ack: Some(Level::Accepted),
        retention_age_ms: Change::Set(3_600_000),
        retention_bytes: Change::Set(1 << 30),
        segment_bytes: Some(2 << 20),
        segment_age_ms: Change::Set(60_000),
        retention_hold: Some(RetentionHold::Snapshotted),
        retention_hold_bytes: Change::Set(1 << 40),
    };
    let wanted = change.apply(&TopicSettings::default());
    let answer = alter(&mut wire, &topic, Some(5), change).unwrap();
    assert_eq!((answer.partitions, &answer.settings), (5, &wanted));
    // A level that nobody names is the topic's now, on partitions old and new.
    for partition in [1, 4] {
        let (answer, _) = wire.call(&topic.produce(partition), &one).unwrap().unwrap();
        assert_eq!(answer.level, Level::Accepted);
        let durable = produce::Request {
            level: Some(Level::Durable),
            ..topic.produce(partition)
        };
        let (answer, _) = wire.call(&durable, &one).unwrap().unwrap();
        assert_eq!(answer.level, Level::Durable, "durable always wins");
    }

    let refused = |wire: &mut Wire, partitions, change| {
        let error = alter(wire, &topic, partitions, change).unwrap_err();
        error.known_code().unwrap()
    };
    let keep = SettingsChange::default;
    let fewer = refused(&mut wire, Some(4), keep());
    assert_eq!(fewer, ErrorCode::InvalidPartitions);
    let many = refused(&mut wire, Some(5_000), keep());
    assert_eq!(many, ErrorCode::InvalidPartitions);
    let small = SettingsChange {
        segment_bytes: Some(1),
        ack: Some(Level::Durable),
        ..keep()
    };
    let invalid = refused(&mut wire, Some(6), small);
    assert_eq!(invalid, ErrorCode::InvalidSettings);
    let unknown = SettingsChange {
        retention_hold: Some(RetentionHold::Unknown),
        ..keep()
    };
    let invalid = refused(&mut wire, None, unknown);
    assert_eq!(invalid, ErrorCode::InvalidSettings);

    drop(wire);
    let data = server.ready.data.clone();
    server.kill();
    let server = Start::on(&data).cores(2).start();
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let found = describe(&mut wire, &topic.name).unwrap();
    assert_eq!((found.id, &found.settings), (topic.id, &wanted));
    assert_eq!(found.partitions.len(), 5);
    let ends: Vec<u64> = found.partitions.iter().map(|p| p.log_end.get()).collect();
    assert_eq!((ends[0], ends[1], ends[4]), (0, 3, 2));

    // A setting that is cleared has no bound any more.
    let clear = SettingsChange {
        retention_age_ms: Change::Clear,
        retention_bytes: Change::Clear,
        segment_age_ms: Change::Clear,
        ..keep()
    };
    let answer = alter(&mut wire, &topic, None, clear).unwrap();
    assert_eq!(answer.settings.retention_age_ms, None);
    assert_eq!(answer.settings.retention_bytes, None);
    assert_eq!(
        answer.settings.segment_bytes,
        2 << 20,
        "what is not named stays"
    );
}

/// Every request that carries a topic's id is refused with `TopicChanged` once the topic is
/// another, and does nothing to the new one.
#[test]
fn a_stale_id_is_refused_by_every_request_and_harms_nothing() {
    let folder = Folder::new();
    let server = two_cores(&folder);
    // By the owner's port and by the other one: the router refuses it as well.
    for (number, door) in [server.ready.listen]
        .iter()
        .chain(&server.ready.cores)
        .enumerate()
    {
        let mut wire = Wire::open(*door).unwrap();
        let name = format!("again-{number}");
        let old = wire.topic(&name, 2, 1 << 20);
        delete(&mut wire, &old).unwrap();
        let new = wire.topic(&name, 2, 1 << 20);
        assert_ne!(old.id, new.id, "a topic is not its name");
        let values = batch(Codec::None, ["first", "second"]);
        for partition in [0, 1] {
            wire.call(&new.produce(partition), &values)
                .unwrap()
                .unwrap();
        }
        for id in [old.id, TopicId::from_bytes([0; 16])] {
            let stale = Target {
                name: new.name.clone(),
                id,
            };
            for partition in [0, 1] {
                assert_refused_everywhere(&mut wire, &stale, new.id, partition);
            }
        }
        let found = describe(&mut wire, &new.name).unwrap();
        assert_eq!(found.settings.segment_bytes, 1 << 20);
        assert_eq!(found.partitions.len(), 2);
        for partition in [0, 1] {
            let bytes = wire.read_all(&new, partition, Offset::ZERO);
            assert_eq!(View::verify(&bytes).unwrap().count(), 2);
        }
    }
}

fn assert_refused_everywhere(wire: &mut Wire, stale: &Target, now: TopicId, partition: u32) {
    for (index, error) in refused_everywhere(wire, stale, partition)
        .iter()
        .enumerate()
    {
        assert!(error.is(ErrorCode::TopicChanged), "{index}: {error:?}");
        assert_eq!(error.detail.topic_id, Some(now), "{index}: {error:?}");
    }
}

/// What every request is answered with that names a topic by its id.
pub(crate) fn refused_everywhere(
    wire: &mut Wire,
    target: &Target,
    partition: u32,
) -> Vec<ErrorBody> {
    let (topic, id) = (target.name.clone(), target.id);
    let number = PartitionId::new(partition);
    let mut all = vec![
        refused(wire, &target.produce(partition), &batch(Codec::None, ["x"])),
        refused(wire, &target.fetch(partition, Offset::ZERO), &[]),
    ];
    for at in [At::Earliest, At::Latest, At::Time(Default::default())] {
        all.push(refused(wire, &target.list_offsets(partition, at), &[]));
    }
    let request = truncate::Request {
        topic: topic.clone(),
        id,
        partition: number,
        lowest: Offset::ZERO.plus(1),
    };
    all.push(refused(wire, &request, &[]));
    let request = reopen_partition::Request {
        topic: topic.clone(),
        id,
        partition: number,
    };
    all.push(refused(wire, &request, &[]));
    all.push(alter(wire, target, Some(9), SettingsChange::default()).unwrap_err());
    all.push(delete(wire, target).unwrap_err());
    all.into_iter().map(|error| *error).collect()
}

/// A key was named that the request does not have, or none.
#[test]
fn what_is_wrong_in_a_request_is_named_by_its_own_key() {
    let folder = Folder::new();
    let server = two_cores(&folder);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("t", 1, 1 << 20);
    let (name, id) = (topic.name.clone(), topic.id);
    for source in ["..", ".", "", "s p", "a/b", "\u{1b}[2J\n"] {
        let request = restore_topic::Request {
            source: source.to_owned(),
            source_topic: None,
            topic: TopicName::new("new").unwrap(),
            with_damage: false,
        };
        let error = refused(&mut wire, &request, &[]);
        assert!(error.is(ErrorCode::InvalidRequest), "{error:?}");
        assert_eq!(error.detail.field.as_deref(), Some("source"), "{error:?}");
        assert!(!error.message.contains(char::is_control), "{error:?}");
    }
    let own = server.ready.listen.to_string();
    let handover = |to| handover::Request {
        topic: name.clone(),
        id,
        partition: None,
        to,
        abort: false,
        accept_loss: false,
    };
    let rejoin = rejoin::Request {
        topic: name.clone(),
        id,
        partition: None,
        to: own.clone(),
    };
    let clone = clone_topic::Request {
        topic: name.clone(),
        partition: None,
        from: vec![own.clone()],
        segments: Vec::new(),
        follow: true,
        rate_bytes: None,
    };
    let part = copy_segments::Part {
        segment: Offset::ZERO,
        generation: 0,
        position: Position::ZERO,
        bytes: None,
    };
    let copy = copy_segments::Request {
        topic: name.clone(),
        id,
        partition: PartitionId::new(0),
        history: HistoryId::of(id, PartitionId::new(0)),
        parts: vec![part.clone()],
        piece_bytes_max: 1,
    };
    let crowd = clone_topic::Request {
        from: vec![own.clone(); 17],
        ..clone.clone()
    };
    let parts = |count| copy_segments::Request {
        parts: vec![part.clone(); count],
        ..copy.clone()
    };
    let all = [
        ("to", None, refused(&mut wire, &handover(None), &[])),
        ("to", None, refused(&mut wire, &handover(Some(own)), &[])),
        ("to", None, refused(&mut wire, &rejoin, &[])),
        ("from", None, refused(&mut wire, &clone, &[])),
        ("from", Some((17, 16)), refused(&mut wire, &crowd, &[])),
        ("piece_bytes_max", None, refused(&mut wire, &copy, &[])),
        ("parts", None, refused(&mut wire, &parts(0), &[])),
        (
            "parts",
            Some((1_025, 1_024)),
            refused(&mut wire, &parts(1_025), &[]),
        ),
    ];
    for (key, too_many, error) in all {
        assert!(error.is(ErrorCode::InvalidRequest), "{key}: {error:?}");
        let detail = &error.detail;
        assert_eq!(detail.field.as_deref(), Some(key), "{error:?}");
        // A limit is told where it was exceeded, and with what exceeded it.
        let told = (detail.found, detail.limit);
        assert_eq!(told, too_many.unzip(), "{error:?}");
    }
}

/// Settings that no topic can have were taken without a word where there was one of the name.
#[test]
fn settings_that_cannot_be_are_refused_of_a_topic_that_is_there_as_well() {
    let folder = Folder::new();
    let server = two_cores(&folder);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("t", 1, 1 << 20);
    let request = create_topic::Request {
        name: topic.name,
        partitions: 1,
        settings: TopicSettings {
            segment_bytes: 1,
            ..TopicSettings::default()
        },
        if_not_exists: true,
    };
    let error = refused(&mut wire, &request, &[]);
    assert!(error.is(ErrorCode::InvalidSettings), "{error:?}");
}

/// A deleted topic is unknown at once and after a kill, its files go, and a new one of its name
/// begins at offset 0 with nothing of the old.
#[test]
fn a_deleted_topic_is_gone_and_its_name_begins_anew() {
    let folder = Folder::new();
    let mut server = two_cores(&folder);
    let data = server.ready.data.clone();
    for round in 0..4_u64 {
        let mut wire = Wire::open(server.ready.listen).unwrap();
        let topic = wire.topic("phoenix", 2, 1 << 20);
        let value = format!("round {round}");
        for partition in [0, 1] {
            let (answer, _) = wire
                .call(&topic.produce(partition), &batch(Codec::Zstd, [&value]))
                .unwrap()
                .unwrap();
            assert_eq!(answer.base, Offset::ZERO);
        }
        // Somebody waits for more while it goes: an answer, not a hang.
        let mut waiting = Wire::open(server.ready.listen).unwrap();
        let poll = corelog_protocol::message::fetch::Request {
            max_wait_ms: 60_000,
            ..topic.fetch(0, Offset::ZERO.plus(1))
        };
        waiting.send(&poll, &[]).unwrap();
        // The poll is there once what was sent behind it is answered.
        waiting.send(&ping::Request {}, &[]).unwrap();
        assert_eq!(
            waiting.receive().unwrap().kind,
            ping::Request::KIND.number()
        );
        delete(&mut wire, &topic).unwrap();
        let told = waiting.receive().unwrap();
        let error = told.error().expect("a topic that is gone has no records");
        assert!(error.is(ErrorCode::UnknownTopic), "{error:?}");

        let error = describe(&mut wire, &topic.name).unwrap_err();
        assert!(error.is(ErrorCode::UnknownTopic), "{error:?}");
        let error = delete(&mut wire, &topic).unwrap_err();
        assert!(error.is(ErrorCode::UnknownTopic), "{error:?}");
        let error = wire.call(&topic.fetch(0, Offset::ZERO), &[]).unwrap();
        let error = error.map(drop).unwrap_err();
        assert!(error.is(ErrorCode::UnknownTopic), "{error:?}");
        if round % 2 == 1 {
            drop((wire, waiting));
            server.kill();
            server = Start::on(&data).cores(2).start();
            wire = Wire::open(server.ready.listen).unwrap();
            let error = describe(&mut wire, &topic.name).unwrap_err();
            assert!(error.is(ErrorCode::UnknownTopic), "{error:?}");
        }
        let deleted = data.join("deleted");
        until("the files are gone", || {
            std::fs::read_dir(&deleted).map_or(true, |mut dir| dir.next().is_none())
        });
        let (all, _) = wire
            .call(&metadata::Request { topics: None }, &[])
            .unwrap()
            .unwrap();
        assert!(all.topics.is_empty(), "{all:?}");
    }
}

/// A producer that does not know yet is told `TopicChanged` for what it meant for the old topic,
/// not applied, and what it sends then goes to the new one.
#[test]
fn a_producer_is_told_that_its_topic_was_recreated() {
    let folder = Folder::new();
    let server = two_cores(&folder);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let old = wire.topic("swapped", 1, 1 << 20);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let config = ClientConfig::new([server.address()]);
        let client = Client::connect(config).await.unwrap();
        let producer = client.producer(ProducerConfig::default());
        let send = |value: &'static str| {
            let record = Record {
                value: Some(value.into()),
                ..Record::default()
            };
            let (producer, name) = (producer.clone(), old.name.clone());
            async move { producer.send(&name, None, record).await.unwrap().await }
        };
        send("old").await.unwrap();
        delete(&mut wire, &old).unwrap();
        let new = wire.topic("swapped", 1, 1 << 20);
        let error = send("lost").await.unwrap_err();
        assert_eq!(error.outcome, Outcome::NotApplied);
        let code = error.error.refusal().and_then(ErrorBody::known_code);
        assert_eq!(code, Some(ErrorCode::TopicChanged), "{error}");
        let ack = send("new").await.unwrap();
        assert_eq!(ack.offset, Offset::ZERO);
        let bytes = wire.read_all(&new, 0, Offset::ZERO);
        let batch = View::verify(&bytes).unwrap();
        let record = batch.records().unwrap().next().unwrap().unwrap();
        assert_eq!(record.value, Some(&b"new"[..]));
        assert_eq!(batch.count(), 1);
    });
}

/// Names that are none, and numbers of partitions that are none, make no topic and no file.
#[test]
fn what_cannot_be_a_topic_is_refused_and_leaves_nothing() {
    let folder = Folder::new();
    let server = two_cores(&folder);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    for (partitions, code) in [
        (0, ErrorCode::InvalidPartitions),
        (4_097, ErrorCode::InvalidPartitions),
        (u32::MAX, ErrorCode::InvalidPartitions),
    ] {
        let request = create_topic::Request {
            name: TopicName::new("none").unwrap(),
            partitions,
            settings: TopicSettings::default(),
            if_not_exists: false,
        };
        let error = refused(&mut wire, &request, &[]);
        assert!(error.is(code), "{partitions}: {error:?}");
    }
    let topics = server.ready.data.join("topics");
    let is_empty = std::fs::read_dir(topics).map_or(true, |mut dir| dir.next().is_none());
    assert!(is_empty, "a refused topic left something");
}

pub(crate) fn refused<R: Call>(wire: &mut Wire, request: &R, body: &[u8]) -> Box<ErrorBody> {
    let answer = wire.call(request, body).unwrap();
    match answer {
        Ok(_) => panic!("{} was not refused", R::KIND),
        Err(error) => error,
    }
}

fn alter(
    wire: &mut Wire,
    topic: &Target,
    partitions: Option<u32>,
    settings: SettingsChange,
) -> Result<alter_topic::Answer, Box<ErrorBody>> {
    let request = alter_topic::Request {
        name: topic.name.clone(),
        id: topic.id,
        partitions,
        settings,
    };
    let answer = wire.call(&request, &[]).unwrap();
    answer.map(|(answer, _)| answer)
}

fn delete(wire: &mut Wire, topic: &Target) -> Result<(), Box<ErrorBody>> {
    let request = delete_topic::Request {
        name: topic.name.clone(),
        id: topic.id,
    };
    wire.call(&request, &[]).unwrap().map(drop)
}

fn describe(wire: &mut Wire, name: &TopicName) -> Result<describe_topic::Answer, Box<ErrorBody>> {
    let request = describe_topic::Request { name: name.clone() };
    let answer = wire.call(&request, &[]).unwrap();
    answer.map(|(answer, _)| answer)
}

pub(crate) fn two_cores(folder: &Folder) -> Server {
    Start::on(&folder.path().join("data")).cores(2).start()
}

/// A connection that met refusals of 4,097 partitions was closed, though four times as many are
/// promised.
#[test]
fn a_connection_remembers_refusals_of_as_many_partitions_as_is_promised() {
    let folder = Folder::new();
    let server = two_cores(&folder);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("t", 1, 1 << 20);
    let one = batch(Codec::None, ["one"]);
    let last = limits::PRODUCE_PARTITION_COUNT_MAX;
    let mut partition = 1;
    while partition <= last {
        let some = (last - partition + 1).min(32);
        for number in partition..partition + some {
            wire.send(&topic.produce(number), &one).unwrap();
        }
        for _ in 0..some {
            let refused = wire.receive().unwrap().read::<produce::Request>();
            assert!(refused.unwrap_err().is(ErrorCode::UnknownPartition));
        }
        partition += some;
    }
    wire.ping().unwrap();
    wire.send(&topic.produce(last + 1), &one).unwrap();
    let said: Vec<_> = std::iter::from_fn(|| wire.receive().ok()).collect();
    let mut errors = said.iter().filter_map(|reply| reply.error());
    assert!(errors.any(|error| error.is(ErrorCode::Busy)));
    wire.ping().unwrap_err();
}
