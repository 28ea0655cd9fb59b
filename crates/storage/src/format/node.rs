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
        envelope::decode("node file", MAGIC, bytes)
    }
}

const MAGIC: [u8; 8] = *b"CLOGNODE";
