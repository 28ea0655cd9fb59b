//! A partition's directory: its manifest and mark, the names in it, and its stores.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use corelog_record::batch::{HEADER_BYTES, Header as BatchHeader};
use corelog_record::{PartitionId, TopicId};

use super::finding::{Finding, What};
use super::snapshot;
use super::store::{End, Index, StoreCheck};
use super::subject::Subject;
use super::survey::{self, Survey, Told, list, read};
use crate::disk::std::StdDir;
use crate::disk::{ASIDE_SUFFIX, Dir, Entry, File, Open, block_on};
use crate::format::manifest::Manifest;
use crate::format::mark::{Slot, last_of};
use crate::format::node;
use crate::format::state;
use crate::intake::partial;
use crate::segment::{Point, name};
use crate::{manifest, mark};

/// Whose directory it should be, as far as that is known.
#[derive(Debug)]
pub(super) struct Of {
    pub(super) topic: Option<TopicId>,
    pub(super) partition: Option<PartitionId>,
    /// Whether all of it is sealed and nothing is ever written: a snapshot.
    pub(super) is_snapshot: bool,
    /// What it goes with.
    pub(super) subject: Arc<Subject>,
}

/// Looks at the partition in `dir`, of which nothing else is known.
pub(super) fn alone(dir: &Path, survey: &mut Survey) -> io::Result<()> {
    let snapshot = snapshot::around(&dir.join(".."));
    let of = Of {
        topic: None,
        partition: None,
        is_snapshot: snapshot.is_some(),
        subject: snapshot.unwrap_or_else(|| Subject::partition(dir)),
    };
    survey.within(&of.subject, |survey| self::survey(dir, &of, survey))
}

/// Looks at the partition in `dir`.
pub(super) fn survey(dir: &Path, of: &Of, survey: &mut Survey) -> io::Result<()> {
    survey.partitions += 1;
    let mut bytes = read_manifest(dir, survey);
    let Ok(entries) = list(dir, survey) else {
        return Ok(());
    };
    if matches!(bytes, Ok(None)) {
        // A server writes it before the first store: if one was listed, it is there by now.
        bytes = read_manifest(dir, survey);
    }
    let path = dir.join(manifest::NAME);
    let manifest = match bytes.map(|bytes| bytes.as_deref().map(Manifest::decode)) {
        Ok(Some(Ok(manifest))) => manifest,
        // Without it nothing can be said of the stores.
        Err(Told) => return Ok(()),
        Ok(Some(Err(error))) => {
            let position = match error {
                crate::format::Error::DamagedEdits { position, .. } => Some(position),
                _ => None,
            };
            let what = What::Manifest.unless_newer(&error);
            let finding = Finding::of(what, path, "a manifest", error.to_string());
            survey.find(Finding {
                position,
                ..finding
            });
            stores_alone(dir, of, &entries, survey);
            return Ok(());
        }
        Ok(None) => {
            let has_data = entries
                .iter()
                .any(|entry| name::is_store(&entry.name) && entry.bytes > 0);
            if has_data {
                survey.find(Finding::of(
                    What::NoManifest,
                    dir,
                    "a manifest",
                    "stores without one",
                ));
            } else if !of.is_snapshot && !tells_of(dir)?.is_empty() && !path.exists() {
                survey.find(gone(dir, "no manifest any more"));
            }
            stores_alone(dir, of, &entries, survey);
            return Ok(());
        }
    };
    check_identity(dir, of, &manifest, survey);
    if let Some(torn) = &manifest.torn {
        // A snapshot's is written in one go: there was no append to be interrupted.
        let (what, why) = match of.is_snapshot {
            true => (What::Manifest, "that are no edit"),
            false => (What::Torn, "of an edit that was interrupted"),
        };
        let found = format!("{} bytes {why}", torn.len());
        let finding = Finding::of(what, path.clone(), "zeros", found);
        survey.find(finding.at(torn.start as u64));
    }
    for damage in manifest.state.damage() {
        let file = manifest
            .state
            .segments()
            .iter()
            .find(|segment| segment.base == damage.segment)
            .map_or(path.clone(), |segment| {
                dir.join(name::store(segment.base, segment.generation))
            });
        let finding = Finding::of(What::Remembered, file, "sound batches", "known damage");
        survey.find(finding.about(damage.from..damage.to));
    }
    let slot = slot(dir, &manifest, of, survey);
    if let Some(slot) = slot.filter(|slot| manifest.state.is_behind(slot)) {
        check_edits(dir, &slot, survey);
    }
    check_names(dir, of, &entries, &manifest.state, survey);
    add_stores(dir, of, &manifest, slot.as_ref(), &entries, survey);
    Ok(())
}

