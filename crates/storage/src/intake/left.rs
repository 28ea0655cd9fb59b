//! What earlier intakes left in the directory of a log.

use std::collections::BTreeMap;

use corelog_record::{Offset, Timestamp};

use super::{Error, partial};
use crate::disk::Dir;
use crate::segment::name;
use crate::steps;

/// What earlier intakes left, by the base and generation of the segment. A directory may hold the files of many
/// segments: it is read once for all that are to come into it.
#[derive(Debug, Default)]
pub struct Left {
    /// Since when each file is there, and its name.
    files: BTreeMap<(Offset, u32), Vec<(Timestamp, String)>>,
}

impl Left {
    /// What is left in `dir`.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn of<D: Dir>(dir: &D) -> Result<Self, Error> {
        let mut left = Self::default();
        for entry in steps::list(dir).await? {
            let Some((store, begun)) = partial::parse(&entry.name) else {
                continue;
            };
            if let Some(segment) = name::parse(store) {
                let files = left.files.entry(segment).or_default();
                files.push((begun, entry.name));
            }
        }
        Ok(left)
    }

    /// The base and generation of each segment of which something is left, in order.
    pub fn segments(&self) -> impl Iterator<Item = (Offset, u32)> + '_ {
        self.files.keys().copied()
    }

    /// Takes what is left of one segment, out of this.
    #[must_use]
    pub fn take(&mut self, base: Offset, generation: u32) -> Self {
        Self {
            files: self
                .files
                .remove_entry(&(base, generation))
                .into_iter()
                .collect(),
        }
    }

    /// Removes the files, and the indexes that were made of them: of segments that are not the log's.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn remove<D: Dir>(self, dir: &D) -> Result<(), Error> {
        for ((base, generation), files) in self.files {
            steps::remove(dir, &name::index(base, generation)).await?;
            for (_, file) in files {
                steps::remove(dir, &file).await?;
            }
        }
        Ok(())
    }

    /// The newest file of a segment; older ones are removed.
    pub(super) async fn newest<D: Dir>(
        mut self,
        dir: &D,
        segment: (Offset, u32),
    ) -> Result<Option<String>, Error> {
        let mut files = self.files.remove(&segment).unwrap_or_default();
        files.sort();
        let newest = files.pop();
        for (_, older) in files {
            steps::remove(dir, &older).await?;
        }
        Ok(newest.map(|(_, name)| name))
    }
}
