//! A million damaged frames: whatever comes, an answer or a typed error, and nothing larger is
//! asked for than the limits allow.

use crate::answer;
use crate::frame::{CorrelationId, Decoder, Frame, LENGTH_BYTES, PREFIX_BYTES, Peek};
use crate::kind::Kind;
use crate::limits::FRAME_BYTES_MAX;
use crate::message::{
    Call, alter_topic, authenticate, chain_at, clone_topic, copy_segments, create_snapshot,
    create_topic, delete_snapshot, delete_topic, describe_topic, fetch, forget_follower, handover,
    hello, list_offsets, list_snapshots, metadata, ping, produce, promote, rejoin,
    reopen_partition, repair_topic, replica_status, restore_status, restore_topic, scrub_topic,
    segments, take_over, truncate,
};
use crate::request::Request;

/// The page's worked examples are the frames that get damaged.
const PAGE: &str = include_str!("../../PROTOCOL.md");
const FRAME_COUNT: usize = 1_000_000;
const SEED: u64 = 0xc02e_1096;

#[test]
fn a_million_damaged_frames_give_a_message_or_a_typed_error() {
    let examples = examples();
    assert_eq!(examples.len(), 2 * Kind::ALL.len() + 4);
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut seen = Seen::default();
    let mut bytes = Vec::new();
    for _ in 0..FRAME_COUNT {
        let example = &examples[random.usize(..examples.len())];
        bytes.clear();
        bytes.extend_from_slice(example);
        for _ in 0..random.usize(1..4) {
            damage(&mut bytes, &examples, &mut random);
        }
        // Most keep a valid prefix, so that the damage is met inside the head.
        if random.u8(..) < 192 && bytes.len() >= PREFIX_BYTES {
            let head_bytes = example_head_bytes(example).min(bytes.len() - PREFIX_BYTES);
            seal(&mut bytes, head_bytes);
        }
        read(&bytes, Decoder::requests(FRAME_BYTES_MAX), &mut seen);
        read(&bytes, Decoder::answers(FRAME_BYTES_MAX), &mut seen);
    }
    // The damage reaches every way out, or the test would test nothing.
    let Seen {
        lost,
        cut,
        refused,
        requests,
        answers,
        errors,
    } = seen;
    for (what, count) in [
        ("lost framings", lost),
        ("cut frames", cut),
        ("refused heads", refused),
        ("requests", requests),
        ("answers", answers),
        ("errors", errors),
    ] {
        assert!(
            count > FRAME_COUNT / 1_000,
            "only {count} {what}, seed {SEED:#x}"
        );
    }
}

#[test]
fn garbage_never_panics_and_is_soon_refused() {
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut seen = Seen::default();
    let mut bytes = [0; 64];
    for _ in 0..100_000 {
        random.fill(&mut bytes);
        let end = random.usize(..=bytes.len());
        read(&bytes[..end], Decoder::requests(FRAME_BYTES_MAX), &mut seen);
        // Lengths and version as they should be, the rest is noise.
        bytes[..4].copy_from_slice(&60u32.to_le_bytes());
        bytes[4..6].copy_from_slice(&[1, 0]);
        bytes[12..16].copy_from_slice(&44u32.to_le_bytes());
        seal(&mut bytes, 44);
        read(&bytes, Decoder::requests(FRAME_BYTES_MAX), &mut seen);
    }
    assert_eq!(seen.requests, 0, "noise is no request");
}

/// Makes lengths and checksum fit a frame of `head_bytes` and whatever is behind them.
pub(super) fn seal(frame: &mut [u8], head_bytes: usize) {
    let frame_bytes = u32::try_from(frame.len() - LENGTH_BYTES).unwrap();
    frame[0..4].copy_from_slice(&frame_bytes.to_le_bytes());
    frame[12..16].copy_from_slice(&u32::try_from(head_bytes).unwrap().to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[..16]);
    hasher.update(&frame[PREFIX_BYTES..PREFIX_BYTES + head_bytes]);
    frame[16..20].copy_from_slice(&hasher.finalize().to_le_bytes());
}

/// How often each way out was taken.
#[derive(Debug, Default)]
struct Seen {
    lost: usize,
    cut: usize,
    refused: usize,
    requests: usize,
    answers: usize,
    errors: usize,
}

fn read(bytes: &[u8], decoder: Decoder, seen: &mut Seen) {
    match decoder.peek(bytes) {
        Err(_) => seen.lost += 1,
        Ok(Peek::Need(needed)) => {
            assert!(needed > bytes.len(), "{needed} bytes are there");
            assert!(needed <= LENGTH_BYTES + FRAME_BYTES_MAX as usize);
            seen.cut += 1;
        }
        Ok(Peek::Frame(frame)) => {
            assert!(frame.header.total_bytes() <= bytes.len());
            assert_eq!(
                PREFIX_BYTES + frame.head.len() + frame.body.len(),
                frame.header.total_bytes()
            );
            if frame.header.is_answer {
                read_answer(&frame, seen);
            } else {
                read_request(&frame, seen);
            }
        }
    }
}

fn read_request(frame: &Frame<'_>, seen: &mut Seen) {
    match Request::decode(frame) {
        Err(_) => seen.refused += 1,
        Ok(request) => {
            let mut again = Vec::new();
            let correlation = CorrelationId::new(1);
            request
                .encode(correlation, frame.body.len(), &mut again)
                .unwrap();
            seen.requests += 1;
        }
    }
}

