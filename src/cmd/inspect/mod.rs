//! `corelog inspect`: what the files of a node hold, read without a server and changing nothing.

mod files;
mod listing;
mod named;
mod node;
mod partition;
mod show;
mod tail;
mod torn;
mod walk;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use corelog_record::Offset;
use corelog_storage::snapshot::NAME;
use serde_json::Value;

use crate::exit::{self, Exit, say, stop};
use crate::output::{self, Out};
use crate::{advice, quantity};

use listing::{Lines, Listing, Of};
use show::Show;

/// The most that one batch may grow to when it is decompressed.
pub(super) const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// Show what the files of a node hold, without a server.
#[derive(clap::Args, Debug)]
#[command(
    group(clap::ArgGroup::new("list").args(["batches", "records"])),
    long_about = "Show what the files of a node hold, without a server and changing nothing.\n\n\
        PATH is a data directory, a topic's, a partition's, a snapshot's, or one file: a store (.log), an \
        index, a manifest, a mark, a topic, snapshot or node file. Of a snapshot, or an exported one, it is what its \
        summary says that it holds of each partition. What it reads is checked on the \
        way; damage is named and ends with exit code 3. Of a partition that is the manifest, and damage that it \
        remembers, the length of sealed stores, and the active one batch by batch; --batches and \
        --records read every batch, and go on behind those that are bad; `corelog verify` reads all. An end that a kill tore is no damage: those \
        bytes were never promised (but where the last that were have rotted since, which looks the same), and the next opening \
        of its log moves them to `quarantine/`. A server may be running: then the end of an \
        active store is what happens to be there, behind what its mark says is durable.",
    after_long_help = "EXAMPLES\n  \
        corelog inspect corelog-data\n  \
        corelog inspect corelog-data/topics/events/0\n  \
        corelog inspect corelog-data/topics/events/0 --records --from 100 --count 10\n  \
        corelog inspect corelog-data/topics/events/0/manifest\n  \
        corelog inspect /mnt/backup/monday                       # an exported snapshot\n  \
        corelog inspect corelog-data/topics/events/0/00000000000000000000.log --batches"
)]
pub(crate) struct Args {
    /// What to look at.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// List the batches.
    #[arg(long)]
    batches: bool,
    /// List the records.
    #[arg(long)]
    records: bool,
    /// Begin the list at this offset.
    #[arg(long, value_name = "OFFSET", value_parser = quantity::offset, default_value = "0", requires = "list")]
    from: Offset,
    /// End the list after so many lines.
    #[arg(long, value_name = "N", requires = "list")]
    count: Option<u64>,
    /// How to print results on stdout.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    output: output::Format,
}

/// Prints what PATH holds.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let kind = what(&args.path)?;
    let (faults, printed) = match listing(args) {
        Some(listing) => list(kind, &args.path, listing)?,
        None => {
            let (show, faults) = summarize(&kind, &args.path)?;
            let mut out = Out::new();
            let printed = show.print(args.output, &mut out);
            (faults, printed.and_then(|()| out.flush()))
        }
    };
    for fault in &faults {
        say(&format!("damaged: {fault}"));
    }
    let found = Exit::damage_if(!faults.is_empty());
    Ok(exit::of_found(found, printed))
}

/// What a directory or a small file of a node holds, and a sentence for each fault in it.
///
/// # Errors
/// If it is none, or cannot be read.
pub(crate) fn facts(path: &Path) -> anyhow::Result<(Value, Vec<String>)> {
    let (show, faults) = summarize(&what(path)?, path)?;
    Ok((show.to_json(), faults))
}

/// The headers of the last batches of a partition, as far as they are found until `deadline`; no record
/// is looked at.
///
/// # Errors
/// If its manifest or its last store cannot be read.
pub(crate) fn tail(
    partition: &Path,
    batches_max: usize,
    deadline: Instant,
) -> anyhow::Result<Value> {
    tail::tail(partition, batches_max, deadline)
}

/// What a path is, by its name and what lies in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Node,
    Snapshot,
    Topic,
    Partition,
    NodeFile,
    SnapshotFile,
    TopicFile,
    Manifest,
    Mark,
    Store,
    Index,
}

fn what(path: &Path) -> anyhow::Result<What> {
    let cannot = || advice::cannot_look_at(path);
    let found = std::fs::metadata(path);
    let is_absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    if found.as_ref().is_err_and(is_absent)
        && let Some(why) = files::gone(path)
    {
        return Err(stop(Exit::Damage, why));
    }
    if found.with_context(cannot)?.is_dir() {
        let what = what_directory(path).with_context(cannot)?;
        return what.ok_or_else(|| match files::gone(path) {
            Some(why) => stop(Exit::Damage, why),
            None => unknown(path),
        });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match (
        name.as_ref(),
        path.extension().and_then(|extension| extension.to_str()),
    ) {
        ("manifest", _) => Ok(What::Manifest),
        ("mark", _) => Ok(What::Mark),
        ("topic", _) => Ok(What::TopicFile),
        (NAME, _) => Ok(What::SnapshotFile),
        ("node", _) => Ok(What::NodeFile),
        (_, Some("log")) => Ok(What::Store),
        (_, Some("index")) => Ok(What::Index),
        _ => Err(unknown(path)),
    }
}

/// What a directory is, if it is anything of a node's. One that may not be looked into is not nothing.
fn what_directory(path: &Path) -> io::Result<Option<What>> {
    for (name, what) in [
        ("manifest", What::Partition),
        ("topic", What::Topic),
        (NAME, What::Snapshot),
        ("node", What::Node),
        ("topics", What::Node),
    ] {
        if path.join(name).try_exists()? {
            return Ok(Some(what));
        }
    }
    Ok(files::holds_stores(path)?.then_some(What::Partition))
}

fn unknown(path: &Path) -> anyhow::Error {
    let path = path.display();
    stop(
        Exit::Failed,
        format!("{path} is no file or directory of a node; see `corelog inspect --help`"),
    )
}

fn summarize(kind: &What, path: &Path) -> anyhow::Result<(Show, Vec<String>)> {
    match kind {
        What::Node => node::node(path),
        What::Snapshot => files::snapshot(&path.join(NAME)),
        What::Topic => node::topic(path),
        What::Partition => partition::summarize(path),
        What::NodeFile => files::node(path),
        What::SnapshotFile => files::snapshot(path),
        What::TopicFile => files::topic(path),
        What::Manifest => files::manifest(path),
        What::Mark => files::mark(path),
        What::Index => files::index(path),
        What::Store => partition::summarize_store(path),
    }
}

fn listing(args: &Args) -> Option<Listing> {
    let of = if args.records {
        Of::Records
    } else if args.batches {
        Of::Batches
    } else {
        return None;
    };
    Some(Listing {
        of,
        from: args.from,
        count: args.count,
        format: args.output,
    })
}

/// What was found on the way, and whether all of it was listed and printed.
fn list(
    kind: What,
    path: &Path,
    listing: Listing,
) -> anyhow::Result<(Vec<String>, anyhow::Result<()>)> {
    let list = match kind {
        What::Partition => partition::list,
        What::Store => partition::list_store,
        _ => {
            let message = "only a partition or a store has batches and records to list";
            return Err(stop(Exit::Usage, message));
        }
    };
    let mut out = Out::while_read();
    let mut lines = Lines::new(listing, &mut out);
    let mut faults = Vec::new();
    let listed = list(path, &mut lines, &mut faults);
    let printed = lines.end().and_then(|()| out.flush());
    Ok((faults, listed.and(printed)))
}
