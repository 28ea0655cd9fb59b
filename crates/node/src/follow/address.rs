//! Where other nodes are reached, as clients and followers name it.

use std::net::SocketAddr;

use corelog_protocol::limits;

use crate::failure::{Failure, invalid};

/// Checks the addresses of nodes that a request names in `field`, as many as may be.
///
/// # Errors
/// `InvalidRequest` if they are too many, or one is no `host:port`.
pub(crate) fn check_addresses(field: &str, addresses: &[String]) -> Result<(), Failure> {
    let count_max = limits::SOURCE_COUNT_MAX as usize;
    if addresses.len() > count_max {
        return Err(invalid(field, format!("{count_max} nodes at most, please")));
    }
    match addresses.iter().find(|address| !is_address(address)) {
        Some(bad) => Err(invalid(field, format!("{bad:?} is no host:port"))),
        None => Ok(()),
    }
}

fn is_address(address: &str) -> bool {
    let (host, port) = address.rsplit_once(':').unwrap_or_default();
    let is_short = address.len() <= limits::ADDRESS_BYTES_MAX as usize;
    is_short && !host.is_empty() && port.parse::<u16>().is_ok()
}

/// The host of `host:port`.
pub(super) fn host_of(address: &str) -> Option<&str> {
    address.rsplit_once(':').map(|(host, _)| host)
}

/// If the node at `source` may be asked at an address that it told as well: a name that is not the one it was
/// asked at may be anybody's, and take long to look up.
pub(super) fn is_beside(told: &str, source: &str) -> bool {
    let is_numeric = told.parse::<SocketAddr>().is_ok();
    is_numeric || (!told.is_empty() && host_of(told) == host_of(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_asked_where_it_is_known_or_by_number() {
        for (told, source, expected) in [
            ("log1:7401", "log1:7400", true),
            ("10.0.0.1:7401", "log1:7400", true),
            ("[::1]:7401", "log1:7400", true),
            ("log2:7401", "log1:7400", false),
            ("log1:7401", "10.0.0.1:7400", false),
            ("", "log1:7400", false),
        ] {
            assert_eq!(is_beside(told, source), expected, "{told} of {source}");
        }
    }
}
