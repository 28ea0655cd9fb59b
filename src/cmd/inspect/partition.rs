//! A partition's directory, and single stores.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use corelog_record::batch::View;
use corelog_record::{Chain, Offset, Position, Timestamp};
use corelog_storage::disk::std::read_file;
use corelog_storage::format::index;
use corelog_storage::format::manifest::Manifest;
use corelog_storage::format::mark::Slot;
use corelog_storage::format::state::Segment;
use corelog_storage::segment::name;
use serde_json::Value;

use super::files::{last_slot, manifest_facts, read_manifest};
use super::listing::Lines;
use super::named::{Named, named};
use super::show::Show;
use super::torn::{self, Edge};
use super::walk::{Found, Walk};
use crate::exit::{Exit, stop};
use crate::quantity::rfc3339;

/// What the manifest, the mark and the directory say; sealed stores by their length, the active one
/// batch by batch.
pub(super) fn summarize(dir: &Path) -> anyhow::Result<(Show, Vec<String>)> {
    const COLUMNS: [&str; 8] = [
        "file", "state", "base", "next", "batches", "bytes", "max_time", "sealed",
    ];
    let (manifest, mark) = manifest_and_mark(dir)?;
    let mut show = Show::default();
    manifest_facts(&manifest, &mut show);
    show.fact("marked_offset", mark.map(|slot| slot.offset.get()));
    show.fact("is_clean", mark.map(|slot| slot.is_clean));
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    let mut torn = None;
    let damage = manifest.state.damage();
    let mut log_end = manifest.state.log_start();
    for named in named(dir, &manifest, mark.as_ref())? {
        let now;
        let (mut named, mut path) = (named, store(dir, named.segment));
        let mut found = look(named, &path)?;
        if found.is_missing {
            now = named_now(dir, named.segment)?;
            let Some(now) = &now else { continue };
            (named, path) = (named.replaced(now), store(dir, now));
            found = look(named, &path)?;
        }
        let segment = named.segment;
        let mut is_remembered = false;
        for damage in damage.iter().filter(|it| it.segment == segment.base) {
            is_remembered = true;
            let (path, from, to) = (path.display(), damage.from, damage.to);
            faults.push(format!(
                "{path}: offsets {from} to {to}, as the manifest remembers"
            ));
        }
        if let Some(position) = take_torn(named, &mut found, &path)? {
            torn = Some(position.get());
        }
        // Where an empty store begins the log does not end yet: what was to lie before may be torn.
        if found.batches > 0 {
            log_end = log_end.max(found.next);
        }
        faults.extend(
            found
                .fault
                .iter()
                .map(|fault| format!("{}: {fault}", path.display())),
        );
        let state = match &segment.seal {
            _ if found.fault.is_some() || is_remembered => "damaged",
            Some(_) => "sealed",
            None => "active",
        };
        rows.push(vec![
            name::store(segment.base, segment.generation).into(),
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
    Ok((show, faults))
}

/// The mark is read first: what it says of a running server's log, a manifest read later knows of.
fn manifest_and_mark(dir: &Path) -> anyhow::Result<(Manifest, Option<Slot>)> {
    let mark = last_slot(&dir.join("mark"))?;
    Ok((read_manifest(&dir.join("manifest"))?, mark))
}

/// A segment whose store is not there, as the manifest names it by now: a server may have let go of it meanwhile, or replaced it.
fn named_now(dir: &Path, segment: &Segment) -> anyhow::Result<Option<Segment>> {
    if !dir.try_exists()? {
        let message = format!("{} is gone meanwhile", dir.display());
        return Err(stop(Exit::Failed, message));
    }
    let manifest = read_manifest(&dir.join("manifest"))?;
    let mut named = manifest.state.segments().iter();
    Ok(named.find(|one| one.base == segment.base).cloned())
}

fn store(dir: &Path, segment: &Segment) -> PathBuf {
    dir.join(name::store(segment.base, segment.generation))
}

/// What a segment holds.
#[derive(Default)]
struct Held {
    next: Offset,
    batches: u64,
    bytes: u64,
    max_timestamp: Option<Timestamp>,
    fault: Option<String>,
    /// Its store is not there, which is a fault unless the manifest names it no more.
    is_missing: bool,
    /// Where the fault lies, if it is bytes that are no batch.
    edge: Option<Edge>,
}

/// Where the store of a segment is torn, which takes back the fault found there.
fn take_torn(named: Named<'_>, held: &mut Held, path: &Path) -> anyhow::Result<Option<Position>> {
    let Some(edge) = held.edge else {
        return Ok(None);
    };
    let is_torn = torn::is_torn(named, edge, path);
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
    let found = std::fs::metadata(path);
    let is_missing = is_missing(&found);
    let fault = match found {
        Err(_) if is_missing => Some(MISSING.to_owned()),
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
        is_missing,
        edge: None,
    })
}

const MISSING: &str = "is missing; the manifest names it";

fn is_missing<T>(found: &io::Result<T>) -> bool {
    let error = found.as_ref().err();
    error.is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

/// A single store, read batch by batch.
pub(super) fn summarize_store(path: &Path) -> anyhow::Result<(Show, Vec<String>)> {
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
    Ok((show, faults.collect()))
}

/// Lists what a store holds, and adds a sentence for each fault in it.
pub(super) fn list_store(
    path: &Path,
    lines: &mut Lines<'_>,
    faults: &mut Vec<String>,
) -> anyhow::Result<()> {
    lines.begin(Offset::ZERO);
    let walked = walk(path, None, Some(lines))?;
    faults.extend(walked.into_faults(path));
    Ok(())
}

/// Lists what the segments of a partition hold, in order, and adds a sentence for each fault in them.
pub(super) fn list(
    dir: &Path,
    lines: &mut Lines<'_>,
    faults: &mut Vec<String>,
) -> anyhow::Result<()> {
    let (manifest, mark) = manifest_and_mark(dir)?;
    let from = lines.begin(manifest.state.log_start());
    for named in named(dir, &manifest, mark.as_ref())? {
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
        let now;
        let (mut named, mut path) = (named, store(dir, segment));
        let mut walked = walk(&path, Some(named), Some(lines))?;
        if walked.held.is_missing {
            now = named_now(dir, segment)?;
            let Some(now) = &now else { continue };
            (named, path) = (named.replaced(now), store(dir, now));
            walked = walk(&path, Some(named), Some(lines))?;
        }
        take_torn(named, &mut walked.held, &path)?;
        faults.extend(walked.into_faults(&path));
    }
    Ok(())
}

#[derive(Default)]
struct Walked {
    held: Held,
    /// Bad bytes behind which there are batches again.
    passed: Vec<String>,
    base: Option<Offset>,
    records: u64,
    zeros: u64,
}

impl Walked {
    /// Takes in a sound batch, behind which what was bad before is passed.
    fn take(&mut self, position: Position, view: &View<'_>) {
        let held = &mut self.held;
        self.passed.extend(held.fault.take());
        held.edge = None;
        self.base.get_or_insert(view.base_offset());
        self.records += u64::from(view.count());
        held.batches += 1;
        held.bytes = position.get() + view.bytes().len() as u64;
        held.next = view.next_offset();
        held.max_timestamp = held.max_timestamp.max(Some(view.max_timestamp()));
    }

    /// Takes in bytes that are none, and gives where sound ones end.
    fn meet(&mut self, position: Position, fault: &str) -> Edge {
        let next = self.held.next;
        let edge = Edge { position, next };
        let fault = || format!("at position {position}: {fault}");
        self.held.fault.get_or_insert_with(fault);
        self.held.edge.get_or_insert(edge);
        edge
    }

    fn into_faults(self, path: &Path) -> Vec<String> {
        let all = self.passed.into_iter().chain(self.held.fault);
        all.map(|fault| format!("{}: {fault}", path.display()))
            .collect()
    }
}

/// Walks a store to its end, or until `lines` are full. Against its segment as it is `named` the
/// offsets are checked, the chain if the segment is sealed, and that all is there that is durable. For `lines` it goes on
/// behind bad bytes, unless they are torn.
fn walk(
    path: &Path,
    named: Option<Named<'_>>,
    mut lines: Option<&mut Lines<'_>>,
) -> anyhow::Result<Walked> {
    let segment = named.map(|named| named.segment);
    let cannot = || format!("cannot read {}", path.display());
    let opened = Walk::open(path, segment.map(|segment| segment.base));
    let mut chain: Option<Chain> = segment.map(|segment| segment.chain);
    let mut walked = Walked::default();
    walked.held.next = segment.map_or(Offset::ZERO, |segment| segment.base);
    if segment.is_some() && is_missing(&opened) {
        walked.held.fault = Some(MISSING.to_owned());
        walked.held.is_missing = true;
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
                    lines.add(position, &view);
                }
                chain = chain.map(|chain| chain.extend(view.header_bytes()));
                walked.take(position, &view);
            }
            Found::Zeros { bytes } => {
                walked.zeros = bytes;
                break;
            }
            Found::Bad { position, fault } => {
                let edge = walked.meet(position, &fault);
                let goes_on = lines.is_some()
                    && goes_on_behind(edge, named, path, &mut walk).with_context(cannot)?;
                if !goes_on {
                    break;
                }
            }
            Found::End => break,
        }
    }
    if walked.held.fault.is_none() && walked.passed.is_empty() {
        walked.held.fault = named.and_then(|named| disagreement(named, &walked, chain));
    }
    Ok(walked)
}

/// Steps over bad bytes, unless they are torn; false where that is so, or nothing sound follows.
fn goes_on_behind(
    edge: Edge,
    named: Option<Named<'_>>,
    path: &Path,
    walk: &mut Walk,
) -> io::Result<bool> {
    let is_torn = named.map_or(Ok(false), |named| torn::is_torn(named, edge, path));
    Ok(!is_torn? && walk.step_over(edge.position, &places(path))?)
}

/// Where batches begin in a store, as its index tells; none where that cannot be read.
fn places(store: &Path) -> Vec<Position> {
    let bytes = read_file(&store.with_extension("index")).unwrap_or_default();
    let rows = (0..index::row_count(&bytes)).map_while(|number| index::row(&bytes, number));
    let sound = rows.filter_map(Result::ok);
    let places = sound.filter_map(|row| Position::new(row.position.into()));
    places.collect()
}

/// How a store that reads well still differs from what the manifest, or the mark, says of it.
fn disagreement(named: Named<'_>, walked: &Walked, chain: Option<Chain>) -> Option<String> {
    let Named {
        segment, durable, ..
    } = named;
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
