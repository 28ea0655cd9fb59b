//! `corelog config check`: whether a file can be meant.

use std::path::PathBuf;

use crate::cmd::serve::fit;
use crate::config::{Key, Sources};
use crate::exit::Exit;
use crate::output::{Format, Out};

/// Check a configuration file, and show what it would change.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Check a configuration file, and show what it would change.\n\n\
        Every key, every value, and how they fit together, as `corelog serve --config FILE` would \
        in this environment: variables CORELOG_NODE_… win over the file here too. Prints what \
        is not at its default. A file that is wrong ends with 2, and every line that is wrong is \
        named, and whatever does not fit together. Neither the machine nor the data directory is looked at: that is `corelog doctor`.",
    after_long_help = "EXAMPLES\n  \
        corelog config check /etc/corelog/corelog.toml && systemctl reload corelog\n  \
        corelog config check corelog.toml --output json"
)]
pub(crate) struct Args {
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How to print results on stdout.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Format,
}

/// Prints a row per setting that somebody said.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let settings = Sources::of_file(&args.file).decide(fit::faults)?;
    let said: Vec<Key> = Key::all().filter(|key| settings.is_said(*key)).collect();
    let mut out = Out::new();
    match args.output {
        Format::Table if said.is_empty() => out.line("good: every setting is at its default")?,
        Format::Table => {
            let rows = said.iter().map(|key| super::row(&settings, *key));
            out.table(&super::HEADERS, rows)?;
            out.line("good: all else is at its default")?;
        }
        Format::Json => out.json(&super::objects(&settings, said))?,
    }
    out.flush()?;
    Ok(Exit::Done)
}
