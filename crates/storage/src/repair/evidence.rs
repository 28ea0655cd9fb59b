//! What files besides the stores still tell.

use std::io;

use corelog_record::{CopyId, HistoryId};

use super::plan::{Known, Step, unreadable};
use super::refusal::Refusal;
use crate::disk::unread::read_file_around;
use crate::disk::{Dir, Entry};
use crate::error::At;
use crate::format::edit::Frame;
use crate::format::index;
use crate::format::manifest::{EDITS_AT, Header, Manifest};
use crate::format::mark::Slot;
use crate::format::state::State;
use crate::segment::name;
use crate::{Error, manifest, mark};

/// What is known of a log besides its stores.
pub(super) struct Evidence {
    pub(super) header: Header,
    /// Whether the manifest needs no repair.
    pub(super) is_sound: bool,
    /// Whether there is a manifest at all.
    pub(super) has_manifest: bool,
    /// What the sound edits of the manifest add up to; the last ones may be lost.
    pub(super) state: Option<State>,
    pub(super) mark: Option<Slot>,
    /// The headers of indexes, by the name of the store.
    pub(super) indexes: Vec<(String, index::Header)>,
    /// What of these files the disk does not give.
    pub(super) unread: Vec<Step>,
    /// Whether the history is only what a new log of this place would have.
    pub(super) is_history_assumed: bool,
}

impl Evidence {
    /// Gathers what there is in `dir`.
    pub(super) async fn gather<D: Dir>(
        dir: &D,
        entries: &[Entry],
        known: &Known,
    ) -> Result<Self, Refusal> {
        let mut unread = Vec::new();
        let bytes = read(dir, manifest::NAME, manifest::BYTES_MAX, &mut unread).await?;
        let (old, is_sound) = match &bytes {
            Some(bytes) => old_manifest(bytes)?,
            None => (None, false),
        };
        let mark = old_mark(dir, &mut unread).await?;
        let indexes = index_headers(dir, entries, &mut unread).await?;
        let mut histories: Vec<(String, HistoryId)> = Vec::new();
        let of_manifest = old.as_ref().map(|(header, _)| header.history);
        histories.extend(of_manifest.map(|history| (manifest::NAME.to_owned(), history)));
        histories.extend(mark.map(|slot| (mark::NAME.to_owned(), slot.history)));
        histories.extend(
            indexes
                .iter()
                .map(|(name, header)| (name.clone(), header.history)),
        );
        let first = histories.first();
        if let Some((first, of_first)) = first
            && let Some((second, of_second)) = histories.iter().find(|(_, other)| other != of_first)
        {
            return Err(Refusal::Histories {
                first: first.clone(),
                of_first: *of_first,
                second: second.clone(),
                of_second: *of_second,
            });
        }
        let history = first.map(|(_, history)| *history);
        let header = match &old {
            Some((header, _)) => *header,
            None => {
                let (Some(topic), Some(partition)) = (known.topic, known.partition) else {
                    return Err(Refusal::NoIdentity);
                };
                let history = history.unwrap_or(HistoryId::of(topic, partition));
                let copy = mark.map_or_else(|| draw_copy(known.seed, history), |slot| slot.copy);
                Header {
                    topic,
                    partition,
                    history,
                    copy,
                }
            }
        };
        let is_foreign = known.topic.is_some_and(|topic| topic != header.topic)
            || known
                .partition
                .is_some_and(|partition| partition != header.partition);
        if is_foreign {
            return Err(Refusal::Foreign);
        }
        // The mark of another copy says nothing of these files.
        let mark = mark.filter(|slot| slot.copy == header.copy);
        let state = old.map(|(_, state)| state);
        let is_behind = state.as_ref().zip(mark.as_ref());
        let is_behind = is_behind.is_some_and(|(state, mark)| state.is_behind(mark));
        Ok(Self {
            is_sound: is_sound && !is_behind,
            has_manifest: bytes.is_some(),
            state,
            mark,
            indexes,
            unread,
            is_history_assumed: history.is_none(),
            header,
        })
    }

    /// The header of a store's index.
    pub(super) fn index(&self, store: &str) -> Option<&index::Header> {
        let found = self.indexes.iter().find(|(name, _)| name == store);
        found.map(|(_, header)| header)
    }
}

/// The whole of a small file; `None` if it is not there. What cannot be read of it counts as bytes that are wrong.
async fn read<D: Dir>(
    dir: &D,
    name: &str,
    bytes_max: u64,
    unread: &mut Vec<Step>,
) -> Result<Option<Vec<u8>>, Error> {
    match read_file_around(dir, name, bytes_max).await {
        Ok(around) => {
            let found = around.unread.as_ref();
            unread.extend(found.map(|(position, why)| unreadable(name, *position, why)));
            Ok(Some(around.bytes))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(At::new(dir, name).io("read", error)),
    }
}

/// What a manifest says up to its first edit that cannot be trusted, and whether that is all of it.
fn old_manifest(bytes: &[u8]) -> Result<(Option<(Header, State)>, bool), Refusal> {
    match Manifest::decode(bytes) {
        Ok(manifest) => return Ok((Some((manifest.header, manifest.state)), true)),
        Err(source) if source.is_newer() => {
            let file = manifest::NAME;
            return Err(Refusal::Newer { file, source });
        }
        Err(_damaged) => {}
    }
    let Ok(header) = Header::decode(bytes) else {
        return Ok((None, false));
    };
    let mut state = State::new(header.history);
    let (mut at, mut sequence) = (EDITS_AT, 1);
    while let Some(frame) = bytes.get(at..).and_then(Frame::read) {
        let edit = frame.decode().ok().filter(|_| frame.sequence == sequence);
        if edit.is_none_or(|edit| state.apply(&edit).is_err()) {
            break;
        }
        at += frame.bytes();
        sequence += 1;
    }
    Ok((Some((header, state)), false))
}

/// As whoever opens the log reads it.
async fn old_mark<D: Dir>(dir: &D, unread: &mut Vec<Step>) -> Result<Option<Slot>, Refusal> {
    if let Ok(around) = read_file_around(dir, mark::NAME, mark::BYTES_MAX).await {
        let found = around.unread.as_ref();
        unread.extend(found.map(|(position, why)| unreadable(mark::NAME, *position, why)));
    }
    match mark::read_last(dir).await {
        Ok(found) => Ok(found.and_then(|found| found.last)),
        Err(Error::Format { source, .. }) => Err(Refusal::Newer {
            file: mark::NAME,
            source,
        }),
        Err(error) => Err(error.into()),
    }
}

async fn index_headers<D: Dir>(
    dir: &D,
    entries: &[Entry],
    unread: &mut Vec<Step>,
) -> Result<Vec<(String, index::Header)>, Refusal> {
    let mut headers = Vec::new();
    for entry in entries.iter().filter(|entry| name::is_index(&entry.name)) {
        let bytes = read(dir, &entry.name, index::BYTES_MAX, unread).await?;
        let bytes = bytes.unwrap_or_default();
        let stem = entry.name.trim_end_matches(".index");
        let store = format!("{stem}.log");
        if let Ok(header) = index::Header::decode(&bytes)
            && name::base(&store) == Some(header.base)
        {
            headers.push((store, header));
        }
    }
    Ok(headers)
}

fn draw_copy(seed: u64, history: HistoryId) -> CopyId {
    let drawn = xxhash_rust::xxh3::xxh3_128_with_seed(history.as_bytes(), seed);
    CopyId::from_bytes(drawn.to_le_bytes())
}
