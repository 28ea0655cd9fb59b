//! What of a damaged segment is damaged: the sound batches around it are restored.

use std::ops::Range;
use std::rc::Rc;

use corelog_record::{HistoryId, Offset};

use super::copy::{Copy, Stores};
use crate::Error;
use crate::disk::Dir;
use crate::format::edit::{Epoch, Seal};
use crate::log;
use crate::scrub::{Target, Walk};
use crate::segment::{Point, name};
use crate::store::Store;

impl<D: Dir> Copy<'_, D> {
    /// Takes the segment `seal` of a log with these `epochs` over as it is, and tells what of it is damaged.
    ///
    /// # Errors
    /// [`Error::StorageFull`]; any error of the disk, but for what it does not give of the source.
    pub(super) async fn with_damage(
        &self,
        generation: u32,
        seal: &Seal,
        epochs: &Rc<[Epoch]>,
    ) -> Result<Vec<Range<Offset>>, Error> {
        self.as_it_is(seal.digest.base, generation).await?;
        let found = damage_in(self.target, self.history, generation, seal, epochs).await;
        if !found.as_ref().is_err_and(Error::is_unreadable) {
            return found;
        }
        // The very file cannot be read: in a copy bytes that are wrong stand for those that it lacks.
        let copy = Self {
            stores: Stores::Copied,
            ..*self
        };
        copy.as_it_is(seal.digest.base, generation).await?;
        damage_in(self.target, self.history, generation, seal, epochs).await
    }
}

/// The offsets of the segment `seal`, in the files of `generation` in `dir`, that have no batch which is that
/// of the log, whose `epochs` these are; in order. What is stepped over is found as a scrub does.
///
/// # Errors
/// Any error of the disk.
async fn damage_in<D: Dir>(
    dir: &D,
    history: HistoryId,
    generation: u32,
    seal: &Seal,
    epochs: &Rc<[Epoch]>,
) -> Result<Vec<Range<Offset>>, Error> {
    let (base, end) = (Point::starting(seal.digest.start()), Point::sealed(seal));
    let store = Store::closed(dir, name::store(base.offset, generation));
    let mut walk = Walk::new(Rc::new(Target {
        dir: dir.clone(),
        history,
        store: Rc::downgrade(&store),
        base,
        end,
        epochs: epochs.clone(),
        index_name: name::index(base.offset, generation),
        interval_bytes: log::INDEX_INTERVAL_BYTES,
    }));
    let mut damage = Vec::new();
    while !walk.is_done() {
        match walk.run(&store, PIECE_BYTES).await {
            Err(error) if error.is_missing() => {
                damage.push(base.offset..end.offset);
                return Ok(damage);
            }
            walked => walked?.1.map_or(Ok(()), Err)?,
        }
        damage.extend(walk.take_bad());
    }
    let (verdict, _) = walk.conclude();
    damage.extend(verdict.replaced);
    damage.sort_by_key(|range| range.start);
    Ok(damage)
}

/// What is read in one go.
const PIECE_BYTES: usize = 4 << 20;
