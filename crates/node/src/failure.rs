//! Why a request failed, on its way to the client. Boxed: most requests do not fail.

use corelog_protocol::error::{Detail, ErrorBody, ErrorCode};

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

/// What a request asks for in `field` cannot be.
pub(crate) fn invalid(field: &str, message: impl Into<String>) -> Failure {
    let detail = Detail {
        field: Some(field.to_owned()),
        ..Detail::default()
    };
    failure_with(ErrorCode::InvalidRequest, message, detail)
}

/// A failure with facts for programs.
pub(crate) fn failure_with(code: ErrorCode, message: impl Into<String>, detail: Detail) -> Failure {
    Box::new(ErrorBody::new(code, message).with_detail(detail))
}
