//! What is left of a snapshot that failed, and what clients are told of errors.

use std::convert::identity;
use std::io::ErrorKind;

use corelog_record::Timestamp;
use corelog_storage::disk::block_on;
use corelog_storage::disk::faulty::{Fault, FaultyDir, Operation};
use corelog_storage::disk::memory::MemoryDir;

use super::*;

/// A summary whose sync failed may be there; it once stayed, listed as a whole snapshot, when its
/// files were gone.
#[test]
fn what_a_failed_snapshot_leaves_is_never_listed() {
    let root = FaultyDir::new(MemoryDir::new());
    let name = Name::new("half").expect("a name");
    let dir = root.child(name.as_str());
    let summary = Summary {
        name: name.clone(),
        created: Timestamp::from_millis(1),
        topics: Vec::new(),
    };
    block_on(async {
        stored::commit(&dir, &summary).await.expect("committed");
        let fault = Fault::Fail(ErrorKind::PermissionDenied);
        root.faults().fail(Operation::RemoveTree, 1, fault);
        assert!(clear(&root, &name).await.is_err());
        assert!(
            stored::list(&root, identity)
                .await
                .expect("listed")
                .is_empty()
        );
        clear(&root, &name).await.expect("cleared");
        clear(&root, &name).await.expect("cleared again");
    });
}

#[test]
fn a_lack_of_descriptors_is_busy_and_neither_damage_nor_a_failure() {
    let out = || std::io::Error::from_raw_os_error(nix::errno::Errno::EMFILE as i32);
    let error = Error::OutOfFiles {
        action: "open",
        dir: "d".to_owned(),
        file: "f".to_owned(),
        source: out(),
    };
    assert!(refused("s", &error).is(ErrorCode::Busy));
    assert!(disk_failure(&out()).is(ErrorCode::Busy));
}

#[test]
fn a_full_quota_is_a_full_disk() {
    for full in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
        assert_eq!(
            disk_failure(&full.into()).code,
            ErrorCode::StorageFull.number()
        );
    }
}
