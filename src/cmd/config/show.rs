//! `corelog config show`: what holds, and who said so.

use crate::cmd::serve::fit;
use crate::config::{Flags, Key, Sources};
use crate::exit::Exit;
use crate::output::{Format, Out};

/// Show what each setting of a server is, and who said so.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Show what each setting of a server is, and who said so.\n\n\
        Takes the options of `corelog serve`, reads the same file and environment, and starts \
        nothing. ORIGIN is default, file, environment or flag, PLACE the line, the variable or \
        the option. Settings that `corelog serve` would refuse end with 2.",
    after_long_help = "EXAMPLES\n  \
        corelog config show\n  \
        corelog config show --config /etc/corelog/corelog.toml\n  \
        corelog config show --config corelog.toml --cores 4 --output json"
)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: Flags,
    /// How to print results on stdout.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Format,
}

/// Prints a row per setting.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let settings = Sources::new(&args.flags).decide(fit::faults)?;
    let mut out = Out::new();
    match args.output {
        Format::Table => {
            let rows = Key::all().map(|key| super::row(&settings, key));
            out.table(&super::HEADERS, rows)?;
        }
        Format::Json => out.json(&super::objects(&settings, Key::all()))?,
    }
    out.flush()?;
    Ok(Exit::Done)
}
