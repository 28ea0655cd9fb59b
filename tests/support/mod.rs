//! What tests of a whole server share: a folder on a real disk, a server process, the command
//! line, the stores on its disk, the bare protocol, seeded input, Python scripts, a program that produces and keeps books, the end of
//! what goes on beside a test, a proxy on which things go wrong, file systems, and processes with fewer rights. No test sleeps, uses a fixed port or
//! leaves a process behind.

#![allow(dead_code, reason = "each test binary uses its part of this")]

pub(crate) mod books;
pub(crate) mod brake;
pub(crate) mod chance;
pub(crate) mod corelog;
pub(crate) mod deadline;
pub(crate) mod folder;
pub(crate) mod http;
pub(crate) mod input;
pub(crate) mod load;
pub(crate) mod mount;
pub(crate) mod over;
pub(crate) mod privilege;
pub(crate) mod proxy;
pub(crate) mod python;
pub(crate) mod schema;
pub(crate) mod server;
pub(crate) mod stores;
pub(crate) mod wire;
