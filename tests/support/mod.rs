//! What tests of a whole server share: a folder on a real disk, a server process, the command
//! line, the bare protocol, seeded input, and Python scripts. No test sleeps, uses a fixed port or
//! leaves a process behind.

#![allow(dead_code, reason = "each test binary uses its part of this")]

pub(crate) mod chance;
pub(crate) mod corelog;
pub(crate) mod deadline;
pub(crate) mod folder;
pub(crate) mod http;
pub(crate) mod input;
pub(crate) mod python;
pub(crate) mod server;
pub(crate) mod wire;
