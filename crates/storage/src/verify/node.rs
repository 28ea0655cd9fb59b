//! A node's data directory, a topic's directory, a snapshot.

use std::io;
use std::path::Path;
use std::sync::Arc;

use corelog_record::{PartitionId, TopicId};

use super::finding::{Finding, What};
use super::partition::{self, Of};
use super::snapshot;
use super::subject::Subject;
use super::survey::{Survey, Told, list, read};
use crate::disk::std::StdDir;
use crate::disk::{ASIDE_SUFFIX, Dir, Entry, block_on};
use crate::format::node::{
    self as format, DELETED, NODE, Node, PLACE, QUARANTINE, RESTORING, SNAPSHOTS, SPARE, TOPIC,
    TOPICS,
};
use crate::format::quarantine::Name;
use crate::format::topic::{FILE_BYTES_MAX, Topic};

/// Looks at a whole data directory.
pub(super) fn data(dir: &Path, survey: &mut Survey) -> io::Result<()> {
    let node = read(dir, NODE, format::FILE_BYTES_MAX, What::Node, survey);
    match node.map(|node| node.as_deref().map(Node::decode)) {
        Ok(Some(Ok(_))) | Err(Told) => {}
        Ok(Some(Err(error))) => {
            survey.find(Finding::of(
                What::Node,
                dir.join(NODE),
                "a node",
                error.to_string(),
            ));
        }
        Ok(None) => survey.find(Finding::of(What::Node, dir.join(NODE), "a node", "no file")),
    }
    let Ok(entries) = list(dir, survey) else {
        return Ok(());
    };
    let is_there = |name| entries.iter().any(|entry| entry.name == name);
    // A server makes the one before the other.
    if is_there(DELETED) && !is_there(TOPICS) {
        let topics = dir.join(TOPICS);
        survey.find(Finding::of(What::Gone, topics, "topics", "no directory"));
    }
    for entry in &entries {
        let path = dir.join(&entry.name);
        match entry.name.as_str() {
            NODE | PLACE | SPARE => {}
            // A server died amid writing it, and will write it again.
            aside
                if [PLACE, SPARE]
                    .map(Some)
                    .contains(&aside.strip_suffix(ASIDE_SUFFIX)) => {}
            TOPICS => topics(&path, None, survey)?,
            QUARANTINE => quarantine(&path, survey),
            SNAPSHOTS => {
                let kept = list(&path, survey).unwrap_or_default();
                for entry in kept.iter().filter(|entry| entry.is_dir) {
                    snapshot::survey(&path.join(&entry.name), survey)?;
                }
            }
            DELETED => leftovers(&path, "a deleted topic on its way out", survey),
            RESTORING => leftovers(&path, "a topic that is not restored yet", survey),
            _ => {
                let what = What::Stranger;
                survey.find(Finding::of(what, path, "what a node keeps", kind(entry)));
            }
        }
    }
    Ok(())
}

/// What stands there, in words.
fn kind(entry: &Entry) -> &'static str {
    match entry.is_dir {
        true => "a directory",
        false => "a file",
    }
}

/// Looks at a directory whose entries come and go.
fn leftovers(dir: &Path, found: &str, survey: &mut Survey) {
    for entry in list(dir, survey).unwrap_or_default() {
        let path = dir.join(entry.name);
        survey.find(Finding::of(What::Leftover, path, "nothing", found));
    }
}

/// Looks at the directory of all topics, a node's or those of `snapshot`.
pub(super) fn topics(
    dir: &Path,
    snapshot: Option<&Arc<Subject>>,
    survey: &mut Survey,
) -> io::Result<()> {
    for entry in list(dir, survey).unwrap_or_default() {
        let path = dir.join(&entry.name);
        match entry.is_dir {
            true => topic(&path, snapshot, survey)?,
            false => survey.find(Finding::of(What::Stranger, path, "a topic", "a file")),
        }
    }
    Ok(())
}

/// Looks at a topic's directory, a node's or one of `snapshot`.
pub(super) fn topic(
    dir: &Path,
    snapshot: Option<&Arc<Subject>>,
    survey: &mut Survey,
) -> io::Result<()> {
    let subject = snapshot.map_or_else(|| Subject::topic(dir), Arc::clone);
    let is_snapshot = snapshot.is_some();
    survey.within(&subject, |survey| {
        topic_of(&subject, is_snapshot, dir, survey)
    })
}

