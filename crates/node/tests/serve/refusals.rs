//! Bad input gets its typed error, and disturbs nobody else.

use std::net::SocketAddr;

use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::kind::Kind;
use corelog_protocol::message::epoch::Epoch;
use corelog_protocol::message::settings::TopicSettings;
use corelog_protocol::message::{
    Call, alter_topic, create_topic, delete_topic, fetch, hello, ping, produce, truncate,
};
use corelog_protocol::request;
use corelog_protocol::{frame::CorrelationId, limits};
use corelog_record::batch::View;
use corelog_record::{
    Chain, CopyId, HistoryId, LeaderEpoch, Lineage, Offset, PartitionId, TopicId,
};

use crate::client::{Client, batch, from, name, to};
use crate::{directory, start, start_with};

/// The error that a request is refused with.
fn refused<R: Call>(client: &mut Client, request: &R, body: &[u8]) -> ErrorBody {
    client.send(request, body);
    match client.receive::<R>().told {
        Ok(_) => panic!("a {} was not refused", R::KIND),
        Err(error) => error,
    }
}

fn code(error: &ErrorBody) -> ErrorCode {
    error.known_code().expect("a known code")
}

/// The error that closes a connection on which these bytes are sent.
fn cut_by(address: SocketAddr, greeted: bool, bytes: &[u8]) -> ErrorCode {
    let mut client = if greeted {
        Client::hello(address)
    } else {
        Client::connect(address)
    };
    client.send_raw(bytes);
    let arrived = client.receive::<ping::Request>();
    assert!(client.is_closed(), "the connection goes on");
    code(&arrived.told.expect_err("an error"))
}

fn frame<R: Call>(request: &R) -> Vec<u8> {
    let mut frame = Vec::new();
    request::encode(CorrelationId::new(7), request, 0, &mut frame).expect("a frame");
    frame
}

#[test]
fn a_lost_framing_is_told_and_closes_the_connection_alone() {
    let dir = directory();
    let node = start(&dir);
    let address = node.addresses().listen;
    let mut bystander = Client::hello(address);
    let ping = frame(&ping::Request {});

    let mut bad_crc = ping.clone();
    bad_crc[17] ^= 1;
    assert_eq!(cut_by(address, true, &bad_crc), ErrorCode::BadFrame);
    let mut oversized = ping.clone();
    oversized[..4].copy_from_slice(&(limits::FRAME_BYTES_MAX + 1).to_le_bytes());
    assert_eq!(cut_by(address, true, &oversized), ErrorCode::FrameTooLarge);
    let mut other_version = ping.clone();
    other_version[4] = 9;
    assert_eq!(
        cut_by(address, true, &other_version),
        ErrorCode::UnsupportedVersion
    );
    assert_eq!(cut_by(address, true, &[0; 64]), ErrorCode::BadFrame);
    assert_eq!(
        cut_by(address, false, b"GET / HTTP/1.1\r\n\r\n"),
        ErrorCode::FrameTooLarge
    );
    assert_eq!(cut_by(address, false, &ping), ErrorCode::HelloRequired);
    // A Hello that lacks what a Hello has: whoever writes his first one is told what.
    let mut bad_hello = ping.clone();
    bad_hello[6..8].copy_from_slice(&Kind::Hello.number().to_le_bytes());
    let bad_hello = reseal(bad_hello);
    assert_eq!(cut_by(address, false, &bad_hello), ErrorCode::BadFrame);
    // The answer would have the kind that says that the connection ends.
    let mut no_kind = ping.clone();
    no_kind[6..8].copy_from_slice(&0_u16.to_le_bytes());
    assert_eq!(cut_by(address, true, &reseal(no_kind)), ErrorCode::BadFrame);

    bystander.ask(&ping::Request {}).expect("still served");
    Client::hello(address).send_raw(&ping[..10]);
    bystander.ask(&ping::Request {}).expect("still served");
    node.stop().expect("a clean stop");
}

