//! `corelog debug`: what helps those who mend Corelog.

mod bundle;

use clap::Subcommand;

use crate::exit::Exit;

/// Collect what a maintainer needs to look into a fault.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Bundle(bundle::Args),
}

/// Does what the action says.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.action {
        Action::Bundle(args) => bundle::run(args),
    }
}
