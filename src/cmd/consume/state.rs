//! `--state FILE`: where each partition of a topic goes on the next time.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use corelog_client::Start;
use corelog_record::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicId, TopicName};
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, stop};

/// A state file, as it is kept in memory.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    topic: TopicId,
    kept: Kept,
    is_changed: bool,
    /// Held for as long as it is used.
    _lock: File,
}

/// What the file says, in JSON.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    topic: String,
    /// The topic's id: another topic of the same name has other records.
    id: String,
    /// How many partitions the topic had when the whole of it was first read: those from this number on were added. 0 if only
    /// single ones were; files that say nothing are older than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    known: Option<u32>,
    /// The next offset of each partition.
    partitions: BTreeMap<u32, u64>,
    /// The leader epoch of the batch with the record before it, of those that were read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    epochs: BTreeMap<u32, LeaderEpoch>,
    /// Partitions of which nothing was printed yet, and which may begin later than there if that is gone: from which time on
    /// they are read, in ms since the Unix epoch, or null for all that is left.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    begun: BTreeMap<u32, Option<Timestamp>>,
}

impl Kept {
    /// How many partitions there are, if all up to the last one are. An older file of a whole topic names those that it had,
    /// unless it was killed before it had come to each: then records come twice, rather than none.
    fn numbered(&self) -> Option<u32> {
        let last = *self.partitions.last_key_value()?.0;
        let count = last.checked_add(1)?;
        (self.partitions.len() as u64 == u64::from(count)).then_some(count)
    }
}

impl State {
    /// Reads the file, or begins a new one, which is nobody else's meanwhile.
    ///
    /// # Errors
    /// Where another run uses it, it cannot be read, is no state, or is that of another topic.
    pub(super) fn open(path: &Path, topic: &TopicName, id: TopicId) -> anyhow::Result<Self> {
        let (topic_id, topic, id) = (id, topic.to_string(), id.to_string());
        let path = led_to(path);
        let cannot = || format!("cannot use the state file {}", path.display());
        let lock = lock(&path)?;
        let mut kept: Kept = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let next = "remove it to begin anew, or name another with --state";
                stop(Exit::Failed, format!("{}: {error}; {next}", cannot()))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Kept {
                topic: topic.clone(),
                id: id.clone(),
                known: Some(0),
                partitions: BTreeMap::new(),
                epochs: BTreeMap::new(),
                begun: BTreeMap::new(),
            },
            Err(error) => return Err(error).with_context(cannot),
        };
        if (&kept.topic, &kept.id) != (&topic, &id) {
            let message = format!(
                "{} is the state of topic {} with id {}, this is {topic} with id {id}; remove the \
                 file to begin anew, or put that id into it if this one was restored from that one",
                path.display(),
                kept.topic,
                kept.id
            );
            return Err(stop(Exit::Failed, message));
        }
        // Also where a server is silent, and the topic's partitions are not counted.
        kept.known = kept.known.or_else(|| kept.numbered());
        Ok(Self {
            path,
            topic: topic_id,
            kept,
            is_changed: false,
            _lock: lock,
        })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that the whole topic is read, which has so many partitions by now.
    pub(super) fn know(&mut self, count: u32) {
        let known = match self.kept.known {
            None | Some(0) => count,
            Some(known) => known,
        };
        let before = self.kept.known.replace(known);
        // A file that names no partition remembers nothing, and is not begun for this alone.
        self.is_changed |= before != Some(known) && !self.kept.partitions.is_empty();
    }

    /// If a topic that is read as a whole got this partition since it first was. It came after whatever --from said then.
    pub(super) fn is_added(&self, partition: PartitionId) -> bool {
        self.kept
            .known
            .is_some_and(|known| 0 < known && known <= partition.get())
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
        Some(match self.begun(partition) {
            // Where its first record is can change while there is none.
            Some(Start::Time(time)) => Start::Time(time),
            _ => Start::Resumed {
                topic: self.topic,
                offset,
                epoch: self.kept.epochs.get(&partition.get()).copied(),
            },
        })
    }

    /// By what a partition was begun that may begin later than it did, since nothing of it was printed yet.
    pub(super) fn begun(&self, partition: PartitionId) -> Option<Start> {
        let since = self.kept.begun.get(&partition.get())?;
        Some(since.map_or(Start::Earliest, Start::Time))
    }

