//! Partitions of a producer that share connections.
//!
//! What was given up keeps its room on its connection, perhaps for ever. Once it keeps half of it, others that wait for room go on by
//! another connection, which they share. Whoever has to look for a way anew, whatever for, goes by that one from then on: in the end
//! nobody is left on the first.
//!
//! The law: a partition does not go on so while something of it is not answered: what comes next would overtake that. It is the law of
//! this way alone: where a detour ends, the owner is another one, or a connection takes no more requests, the next batch takes the
//! new way at once, and may overtake what was given up. To wait for its answer there would have no end at a server that never gives it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client::Tenant;
use crate::connection::{Claim, User};

/// As whom partitions go that join now.
pub(super) struct Parties(Mutex<Arc<Tenant>>);

/// As whom a partition goes.
pub(super) struct Member {
    parties: Arc<Parties>,
    tenant: Mutex<Arc<Tenant>>,
    /// Held by each of its requests until that is answered.
    pub(super) claim: Claim,
}

impl Parties {
    pub(super) fn of(tenant: Tenant) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Arc::new(tenant))))
    }

    /// Another partition.
    pub(super) fn join(self: &Arc<Self>) -> Member {
        let tenant = Arc::clone(&lock(&self.0));
        Member {
            parties: Arc::clone(self),
            tenant: Mutex::new(tenant),
            claim: Claim::default(),
        }
    }
}

impl Member {
    /// As whom it looks for a way: as those do that left last, unless it has to stay.
    pub(super) fn user(&self) -> User {
        let (newest, mut tenant) = (lock(&self.parties.0), lock(&self.tenant));
        if self.is_answered() {
            *tenant = Arc::clone(&newest);
        }
        tenant.user
    }

    /// If the server has nothing of it that nobody heard of.
    pub(super) fn is_answered(&self) -> bool {
        Arc::strong_count(&self.claim) == 1
    }

    /// Has the next way be that of those that have left, or of the first of them; false where it has to stay.
    pub(super) fn leave(&self) -> bool {
        let (mut newest, tenant) = (lock(&self.parties.0), lock(&self.tenant));
        let may_leave = self.is_answered();
        if may_leave && Arc::ptr_eq(&newest, &tenant) {
            *newest = Arc::new(tenant.another());
        }
        may_leave
    }
}

fn lock(tenant: &Mutex<Arc<Tenant>>) -> MutexGuard<'_, Arc<Tenant>> {
    // A plain value cannot be left half set.
    tenant.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ClientConfig;
    use crate::client::Inner;

    pub(in crate::producer) fn parties() -> Arc<Parties> {
        let client = Inner::new(ClientConfig::new(["127.0.0.1:1"])).unwrap();
        Parties::of(Tenant::new(&Arc::new(client)))
    }

    #[test]
    fn who_leaves_or_looks_for_a_way_goes_by_the_newest_and_who_is_not_answered_stays() {
        let parties = parties();
        let [one, other, unanswered] = [(); 3].map(|()| parties.join());
        let first = one.user();
        let left = Arc::downgrade(&lock(&one.tenant));
        let request = Arc::clone(&unanswered.claim);
        assert!(one.leave() && other.leave());
        assert!(!unanswered.leave());
        let second = one.user();
        assert_ne!(second, first);
        assert_eq!(other.user(), second);
        assert_eq!(parties.join().user(), second);
        assert_eq!(unanswered.user(), first);
        drop(request);
        assert!(left.upgrade().is_some(), "one is there");
        assert_eq!(unanswered.user(), second);
        assert!(left.upgrade().is_none(), "its connections are let go of");
        assert!(one.leave());
        assert_ne!(one.user(), second);
        assert_eq!(other.user(), one.user());
    }
}
