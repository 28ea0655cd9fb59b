//! Rolling, expiry and truncation through the wire: what goes, what stays, and that it stays so.

use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::message::settings::{Change, SettingsChange, TopicSettings};
use corelog_protocol::message::{alter_topic, create_topic, describe_topic, truncate};
use corelog_record::batch::{Batches, Codec, View};
use corelog_record::{Offset, PartitionId, TopicName};

use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::server::{Server, Start};
use crate::support::wire::{Target, Wire, batch};

/// Retention by bytes drops whole segments from the front until the partition is small enough, on
/// the disk too, and never more; what a reader is refused names what it may read.
#[test]
fn expiry_by_bytes_drops_whole_segments_and_no_more() {
    let folder = Folder::new();
    let mut server = Server::start(folder.path());
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = create(&mut wire, "bytes", |_| {});
    let bases = fill(&mut wire, &topic, BATCHES);
    assert!(bases.len() >= 4, "{bases:?}");
    let full = describe(&mut wire, &topic);

    let keep = full.bytes - full.bytes / 2;
    let change = SettingsChange {
        retention_bytes: Change::Set(keep),
        ..SettingsChange::default()
    };
    alter(&mut wire, &topic, change);
    until("the oldest segments are gone", || {
        describe(&mut wire, &topic).bytes <= keep
    });
    let left = describe(&mut wire, &topic);
    assert!(bases.contains(&left.log_start), "whole segments: {left:?}");
    assert!(
        left.bytes > keep - (1 << 20) - BATCH_BYTES as u64,
        "{left:?}"
    );
    assert_eq!(left.high_watermark, full.high_watermark);
    until("their files are gone", || {
        stores(&server, &topic)[0] == left.log_start
    });
    assert_eq!(stores(&server, &topic).len(), left.segments as usize);
    assert_readable_from(&mut wire, &topic, left.log_start);

    drop(wire);
    let data = server.ready.data.clone();
    server.kill();
    server = Start::on(&data).start();
    wire = Wire::open(server.ready.listen).unwrap();
    let again = describe(&mut wire, &topic);
    assert!(again.log_start >= left.log_start, "it never moves back");
    assert_readable_from(&mut wire, &topic, again.log_start);
}

/// By the clock of the seal, with no request that would bring it about; the active segment stays.
#[test]
fn expiry_by_age_empties_an_idle_partition_but_for_its_active_segment() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = create(&mut wire, "age", |s| s.retention_age_ms = Some(300));
    let bases = fill(&mut wire, &topic, BATCHES);
    // The oldest may have gone while the others came.
    let last = *bases.last().unwrap();
    until("all sealed segments are gone", || {
        describe(&mut wire, &topic).log_start == last
    });
    let left = describe(&mut wire, &topic);
    assert_eq!((left.segments, left.high_watermark), (1, end(BATCHES)));
    assert_readable_from(&mut wire, &topic, last);
}

/// Timestamps of records are not looked at: a record from 1970 is kept as long as any other.
#[test]
fn expiry_by_age_does_not_believe_record_times() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let mut wire = Wire::open(server.ready.listen).unwrap();
    // The records are from 2023 and older than a day, the segments are not.
    let topic = create(&mut wire, "old", |s| s.retention_age_ms = Some(86_400_000));
    let bases = fill(&mut wire, &topic, BATCHES);
    let small = create(&mut wire, "swept", |s| s.retention_age_ms = Some(1));
    fill(&mut wire, &small, BATCHES);
    // Once the sweep has emptied the one, it has looked at the other.
    until("the sweep went by", || {
        describe(&mut wire, &small).segments == 1
    });
    let left = describe(&mut wire, &topic);
    assert_eq!(left.log_start, Offset::ZERO);
    assert_eq!(left.segments as usize, bases.len());
}

/// A segment rolls once it is old enough, and only where an append needs a new one.
#[test]
fn a_segment_rolls_by_age_and_dense_offsets_go_on() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = create(&mut wire, "rolls", |s| s.segment_age_ms = Some(50));
    let mut produced = 0;
    until("three segments", || {
        let (answer, _) = wire
            .call(&topic.produce(0), &batch(Codec::None, ["x"]))
            .unwrap()
            .unwrap();
        assert_eq!(answer.base.get(), produced);
        produced += 1;
        describe(&mut wire, &topic).segments >= 3
    });
    assert_readable_from(&mut wire, &topic, Offset::ZERO);
    assert_eq!(describe(&mut wire, &topic).high_watermark.get(), produced);
}

/// Truncation moves the log start to the very record, drops what lies wholly below, and holds
/// through a kill; it never moves back and never beyond the high watermark.
#[test]
fn truncation_moves_the_log_start_for_good() {
    let folder = Folder::new();
    let mut server = Server::start(folder.path());
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = create(&mut wire, "cut", |_| {});
    let bases = fill(&mut wire, &topic, BATCHES);
    // Within a batch, at a segment's base, within the active segment, at the end.
    let within = bases[1].plus(RECORDS as u64 / 2);
    let last = *bases.last().unwrap();
    for lowest in [within, bases[2], last.plus(1), end(BATCHES)] {
        assert_eq!(cut(&mut wire, &topic, lowest).unwrap(), lowest);
        assert_eq!(cut(&mut wire, &topic, bases[1]).unwrap(), lowest);
        let error = cut(&mut wire, &topic, end(BATCHES).plus(1)).unwrap_err();
        assert!(error.is(ErrorCode::OutOfRange), "{error:?}");
        assert_readable_from(&mut wire, &topic, lowest);

        drop(wire);
        let data = server.ready.data.clone();
        server.kill();
        server = Start::on(&data).start();
        wire = Wire::open(server.ready.listen).unwrap();
        assert_eq!(describe(&mut wire, &topic).log_start, lowest);
        assert_readable_from(&mut wire, &topic, lowest);
    }
    let (answer, _) = wire
        .call(&topic.produce(0), &batch(Codec::None, ["x"]))
        .unwrap()
        .unwrap();
    assert_eq!(answer.base, end(BATCHES), "offsets go on where they were");
    until("files below the log start are gone", || {
        stores(&server, &topic)[0] >= last
    });
}

