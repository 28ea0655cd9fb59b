//! A whole data directory, and a topic's.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use corelog_storage::format::node::{NODE, Node, QUARANTINE, TOPIC, TOPICS, of_begun};
use corelog_storage::format::topic::Topic;
use corelog_storage::verify::is_unfinished;
use serde_json::Value;

use super::files::{
    damaged, gone, holds_stores, is_there, lost_manifest, read, read_manifest, read_topic,
    topic_facts,
};
use super::show::Show;
use crate::quantity::rfc3339;

/// The node, its topics, and what lies in quarantine.
pub(super) fn node(dir: &Path) -> anyhow::Result<(Show, Vec<String>)> {
    const COLUMNS: [&str; 4] = ["topic", "partitions", "bytes", "id"];
    let mut show = Show::default();
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    let path = dir.join(NODE);
    if is_there(&path)? {
        let node = Node::decode(&read(&path)?).map_err(|error| damaged(&path, &error))?;
        show.fact("node", node.id.to_string())
            .fact("created", rfc3339(node.created));
    }
    for topic_dir in directories(&dir.join(TOPICS))? {
        match topic_in(&topic_dir) {
            Ok(None) => {}
            Ok(Some(topic)) => {
                let mut bytes = 0;
                for partition in directories(&topic_dir)? {
                    bytes += file_bytes(&partition)?;
                }
                let (partitions, id) = (topic.partitions, topic.id.to_string());
                let name = topic.name.to_string();
                rows.push(vec![
                    name.into(),
                    partitions.into(),
                    bytes.into(),
                    id.into(),
                ]);
            }
            Err(error) => faults.push(format!("{error:#}")),
        }
    }
    let quarantine = files(&dir.join(QUARANTINE))?;
    show.fact("topics", rows.len());
    show.fact("quarantined_files", quarantine.len());
    show.list("topic_list", &COLUMNS, rows);
    // What a running server removed meanwhile is not there.
    let rows = quarantine.iter().filter_map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let bytes = path.metadata().ok()?.len();
        Some(vec![name.into(), bytes.into()])
    });
    let rows = rows.collect();
    show.list("quarantine", &["file", "bytes"], rows);
    Ok((show, faults))
}

/// The topic in a directory; `None` of one that a server is about to make, or has removed meanwhile.
fn topic_in(dir: &Path) -> anyhow::Result<Option<Topic>> {
    let is_coming_or_gone =
        || is_unfinished(dir).unwrap_or_else(|error| error.kind() == ErrorKind::NotFound);
    // Looked at before it is read: what is made to its end in between is read.
    if is_coming_or_gone() {
        return Ok(None);
    }
    match read_topic(&dir.join(TOPIC)) {
        Err(_) if is_coming_or_gone() => Ok(None),
        read => read.map(Some),
    }
}

/// The topic's settings and a row per partition that has files.
pub(super) fn topic(dir: &Path) -> anyhow::Result<(Show, Vec<String>)> {
    const COLUMNS: [&str; 5] = ["partition", "log_start", "segments", "bytes", "epoch"];
    let topic = read_topic(&dir.join(TOPIC))?;
    let mut show = Show::default();
    topic_facts(&topic, &mut show)?;
    let (mut rows, mut faults) = (Vec::<Vec<Value>>::new(), Vec::new());
    for partition in directories(dir)? {
        let path = partition.join("manifest");
        if !is_there(&path)? {
            let held = holds_stores(&partition);
            if held.with_context(|| format!("cannot list {}", partition.display()))? {
                faults.push(lost_manifest(&path));
            } else {
                faults.extend(gone(&partition));
            }
            continue;
        }
        match read_manifest(&path) {
            Ok(manifest) => rows.push(vec![
                manifest.header.partition.get().into(),
                manifest.state.log_start().get().into(),
                manifest.state.segments().len().into(),
                file_bytes(&partition)?.into(),
                manifest
                    .state
                    .epochs()
                    .last()
                    .map(|epoch| epoch.epoch.get())
                    .into(),
            ]),
            Err(error) => faults.push(format!("{error:#}")),
        }
    }
    for told in files(dir)? {
        let name = told.file_name().unwrap_or_default().to_string_lossy();
        let partition = of_begun(&name).map(|number| dir.join(number.to_string()));
        if let Some(partition) = partition.filter(|partition| !partition.is_dir()) {
            faults.extend(gone(&partition));
        }
    }
    rows.sort_by_key(|row| row[0].as_u64());
    show.list("partition_list", &COLUMNS, rows);
    Ok((show, faults))
}

fn directories(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    Ok(entries(dir)?
        .into_iter()
        .filter(|path| path.is_dir())
        .collect())
}

fn files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    Ok(entries(dir)?
        .into_iter()
        .filter(|path| path.is_file())
        .collect())
}

/// What lies in a directory, by name; nothing if it is not there.
fn entries(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listed =
        std::fs::read_dir(dir).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut paths: Vec<_> = match listed {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.with_context(|| format!("cannot list {}", dir.display()))?,
    };
    paths.sort();
    Ok(paths)
}

fn file_bytes(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for path in files(dir)? {
        // A file that a running server removed meanwhile holds nothing.
        bytes += std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beside a server that made and deleted topics, one look in fourteen ended with damage.
    #[test]
    fn a_topic_that_is_being_made_is_none_yet_and_what_is_left_of_one_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let topics = dir.path().join(TOPICS);
        let faults = || node(dir.path()).unwrap().1;
        std::fs::create_dir_all(topics.join("empty")).unwrap();
        std::fs::create_dir_all(topics.join("begun")).unwrap();
        std::fs::write(topics.join("begun/topic.new"), b"half").unwrap();
        assert_eq!(faults(), Vec::<String>::new());
        assert!(topic_in(&topics.join("gone")).unwrap().is_none());
        std::fs::create_dir_all(topics.join("orphan/0")).unwrap();
        let said = faults().join(", ");
        assert!(said.contains("orphan/topic"), "{said}");
    }
}
