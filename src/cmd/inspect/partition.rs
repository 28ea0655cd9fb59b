//! A partition's directory, and single stores.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context as _;
use corelog_record::{Chain, Offset, Position, Timestamp};
use corelog_storage::format::manifest::Manifest;
use corelog_storage::format::mark::Slot;
use corelog_storage::format::state::{Segment, State};
use corelog_storage::segment::name;
use serde_json::Value;

use super::Verdict;
use super::files::{last_slot, manifest_facts, read_manifest};
use super::listing::{Lines, Listing};
use super::show::Show;
use super::torn::{self, Edge};
use super::walk::{Found, Walk};
use crate::output::Out;
use crate::quantity::rfc3339;

/// What the manifest, the mark and the directory say; sealed stores by their length, the active one
/// batch by batch.
pub(super) fn summarize(dir: &Path) -> anyhow::Result<(Show, Verdict)> {
    const COLUMNS: [&str; 8] = [
        "file", "state", "base", "next", "batches", "bytes", "max_time", "sealed",
    ];
    let manifest = read_manifest(&dir.join("manifest"))?;
    let mut show = Show::default();
    manifest_facts(&manifest, &mut show);
    let mark = last_slot(&dir.join("mark"))?;
    show.fact("marked_offset", mark.map(|slot| slot.offset.get()));
    show.fact("is_clean", mark.map(|slot| slot.is_clean));
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    let mut torn = None;
    let mut log_end = manifest.state.log_start();
    for named in named(&manifest, mark.as_ref()) {
        let segment = named.segment;
        let name = name::store(segment.base, segment.generation);
        let path = dir.join(&name);
        let mut found = look(named, &path)?;
        if let Some(position) =
            take_torn(&manifest.state, mark.as_ref(), segment, &mut found, &path)?
        {
            torn = Some(position.get());
        }
        log_end = log_end.max(found.next);
        faults.extend(
            found
                .fault
                .iter()
                .map(|fault| format!("{}: {fault}", path.display())),
        );
        let state = match (&found.fault, &segment.seal) {
            (Some(_), _) => "damaged",
            (None, Some(_)) => "sealed",
            (None, None) => "active",
        };
        rows.push(vec![
            name.into(),
            state.into(),
            segment.base.get().into(),
            found.next.get().into(),
            found.batches.into(),
            found.bytes.into(),
            found.max_timestamp.map(rfc3339).into(),
            segment
                .seal
                .as_ref()
                .map(|seal| rfc3339(seal.sealed))
                .into(),
        ]);
    }
    show.fact("log_end", log_end.get());
    show.fact("torn_at", torn);
    show.list("segments", &COLUMNS, rows);
    Ok((show, Verdict::of(faults)))
}

/// A segment as the manifest names it.
#[derive(Clone, Copy)]
struct Named<'a> {
    segment: &'a Segment,
    /// All of its batches below are durable.
    durable: Offset,
}

/// The segments of a partition, as far as its manifest and its mark know that they are durable.
fn named<'a>(manifest: &'a Manifest, mark: Option<&Slot>) -> Vec<Named<'a>> {
    let (header, state) = (&manifest.header, &manifest.state);
    let segments = state.segments();
    let is_ours = |mark: &&Slot| {
        let is_of =
            |named: &Segment| (mark.segment, mark.generation) == (named.base, named.generation);
        (mark.history, mark.copy) == (header.history, header.copy) && segments.iter().any(is_of)
    };
    let epoch = state.epochs().last();
    let marked = mark
        .filter(is_ours)
        .map_or(Offset::ZERO, |mark| mark.offset);
    let durable = epoch.map_or(marked, |epoch| marked.max(epoch.offset));
    let each = segments.iter().enumerate().map(|(number, segment)| Named {
        segment,
        durable: segments
            .get(number + 1)
            .map_or(durable, |next| durable.min(next.base)),
    });
    each.collect()
}

