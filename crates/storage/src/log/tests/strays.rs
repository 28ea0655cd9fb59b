//! Files that somebody else left in a partition's directory.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use corelog_record::Offset;

use super::{at, small};
use crate::disk::block_on;
use crate::disk::std::StdDir;
use crate::log::Event;
use crate::testing::{batch, flush, open, read_all};

/// One such file kept a sound partition closed for good.
#[test]
fn a_file_that_cannot_be_moved_stays_and_the_log_opens() {
    let temporary = tempfile::tempdir().unwrap();
    let root = StdDir::new(temporary.path());
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    log.append(&batch(&[b"here"], at(0)), at(0)).unwrap();
    flush(&mut log, at(0)).unwrap();
    block_on(log.close(at(1))).unwrap();
    // With what is put before it in quarantine the first name is too long for a file system; the second is no text.
    let (long, odd) = ("x".repeat(200), OsStr::from_bytes(b"backup\xff"));
    let dir = temporary.path().join("p0");
    fs::write(dir.join(&long), "not ours").unwrap();
    fs::write(dir.join(odd), "not ours").unwrap();
    for seed in 2..4 {
        let (mut log, report) = open(&root, small(), seed, at(2)).unwrap();
        assert!(
            report.damage.is_empty() && report.quarantined.is_empty(),
            "{report:?}"
        );
        assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 1);
        let strays = log.take_events();
        let strays = strays
            .iter()
            .filter(|event| matches!(event, Event::Stray { .. }));
        assert_eq!(strays.count(), 2);
        block_on(log.close(at(3))).unwrap();
    }
    assert!(dir.join(&long).exists() && dir.join(odd).exists());
}
