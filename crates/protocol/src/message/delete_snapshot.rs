//! DeleteSnapshot: a snapshot goes, and what it alone still held.

use corelog_record::Timestamp;
use serde::{Deserialize, Serialize};

super::call!(DeleteSnapshot);

/// Which snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its name.
    pub snapshot: String,
    /// When it was taken, so that not another of the same name goes; default nil, whenever.
    #[serde(default)]
    pub created: Option<Timestamp>,
}

/// It is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {}
