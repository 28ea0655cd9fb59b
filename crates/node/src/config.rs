//! What a node is told at start; everything has a default that suits one machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use corelog_protocol::limits;
use corelog_record::ByteSize;

use crate::core::{Budget, RATE_DEFAULT};
use crate::error::StartError;
use crate::transfer;

/// What a core keeps for readers unless told otherwise, in bytes.
const TAIL_MEMORY_DEFAULT: usize = 64 << 20;
/// What is under way takes of a core's memory at most unless told otherwise, in bytes: a part is 64 MiB.
const TRAFFIC_MEMORY_DEFAULT: usize = 704 << 20;

/// What a node is told at start.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The directory that holds everything the node keeps; created if it is missing.
    pub data_dir: PathBuf,
    /// The shared address every core listens on; core `i` also listens on its port + 1 + `i`.
    /// Port 0 picks free ports for the shared and the per-core listeners.
    pub listen: SocketAddr,
    /// What clients are told instead of the addresses the node listens on; needed where that is every address.
    pub advertise: Option<Advertise>,
    /// How many cores (executors) the node runs, ≥ 1.
    pub cores: usize,
    /// Allows listening beyond loopback although nothing is authenticated.
    pub is_insecure: bool,
    /// Without the heartbeats that guard cores against parking with runnable tasks: only to show what they cure.
    #[cfg(feature = "testing")]
    pub is_unguarded: bool,
    /// What the node refuses to go beyond.
    pub limits: NodeLimits,
    /// Bytes that the scrub reads in a second, over all cores; 0: none but what is asked for.
    pub scrub_rate: u64,
    /// Bytes of segments that are sent to other nodes in a second, over all of them; 0: as many as they
    /// take.
    pub transfer_rate: u64,
    /// Bytes of records on disk that each core keeps in memory for readers.
    pub tail_memory: usize,
    /// Bytes of memory that each core may take, beside the tail memory, for requests and answers that are
    /// under way.
    pub traffic_memory: usize,
    /// How long a stop waits for connections to drain before it cuts them.
    pub stop_timeout: Duration,
}

/// The name clients are told, for nodes behind containers or NAT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertise {
    /// A host name or an IP address.
    pub host: String,
    /// The shared port as clients see it; core `i` is told as this + 1 + `i`. None: the ports
    /// the node listens on.
    pub port: Option<u16>,
}

/// What the node refuses to go beyond; each limit answers with an error code, never with a hang.
#[derive(Debug, Clone)]
pub struct NodeLimits {
    /// Client connections, over all cores.
    pub connections_max: usize,
    /// Client connections of one address, over all cores.
    pub connections_per_address_max: usize,
    /// Partitions over all topics: each costs a small constant of memory.
    pub partitions_max: usize,
    /// Requests one core may have outstanding at another: bounds a lane's memory and its delay.
    pub lane_requests_max: usize,
    /// Long polls one core may have parked in all, and at any other core.
    pub parked_fetches_max: usize,
    /// How long a connection whose peer reads nothing is kept.
    pub write_timeout: Duration,
    /// How long a connection may take to send a request that it has begun, its Hello included.
    pub read_timeout: Duration,
    /// How long a connection is kept on which nothing comes and nobody waits for an answer; zero: for
    /// ever.
    pub idle_timeout: Duration,
}

