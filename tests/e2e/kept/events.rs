//! What a start finds is mended where it can be, told in one line, and counted.

use std::path::{Path, PathBuf};

use corelog_protocol::message::list_offsets::{self, At};
use corelog_record::batch::{Batches, View};
use corelog_record::{Offset, PartitionId, Timestamp};

use super::records::{produce, until_sealed};
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::http::{get, metric};
use crate::support::server::Start;
use crate::support::stores;
use crate::support::wire::Wire;

/// An index is a hint: whatever is the matter with it, records are found, and it is made anew.
#[test]
fn indexes_that_are_missing_cut_swapped_or_unreadable_are_made_anew() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Start::on(&data).start();
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("t", 1, 1 << 20);
    produce(&mut wire, &topic, 0, 0, 400);
    until_sealed(&mut wire, &topic, 0, 7);
    let ended = server.stop();
    assert!(ended.status.success(), "{}", ended.log);

    let stores = stores::of(&data.join("topics/t"), 0);
    let indexes: Vec<PathBuf> = stores
        .iter()
        .map(|store| store.with_extension("index"))
        .collect();
    std::fs::remove_file(&indexes[0]).unwrap();
    let whole = std::fs::metadata(&indexes[1]).unwrap().len();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&indexes[1])
        .unwrap();
    file.set_len(whole / 2).unwrap();
    let aside = folder.path().join("aside");
    std::fs::rename(&indexes[2], &aside).unwrap();
    std::fs::rename(&indexes[3], &indexes[2]).unwrap();
    std::fs::rename(&aside, &indexes[3]).unwrap();
    std::fs::remove_file(&indexes[4]).unwrap();
    std::fs::create_dir(&indexes[4]).unwrap();

    let server = Start::on(&data).start();
    let mut wire = Wire::open(server.ready.listen).unwrap();
    // From the middle of each segment, by offset and by time.
    for store in &stores[..6] {
        let offset = base(store) + 20;
        let fetch = topic.fetch(0, Offset::new(offset).unwrap());
        let (_, body) = wire.call(&fetch, &[]).unwrap().unwrap();
        let first = Batches::over(&body).next().unwrap().unwrap();
        let first = View::verify(first).unwrap().base_offset().get();
        assert_eq!(first, offset);
        let find = list_offsets::Request {
            topic: topic.name.clone(),
            id: topic.id,
            partition: PartitionId::new(0),
            at: At::Time(Timestamp::from_millis(0)),
        };
        let (found, _) = wire.call(&find, &[]).unwrap().unwrap();
        assert_eq!(found.offset, Offset::ZERO);
    }
    until("the indexes are made anew", || {
        metric(server.ready.admin, "corelog_rebuilt_indexes_total") >= 4.0
    });
    let ended = server.stop();
    assert!(ended.log.contains("made anew"), "{}", ended.log);
}

#[test]
fn a_file_that_no_manifest_names_is_quarantined_told_and_counted() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Start::on(&data).start();
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("t", 1, 1 << 20);
    produce(&mut wire, &topic, 0, 0, 10);
    server.kill();
    let stray = data.join("topics/t/0/00000000000000099999.log");
    std::fs::write(&stray, b"who am I").unwrap();

    let server = Start::on(&data).start();
    let admin = server.ready.admin;
    assert!(!stray.exists());
    assert!(metric(admin, "corelog_unnamed_files_total") >= 1.0);
    let (_, page) = get(admin, "/metrics");
    let line = "corelog_quarantine_bytes{reason=\"unnamed\"} ";
    let bytes = page
        .lines()
        .find_map(|found| found.strip_prefix(line))
        .unwrap();
    assert!(bytes.parse::<u64>().unwrap() >= 8, "{bytes}");
    let ended = server.stop();
    assert!(ended.log.contains("does not name"), "{}", ended.log);
}

fn base(store: &Path) -> u64 {
    store
        .file_stem()
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap()
}
