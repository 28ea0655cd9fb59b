//! Ping: a sign of life. Both heads are empty maps.

use serde::{Deserialize, Serialize};

super::call!(Ping);

/// Asks for a sign of life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {}

/// Gives one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {}
