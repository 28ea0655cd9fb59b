//! The worked examples of PROTOCOL.md: our encoder writes exactly these bytes, our decoder reads
//! them. The page's bytes are for ever; a change to them is another version of the protocol.

use std::collections::BTreeMap;

use corelog_protocol::answer;
use corelog_protocol::error::{Detail, ErrorBody, ErrorCode};
use corelog_protocol::frame::{CorrelationId, Decoder, Frame, FrameError, Peek, VERSION};
use corelog_protocol::limits::FRAME_BYTES_MAX;
use corelog_protocol::message::{Call, fetch};
use corelog_protocol::request::Request;
use corelog_record::batch::{self, Builder, Codec, View};
use corelog_record::{Chain, HistoryId, LeaderEpoch, Offset, PartitionId, Timestamp, TopicId};

mod answers;
mod document;
mod requests;
mod tables;

/// The page that a stranger reads.
const PAGE: &str = include_str!("../../crates/protocol/PROTOCOL.md");

#[test]
fn the_page_has_exactly_the_examples_that_stand_here() {
    let mut expected: Vec<String> = all().into_keys().collect();
    expected.sort_unstable();
    let found: Vec<String> = document::examples(PAGE).into_keys().collect();
    assert_eq!(found, expected);
}

#[test]
fn our_encoder_writes_the_bytes_of_the_page() {
    let page = document::examples(PAGE);
    for (name, bytes) in all() {
        assert_eq!(hex(&page[&name]), hex(&bytes), "{name}");
    }
}

#[test]
fn our_decoder_reads_the_bytes_of_the_page() {
    for (name, bytes) in document::examples(PAGE) {
        match name.rsplit_once(' ').unwrap().1 {
            "request" => {
                let frame = cut(&bytes, Decoder::requests(FRAME_BYTES_MAX));
                assert_eq!(
                    Request::decode(&frame).unwrap(),
                    requests::value(&name),
                    "{name}"
                );
            }
            "answer" => answers::check(&name, &cut(&bytes, Decoder::answers(FRAME_BYTES_MAX))),
            "error" => {
                let frame = cut(&bytes, Decoder::answers(FRAME_BYTES_MAX));
                assert_eq!(
                    answer::decode_err(&frame).unwrap(),
                    Some(errors()[&name].2.clone())
                );
            }
            other => panic!("{name}: {other} is no direction"),
        }
    }
}

#[test]
fn an_error_answers_the_request_it_belongs_to() {
    let page = document::examples(PAGE);
    let out_of_range = cut(&page["Fetch error"], Decoder::answers(FRAME_BYTES_MAX));
    let error = answer::decode::<fetch::Request>(&out_of_range)
        .unwrap()
        .unwrap_err();
    assert!(error.is(ErrorCode::OutOfRange));
    let closing = cut(&page["Connection error"], Decoder::answers(FRAME_BYTES_MAX));
    assert_eq!(closing.header.kind, answer::CONNECTION_KIND);
    let error = answer::decode::<fetch::Request>(&closing)
        .unwrap()
        .unwrap_err();
    assert!(error.is(ErrorCode::UnsupportedVersion));
    let stopping = cut(&page["Stopping error"], Decoder::answers(FRAME_BYTES_MAX));
    assert_eq!(stopping.header.kind, answer::CONNECTION_KIND);
    let error = answer::decode_err(&stopping).unwrap().unwrap();
    assert!(error.is(ErrorCode::Stopping));
    assert_eq!(error.detail.taken, Some(11));
}

#[test]
fn the_page_s_chain_is_ours() {
    let history = HistoryId::of(topic_id(), PartitionId::new(0));
    let seed = Chain::seed(history);
    let stored = stored_batch();
    let chain = seed.extend(View::verify(&stored).unwrap().header_bytes());
    let facts = document::facts(PAGE);
    assert_eq!(facts["history id"], history.to_string());
    assert_eq!(facts["chain before the first batch"], seed.to_string());
    assert_eq!(facts["chain after the batch"], chain.to_string());
}

/// The page did not say: another client had other partitions for the same keys, and whoever read them had them in no order.
#[test]
fn the_page_s_partitions_of_keys_are_ours() {
    let facts = document::facts(PAGE);
    for (key, name) in [
        ("", "the empty key"),
        ("21", "the key 21"),
        ("abc", "the key abc"),
        ("foobar", "the key foobar"),
    ] {
        let ours = corelog_client::partition_of_key(key.as_bytes(), 8);
        assert_eq!(facts[&format!("partition of {name}")], ours.to_string());
    }
}

#[test]
fn a_client_written_from_the_page_alone_reads_its_examples() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/protocol/PROTOCOL.md");
    let facts = crate::support::python::run("corelog_client.py", ["--page", path]).json();
    assert_eq!(facts["examples"], all().len());
    assert_eq!(
        facts["chain"],
        document::facts(PAGE)["chain after the batch"]
    );
}

/// Every example by its name, `<kind> request`, `<kind> answer` or `<what> error`.
fn all() -> BTreeMap<String, Vec<u8>> {
    let mut all = requests::encoded();
    all.extend(answers::encoded());
    for (name, (kind, correlation, error)) in errors() {
        let mut bytes = Vec::new();
        answer::encode_err(kind, CorrelationId::new(correlation), &error, &mut bytes).unwrap();
        all.insert(name, bytes);
    }
    all
}

fn errors() -> BTreeMap<String, (u16, u32, ErrorBody)> {
    let out_of_range = ErrorBody::new(ErrorCode::OutOfRange, "offset 7 is below the log start")
        .with_detail(Detail {
            log_start: Offset::new(10),
            high_watermark: Offset::new(42),
            ..Detail::default()
        });
    let version = FrameError::Version {
        found: 9,
        correlation: CorrelationId::new(1),
    }
    .to_body();
    assert_eq!(version.detail.versions, Some(vec![VERSION]));
    let stopping =
        ErrorBody::new(ErrorCode::Stopping, "the node is stopping").with_detail(Detail {
            taken: Some(11),
            ..Detail::default()
        });
    [
        (
            "Fetch error".to_owned(),
            (fetch::Request::KIND.number(), 11, out_of_range),
        ),
        (
            "Connection error".to_owned(),
            (answer::CONNECTION_KIND, 1, version),
        ),
        (
            "Stopping error".to_owned(),
            (answer::CONNECTION_KIND, 0, stopping),
        ),
    ]
    .into()
}

/// One record as a producer sends it: base offset 0, epoch −1.
fn sent_batch() -> Vec<u8> {
    let mut builder = Builder::new(Codec::None);
    let time = Timestamp::from_millis(1_700_000_000_000);
    builder
        .append(time, Some(b"k"), Some(b"hello"), &[("h", Some(b"v"))])
        .unwrap();
    builder.build().unwrap()
}

/// The same batch as it is stored and fetched: at offset 0 of epoch 1.
fn stored_batch() -> Vec<u8> {
    let mut bytes = sent_batch();
    batch::patch(&mut bytes, Offset::ZERO, LeaderEpoch::new(1).unwrap());
    bytes
}

fn topic_id() -> TopicId {
    TopicId::from_bytes([0xaa; 16])
}

fn cut(bytes: &[u8], decoder: Decoder) -> Frame<'_> {
    match decoder.peek(bytes).unwrap() {
        Peek::Frame(frame) => {
            assert_eq!(frame.header.total_bytes(), bytes.len());
            frame
        }
        Peek::Need(bytes) => panic!("the example is cut short, {bytes} bytes are needed"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
