//! The `topic` file in a topic's directory: its id, its partitions, its settings.

use corelog_record::{Timestamp, TopicId, TopicName};
use serde::{Deserialize, Serialize};

use super::replica::Replica;
use super::{Error, FEATURE_REPLICAS, envelope};

/// The longest body: 4,096 partitions, each with a few addresses.
const BODY_BYTES_MAX: usize = 6 << 20;

/// The longest `topic` file, in bytes.
pub const FILE_BYTES_MAX: u64 = envelope::file_bytes(BODY_BYTES_MAX);

/// A topic as its node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// The id, drawn at random when the topic was created. Key `id`.
    pub id: TopicId,
    /// The name, which is also the name of the directory. Key `name`.
    pub name: TopicName,
    /// How many partitions it has, numbered from 0. Key `partitions`.
    pub partitions: u32,
    /// When it was created. Key `created`.
    pub created: Timestamp,
    /// Its settings. Key `settings`.
    pub settings: Settings,
    /// The partitions that are not this node's alone, by number. Key `replicas`; absent for none. A
    /// file that has them requires the feature [`FEATURE_REPLICAS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<Replica>,
}

/// The settings of a topic. A key that is missing has its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The ack level of a Produce that names none. Key `ack`: `"durable"` or `"accepted"`.
    pub ack: Ack,
    /// Sealed segments go this long after their sealing, in ms; `None` keeps for ever. Key
    /// `retention_age_ms`.
    pub retention_age_ms: Option<i64>,
    /// The oldest sealed segments go beyond this many bytes; `None` keeps for ever. Key
    /// `retention_bytes`.
    pub retention_bytes: Option<u64>,
    /// A segment rolls at this many bytes (128 MiB). Key `segment_bytes`.
    pub segment_bytes: u64,
    /// A segment rolls this long after its first record, in ms; `None`: never by age. Key
    /// `segment_age_ms`.
    pub segment_age_ms: Option<i64>,
    /// What retention waits for before it removes a sealed segment. Key `retention_hold`: `"none"`
    /// `"snapshotted"` or `"replicated"`; absent for none.
    #[serde(skip_serializing_if = "Hold::is_none")]
    pub retention_hold: Hold,
    /// What is held back goes all the same beyond this many bytes; `None` sets no bound. Key
    /// `retention_hold_bytes`, absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_hold_bytes: Option<u64>,
}

/// What retention waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hold {
    /// Nothing.
    #[default]
    None,
    /// A snapshot that holds the segment.
    Snapshotted,
    /// Every follower that is remembered, and at least one.
    Replicated,
    /// A word of a later version: nothing is let go that it might hold.
    #[serde(other)]
    Unknown,
}

impl Hold {
    /// True if nothing is waited for.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// The level at which a Produce is acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// After a sync of its bytes returned success.
    #[default]
    Durable,
    /// When it is validated and in memory.
    Accepted,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ack: Ack::Durable,
            retention_age_ms: None,
            retention_bytes: None,
            segment_bytes: 128 << 20,
            segment_age_ms: None,
            retention_hold: Hold::None,
            retention_hold_bytes: None,
        }
    }
}

impl Topic {
    /// The bytes of the file.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let features = match self.replicas.is_empty() {
            true => 0,
            false => FEATURE_REPLICAS,
        };
        envelope::encode_requiring(WHAT, MAGIC, features, self, BODY_BYTES_MAX)
    }

    /// The topic in the file `bytes`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        envelope::decode_within(WHAT, MAGIC, bytes, BODY_BYTES_MAX)
    }
}

pub(super) const MAGIC: [u8; 8] = *b"CLOGTOPC";
const WHAT: &str = "topic file";
