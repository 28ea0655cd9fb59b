//! Keys that are missing, unknown, nil, twice, or of a wrong type; names that are none.

use corelog_record::{Offset, TopicName};
use serde::Serialize;

use crate::error::{Applied, Detail, ErrorBody, ErrorCode, Retry};
use crate::frame::{CorrelationId, Decoder, Frame, FrameError, Peek, Shape, encode};
use crate::head::HeadError;
use crate::kind::Kind;
use crate::limits;
use crate::message::ack::Level;
use crate::message::settings::{Change, RetentionHold, SettingsChange, TopicSettings};
use crate::message::{
    clone_topic, create_topic, describe_topic, fetch, list_offsets, produce, replica_status,
};
use crate::request::Request;

/// A frame around a head that may be whatever no message of ours is.
fn framed(kind: Kind, head: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let shape = Shape {
        kind: kind.number(),
        is_answer: false,
        correlation: CorrelationId::new(1),
        body_bytes: 0,
    };
    encode(shape, &(), &mut out).unwrap();
    reseal(&mut out, head);
    out
}

/// Puts another head behind the prefix and makes length and checksum fit.
fn reseal(frame: &mut Vec<u8>, head: &[u8]) {
    frame.truncate(20);
    frame.extend_from_slice(head);
    super::hostile::seal(frame, head.len());
}

pub(super) fn decode(kind: Kind, head: &[u8]) -> Result<Request, FrameError> {
    let bytes = framed(kind, head);
    let decoder = Decoder::requests(limits::FRAME_BYTES_MAX);
    let Peek::Frame(frame) = decoder.peek(&bytes).unwrap() else {
        panic!("a whole frame")
    };
    Request::decode(&frame)
}

pub(super) fn head(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    crate::head::encode(value, &mut out).unwrap();
    out
}

