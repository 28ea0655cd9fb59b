//! Mutated input: every decoder refuses or understands it, and none panics, hangs or allocates
//! more than its input justifies. Each runs on a million inputs.
//!
//! Random changes rarely get past a checksum, so half of the inputs are given a right one again:
//! then the meaning behind it is tried too.

use super::samples;
use crate::format::Error;
use crate::format::cursor::checksum;
use crate::format::edit::Frame;
use crate::format::index::{self, Row};
use crate::format::manifest::{Header, Manifest};
use crate::format::mark::Slot;
use crate::format::node::Node;
use crate::format::snapshot::Summary;
use crate::format::topic::Topic;
use crate::fuzz::repair;
use crate::fuzz::tests::change;

#[test]
fn index_headers_survive_a_million_mutations() {
    let sample = samples::index_header().encode();
    mutate(
        &sample,
        1_000_000,
        |bytes| repair_last_4(bytes, 64),
        |bytes| index::Header::decode(bytes).is_ok(),
    );
}

#[test]
fn index_rows_survive_a_million_mutations() {
    let sample = samples::row().encode();
    mutate(
        &sample,
        1_000_000,
        |bytes| repair_last_4(bytes, 32),
        |bytes| Row::decode(bytes).is_ok(),
    );
}

#[test]
fn mark_slots_survive_a_million_mutations() {
    let sample = &samples::slot().encode()[..512];
    mutate(
        sample,
        1_000_000,
        |bytes| repair_last_4(bytes, 512),
        |bytes| Slot::decode(bytes).is_ok(),
    );
}

#[test]
fn what_counts_more_batches_than_records_is_refused() {
    let slot = Slot {
        ordinal: samples::ordinal(1235),
        ..samples::slot()
    };
    let header = index::Header {
        ordinal: samples::ordinal(1001),
        ..samples::index_header()
    };
    let row = Row {
        relative_ordinal: 18,
        ..samples::row()
    };
    let refused = [
        Slot::decode(&slot.encode()).unwrap_err(),
        index::Header::decode(&header.encode()).unwrap_err(),
        Row::decode(&row.encode()).unwrap_err(),
    ];
    for (refused, is) in refused.iter().zip([1235, 1001, 18]) {
        assert!(matches!(refused, Error::Field { found, .. } if *found == is));
    }
}

#[test]
fn manifest_headers_survive_a_million_mutations() {
    let sample = &samples::header().encode()[..512];
    mutate(
        sample,
        1_000_000,
        |bytes| repair_last_4(bytes, 512),
        |bytes| Header::decode(bytes).is_ok(),
    );
}

#[test]
fn edits_survive_a_million_mutations() {
    let samples = samples::edits();
    for edit in &samples {
        mutate(
            &edit.encode(1),
            1_000_000 / samples.len() + 1,
            repair_edit,
            |bytes| Frame::read(bytes).is_some_and(|frame| frame.decode().is_ok()),
        );
    }
}

#[test]
fn whole_manifests_survive_a_million_mutations() {
    let mut sample = samples::header().encode();
    for (edit, sequence) in samples::edits().iter().zip(1..) {
        sample.extend(edit.encode(sequence));
    }
    sample.resize(sample.len() + 512, 0);
    // The header has tests of its own: only what follows it is changed here.
    let (header, edits) = sample.split_at(4096);
    let mut whole = header.to_vec();
    mutate(edits, 1_000_000, repair_edit, |bytes| {
        whole.truncate(4096);
        whole.extend_from_slice(bytes);
        Manifest::decode(&whole).is_ok()
    });
}

#[test]
fn topic_files_survive_a_million_mutations() {
    mutate(
        &samples::topic().encode().unwrap(),
        1_000_000,
        repair::envelope,
        |bytes| Topic::decode(bytes).is_ok(),
    );
}

#[test]
fn node_files_survive_a_million_mutations() {
    mutate(
        &samples::node().encode(),
        1_000_000,
        repair::envelope,
        |bytes| Node::decode(bytes).is_ok(),
    );
}

#[test]
fn snapshot_files_survive_a_million_mutations() {
    mutate(
        &samples::snapshot().encode().unwrap(),
        1_000_000,
        repair::envelope,
        |bytes| Summary::decode(bytes).is_ok(),
    );
}

/// A length that nothing stands behind must not be believed before it is allocated for.
#[test]
fn a_snapshot_file_that_claims_four_billion_topics_costs_nothing() {
    let mut bytes = samples::snapshot().encode().unwrap();
    let topics = bytes.windows(6).position(|at| at == b"topics").unwrap() + 6;
    bytes.truncate(topics);
    bytes.extend([0xdd, 0xff, 0xff, 0xff, 0xff]);
    repair::envelope(&mut bytes);
    let refused = Summary::decode(&bytes);
    assert!(matches!(refused, Err(Error::Body { .. })), "{refused:?}");
}

