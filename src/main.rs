//! Corelog, server and command-line tool in one binary.
//!
//! This crate is wiring only: it reads the command line ([`cli`]), starts what it names ([`cmd`])
//! and turns the outcome into an exit code ([`exit`]). What a log is, how it is stored, sent and
//! served lives in the crates below it.

// Both end the process where nobody reads what is said: `exit::say` and `output::Out` do not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod admin;
mod advice;
mod allocator;
mod cli;
mod cmd;
mod config;
mod consent;
mod control_groups;
mod exit;
mod interrupt;
mod memory;
mod output;
mod partitions;
mod progress;
mod quantity;
mod repeats;
mod servers;
mod session;
mod side;
mod signal;
mod supervisor;
mod telemetry;
mod untold;

use std::process::ExitCode;

fn main() -> ExitCode {
    allocator::set_up();
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(error) => return exit::after_usage(&error),
    };
    exit::after(cmd::run(&cli.command))
}
