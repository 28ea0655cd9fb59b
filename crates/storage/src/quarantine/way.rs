//! The way of one partition's files to the quarantine of its node.

use std::io::ErrorKind;

use corelog_record::{PartitionId, Position, Timestamp, TopicId};

use super::{Name, Reason, is_unfinished};
use crate::disk::{Dir, Entry, File};
use crate::error::{At, Error};
use crate::steps;
use crate::store::{Check, Store, copy_range};

/// Whose files go to quarantine, and when.
pub(crate) struct Way<D: Dir> {
    /// The directory of the partition.
    pub(crate) dir: D,
    pub(crate) quarantine: D,
    pub(crate) topic: TopicId,
    pub(crate) partition: PartitionId,
    pub(crate) time: Timestamp,
}

impl<D: Dir> Way<D> {
    /// Has the quarantine be there, and tells what is in it. What an opening that was killed left there unfinished goes:
    /// the bytes are where they were.
    ///
    /// # Errors
    /// [`Error::StorageFull`]; any error of the disk.
    pub(crate) async fn open(&self) -> Result<Vec<Entry>, Error> {
        steps::create(&self.quarantine).await?;
        let taken = steps::list(&self.quarantine).await?;
        let is_left = |name: &Name| {
            is_unfinished(name) && (name.topic, name.partition) == (self.topic, self.partition)
        };
        for Entry { name, .. } in &taken {
            if name.parse().is_ok_and(|name: Name| is_left(&name)) {
                steps::remove(&self.quarantine, name).await?;
            }
        }
        Ok(taken)
    }

    /// What bytes of `file` are called there, unless something is called so: what is there is never replaced.
    pub(crate) fn named(&self, reason: Reason, position: Position, file: &str) -> Name {
        Name {
            time: self.time,
            reason,
            topic: self.topic,
            partition: self.partition,
            position,
            file: file.to_owned(),
        }
    }

    /// Moves `file` there, beside what is `taken`. Returns what it is called from then on. `check` may end it, where it takes
    /// its time.
    ///
    /// # Errors
    /// [`Error::StorageFull`]; any error of the disk, and of `check`. The file is then where it was.
    pub(crate) async fn take(
        &self,
        file: &str,
        reason: Reason,
        taken: &[Entry],
        check: &Check<'_>,
    ) -> Result<String, Error> {
        let name = free(self.named(reason, Position::ZERO, file), taken);
        match self.dir.rename(file, &self.quarantine, &name).await {
            Err(error) if error.kind() == ErrorKind::CrossesDevices => {
                self.carry(file, &name, check).await?;
            }
            moved => {
                let at = || At::new(&self.dir, file);
                moved.map_err(|e| at().space("move to quarantine", e))?;
            }
        }
        Ok(name)
    }

    /// The same from one file system to another, as where either directory is a link to another volume: the copy is durable
    /// before the file goes.
    async fn carry(&self, file: &str, name: &str, check: &Check<'_>) -> Result<(), Error> {
        let store = Store::closed(&self.dir, file.to_owned());
        let bytes = store.file().await?.len().await;
        let bytes = bytes.map_err(|e| store.at().io("measure", e))?;
        let copied = copy_range(&store, 0..bytes, (&self.quarantine, name), check).await;
        let closed = store.close().await;
        copied.and(closed)?;
        steps::remove(&self.dir, file).await
    }

    /// Makes durable what was moved.
    ///
    /// # Errors
    /// Any error of the disk.
    pub(crate) async fn sync(&self) -> Result<(), Error> {
        steps::sync(&self.quarantine).await?;
        steps::sync(&self.dir).await
    }
}

/// `name`, or the same at the next millisecond at which nothing is called so: what is there is never
/// replaced.
pub(crate) fn free(mut name: Name, taken: &[Entry]) -> String {
    while taken.iter().any(|entry| entry.name == name.to_string()) {
        name.time = name.time.saturating_add_millis(1);
    }
    name.to_string()
}

/// Those of the files in quarantine that may hold what `name` is to hold, `bytes` bytes of the same place.
pub(crate) fn same<'a>(
    name: &Name,
    taken: &'a [Entry],
    bytes: u64,
) -> impl Iterator<Item = &'a str> {
    let time = name.time;
    let wanted = name.clone();
    let is_of = move |entry: &&Entry| {
        let found = entry.name.parse::<Name>().ok();
        let found = found.map(|found| Name { time, ..found });
        entry.bytes == bytes && found.as_ref() == Some(&wanted)
    };
    taken.iter().filter(is_of).map(|entry| entry.name.as_str())
}
