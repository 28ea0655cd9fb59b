//! What the decoder does with frames whole, cut and damaged.

use crate::error::ErrorCode;
use crate::frame::{
    CorrelationId, Decoder, FLAG_ANSWER, FrameError, LENGTH_BYTES, PREFIX_BYTES, Peek, Shape,
    VERSION, encode,
};
use crate::kind::Kind;
use crate::message::{ping, truncate};
use crate::{answer, limits, request};

fn ping_frame() -> Vec<u8> {
    let mut out = Vec::new();
    request::encode(CorrelationId::new(7), &ping::Request {}, 0, &mut out).unwrap();
    out
}

fn requests() -> Decoder {
    Decoder::requests(limits::FRAME_BYTES_MAX)
}

#[test]
fn a_frame_is_cut_out_of_the_bytes_that_follow_it() {
    let mut bytes = ping_frame();
    let total = bytes.len();
    bytes.extend_from_slice(b"the next frame");
    let Peek::Frame(frame) = requests().peek(&bytes).unwrap() else {
        panic!("a whole frame")
    };
    assert_eq!(frame.header.total_bytes(), total);
    assert_eq!(frame.header.kind, Kind::Ping.number());
    assert_eq!(frame.header.correlation, CorrelationId::new(7));
    assert_eq!(frame.head, [0x80]);
    assert!(frame.body.is_empty());
}

#[test]
fn a_cut_frame_asks_for_prefix_then_head_then_body() {
    let request = produce(100);
    let Peek::Frame(frame) = requests().peek(&request).unwrap() else {
        panic!("a whole frame")
    };
    let head_end = frame.header.head_end();
    for cut in 0..request.len() {
        let needed = match cut {
            _ if cut < PREFIX_BYTES => PREFIX_BYTES,
            _ if cut < head_end => head_end,
            _ => request.len(),
        };
        assert_eq!(
            requests().peek(&request[..cut]).unwrap(),
            Peek::Need(needed),
            "cut at {cut}"
        );
    }
}

#[test]
fn any_flipped_bit_before_the_body_is_noticed() {
    let good = produce(8);
    let head_end = good.len() - 8;
    for bit in 0..head_end * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        match requests().peek(&bad) {
            Err(_) => {}
            Ok(Peek::Need(bytes)) => {
                // A longer length: more is asked for, within the limit, and nothing believed.
                assert!(
                    bytes <= limits::FRAME_BYTES_MAX as usize + LENGTH_BYTES,
                    "bit {bit}"
                );
            }
            Ok(Peek::Frame(_)) => panic!("bit {bit} went unnoticed"),
        }
    }
}

#[test]
fn nothing_beyond_the_head_is_asked_for_before_its_checksum_holds() {
    let mut bytes = produce(1 << 20);
    bytes.truncate(bytes.len() - (1 << 20));
    assert!(matches!(requests().peek(&bytes), Ok(Peek::Need(_))));
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert!(matches!(
        requests().peek(&bytes),
        Err(FrameError::HeadChecksum { .. })
    ));
}

#[test]
fn a_length_beyond_the_limit_is_refused_by_its_four_bytes() {
    let error = requests().peek(b"GET ").unwrap_err();
    assert!(matches!(
        error,
        FrameError::TooLarge {
            frame_bytes: 0x2054_4547,
            ..
        }
    ));
    assert_eq!(error.code(), ErrorCode::FrameTooLarge);
    assert_eq!(
        error.to_body().detail.limit,
        Some(u64::from(limits::FRAME_BYTES_MAX))
    );
    assert!(matches!(
        requests().peek(&15u32.to_le_bytes()),
        Err(FrameError::TooShort { frame_bytes: 15 })
    ));
}

#[test]
fn another_version_is_told_which_one_is_spoken() {
    let mut bytes = ping_frame();
    bytes[4] = 2;
    let error = requests().peek(&bytes).unwrap_err();
    assert_eq!(error.correlation(), CorrelationId::new(7));
    assert_eq!(error.code(), ErrorCode::UnsupportedVersion);
    assert_eq!(error.to_body().detail.versions, Some(vec![VERSION]));
}

