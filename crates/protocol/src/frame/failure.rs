//! Everything that can be wrong with a frame.

use corelog_record::TopicNameError;

use super::CorrelationId;
use crate::error::{ErrorBody, ErrorCode};
use crate::head::HeadError;
use crate::kind::Kind;

/// Why bytes are no frame, or a frame no message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length field is smaller than a prefix.
    #[error("frame of {frame_bytes} bytes is shorter than its prefix")]
    TooShort {
        /// The length field.
        frame_bytes: u32,
    },
    /// The length field, or the frame to be written, is beyond the limit.
    #[error("frame of {frame_bytes} bytes is larger than the limit of {frame_bytes_max}")]
    TooLarge {
        /// The length field, as it is or would be.
        frame_bytes: u64,
        /// The limit.
        frame_bytes_max: u32,
    },
    /// The frame is of a version that this crate does not speak.
    #[error("frame version {found} is not spoken here")]
    Version {
        /// The version byte.
        found: u8,
        /// The correlation field, which every version has at the same place.
        correlation: CorrelationId,
    },
    /// A reserved flag is set.
    #[error("reserved bits are set in the frame's flags {flags:#010b}")]
    Flags {
        /// The flags byte.
        flags: u8,
    },
    /// A request came where answers are expected, or an answer where requests are.
    #[error("{} where the other direction was expected", if *.is_answer { "an answer" } else { "a request" })]
    Direction {
        /// What came.
        is_answer: bool,
    },
    /// The head is longer than the frame.
    #[error("head of {head_bytes} bytes does not fit in a frame of {frame_bytes}")]
    HeadOverruns {
        /// The head's length field.
        head_bytes: u32,
        /// The frame's length field.
        frame_bytes: u32,
    },
    /// The head is beyond its limit.
    #[error("head of {head_bytes} bytes is larger than the limit of {head_bytes_max}")]
    HeadTooLarge {
        /// The head's length.
        head_bytes: u64,
        /// The limit.
        head_bytes_max: u32,
    },
    /// The checksum over prefix and head does not match.
    #[error("head checksum is {found:#010x}, the frame says {expected:#010x}")]
    HeadChecksum {
        /// What the frame says.
        expected: u32,
        /// What its bytes give.
        found: u32,
    },
    /// The frame is whole, its kind is none of this version's.
    #[error("frame kind {kind} is unknown")]
    UnknownKind {
        /// The kind's number.
        kind: u16,
    },
    /// An answer of one kind was read as the answer of another.
    #[error("an answer of kind {found} where one of {expected} was expected")]
    UnexpectedKind {
        /// The kind that was asked for.
        expected: Kind,
        /// The kind's number in the frame.
        found: u16,
    },
    /// The frame is whole, its head is not what its kind asks for.
    #[error("head of a {kind} frame is malformed")]
    Head {
        /// The frame's kind.
        kind: Kind,
        /// What is wrong with the head.
        #[source]
        source: HeadError,
    },
    /// The head is well-formed but names a topic no topic may have.
    #[error("head of a {kind} frame names no topic")]
    TopicName {
        /// The frame's kind.
        kind: Kind,
        /// What is wrong with the name.
        #[source]
        source: TopicNameError,
    },
    /// The frame has bytes behind its head where its kind has none.
    #[error("a {kind} frame has a body of {body_bytes} bytes and should have none")]
    UnexpectedBody {
        /// The frame's kind.
        kind: Kind,
        /// Bytes behind the head.
        body_bytes: usize,
    },
    /// A head could not be written.
    #[error("head cannot be encoded")]
    Encode {
        /// Why not.
        #[source]
        source: rmp_serde::encode::Error,
    },
}

impl FrameError {
    /// The request to which an answer about a lost framing belongs; 0 where nobody can know.
    #[must_use]
    pub const fn correlation(&self) -> CorrelationId {
        match self {
            Self::Version { correlation, .. } => *correlation,
            _ => CorrelationId::new(0),
        }
    }

    /// The code to answer with.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } | Self::HeadTooLarge { .. } => ErrorCode::FrameTooLarge,
            Self::Version { .. } => ErrorCode::UnsupportedVersion,
            Self::UnknownKind { .. } => ErrorCode::UnknownKind,
            Self::TopicName { .. } => ErrorCode::InvalidTopicName,
            Self::Encode { .. } => ErrorCode::Internal,
            Self::TooShort { .. }
            | Self::Flags { .. }
            | Self::Direction { .. }
            | Self::HeadOverruns { .. }
            | Self::HeadChecksum { .. }
            | Self::UnexpectedKind { .. }
            | Self::Head { .. }
            | Self::UnexpectedBody { .. } => ErrorCode::BadFrame,
        }
    }

    /// The error to answer with: code, the whole chain of causes as text, and the detail.
    #[must_use]
    pub fn to_body(&self) -> ErrorBody {
        let mut message = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        let mut body = ErrorBody::new(self.code(), message);
        match *self {
            Self::TooLarge {
                frame_bytes,
                frame_bytes_max,
            } => {
                body.detail.limit = Some(u64::from(frame_bytes_max));
                body.detail.found = Some(frame_bytes);
            }
            Self::HeadTooLarge {
                head_bytes,
                head_bytes_max,
            } => {
                body.detail.limit = Some(u64::from(head_bytes_max));
                body.detail.found = Some(head_bytes);
            }
            Self::Version { .. } => body.detail.versions = Some(vec![super::VERSION]),
            _ => {}
        }
        body
    }
}
