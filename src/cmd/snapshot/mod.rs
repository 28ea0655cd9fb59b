//! `corelog snapshot …`: the records as they are now, kept.
//!
//! ```text
//! create list delete   over a server
//! export               offline: copies one out of a data directory, verified
//! show                 snapshots as they are printed
//! ```

mod create;
mod delete;
pub(super) mod export;
mod list;
mod show;

use clap::Subcommand;
use corelog_storage::snapshot::Name;

use crate::exit::{Exit, sentence};

/// Take, list, delete and export snapshots.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Take, list, delete and export snapshots.\n\n\
        A snapshot keeps the records of topics as they are when it is taken. It costs no copy: \
        every file gets a second name, and files that an earlier snapshot holds are the same \
        files. So it is no second copy either: a disk that fails takes both. `export` makes one, \
        `restore` makes a topic of one.",
    after_long_help = "EXAMPLES\n  \
        corelog snapshot create monday\n  \
        corelog snapshot list\n  \
        corelog snapshot export monday /mnt/backup/monday --data-dir /var/lib/corelog\n  \
        corelog restore monday --topic events-on-monday --from-topic events"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Create(create::Args),
    List(list::Args),
    Delete(delete::Args),
    Export(export::Args),
}

/// A snapshot's name, or all that is wrong with it.
fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|error| sentence(&error.into()))
}

/// Does what the action says.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.action {
        Action::Create(args) => create::run(args),
        Action::List(args) => list::run(args),
        Action::Delete(args) => delete::run(args),
        Action::Export(args) => export::run(args),
    }
}
