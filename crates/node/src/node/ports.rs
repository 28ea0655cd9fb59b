//! The addresses a node listens on and what clients are told.

use std::net::SocketAddr;
use std::time::Duration;

use super::Addresses;
use crate::config::{Advertise, NodeConfig};
use crate::error::StartError;
use crate::rt::Port;

/// The ports of a node, claimed and not yet listening.
#[derive(Debug)]
pub(super) struct Ports {
    /// Each core's socket on the shared port.
    pub(super) shared: Vec<Port>,
    /// Each core's own port.
    pub(super) own: Vec<Port>,
    pub(super) addresses: Addresses,
}

/// Claims the shared port and each core's own.
pub(super) fn claim(config: &NodeConfig) -> Result<Ports, StartError> {
    let failed = |address| move |source| StartError::at_listen(address, source);
    let first = Port::claim_within(config.listen, PATIENCE).map_err(failed(config.listen))?;
    let listen = first.address();
    let mut shared = vec![first];
    for _ in 1..config.cores {
        let joined = shared[0].join().map_err(failed(listen))?;
        shared.push(joined);
    }
    let mut own = Vec::with_capacity(config.cores);
    for number in 1..=config.cores {
        // `check` has seen that there is room; port 0 stays 0.
        let port = match config.listen.port() {
            0 => 0,
            port => port.saturating_add(u16::try_from(number).unwrap_or(u16::MAX)),
        };
        let address = SocketAddr::new(config.listen.ip(), port);
        own.push(Port::claim_within(address, PATIENCE).map_err(failed(address))?);
    }
    let cores: Vec<SocketAddr> = own.iter().map(Port::address).collect();
    let addresses = told(listen, cores, config.advertise.as_ref());
    Ok(Ports {
        shared,
        own,
        addresses,
    })
}

/// How long a killed predecessor may take to let go of its ports, and an address to be there; far more than was ever seen of
/// the one.
const PATIENCE: Duration = Duration::from_secs(1);

/// What clients are told: the advertised host and ports, or the addresses themselves.
fn told(listen: SocketAddr, cores: Vec<SocketAddr>, advertise: Option<&Advertise>) -> Addresses {
    let (advertised, advertised_cores) = match advertise {
        None => (
            listen.to_string(),
            cores.iter().map(SocketAddr::to_string).collect(),
        ),
        Some(Advertise { host, port }) => {
            let host = if host.contains(':') && !host.starts_with('[') {
                format!("[{host}]")
            } else {
                host.clone()
            };
            // `check` has seen that there is room here, too.
            let core_port = |(number, core): (u16, &SocketAddr)| match port {
                Some(port) => port.saturating_add(1).saturating_add(number),
                None => core.port(),
            };
            let told_cores = (0..)
                .zip(&cores)
                .map(|core| format!("{host}:{}", core_port(core)));
            let told_cores = told_cores.collect();
            (
                format!("{host}:{}", port.unwrap_or(listen.port())),
                told_cores,
            )
        }
    };
    Addresses {
        listen,
        cores,
        advertised,
        advertised_cores,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(advertise: Option<&Advertise>) -> Addresses {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        told(at(7400), vec![at(7401), at(7402)], advertise)
    }

    #[test]
    fn clients_are_told_the_addresses_themselves_unless_others_are_advertised() {
        let plain = addresses(None);
        assert_eq!(plain.advertised, "127.0.0.1:7400");
        assert_eq!(plain.advertised_cores, ["127.0.0.1:7401", "127.0.0.1:7402"]);
        let named = addresses(Some(&Advertise {
            host: "log.example".into(),
            port: None,
        }));
        assert_eq!(named.advertised, "log.example:7400");
        assert_eq!(named.advertised_cores[1], "log.example:7402");
        let mapped = addresses(Some(&Advertise {
            host: "::1".into(),
            port: Some(9000),
        }));
        assert_eq!(mapped.advertised, "[::1]:9000");
        assert_eq!(mapped.advertised_cores, ["[::1]:9001", "[::1]:9002"]);
    }
}
