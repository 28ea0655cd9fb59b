//! A manifest and indexes from what the stores tell, without a server.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use corelog_record::PartitionId;
use corelog_storage::disk::block_on;
use corelog_storage::disk::std::{StdDir, read_file};
use corelog_storage::format::node::{NODE, TOPIC};
use corelog_storage::format::topic::Topic;
use corelog_storage::log::INDEX_INTERVAL_BYTES;
use corelog_storage::repair::{Known, Plan, Refusal, Step, plan};
use nix::unistd::{Uid, User, geteuid};
use serde_json::{Value, json};

use crate::cli::Consent;
use crate::consent::Decision;
use crate::exit::{self, Exit, say, sentence, stop};
use crate::output::{Format, Out};
use crate::{advice, consent, progress};

/// Repairs the partition in `dir`, or all of the topic in it.
pub(super) fn run(dir: &Path, consent: Consent, format: Format) -> anyhow::Result<Exit> {
    let _lock = lock(dir)?;
    let mut out = Out::new();
    let mut plans = Vec::new();
    let mut exit = Exit::Done;
    let partitions = partitions(dir)?;
    for partition in &partitions {
        check_user(partition, geteuid())?;
    }
    let bytes = partitions.iter().map(|partition| store_bytes(partition));
    let bar = progress::bytes(Some(bytes.sum()));
    for partition in partitions {
        let known = known(&partition)?;
        let mut told = |bytes| bar.inc(bytes);
        match block_on(plan(StdDir::new(&partition), known, &mut told)) {
            Ok(plan) => {
                show(&partition, &plan, format, &mut out)?;
                plans.extend(Some((partition, plan)).filter(|(_, plan)| !plan.is_empty()));
            }
            Err(refusal) => {
                let refused = refused(refusal);
                exit = exit.graver(exit::of(&refused));
                bar.suspend(|| show_refusal(&partition, &refused, format, &mut out))?;
            }
        }
    }
    bar.finish_and_clear();
    let printed = out.flush();
    if plans.is_empty() || printed.is_err() {
        return Ok(exit::of_found(exit, printed));
    }
    let does = format!("writes files of {} partitions anew", plans.len());
    let repaired = match consent::ask_to(consent, &does, "repaired") {
        Ok(Decision::Do) => plans.into_iter().map(repair).collect(),
        Ok(Decision::Leave) => Vec::new(),
        Err(denied) => vec![Err(denied)],
    };
    // One that is not repaired keeps no other one from being.
    Ok(exit::after_all([Ok(exit)].into_iter().chain(repaired)))
}

fn repair((partition, plan): (PathBuf, Plan<StdDir>)) -> anyhow::Result<Exit> {
    let path = partition.display();
    block_on(plan.run()).with_context(|| format!("cannot repair {path}"))?;
    say(&format!("repaired {path}"));
    Ok(Exit::Done)
}

/// Refuses to write for another user than the one whom a partition belongs to. That is who serves it, and could not change
/// what is made here: root may write anywhere, and what it makes is root's.
fn check_user(partition: &Path, user: Uid) -> anyhow::Result<()> {
    let path = partition.display();
    let found = partition.metadata();
    let owner = found
        .with_context(|| advice::cannot_look_at(partition))?
        .uid();
    let owner = Uid::from_raw(owner);
    if owner == user {
        return Ok(());
    }
    let known = User::from_uid(owner).ok().flatten();
    let name = known.map_or_else(|| format!("'#{owner}'"), |known| known.name);
    let message = format!(
        "{path} belongs to {name}, and this runs as another user, whose files its server could not write; repair it as \
         its owner: `sudo -u {name} corelog repair --dir {path}`"
    );
    Err(stop(Exit::Denied, message))
}

/// A refusal that knows its exit code: what the disk or the system refused is no damage.
fn refused(refusal: Refusal) -> anyhow::Error {
    match refusal {
        Refusal::Disk(error) => anyhow::Error::new(error),
        refusal => stop(Exit::Damage, sentence(&anyhow::Error::new(refusal))),
    }
}

