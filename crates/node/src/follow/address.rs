//! Where other nodes are reached, as clients and followers name it.

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::limits;

use crate::failure::{Failure, failure_with};

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

fn invalid(field: &str, message: String) -> Failure {
    let detail = Detail {
        field: Some(field.to_owned()),
        ..Detail::default()
    };
    failure_with(ErrorCode::InvalidRequest, message, detail)
}
