//! `corelog doctor`: is this machine fit to serve, and what would mend it.

//!
//! Each check is read, then judged; the judging is a function of what was read alone.

mod check;
mod clock;
mod device;
pub(in crate::cmd) mod file_system;
mod kernel;
mod limits;
mod memory;
mod mount;
mod network;
mod place;
mod processors;
mod sync;

use std::path::{Path, PathBuf};

use corelog_node::sys::probe::{self, WriteCache};

use crate::config::cores_available;
use crate::exit::Exit;
use crate::output::{self, Out};

use check::Verdict;
use clock::Moment;

pub(crate) use check::Check;

/// Check if this machine is fit to serve, and say what would mend it.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Check if this machine is fit to serve, and say what would mend it.\n\n\
        Kernel, io_uring and who blocks it, locked memory, open files, memory, processors and their \
        governor, file system and mount options, device, sectors and write cache, free space, \
        the measured time of a write with fdatasync in the data directory and whether the disk \
        can have done it in that time, the congestion control, the clock. Each has a verdict (good, fair, bad) and, where \
        it is not good, the command that mends it. One bad ends with exit code 1.\n\n\
        Limits (locked memory, open files, file size) are those of the shell that it is typed in; what a \
        server that runs has stands in /proc/PID/limits.",
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
    let checks = checks(&args.data_dir)?;
    let mut out = Out::new();
    match args.output {
        output::Format::Table => {
            let rows = |check: &Check| {
                let verdict = check.verdict.as_str().to_owned();
                let found = [check.name.to_owned(), verdict, check.found.clone()];
                let mend = check.mend.as_ref().map(|mend| format!("-> {mend}"));
                let mend = mend.map(|mend| vec![String::new(), String::new(), mend]);
                [found.to_vec()].into_iter().chain(mend)
            };
            out.table(
                &["CHECK", "VERDICT", "FOUND -> WHAT MENDS IT"],
                checks.iter().flat_map(rows),
            )?;
        }
        output::Format::Json => checks.iter().try_for_each(|check| out.json(check))?,
    }
    out.flush()?;
    let is_bad = checks.iter().any(|check| check.verdict == Verdict::Bad);
    Ok(if is_bad { Exit::Failed } else { Exit::Done })
}

/// All that there is to check on this machine for a server with this data directory.
///
/// # Errors
/// If there is no directory at all to look at.
pub(crate) fn checks(data_dir: &Path) -> anyhow::Result<Vec<Check>> {
    let begun = Moment::now();
    let dir = file_system::nearest(data_dir)?;
    let mut checks = kernel::checks();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let cores = usize::from(cores_available());
    checks.extend(limits::checks(cores, processors));
    checks.push(memory::left(cores));
    checks.extend(processors::checks());
    checks.extend(disk(&dir));
    checks.extend(network::checks());
    checks.extend(clock::checks(begun));
    Ok(checks)
}

/// All checks of the disk that holds `dir`.
fn disk(dir: &Path) -> Vec<Check> {
    let device = probe::device(dir);
    let known = device.as_ref().ok().and_then(Option::as_ref);
    let cache = known.map_or(WriteCache::Unknown, |device| device.write_cache);
    let mut checks = vec![
        file_system::kind(&probe::data_directory(dir), dir),
        mount::options(mount::read(dir).as_ref(), cache),
    ];
    checks.extend(device::checks(&device));
    checks.push(file_system::room(&probe::space(dir), dir));
    let syncs = sync::measure(dir);
    checks.push(sync::time(&syncs, dir));
    if let (Ok(syncs), Some(device)) = (&syncs, known) {
        checks.push(sync::honesty(syncs, device));
    }
    checks
}
