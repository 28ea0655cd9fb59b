//! Processes that a program starts have a copy of each of its descriptors until they run.

use std::process::Command;
use std::thread;

use corelog_storage::disk::block_on;
use corelog_storage::disk::conformance::suite;
use corelog_storage::disk::std::StdDir;

/// In a process of its own, since the copies are of the other tests' descriptors too.
#[test]
fn plain_files_conform_while_processes_are_started() {
    let checking = thread::spawn(|| {
        for _ in 0..20 {
            let place = tempfile::tempdir().unwrap();
            block_on(suite(StdDir::new(place.path().join("data")))).unwrap();
        }
    });
    while !checking.is_finished() {
        assert!(Command::new("true").status().unwrap().success());
    }
    checking.join().unwrap();
}
