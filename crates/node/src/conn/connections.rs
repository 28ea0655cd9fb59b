//! The connections of a core that are open, as operators are told of them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use corelog_record::{CoreId, Timestamp};

use super::intake::Intake;
use super::link::Link;
use super::per_address::PerAddress;
use crate::metrics::ConnectionSnapshot;
use crate::rt::{self, Semaphore};

/// The open connections of a core, by number.
pub(crate) struct Connections {
    open: RefCell<BTreeMap<u64, Rc<Link>>>,
    /// How many each address has, on all cores.
    pub(super) per_address: PerAddress,
    pub(super) intake: Intake,
}

/// What is told of one.
#[derive(Debug)]
pub(super) struct Traffic {
    since: Timestamp,
    /// What the client calls itself.
    pub(super) client: RefCell<String>,
    received_bytes: Cell<u64>,
    sent_bytes: Cell<u64>,
}

impl Connections {
    /// None yet; those of each address are counted in `per_address`, which all cores share. What they
    /// receive has room in `receive_budget`.
    pub(crate) fn new(per_address: PerAddress, receive_budget: Semaphore) -> Self {
        Self {
            open: RefCell::default(),
            per_address,
            intake: Intake::new(receive_budget),
        }
    }

    pub(super) fn begin(&self, link: &Rc<Link>) {
        self.open.borrow_mut().insert(link.id, Rc::clone(link));
    }

    pub(super) fn end(&self, link: &Link) {
        self.open.borrow_mut().remove(&link.id);
    }

    /// Every connection of this core, the oldest first; others have the core between any two of them.
    pub(crate) async fn snapshot(&self, core: CoreId) -> Vec<ConnectionSnapshot> {
        let open: Vec<_> = self.open.borrow().values().cloned().collect();
        let mut told = Vec::with_capacity(open.len());
        for link in open {
            let traffic = &link.traffic;
            told.push(ConnectionSnapshot {
                core,
                id: link.id,
                peer: link.peer,
                client: traffic.client.borrow().clone(),
                since: traffic.since,
                received_bytes: traffic.received_bytes.get(),
                sent_bytes: traffic.sent_bytes.get(),
                in_flight: link.in_flight_count(),
            });
            rt::yield_if_needed().await;
        }
        told
    }
}

impl Traffic {
    /// That of a connection that begins now.
    pub(super) fn begin() -> Self {
        Self {
            since: rt::wall_clock(),
            client: RefCell::default(),
            received_bytes: Cell::new(0),
            sent_bytes: Cell::new(0),
        }
    }

    pub(super) fn received(&self, bytes: usize) {
        let before = self.received_bytes.get();
        self.received_bytes.set(before + bytes as u64);
    }

    pub(super) fn sent(&self, bytes: u64) {
        self.sent_bytes.set(self.sent_bytes.get() + bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::super::link::tests::linked;
    use super::*;
    use crate::core::tests::with_core;
    use crate::rt::tests::ways_given;

    /// Thousands of them were told in one go, and nobody else had the core meanwhile.
    #[test]
    fn others_have_the_core_between_any_two_connections_that_are_told() {
        with_core(|core| async move {
            let connections = Connections::new(PerAddress::default(), Semaphore::new(1 << 30));
            let mut clients = Vec::new();
            for _ in 0..3 {
                let (link, client) = linked(&core).await;
                connections.begin(&link);
                clients.push(client);
            }
            assert_eq!(ways_given(connections.snapshot(core.id)).await, 3);
        });
    }
}
