//! What is said of a request that ran out of time.

use std::time::Duration;

use corelog_protocol::error::ErrorBody;
use corelog_protocol::kind::Kind;

/// A server that was not asked was not silent; what another attempt was `refused` for is said as well.
pub(super) fn late(
    address: &str,
    kind: Kind,
    after: Duration,
    is_sent: bool,
    refused: Option<&ErrorBody>,
) -> String {
    let late = match is_sent {
        true => format!("{address} did not answer {kind} within {after:?}"),
        false => format!("{kind} could not be sent to {address} within {after:?}"),
    };
    match refused {
        Some(body) => format!("{late}; another attempt was refused: {body}"),
        None => late,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It was said of a server that answered others all the while, on a connection that had no room.
    #[test]
    fn who_was_not_asked_is_not_said_to_have_been_silent() {
        let said = |is_sent| {
            let after = Duration::from_secs(2);
            late("a:7400", Kind::Produce, after, is_sent, None)
        };
        assert_eq!(said(true), "a:7400 did not answer Produce within 2s");
        assert_eq!(said(false), "Produce could not be sent to a:7400 within 2s");
    }
}
