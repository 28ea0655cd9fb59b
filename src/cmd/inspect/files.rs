//! Single files: node, snapshot, topic, manifest, mark, index.

use std::fs::File;
use std::io;
use std::path::Path;

use anyhow::Context as _;
use corelog_storage::disk::std::{open_file, read_file};
use corelog_storage::format::edit::{Edit, Seal};
use corelog_storage::format::index;
use corelog_storage::format::manifest::Manifest;
use corelog_storage::format::mark::{SLOT_BYTES, SLOTS, Slot, last_of};
use corelog_storage::format::node::Node;
use corelog_storage::format::topic::Topic;
use corelog_storage::segment::name;
use corelog_storage::snapshot::Summary;
use corelog_storage::verify::tells_of;
use serde_json::Value;

use super::show::Show;
use crate::advice;
use crate::exit::{Exit, stop};
use crate::quantity::rfc3339;

/// Reads a whole small file.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    read_file(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Opens a file to read it.
pub(super) fn open(path: &Path) -> io::Result<File> {
    open_file(path, File::options().read(true))
}

/// If a file or directory is there; whether one is that may not be looked at, nobody can say.
pub(super) fn is_there(path: &Path) -> anyhow::Result<bool> {
    let found = path.try_exists();
    found.with_context(|| advice::cannot_look_at(path))
}

/// The error of a file that cannot be understood.
pub(super) fn damaged(path: &Path, error: &corelog_storage::format::Error) -> anyhow::Error {
    stop(Exit::Damage, format!("{}: {error}", path.display()))
}

pub(super) fn node(path: &Path) -> anyhow::Result<(Show, Vec<String>)> {
    let node = Node::decode(&read(path)?).map_err(|error| damaged(path, &error))?;
    let mut show = Show::default();
    show.fact("node", node.id.to_string())
        .fact("created", rfc3339(node.created));
    Ok((show, Vec::new()))
}

/// What a snapshot holds of each partition, by its summary.
pub(super) fn snapshot(path: &Path) -> anyhow::Result<(Show, Vec<String>)> {
    const COLUMNS: [&str; 6] = [
        "topic",
        "partition",
        "log_start",
        "end",
        "segments",
        "bytes",
    ];
    let summary = Summary::decode(&read(path)?).map_err(|error| damaged(path, &error))?;
    let rows = summary.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|held| {
            vec![
                topic.name.to_string().into(),
                held.partition.get().into(),
                held.log_start.get().into(),
                held.end.get().into(),
                held.segments.into(),
                held.bytes.into(),
            ]
        })
    });
    let rows = rows.collect();
    let mut show = Show::default();
    show.fact("snapshot", summary.name.to_string())
        .fact("created", rfc3339(summary.created))
        .fact("topics", summary.topics.len())
        .list("partition_list", &COLUMNS, rows);
    Ok((show, Vec::new()))
}

pub(super) fn topic(path: &Path) -> anyhow::Result<(Show, Vec<String>)> {
    let topic = read_topic(path)?;
    let mut show = Show::default();
    topic_facts(&topic, &mut show)?;
    Ok((show, Vec::new()))
}

pub(super) fn read_topic(path: &Path) -> anyhow::Result<Topic> {
    Topic::decode(&read(path)?).map_err(|error| damaged(path, &error))
}

pub(super) fn topic_facts(topic: &Topic, show: &mut Show) -> anyhow::Result<()> {
    show.fact("topic", topic.name.to_string());
    show.fact("id", topic.id.to_string());
    show.fact("partitions", topic.partitions);
    show.fact("created", rfc3339(topic.created));
    if let Value::Object(settings) = serde_json::to_value(topic.settings)? {
        const KEYS: [&str; 7] = [
            "ack",
            "retention_age_ms",
            "retention_bytes",
            "segment_bytes",
            "segment_age_ms",
            "retention_hold",
            "retention_hold_bytes",
        ];
        for key in KEYS {
            show.fact(key, settings.get(key).cloned().unwrap_or_default());
        }
    }
    if !topic.replicas.is_empty() {
        show.fact("replicas", serde_json::to_value(&topic.replicas)?);
    }
    Ok(())
}

