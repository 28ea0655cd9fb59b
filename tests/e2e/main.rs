//! A real server process, the real command line, a real disk: what a user sees. One module per
//! subject; each subcommand has at least one success and two failures, exit codes included.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod bundle;
mod chaos;
mod closed;
mod completions;
mod config;
mod consume;
mod copied;
mod descriptors;
mod doctor;
mod gone;
mod inspect;
mod kept;
mod long_poll;
mod next_steps;
mod offsets;
mod open_files;
mod partition;
mod parts;
mod pipes;
mod produce;
mod python_client;
mod reopen;
mod repair;
mod replicas;
mod retention;
mod round_trip;
mod routing;
mod schemas;
mod serve;
mod side;
mod stage;
mod stopped;
mod stores;
mod supervisor;
mod threads;
mod top;
mod topic;
mod tour;
mod truncate;
mod verify;
mod wire_retention;
mod wire_time;
mod wire_topics;
mod wire_unreadable;
