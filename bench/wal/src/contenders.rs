//! The logs that are compared, each doing what it does best by its own documentation.

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};

use commitlog::message::MessageBuf;
use commitlog::{CommitLog, LogOptions};
use corelog_storage::wal::{Options, Wal};
use okaywal::{Configuration, LogVoid};

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A log to be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// `corelog_storage::wal`.
    Corelog,
    /// okaywal: an entry of chunks is what a commit, which always syncs, makes durable. As it comes, it
    /// takes everything for checkpointed after 768 KiB and writes the same two files again and again.
    Okaywal,
    /// okaywal that still holds, at the end, every record it was given, as the others do.
    OkaywalKept,
    /// commitlog by its own `flush`, which syncs pages of the index and never the store.
    Commitlog,
    /// commitlog with the `fdatasync` of the store that makes its appends durable.
    CommitlogSynced,
}

/// What is appended.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    /// Every record.
    pub record: &'a [u8],
    /// How many records are appended by one call.
    pub batch: usize,
    /// How many calls.
    pub calls: usize,
    /// Whether each call is followed by a sync.
    pub is_synced: bool,
}

/// What a file of okaywal takes before it goes on in the next: as much as one of ours.
const KEPT_BYTES: u32 = 128 << 20;

impl Contender {
    /// Appends the load to a new log in `folder`, and returns the seconds it took. Opening and, without
    /// syncs, closing are not counted.
    pub fn run(self, folder: &Path, load: Load<'_>) -> Result<f64> {
        match self {
            Self::Corelog => corelog(folder, load),
            Self::Okaywal => okaywal(Configuration::default_for(folder), load),
            Self::OkaywalKept => {
                let kept = Configuration::default_for(folder)
                    .preallocate_bytes(KEPT_BYTES)
                    .checkpoint_after_bytes(u64::from(KEPT_BYTES) / 8 * 7);
                okaywal(kept, load)
            }
            Self::Commitlog => commitlog(folder, load, None),
            Self::CommitlogSynced => {
                // Its first segment is the only one here.
                commitlog(folder, load, Some(folder.join("00000000000000000000.log")))
            }
        }
    }
}

fn corelog(folder: &Path, load: Load<'_>) -> Result<f64> {
    let (mut wal, _) = Wal::open(folder, Options::default())?;
    let records = vec![load.record; load.batch];
    let seconds = timed(|| {
        for _ in 0..load.calls {
            match load.batch {
                1 => _ = wal.append(load.record)?,
                _ => _ = wal.append_batch(&records)?,
            }
            if load.is_synced {
                wal.sync()?;
            }
        }
        Ok(())
    })?;
    wal.close()?;
    Ok(seconds)
}

fn okaywal(configuration: Configuration, load: Load<'_>) -> Result<f64> {
    let log = configuration.open(LogVoid)?;
    let seconds = match load.is_synced {
        true => timed(|| {
            for _ in 0..load.calls {
                let mut entry = log.begin_entry()?;
                for _ in 0..load.batch {
                    entry.write_chunk(load.record)?;
                }
                entry.commit()?;
            }
            Ok(())
        })?,
        // Nothing but an open entry goes without a sync.
        false => {
            let mut entry = log.begin_entry()?;
            let seconds = timed(|| {
                for _ in 0..load.calls * load.batch {
                    entry.write_chunk(load.record)?;
                }
                Ok(())
            })?;
            entry.commit()?;
            seconds
        }
    };
    log.shutdown()?;
    Ok(seconds)
}

fn commitlog(folder: &Path, load: Load<'_>, synced: Option<PathBuf>) -> Result<f64> {
    let mut options = LogOptions::new(folder);
    options.segment_max_bytes(1 << 30);
    let mut log = CommitLog::new(options)?;
    let store = synced.map(File::open).transpose()?;
    let seconds = timed(|| {
        for _ in 0..load.calls {
            match load.batch {
                1 => drop(log.append_msg(load.record)?),
                _ => {
                    let mut batch = MessageBuf::default();
                    for _ in 0..load.batch {
                        if batch.push(load.record).is_err() {
                            return Err("a record is too large".into());
                        }
                    }
                    log.append(&mut batch)?;
                }
            }
            if load.is_synced {
                log.flush()?;
                if let Some(store) = &store {
                    store.sync_data()?;
                }
            }
        }
        Ok(())
    })?;
    log.flush()?;
    Ok(seconds)
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let started = std::time::Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64())
}