/// What a segment holds.
struct Held {
    next: Offset,
    batches: u64,
    bytes: u64,
    max_timestamp: Option<Timestamp>,
    fault: Option<String>,
    /// Where the fault lies, if it is bytes that are no batch.
    edge: Option<Edge>,
}

/// Where the store of `segment` is torn, which takes back the fault found there.
fn take_torn(
    state: &State,
    mark: Option<&Slot>,
    segment: &Segment,
    held: &mut Held,
    path: &Path,
) -> anyhow::Result<Option<Position>> {
    let Some(edge) = held.edge else {
        return Ok(None);
    };
    let is_torn = torn::is_torn(state, mark, segment, edge, path);
    if !is_torn.with_context(|| format!("cannot read {}", path.display()))? {
        return Ok(None);
    }
    held.fault = None;
    Ok(Some(edge.position))
}

fn look(named: Named<'_>, path: &Path) -> anyhow::Result<Held> {
    let segment = named.segment;
    let Some(seal) = &segment.seal else {
        let mut walked = walk(path, Some(named), None)?;
        walked.held.next = walked.held.next.max(segment.base);
        return Ok(walked.held);
    };
    let digest = &seal.digest;
    let fault = match std::fs::metadata(path) {
        Err(error) => Some(error.to_string()),
        Ok(metadata) if metadata.len() != digest.bytes => Some(format!(
            "{} bytes where the manifest says {}",
            metadata.len(),
            digest.bytes
        )),
        Ok(_) => None,
    };
    Ok(Held {
        next: digest.end,
        batches: digest.batches,
        bytes: digest.bytes,
        max_timestamp: Some(seal.max_timestamp),
        fault,
        edge: None,
    })
}

/// A single store, read batch by batch.
pub(super) fn summarize_store(path: &Path) -> anyhow::Result<(Show, Verdict)> {
    let walked = walk(path, None, None)?;
    let held = walked.held;
    let mut show = Show::default();
    show.fact("store", path.display().to_string());
    show.fact("base", walked.base.map(Offset::get));
    show.fact("next", walked.base.map(|_| held.next.get()));
    show.fact("batches", held.batches);
    show.fact("records", walked.records);
    show.fact("bytes", held.bytes);
    show.fact("zeros_behind", walked.zeros);
    show.fact(
        "max_time",
        held.max_timestamp
            .map(rfc3339)
            .map_or(Value::Null, Value::from),
    );
    let faults = held
        .fault
        .into_iter()
        .map(|fault| format!("{}: {fault}", path.display()));
    Ok((show, Verdict::of(faults.collect())))
}

/// Lists what a store holds.
pub(super) fn list_store(path: &Path, listing: &Listing, out: &mut Out) -> anyhow::Result<Verdict> {
    let mut lines = Lines::begin(listing, out)?;
    let fault = walk(path, None, Some(&mut lines))?.held.fault;
    Ok(Verdict::of(
        fault
            .map(|fault| format!("{}: {fault}", path.display()))
            .into_iter()
            .collect(),
    ))
}

/// Lists what the segments of a partition hold, in order.
pub(super) fn list(dir: &Path, listing: &Listing, out: &mut Out) -> anyhow::Result<Verdict> {
    let manifest = read_manifest(&dir.join("manifest"))?;
    let from = listing.from.max(manifest.state.log_start());
    let mut lines = Lines::begin(&Listing { from, ..*listing }, out)?;
    let mark = last_slot(&dir.join("mark"))?;
    let mut faults = Vec::new();
    for named in named(&manifest, mark.as_ref()) {
        let segment = named.segment;
        let is_before = segment
            .seal
            .as_ref()
            .is_some_and(|seal| seal.digest.end <= from);
        if is_before {
            continue;
        }
        if lines.is_full() {
            break;
        }
        let path = dir.join(name::store(segment.base, segment.generation));
        let mut held = walk(&path, Some(named), Some(&mut lines))?.held;
        take_torn(&manifest.state, mark.as_ref(), segment, &mut held, &path)?;
        faults.extend(
            held.fault
                .map(|fault| format!("{}: {fault}", path.display())),
        );
    }
    Ok(Verdict::of(faults))
}

