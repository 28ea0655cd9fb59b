//! `corelog doctor`: is this machine fit to serve, and what would mend it.

mod check;
mod disk;
mod kernel;
mod limits;

use std::path::PathBuf;

use crate::exit::Exit;
use crate::output::{self, Out};

use check::{Check, Verdict};

/// Check if this machine is fit to serve, and say what would mend it.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Check if this machine is fit to serve, and say what would mend it.\n\n\
        Kernel, io_uring, locked memory, open files, file system, free space, and the measured \
        time of a write with fdatasync in the data directory. Each has a verdict (good, fair, \
        bad) and, where it is not good, the command that mends it. One bad ends with exit code 1.",
    after_long_help = "EXAMPLES\n  \
        corelog doctor\n  \
        corelog doctor --data-dir /var/lib/corelog --output json"
)]
pub(crate) struct Args {
    /// Where topics are to be kept; the nearest directory above is measured if it is not there.
    #[arg(
        long,
        value_name = "DIR",
        env = "CORELOG_NODE_DATA_DIR",
        default_value = "./corelog-data"
    )]
    data_dir: PathBuf,
    /// How to print results on stdout.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    output: output::Format,
}

/// Prints a verdict per check.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut checks = kernel::checks();
    checks.extend(limits::checks());
    checks.extend(disk::checks(&args.data_dir)?);
    let mut out = Out::new();
    match args.output {
        output::Format::Table => {
            let row = |check: &Check| {
                let mend = check.mend.clone().unwrap_or_default();
                let verdict = check.verdict.as_str().to_owned();
                vec![check.name.to_owned(), verdict, check.found.clone(), mend]
            };
            out.table(
                &["CHECK", "VERDICT", "FOUND", "WHAT MENDS IT"],
                checks.iter().map(row),
            )?;
        }
        output::Format::Json => checks.iter().try_for_each(|check| out.json(check))?,
    }
    out.flush()?;
    let is_bad = checks.iter().any(|check| check.verdict == Verdict::Bad);
    Ok(if is_bad { Exit::Failed } else { Exit::Done })
}
