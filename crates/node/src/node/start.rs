//! The order in which a node comes up: check the machine, take the data directory, claim the ports, start the cores,
//! recover everything that does not take long, and only then listen.

use std::sync::{Arc, OnceLock};

use corelog_record::{CoreId, NodeId};
use flume::Sender;

use super::control::{self, Control, Parts, ask};
use super::descriptors::Share;
use super::identity::{check_no_snapshot, identify};
use super::ports::{self, Ports};
use super::{Handle, Inner, Node, StartReport, stop};
use crate::config::{NodeConfig, NodeLimits};
use crate::conn::PerAddress;
use crate::core::{Shared, Slight};
use crate::error::StartError;
use crate::follow::{FOLLOWED_FOR, Lately, SILENT_FOR};
use crate::metrics::Counters;
use crate::random::random;
use crate::rate::Rates;
use crate::router;
use crate::rt::{self, CoreConfig, CoreThread, Watchdog};
use crate::sys::probe::Suitability;
use crate::sys::{self, NodeFile, probe};
use crate::transfer::{Claims, Transfers};

/// The limit of open files where the kernel does not tell it: the usual one.
const DESCRIPTORS_ASSUMED: u64 = 1024;
/// Messages that wait for a core from outside: questions of the side thread.
const CONTROL_QUEUE_MAX: usize = 64;

/// The threads of a node's cores and the ways to tell them.
#[derive(Debug)]
pub(super) struct Cores {
    pub(super) threads: Vec<CoreThread<Arc<NodeFile>>>,
    pub(super) controls: Vec<Sender<Control>>,
    /// Files that are being received.
    pub(super) receiving: Arc<Claims>,
}

pub(super) fn start(config: &NodeConfig) -> Result<Node, StartError> {
    config.check()?;
    probe::kernel()?;
    // Before whatever opens something.
    let descriptors = descriptors(config)?;
    // Before the rings: a limit that is too low for one would be told as a lack of memory.
    let io_memory_bytes = probe::memlock(config.cores)?.io_memory_bytes;
    probe::rings()?;
    let on = probe::data_directory(&config.data_dir)?;
    if on.suitability == Suitability::Volatile {
        tracing::warn!(
            data = %config.data_dir.display(),
            kind = on.kind,
            "the data directory is memory: all of it is lost when the machine stops, what was acknowledged as durable too"
        );
    }
    if on.has_small_blocks() {
        tracing::warn!(
            data = %config.data_dir.display(),
            block_bytes = on.block_bytes,
            "the file system has small blocks: on a full disk a write that should have had its space may find none, and its \
             partition stop; make it with blocks of 4096 bytes (mkfs.ext4 -b 4096, mkfs.xfs -b size=4096)"
        );
    }
    let share = Share::of(descriptors, config.cores, config.limits.connections_max);
    if share.connections < config.limits.connections_max {
        tracing::warn!(
            descriptors,
            core_files = share.core_files,
            connections = share.connections,
            "the limit of open files leaves room for fewer connections than configured"
        );
    }
    check_no_snapshot(&config.data_dir)?;
    let mut lock = NodeFile::lock(&config.data_dir)?;
    let node = lock.metadata().map_err(|source| StartError::DataDir {
        path: lock.path().to_owned(),
        source,
    })?;
    sys::claim_place(&config.data_dir, &node)?;
    let id = identify(&config.data_dir, &mut lock)?;
    let lock = Arc::new(lock);
    let Ports {
        shared,
        own,
        addresses,
    } = ports::claim(config)?;
    let counters: Vec<_> = (0..config.cores)
        .map(|_| Arc::<Counters>::default())
        .collect();
    let rates = Rates::of(config);
    let cores = Cores::start(config, id, &rates, &counters, io_memory_bytes, share, &lock)?;
    let vitals = cores.threads.iter();
    let vitals: Vec<_> = vitals.map(|thread| Arc::clone(thread.vitals())).collect();
    let watchdog = match Watchdog::start(vitals.clone()) {
        Ok(watchdog) => watchdog,
        Err(source) => {
            let name = "watchdog";
            return Err(cores.give_up(StartError::Thread { name, source }));
        }
    };
    let report = match cores.recover() {
        Ok(report) => report,
        Err(error) => return Err(cores.give_up(error)),
    };
    for ((control, shared), own) in cores.controls.iter().zip(shared).zip(own) {
        let address = own.address();
        let (reply, answer) = flume::bounded(1);
        let told = Control::Listen {
            shared,
            own,
            addresses: addresses.clone(),
            reply,
        };
        if let Err(source) = ask(control, told, &answer).unwrap_or_else(Err) {
            return Err(cores.give_up(StartError::at_listen(address, source)));
        }
    }
    let controls = cores.controls.clone();
    let handle = Handle {
        inner: Arc::new(Inner {
            id,
            addresses,
            report,
            counters,
            vitals,
            controls,
            rates,
            data_dir: config.data_dir.clone(),
        }),
    };
    Ok(Node {
        handle,
        cores,
        stop_timeout: config.stop_timeout,
        watchdog,
        _lock: lock,
    })
}

