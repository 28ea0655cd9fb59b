//! Sources that no topic can be made of.

use std::io;

use corelog_record::{Timestamp, TopicId};

use super::*;

fn source(settings: file::Settings) -> stored::Topic {
    let name = TopicName::new("t").expect("a name");
    let id = TopicId::from_bytes([7; 16]);
    let kept = file::Topic {
        id,
        name: name.clone(),
        partitions: 1,
        created: Timestamp::from_millis(1),
        settings,
        replicas: Vec::new(),
    };
    stored::Topic {
        name,
        id,
        settings: kept.encode().expect("short"),
        partitions: Vec::new(),
    }
}

/// Whatever a client may not ask for does not come in by way of a snapshot either.
#[test]
fn settings_that_no_topic_could_be_created_with_are_not_restored() {
    let kept = kept_of(&source(file::Settings::default())).expect("as created");
    assert_eq!(kept.settings, file::Settings::default());
    let tiny = file::Settings {
        segment_bytes: 1,
        ..file::Settings::default()
    };
    let error = kept_of(&source(tiny)).expect_err("too small");
    assert!(error.is(ErrorCode::InvalidSettings));
    assert_eq!(error.detail.field.as_deref(), Some("segment_bytes"));
}

#[test]
fn a_path_that_cannot_be_opened_is_the_request_s_fault_and_a_disk_s_error_is_not() {
    let told = |source: io::Error| {
        let error = Error::Io {
            action: "read",
            dir: "/there".to_owned(),
            file: "snapshot".to_owned(),
            source,
        };
        unopened("/there", &error)
    };
    for kind in [
        ErrorKind::PermissionDenied,
        ErrorKind::NotFound,
        ErrorKind::NotADirectory,
    ] {
        let error = told(kind.into());
        assert!(error.is(ErrorCode::InvalidRequest));
        assert_eq!(error.detail.field.as_deref(), Some("source"));
    }
    assert!(told(ErrorKind::Other.into()).is(ErrorCode::Internal));
    assert!(told(bad_sector()).is(ErrorCode::Damaged));
}

/// Whoever had a backup of which one file may not be read was told that nobody knows if it was restored.
#[test]
fn what_is_not_given_of_a_snapshot_leaves_no_doubt_that_nothing_came_of_it() {
    let told = |dir: &str, source: io::Error| {
        let error = Error::Io {
            action: "read",
            dir: dir.to_owned(),
            file: "00000000000000000000.log".to_owned(),
            source,
        };
        uncopied(Path::new("/mnt/monday"), &error).known_code()
    };
    let within = "/mnt/monday/topics/t/0";
    let denied = told(within, ErrorKind::PermissionDenied.into());
    assert_eq!(denied, Some(ErrorCode::InvalidRequest));
    assert_eq!(told(within, bad_sector()), Some(ErrorCode::Damaged));
    let gone = told(within, ErrorKind::NotFound.into());
    assert_eq!(gone, Some(ErrorCode::Damaged));
    // It is the server's own disk.
    let own = "/data/restoring/t/0.restoring";
    assert_eq!(told(own, bad_sector()), Some(ErrorCode::Internal));
}

/// What the block layer says of one (EIO).
fn bad_sector() -> io::Error {
    io::Error::from_raw_os_error(5)
}
