//! Torn bytes in the node's quarantine: how long they stay.

use corelog_storage::format::quarantine::Name;
use corelog_storage::{Error, quarantine};

use super::refusal::with_causes;
use super::state::Core;
use crate::{catalog, rt};

impl Core {
    /// Lets the oldest torn bytes go until the node keeps no more of them than it may, in the
    /// background. Called after logs were opened, which is what makes torn bytes.
    pub(crate) fn trim_quarantine(&self) {
        let dir = catalog::quarantine_dir(&self.root);
        rt::spawn_background(async move {
            let trimmed = quarantine::trim(&dir, quarantine::TORN_BYTES_MAX).await;
            tell_removed(trimmed.map(|(_, removed)| removed));
        })
        .detach();
    }

    /// Lets all torn bytes go, in the background: nobody was promised them, and what finds no space was.
    pub(super) fn make_room(&self) {
        let dir = catalog::quarantine_dir(&self.root);
        rt::spawn_background(async move { tell_removed(quarantine::make_room(&dir).await) })
            .detach();
    }
}

fn tell_removed(removed: Result<Vec<Name>, Error>) {
    match removed {
        Ok(removed) => {
            for name in removed {
                tracing::warn!(file = %name, "the oldest torn bytes left the quarantine");
            }
        }
        Err(error) => {
            let error = with_causes(&error);
            tracing::warn!(%error, "the quarantine is trimmed at the next start");
        }
    }
}
