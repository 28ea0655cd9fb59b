//! The `node` file in the root of a data directory: whose data this is.

use corelog_record::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Error, envelope};

/// The longest `node` file, in bytes.
pub const FILE_BYTES_MAX: u64 = envelope::FILE_BYTES_MAX;

/// The name of the file beside `node` that says where the directory was made.
pub const PLACE: &str = "place";

/// The name of the file that is blocks for the day when the disk is full.
pub const SPARE: &str = "spare";

/// The name of the file itself.
pub const NODE: &str = "node";

/// The directory of the topics, a directory each.
pub const TOPICS: &str = "topics";

/// The name of the file that says what a topic is, in its directory.
pub const TOPIC: &str = "topic";

/// The directory where bytes go that cannot be trusted.
pub const QUARANTINE: &str = "quarantine";

/// The directory of the snapshots, a directory each.
pub const SNAPSHOTS: &str = "snapshots";

/// The directory where deleted topics are until their files are gone.
pub const DELETED: &str = "deleted";

/// The directory where topics are until they are restored whole.
pub const RESTORING: &str = "restoring";

/// The name of the empty file that lies beside the directory `of` of a log from its first files on.
#[must_use]
pub fn begun(of: &str) -> String {
    format!("{of}{BEGUN_SUFFIX}")
}

/// The number of the partition of which the file `name` tells, if it is such a file.
#[must_use]
pub fn of_begun(name: &str) -> Option<u32> {
    partition(name.strip_suffix(BEGUN_SUFFIX)?)
}

/// The number of the partition whose directory is called `name`, if it is such a one.
#[must_use]
pub fn partition(name: &str) -> Option<u32> {
    let number: u32 = name.parse().ok()?;
    (number.to_string() == name).then_some(number)
}

/// The identity of a node. The version of the file is the version of the whole directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The id, drawn at random when the directory was made. Key `id`.
    pub id: NodeId,
    /// When the directory was made. Key `created`.
    pub created: Timestamp,
}

impl Node {
    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        envelope::encode(MAGIC, self)
    }

    /// The identity in the file `bytes`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        envelope::decode_within("node file", MAGIC, bytes, envelope::BODY_BYTES_MAX)
    }
}

const BEGUN_SUFFIX: &str = ".begun";

const MAGIC: [u8; 8] = *b"CLOGNODE";
