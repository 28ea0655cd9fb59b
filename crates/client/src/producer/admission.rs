//! How a record or a batch gets in that has to wait, since the partition that it is for is in trouble, or others wait for that.

use std::pin::pin;
use std::sync::Arc;

use tokio::time::Instant;

use super::place::{Place, Wanted};
use super::queue::Queue;
use super::share::Turn;
use super::{Producer, Room};
use crate::Error;

/// Where something goes, its room in memory, and its turn there if it waited for one, to be kept until it is there.
pub(super) type Admitted = (Place, Room, Option<Turn>);

impl Producer {
    /// Lets something in where it goes, at once if nobody waits for that.
    pub(super) async fn let_in(
        &self,
        wanted: Wanted<'_>,
        (place, room): (Place, Room),
    ) -> Result<Admitted, Error> {
        if place.queue.origin.held.is_open(room.num_permits()) {
            return Ok((place, room, None));
        }
        drop(room);
        Box::pin(self.admit(wanted, place.queue)).await
    }

    /// Waits until a partition in trouble may hold as much: the one of `queue`, or, of what has no key, any. It waits without
    /// room in memory, which is for others meanwhile.
    async fn admit(&self, wanted: Wanted<'_>, queue: Arc<Queue>) -> Result<Admitted, Error> {
        if !wanted.goes_anywhere() {
            return self.admit_in_turn(wanted, queue).await;
        }
        let line = self.inner.keyless_line(wanted.topic);
        let _first = match line {
            Some(line) => Some(line.lock_owned().await),
            None => None,
        };
        let mut in_turn = pin!(self.admit_in_turn(wanted, Arc::clone(&queue)));
        loop {
            // Before the look: what changes behind it is told.
            let told = self.inner.share.told();
            if let Some(place) = self.open_place(wanted) {
                // What it was given while it waited elsewhere, or is about to be, would be waited for here.
                in_turn.set(self.admit_in_turn(wanted, Arc::clone(&queue)));
                if let Some(admitted) = self.admit_past(place, wanted.memory_bytes).await? {
                    return Ok(admitted);
                }
            }
            tokio::select! {
                biased;
                // First: where it need not wait is better than where it has waited.
                () = told => {}
                admitted = &mut in_turn => return admitted,
            }
        }
    }

    /// A partition where what has no key need not wait for others, if there is one that is known. It asks nobody: what it was
    /// given where it waits would lie idle meanwhile.
    fn open_place(&self, wanted: Wanted<'_>) -> Option<Place> {
        let (place, bytes) = (self.inner.place(wanted)?, wanted.memory_bytes as usize);
        Some(place).filter(|place| place.queue.origin.held.is_open(bytes))
    }

    /// Waits for memory for what need not wait for its partition, if that is so still behind it.
    async fn admit_past(&self, place: Place, bytes: u32) -> Result<Option<Admitted>, Error> {
        let room = self.reserve(bytes).await?;
        // Others may have come first while this one waited for memory.
        let is_open = place.queue.origin.held.is_open(bytes as usize);
        Ok(is_open.then_some((place, room, None)))
    }

    /// Waits until the partition may hold as much, behind those who came before; where a key goes to another one by then, or
    /// what has none has to, until that may.
    async fn admit_in_turn(
        &self,
        wanted: Wanted<'_>,
        mut queue: Arc<Queue>,
    ) -> Result<Admitted, Error> {
        let bytes = wanted.memory_bytes as usize;
        let mut turn = Arc::clone(&queue.origin.held).turn().await;
        // A batch that lingers may be what holds the memory, of this partition or of another one.
        let tell = || {
            for queue in self.inner.queues() {
                if queue.origin.held.is_short() {
                    queue.news.notify_one();
                }
            }
        };
        loop {
            queue.origin.held.room(bytes, tell).await;
            // Anew: the topic may be another one by now, in which its key goes elsewhere, or the lane have ended.
            let anywhere = Wanted {
                begun: Instant::now(),
                ..wanted
            };
            let partition = (!wanted.goes_by_key()).then_some(queue.origin.partition);
            let there = Wanted {
                partition,
                ..anywhere
            };
            // Nobody is asked for a partition that is gone where it is known that another one will do.
            let is_known = |wanted| self.inner.place(wanted).is_some();
            let is_gone = wanted.goes_anywhere() && !is_known(there) && is_known(anywhere);
            let there = if is_gone { anywhere } else { there };
            let (place, room) = match self.find(there).await {
                // Nor may there be such a partition any more.
                Err(Error::NoSuchPartition { .. }) if wanted.goes_anywhere() => {
                    self.find(anywhere).await?
                }
                found => found?,
            };
            let held = &place.queue.origin.held;
            let is_there = Arc::ptr_eq(&place.queue, &queue);
            // Others may have come first meanwhile.
            let has_room = match is_there {
                true => held.has_room(bytes),
                false => held.is_open(bytes),
            };
            if has_room {
                return Ok((place, room, Some(turn)));
            }
            if !is_there {
                // Without the turn here: who has the one there may come to wait for it.
                drop((turn, room));
                queue = place.queue;
                turn = Arc::clone(&queue.origin.held).turn().await;
            }
        }
    }
}
