//! Which frame something is done for, so that its way through the node can be found in the log.

use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;

use corelog_protocol::error::{ErrorBody, ErrorCode, Retry};
use corelog_protocol::frame::CorrelationId;
use corelog_protocol::kind::Kind;
use corelog_record::CoreId;

/// A request as both its ends know it. A connection that is open uses a number for one request at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameId {
    /// Where the client is, by its end of the connection.
    pub(crate) peer: SocketAddr,
    /// The number that the client gave its request.
    pub(crate) request: CorrelationId,
}

impl FrameId {
    pub(crate) fn new(peer: SocketAddr, request: CorrelationId) -> Self {
        Self { peer, request }
    }

    /// Logs, at level trace, what becomes of the frame on a core. Nothing is formatted if nobody looks.
    pub(crate) fn passes(self, core: CoreId, step: fmt::Arguments<'_>) {
        let Self { peer, request } = self;
        tracing::trace!(%peer, %request, %core, "{step}");
    }

    /// Logs its refusal: what is the first mistake of a connection, which `has_erred` after it, or the node's own, as a
    /// warning, all else for those who look.
    pub(crate) fn is_refused(self, kind: u16, error: &ErrorBody, has_erred: &Cell<bool>) {
        let Self { peer, request } = self;
        let kind = Kind::from_number(kind).map(Kind::name);
        if is_told(error, has_erred) {
            tracing::warn!(%peer, %request, kind, %error, "refused");
        } else {
            tracing::debug!(%peer, %request, kind, %error, "refused");
        }
    }
}

/// Whether an operator hears of a refusal. A condition without a code is no mistake of the client's, and its sentence is all
/// that there is to find it by; who logs leaves out what repeats.
fn is_told(error: &ErrorBody, has_erred: &Cell<bool>) -> bool {
    if error.is(ErrorCode::Internal) {
        return true;
    }
    let is_mistake = error.retry() == Retry::No && !error.is(ErrorCode::Aborted);
    is_mistake && !has_erred.replace(true)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A frame of somebody.
    pub(crate) fn frame() -> FrameId {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        FrameId::new(peer, CorrelationId::new(1))
    }

    /// An alert told of errors without a name, and the log named none of them: the connection had made a mistake before.
    #[test]
    fn the_first_mistake_of_a_connection_is_told_and_each_error_without_a_code() {
        let has_erred = Cell::new(false);
        let told = |code| is_told(&ErrorBody::new(code, "why"), &has_erred);
        assert!(!told(ErrorCode::Busy));
        assert!(told(ErrorCode::Internal));
        assert!(told(ErrorCode::UnknownTopic));
        assert!(!told(ErrorCode::UnknownTopic));
        assert!(told(ErrorCode::Internal));
        assert!(!told(ErrorCode::Aborted));
    }
}
