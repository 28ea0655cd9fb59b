//! What an acknowledgement promises.

use serde::{Deserialize, Serialize};

/// The ack level of a Produce, asked for or reached. On the wire: `"durable"` or `"accepted"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The records are on disk: a sync of their bytes returned success.
    #[default]
    Durable,
    /// The records are valid and in the server's memory, on their way to the disk.
    Accepted,
    /// A word that this version does not know: nobody is promised what it says.
    #[serde(other)]
    Unknown,
}
