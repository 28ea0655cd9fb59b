//! One file per subcommand: what it takes (`Args`), then what it does (`run`).
//!
//! A command is straight code over the crates below: clients over `corelog-client`, the server over
//! `corelog-node`, offline tools over `corelog-storage`. It decides nothing about logs itself. Its
//! law: data goes to stdout, all else to stderr, and the exit code says how it ended.

pub(crate) mod bench;
pub(crate) mod clone;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod consume;
pub(crate) mod debug;
pub(crate) mod doctor;
pub(crate) mod handover;
pub(crate) mod inspect;
pub(crate) mod man;
pub(crate) mod offsets;
pub(crate) mod partition;
pub(crate) mod produce;
pub(crate) mod promote;
pub(crate) mod rejoin;
pub(crate) mod repair;
pub(crate) mod restore;
pub(crate) mod scrub;
pub(crate) mod serve;
pub(crate) mod snapshot;
pub(crate) mod top;
pub(crate) mod topic;
pub(crate) mod truncate;
pub(crate) mod verify;

use crate::cli::Command;
use crate::exit::Exit;

/// Does what the command line asked for.
pub(crate) fn run(command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Serve(args) => serve::run(args),
        Command::Topic(args) => topic::run(args),
        Command::Produce(args) => produce::run(args),
        Command::Consume(args) => consume::run(args),
        Command::Offsets(args) => offsets::run(args),
        Command::Truncate(args) => truncate::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Partition(args) => partition::run(args),
        Command::Snapshot(args) => snapshot::run(args),
        Command::Restore(args) => restore::run(args),
        Command::Clone(args) => clone::run(args),
        Command::Promote(args) => promote::run(args),
        Command::Handover(args) => handover::run(args),
        Command::Rejoin(args) => rejoin::run(args),
        Command::Scrub(args) => scrub::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Repair(args) => repair::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Debug(args) => debug::run(args),
        Command::Config(args) => config::run(args),
        Command::Top(args) => top::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    }
}
