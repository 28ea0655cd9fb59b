//! Segments that were received from a peer, and whose files did not get their names any more.

use std::collections::BTreeMap;

use super::Recovery;
use crate::Error;
use crate::disk::Dir;
use crate::intake::partial;
use crate::log::Ownership;
use crate::segment::name;
use crate::steps;

impl<D: Dir> Recovery<D> {
    /// Gives the files of segments that were being installed their names. The manifest names them, and
    /// it was told when all of their bytes were synced.
    pub(super) async fn name_received(&mut self) -> Result<(), Error> {
        // A log has many segments, and few of them are being received.
        let mut received = BTreeMap::new();
        for entry in &self.entries {
            let of = partial::parse(&entry.name).map(|(store, _)| store);
            if let Some(store) = of.filter(|store| self.is_awaited(store, entry.bytes)) {
                received
                    .entry(store.to_owned())
                    .or_insert_with(|| entry.name.clone());
            }
        }
        if received.is_empty() {
            return Ok(());
        }
        let dir = self.context.way.dir.clone();
        for (store, partial) in &received {
            steps::rename(&dir, partial, store).await?;
        }
        steps::sync(&dir).await?;
        self.entries = steps::list_known(&dir).await?;
        Ok(())
    }

    /// Whether what the file `partial` holds of a segment may yet come into the log: in the place of one that it has, or behind
    /// all that it has. That is the source's of a log that follows, and of another one nobody's.
    pub(super) fn may_come_in(&self, partial: &str) -> bool {
        let Some((base, generation)) = partial::segment(partial) else {
            return false;
        };
        let segments = self.manifest.state().segments();
        match segments.binary_search_by_key(&base, |segment| segment.base) {
            Ok(at) => segments[at].generation <= generation,
            Err(at) => at == segments.len() && self.context.ownership == Ownership::Follower,
        }
    }

    /// Whether the manifest names `store`, with a seal of `bytes` bytes, and it is not there.
    fn is_awaited(&self, store: &str, bytes: u64) -> bool {
        let Some((base, generation)) = name::parse(store) else {
            return false;
        };
        let segments = self.manifest.state().segments();
        let found = segments.binary_search_by_key(&base, |segment| segment.base);
        let named = found.ok().map(|at| &segments[at]);
        let seal = named.filter(|named| named.generation == generation);
        let seal = seal.and_then(|named| named.seal.as_ref());
        seal.is_some_and(|seal| seal.digest.bytes == bytes) && self.length(store).is_none()
    }
}
