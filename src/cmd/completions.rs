//! `corelog completions`: completion of the command line for a shell.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::Exit;
use crate::output::Out;

/// Print completions for a shell.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "EXAMPLES\n  \
    corelog completions bash > /etc/bash_completion.d/corelog\n  \
    corelog completions zsh > \"${fpath[1]}/_corelog\"\n  \
    corelog completions fish > ~/.config/fish/completions/corelog.fish")]
pub(crate) struct Args {
    /// The shell.
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// Prints the script for `args.shell`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "corelog", &mut script);
    let mut out = Out::new();
    out.bytes(&script)?;
    out.flush()?;
    Ok(Exit::Done)
}