/// Keeps servers out while these live, and programs that have the log in them.
fn lock(dir: &Path) -> anyhow::Result<Vec<File>> {
    let dir = dir
        .canonicalize()
        .with_context(|| advice::cannot_look_at(dir))?;
    // An embedded log locks the directory above its files; nobody does so of a topic's.
    let above = dir.parent().unwrap_or(&dir);
    let opened = File::open(above);
    let opened = opened.with_context(|| format!("cannot open {}", above.display()))?;
    let mut locks = vec![locked(opened, "a program", above)?];
    for above in dir.ancestors().take(DEPTH_MAX) {
        let path = above.join(NODE);
        // A topic may have this name: its directory locks nothing.
        if path.metadata().is_ok_and(|found| !found.is_file()) {
            continue;
        }
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot open {}", path.display()));
            }
        };
        locks.push(locked(file, "a server", above)?);
        break;
    }
    Ok(locks)
}

fn locked(file: File, who: &str, dir: &Path) -> anyhow::Result<File> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = format!("{who} has {} in use: stop it first", dir.display());
            Err(stop(Exit::Failed, message))
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", dir.display()))
        }
    }
}

/// The partitions below a topic's directory; the directory itself, if it is a partition's, which has no others in it.
fn partitions(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut numbered = Vec::new();
    let cannot = || format!("cannot list {}", dir.display());
    for entry in std::fs::read_dir(dir).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        numbered.extend(number(&path).filter(|_| path.is_dir()).map(|n| (n, path)));
    }
    match dir.join(TOPIC).exists() {
        true => {}
        false if numbered.is_empty() => return Ok(vec![dir.to_owned()]),
        false => {
            let path = dir.join(TOPIC);
            let message = format!(
                "{} is gone, which tells what topic this is, and no repair makes it anew: put it back, as `corelog verify` \
                 says; or name one partition's directory with --dir",
                path.display()
            );
            return Err(stop(Exit::Damage, message));
        }
    }
    numbered.sort();
    Ok(numbered.into_iter().map(|(_, path)| path).collect())
}

/// How much there is to read of the partition in `dir`, for the bar alone.
fn store_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let stores = files.filter(|file| file.path().extension().is_some_and(|end| end == "log"));
    let bytes = stores.filter_map(|store| Some(store.metadata().ok()?.len()));
    bytes.sum()
}

/// What is known of the partition in `dir` by its place.
fn known(dir: &Path) -> anyhow::Result<Known> {
    let dir = dir.canonicalize()?;
    let topic = dir.parent().map(|parent| parent.join(TOPIC));
    let topic = match topic.as_deref().map(read_file) {
        Some(Ok(bytes)) => {
            let path = topic.unwrap_or_default();
            let damaged = |error| stop(Exit::Damage, format!("{}: {error}", path.display()));
            Some(Topic::decode(&bytes).map_err(damaged)?)
        }
        _ => None,
    };
    Ok(Known {
        topic: topic.map(|topic| topic.id),
        partition: number(&dir).map(PartitionId::new),
        now: corelog_client::now(),
        seed: fastrand::u64(..),
        interval_bytes: INDEX_INTERVAL_BYTES,
    })
}

fn number(dir: &Path) -> Option<u32> {
    dir.file_name()?.to_str()?.parse().ok()
}

fn show(
    partition: &Path,
    plan: &Plan<StdDir>,
    format: Format,
    out: &mut Out,
) -> anyhow::Result<()> {
    let path = partition.display().to_string();
    if format == Format::Json {
        let steps: Vec<Value> = plan.steps().iter().map(in_json).collect();
        return out.json(&json!({ "partition": path, "steps": steps, "refused": null }));
    }
    out.line(&path)?;
    let mut steps = plan.steps().iter();
    steps.try_for_each(|step| out.line(&format!("  {}", in_words(step))))?;
    match plan.is_empty() {
        true => out.line("  nothing to repair"),
        false => Ok(()),
    }
}

