//! `corelog topic`: create, list, describe, change and delete topics.

mod add_partitions;
mod alter;
pub(crate) mod closed;
mod create;
mod delete;
pub(crate) mod describe;
mod followers;
mod forget_follower;
mod list;
pub(crate) mod owner;
pub(crate) mod policy;
pub(crate) mod state;

use clap::Subcommand;

use crate::exit::Exit;

/// Create, list, describe, change and delete topics.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Create(create::Args),
    List(list::Args),
    Describe(describe::Args),
    Alter(alter::Args),
    AddPartitions(add_partitions::Args),
    ForgetFollower(forget_follower::Args),
    Delete(delete::Args),
}

/// Does what the action says.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.action {
        Action::Create(args) => create::run(args),
        Action::List(args) => list::run(args),
        Action::Describe(args) => describe::run(args),
        Action::Alter(args) => alter::run(args),
        Action::AddPartitions(args) => add_partitions::run(args),
        Action::ForgetFollower(args) => forget_follower::run(args),
        Action::Delete(args) => delete::run(args),
    }
}
