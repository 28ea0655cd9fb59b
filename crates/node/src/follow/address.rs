//! Where other nodes are reached, as clients and followers name it.

use std::net::SocketAddr;

use corelog_protocol::limits;

use crate::failure::{Amount, Failure, invalid};
use crate::names::host_of;

/// Checks the addresses of nodes that a request names in `field`, as many as may be.
///
/// # Errors
/// `InvalidRequest` if they are too many, or one is no `host:port`.
pub(crate) fn check_addresses(field: &str, addresses: &[String]) -> Result<(), Failure> {
    let named = Amount {
        found: addresses.len() as u64,
        limit: limits::SOURCE_COUNT_MAX.into(),
    };
    named.check(field, "nodes")?;
    match addresses.iter().find(|address| !is_address(address)) {
        Some(bad) => Err(invalid(field, format!("{bad:?} is no host:port"))),
        None => Ok(()),
    }
}

/// If it may be the address of a node. It is written down, and told to people: no character is in it that no name has.
pub(super) fn is_address(address: &str) -> bool {
    let (host, port) = address.rsplit_once(':').unwrap_or_default();
    let is_short = address.len() <= limits::ADDRESS_BYTES_MAX as usize;
    let is_named = |c: char| c.is_ascii_alphanumeric() || "-_.:[]%".contains(c);
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    is_short && !host.is_empty() && host.chars().all(is_named) && is_port
}

/// If the node at `source` may be asked at an address that it told as well: a name that is not the one it was
/// asked at may be anybody's, and take long to look up.
pub(super) fn is_beside(told: &str, source: &str) -> bool {
    let is_numeric = told.parse::<SocketAddr>().is_ok();
    is_address(told) && (is_numeric || host_of(told) == host_of(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who followed at an address with an escape in it moved the cursor of whoever looked at the topic.
    #[test]
    fn an_address_has_no_character_that_no_name_has() {
        for good in ["log-1.b_c:7400", "10.0.0.1:1", "[fe80::1%eth0]:7400"] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "",
            "a",
            ":1",
            "a:",
            "a:x",
            "a:+1",
            "a:70000",
            "a b:1",
            "a\u{1b}[2J:1",
            "a\n:1",
            "a:1\n",
            "a\u{9b}:1",
            "\u{202e}a:1",
            "a/b:1",
        ] {
            assert!(!is_address(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_source_is_asked_where_it_is_known_or_by_number() {
        for (told, source, expected) in [
            ("log1:7401", "log1:7400", true),
            ("10.0.0.1:7401", "log1:7400", true),
            ("[::1]:7401", "log1:7400", true),
            ("log2:7401", "log1:7400", false),
            ("log1:7401", "10.0.0.1:7400", false),
            ("log1:74\u{1b}[2J", "log1:7400", false),
            ("", "log1:7400", false),
        ] {
            assert_eq!(is_beside(told, source), expected, "{told} of {source}");
        }
    }
}