struct Walked {
    held: Held,
    base: Option<Offset>,
    records: u64,
    zeros: u64,
}

/// Walks a store to its end, or until `lines` are full. Against its segment as it is `named` the first
/// offset is checked, the chain if the segment is sealed, and that all is there that is durable.
fn walk(
    path: &Path,
    named: Option<Named<'_>>,
    mut lines: Option<&mut Lines<'_>>,
) -> anyhow::Result<Walked> {
    let segment = named.map(|named| named.segment);
    let cannot = || format!("cannot read {}", path.display());
    let opened = Walk::open(path);
    let mut chain: Option<Chain> = segment.map(|segment| segment.chain);
    let start = segment.map_or(Offset::ZERO, |segment| segment.base);
    let held = Held {
        next: start,
        batches: 0,
        bytes: 0,
        max_timestamp: None,
        fault: None,
        edge: None,
    };
    let mut walked = Walked {
        held,
        base: None,
        records: 0,
        zeros: 0,
    };
    let is_missing = opened
        .as_ref()
        .is_err_and(|error| error.kind() == ErrorKind::NotFound);
    if segment.is_some() && is_missing {
        walked.held.fault = Some("is missing; the manifest names it".to_owned());
        return Ok(walked);
    }
    let mut walk = opened.with_context(cannot)?;
    loop {
        if lines.as_ref().is_some_and(|lines| lines.is_full()) {
            return Ok(walked);
        }
        match walk.next().with_context(cannot)? {
            Found::Batch { position, view } => {
                if let Some(lines) = lines.as_deref_mut() {
                    lines.add(position, &view)?;
                }
                chain = chain.map(|chain| chain.extend(view.header_bytes()));
                walked.base.get_or_insert(view.base_offset());
                walked.records += u64::from(view.count());
                walked.held.batches += 1;
                walked.held.bytes = position.get() + view.bytes().len() as u64;
                walked.held.next = view.next_offset();
                walked.held.max_timestamp =
                    walked.held.max_timestamp.max(Some(view.max_timestamp()));
            }
            Found::Zeros { bytes } => {
                walked.zeros = bytes;
                break;
            }
            Found::Bad { position, fault } => {
                walked.held.fault = Some(format!("at position {position}: {fault}"));
                let next = walked.held.next;
                walked.held.edge = Some(Edge { position, next });
                break;
            }
            Found::End => break,
        }
    }
    if walked.held.fault.is_none() {
        walked.held.fault = named.and_then(|named| disagreement(named, &walked, chain));
    }
    Ok(walked)
}

/// How a store that reads well still differs from what the manifest, or the mark, says of it.
fn disagreement(named: Named<'_>, walked: &Walked, chain: Option<Chain>) -> Option<String> {
    let Named { segment, durable } = named;
    if let Some(base) = walked.base.filter(|base| *base != segment.base) {
        return Some(format!(
            "begins at offset {base} where the manifest says {}",
            segment.base
        ));
    }
    let Some(seal) = &segment.seal else {
        let Held { next, bytes, .. } = walked.held;
        return (next < durable).then(|| {
            format!(
                "at position {bytes}: the end of sound batches at offset {next}, where batches up to \
                 offset {durable} are durable"
            )
        });
    };
    let digest = &seal.digest;
    let found = (walked.held.next, walked.held.batches, walked.held.bytes);
    if found != (digest.end, digest.batches, digest.bytes) {
        let (next, batches, bytes) = found;
        return Some(format!(
            "holds {batches} batches in {bytes} bytes up to offset {next}, the manifest says {} in \
             {} up to {}",
            digest.batches, digest.bytes, digest.end
        ));
    }
    let chain = chain.filter(|chain| *chain != digest.end_chain)?;
    Some(format!(
        "its chain is {chain}, the manifest says {}",
        digest.end_chain
    ))
}
