//! `corelog bench`: throughput and latency of a server, measured from outside with the client.
//!
//! What runs here loads a server and counts; it knows nothing a user's program could not know.

mod consume;
mod produce;
mod rates;

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
}

/// Does what the action says.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.action {
        Action::Produce(args) => produce::run(args),
        Action::Consume(args) => consume::run(args),
    }
}
