//! `corelog snapshot export`: a snapshot copied elsewhere, every byte verified on the way.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use corelog_storage::Error;
use corelog_storage::disk::std::{Lock, StdDir, beside};
use corelog_storage::disk::{ASIDE_SUFFIX, Dir as _, block_on};
use corelog_storage::format::node::{NODE, SNAPSHOTS, TOPICS};
use corelog_storage::snapshot::{self, Name};
use serde_json::json;

use crate::cmd::doctor::file_system::free;
use crate::exit::{self, Exit, stop};
use crate::output::{Format, Out};
use crate::progress;
use crate::quantity::Amount;

/// Copy a snapshot out of a data directory, verified on the way.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Copy a snapshot out of a data directory, verified on the way.\n\n\
        Runs on the node's machine and reads its files; the node may serve meanwhile. The copy is \
        a snapshot only once it is whole, and `corelog restore DEST` reads it; what an interrupted one left is \
        told as that. DEST lies outside of any data directory. Ends with 3 if a byte is not what it was.",
    after_long_help = "EXAMPLES\n  \
        corelog snapshot export monday /mnt/backup/monday\n  \
        corelog snapshot export monday /mnt/backup/monday --data-dir /var/lib/corelog"
)]
pub(super) struct Args {
    /// The snapshot's name.
    #[arg(value_name = "NAME", value_parser = super::name)]
    name: Name,
    /// Where to; it must not be there yet, or be empty.
    #[arg(value_name = "DEST")]
    target: PathBuf,
    /// The node's data directory.
    #[arg(
        long,
        value_name = "DIR",
        env = "CORELOG_NODE_DATA_DIR",
        default_value = "./corelog-data"
    )]
    data_dir: PathBuf,
    /// How to print the result on stdout.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Format,
}

