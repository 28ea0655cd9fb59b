//! Messages: for each kind of frame the head of its request and the head of its answer.
//!
//! One module per kind, with a `Request` and an `Answer` in it; a field's name is its key on the
//! wire. [`settings`], [`ack`], [`epoch`] and [`snapshot`] hold what several
//! kinds share. Never here: bytes of
//! records, which are a frame's body and stay what they are. The law: **a key that is unknown is
//! ignored, one that is missing has the default its field documents**; a field whose doc names no
//! default is required.

pub mod ack;
pub mod alter_topic;
pub mod authenticate;
mod bounded;
pub mod chain_at;
pub mod clone_topic;
pub mod copy_segments;
pub mod create_snapshot;
pub mod create_topic;
pub mod delete_snapshot;
pub mod delete_topic;
pub mod describe_topic;
pub mod epoch;
pub mod fetch;
pub mod forget_follower;
pub mod handover;
pub mod hello;
pub mod list_offsets;
pub mod list_snapshots;
pub mod metadata;
pub mod ping;
pub mod produce;
pub mod promote;
pub mod rejoin;
pub mod reopen_partition;
pub mod repair_topic;
pub mod replica_status;
pub mod restore_status;
pub mod restore_topic;
pub mod scrub_topic;
pub mod segments;
pub mod settings;
pub mod snapshot;
pub mod take_over;
pub mod truncate;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::kind::Kind;

/// A request's head: ties a kind to its request and its answer.
pub trait Call: Serialize + DeserializeOwned {
    /// The kind of frame that asks this and answers it.
    const KIND: Kind;
    /// True if the request's frame has a body behind its head.
    const HAS_REQUEST_BODY: bool = false;
    /// True if the answer's frame has one.
    const HAS_ANSWER_BODY: bool = false;
    /// The head of a good answer.
    type Answer: Serialize + DeserializeOwned;
}

/// Whether a value is not worth a word on the wire: whoever reads has it without one.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Implements [`Call`] for a module's `Request` and `Answer`.
macro_rules! call {
    ($kind:ident $(, $body:ident)*) => {
        impl crate::message::Call for Request {
            const KIND: crate::kind::Kind = crate::kind::Kind::$kind;
            $(const $body: bool = true;)*
            type Answer = Answer;
        }
    };
}
use call;
