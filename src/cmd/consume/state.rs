//! `--state FILE`: where each partition of a topic goes on the next time.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use corelog_client::Start;
use corelog_record::{LeaderEpoch, Offset, PartitionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, stop};

/// A state file, as it is kept in memory.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    kept: Kept,
    is_changed: bool,
}

/// What the file says, in JSON.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    topic: String,
    /// The topic's id: another topic of the same name has other records.
    id: String,
    /// The next offset of each partition.
    partitions: BTreeMap<u32, u64>,
    /// The leader epoch of the batch with the record before it, of those that were read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    epochs: BTreeMap<u32, LeaderEpoch>,
}

impl State {
    /// Reads the file, or begins a new one.
    ///
    /// # Errors
    /// Where it cannot be read, is no state, or is that of another topic.
    pub(super) fn open(path: &Path, topic: &TopicName, id: TopicId) -> anyhow::Result<Self> {
        let (topic, id) = (topic.to_string(), id.to_string());
        let cannot = || format!("cannot use the state file {}", path.display());
        let kept = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let next = "remove it to begin anew, or name another with --state";
                stop(Exit::Failed, format!("{}: {error}; {next}", cannot()))
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Kept {
                topic: topic.clone(),
                id: id.clone(),
                partitions: BTreeMap::new(),
                epochs: BTreeMap::new(),
            },
            Err(error) => return Err(error).with_context(cannot),
        };
        if (&kept.topic, &kept.id) != (&topic, &id) {
            let message = format!(
                "{} is the state of topic {} with id {}, this is {topic} with id {id}; remove the \
                 file to begin anew",
                path.display(),
                kept.topic,
                kept.id
            );
            return Err(stop(Exit::Failed, message));
        }
        Ok(Self {
            path: path.to_path_buf(),
            kept,
            is_changed: false,
        })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a partition goes on, if it was read before.
    pub(super) fn next(&self, partition: PartitionId) -> Option<Offset> {
        self.kept
            .partitions
            .get(&partition.get())
            .copied()
            .and_then(Offset::new)
    }

    /// The same as a consumer is told it.
    pub(super) fn start(&self, partition: PartitionId) -> Option<Start> {
        let offset = self.next(partition)?;
        let epoch = self.kept.epochs.get(&partition.get()).copied();
        Some(epoch.map_or(Start::Offset(offset), |epoch| Start::Behind {
            offset,
            epoch,
        }))
    }

    /// Notes where a partition goes on, and of which epoch the record before is.
    pub(super) fn set(&mut self, partition: PartitionId, next: Offset, epoch: Option<LeaderEpoch>) {
        let partition = partition.get();
        let before = self.kept.partitions.insert(partition, next.get());
        self.is_changed |= before != Some(next.get());
        match epoch {
            Some(epoch) => self.kept.epochs.insert(partition, epoch),
            None => self.kept.epochs.remove(&partition),
        };
    }

    /// Notes where a partition begins, if nothing is noted of it.
    pub(super) fn begin(&mut self, partition: PartitionId, next: Offset) {
        if self.next(partition).is_none() {
            self.set(partition, next, None);
        }
    }

    /// Puts what was noted into the file, whole or not at all.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(super) fn save(&mut self) -> anyhow::Result<()> {
        if !self.is_changed {
            return Ok(());
        }
        let mut aside = self.path.clone().into_os_string();
        aside.push(".new");
        let cannot = || format!("cannot write the state file {}", self.path.display());
        let bytes = serde_json::to_vec_pretty(&self.kept)?;
        let mut file = File::create(&aside).with_context(cannot)?;
        file.write_all(&bytes)
            .and_then(|()| file.sync_all())
            .with_context(cannot)?;
        fs::rename(&aside, &self.path).with_context(cannot)?;
        self.is_changed = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_goes_on_where_it_was_saved_and_is_for_one_topic_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let topic = TopicName::new("events").unwrap();
        let id = TopicId::from_bytes([7; 16]);
        let partition = PartitionId::new(3);

        let mut state = State::open(&path, &topic, id).unwrap();
        assert_eq!(state.next(partition), None);
        let (offset, epoch) = (Offset::new(42).unwrap(), LeaderEpoch::new(3).unwrap());
        state.set(partition, offset, Some(epoch));
        let other = PartitionId::new(4);
        state.begin(other, offset);
        state.save().unwrap();

        let state = State::open(&path, &topic, id).unwrap();
        assert_eq!(state.next(partition), Some(offset));
        let start = Start::Behind { offset, epoch };
        assert_eq!(state.start(partition), Some(start));
        assert_eq!(state.start(other), Some(Start::Offset(offset)));
        assert!(State::open(&path, &topic, TopicId::from_bytes([8; 16])).is_err());
        fs::write(&path, "garbage").unwrap();
        assert!(State::open(&path, &topic, id).is_err());
    }
}
