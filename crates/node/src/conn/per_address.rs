//! How many connections each address has, over all cores. The lock is held for a look at a table, when a
//! connection comes and when it goes, never for a request.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::machine::Machine;

/// The connections of each address that has any.
#[derive(Debug, Clone, Default)]
pub(crate) struct PerAddress(Arc<Mutex<HashMap<Machine, usize>>>);

/// One connection's place among those of its address, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: PerAddress,
    machine: Machine,
}

impl PerAddress {
    /// A place for one more connection of `address`, if it has fewer than `count_max`.
    pub(super) fn take(&self, address: IpAddr, count_max: usize) -> Option<Place> {
        let machine = Machine::of(address);
        let mut counts = self.counts();
        let count = counts.entry(machine).or_default();
        if *count >= count_max {
            return None;
        }
        *count += 1;
        let of = self.clone();
        Some(Place { of, machine })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Machine, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.of.counts();
        if let Some(count) = counts.get_mut(&self.machine) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.machine);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(table: &PerAddress, address: &str) -> Option<Place> {
        table.take(address.parse().expect("an address"), 2)
    }

    #[test]
    fn each_address_has_its_own_places_and_gets_them_back() {
        let table = PerAddress::default();
        let first = take(&table, "10.0.0.1").expect("free");
        let second = take(&table, "10.0.0.1").expect("free");
        assert!(take(&table, "10.0.0.1").is_none());
        assert!(take(&table, "10.0.0.2").is_some());
        drop(first);
        assert!(take(&table, "10.0.0.1").is_some());
        drop(second);
        assert!(table.counts().is_empty(), "what is gone is forgotten");
    }

    #[test]
    fn an_ipv6_network_counts_as_one_and_a_mapped_address_as_what_it_is() {
        let table = PerAddress::default();
        let _first = take(&table, "2001:db8::1").expect("free");
        let _second = take(&table, "2001:db8::ffff:2").expect("free");
        assert!(take(&table, "2001:db8::3").is_none());
        assert!(take(&table, "2001:db8:0:1::3").is_some());
        let _third = take(&table, "10.0.0.1").expect("free");
        let _fourth = take(&table, "::ffff:10.0.0.1").expect("free");
        assert!(take(&table, "10.0.0.1").is_none());
    }
}
