//! The snapshots of a node: which there are, how one comes and how one goes.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::rc::Rc;

use corelog_record::{PartitionId, TopicName};

use super::{NAME, Name, Summary};
use crate::Error;
use crate::disk::{ASIDE_SUFFIX, Dir, File, Open, write_whole};
use crate::error::At;
use crate::format::Error::NoSummary;
use crate::format::node::{TOPIC, TOPICS};
use crate::format::snapshot::FILE_BYTES_MAX;
use crate::steps;

/// A snapshot on the shelf.
#[derive(Debug)]
pub struct Entry {
    /// Its name: that of the directory.
    pub name: Name,
    /// What it holds, or why nobody can tell.
    pub summary: Result<Summary, Error>,
}

/// The directory of a partition within the snapshot `dir`.
pub fn partition_dir<D: Dir>(dir: &D, topic: &TopicName, partition: PartitionId) -> D {
    topic_dir(dir, topic).child(&partition.to_string())
}

/// The directory of a topic within the snapshot `dir`.
pub(super) fn topic_dir<D: Dir>(dir: &D, topic: &TopicName) -> D {
    dir.child(TOPICS).child(topic.as_str())
}

/// Makes the directory `dir` of a snapshot, in one that is there, with what says that it is not finished; it is durable
/// before anything is linked. What an unfinished one left there goes.
///
/// # Errors
/// [`Error::StorageFull`]; any error of the disk.
pub async fn begin<D: Dir>(dir: &D) -> Result<(), Error> {
    remove_rest(dir).await?;
    steps::create(dir).await?;
    let (name, at) = (unfinished(), || At::new(dir, NAME));
    let made = dir.open(&name, Open::Create).await;
    let made = Rc::new(made.map_err(|e| at().space("create", e))?);
    made.close().await.map_err(|e| at().io("close", e))?;
    steps::sync(dir).await
}

/// Makes the snapshot in `dir`, whose partitions are linked or copied, one: writes the files of its
/// topics, then, as the last thing, its summary. All is durable afterwards.
///
/// # Errors
/// [`Error::StorageFull`]; any error of the disk; [`Error::Format`] for more partitions than a
/// summary has room for. There is then no snapshot yet.
pub async fn commit<D: Dir>(dir: &D, summary: &Summary) -> Result<(), Error> {
    let bytes = summary.encode();
    let bytes = bytes.map_err(|e| At::new(dir, NAME).format(e))?;
    steps::create_all(dir).await?;
    for topic in &summary.topics {
        let home = topic_dir(dir, &topic.name);
        steps::create_all(&home).await?;
        steps::write(&home, TOPIC, &topic.settings).await?;
    }
    finish(dir, &bytes).await
}

/// Writes the summary over what says that it is not finished, which so is there until it takes its name.
async fn finish<D: Dir>(dir: &D, summary: &[u8]) -> Result<(), Error> {
    let (name, at) = (unfinished(), || At::new(dir, NAME));
    let opened = match dir.open(&name, Open::Write).await {
        Err(error) if error.kind() == ErrorKind::NotFound => dir.open(&name, Open::Create).await,
        opened => opened,
    };
    let file = Rc::new(opened.map_err(|e| at().space("create", e))?);
    let written = write_whole(dir, &*file, summary).await;
    let closed = file.close().await;
    let written = written.and(closed);
    written.map_err(|e| at().space("write", e))?;
    steps::rename(dir, &name, NAME).await?;
    steps::sync(dir).await
}

/// What the snapshot in `dir` holds, wherever that is. Only its summary is read.
///
/// # Errors
/// [`Error::NoSnapshot`] without one, [`Error::Format`] for one that cannot be trusted; any error
/// of the disk.
pub async fn open<D: Dir>(dir: &D) -> Result<Summary, Error> {
    let bytes = match dir.read(NAME, FILE_BYTES_MAX).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Error::NoSnapshot {
                dir: dir.describe(),
            });
        }
        other => other.map_err(|e| At::new(dir, NAME).io("read", e))?,
    };
    Summary::decode(&bytes).map_err(|e| At::new(dir, NAME).format(e))
}

/// The same of the snapshot `name` of the directory `root`.
///
/// # Errors
/// As for [`open`]; [`Error::Format`] also if something is there, and neither a summary nor what says that there was none yet.
pub async fn find<D: Dir>(root: &D, name: &Name) -> Result<Summary, Error> {
    let dir = root.child(name.as_str());
    match open(&dir).await {
        Err(Error::NoSnapshot { .. }) if !is_unfinished(&dir).await? => match open(&dir).await {
            Err(Error::NoSnapshot { .. }) => Err(At::new(&dir, NAME).format(NoSummary)),
            // It was finished meanwhile.
            opened => opened,
        },
        opened => opened,
    }
}

