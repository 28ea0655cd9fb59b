//! Which files of an order's segments are there before they are received.

use std::sync::{Arc, Mutex, PoisonError};

use corelog_storage::disk::block_on;
use corelog_storage::intake::Left;

use super::claims::{Claim, Claims};
use super::{Order, ReceiveError, Wanted};
use crate::transfer::stop::Stop;

/// What is left of each segment of an order, and the right to write its file: if nobody else had it when the order
/// began, and until it is taken.
#[derive(Debug)]
pub(super) struct Files {
    each: Mutex<Vec<Option<Taken>>>,
}

/// The file of a segment, and what is left of it.
type Taken = (Claim, Left);

impl Files {
    /// Looks what is in the directory of `order`, once for all of its segments, and removes what nobody wants.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub(super) fn of(
        order: &Order,
        stop: &Stop,
        claims: &Arc<Claims>,
    ) -> Result<Self, ReceiveError> {
        // From then on nobody changes what is there of them.
        let claimed = order
            .segments
            .iter()
            .map(|wanted| claims.take(order, wanted.segment()));
        let claimed: Vec<_> = claimed.collect();
        let mut left = block_on(Left::of(&order.dir))?;
        let of_each = order.segments.iter().map(|wanted| {
            let (base, generation) = wanted.segment();
            left.take(base, generation)
        });
        let of_each: Vec<_> = of_each.collect();
        if order.is_alone {
            give_up(order, stop, claims, left);
        }
        let each = claimed.into_iter().zip(of_each);
        let each = each.map(|(claim, left)| claim.map(|claim| (claim, left)));
        Ok(Self {
            each: Mutex::new(each.collect()),
        })
    }

    /// Takes what is known of the segment `number`; none if it was being received when the order began.
    pub(super) fn take(&self, number: usize) -> Option<Taken> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        each.get_mut(number)?.take()
    }
}

/// Removes what is `left` of other segments from the first one of `order` on. A source that tells of others each
/// time would have had a file of each of them stay.
fn give_up(order: &Order, stop: &Stop, claims: &Arc<Claims>, mut left: Left) {
    let Some((first, _)) = order.segments.first().map(Wanted::segment) else {
        return;
    };
    let others: Vec<_> = left.segments().filter(|(base, _)| first <= *base).collect();
    for (base, generation) in others {
        let claim = claims.take(order, (base, generation));
        // Whoever is asked to stop has a successor, perhaps, whose files these are.
        if claim.is_none() || stop.is_set() {
            continue;
        }
        if let Err(error) = block_on(left.take(base, generation).remove(&order.dir)) {
            let dir = order.dir.path().display();
            tracing::debug!(%dir, segment = base.get(), %error, "what came of it in vain stays");
        }
    }
}
