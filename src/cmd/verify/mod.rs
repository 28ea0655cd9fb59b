//! `corelog verify`: whether the files of a node are what was written, read without a server and
//! changing nothing.

mod live;
mod report;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use anyhow::Context as _;
use corelog_record::batch::{Records, View};
use corelog_storage::verify::{Checked, Hooks, StoreCheck, Survey, survey};
use indicatif::ProgressBar;

use crate::advice;
use crate::cmd::inspect::DECOMPRESSED_BYTES_MAX;
use crate::exit::{self, Exit, stop};
use crate::output::{self, ClosedPipe, Out};
use crate::progress;

use report::Report;

/// More than any machine has processors; each worker has a buffer.
const THREADS_MAX: i64 = 1_024;

/// Check the files of a node against their checksums, without a server.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Check the files of a node against all that is written down of them, without a \
        server and changing nothing.\n\n\
        PATH is a data directory, a topic's, a partition's, a snapshot, or one store (.log). Every \
        batch is checked by its checksum, every segment by the chain, the offsets and the length \
        that the manifest has of it, every index row by row, and manifests, marks, topic and node \
        files by theirs. Each finding says where it is, what was expected, what is there, and what \
        to do next. Damage or a difference ends with exit code 3; \
        otherwise what the disk or the system did not give, an unread file, with 1. Notes do not.\n\n\
        A server may be running: sealed segments are checked whole, the active one up to its \
        mark, and what the server removes or replaces meanwhile is no finding.\n\n\
        What is in the page cache is read from there, all else from the disk around it.",
    after_long_help = "EXAMPLES\n  \
        corelog verify corelog-data\n  \
        corelog verify corelog-data/topics/events/0 --deep\n  \
        corelog verify corelog-data/snapshots/monday --output json\n  \
        corelog verify 00000000000000000000.log"
)]
pub(crate) struct Args {
    /// What to check.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Decompress every batch and decode every record, too.
    #[arg(long)]
    deep: bool,
    /// How many processors to use; all of them, unless said otherwise.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=THREADS_MAX))]
    threads: Option<u16>,
    /// How to print results on stdout.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    output: output::Format,
}

/// Checks PATH.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let path = &args.path;
    let is_live = live::is_locked(path);
    let looked = survey(path, is_live).with_context(|| advice::cannot_look_at(path))?;
    let Some(mut survey) = looked else {
        let path = path.display();
        let message =
            format!("{path} is no file or directory of a node; see `corelog verify --help`");
        return Err(stop(Exit::Failed, message));
    };
    let mut report = Report::new(args.output, is_live, survey.partitions);
    let told = tell(args, &mut survey, &mut report);
    let found = match report.exit() {
        // What was not looked at is not sound.
        Exit::Done if told.is_err() => {
            if told.as_ref().is_err_and(exit::is_closed_pipe) {
                exit::say("not all was checked: the reader of the output has left");
            }
            Exit::Failed
        }
        found => found,
    };
    Ok(exit::of_found(found, told))
}

/// Tells what is found, while somebody reads it.
fn tell(args: &Args, survey: &mut Survey, report: &mut Report) -> anyhow::Result<()> {
    let mut out = Out::while_read();
    for finding in survey.findings.drain(..) {
        report.add(&finding, &mut out)?;
    }
    let started = Instant::now();
    let bar = progress::bytes(Some(survey.bytes()));
    let threads = args.threads.map_or_else(cores, usize::from);
    check(&survey.stores, args.deep, threads, &bar, |checked| {
        bar.suspend(|| report.take(checked, &mut out))
    })?;
    bar.finish_and_clear();
    let ended = report.end(survey.stores.len(), started.elapsed(), &mut out);
    match ended.and_then(|()| out.flush()) {
        // All was looked at.
        Err(error) if error.is::<ClosedPipe>() => Ok(()),
        ended => ended,
    }
}

/// Runs the checks, and hands over what each came to as it is done.
fn check(
    stores: &[StoreCheck],
    is_deep: bool,
    threads: usize,
    bar: &ProgressBar,
    mut take: impl FnMut(&Checked) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    let told = |bytes: u64| bar.inc(bytes);
    let hooks = Hooks {
        progress: &told,
        records: is_deep.then_some(&decode),
    };
    // While one waits for the disk, another computes.
    let workers = (2 * threads).min(stores.len());
    std::thread::scope(|scope| {
        let (sender, checks) = mpsc::sync_channel(2 * threads);
        for _ in 0..workers {
            let (sender, next, hooks) = (sender.clone(), &next, &hooks);
            scope.spawn(move || {
                while let Some(store) = stores.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // Nobody takes it any more: the reader of the output has left.
                    if sender.send(store.run(hooks)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        // By value: dropping the receiver on an error lets the workers end.
        checks.into_iter().try_for_each(|checked| take(&checked))
    })
}

/// Decodes every record of a batch.
fn decode(view: &View<'_>) -> Result<(), corelog_record::Error> {
    let bytes = view.decompress(DECOMPRESSED_BYTES_MAX)?;
    Records::over(&bytes, view).try_for_each(|record| record.map(drop))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}