    /// Notes where a partition goes on, and of which epoch the record before is.
    pub(super) fn set(&mut self, partition: PartitionId, next: Offset, epoch: Option<LeaderEpoch>) {
        let partition = partition.get();
        let before = self.kept.partitions.insert(partition, next.get());
        self.is_changed |= before != Some(next.get());
        self.is_changed |= self.kept.begun.remove(&partition).is_some();
        match epoch {
            Some(epoch) => self.kept.epochs.insert(partition, epoch),
            None => self.kept.epochs.remove(&partition),
        };
    }

    /// Notes where a partition begins that was to begin at `from`, and of which epoch the record before is. Nothing of it was
    /// printed yet.
    pub(super) fn begin(
        &mut self,
        partition: PartitionId,
        from: Start,
        (next, epoch): (Offset, Option<LeaderEpoch>),
    ) {
        let begun = match from {
            Start::Time(time) => Some(Some(time)),
            Start::Earliest | Start::LastN(_) => Some(None),
            _ => None,
        };
        self.set(partition, next, epoch);
        let begun = begun.map(|begun| (partition.get(), begun));
        self.is_changed |= begun.is_some();
        self.kept.begun.extend(begun);
    }

    /// Puts what was noted into the file, whole or not at all.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(super) fn save(&mut self) -> anyhow::Result<()> {
        if !self.is_changed {
            return Ok(());
        }
        let aside = beside(&self.path, ".new");
        let cannot = || format!("cannot write the state file {}", self.path.display());
        let bytes = serde_json::to_vec_pretty(&self.kept)?;
        let mut file = File::create(&aside).with_context(cannot)?;
        file.write_all(&bytes)
            .and_then(|()| file.sync_all())
            .with_context(cannot)?;
        fs::rename(&aside, &self.path).with_context(cannot)?;
        // Without its name a first state is none, and a run that began at the end would begin at another one.
        sync_dir_of(&self.path).with_context(cannot)?;
        self.is_changed = false;
        Ok(())
    }
}

/// Where a path leads that may be a link: what replaces the file would replace the link, and leave the file as it is.
fn led_to(path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    // As many as the kernel follows, which tells of more.
    for _ in 0..40 {
        match fs::read_link(&path) {
            Ok(to) => path = path.parent().unwrap_or(Path::new("")).join(to),
            Err(_) => break,
        }
    }
    path
}

