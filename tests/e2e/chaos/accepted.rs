//! The disk is full, and what was accepted cannot be written before its partition is closed: it is lost, as that level
//! allows, and told.

use std::path::PathBuf;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::ack::Level;
use corelog_protocol::message::{delete_topic, describe_topic, produce, reopen_partition};
use corelog_record::batch::{Batches, Codec, View};
use corelog_record::{Offset, PartitionId};

use super::full::{RECORD_BYTES, on_small_disk, start};
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::http::metric;
use crate::support::mount::Mount;
use crate::support::wire::{Target, Wire, batch};

/// So many of them are more than there is room for.
const RUNS_MAX: u32 = 240;
const LOST: &str = "corelog_accepted_lost_records_total";

/// Produces one more record; gives its offset.
fn produce(wire: &mut Wire, topic: &Target, level: Level, run: u32) -> Result<Offset, ErrorCode> {
    let request = produce::Request {
        level: Some(level),
        run,
        ..topic.produce(0)
    };
    let bytes = batch(Codec::None, [vec![b'x'; RECORD_BYTES]]);
    match wire.call(&request, &bytes).unwrap() {
        Ok((answer, _)) => Ok(answer.base),
        Err(error) => Err(error.known_code().unwrap()),
    }
}

/// Fills the disk, and produces until the server knows; gives what made it full, and how many records were acknowledged
/// in all. The last of them cannot be written.
fn fill(mount: &Mount, wire: &mut Wire, topic: &Target) -> (PathBuf, u64) {
    let first = produce(wire, topic, Level::Durable, 0).unwrap();
    let mut acked = first.get() + 1;
    let filler = mount.fill();
    for run in 1..=RUNS_MAX {
        match produce(wire, topic, Level::Accepted, run) {
            Ok(offset) => acked = offset.get() + 1,
            Err(ErrorCode::StorageFull) => return (filler, acked),
            Err(code) => panic!("{code}"),
        }
    }
    panic!("more was taken than there is room for");
}

/// How many records a partition holds.
fn held(wire: &mut Wire, topic: &Target) -> u64 {
    let bytes = wire.read_all(topic, 0, Offset::ZERO);
    let batches = Batches::over(&bytes).map(|bytes| View::verify(bytes.unwrap()).unwrap());
    batches.last().map_or(0, |last| last.next_offset().get())
}

#[test]
fn a_stop_tells_how_many_accepted_records_it_could_not_write() {
    let folder = Folder::new();
    let (mount, server, mut wire, topic) = on_small_disk(&folder);
    let (filler, acked) = fill(&mount, &mut wire, &topic);
    drop(wire);
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);

    std::fs::remove_file(&filler).unwrap();
    let server = start(&mount);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let lost = acked - held(&mut wire, &topic);
    assert!(0 < lost, "all {acked} were written");
    let told = format!(
        "records that were accepted are lost: they could not be written before it was closed topic=full partition=0 core=0 lost={lost}"
    );
    assert!(ended.log.contains(&told), "{lost}: {}", ended.log);
}

#[test]
fn a_reopening_tells_how_many_accepted_records_it_could_not_write() {
    let folder = Folder::new();
    let (mount, server, mut wire, topic) = on_small_disk(&folder);
    let admin = server.ready.admin;
    let (filler, acked) = fill(&mount, &mut wire, &topic);
    assert_eq!(metric(admin, LOST).to_string(), "0");
    let reopen = reopen_partition::Request {
        topic: topic.name.clone(),
        id: topic.id,
        partition: PartitionId::new(0),
    };
    // It finds no room to open, or only to write, until there is some.
    if let Err(error) = wire.call(&reopen, &[]).unwrap() {
        assert!(error.is(ErrorCode::StorageFull), "{error:?}");
    }

    std::fs::remove_file(&filler).unwrap();
    let describe = describe_topic::Request {
        name: topic.name.clone(),
    };
    until("it is open", || {
        let (told, _) = wire.call(&describe, &[]).unwrap().unwrap();
        told.partitions[0].state == describe_topic::State::Ok
    });
    let lost = acked - held(&mut wire, &topic);
    assert!(0 < lost, "all {acked} were written");
    assert_eq!(metric(admin, LOST).to_string(), lost.to_string());
}

/// The operator makes room as the runbook says: nothing is lost that was to stay.
#[test]
fn of_a_topic_that_is_deleted_to_make_room_no_record_is_told_as_lost() {
    let folder = Folder::new();
    let (mount, server, mut wire, topic) = on_small_disk(&folder);
    let admin = server.ready.admin;
    fill(&mount, &mut wire, &topic);
    let delete = delete_topic::Request {
        name: topic.name.clone(),
        id: topic.id,
    };
    wire.call(&delete, &[]).unwrap().unwrap();
    assert_eq!(metric(admin, LOST).to_string(), "0");
    drop(wire);
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert!(!ended.log.contains("are lost"), "{}", ended.log);
}
