//! The first files of a partition: its directory, its manifest, what tells of them, its mark.

use corelog_record::HistoryId;

use super::begun::{Begun, tell};
use super::{Identity, Log};
use crate::Error;
use crate::disk::Dir;
use crate::format::edit::Edit;
use crate::format::manifest::Header;
use crate::format::mark::Slot;
use crate::manifest::Manifest;
use crate::mark::Mark;
use crate::steps;

/// What the first files say.
pub(crate) struct Birth {
    pub(crate) header: Header,
    pub(crate) edits: Vec<Edit>,
    pub(crate) slot: Slot,
}

impl Birth {
    /// Makes what is missing: the mark behind what is to tell of the log.
    ///
    /// # Errors
    /// [`Error::StorageFull`]: what was made stays, the rest can be tried again. Any other error
    /// leaves the disk in an unknown state.
    pub(crate) async fn make<D: Dir>(
        &self,
        dir: &D,
        manifest: &mut Option<Manifest<D>>,
        untold: &mut Option<Begun<D>>,
        mark: &mut Option<Mark<D>>,
    ) -> Result<(), Error> {
        if manifest.is_none() {
            steps::create(dir).await?;
            *manifest = Some(Manifest::create(dir.clone(), self.header, &self.edits).await?);
        }
        tell(untold).await?;
        if mark.is_none() {
            *mark = Some(Mark::create(dir.clone(), self.slot).await?);
        }
        Ok(())
    }
}

impl<D: Dir> Log<D> {
    /// The header of a manifest of this copy of the log `history`.
    pub(super) fn header(&self, history: HistoryId) -> Header {
        let Identity {
            topic, partition, ..
        } = self.identity;
        Header {
            topic,
            partition,
            history,
            copy: self.copy,
        }
    }
}