/// Whether the directory `dir`, which has no summary, is what a snapshot in the making leaves, or one on its way out: all
/// others have lost it.
pub(crate) async fn is_unfinished<D: Dir>(dir: &D) -> Result<bool, Error> {
    let (entries, sign) = (steps::list(dir).await?, unfinished());
    Ok(entries.is_empty() || entries.iter().any(|entry| entry.name == sign))
}

/// The name of the summary in a snapshot that is not finished, or on its way out.
fn unfinished() -> String {
    format!("{NAME}{ASIDE_SUFFIX}")
}

/// Shows the snapshots in the directory `root` to `see`, by name, those behind the name `after`, until it
/// breaks off; none if `root` does not exist. Those that were never finished are passed over. One at a time: a
/// thousand summaries of all partitions of a node are half a gigabyte.
///
/// # Errors
/// Any error of listing it.
pub async fn list<D: Dir>(
    root: &D,
    after: Option<&Name>,
    mut see: impl FnMut(Entry) -> ControlFlow<()>,
) -> Result<(), Error> {
    for name in names(root).await? {
        if after.is_some_and(|after| name.as_str() <= after.as_str()) {
            continue;
        }
        let summary = find(root, &name).await;
        if matches!(summary, Err(Error::NoSnapshot { .. })) {
            continue;
        }
        if see(Entry { name, summary }).is_break() {
            break;
        }
    }
    Ok(())
}

/// How many snapshots the directory `root` holds, unfinished ones included. None of them is read.
///
/// # Errors
/// Any error of listing it.
pub async fn count<D: Dir>(root: &D) -> Result<usize, Error> {
    Ok(names(root).await?.len())
}

/// Removes the snapshot `name` of the directory `root`. Its summary loses its name first, durably: what a
/// crash leaves is unfinished, and swept. What is there without a summary goes as well, so
/// none of that name may be in the making.
///
/// # Errors
/// [`Error::NoSnapshot`] without one; any error of the disk.
pub async fn remove<D: Dir>(root: &D, name: &Name) -> Result<(), Error> {
    let dir = root.child(name.as_str());
    match dir.rename(NAME, &dir, &unfinished()).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let is_unfinished = is_unfinished(&dir).await?;
            if !is_unfinished {
                steps::write(&dir, &unfinished(), &[]).await?;
            }
            remove_rest(&dir).await?;
            if is_unfinished {
                // Of one whose files could not be removed when it was.
                let dir = dir.describe();
                return Err(Error::NoSnapshot { dir });
            }
        }
        renamed => {
            renamed.map_err(|e| At::new(&dir, NAME).space("remove", e))?;
            steps::sync(&dir).await?;
            remove_rest(&dir).await?;
        }
    }
    steps::sync(root).await
}

/// Removes what is there of a snapshot without a summary. What says that it is not finished goes last: of what a crash
/// leaves nobody knew else.
async fn remove_rest<D: Dir>(dir: &D) -> Result<(), Error> {
    remove_tree(&dir.child(TOPICS)).await?;
    remove_tree(dir).await
}

/// Removes what unfinished snapshots left in the directory `root`, and nothing else that has no summary: what has lost it may
/// be all that there is of its records. None may be in the making: this is for the start of a node. Returns their names.
///
/// # Errors
/// Any error of the disk, the first of them: one that cannot be removed keeps no other one.
pub async fn sweep_unfinished<D: Dir>(root: &D) -> Result<Vec<Name>, Error> {
    let (mut swept, mut all) = (Vec::new(), Ok(()));
    for name in names(root).await? {
        if let Err(Error::NoSnapshot { .. }) = find(root, &name).await {
            match remove_rest(&root.child(name.as_str())).await {
                Ok(()) => swept.push(name),
                Err(error) => all = all.and(Err(error)),
            }
        }
    }
    if !swept.is_empty() {
        all = all.and(steps::sync(root).await);
    }
    all.map(|()| swept)
}

/// The directories in `root` that can be snapshots.
async fn names<D: Dir>(root: &D) -> Result<Vec<Name>, Error> {
    let entries = steps::list(root).await?;
    let dirs = entries.into_iter().filter(|entry| entry.is_dir);
    Ok(dirs.filter_map(|dir| Name::new(&dir.name).ok()).collect())
}

/// Whether `dir` exists, which must then be empty.
///
/// # Errors
/// [`Error::Occupied`] if it is not; any error of the disk.
pub(super) async fn exists_empty<D: Dir>(dir: &D) -> Result<bool, Error> {
    let exists = dir.exists().await;
    let exists = exists.map_err(|e| At::dir(dir).io("look at", e))?;
    if exists && !steps::list(dir).await?.is_empty() {
        let dir = dir.describe();
        return Err(Error::Occupied { dir });
    }
    Ok(exists)
}

pub(super) async fn remove_tree<D: Dir>(dir: &D) -> Result<(), Error> {
    let removed = dir.remove_tree().await;
    removed.map_err(|e| At::dir(dir).io("remove", e))
}
