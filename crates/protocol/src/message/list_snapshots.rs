//! ListSnapshots: which snapshots there are, and what they hold.

use serde::{Deserialize, Serialize};

use super::snapshot::Snapshot;

super::call!(ListSnapshots);

/// Which snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Only this one, with every partition; default nil, all of them without.
    #[serde(default)]
    pub snapshot: Option<String>,
    /// Of all of them those behind this name; default nil, from the first on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// The snapshots there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// By name; default empty.
    #[serde(default)]
    pub snapshots: Vec<Snapshot>,
    /// Those that are there and cannot be read; default empty.
    #[serde(default)]
    pub unreadable: Vec<Unreadable>,
    /// There may be more behind this name, which are to be asked for; default nil, these were the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A snapshot whose summary cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Its name, which is its directory's.
    pub name: String,
    /// What is wrong with it, for people; default empty.
    #[serde(default)]
    pub message: String,
}
