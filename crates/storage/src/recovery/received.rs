//! Segments that were received from a peer, and whose files did not get their names any more.

use super::Recovery;
use crate::Error;
use crate::disk::{Dir, Entry};
use crate::error::At;
use crate::intake::partial;
use crate::segment::name;

impl<D: Dir> Recovery<D> {
    /// Gives the files of segments that were being installed their names. The manifest names them, and
    /// it was told when all of their bytes were synced.
    pub(super) async fn name_received(&mut self) -> Result<(), Error> {
        if !self
            .entries
            .iter()
            .any(|entry| partial::is_partial(&entry.name))
        {
            return Ok(());
        }
        let dir = self.context.dir.clone();
        let mut is_named = false;
        for named in self.manifest.state().segments() {
            let store = name::store(named.base, named.generation);
            let bytes = named.seal.as_ref().map(|seal| seal.digest.bytes);
            let is_it = |entry: &&Entry| {
                let of = partial::parse(&entry.name).map(|(of, _)| of);
                of == Some(&store) && Some(entry.bytes) == bytes
            };
            let received = self.entries.iter().find(is_it);
            if let (None, Some(received)) = (self.length(&store), received) {
                let renamed = dir.rename(&received.name, &dir, &store).await;
                renamed.map_err(|e| At::new(&dir, &received.name).io("rename", e))?;
                is_named = true;
            }
        }
        if is_named {
            dir.sync().await.map_err(|e| At::dir(&dir).io("sync", e))?;
            let entries = dir.list().await;
            self.entries = entries.map_err(|e| At::dir(&dir).io("list", e))?;
        }
        Ok(())
    }
}