impl NodeConfig {
    /// The defaults for a data directory: loopback, port 7400, one core per processor.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7400)),
            advertise: None,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            is_insecure: false,
            #[cfg(feature = "testing")]
            is_unguarded: false,
            limits: NodeLimits::default(),
            scrub_rate: RATE_DEFAULT,
            transfer_rate: transfer::RATE_DEFAULT,
            tail_memory: TAIL_MEMORY_DEFAULT,
            traffic_memory: TRAFFIC_MEMORY_DEFAULT,
            stop_timeout: Duration::from_secs(5),
        }
    }

    /// Checks what needs no look at the machine; a start does so first.
    ///
    /// # Errors
    /// `StartError` says what cannot be meant.
    pub fn check(&self) -> Result<(), StartError> {
        self.faults().into_iter().next().map_or(Ok(()), Err)
    }

    /// All that is wrong with it, which `check` tells of one by one.
    #[must_use]
    pub fn faults(&self) -> Vec<StartError> {
        let Self { listen, cores, .. } = *self;
        let mut faults = Vec::new();
        let cores_max = usize::from(u16::MAX);
        if cores == 0 || cores > cores_max {
            faults.push(StartError::Cores { cores, cores_max });
        }
        if !listen.ip().is_loopback() && !self.is_insecure {
            faults.push(StartError::NotLoopback { listen });
        }
        // Clients, and peers that ask who owns a partition, would come to themselves.
        if listen.ip().to_canonical().is_unspecified() && self.advertise.is_none() {
            faults.push(StartError::NothingToAdvertise { listen });
        }
        let has_room = |port: u16| cores <= usize::from(u16::MAX - port);
        if listen.port() != 0 && !has_room(listen.port()) {
            faults.push(StartError::NoRoomForPorts { listen, cores });
        }
        let advertised = self.advertise.as_ref().and_then(|told| told.port);
        if let Some(port) = advertised.filter(|port| !has_room(*port)) {
            faults.push(StartError::NoRoomToAdvertise { port, cores });
        }
        faults.extend(self.budget().err());
        faults
    }

    /// How the memory of each core is shared out.
    ///
    /// # Errors
    /// `StartError::Memory` where it is too little.
    pub(crate) fn budget(&self) -> Result<Budget, StartError> {
        let size = |bytes: usize| ByteSize::from_bytes(bytes as u64);
        let bytes = self.traffic_memory;
        Budget::of(bytes, self.tail_memory).ok_or(StartError::Memory {
            bytes: size(bytes),
            bytes_min: size(Budget::TRAFFIC_MIN),
        })
    }
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self {
            connections_max: limits::CONNECTION_COUNT_MAX as usize,
            connections_per_address_max: limits::ADDRESS_CONNECTION_COUNT_MAX as usize,
            partitions_max: limits::NODE_PARTITION_COUNT_MAX as usize,
            lane_requests_max: 1_024,
            parked_fetches_max: 16_384,
            write_timeout: Duration::from_millis(limits::SEND_MS_MAX.into()),
            read_timeout: Duration::from_millis(limits::RECEIVE_MS_MAX.into()),
            idle_timeout: Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_listened_on_is_refused_before_anything_is_touched() {
        let mut config = NodeConfig::new("data");
        config.cores = 0;
        assert!(matches!(config.check(), Err(StartError::Cores { .. })));
        config.cores = 2;
        config.listen = SocketAddr::from(([127, 0, 0, 1], 65_534));
        assert!(matches!(
            config.check(),
            Err(StartError::NoRoomForPorts { .. })
        ));
        config.listen.set_port(7400);
        let mut advertise = |port| {
            config.advertise = Some(Advertise {
                host: "log1".to_owned(),
                port: Some(port),
            });
            config.check()
        };
        // Several cores were told as the same port.
        let told = advertise(65_534);
        assert!(matches!(told, Err(StartError::NoRoomToAdvertise { .. })));
        assert!(advertise(65_533).is_ok());
        config.listen = SocketAddr::from(([0, 0, 0, 0], 7400));
        assert!(matches!(
            config.check(),
            Err(StartError::NotLoopback { .. })
        ));
        config.is_insecure = true;
        assert!(config.check().is_ok());
        let advertise = config.advertise.take();
        for listen in ["0.0.0.0:7400", "[::]:7400", "[::ffff:0.0.0.0]:7400"] {
            config.listen = listen.parse().unwrap();
            let told = config.check();
            assert!(matches!(told, Err(StartError::NothingToAdvertise { .. })));
        }
        config.advertise = advertise;
        config.traffic_memory = 1 << 20;
        assert!(matches!(config.check(), Err(StartError::Memory { .. })));
    }
}