/// The manifest of a partition, which one that has stores has.
pub(super) fn read_manifest(path: &Path) -> anyhow::Result<Manifest> {
    if !is_there(path)? {
        return Err(stop(Exit::Damage, lost_manifest(path)));
    }
    Manifest::decode(&read(path)?).map_err(|error| damaged(path, &error))
}

/// What is wrong where a partition has stores and no manifest.
pub(super) fn lost_manifest(path: &Path) -> String {
    let (path, dir) = (path.display(), path.parent().unwrap_or(path).display());
    format!(
        "{path} is gone, and there are stores; `corelog repair --dir {dir}` makes it anew from them"
    )
}

/// What is wrong with a partition that has neither a manifest nor stores, if anything tells that it had.
pub(super) fn gone(partition: &Path) -> Option<String> {
    let told = match tells_of(partition) {
        Ok(told) => told,
        Err(error) => return Some(format!("{}: {error}", advice::cannot_look_at(partition))),
    };
    let told: Vec<_> = told.iter().map(|path| path.display().to_string()).collect();
    let (partition, files) = (partition.display(), told.join(" as well as "));
    let gone = || {
        format!("{partition} is gone, or has no manifest any more; {files} tells that it was there")
    };
    (!told.is_empty()).then(gone)
}

/// If a directory holds files of batches.
///
/// # Errors
/// If it cannot be listed.
pub(super) fn holds_stores(dir: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        // One without a byte is of a partition that was about to begin.
        let is_empty = entry.metadata().is_ok_and(|found| found.len() == 0);
        if !is_empty && entry.file_name().to_str().is_some_and(name::is_store) {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn manifest(path: &Path) -> anyhow::Result<(Show, Vec<String>)> {
    let manifest = read_manifest(path)?;
    let mut show = Show::default();
    manifest_facts(&manifest, &mut show);
    let edit = |(index, edit): (usize, &Edit)| {
        let (kind, text) = words(edit);
        vec![(index + 1).into(), kind.into(), text.into()]
    };
    let edits = manifest.edits.iter().enumerate().map(edit).collect();
    show.list("edits", &["sequence", "kind", "says"], edits);
    Ok((show, Vec::new()))
}

pub(super) fn manifest_facts(manifest: &Manifest, show: &mut Show) {
    let header = &manifest.header;
    show.fact("topic_id", header.topic.to_string());
    show.fact("partition", header.partition.get());
    show.fact("history", header.history.to_string());
    show.fact("copy", header.copy.to_string());
    show.fact("log_start", manifest.state.log_start().get());
    let epoch = manifest.state.epochs().last();
    show.fact("epoch", epoch.map(|epoch| epoch.epoch.get()));
    show.fact("lineage", epoch.map(|epoch| epoch.lineage.to_string()));
    let torn = manifest.torn.as_ref();
    show.fact("torn_edit_bytes", torn.map_or(0, ExactSizeIterator::len));
}

/// A seal in words.
fn sealed(seal: &Seal) -> String {
    let digest = &seal.digest;
    let (bytes, batches) = (digest.bytes, digest.batches);
    let (base, end, sealed) = (digest.base, digest.end, rfc3339(seal.sealed));
    let text = format!("segment {base} ends at {end}: {bytes} bytes, {batches} batches");
    format!("{text}, chain {}, sealed {sealed}", digest.end_chain)
}

/// An edit in words: its kind, and what it says.
fn words(edit: &Edit) -> (&'static str, String) {
    match edit {
        Edit::Add(add) => (
            "add",
            format!("segment {} from batch {}", add.base, add.ordinal),
        ),
        Edit::Seal(seal) => ("seal", sealed(seal)),
        Edit::Seals(seals) => {
            let all: Vec<_> = seals.seals.iter().map(sealed).collect();
            ("seals", all.join("; "))
        }
        Edit::Generation(new) => (
            "generation",
            format!("segment {} is in its file {}", new.base, new.generation),
        ),
        Edit::Expire(start) => ("expire", format!("log start {}", start.start)),
        Edit::Truncate(start) => ("truncate", format!("log start {}", start.start)),
        Edit::TruncateSuffix(end) => ("truncate-suffix", format!("log end {}", end.offset)),
        Edit::Restart(point) => ("restart", format!("log begins at {}", point.offset)),
        Edit::Epoch(epoch) => {
            let text = format!(
                "epoch {} of {} from {}",
                epoch.epoch, epoch.lineage, epoch.offset
            );
            ("epoch", text)
        }
        Edit::Settings(settings) => ("settings", format!("{:?}", settings.changes)),
        Edit::Scrubbed(scrubbed) => ("scrubbed", format!("at {}", rfc3339(scrubbed.time))),
    }
}

pub(super) fn mark(path: &Path) -> anyhow::Result<(Show, Vec<String>)> {
    const COLUMNS: [&str; 9] = [
        "slot",
        "sequence",
        "segment",
        "generation",
        "position",
        "offset",
        "ordinal",
        "chain",
        "is_clean",
    ];
    let bytes = read(path)?;
    let slots = slots(&bytes);
    let mut show = Show::default();
    if let Some(Ok(slot)) = slots.iter().find(|slot| slot.is_ok()) {
        show.fact("history", slot.history.to_string())
            .fact("copy", slot.copy.to_string());
    }
    let row = |(index, slot): (usize, &Slot)| {
        vec![
            index.into(),
            slot.sequence.into(),
            slot.segment.get().into(),
            slot.generation.into(),
            slot.position.get().into(),
            slot.offset.get().into(),
            slot.ordinal.get().into(),
            slot.chain.to_string().into(),
            slot.is_clean.into(),
        ]
    };
    let sound = slots
        .iter()
        .enumerate()
        .filter_map(|(i, slot)| Some((i, slot.as_ref().ok()?)));
    show.list("slots", &COLUMNS, sound.map(row).collect());
    // One unreadable slot is what an interrupted write leaves; none readable is a lost mark.
    let fault = match last_of(&bytes) {
        Ok(Some(_)) => None,
        Ok(None) => Some("no slot can be read".to_owned()),
        Err(error) => Some(error.to_string()),
    };
    let faults = fault.map(|fault| format!("{}: {fault}", path.display()));
    Ok((show, faults.into_iter().collect()))
}

/// Every slot of a mark, sound or not.
fn slots(bytes: &[u8]) -> Vec<Result<Slot, corelog_storage::format::Error>> {
    let slots = usize::try_from(SLOTS).unwrap_or(usize::MAX);
    bytes
        .chunks(SLOT_BYTES)
        .take(slots)
        .map(Slot::decode)
        .collect()
}

/// The slot of a mark that holds, if there is a mark.
pub(super) fn last_slot(path: &Path) -> anyhow::Result<Option<Slot>> {
    if !is_there(path)? {
        return Ok(None);
    }
    last_of(&read(path)?).map_err(|error| damaged(path, &error))
}

pub(super) fn index(path: &Path) -> anyhow::Result<(Show, Vec<String>)> {
    const COLUMNS: [&str; 6] = ["row", "offset", "position", "ordinal", "max_time", "chain"];
    let bytes = read(path)?;
    let header = index::Header::decode(&bytes).map_err(|error| damaged(path, &error))?;
    let mut show = Show::default();
    show.fact("history", header.history.to_string());
    show.fact("base", header.base.get());
    show.fact("ordinal", header.ordinal.get());
    show.fact("chain", header.chain.to_string());
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    for number in 0..index::row_count(&bytes) {
        match index::row(&bytes, number) {
            Some(Ok(row)) => rows.push(vec![
                number.into(),
                (header.base.get() + u64::from(row.relative_offset)).into(),
                row.position.into(),
                (header.ordinal.get() + u64::from(row.relative_ordinal)).into(),
                rfc3339(row.max_timestamp).into(),
                row.chain.to_string().into(),
            ]),
            Some(Err(error)) => faults.push(format!("{} row {number}: {error}", path.display())),
            None => break,
        }
    }
    show.list("rows", &COLUMNS, rows);
    Ok((show, faults))
}
