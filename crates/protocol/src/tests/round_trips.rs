//! What is written reads back as it was.

use std::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::*;

use super::any as any_of;
use crate::answer;
use crate::error::ErrorBody;
use crate::frame::{CorrelationId, Decoder, FrameError, Peek};
use crate::kind::Kind;
use crate::limits::FRAME_BYTES_MAX;
use crate::message::{
    Call, chain_at, clone_topic, create_snapshot, describe_topic, fetch, forget_follower, handover,
    metadata, produce, promote, rejoin, repair_topic, replica_status, restore_status, scrub_topic,
    segments, take_over,
};
use crate::request::Request;

proptest! {
    #[test]
    fn a_request_reads_back_as_it_was_written(request in any_of::request(), number: u32) {
        let mut bytes = Vec::new();
        request.encode(CorrelationId::new(number), 0, &mut bytes).unwrap();
        let Ok(Peek::Frame(frame)) = Decoder::requests(FRAME_BYTES_MAX).peek(&bytes) else {
            panic!("a whole frame");
        };
        prop_assert_eq!(frame.header.correlation.get(), number);
        prop_assert_eq!(frame.header.kind, request.kind().number());
        prop_assert_eq!(Request::decode(&frame).unwrap(), request);
    }

    #[test]
    fn a_stream_is_cut_where_it_was_joined(
        requests in vec(any_of::request(), 1..6),
        body in vec(any::<u8>(), 0..64),
    ) {
        let mut stream = Vec::new();
        for request in &requests {
            let body = if request.kind() == Kind::Produce { &body[..] } else { &[] };
            request.encode(CorrelationId::new(1), body.len(), &mut stream).unwrap();
            stream.extend_from_slice(body);
        }
        let mut rest = &stream[..];
        for request in &requests {
            let Ok(Peek::Frame(frame)) = Decoder::requests(FRAME_BYTES_MAX).peek(rest) else {
                panic!("a whole frame");
            };
            prop_assert_eq!(&Request::decode(&frame).unwrap(), request);
            if request.kind() == Kind::Produce {
                prop_assert_eq!(frame.body, &body[..]);
            }
            rest = &rest[frame.header.total_bytes()..];
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn an_answer_reads_back_as_it_was_written(
        metadata in any_of::answers::metadata(),
        fetched in any_of::answers::fetched(),
        produced in any_of::answers::produced(),
        segments in any_of::answers::segments(),
        kept in any_of::kept::answers(),
        replicas in any_of::replicas::replicas(),
        (boundary, cloned) in any_of::replicas::copied(),
        (promoted, handed, taken_over, rejoined) in any_of::replicas::owned(),
        (repaired, forgotten) in any_of::replicas::mended(),
        body in vec(any::<u8>(), 0..64),
    ) {
        read_back::<metadata::Request>(&metadata, &[]);
        read_back::<fetch::Request>(&fetched, &body);
        read_back::<produce::Request>(&produced, &[]);
        read_back::<segments::Request>(&segments, &[]);
        let (taken, restored, scrubbed, described) = kept;
        read_back::<create_snapshot::Request>(&taken, &[]);
        read_back::<restore_status::Request>(&restored, &[]);
        read_back::<scrub_topic::Request>(&scrubbed, &[]);
        read_back::<describe_topic::Request>(&described, &[]);
        read_back::<replica_status::Request>(&replicas, &[]);
        read_back::<chain_at::Request>(&boundary, &[]);
        read_back::<clone_topic::Request>(&cloned, &[]);
        read_back::<promote::Request>(&promoted, &[]);
        read_back::<handover::Request>(&handed, &[]);
        read_back::<take_over::Request>(&taken_over, &[]);
        read_back::<rejoin::Request>(&rejoined, &[]);
        read_back::<repair_topic::Request>(&repaired, &[]);
        read_back::<forget_follower::Request>(&forgotten, &[]);
    }

    #[test]
    fn an_error_reads_back_for_every_kind(error in any_of::answers::error(), number: u32) {
        let mut bytes = Vec::new();
        let kind = Kind::Fetch.number();
        answer::encode_err(kind, CorrelationId::new(number), &error, &mut bytes).unwrap();
        let Ok(Peek::Frame(frame)) = Decoder::answers(FRAME_BYTES_MAX).peek(&bytes) else {
            panic!("a whole frame");
        };
        prop_assert_eq!(answer::decode::<fetch::Request>(&frame).unwrap(), Err(error));
        let other = answer::decode::<produce::Request>(&frame);
        let is_unexpected = matches!(other, Err(FrameError::UnexpectedKind { .. }));
        prop_assert!(is_unexpected);
    }
}

fn read_back<R: Call>(answer: &R::Answer, body: &[u8])
where
    R::Answer: PartialEq + Debug,
{
    let mut bytes = Vec::new();
    answer::encode_ok::<R>(CorrelationId::new(1), answer, body.len(), &mut bytes).unwrap();
    bytes.extend_from_slice(body);
    let Ok(Peek::Frame(frame)) = Decoder::answers(FRAME_BYTES_MAX).peek(&bytes) else {
        panic!("a whole frame");
    };
    let read: Result<R::Answer, ErrorBody> = answer::decode::<R>(&frame).unwrap();
    assert_eq!(&read.unwrap(), answer);
    assert_eq!(frame.body, body);
}