/// The files that tell that the partition in `dir`, which need not be there, had a manifest: they are made behind that. Where it
/// is missing the partition is gone.
///
/// # Errors
/// Any error of looking for them.
pub fn tells_of(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let files = [dir.with_file_name(node::begun(&name)), dir.join(mark::NAME)];
    let mut told = Vec::new();
    for file in files {
        if file.try_exists()? {
            told.push(file);
        }
    }
    Ok(told)
}

/// What there is to say of a partition that is gone.
pub(super) fn gone(dir: &Path, found: &str) -> Finding {
    Finding::of(What::Gone, dir, "a partition that had records", found)
}

fn read_manifest(dir: &Path, survey: &mut Survey) -> Result<Option<Vec<u8>>, Told> {
    let bytes_max = manifest::BYTES_MAX;
    read(dir, manifest::NAME, bytes_max, What::Manifest, survey)
}

fn check_identity(dir: &Path, of: &Of, manifest: &Manifest, survey: &mut Survey) {
    let header = &manifest.header;
    let is_ours = of.topic.is_none_or(|topic| topic == header.topic)
        && of
            .partition
            .is_none_or(|partition| partition == header.partition);
    if !is_ours {
        let text = |topic: Option<TopicId>, partition: Option<PartitionId>| {
            let topic = topic.map_or("any".to_owned(), |topic| topic.to_string());
            let partition = partition.map_or("any".to_owned(), |number| number.get().to_string());
            format!("partition {partition} of topic {topic}")
        };
        let expected = text(of.topic, of.partition);
        let found = text(Some(header.topic), Some(header.partition));
        survey.find(Finding::of(What::Foreign, dir, expected, found));
    }
}

/// The slot of the mark that holds.
fn slot(dir: &Path, manifest: &Manifest, of: &Of, survey: &mut Survey) -> Option<Slot> {
    if of.is_snapshot {
        return None;
    }
    let path = dir.join(mark::NAME);
    let bytes = read(dir, mark::NAME, mark::BYTES_MAX, What::Mark, survey).ok()?;
    let Some(bytes) = bytes else {
        if !manifest.state.segments().is_empty() {
            survey.find(Finding::of(What::Mark, path, "a mark", "none"));
        }
        return None;
    };
    // Where none is sound, the first one tells why.
    let last = last_of(&bytes).and_then(|last| last.map_or_else(|| Slot::decode(&bytes), Ok));
    let last = match last {
        Ok(last) => last,
        Err(error) => {
            let what = What::Mark.unless_newer(&error);
            survey.find(Finding::of(what, path, "a sound slot", error.to_string()));
            return None;
        }
    };
    let header = &manifest.header;
    if (last.history, last.copy) != (header.history, header.copy) {
        let found = format!("copy {} of history {}", last.copy, last.history);
        let expected = format!("copy {} of history {}", header.copy, header.history);
        survey.find(Finding::of(What::Mark, path, expected, found));
        return None;
    }
    Some(last)
}

/// The mark knows of more than the manifest that was read before it.
fn check_edits(dir: &Path, slot: &Slot, survey: &mut Survey) {
    // A server names a segment before the mark speaks of it: what the manifest says now decides.
    if now(dir).is_some_and(|now| now.is_behind(slot)) {
        let path = dir.join(manifest::NAME);
        let expected = format!("segment {}, of which the mark tells", slot.segment);
        survey.find(Finding::of(
            What::Manifest,
            path,
            expected,
            "edits that end before",
        ));
    }
}

/// What the manifest says now.
pub(super) fn now(dir: &Path) -> Option<state::State> {
    let bytes = block_on(StdDir::new(dir).read(manifest::NAME, manifest::BYTES_MAX));
    let manifest = bytes.ok().and_then(|bytes| Manifest::decode(&bytes).ok());
    manifest.map(|manifest| manifest.state)
}

