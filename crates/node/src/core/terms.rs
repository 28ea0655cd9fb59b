//! How a Produce is to be done.

use std::time::Instant;

use corelog_protocol::message::ack::Level;

use crate::frame_id::FrameId;

/// On which terms a Produce is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// For which frame.
    pub(crate) frame: FrameId,
    /// What its acknowledgement is to mean; `None` leaves that to the topic.
    pub(crate) level: Option<Level>,
    /// When the request was whole.
    pub(crate) taken: Instant,
}
