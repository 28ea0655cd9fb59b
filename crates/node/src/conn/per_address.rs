//! How many connections each address has, over all cores. The lock is held for a look at a table, when a
//! connection comes and when it goes, never for a request.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections of each address that has any.
#[derive(Debug, Clone, Default)]
pub(crate) struct PerAddress(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection's place among those of its address, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: PerAddress,
    address: IpAddr,
}

impl PerAddress {
    /// A place for one more connection of `address`, if it has fewer than `count_max`.
    pub(super) fn take(&self, address: IpAddr, count_max: usize) -> Option<Place> {
        let address = counted(address);
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= count_max {
            return None;
        }
        *count += 1;
        let of = self.clone();
        Some(Place { of, address })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.of.counts();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Whom an address is counted with: a machine has all addresses of an IPv6 network of 64 bits.
fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
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