/// Files that the manifest does not name.
fn check_names(dir: &Path, of: &Of, entries: &[Entry], state: &state::State, survey: &mut Survey) {
    // A server makes the file of a segment that is cut or replaced before it names it, and moves the old
    // one away behind that: how long it takes, nothing here tells.
    let is_under_way = survey.is_live && !of.is_snapshot;
    let unnamed = entries.iter().filter(|entry| !is_named(&entry.name, state));
    let unnamed: Vec<_> = unnamed
        .map(|entry| (entry, holds_batch(dir, &entry.name)))
        .collect();
    // A server names a file before it holds a byte: what the manifest says now speaks of those that held
    // one, what it said before may not.
    let now = now(dir);
    let state = now.as_ref().unwrap_or(state);
    let first = state.segments().first().map(|segment| segment.base);
    let start = first.unwrap_or(state.log_start());
    for (entry, has_bytes) in unnamed {
        let file = entry.name.as_str();
        let is_ours = file == manifest::NAME || file == mark::NAME;
        if is_named(file, state) || is_ours || file == name::NEXT {
            continue;
        }
        let is_leftover = partial::is_partial(file)
            || file.ends_with(ASIDE_SUFFIX)
            || file.contains(".old-")
            || name::is_index(file);
        let is_store = name::is_store(file);
        let is_expired = name::base(file).is_some_and(|base| base < start);
        let what = match has_bytes && !is_expired && !is_under_way {
            true => What::Unnamed,
            false if is_leftover || is_store => What::Leftover,
            false => What::Stranger,
        };
        let found = format!("{} bytes", entry.bytes);
        let expected = "files that the manifest names";
        survey.find(Finding::of(what, dir.join(file), expected, found));
    }
}

fn is_named(file: &str, state: &state::State) -> bool {
    state.segments().iter().any(|segment| {
        let (base, generation) = (segment.base, segment.generation);
        name::files(base, generation)
            .iter()
            .any(|name| name == file)
    })
}

/// A check for each store that the manifest names.
fn add_stores(
    dir: &Path,
    of: &Of,
    manifest: &Manifest,
    slot: Option<&Slot>,
    entries: &[Entry],
    survey: &mut Survey,
) {
    let state = &manifest.state;
    let promised = state.promised(slot);
    let segments = state.segments();
    for (number, segment) in segments.iter().enumerate() {
        let marked = slot.filter(|slot| slot.is_of(segment.base, segment.generation));
        let store = name::store(segment.base, segment.generation);
        let later = segments[number + 1..].iter();
        let mut later = later.filter(|later| holds_bytes(dir, later));
        let end = match &segment.seal {
            Some(seal) => End::Sealed(Point::sealed(seal)),
            None => End::Open {
                marked: marked.map(Point::marked),
                next: later.next().map(|next| Point::starting(next.start())),
                promised,
            },
        };
        let found = entries.iter().find(|entry| entry.name == store);
        let bytes = match &end {
            End::Sealed(end) => end.position.get(),
            End::Open { .. } | End::Unknown => found.map_or(0, |entry| entry.bytes),
        };
        survey.stores.push(StoreCheck {
            dir: dir.to_owned(),
            name: store,
            index: Some(Index {
                name: name::index(segment.base, segment.generation),
                history: Some(manifest.header.history),
                // One may be missing in a snapshot: a restore makes it anew.
                is_due: segment.seal.is_some() && !of.is_snapshot,
            }),
            base: Point::starting(segment.start()),
            epochs: match end {
                End::Open { .. } => state.epochs().to_vec(),
                End::Sealed(_) | End::Unknown => Vec::new(),
            },
            end,
            named: (!of.is_snapshot).then(|| segment.clone()),
            subject: Some(of.subject.clone()),
            bytes,
        });
    }
}

/// Stores of which nothing tells but their names.
fn stores_alone(dir: &Path, of: &Of, entries: &[Entry], survey: &mut Survey) {
    let stores = entries.iter().filter(|entry| name::is_store(&entry.name));
    let checks = stores
        .filter_map(|entry| survey::alone(dir.to_owned(), entry.name.clone(), entry.bytes))
        .map(|check| StoreCheck {
            subject: Some(of.subject.clone()),
            ..check
        });
    survey.stores.extend(checks);
}

/// Whether the segment's store holds bytes of batches.
fn holds_bytes(dir: &Path, segment: &state::Segment) -> bool {
    let name = name::store(segment.base, segment.generation);
    segment.seal.is_some() || begins_with_batch(dir, &name)
}

fn holds_batch(dir: &Path, file: &str) -> bool {
    name::is_store(file) && begins_with_batch(dir, file)
}

fn begins_with_batch(dir: &Path, name: &str) -> bool {
    let head = block_on(async {
        let file = StdDir::new(dir).open(name, Open::Read).await?;
        file.read_at(0, HEADER_BYTES).await
    });
    head.is_ok_and(|head| BatchHeader::parse(head.as_ref()).is_ok())
}
