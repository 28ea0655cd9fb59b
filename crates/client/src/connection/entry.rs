//! A request's way into the table of those that are open, and out to the server.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corelog_protocol::frame::{CorrelationId, FrameError};
use corelog_protocol::message::Call;
use corelog_protocol::request;
use tokio::time::Instant;

use super::room::HEAD_BYTES;
use super::table::{Ending, Patience, Permits};
use super::writer::{GATHERED_BODY_BYTES_MAX, Outbox, Outgoing};
use super::{Shared, Ticket};
use crate::Error;

/// Enters a request that there is room for.
///
/// # Errors
/// [`Error::Request`], or [`Error::Lost`] if the connection ended.
pub(super) fn enter<R: Call>(
    shared: &Arc<Shared>,
    outbox: &Outbox,
    permits: Permits,
    request: &R,
    body: &Bytes,
    timeout: Duration,
) -> Result<Ticket, Error> {
    let kind = R::KIND;
    let patience = Patience {
        entered: Instant::now(),
        timeout,
    };
    let entered = shared.table.enter(
        permits,
        patience,
        |correlation, is_alone| -> Result<bool, Entry> {
            // What leaves at once leaves in one piece.
            let is_one = is_alone && body.len() <= GATHERED_BODY_BYTES_MAX;
            let gathered = if is_one { body.len() } else { 0 };
            let mut head = Vec::with_capacity(HEAD_BYTES + gathered);
            request::encode(
                CorrelationId::new(correlation),
                request,
                body.len(),
                &mut head,
            )?;
            let body = if is_one {
                head.extend_from_slice(body);
                Bytes::new()
            } else {
                body.clone()
            };
            let outgoing = Outgoing {
                correlation,
                head,
                body,
            };
            outbox.put(outgoing, is_alone).map_err(|_| Entry::Ended)
        },
    );
    match entered {
        Ok((correlation, receiver)) => Ok(Ticket {
            shared: Arc::clone(shared),
            correlation,
            receiver,
            kind,
            patience,
            until: patience.end(),
        }),
        Err(Entry::Frame(source)) => Err(Error::Request { kind, source }),
        Err(Entry::Ended) => Err(shared.not_entered()),
    }
}

/// Why a request could not be entered.
enum Entry {
    Frame(FrameError),
    Ended,
}

impl From<FrameError> for Entry {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<Ending> for Entry {
    fn from(_: Ending) -> Self {
        Self::Ended
    }
}
