//! `corelog bench`: throughput and latency of a server, measured from outside with the client.
//!
//! What runs here loads a server and counts; it knows nothing a user's program could not know.

mod consume;
mod probe;
mod produce;
mod rates;
mod seek;

use clap::Subcommand;

use crate::exit::Exit;

/// Measure a server's throughput and latency.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Produce(produce::Args),
    Consume(consume::Args),
    Probe(probe::Args),
    Seek(seek::Args),
}

/// Does what the action says.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.action {
        Action::Produce(args) => produce::run(args),
        Action::Consume(args) => consume::run(args),
        Action::Probe(args) => probe::run(args),
        Action::Seek(args) => seek::run(args),
    }
}
