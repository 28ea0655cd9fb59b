//! What a data directory holds, but for its records.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::pack::Pack;
use crate::cmd::inspect;
use crate::quantity::{rfc3339, timestamp};

/// Files that are named; a node has a few for each segment.
const FILES_MAX: usize = 100_000;
/// The last batches of each partition whose headers are taken.
const BATCHES_MAX: usize = 64;

/// Takes names and sizes of all files; the node, its topics and its partitions in words.
pub(super) fn collect(dir: &Path, pack: &mut Pack) {
    let deadline = pack.deadline();
    pack.json("data/files.json", || files(dir, deadline));
    // A directory that cannot be listed is told once, by the files.
    if !dir.is_dir() {
        return;
    }
    pack.json("data/node.json", || facts(dir));
    for topic in directories(&dir.join("topics")) {
        let name = format!("data/topics/{}", file_name(&topic));
        pack.json(format!("{name}/topic.json"), || facts(&topic.join("topic")));
        for partition in directories(&topic) {
            let name = format!("{name}/{}", file_name(&partition));
            partition_facts(&partition, &name, pack);
        }
    }
}

/// A partition without records has no files, and nothing to tell.
fn partition_facts(dir: &Path, name: &str, pack: &mut Pack) {
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none()) {
        return;
    }
    let (manifest, mark) = (dir.join("manifest"), dir.join("mark"));
    pack.json(format!("{name}/manifest.json"), || facts(&manifest));
    // There is none before the first.
    if mark.exists() {
        pack.json(format!("{name}/mark.json"), || facts(&mark));
    }
    let deadline = pack.deadline();
    pack.json(format!("{name}/tail.json"), || {
        inspect::tail(dir, BATCHES_MAX, deadline)
    });
}

/// What a path holds as `corelog inspect` shows it, with its faults.
fn facts(path: &Path) -> anyhow::Result<Value> {
    let (mut value, faults) = inspect::facts(path)?;
    if !faults.is_empty() {
        value["faults"] = json!(faults);
    }
    Ok(value)
}

/// Every file below `dir`: its path from there, its size, when it was changed.
fn files(dir: &Path, deadline: Instant) -> anyhow::Result<Value> {
    let cannot = || format!("cannot list {}", dir.display());
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    let mut is_whole = true;
    let mut folders = vec![dir.to_owned()];
    std::fs::read_dir(dir).with_context(cannot)?;
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                faults.push(format!("{}: {error}", folder.display()));
                continue;
            }
        };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            is_whole = files.len() < FILES_MAX && Instant::now() < deadline;
            if !is_whole {
                break;
            }
            // What a running server has removed meanwhile is not there.
            let Ok(metadata) = path.symlink_metadata() else {
                continue;
            };
            if metadata.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(dir).unwrap_or(&path);
            let changed = metadata.modified().ok().map(timestamp);
            files.push(json!({
                "file": name.display().to_string(),
                "bytes": metadata.len(),
                "changed": changed.map(rfc3339),
            }));
        }
        if !is_whole {
            break;
        }
    }
    files.sort_by(|a, b| a["file"].as_str().cmp(&b["file"].as_str()));
    Ok(json!({
        "dir": dir.display().to_string(),
        "is_whole": is_whole,
        "faults": faults,
        "files": files,
    }))
}

fn directories(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<_> = paths.filter(|path| path.is_dir()).collect();
    paths.sort();
    paths
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