/// Copies it and prints how much there was.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    check_outside(&args.data_dir, &args.target)?;
    let data_dir = std::path::absolute(&args.data_dir)?;
    let snapshots = StdDir::new(data_dir).child(SNAPSHOTS);
    let source = snapshots.child(args.name.as_str());
    let target = StdDir::new(std::path::absolute(&args.target)?);
    let summary = block_on(snapshot::find(&snapshots, &args.name)).map_err(told)?;
    let partitions = summary.topics.iter().flat_map(|topic| &topic.partitions);
    let bytes = partitions.map(|partition| partition.bytes).sum();
    check_fits(bytes, &args.target)?;
    let bar = progress::bytes(Some(bytes));
    let _writing = claim(&target)?;
    let begun = Instant::now();
    let exported = beside::block_on(snapshot::export(&source, &target, &mut |bytes| {
        bar.inc(bytes);
    }));
    bar.finish_and_clear();
    let exported = exported.map_err(|error| match error {
        Error::Occupied { .. } if is_unfinished(&args.target) => unfinished(&args.target),
        error => told(error),
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    show(args, &target_path(&args.target), &exported, seconds)
}

/// Checks that there is room for all of it, before any is taken from whoever else writes there. Where it is not known what is
/// free, a full disk tells.
fn check_fits(bytes: u64, target: &Path) -> anyhow::Result<()> {
    // The export tells of what is there already, which may be what takes the room.
    let is_taken = std::fs::read_dir(target).is_ok_and(|mut there| there.next().is_some());
    let Some((free, is_all)) = free(target).filter(|_| !is_taken) else {
        return Ok(());
    };
    let at = target_path(target);
    let told = format!("{bytes} bytes are to be copied, and there are {free} free at {at}");
    match is_all {
        _ if bytes <= free => Ok(()),
        true => {
            let next = "free some space, or name a place on another disk (see --help)";
            Err(stop(Exit::Failed, format!("{told}; {next}")))
        }
        false => {
            exit::say(&format!("{told}: they may not fit"));
            Ok(())
        }
    }
}

/// Keeps other exports off a directory: of two that find it empty, one would clear away what the other one has written.
fn claim(target: &StdDir) -> anyhow::Result<Option<Lock>> {
    if block_on(target.create_all()).is_err() {
        // The export tells what is in its way.
        return Ok(None);
    }
    match target.lock() {
        Ok(None) => {
            let at = target.path().display();
            let message = format!(
                "another export writes to {at}: wait until it is done, or name another directory (see --help)"
            );
            Err(stop(Exit::Failed, message))
        }
        Ok(lock) => Ok(lock),
        // A file system that locks no directories, as NFS, can hold a copy all the same.
        Err(_) => Ok(None),
    }
}

fn show(
    args: &Args,
    target: &str,
    exported: &snapshot::Exported,
    seconds: f64,
) -> anyhow::Result<Exit> {
    let topics = exported.summary.topics.len();
    let mut out = Out::new();
    match args.output {
        Format::Table => out.facts([
            ("snapshot", args.name.to_string()),
            ("copy", target.to_owned()),
            ("topics", topics.to_string()),
            ("segments", exported.segments.to_string()),
            ("bytes", Amount(exported.bytes).to_string()),
            ("seconds", format!("{seconds:.3}")),
        ])?,
        Format::Json => out.json(&json!({
            "name": args.name.as_str(),
            "target": target,
            "topics": topics,
            "segments": exported.segments,
            "bytes": exported.bytes,
            "seconds": seconds,
        }))?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn target_path(target: &Path) -> String {
    let absolute = std::path::absolute(target);
    absolute.as_deref().unwrap_or(target).display().to_string()
}

/// An error with what to do next, where that is known.
fn told(error: Error) -> anyhow::Error {
    let next = match error {
        Error::NoSnapshot { .. } => {
            "`corelog snapshot list` shows those that there are, --data-dir says where"
        }
        Error::Occupied { .. } => "name a directory that is not there yet (see --help)",
        error => {
            let error = anyhow::Error::new(error);
            if exit::of(&error) != Exit::Damage {
                return error;
            }
            let next = "`corelog snapshot list` shows which can be read: export another one";
            return stop(Exit::Damage, format!("{}; {next}", exit::sentence(&error)));
        }
    };
    stop(Exit::Failed, format!("{error}; {next}"))
}

/// A copy in a node's directory would share its fate, and a file that is not the node's may be in its way.
fn check_outside(data_dir: &Path, target: &Path) -> anyhow::Result<()> {
    let (data_dir, target) = (resolved(data_dir)?, resolved(target)?);
    let is_node =
        |dir: &&Path| *dir == data_dir || dir.join(NODE).is_file() && dir.join(TOPICS).is_dir();
    let Some(node) = target.ancestors().find(is_node) else {
        return Ok(());
    };
    let message = format!(
        "{} lies in the data directory {} of a node; name a place outside of it, best on another disk (see --help)",
        target.display(),
        node.display()
    );
    Err(stop(Exit::Usage, message))
}

/// A path without links, as far as it is there.
fn resolved(path: &Path) -> anyhow::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let there = path
        .ancestors()
        .find_map(|dir| Some((dir, dir.canonicalize().ok()?)));
    Ok(match there {
        Some((dir, resolved)) if dir == path => resolved,
        Some((dir, resolved)) => resolved.join(path.strip_prefix(dir)?),
        None => path,
    })
}

/// Whether a directory holds nothing but what an export writes before its last file, which makes it a snapshot.
pub(in crate::cmd) fn is_unfinished(target: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(target) else {
        return false;
    };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
    let Ok(names) = names.collect::<Result<Vec<_>, _>>() else {
        return false;
    };
    let is_topics = |name: &OsString| name == TOPICS;
    let is_begun = |name: &OsString| name.to_string_lossy().ends_with(ASIDE_SUFFIX);
    names.iter().any(is_topics) && names.iter().all(|name| is_topics(name) || is_begun(name))
}

fn unfinished(target: &Path) -> anyhow::Error {
    let target = target_path(target);
    // A path has no NUL, which is all that cannot be quoted.
    let remove = match shlex::try_quote(&target) {
        Ok(quoted) => format!("remove it with `rm -r -- {quoted}`"),
        Err(_) => "remove it".to_owned(),
    };
    let message = format!(
        "{target} holds an export that did not come to its end, and is no snapshot: {remove} and ask again, or name another \
         directory (see --help)"
    );
    stop(Exit::Failed, message)
}
