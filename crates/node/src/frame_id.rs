//! Which frame something is done for, so that its way through the node can be found in the log.

use std::fmt;
use std::net::SocketAddr;

use corelog_protocol::error::ErrorBody;
use corelog_protocol::frame::CorrelationId;
use corelog_protocol::kind::Kind;
use corelog_record::CoreId;

/// A request as both its ends know it. A connection that is open uses a number for one request at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameId {
    /// Where the client is, by its end of the connection.
    peer: SocketAddr,
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

    /// Logs its refusal: what is the first mistake of a connection as a warning, all else for those who
    /// look.
    pub(crate) fn is_refused(self, kind: u16, error: &ErrorBody, is_first_mistake: bool) {
        let Self { peer, request } = self;
        let kind = Kind::from_number(kind).map(Kind::name);
        if is_first_mistake {
            tracing::warn!(%peer, %request, kind, %error, "refused");
        } else {
            tracing::debug!(%peer, %request, kind, %error, "refused");
        }
    }
}
