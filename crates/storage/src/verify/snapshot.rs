//! A snapshot, on a node's shelf or exported: what its summary promises against what is there.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use super::finding::{Finding, What};
use super::node::topics;
use super::subject::Subject;
use super::survey::{Survey, Told, read};
use crate::disk::std::StdDir;
use crate::disk::{Dir, Entry, block_on};
use crate::format::node::{TOPIC, TOPICS};
use crate::format::snapshot::{FILE_BYTES_MAX, NAME, Partition, Summary, Topic};
use crate::format::state::State;
use crate::format::topic as kept;
use crate::manifest;
use crate::snapshot::is_unfinished;

/// Looks at the snapshot in `dir`.
pub(super) fn survey(dir: &Path, survey: &mut Survey) -> io::Result<()> {
    let subject = Subject::snapshot(dir);
    survey.within(&subject, |survey| look(dir, &subject, survey))
}

/// The snapshot that the topic in `topic` is part of, if it is of one: it has no mark of its own.
pub(super) fn around(topic: &Path) -> Option<Arc<Subject>> {
    // What is above a path such as `.` only the file system knows.
    let topic = topic.canonicalize().ok()?;
    let topics = topic.parent().filter(|home| home.ends_with(TOPICS))?;
    let root = topics.parent()?;
    let is_one = root.join(NAME).is_file();
    is_one.then(|| Subject::snapshot(root))
}

/// Whether `dir` is what an interrupted export left: it has topics and nothing else, and these get their files once all of their
/// partitions are there. A node keeps more.
pub(super) fn is_export_begun(dir: &Path, entries: &[Entry]) -> bool {
    let home = dir.join(TOPICS);
    let has_file = |topic: &Entry| home.join(&topic.name).join(TOPIC).exists();
    entries.iter().all(|entry| entry.name == TOPICS) && dirs(&home).any(|topic| !has_file(&topic))
}

fn look(dir: &Path, subject: &Arc<Subject>, survey: &mut Survey) -> io::Result<()> {
    let path = dir.join(NAME);
    match read(dir, NAME, FILE_BYTES_MAX, What::Snapshot, survey) {
        Ok(None) => match block_on(is_unfinished(&StdDir::new(dir))) {
            Ok(false) => survey.find(Finding::of(What::Snapshot, path, "a summary", "nothing")),
            Err(error) => {
                let (what, expected) = (What::Unreadable, "a directory that can be listed");
                survey.find(Finding::of(what, dir, expected, error.to_string()));
            }
            Ok(true) => {
                let found = "a snapshot that was not finished";
                survey.find(Finding::of(What::Leftover, dir, "a snapshot", found));
                return Ok(());
            }
        },
        Ok(Some(bytes)) => match Summary::decode(&bytes) {
            Ok(summary) => check(dir, &summary, survey),
            Err(error) => {
                let what = What::Snapshot.unless_newer(&error);
                survey.find(Finding::of(what, path, "a summary", error.to_string()));
            }
        },
        Err(Told) => {}
    }
    topics(&dir.join(TOPICS), Some(subject), survey)
}

/// Holds the summary against the manifests, and the manifests' places against the summary.
fn check(dir: &Path, summary: &Summary, survey: &mut Survey) {
    let home = dir.join(TOPICS);
    let is_named = |name: &str| summary.topics.iter().any(|t| t.name.as_str() == name);
    for entry in dirs(&home) {
        if !is_named(&entry.name) {
            differs(
                home.join(&entry.name),
                "the topics of the summary",
                "another one",
                survey,
            );
        }
    }
    for topic in &summary.topics {
        check_topic(&home.join(topic.name.as_str()), topic, survey);
    }
}

fn check_topic(dir: &Path, topic: &Topic, survey: &mut Survey) {
    let kept = block_on(StdDir::new(dir).read(TOPIC, kept::FILE_BYTES_MAX));
    // One that is missing or cannot be read is told by whoever looks at the topic.
    if kept.as_ref().is_ok_and(|kept| *kept != topic.settings) {
        differs(
            dir.join(TOPIC),
            "the summary's settings",
            "other ones",
            survey,
        );
    } else if kept.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        differs(dir.to_owned(), "a topic of the summary", "nothing", survey);
    }
    let is_named = |name: &str| {
        topic
            .partitions
            .iter()
            .any(|p| p.partition.to_string() == name)
    };
    for entry in dirs(dir) {
        if !is_named(&entry.name) {
            let path = dir.join(&entry.name);
            differs(path, "the partitions of the summary", "another one", survey);
        }
    }
    for promised in &topic.partitions {
        let path = dir.join(promised.partition.to_string());
        let found = match block_on(manifest::read(&StdDir::new(&path))) {
            Ok((_header, state)) => held(&state, promised),
            Err(error) if error.is_missing() => match promised.is_unborn() {
                true => *promised,
                false => {
                    differs(path, text(promised), "nothing", survey);
                    continue;
                }
            },
            // Told by whoever looks at the partition.
            Err(_) => continue,
        };
        if found != *promised {
            differs(path, text(promised), text(&found), survey);
        }
    }
}

/// The directories in one; whoever looks at that tells why it cannot be listed.
fn dirs(dir: &Path) -> impl Iterator<Item = Entry> {
    let entries = block_on(StdDir::new(dir).list()).unwrap_or_default();
    entries.into_iter().filter(|entry| entry.is_dir)
}

/// What a manifest says that a summary says as well; of a segment that is not sealed, since it is
/// damaged, only the summary tells where it ends.
fn held(state: &State, promised: &Partition) -> Partition {
    // What begins at the end has no store.
    let segments = state.segments().iter();
    let segments = segments.filter(|segment| segment.base < promised.end);
    let sealed = segments.clone().filter_map(|segment| segment.seal.as_ref());
    let count = segments.count();
    let bytes = sealed.clone().map(|seal| seal.digest.bytes).sum();
    let is_whole = sealed.count() == count;
    let end = state.end().filter(|_| is_whole);
    Partition {
        log_start: state.log_start(),
        end: end.map_or(promised.end, |end| end.offset),
        chain: end.map_or(promised.chain, |end| promised.chain.and(Some(end.chain))),
        bytes: if is_whole { bytes } else { promised.bytes },
        segments: count as u64,
        ..*promised
    }
}

fn text(partition: &Partition) -> String {
    let Partition {
        log_start,
        end,
        chain,
        bytes,
        segments,
        ..
    } = partition;
    let chain = chain.map_or_else(String::new, |chain| format!(", chain {chain}"));
    format!("offsets [{log_start}, {end}){chain}, {segments} segments of {bytes} bytes")
}

fn differs(
    path: impl Into<std::path::PathBuf>,
    expected: impl Into<String>,
    found: impl Into<String>,
    survey: &mut Survey,
) {
    survey.find(Finding::of(What::Snapshot, path, expected, found));
}
