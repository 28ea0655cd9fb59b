//! How fast the orders of one clone are, all together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use corelog_record::TopicId;

use super::Order;
use crate::transfer::budget::Budget;

/// The budgets of the orders that are being received: those of a topic at one rate share one, whichever of its partitions each
/// is of.
#[derive(Debug, Default)]
pub(super) struct Paces {
    shared: Mutex<HashMap<(TopicId, u64), Weak<Budget>>>,
}

impl Paces {
    /// The budget of an order, for as long as it is received.
    pub(super) fn of(&self, order: &Order) -> Arc<Budget> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.retain(|_, budget| 0 < budget.strong_count());
        let key = (order.id, order.rate);
        let known = shared.get(&key).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let budget = Arc::new(Budget::new(order.rate));
            shared.insert(key, Arc::downgrade(&budget));
            budget
        })
    }
}