fn show_refusal(
    partition: &Path,
    refused: &anyhow::Error,
    format: Format,
    out: &mut Out,
) -> anyhow::Result<()> {
    let (path, why) = (partition.display(), sentence(refused));
    match format {
        Format::Json => out.json(&json!({
            "partition": path.to_string(),
            "steps": [],
            "refused": why,
        })),
        Format::Table => {
            say(&format!("corelog: {path}: {why}"));
            Ok(())
        }
    }
}

fn in_words(step: &Step) -> String {
    match step {
        Step::Manifest {
            segments,
            log_start,
            end,
        } => format!("writes a manifest of {segments} segments, from {log_start} to {end}"),
        Step::Index { file } => format!("writes {file}"),
        Step::Displace { file, to, reason } => format!("renames {file} to {to}: {reason}"),
        Step::Mark { epoch } => format!("writes a mark: epochs up to {epoch} were used"),
        Step::Unreadable {
            file,
            position,
            error,
        } => format!("takes {file} at position {position} for damaged, it cannot be read: {error}"),
        Step::Unknown(what) => format!("not known: {what}"),
        _ => "does something that this program cannot name".to_owned(),
    }
}

fn in_json(step: &Step) -> Value {
    match step {
        Step::Manifest {
            segments,
            log_start,
            end,
        } => json!({
            "step": "manifest",
            "segments": segments,
            "log_start": log_start.get(),
            "end": end.get(),
        }),
        Step::Index { file } => json!({ "step": "index", "file": file }),
        Step::Displace { file, to, reason } => {
            json!({ "step": "displace", "file": file, "to": to, "reason": reason })
        }
        Step::Mark { epoch } => json!({ "step": "mark", "epoch": epoch.get() }),
        Step::Unreadable {
            file,
            position,
            error,
        } => {
            json!({ "step": "unreadable", "file": file, "position": position, "error": error })
        }
        Step::Unknown(what) => json!({ "step": "unknown", "what": what }),
        _ => json!({ "step": "other" }),
    }
}

/// From a partition up to the data directory: topic, topics, data.
const DEPTH_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use corelog_storage::wal::{self, Wal};

    /// The manifest was replaced under a program that went on to write the old one.
    #[test]
    fn a_log_that_a_program_has_open_is_not_repaired() {
        let dir = tempfile::tempdir().unwrap();
        let (wal, _) = Wal::open(dir.path(), wal::Options::default()).unwrap();
        std::fs::create_dir_all(dir.path().join("log")).unwrap();
        let refused = lock(&dir.path().join("log")).unwrap_err();
        assert!(refused.to_string().contains("in use"), "{refused}");
        drop(wal);
        lock(&dir.path().join("log")).unwrap();
    }

    /// It was taken for a partition, whose directory was to be put back into its topic's.
    #[test]
    fn a_topic_that_has_lost_its_file_is_told_as_that() {
        let dir = tempfile::tempdir().unwrap();
        let partition = dir.path().join("0");
        assert_eq!(partitions(dir.path()).unwrap(), [dir.path()]);
        std::fs::create_dir(&partition).unwrap();
        let refused = partitions(dir.path()).unwrap_err();
        assert_eq!(exit::of(&refused), Exit::Damage);
        assert!(refused.to_string().contains("is gone"), "{refused}");
        std::fs::write(dir.path().join(TOPIC), "").unwrap();
        assert_eq!(partitions(dir.path()).unwrap(), [partition]);
    }

    /// Typed as root it left a manifest of root's, and the server did not open the partition for want of permission.
    #[test]
    fn only_the_owner_of_a_partition_repairs_it() {
        let dir = tempfile::tempdir().unwrap();
        let owner = Uid::from_raw(dir.path().metadata().unwrap().uid());
        check_user(dir.path(), owner).unwrap();
        let other = Uid::from_raw(owner.as_raw() + 1);
        let refused = check_user(dir.path(), other).unwrap_err();
        assert_eq!(exit::of(&refused), Exit::Denied);
        let said = refused.to_string();
        assert!(
            said.contains("`sudo -u ") && said.contains(" corelog repair --dir "),
            "{said}"
        );
    }
}