/// How many descriptors the process may have, once it may have as many as can be.
pub(super) fn descriptors(config: &NodeConfig) -> Result<u64, StartError> {
    let limit = match probe::raise_descriptors() {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files is not known");
            return Ok(DESCRIPTORS_ASSUMED);
        }
    };
    let limit_min = Node::descriptors_min(config);
    if limit < limit_min {
        return Err(StartError::Descriptors {
            limit,
            limit_min,
            cores: config.cores,
        });
    }
    Ok(limit)
}

impl Cores {
    fn start(
        config: &NodeConfig,
        node: NodeId,
        rates: &Rates,
        counters: &[Arc<Counters>],
        io_memory_bytes: usize,
        share: Share,
        lock: &Arc<NodeFile>,
    ) -> Result<Self, StartError> {
        let core_count = u16::try_from(config.cores).unwrap_or(u16::MAX);
        let limits = NodeLimits {
            connections_max: share.connections,
            ..config.limits.clone()
        };
        let transfers = Transfers::start(rates.transfer.clone());
        let transfers = transfers.map_err(|source| StartError::Thread {
            name: "transfer",
            source,
        })?;
        let shared = Arc::new(Shared {
            node,
            limits,
            core_files: share.core_files,
            core_count,
            data_dir: config.data_dir.clone(),
            lock: Arc::downgrade(lock),
            budget: config.budget()?,
            scrub_rate: rates.scrub.clone(),
            transfers,
            slight: Slight::new(rt::now()),
            silent: Lately::new(SILENT_FOR),
            followed: Lately::new(FOLLOWED_FOR),
            counters: counters.to_vec(),
            addresses: OnceLock::new(),
        });
        let mut started = Self {
            threads: Vec::new(),
            controls: Vec::new(),
            receiving: Arc::clone(shared.transfers.copies().claims()),
        };
        started.receiving.keep(Arc::clone(lock));
        let per_address = PerAddress::default();
        let lanes = router::connect(core_count, &config.limits, shared.budget.lanes);
        for ((number, counters), lanes) in (0..core_count).zip(counters).zip(lanes) {
            let (control, told) = flume::bounded(CONTROL_QUEUE_MAX);
            let seed = match random() {
                Ok(seed) => seed,
                Err(source) => return Err(started.give_up(StartError::Random { source })),
            };
            let parts = Parts {
                id: CoreId::new(number),
                shared: Arc::clone(&shared),
                counters: Arc::clone(counters),
                per_address: per_address.clone(),
                data_dir: config.data_dir.clone(),
                lanes,
                seed: u64::from_le_bytes(seed),
                control: told,
            };
            let mut core = CoreConfig::new(usize::from(number), format!("core-{number}"));
            core.io_memory_bytes = io_memory_bytes;
            #[cfg(feature = "testing")]
            if config.is_unguarded {
                core = core.without_guard();
            }
            match stop::spawn(&core, lock, move || control::live(parts)) {
                Ok(thread) => started.threads.push(thread),
                Err(source) => return Err(started.give_up(source.into())),
            }
            started.controls.push(control);
        }
        Ok(started)
    }

    /// Has core 0 read the catalog and all cores recover what is theirs, in parallel.
    fn recover(&self) -> Result<StartReport, StartError> {
        let begun = rt::now();
        let (reply, answer) = flume::bounded(1);
        let Some(first) = self.controls.first() else {
            return Ok(StartReport::default());
        };
        let catalog = ask(first, Control::Load { reply }, &answer)
            .map_err(|_gone| StartError::CoreEnded {
                core: CoreId::new(0),
            })?
            .map_err(|source| StartError::Catalog { source })?;
        let topics: Vec<_> = catalog.topics.into_iter().map(Arc::new).collect();
        let snapshots = Arc::new(catalog.snapshots);
        let mut answers = Vec::with_capacity(self.controls.len());
        for control in &self.controls {
            let (reply, answer) = flume::bounded(1);
            let topics = topics.clone();
            let snapshots = Arc::clone(&snapshots);
            // An answer that never comes tells the same as a refusal here.
            let _ = control.send(Control::Recover {
                topics,
                unreadable: catalog.unreadable.clone(),
                snapshots,
                reply,
            });
            answers.push(answer);
        }
        let mut report = StartReport {
            topics: topics.len(),
            ..StartReport::default()
        };
        for (number, answer) in (0..).zip(answers) {
            let Ok(opened) = answer.recv() else {
                return Err(StartError::CoreEnded {
                    core: CoreId::new(number),
                });
            };
            report.partitions += opened.partitions;
            report.failed += opened.failed;
            report.opening += opened.opening;
        }
        report.unreadable = catalog.unreadable.len();
        report.recovery = begun.elapsed();
        Ok(report)
    }
}

impl From<sys::Error> for StartError {
    fn from(source: sys::Error) -> Self {
        Self::System { source }
    }
}
