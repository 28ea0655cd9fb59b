//! Requests: from a message to a frame, and from a frame to a message.

use corelog_record::{TopicName, TopicNameError};
use serde::Deserialize;

use crate::frame::{self, CorrelationId, Frame, FrameError, Shape};
use crate::head;
use crate::kind::Kind;
use crate::message::{
    Call, alter_topic, authenticate, chain_at, clone_topic, copy_segments, create_snapshot,
    create_topic, delete_snapshot, delete_topic, describe_topic, fetch, forget_follower, handover,
    hello, list_offsets, list_snapshots, metadata, ping, produce, promote, rejoin,
    reopen_partition, repair_topic, replica_status, restore_status, restore_topic, scrub_topic,
    segments, take_over, truncate,
};

/// Appends a request's prefix and head to `out`; `body_bytes` raw bytes have to follow it on the
/// wire. A reused `out` allocates nothing once it has grown.
///
/// # Errors
/// [`FrameError::HeadTooLarge`] or [`FrameError::TooLarge`]; `out` is then as it was.
///
/// # Panics
/// If `body_bytes` is not 0 for a kind whose requests have no body.
pub fn encode<R: Call>(
    correlation: CorrelationId,
    request: &R,
    body_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), FrameError> {
    assert!(
        body_bytes == 0 || R::HAS_REQUEST_BODY,
        "a {} request has no body",
        R::KIND
    );
    let kind = R::KIND.number();
    frame::encode(
        Shape {
            kind,
            is_answer: false,
            correlation,
            body_bytes,
        },
        request,
        out,
    )
}

/// Declares [`Request`] with one variant per kind, its encoder and its decoder.
macro_rules! requests {
    ($($kind:ident $module:ident $doc:literal)+) => {
        /// A request of any kind.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Request {
            $(#[doc = $doc] $kind($module::Request),)+
        }

        impl Request {
            /// The kind of frame that asks this.
            #[must_use]
            pub const fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind,)+ }
            }

            /// [`encode`] for a request of any kind.
            ///
            /// # Errors
            /// As for [`encode`].
            ///
            /// # Panics
            /// As for [`encode`].
            pub fn encode(
                &self,
                correlation: CorrelationId,
                body_bytes: usize,
                out: &mut Vec<u8>,
            ) -> Result<(), FrameError> {
                match self {
                    $(Self::$kind(request) => encode(correlation, request, body_bytes, out),)+
                }
            }

            /// Reads the request of a whole frame.
            ///
            /// # Errors
            /// [`FrameError::UnknownKind`], [`FrameError::Head`], [`FrameError::TopicName`] or
            /// [`FrameError::UnexpectedBody`]; none of them loses the framing.
            pub fn decode(frame: &Frame<'_>) -> Result<Self, FrameError> {
                let number = frame.header.kind;
                match Kind::from_number(number) {
                    $(Some(Kind::$kind) => Ok(Self::$kind(one(frame)?)),)+
                    None => Err(FrameError::UnknownKind { kind: number }),
                }
            }
        }
    };
}

requests! {
    Hello hello "See [`hello`]."
    Authenticate authenticate "See [`authenticate`]."
    Ping ping "See [`ping`]."
    Metadata metadata "See [`metadata`]."
    CreateTopic create_topic "See [`create_topic`]."
    AlterTopic alter_topic "See [`alter_topic`]."
    DeleteTopic delete_topic "See [`delete_topic`]."
    DescribeTopic describe_topic "See [`describe_topic`]."
    Produce produce "See [`produce`]; the batches are the frame's body."
    Fetch fetch "See [`fetch`]."
    ListOffsets list_offsets "See [`list_offsets`]."
    Truncate truncate "See [`truncate`]."
    ReopenPartition reopen_partition "See [`reopen_partition`]."
    Segments segments "See [`segments`]."
    CopySegments copy_segments "See [`copy_segments`]."
    ChainAt chain_at "See [`chain_at`]."
    CreateSnapshot create_snapshot "See [`create_snapshot`]."
    ListSnapshots list_snapshots "See [`list_snapshots`]."
    DeleteSnapshot delete_snapshot "See [`delete_snapshot`]."
    RestoreTopic restore_topic "See [`restore_topic`]."
    RestoreStatus restore_status "See [`restore_status`]."
    ScrubTopic scrub_topic "See [`scrub_topic`]."
    CloneTopic clone_topic "See [`clone_topic`]."
    ReplicaStatus replica_status "See [`replica_status`]."
    Promote promote "See [`promote`]."
    Handover handover "See [`handover`]."
    TakeOver take_over "See [`take_over`]."
    Rejoin rejoin "See [`rejoin`]."
    RepairTopic repair_topic "See [`repair_topic`]."
    ForgetFollower forget_follower "See [`forget_follower`]."
}

fn one<R: Call>(frame: &Frame<'_>) -> Result<R, FrameError> {
    let kind = R::KIND;
    let request = head::decode(frame.head).map_err(|source| match misnamed_topic(frame.head) {
        Some(source) => FrameError::TopicName { kind, source },
        None => FrameError::Head { kind, source },
    })?;
    let body_bytes = frame.header.body_bytes();
    if !R::HAS_REQUEST_BODY && body_bytes > 0 {
        return Err(FrameError::UnexpectedBody { kind, body_bytes });
    }
    Ok(request)
}

/// A head that does not fit its kind is looked at once more, for the one reason that has an error
/// code of its own: a topic name that no topic may have.
fn misnamed_topic(head: &[u8]) -> Option<TopicNameError> {
    #[derive(Deserialize)]
    struct Names<'a> {
        #[serde(borrow)]
        name: Option<&'a str>,
        #[serde(borrow)]
        topic: Option<&'a str>,
        #[serde(borrow)]
        topics: Option<Vec<&'a str>>,
        #[serde(borrow)]
        source_topic: Option<&'a str>,
    }
    let names: Names<'_> = head::decode_borrowed(head).ok()?;
    let single = [names.name, names.topic, names.source_topic];
    single
        .into_iter()
        .flatten()
        .chain(names.topics.into_iter().flatten())
        .find_map(|name| TopicName::new(name).err())
}
