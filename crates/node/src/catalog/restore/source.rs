//! What a restore is told to read: which topic, with which settings, and what is said if it cannot
//! be.

use std::io::ErrorKind;
use std::path::Path;

use corelog_protocol::error::ErrorCode;
use corelog_record::TopicName;
use corelog_storage::Error;
use corelog_storage::format::topic as file;
use corelog_storage::snapshot::{self as stored, Summary};

use super::super::snapshots::refused;
use super::super::topic::settings_of;
use crate::core::with_causes;
use crate::failure::{Failure, failure, invalid};

/// What the file of a topic in a snapshot says, as long as a topic can be like that.
pub(super) fn kept_of(origin: &stored::Topic) -> Result<file::Topic, Failure> {
    let kept = file::Topic::decode(&origin.settings).map_err(|error| {
        let message = format!("the settings of topic {}: {error}", origin.name);
        failure(ErrorCode::Damaged, message)
    })?;
    settings_of(&kept.settings).check()?;
    Ok(kept)
}

/// What a client is told of a path of its own that could not be opened.
pub(super) fn unopened(path: &str, error: &Error) -> Failure {
    match error {
        Error::Io { source, .. }
            if matches!(
                source.kind(),
                ErrorKind::NotFound
                    | ErrorKind::PermissionDenied
                    | ErrorKind::NotADirectory
                    | ErrorKind::IsADirectory
                    | ErrorKind::InvalidInput
                    | ErrorKind::InvalidFilename
            ) =>
        {
            invalid_source(with_causes(error))
        }
        error if error.may_pass() => failure(ErrorCode::Damaged, with_causes(error)),
        error => refused(path, error),
    }
}

/// Why a topic was not copied. A file that a snapshot names and has not is damage, as are bytes that are not what they were, or
/// that its disk does not give; one that may not be read is the request's fault. Nothing came of it, which is known.
pub(super) fn uncopied(snapshot: &Path, error: &Error) -> Failure {
    let its_own = match error {
        Error::Io { dir, source, .. } if Path::new(dir).starts_with(snapshot) => {
            Some(source.kind())
        }
        _ => None,
    };
    match its_own {
        Some(ErrorKind::PermissionDenied) => invalid_source(with_causes(error)),
        Some(_) if error.may_pass() => failure(ErrorCode::Damaged, with_causes(error)),
        _ if error.is_missing() => failure(ErrorCode::Damaged, with_causes(error)),
        _ => refused(&snapshot.display().to_string(), error),
    }
}

pub(super) fn invalid_source(message: impl Into<String>) -> Failure {
    invalid("source", message)
}

/// The topic that is meant: the one named, or the only one.
pub(super) fn pick(summary: Summary, wanted: Option<&TopicName>) -> Result<stored::Topic, Failure> {
    let name = summary.name;
    let mut topics = summary.topics;
    let place = match wanted {
        Some(wanted) => topics.iter().position(|topic| topic.name == *wanted),
        None => (topics.len() == 1).then_some(0),
    };
    place.map(|place| topics.swap_remove(place)).ok_or_else(|| {
        let message = match wanted {
            Some(wanted) => format!("snapshot {name} holds no topic {wanted}"),
            None => format!(
                "snapshot {name} holds {} topics: name the one to restore",
                topics.len()
            ),
        };
        failure(ErrorCode::UnknownTopic, message)
    })
}

#[cfg(test)]
mod tests;