/// Who had not said hello could have megabytes received, and only then was told.
#[test]
fn before_a_hello_no_body_is_received() {
    let dir = directory();
    let node = start(&dir);
    let address = node.addresses().listen;
    let (mut large, bytes) = (Vec::new(), 8_u32 << 20);
    let request = to("t", TopicId::from_bytes([1; 16]), 0);
    request::encode(CorrelationId::new(7), &request, bytes as usize, &mut large).expect("a frame");
    assert_eq!(cut_by(address, false, &large), ErrorCode::HelloRequired);
    let mut hello = frame(&hello::Request {
        versions: vec![1],
        client: String::new(),
    });
    hello[..4].copy_from_slice(&bytes.to_le_bytes());
    assert_eq!(cut_by(address, false, &reseal(hello)), ErrorCode::BadFrame);
    node.stop().expect("a clean stop");
}

#[test]
fn a_frame_that_is_whole_and_wrong_is_told_and_the_connection_goes_on() {
    let dir = directory();
    let node = start(&dir);
    let mut client = Client::hello(node.addresses().listen);
    let mut unknown = frame(&ping::Request {});
    unknown[6..8].copy_from_slice(&999_u16.to_le_bytes());
    client.send_raw(&reseal(unknown));
    let arrived = client.receive_any();
    assert_eq!(
        arrived.map(|error| code(&error)),
        Some(ErrorCode::UnknownKind)
    );

    let again = hello::Request {
        versions: vec![1],
        client: String::new(),
    };
    assert_eq!(
        code(&refused(&mut client, &again, &[])),
        ErrorCode::HelloRequired
    );
    client.ask(&ping::Request {}).expect("still served");

    let mut other = Client::connect(node.addresses().listen);
    let none = hello::Request {
        versions: vec![77],
        client: String::new(),
    };
    assert_eq!(
        code(&refused(&mut other, &none, &[])),
        ErrorCode::UnsupportedVersion
    );
    node.stop().expect("a clean stop");
}

#[test]
fn a_bad_batch_is_told_by_field_and_aborts_its_run_until_the_next() {
    let dir = directory();
    let node = start(&dir);
    for core in 0..2 {
        let mut client = Client::hello(node.addresses().cores[core]);
        let topic = format!("runs-{core}");
        let id = client.create(&topic, 1);
        let mut request = to(&topic, id, 0);
        let good = batch(&["a"]);
        let mut bad = good.clone();
        *bad.last_mut().expect("bytes") ^= 1;

        client.send(&request, &good);
        client.send(&request, &bad);
        client.send(&request, &good);
        client.send(&request, &good);
        let told: Vec<_> = (0..4)
            .map(|_| client.receive::<produce::Request>().told)
            .collect();
        assert_eq!(told[0].as_ref().expect("appended").base, Offset::ZERO);
        assert_eq!(
            code(told[1].as_ref().expect_err("bad")),
            ErrorCode::InvalidBatch
        );
        for aborted in &told[2..] {
            assert_eq!(
                code(aborted.as_ref().expect_err("aborted")),
                ErrorCode::Aborted
            );
        }
        request.run = 1;
        client.send(&request, &good);
        let next = client.receive::<produce::Request>().told.expect("appended");
        assert_eq!(
            next.base.get(),
            1,
            "nothing of the aborted run was appended"
        );

        for (body, expected) in [
            (&good[..good.len() - 1], ErrorCode::InvalidBatch),
            (&[][..], ErrorCode::InvalidBatch),
            (&[9; 100][..], ErrorCode::InvalidBatch),
        ] {
            request.run += 1;
            assert_eq!(code(&refused(&mut client, &request, body)), expected);
        }
        assert_eq!(client.latest(&topic, id, 0), 2);
    }
    node.stop().expect("a clean stop");
}

