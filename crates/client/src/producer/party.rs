//! Partitions of a producer that share connections.
//!
//! What was given up keeps its room on its connection, perhaps for ever. Once it keeps half of it, others that wait for room go on by
//! another connection, which they share.
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
    pub(super) fn user(&self) -> User {
        lock(&self.tenant).user
    }

    /// If the server has nothing of it that nobody heard of.
    pub(super) fn is_answered(&self) -> bool {
        Arc::strong_count(&self.claim) == 1
    }

    /// Goes on as those do that have left, or as the first of them; false where it has to stay.
    pub(super) fn leave(&self) -> bool {
        if !self.is_answered() {
            return false;
        }
        let (mut joined, mut tenant) = (lock(&self.parties.0), lock(&self.tenant));
        if Arc::ptr_eq(&joined, &tenant) {
            *joined = Arc::new(tenant.another());
        }
        *tenant = Arc::clone(&joined);
        true
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
    fn those_that_leave_go_on_together_and_who_is_not_answered_stays() {
        let parties = parties();
        let [one, other, unanswered] = [(); 3].map(|()| parties.join());
        let first = one.user();
        let left = Arc::downgrade(&lock(&one.tenant));
        let request = Arc::clone(&unanswered.claim);
        assert!(one.leave() && other.leave());
        assert!(!unanswered.leave());
        assert_ne!(one.user(), first);
        assert_eq!(other.user(), one.user());
        assert_eq!(parties.join().user(), one.user());
        assert_eq!(unanswered.user(), first);
        drop(request);
        assert!(left.upgrade().is_some(), "one is there");
        assert!(unanswered.leave());
        assert!(left.upgrade().is_none(), "its connections are let go of");
        assert_eq!(unanswered.user(), one.user());
        assert!(one.leave());
        assert_ne!(one.user(), other.user());
    }
}
