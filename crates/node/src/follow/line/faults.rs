//! What a node is told of another one that does not answer it.

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::frame::{self, FrameError};

use crate::failure::{Failure, failure_with};

/// That what answers at an address is no node, or one whose frames are of another version. What may have been bent on its way
/// shows neither.
pub(super) fn foreign(address: &str, error: &FrameError) -> Option<Failure> {
    if error.code() == ErrorCode::UnsupportedVersion {
        return Some(of_another_version(address, &error.to_string()));
    }
    let is_foreign = matches!(
        error,
        FrameError::TooLarge { .. } | FrameError::HeadTooLarge { .. }
    );
    let message = format!("{address}: what answers there is no server for clients ({error})");
    is_foreign.then(|| failure_with(ErrorCode::UnsupportedVersion, message, at(address)))
}

/// That a node speaks another version.
pub(super) fn of_another_version(address: &str, why: &str) -> Failure {
    let detail = Detail {
        versions: Some(vec![frame::VERSION]),
        ..at(address)
    };
    let message = format!("{address}: {why}");
    failure_with(ErrorCode::UnsupportedVersion, message, detail)
}

fn at(address: &str) -> Detail {
    Detail {
        address: Some(address.to_owned()),
        ..Detail::default()
    }
}

/// That nothing comes from there, now.
pub(super) fn unavailable(address: &str, why: &str) -> Failure {
    let message = format!("{address}: {why}");
    failure_with(ErrorCode::SourceUnavailable, message, at(address))
}
