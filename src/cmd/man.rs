//! `corelog man`: the manual pages, one for each subcommand.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::exit::Exit;

/// Write the manual pages to a directory.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "EXAMPLES\n  \
    corelog man /usr/local/share/man/man1\n  \
    mkdir man1 && corelog man man1 && man -l man1/corelog-topic-create.1")]
pub(crate) struct Args {
    /// The directory; it has to be there.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Writes `corelog.1`, `corelog-topic.1`, `corelog-topic-create.1` and so on.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let dir = args.dir.display();
    clap_mangen::generate_to(Cli::command(), &args.dir)
        .with_context(|| format!("cannot write manual pages to {dir}; is it a directory?"))?;
    Ok(Exit::Done)
}
