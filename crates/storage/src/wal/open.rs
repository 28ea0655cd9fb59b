//! Opening and closing an embedded log.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use corelog_record::batch::{Builder, Codec};
use corelog_record::{Offset, PartitionId, Timestamp, TopicId};

use super::clock::{Clock, wall_clock};
use super::flight::Flights;
use super::options::rules;
use super::{Error, OpenReport, Options, Wal};
use crate::Log;
use crate::disk::std::{Lock, StdDir};
use crate::disk::{Dir, block_on};
use crate::error::At;
use crate::format::node::QUARANTINE;
use crate::log::Identity;
use crate::manifest::Manifest;
use crate::{quarantine, steps};

impl Wal<StdDir> {
    /// Opens the log in the directory `path`, and makes it if it is not there. The directory is
    /// locked until the log is dropped or closed. After a crash this is where it recovers: the report
    /// says what was found. Of torn bytes that were found a gibibyte stays in `quarantine`, the oldest go.
    ///
    /// On a full disk the log may end behind what is durable: what an interrupted cut left of its batch is kept beside
    /// the log, and can be read once a sync has found space for it.
    ///
    /// # Errors
    /// [`Error::Locked`]; [`Error::Storage`] for any error of the disk, and for files that are not a
    /// log's, are too damaged to be opened, or need a newer program.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<(Self, OpenReport), Error> {
        let dir = StdDir::new(path.as_ref());
        block_on(steps::create_all(&dir))?;
        let lock = dir.lock().map_err(|e| At::dir(&dir).io("lock", e))?;
        let Some(lock) = lock else {
            let dir = dir.describe();
            return Err(Error::Locked { dir });
        };
        let seed = RandomState::new().hash_one(wall_clock().millis());
        Self::open_locked(dir, options, seed, Some(lock))
    }
}

impl<D: Dir> Wal<D> {
    /// Opens the log in `dir`, which exists, and can be a directory in memory. Nothing keeps others out. `seed`
    /// feeds the random ids.
    ///
    /// # Errors
    /// As for [`Wal::open`].
    ///
    /// # Panics
    /// If an operation of the directory waits: a synchronous log has nothing to do meanwhile.
    pub fn open_in(dir: D, options: Options, seed: u64) -> Result<(Self, OpenReport), Error> {
        Self::open_locked(dir, options, seed, None)
    }

    fn open_locked(
        dir: D,
        options: Options,
        seed: u64,
        lock: Option<Lock>,
    ) -> Result<(Self, OpenReport), Error> {
        let options = options.bounded();
        let (of_log, quarantine) = (dir.child(LOG), dir.child(QUARANTINE));
        let identity = block_on(identity(&of_log, seed))?;
        let log_options = options.of_log();
        let clock = Clock::starting(wall_clock());
        let kept = quarantine.clone();
        let opening = Log::open(of_log, kept, identity, log_options, seed, clock.now());
        let (log, mut report) = block_on(opening)?;
        if report.torn.is_some() {
            // What cannot be removed is in nobody's way, and goes when there are torn bytes again.
            let _ = block_on(quarantine::trim(&quarantine, quarantine::TORN_BYTES_MAX));
        }
        let mut wal = Self {
            dir,
            log,
            flights: Flights::default(),
            options,
            clock,
            open: Builder::with_rules(Codec::None, rules()),
            time: Timestamp::from_millis(0),
            is_carry_gone: false,
            given_up: Offset::ZERO,
            _lock: lock,
        };
        wal.open_carry(report.is_read_only)?;
        report.log_start = wal.log_start();
        report.log_end = wal.log_end();
        Ok((wal, report))
    }

    /// Syncs everything, and marks the log so that the next opening has nothing to recover.
    ///
    /// # Errors
    /// As for [`Wal::sync`]. The next opening then recovers. What was not synced is lost then, on a full disk too: who would
    /// wait for space syncs before.
    pub fn close(mut self) -> Result<(), Error> {
        self.sync()?;
        self.land()?;
        block_on(self.log.close(self.clock.now())).map_err(Error::from)
    }
}

/// Whose log it is: its manifest knows, and a new log draws an id.
async fn identity<D: Dir>(dir: &D, seed: u64) -> Result<Identity, Error> {
    let drawn = xxhash_rust::xxh3::xxh3_128_with_seed(&wall_clock().millis().to_le_bytes(), seed);
    let new = Identity::new(
        TopicId::from_bytes(drawn.to_le_bytes()),
        PartitionId::new(0),
    );
    // As the log reads it, which a moment of the controller does not keep closed.
    match Manifest::open(dir.clone()).await {
        Ok(manifest) => {
            let header = manifest.header();
            Ok(Identity {
                topic: header.topic,
                partition: header.partition,
                history: header.history,
            })
        }
        Err(error) if error.is_missing() => Ok(new),
        // One that cannot be understood is refused by the log, which says why.
        Err(crate::Error::Format { .. }) => Ok(new),
        Err(error) => Err(error.into()),
    }
}

/// The log's own directory.
const LOG: &str = "log";