#[test]
fn unknown_topics_partitions_ids_and_offsets_are_told_apart() {
    let dir = directory();
    let node = start(&dir);
    let mut client = Client::hello(node.addresses().cores[1]);
    let id = client.create("known", 2);
    client
        .produce(&to("known", id, 0), &["a", "b"])
        .expect("produced");
    let body = batch(&["v"]);
    let other_id = TopicId::from_bytes([1; 16]);
    let produced = |request| (request, body.as_slice());
    for ((request, body), expected) in [
        (produced(to("unknown", id, 0)), ErrorCode::UnknownTopic),
        (produced(to("known", id, 2)), ErrorCode::UnknownPartition),
        (produced(to("known", other_id, 0)), ErrorCode::TopicChanged),
    ] {
        assert_eq!(code(&refused(&mut client, &request, body)), expected);
    }
    let past = refused(&mut client, &from("known", id, 0, 3), &[]);
    assert_eq!(code(&past), ErrorCode::OutOfRange);
    assert_eq!(past.detail.high_watermark.map(Offset::get), Some(2));

    let mut cut = truncate::Request {
        topic: name("known"),
        id,
        partition: PartitionId::new(0),
        lowest: Offset::new(1).expect("an offset"),
    };
    assert_eq!(client.ask(&cut).expect("truncated").log_start.get(), 1);
    let below = refused(&mut client, &from("known", id, 0, 0), &[]);
    assert_eq!(code(&below), ErrorCode::OutOfRange);
    let valid = (below.detail.log_start, below.detail.high_watermark);
    assert_eq!(
        (valid.0.map(Offset::get), valid.1.map(Offset::get)),
        (Some(1), Some(2))
    );
    cut.lowest = Offset::new(9).expect("an offset");
    assert_eq!(
        code(&refused(&mut client, &cut, &[])),
        ErrorCode::OutOfRange
    );
    cut.id = other_id;
    assert_eq!(
        code(&refused(&mut client, &cut, &[])),
        ErrorCode::TopicChanged
    );
    node.stop().expect("a clean stop");
}

#[test]
fn topics_are_created_altered_and_deleted_within_their_rules() {
    let dir = directory();
    let node = start_with(&dir, |config| config.limits.partitions_max = 20);
    let mut client = Client::hello(node.addresses().cores[1]);
    let create = |topic: &str, partitions| create_topic::Request {
        name: name(topic),
        partitions,
        settings: TopicSettings::default(),
        if_not_exists: false,
    };
    for (partitions, expected) in [
        (0, ErrorCode::InvalidPartitions),
        (4_097, ErrorCode::InvalidPartitions),
        (21, ErrorCode::TooManyPartitions),
    ] {
        let error = refused(&mut client, &create("t", partitions), &[]);
        assert_eq!(code(&error), expected);
    }
    let mut small = create("t", 1);
    small.settings.segment_bytes = 1;
    assert_eq!(
        code(&refused(&mut client, &small, &[])),
        ErrorCode::InvalidSettings
    );

    let made = client.ask(&create("t", 2)).expect("created");
    assert!(made.created);
    assert_eq!(
        code(&refused(&mut client, &create("t", 2), &[])),
        ErrorCode::TopicExists
    );
    let mut again = create("t", 7);
    again.if_not_exists = true;
    let found = client.ask(&again).expect("it is there");
    assert_eq!(
        (found.created, found.id, found.partitions),
        (false, made.id, 2)
    );

    client
        .produce(&to("t", made.id, 1), &["old"])
        .expect("produced");
    let mut alter = alter_topic::Request {
        name: name("t"),
        id: made.id,
        partitions: Some(5),
        settings: Default::default(),
    };
    assert_eq!(client.ask(&alter).expect("altered").partitions, 5);
    client
        .produce(&to("t", made.id, 4), &["new"])
        .expect("a new partition serves");
    alter.partitions = Some(4);
    assert_eq!(
        code(&refused(&mut client, &alter, &[])),
        ErrorCode::InvalidPartitions
    );

    let mut delete = delete_topic::Request {
        name: name("t"),
        id: TopicId::from_bytes([0; 16]),
    };
    assert_eq!(
        code(&refused(&mut client, &delete, &[])),
        ErrorCode::TopicChanged
    );
    delete.id = made.id;
    client.ask(&delete).expect("deleted");
    assert_eq!(
        code(&refused(&mut client, &delete, &[])),
        ErrorCode::UnknownTopic
    );
    let anew = client.create("t", 1);
    assert_ne!(anew, made.id);
    let stale = refused(&mut client, &to("t", made.id, 0), &batch(&["v"]));
    assert_eq!(code(&stale), ErrorCode::TopicChanged);
    assert_eq!(client.latest("t", anew, 0), 0, "a recreated topic is empty");
    drop(client);
    node.stop().expect("a clean stop");

    let node = start(&dir);
    assert_eq!((node.report().topics, node.report().partitions), (1, 1));
    node.stop().expect("a clean stop");
}