fn read_answer(frame: &Frame<'_>, seen: &mut Seen) {
    let Some(kind) = Kind::from_number(frame.header.kind) else {
        return;
    };
    let is_error = match kind {
        Kind::Hello => outcome::<hello::Request>(frame),
        Kind::Authenticate => outcome::<authenticate::Request>(frame),
        Kind::Ping => outcome::<ping::Request>(frame),
        Kind::Metadata => outcome::<metadata::Request>(frame),
        Kind::CreateTopic => outcome::<create_topic::Request>(frame),
        Kind::AlterTopic => outcome::<alter_topic::Request>(frame),
        Kind::DeleteTopic => outcome::<delete_topic::Request>(frame),
        Kind::DescribeTopic => outcome::<describe_topic::Request>(frame),
        Kind::Produce => outcome::<produce::Request>(frame),
        Kind::Fetch => outcome::<fetch::Request>(frame),
        Kind::ListOffsets => outcome::<list_offsets::Request>(frame),
        Kind::Truncate => outcome::<truncate::Request>(frame),
        Kind::ReopenPartition => outcome::<reopen_partition::Request>(frame),
        Kind::Segments => outcome::<segments::Request>(frame),
        Kind::CopySegments => outcome::<copy_segments::Request>(frame),
        Kind::ChainAt => outcome::<chain_at::Request>(frame),
        Kind::CreateSnapshot => outcome::<create_snapshot::Request>(frame),
        Kind::ListSnapshots => outcome::<list_snapshots::Request>(frame),
        Kind::DeleteSnapshot => outcome::<delete_snapshot::Request>(frame),
        Kind::RestoreTopic => outcome::<restore_topic::Request>(frame),
        Kind::RestoreStatus => outcome::<restore_status::Request>(frame),
        Kind::ScrubTopic => outcome::<scrub_topic::Request>(frame),
        Kind::CloneTopic => outcome::<clone_topic::Request>(frame),
        Kind::ReplicaStatus => outcome::<replica_status::Request>(frame),
        Kind::Promote => outcome::<promote::Request>(frame),
        Kind::Handover => outcome::<handover::Request>(frame),
        Kind::TakeOver => outcome::<take_over::Request>(frame),
        Kind::Rejoin => outcome::<rejoin::Request>(frame),
        Kind::RepairTopic => outcome::<repair_topic::Request>(frame),
        Kind::ForgetFollower => outcome::<forget_follower::Request>(frame),
    };
    match is_error {
        None => seen.refused += 1,
        Some(true) => seen.errors += 1,
        Some(false) => seen.answers += 1,
    }
}

fn outcome<R: Call>(frame: &Frame<'_>) -> Option<bool> {
    let is_error = answer::decode::<R>(frame).ok()?.is_err();
    let error = answer::decode_err(frame).expect("an answer was read of it");
    assert_eq!(is_error, error.is_some(), "{:02x?}", frame.head);
    Some(is_error)
}

/// One change: a bit, a byte, a piece cut out, doubled, or taken from another frame, or a number
/// that lengths are afraid of.
fn damage(bytes: &mut Vec<u8>, examples: &[Vec<u8>], random: &mut fastrand::Rng) {
    if bytes.is_empty() {
        return;
    }
    let at = random.usize(..bytes.len());
    let end = random.usize(at..=bytes.len().min(at + 16));
    match random.u8(..8) {
        0 => bytes[at] ^= 1 << random.u8(..8),
        1 => bytes[at] = random.u8(..),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        5 => {
            let other = &examples[random.usize(..examples.len())];
            let from = random.usize(..other.len());
            let piece = other[from..other.len().min(from + 16)].to_vec();
            bytes.splice(at..end, piece);
        }
        6 => {
            const MARKERS: &[u8] = &[0x80, 0x90, 0xc0, 0xc1, 0xc4, 0xc6, 0xd4, 0xdb, 0xdd, 0xdf];
            bytes[at] = MARKERS[random.usize(..MARKERS.len())];
        }
        _ => {
            const NUMBERS: [u32; 5] = [0, 1, u32::MAX, 1 << 31, FRAME_BYTES_MAX + 1];
            let number = NUMBERS[random.usize(..NUMBERS.len())].to_le_bytes();
            let width = number.len().min(bytes.len() - at);
            bytes[at..at + width].copy_from_slice(&number[..width]);
        }
    }
}

fn example_head_bytes(example: &[u8]) -> usize {
    let field = example[12..16].try_into().unwrap();
    u32::from_le_bytes(field) as usize
}

fn examples() -> Vec<Vec<u8>> {
    let mut examples = Vec::new();
    for block in PAGE.split("```hex ").skip(1) {
        let (_, block) = block.split_once('\n').unwrap();
        let (block, _) = block.split_once("\n```").unwrap();
        let hex = block.lines().filter_map(|line| line.split(';').next());
        let digits: Vec<u8> = hex
            .flat_map(str::bytes)
            .filter(u8::is_ascii_hexdigit)
            .collect();
        let pairs = digits.chunks(2).map(|pair| str::from_utf8(pair).unwrap());
        examples.push(
            pairs
                .map(|pair| u8::from_str_radix(pair, 16).unwrap())
                .collect(),
        );
    }
    examples
}