fn sync_dir_of(path: &Path) -> io::Result<()> {
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

/// Locks a file beside the state, which stays: the state itself is another file whenever it was saved. Two that save one
/// state would each forget what the other one printed.
fn lock(path: &Path) -> anyhow::Result<File> {
    let beside = beside(path, ".lock");
    let cannot = |what| format!("cannot {what} the state file {}", path.display());
    let lock = File::create(&beside).with_context(|| cannot("write"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            let path = path.display();
            let message = format!(
                "another run has the state file {path} in use: end that one first, or name another file with --state"
            );
            Err(stop(Exit::Failed, message))
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| cannot("lock")),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.to_path_buf().into_os_string();
    name.push(ending);
    name.into()
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
        state.begin(other, Start::Latest, (offset, None));
        let third = PartitionId::new(5);
        state.begin(third, Start::Latest, (offset, Some(epoch)));
        state.save().unwrap();
        let refused = State::open(&path, &topic, id).unwrap_err().to_string();
        assert!(refused.contains("in use"), "{refused}");
        drop(state);

        let state = State::open(&path, &topic, id).unwrap();
        assert_eq!(state.next(partition), Some(offset));
        let start = |epoch| {
            Some(Start::Resumed {
                topic: id,
                offset,
                epoch,
            })
        };
        assert_eq!(state.start(partition), start(Some(epoch)));
        assert_eq!(state.start(third), start(Some(epoch)));
        assert_eq!(state.start(other), start(None));
        drop(state);
        assert!(State::open(&path, &topic, TopicId::from_bytes([8; 16])).is_err());
        fs::write(&path, "garbage").unwrap();
        assert!(State::open(&path, &topic, id).is_err());
    }

    /// A link was replaced by a file: a run elsewhere that used the file itself began again where that had been left, and one
    /// by the link beside it was not kept off.
    #[test]
    fn a_state_that_is_a_link_is_the_file_where_it_leads() {
        let dir = tempfile::tempdir().unwrap();
        let [link, other] = ["link", "other"].map(|name| dir.path().join(name));
        fs::create_dir(dir.path().join("kept")).unwrap();
        std::os::unix::fs::symlink("other", &link).unwrap();
        // There is no file yet.
        std::os::unix::fs::symlink("kept/state", &other).unwrap();
        let file = dir.path().join("kept/state");
        for next in [5, 6] {
            let mut state = open(&link);
            let partition = PartitionId::new(0);
            state.set(partition, Offset::new(next).unwrap(), None);
            state.save().unwrap();
            let topic = TopicName::new("events").unwrap();
            State::open(&file, &topic, TopicId::from_bytes([7; 16])).unwrap_err();
            drop(state);
            assert_eq!(open(&file).next(partition), Offset::new(next));
            assert!(link.is_symlink() && other.is_symlink() && !file.is_symlink());
        }
    }

    /// It kept where the first batch lies that may have such a record, and the next run printed older ones of it; and what was
    /// begun was the place that a run had come to, also where that was gone and nothing had been printed.
    #[test]
    fn a_state_knows_by_what_a_partition_was_begun_until_something_of_it_is_printed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let [timed, oldest, end] = [0, 1, 2].map(PartitionId::new);
        let time = Timestamp::from_millis(1_700_000_000_000);
        let place = (Offset::new(7).unwrap(), None);
        let mut state = open(&path);
        state.begin(timed, Start::Time(time), place);
        state.begin(oldest, Start::LastN(3), place);
        state.begin(end, Start::Latest, place);
        state.save().unwrap();
        drop(state);
        let mut state = open(&path);
        assert_eq!(state.start(timed), Some(Start::Time(time)));
        assert_eq!(state.begun(timed), Some(Start::Time(time)));
        assert_eq!(state.begun(oldest), Some(Start::Earliest));
        assert_eq!(state.begun(end), None);
        for partition in [timed, oldest] {
            let start = state.start(partition);
            state.set(partition, place.0, None);
            assert_eq!(state.begun(partition), None);
            assert!(matches!(
                state.start(partition),
                Some(Start::Resumed { .. })
            ));
            assert!(partition == oldest || start != state.start(partition));
        }
        state.save().unwrap();
        drop(state);
        assert_eq!(open(&path).begun(timed), None);
    }

    fn open(path: &Path) -> State {
        let topic = TopicName::new("events").unwrap();
        State::open(path, &topic, TopicId::from_bytes([7; 16])).unwrap()
    }

    /// What the next run, for which the topic has four partitions, takes for added to it.
    fn added(path: &Path) -> Vec<u32> {
        let mut state = open(path);
        state.know(4);
        let is_added = |partition: &u32| state.is_added(PartitionId::new(*partition));
        (0..4).filter(is_added).collect()
    }

    #[test]
    fn partitions_beyond_those_of_the_first_run_over_the_whole_topic_were_added() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        assert!(added(&path).is_empty());
        // One partition, as --partition reads it, tells nothing of the others.
        let mut state = open(&path);
        let zero = (Offset::ZERO, None);
        state.begin(PartitionId::new(0), Start::Earliest, zero);
        state.save().unwrap();
        drop(state);
        assert!(added(&path).is_empty());
        // A run that was killed before it had come to the second one of two.
        let mut state = open(&path);
        state.know(2);
        state.save().unwrap();
        drop(state);
        assert_eq!(added(&path), [2, 3]);
        assert_eq!(added(&path), [2, 3]);
    }

    #[test]
    fn a_state_file_that_counts_no_partitions_is_of_those_that_it_names_one_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let id = TopicId::from_bytes([7; 16]);
        let write = |partitions: &str| {
            let text =
                format!(r#"{{"topic": "events", "id": "{id}", "partitions": {partitions}}}"#);
            fs::write(&path, text).unwrap();
        };
        write(r#"{"0": 5, "1": 0}"#);
        // Where a server does not say what it has, none is counted: what was added began at the end.
        let state = open(&path);
        assert!(state.is_added(PartitionId::new(2)));
        assert!(!state.is_added(PartitionId::new(1)));
        drop(state);
        assert_eq!(added(&path), [2, 3]);
        // As of single partitions.
        write(r#"{"1": 5}"#);
        assert!(added(&path).is_empty());
        write("{}");
        assert!(added(&path).is_empty());
    }
}
