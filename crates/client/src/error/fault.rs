//! Why a connection ended or never came to be.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use corelog_protocol::error::ErrorBody;
use corelog_protocol::frame::FrameError;

/// Why a connection ended or never came to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The socket failed.
    #[error("{source}")]
    Io {
        /// The system's error.
        #[from]
        source: io::Error,
    },
    /// The other side closed it.
    #[error("closed by the server")]
    Closed,
    /// This side closed it.
    #[error("closed by this program")]
    Dropped,
    /// What arrived is no frame.
    #[error("{source}")]
    Frame {
        /// What is wrong with it.
        source: FrameError,
    },
    /// An answer to nothing that was asked.
    #[error("answer to request {correlation}, which nobody waits for")]
    Unasked {
        /// The answer's correlation.
        correlation: u32,
    },
    /// The server said why, and closed.
    #[error("{body}")]
    Refused {
        /// Code, message and detail.
        body: Box<ErrorBody>,
    },
    /// Nothing was heard although something was asked.
    #[error("nothing heard for {after:?}")]
    Silent {
        /// For how long.
        after: Duration,
    },
    /// It took too long to connect.
    #[error("no connection within {after:?}")]
    ConnectTimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// The last attempt failed a moment ago; the next one waits for its turn.
    #[error("{source} (a moment ago)")]
    Resting {
        /// The last failure.
        source: Arc<Self>,
    },
}