#[test]
fn reserved_flags_and_the_wrong_direction_are_refused() {
    let mut bytes = ping_frame();
    bytes[5] = 0x80;
    assert!(matches!(
        requests().peek(&bytes),
        Err(FrameError::Flags { flags: 0x80 })
    ));
    bytes[5] = FLAG_ANSWER;
    assert!(matches!(
        requests().peek(&bytes),
        Err(FrameError::Direction { is_answer: true })
    ));
    let answers = Decoder::answers(limits::FRAME_BYTES_MAX);
    let request = ping_frame();
    let found = answers.peek(&request);
    assert!(matches!(
        found,
        Err(FrameError::Direction { is_answer: false })
    ));
}

#[test]
fn a_head_longer_than_its_frame_or_its_limit_is_refused() {
    let mut bytes = ping_frame();
    bytes[12] = 2;
    assert!(matches!(
        requests().peek(&bytes),
        Err(FrameError::HeadOverruns { .. })
    ));
    bytes[0..4].copy_from_slice(&(1u32 << 23).to_le_bytes());
    bytes[12..16].copy_from_slice(&(limits::REQUEST_HEAD_BYTES_MAX + 1).to_le_bytes());
    assert!(matches!(
        requests().peek(&bytes),
        Err(FrameError::HeadTooLarge { .. })
    ));
}

#[test]
fn a_frame_too_large_to_be_read_is_not_written() {
    let mut out = b"before".to_vec();
    let answer = crate::message::fetch::Answer {
        log_start: corelog_record::Offset::ZERO,
        high_watermark: corelog_record::Offset::ZERO,
        segment_base: corelog_record::Offset::ZERO,
        next: corelog_record::Offset::ZERO,
        epochs: Vec::new(),
        lag_bytes: 0,
    };
    let bytes = limits::FRAME_BYTES_MAX as usize;
    let correlation = CorrelationId::default();
    let result =
        answer::encode_ok::<crate::message::fetch::Request>(correlation, &answer, bytes, &mut out);
    assert!(matches!(result, Err(FrameError::TooLarge { .. })));
    assert_eq!(out, b"before");
}

#[test]
fn a_body_behind_a_request_that_has_none_loses_only_that_request() {
    let request = truncate::Request {
        topic: corelog_record::TopicName::new("t").unwrap(),
        id: corelog_record::TopicId::from_bytes([1; 16]),
        partition: corelog_record::PartitionId::new(0),
        lowest: corelog_record::Offset::ZERO,
    };
    let shape = Shape {
        kind: 23,
        is_answer: false,
        correlation: CorrelationId::new(1),
        body_bytes: 1,
    };
    let mut bytes = Vec::new();
    encode(shape, &request, &mut bytes).unwrap();
    bytes.push(0);
    bytes.extend(produce(1));
    let Peek::Frame(frame) = requests().peek(&bytes).unwrap() else {
        panic!("a whole frame")
    };
    let error = request::Request::decode(&frame).unwrap_err();
    assert!(matches!(
        error,
        FrameError::UnexpectedBody { body_bytes: 1, .. }
    ));
    let behind = &bytes[frame.header.total_bytes()..];
    let next = requests().peek(behind).unwrap();
    assert!(matches!(next, Peek::Frame(frame) if frame.header.total_bytes() == behind.len()));
}

fn produce(body_bytes: usize) -> Vec<u8> {
    let request = crate::message::produce::Request {
        topic: corelog_record::TopicName::new("orders").unwrap(),
        id: corelog_record::TopicId::from_bytes([0xaa; 16]),
        partition: corelog_record::PartitionId::new(3),
        level: None,
        run: 1,
    };
    let mut out = Vec::new();
    request::encode(CorrelationId::new(1), &request, body_bytes, &mut out).unwrap();
    out.resize(out.len() + body_bytes, 0x5a);
    out
}