#[test]
fn quarantine_names_survive_a_million_mutations() {
    let sample = b"0001763628300123-torn-00112233445566778899aabbccddeeff-0000000007-\
                   00000000000000004096-00000000000000000000.log";
    mutate(
        sample,
        1_000_000,
        |_| (),
        |bytes| {
            String::from_utf8_lossy(bytes)
                .parse::<crate::format::quarantine::Name>()
                .is_ok()
        },
    );
}

#[test]
fn later_versions_and_unknown_features_are_refused_before_their_checksum_if_that_may_be_elsewhere()
{
    // Of those with a length the checksum is in one place in all versions: rot is not taken for a version.
    let files: [(Vec<u8>, Option<usize>, Decode); 6] = [
        (samples::index_header().encode().to_vec(), Some(64), |b| {
            index::Header::decode(b).map(drop)
        }),
        (samples::slot().encode().to_vec(), Some(512), |b| {
            Slot::decode(b).map(drop)
        }),
        (samples::header().encode(), Some(512), |b| {
            Header::decode(b).map(drop)
        }),
        (samples::topic().encode().unwrap(), None, |b| {
            Topic::decode(b).map(drop)
        }),
        (samples::node().encode(), None, |b| {
            Node::decode(b).map(drop)
        }),
        (samples::snapshot().encode().unwrap(), None, |b| {
            Summary::decode(b).map(drop)
        }),
    ];
    for (bytes, len, decode) in files {
        decode(&bytes).unwrap();
        let changed = |at: usize, byte: u8| {
            let mut changed = bytes.clone();
            changed[at] = byte;
            if let Some(len) = len {
                let rotted = decode(&changed);
                assert!(matches!(rotted, Err(Error::Checksum { .. })), "{rotted:?}");
                repair_last_4(&mut changed, len);
            }
            decode(&changed)
        };
        assert!(matches!(
            changed(8, 2),
            Err(Error::Version {
                found: 2,
                known: 1,
                ..
            })
        ));
        assert!(matches!(
            changed(15, 0x80),
            Err(Error::Features {
                unknown: 0x8000_0000,
                ..
            })
        ));
        // What one kind of file may require is unknown to the others.
        if !bytes.starts_with(b"CLOGTOPC") {
            let found = changed(12, bytes[12] | 1);
            assert!(matches!(found, Err(Error::Features { unknown: 1, .. })));
        }
        let mut changed = bytes.clone();
        changed[0] = b'X';
        assert!(matches!(decode(&changed), Err(Error::Magic { .. })));
        let mut changed = bytes.clone();
        changed[20] ^= 1;
        assert!(decode(&changed).is_err());
        for len in 0..bytes.len().min(512) {
            assert!(decode(&bytes[..len]).is_err(), "cut to {len}");
        }
    }
}

type Decode = fn(&[u8]) -> Result<(), Error>;

/// Decodes `count` mutations of `sample`; every other one is repaired first.
fn mutate(
    sample: &[u8],
    count: usize,
    repair: impl Fn(&mut [u8]),
    mut decode: impl FnMut(&[u8]) -> bool,
) {
    let mut random = fastrand::Rng::with_seed(0x00c0_1e10);
    assert!(decode(sample), "the sample itself is sound");
    let mut bytes = Vec::new();
    let mut understood = 0;
    for round in 0..count {
        bytes.clear();
        bytes.extend_from_slice(sample);
        for _ in 0..random.usize(1..4) {
            change(&mut bytes, &mut random);
        }
        if round % 2 == 0 {
            repair(&mut bytes);
        }
        understood += usize::from(decode(&bytes));
    }
    assert!(understood > 0, "some mutations are harmless");
}

/// Puts the CRC-32 of the first `len` − 4 bytes behind them.
fn repair_last_4(bytes: &mut [u8], len: usize) {
    if let Some(bytes) = bytes.get_mut(..len) {
        repair::last_4(bytes);
    }
}

/// Puts a right checksum into the first edit, if its length makes sense.
fn repair_edit(bytes: &mut [u8]) {
    let Some((header, rest)) = bytes.split_first_chunk_mut::<16>() else {
        return;
    };
    let body_bytes = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    let body_bytes = usize::try_from(body_bytes).unwrap();
    let Some(body) = rest.get(..body_bytes) else {
        return;
    };
    let crc = checksum(&header[..12], body);
    header[12..].copy_from_slice(&crc.to_le_bytes());
}