#[derive(Serialize)]
struct Place {
    topic: &'static str,
    id: serde_bytes::ByteArray<16>,
    partition: u32,
    offset: u64,
    colour: [[&'static str; 1]; 2],
}

fn place() -> Vec<u8> {
    head(&Place {
        topic: "t",
        id: serde_bytes::ByteArray::new([7; 16]),
        partition: 3,
        offset: 9,
        colour: [["red"], ["green"]],
    })
}

#[test]
fn unknown_keys_are_ignored_and_missing_ones_have_their_defaults() {
    let Request::Fetch(fetch) = decode(Kind::Fetch, &place()).unwrap() else {
        panic!("a Fetch");
    };
    let fetch::Request {
        offset,
        max_bytes,
        min_bytes,
        max_wait_ms,
        last_epoch,
        follower,
        ..
    } = fetch;
    assert_eq!(offset, Offset::new(9).unwrap());
    assert_eq!((max_bytes, min_bytes, max_wait_ms), (1 << 20, 1, 0));
    assert_eq!((last_epoch, follower), (None, None));

    let Request::Produce(produce) = decode(Kind::Produce, &place()).unwrap() else {
        panic!("a Produce");
    };
    let produce::Request { level, run, .. } = produce;
    assert_eq!((level, run), (None, 0));

    let Request::ListOffsets(list) = decode(Kind::ListOffsets, &place()).unwrap() else {
        panic!("a ListOffsets");
    };
    assert_eq!(list.at, list_offsets::At::Latest);

    let name = b"\x81\xa4name\xa1t";
    let Request::CreateTopic(create) = decode(Kind::CreateTopic, name).unwrap() else {
        panic!("a CreateTopic");
    };
    let name = TopicName::new("t").unwrap();
    let settings = TopicSettings::default();
    let plain = create_topic::Request {
        name,
        partitions: 1,
        settings,
        if_not_exists: false,
    };
    assert_eq!(create, plain);
}

#[test]
fn a_missing_key_without_a_default_loses_only_its_request() {
    let error = decode(Kind::Truncate, &place()).unwrap_err();
    assert!(matches!(
        error,
        FrameError::Head {
            source: HeadError::Value { .. },
            ..
        }
    ));
    assert_eq!(error.code(), ErrorCode::BadFrame);
    assert!(
        error.to_body().message.contains("lowest"),
        "{}",
        error.to_body()
    );
}

#[test]
fn a_name_that_no_topic_has_is_told_as_such() {
    let escape = b"\x81\xa4name\xa4../x";
    for (kind, head) in [
        (Kind::CreateTopic, &escape[..]),
        (Kind::DescribeTopic, b"\x81\xa4name\xa0"),
        (Kind::Metadata, b"\x81\xa6topics\x92\xa1a\xa2.."),
    ] {
        let error = decode(kind, head).unwrap_err();
        assert!(
            matches!(error, FrameError::TopicName { .. }),
            "{kind}: {error}"
        );
        assert_eq!(error.code(), ErrorCode::InvalidTopicName);
    }
}

#[test]
fn what_is_no_head_is_refused_before_it_is_built() {
    let deep: Vec<u8> = [&[0x81, 0xa1, b'x'][..], &[0x91; 20], &[0xc0]].concat();
    type IsIt = fn(&HeadError) -> bool;
    let cases: [(&[u8], IsIt); 9] = [
        (b"", |e| matches!(e, HeadError::Truncated { .. })),
        (b"\x90", |e| {
            matches!(e, HeadError::NotAMap { marker: 0x90 })
        }),
        (b"\x80\x80", |e| {
            matches!(e, HeadError::Trailing { bytes: 1 })
        }),
        (b"\x81\xa1x\xdd\xff\xff\xff\xff", |e| {
            matches!(e, HeadError::Truncated { .. })
        }),
        (b"\xdf\xff\xff\xff\xff", |e| {
            matches!(e, HeadError::Truncated { .. })
        }),
        (b"\x81\xa1x\xc6\x7f\xff\xff\xff", |e| {
            matches!(e, HeadError::Truncated { .. })
        }),
        (b"\x81\xa1x\xd4\x00\x00", |e| {
            matches!(e, HeadError::Marker { marker: 0xd4, .. })
        }),
        (b"\x81\xa1x\xa1\xff", |e| {
            matches!(e, HeadError::Text { position: 4, .. })
        }),
        (&deep, |e| matches!(e, HeadError::TooDeep { depth_max: 16 })),
    ];
    for (head, is_it) in cases {
        let error = decode(Kind::Ping, head).unwrap_err();
        let FrameError::Head { source, .. } = &error else {
            panic!("{head:02x?}: {error}")
        };
        assert!(is_it(source), "{head:02x?}: {source}");
    }
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    let head = b"\x82\xa4name\xa1a\xa4name\xa1b";
    assert!(matches!(
        decode(Kind::DescribeTopic, head),
        Err(FrameError::Head { .. })
    ));
}

#[test]
fn a_missing_setting_stays_and_nil_clears_it() {
    let change: SettingsChange =
        crate::head::decode(b"\x82\xb0retention_age_ms\xc0\xafretention_bytes\x05").unwrap();
    assert_eq!(change.retention_age_ms, Change::Clear);
    assert_eq!(change.retention_bytes, Change::Set(5));
    assert_eq!(change.segment_age_ms, Change::Keep);
    let before = TopicSettings {
        retention_age_ms: Some(1),
        segment_age_ms: Some(2),
        ..TopicSettings::default()
    };
    let after = change.apply(&before);
    assert_eq!(
        (after.retention_age_ms, after.retention_bytes),
        (None, Some(5))
    );
    assert_eq!(after.segment_age_ms, Some(2));
}

#[test]
fn a_scrub_that_says_nothing_else_begins_on_all_partitions() {
    let Request::ScrubTopic(scrub) = decode(Kind::ScrubTopic, &place()).unwrap() else {
        panic!("a ScrubTopic");
    };
    assert!(scrub.start);
    let head = b"\x81\xa8snapshot\xa1s";
    let Request::CreateSnapshot(create) = decode(Kind::CreateSnapshot, head).unwrap() else {
        panic!("a CreateSnapshot");
    };
    assert_eq!((create.snapshot.as_str(), create.topics.len()), ("s", 0));
}

#[test]
fn a_clone_that_says_nothing_else_is_all_of_the_log_and_does_not_follow() {
    let head = b"\x82\xa5topic\xa1t\xa4from\x91\xa3a:1";
    let Request::CloneTopic(clone) = decode(Kind::CloneTopic, head).unwrap() else {
        panic!("a CloneTopic");
    };
    let clone_topic::Request {
        partition,
        segments,
        follow,
        rate_bytes,
        ..
    } = clone;
    assert_eq!(
        (partition, segments.len(), follow, rate_bytes),
        (None, 0, false, None)
    );
    let Request::Promote(promote) = decode(Kind::Promote, &place()).unwrap() else {
        panic!("a Promote");
    };
    assert!(!promote.accept_loss);
    let Request::Handover(handover) = decode(Kind::Handover, &place()).unwrap() else {
        panic!("a Handover");
    };
    assert_eq!((handover.to, handover.abort), (None, false));
    assert!(!handover.accept_loss);
}

/// An older server says nothing of roles: it owns what it has.
#[test]
fn a_partition_without_a_word_of_its_role_is_owned() {
    let replica: replica_status::Partition =
        crate::head::decode(b"\x82\xa2id\x00\xa3end\x07").unwrap();
    assert_eq!(replica.role, replica_status::Role::Owner);
    assert_eq!(replica.state, replica_status::State::Idle);
    assert_eq!((replica.lag_records, replica.source_heard_ms), (None, None));
    let role: replica_status::Role = rmp_serde::from_slice(b"\xachanding_over").unwrap();
    assert_eq!(role, replica_status::Role::HandingOver);
    let role: replica_status::Role = rmp_serde::from_slice(b"\xa7learner").unwrap();
    assert_eq!(role, replica_status::Role::Unknown);
}

/// A hold of a later version is never taken for none: what it holds would go.
#[test]
fn a_hold_that_is_not_known_is_no_hold_that_lets_go() {
    let settings: TopicSettings = crate::head::decode(b"\x81\xaeretention_hold\xa6tiered").unwrap();
    assert_eq!(settings.retention_hold, RetentionHold::Unknown);
    assert!(!settings.retention_hold.is_none());
}

/// One topic with a level of a later version made a whole Metadata answer unreadable.
#[test]
fn an_ack_level_that_is_not_known_is_read_as_unknown() {
    let settings: TopicSettings = crate::head::decode(b"\x81\xa3ack\xa6quorum").unwrap();
    assert_eq!(settings.ack, Level::Unknown);
}

#[test]
fn a_word_of_a_later_version_is_read_as_unknown() {
    let state: describe_topic::State = rmp_serde::from_slice(b"\xa8sleeping").unwrap();
    assert_eq!(state, describe_topic::State::Unknown);
}

#[test]
fn a_code_of_a_later_version_may_have_been_applied_and_is_not_sent_again() {
    let error = ErrorBody {
        code: 60_000,
        ..ErrorBody::new(ErrorCode::Busy, "")
    };
    assert_eq!(
        (error.applied(), error.retry()),
        (Applied::Unknown, Retry::No)
    );
}

/// What came in an error was kept as long as the error was, however much of it there was.
#[test]
fn what_an_error_says_at_length_is_cut_where_it_comes_in() {
    let body = ErrorBody {
        code: ErrorCode::NotOwner.number(),
        message: "m".repeat(1 << 20),
        detail: Detail {
            address: Some("a".repeat(1 << 20)),
            field: Some("f".repeat(1 << 20)),
            versions: Some(vec![1; 1 << 20]),
            ..Detail::default()
        },
    };
    let bytes = rmp_serde::to_vec_named(&body).unwrap();
    let came: ErrorBody = rmp_serde::from_slice(&bytes).unwrap();
    let most = limits::ERROR_MESSAGE_BYTES_MAX as usize;
    assert_eq!(came.message.len(), most);
    let of = |text: Option<String>| text.unwrap().len();
    assert_eq!(
        (of(came.detail.address), of(came.detail.field)),
        (most, most)
    );
    assert_eq!(came.detail.versions.unwrap().len(), 256);
    assert_eq!(
        ErrorBody::new(ErrorCode::Busy, "m".repeat(2_000))
            .of("t/0")
            .message
            .len(),
        most
    );
}

#[test]
fn a_long_message_is_cut_at_a_character() {
    let error = ErrorBody::new(ErrorCode::Internal, "é".repeat(1_000));
    assert_eq!(
        error.message.len(),
        limits::ERROR_MESSAGE_BYTES_MAX as usize
    );
    let error = ErrorBody::new(ErrorCode::Internal, format!("x{}", "é".repeat(1_000)));
    assert_eq!(
        error.message.len(),
        limits::ERROR_MESSAGE_BYTES_MAX as usize - 1
    );
}

#[test]
fn an_unknown_kind_loses_only_its_request() {
    let mut bytes = framed(Kind::Ping, b"\x80");
    bytes[6..8].copy_from_slice(&999u16.to_le_bytes());
    super::hostile::seal(&mut bytes, 1);
    bytes.extend(framed(Kind::Ping, b"\x80"));
    let decoder = Decoder::requests(limits::FRAME_BYTES_MAX);
    let Peek::Frame(frame) = decoder.peek(&bytes).unwrap() else {
        panic!("a whole frame")
    };
    let frame: Frame<'_> = frame;
    let error = Request::decode(&frame).unwrap_err();
    assert!(matches!(error, FrameError::UnknownKind { kind: 999 }));
    let behind = decoder.peek(&bytes[frame.header.total_bytes()..]).unwrap();
    assert!(matches!(behind, Peek::Frame(frame) if frame.header.kind == Kind::Ping.number()));
}