/// A topic of small segments.
fn create(wire: &mut Wire, name: &str, set: impl FnOnce(&mut TopicSettings)) -> Target {
    let mut settings = TopicSettings {
        segment_bytes: 1 << 20,
        ..TopicSettings::default()
    };
    set(&mut settings);
    let request = create_topic::Request {
        name: TopicName::new(name).unwrap(),
        partitions: 1,
        settings,
        if_not_exists: false,
    };
    let (answer, _) = wire.call(&request, &[]).unwrap().unwrap();
    assert_eq!(answer.settings, request.settings);
    Target {
        name: request.name,
        id: answer.id,
    }
}

fn alter(wire: &mut Wire, topic: &Target, settings: SettingsChange) {
    let request = alter_topic::Request {
        name: topic.name.clone(),
        id: topic.id,
        partitions: None,
        settings,
    };
    wire.call(&request, &[]).unwrap().unwrap();
}

/// Produces equal batches; gives the bases of the segments, as the answers to Fetch tell them.
fn fill(wire: &mut Wire, topic: &Target, batches: usize) -> Vec<Offset> {
    let value = vec![b'x'; BATCH_BYTES / RECORDS];
    let batch = batch(Codec::None, vec![&value; RECORDS]);
    let mut bases = Vec::new();
    for number in 0..batches {
        let (answer, _) = wire.call(&topic.produce(0), &batch).unwrap().unwrap();
        assert_eq!(answer.base, end(number), "offsets are dense");
        let (found, _) = wire
            .call(&topic.fetch(0, answer.base), &[])
            .unwrap()
            .unwrap();
        if bases.last() != Some(&found.segment_base) {
            bases.push(found.segment_base);
        }
    }
    bases
}

fn describe(wire: &mut Wire, topic: &Target) -> describe_topic::Partition {
    let request = describe_topic::Request {
        name: topic.name.clone(),
    };
    let (mut answer, _) = wire.call(&request, &[]).unwrap().unwrap();
    assert_eq!(answer.id, topic.id);
    let found = answer.partitions.remove(0);
    assert!(found.log_start <= found.high_watermark, "{found:?}");
    assert!(found.high_watermark <= found.durable, "{found:?}");
    assert!(found.durable <= found.log_end, "{found:?}");
    assert_eq!(found.state, describe_topic::State::Ok);
    found
}

fn cut(wire: &mut Wire, topic: &Target, lowest: Offset) -> Result<Offset, Box<ErrorBody>> {
    let request = truncate::Request {
        topic: topic.name.clone(),
        id: topic.id,
        partition: PartitionId::new(0),
        lowest,
    };
    let answer = wire.call(&request, &[]).unwrap();
    answer.map(|(answer, _)| answer.log_start)
}

/// Below `log_start` a reader is told the valid range; from there to the end all is there.
fn assert_readable_from(wire: &mut Wire, topic: &Target, log_start: Offset) {
    let high_watermark = describe(wire, topic).high_watermark;
    if let Some(below) = log_start.get().checked_sub(1).and_then(Offset::new) {
        let answer = wire.call(&topic.fetch(0, below), &[]).unwrap();
        let error = answer.map(drop).unwrap_err();
        assert!(error.is(ErrorCode::OutOfRange), "{error:?}");
        assert_eq!(error.detail.log_start, Some(log_start));
        assert_eq!(error.detail.high_watermark, Some(high_watermark));
    }
    let bytes = wire.read_all(topic, 0, log_start);
    let mut next = None;
    for bytes in Batches::over(&bytes) {
        let batch = View::verify(bytes.unwrap()).unwrap();
        // The first batch may begin below: it is never cut in two.
        let expected = next.unwrap_or(batch.base_offset().min(log_start));
        assert_eq!(batch.base_offset(), expected, "offsets are dense");
        next = Some(batch.next_offset());
    }
    assert_eq!(next.unwrap_or(log_start), high_watermark);
}

/// The base offsets of the stores in a topic's directory, ascending.
fn stores(server: &Server, topic: &Target) -> Vec<Offset> {
    let dir = server.ready.data.join("topics").join(topic.name.as_str());
    let mut bases: Vec<Offset> = std::fs::read_dir(dir.join("0"))
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let base = name.strip_suffix(".log")?.parse().ok()?;
            Offset::new(base)
        })
        .collect();
    bases.sort();
    bases
}

/// Where a partition ends that got so many batches.
fn end(batches: usize) -> Offset {
    Offset::ZERO.plus((batches * RECORDS) as u64)
}

const BATCHES: usize = 24;
const RECORDS: usize = 8;
const BATCH_BYTES: usize = 200_000;