#[test]
fn a_topic_of_the_longest_name_lives_and_dies_like_any_other() {
    let dir = directory();
    let node = start(&dir);
    let mut client = Client::hello(node.addresses().listen);
    let longest = "n".repeat(249);
    let id = client.create(&longest, 1);
    client
        .produce(&to(&longest, id, 0), &["v"])
        .expect("produced");
    client
        .ask(&delete_topic::Request {
            name: name(&longest),
            id,
        })
        .expect("deleted");
    node.stop().expect("a clean stop");
}

#[test]
fn a_parked_fetch_ends_when_its_topic_is_deleted() {
    let dir = directory();
    let node = start(&dir);
    let mut admin = Client::hello(node.addresses().cores[0]);
    let id = admin.create("gone", 2);
    let mut waiting: Vec<Client> = (0..2)
        .map(|partition| {
            let mut client = Client::hello(node.addresses().cores[0]);
            let mut request = from("gone", id, partition, 0);
            request.max_wait_ms = 45_000;
            client.send(&request, &[]);
            client.ask(&ping::Request {}).expect("pong overtakes");
            client
        })
        .collect();
    admin
        .ask(&delete_topic::Request {
            name: name("gone"),
            id,
        })
        .expect("deleted");
    for client in &mut waiting {
        let told = client.receive::<fetch::Request>().told;
        assert_eq!(code(&told.expect_err("gone")), ErrorCode::UnknownTopic);
    }
    node.stop().expect("a clean stop");
}

#[test]
fn who_has_read_a_batch_of_an_epoch_that_did_not_rule_there_is_told_on_every_core() {
    let dir = directory();
    let node = start(&dir);
    let mut client = Client::hello(node.addresses().cores[0]);
    let id = client.create("t", 2);
    for partition in 0..2 {
        let produced = client.produce(&to("t", id, partition), &["value"]);
        produced.expect("appended");
        let mut behind = from("t", id, partition, 0);
        let (_, body) = client.fetch(&behind);
        let epoch = View::verify(&body).expect("one batch").epoch();
        behind.offset = Offset::ZERO.plus(1);
        behind.last_epoch = epoch;
        assert_eq!(client.fetch(&behind).1, []);
        behind.last_epoch = LeaderEpoch::new(i32::MAX);
        let error = refused(&mut client, &behind, &[]);
        assert_eq!(code(&error), ErrorCode::Diverged, "{error}");
        assert_eq!(error.detail.offset, Some(Offset::ZERO));
    }
    node.stop().expect("a clean stop");
}

/// A frame with the checksum that its prefix and head ask for.
fn reseal(mut frame: Vec<u8>) -> Vec<u8> {
    let mut covered = frame[..16].to_vec();
    covered.extend_from_slice(&frame[20..]);
    let crc = crc32(&covered);
    frame[16..20].copy_from_slice(&crc.to_le_bytes());
    frame
}

/// CRC-32 (IEEE), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}

#[test]
fn a_follower_that_tells_more_epochs_than_there_may_be_is_refused() {
    let dir = directory();
    let node = start(&dir);
    let mut client = Client::hello(node.addresses().listen);
    let id = client.create("t", 1);
    let mut tell = |count: u32| {
        let mut request = from("t", id, 0, 0);
        let epochs = (0..count).rev().map(|number| Epoch {
            epoch: LeaderEpoch::new(number.cast_signed()).expect("an epoch"),
            lineage: Lineage::from_bytes([1; 16]),
            start: Offset::ZERO,
        });
        request.follower = Some(fetch::Follower {
            copy: CopyId::from_bytes([2; 16]),
            end: Offset::ZERO,
            chain: Chain::seed(HistoryId::from_bytes([3; 16])),
            node: None,
            address: None,
            epochs: epochs.collect(),
        });
        client.send(&request, &[]);
        client.receive::<fetch::Request>().told
    };
    let error = tell(1_001).expect_err("too many");
    assert_eq!(code(&error), ErrorCode::InvalidRequest, "{error}");
    assert_eq!(error.detail.found, Some(1_001));
    assert_eq!(error.detail.limit, Some(1_000));
    if let Err(error) = tell(1_000) {
        assert_ne!(code(&error), ErrorCode::InvalidRequest, "{error}");
    }
    node.stop().expect("a clean stop");
}
