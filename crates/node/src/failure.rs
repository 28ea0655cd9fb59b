//! Why a request failed, on its way to the client. Boxed: most requests do not fail.

use std::io;

use corelog_protocol::error::{Detail, ErrorBody, ErrorCode};
use corelog_storage::disk::{is_full, is_out_of_files};

/// Why a request failed, as the client is told.
pub(crate) type Failure = Box<ErrorBody>;

/// A failure without detail.
pub(crate) fn failure(code: ErrorCode, message: impl Into<String>) -> Failure {
    Box::new(ErrorBody::new(code, message))
}

/// The topic of a partition is gone.
pub(crate) fn deleted() -> Failure {
    failure(ErrorCode::UnknownTopic, "the topic was deleted")
}

/// What it takes to do it is in use; a client may try again in so many milliseconds.
pub(crate) fn busy(message: &str, retry_ms: u32) -> Failure {
    let detail = Detail {
        retry_ms: Some(retry_ms),
        ..Detail::default()
    };
    failure_with(ErrorCode::Busy, message, detail)
}

/// How long a client is asked to wait, in milliseconds, while others hold a core's memory who take nothing.
pub(crate) const MEMORY_RETRY_MS: u32 = 500;

/// The memory of a core for answers is in use.
pub(crate) fn untaken() -> Failure {
    let message = "too many answers wait for clients that do not read";
    busy(message, MEMORY_RETRY_MS)
}

/// What is told of an error of a file system that changed nothing.
pub(crate) fn disk_code(error: &io::Error) -> ErrorCode {
    match error {
        _ if is_full(error) => ErrorCode::StorageFull,
        _ if is_out_of_files(error) => ErrorCode::Busy,
        // Of what is there as long as its volume is.
        _ if error.kind() == io::ErrorKind::NotFound => ErrorCode::Damaged,
        _ => ErrorCode::Internal,
    }
}

/// The same, told as `message`; of a directory that is gone with what brings it back, which no repair does.
pub(crate) fn disk_failure(error: &io::Error, message: String) -> Failure {
    let message = match error.kind() {
        io::ErrorKind::NotFound => format!(
            "{message}: a directory of the server is gone; put it back in its place, as by mounting its volume, and ask \
             again (`corelog verify` says what is there)"
        ),
        _ => message,
    };
    failure(disk_code(error), message)
}

/// What a request asks for in `field` cannot be.
pub(crate) fn invalid(field: &str, message: impl Into<String>) -> Failure {
    let detail = Detail {
        field: Some(field.to_owned()),
        ..Detail::default()
    };
    failure_with(ErrorCode::InvalidRequest, message, detail)
}

/// How much a request has of something, and the most that it may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    pub(crate) found: u64,
    pub(crate) limit: u64,
}

impl Amount {
    /// Checks it of `what` a request has in `field`.
    ///
    /// # Errors
    /// `InvalidRequest` if it is too much.
    pub(crate) fn check(self, field: &str, what: &str) -> Result<(), Failure> {
        let Self { found, limit } = self;
        if found <= limit {
            return Ok(());
        }
        let message = format!("{found} {what} are too many: {limit} at most");
        let mut refused = invalid(field, message);
        refused.detail.found = Some(found);
        refused.detail.limit = Some(limit);
        Err(refused)
    }
}

/// A failure with facts for programs.
pub(crate) fn failure_with(code: ErrorCode, message: impl Into<String>, detail: Detail) -> Failure {
    Box::new(ErrorBody::new(code, message).with_detail(detail))
}

/// What another node refused, with its address, unless that is there: it is not the node asked that refuses.
pub(crate) fn said_by(address: &str, error: Failure) -> Failure {
    match error.message.starts_with(&format!("{address}: ")) {
        true => error,
        false => Box::new(error.of(address)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It was told as damage which a repair fetches from a copy.
    #[test]
    fn a_directory_that_is_gone_is_told_with_what_brings_it_back() {
        let said = |kind: io::ErrorKind| disk_failure(&kind.into(), "cannot create".to_owned());
        let gone = said(io::ErrorKind::NotFound);
        assert!(gone.is(ErrorCode::Damaged));
        assert!(
            gone.message
                .starts_with("cannot create: a directory of the server is gone")
        );
        assert_eq!(said(io::ErrorKind::StorageFull).message, "cannot create");
    }

    /// What `h:7400` said of itself was taken for the word of `h:740`.
    #[test]
    fn a_refusal_is_named_once_and_by_its_own_server() {
        let refused = failure(ErrorCode::Busy, "ask again");
        let named = said_by("h:740", refused);
        assert_eq!(named.message, "h:740: ask again");
        assert_eq!(said_by("h:740", named).message, "h:740: ask again");
        let other = failure(ErrorCode::Busy, "h:7400 starts");
        assert_eq!(said_by("h:740", other).message, "h:740: h:7400 starts");
        // It was as much longer than a message may be.
        let long = failure(ErrorCode::Busy, "m".repeat(2_000));
        let bytes = long.message.len();
        assert_eq!(said_by("h:740", long).message.len(), bytes);
    }
}