fn topic_of(
    subject: &Arc<Subject>,
    is_snapshot: bool,
    dir: &Path,
    survey: &mut Survey,
) -> io::Result<()> {
    let (id, partitions) = topic_file(dir, survey).unzip();
    let foreign = |number: u32, path: &Path| {
        let partitions = partitions.filter(|partitions| *partitions <= number)?;
        let expected = format!("partitions below {partitions}");
        let found = format!("partition {number}");
        Some(Finding::of(What::Foreign, path, expected, found))
    };
    for entry in list(dir, survey).unwrap_or_default() {
        let path = dir.join(&entry.name);
        let told = format::of_begun(&entry.name).filter(|_| !entry.is_dir && !is_snapshot);
        // A server follows a link to a partition as well.
        let number = format::partition(&entry.name).filter(|_| path.is_dir());
        match (number, told) {
            (Some(number), _) => {
                survey.findings.extend(foreign(number, &path));
                let of = Of {
                    topic: id,
                    partition: Some(PartitionId::new(number)),
                    is_snapshot,
                    subject: subject.clone(),
                };
                partition::survey(&path, &of, survey)?;
            }
            (None, None) if entry.name == TOPIC => {}
            (None, Some(number)) => {
                survey.findings.extend(foreign(number, &path));
                let partition = dir.join(number.to_string());
                if !partition.is_dir() {
                    survey.find(partition::gone(&partition, "no directory"));
                }
            }
            (None, None) => {
                let what = match entry.name.ends_with(ASIDE_SUFFIX) {
                    true => What::Leftover,
                    false => What::Stranger,
                };
                survey.find(Finding::of(what, path, "a topic's files", kind(&entry)));
            }
        }
    }
    Ok(())
}

/// What the topic's file says: its id, and how many partitions there are.
fn topic_file(dir: &Path, survey: &mut Survey) -> Option<(TopicId, u32)> {
    let path = dir.join(TOPIC);
    let bytes = read(dir, TOPIC, FILE_BYTES_MAX, What::Topic, survey).ok()?;
    let Some(bytes) = bytes else {
        survey.find(match is_unfinished(dir) {
            Ok(true) => Finding::of(
                What::Leftover,
                dir,
                "a topic",
                "one that was not made to the end",
            ),
            _ => Finding::of(What::Topic, path, "a topic", "no file"),
        });
        return None;
    };
    let topic = match Topic::decode(&bytes) {
        Ok(topic) => topic,
        Err(error) => {
            survey.find(Finding::of(What::Topic, path, "a topic", error.to_string()));
            return None;
        }
    };
    let named = dir.file_name().unwrap_or_default().to_string_lossy();
    // A path such as `.` has no name to compare with.
    if !named.is_empty() && topic.name.as_str() != named {
        let found = topic.name.to_string();
        survey.find(Finding::of(What::Foreign, path, named, found));
    }
    Some((topic.id, topic.partitions))
}

/// Whether a topic's directory holds nothing yet but its file that is being written: its name is free.
///
/// # Errors
/// If it cannot be listed.
pub fn is_unfinished(dir: &Path) -> io::Result<bool> {
    let aside = format!("{TOPIC}{ASIDE_SUFFIX}");
    let entries = block_on(StdDir::new(dir).list())?;
    Ok(entries.iter().all(|entry| entry.name == aside))
}

fn quarantine(dir: &Path, survey: &mut Survey) {
    for entry in list(dir, survey).unwrap_or_default() {
        let path = dir.join(&entry.name);
        let finding = match entry.name.parse::<Name>() {
            Ok(name) => {
                let (reason, partition) = (name.reason.as_str(), name.partition.get());
                let (topic, bytes) = (name.topic, entry.bytes);
                let found =
                    format!("{reason}: {bytes} bytes of partition {partition} of topic {topic}");
                Finding::of(What::Quarantined, path, "nothing", found).at(name.position.get())
            }
            Err(error) => Finding::of(What::Stranger, path, "quarantined bytes", error.to_string()),
        };
        survey.find(finding);
    }
}
