//! What is sound is found sound; what was changed is found, told rightly, and nothing else is.

mod damage;
mod gone;
mod snapshot;
mod sound;

use std::path::Path;

use corelog_record::{ByteSize, PartitionId, TopicId};
use tempfile::TempDir;

use super::{Checked, Finding, Grade, Hooks, Survey, What};
use crate::disk::block_on;
use crate::disk::std::StdDir;
use crate::log::{Identity, Log, Options};
use crate::testing::own::{at, offset};
use crate::testing::{batch, flush, run, settle};

/// A partition's directory in a folder that goes away by itself.
struct Partition {
    folder: TempDir,
    options: Options,
}

impl Partition {
    fn new() -> Self {
        let options = Options {
            segment_bytes_max: ByteSize::from_kib(16),
            index_interval_bytes: 512,
            ..Options::default()
        };
        Self {
            folder: tempfile::tempdir().unwrap(),
            options,
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn open(&self) -> Log<StdDir> {
        let (dir, quarantine) = (StdDir::new(self.path()), StdDir::new(self.path().join("q")));
        let identity = Identity::new(TopicId::from_bytes([7; 16]), PartitionId::new(0));
        let options = self.options.clone();
        block_on(Log::open(dir, quarantine, identity, options, 1, at(0)))
            .unwrap()
            .0
    }

    /// A log of some segments, closed in order.
    fn filled(batches: u64) -> Self {
        let partition = Self::new();
        let mut log = partition.open();
        fill(&mut log, batches);
        block_on(log.close(at(1))).unwrap();
        partition
    }
}

fn fill(log: &mut Log<StdDir>, batches: u64) {
    for number in 0..batches {
        let value = vec![u8::try_from(number % 251).unwrap(); 300 + (number % 7) as usize * 90];
        log.append(&batch(&[&value, b"second"], at(0)), at(0))
            .unwrap();
        if number % 3 == 0 {
            flush(log, at(0)).unwrap();
        }
    }
    settle(log, at(0)).unwrap();
}

/// What a first look at `path` comes to, without a server.
fn survey(path: &Path) -> std::io::Result<Option<Survey>> {
    super::survey(path, false)
}

/// Checks all of `path`, without a server; what it came to, with all findings in one place.
fn verify(path: &Path) -> Checked {
    check(survey(path).unwrap().unwrap())
}

fn check(survey: Survey) -> Checked {
    let hooks = Hooks {
        progress: &|_bytes| {},
        records: None,
    };
    let mut all = Checked {
        findings: survey.findings,
        ..Checked::default()
    };
    for store in &survey.stores {
        let checked = store.run(&hooks);
        all.bytes += checked.bytes;
        all.batches += checked.batches;
        all.records += checked.records;
        all.findings.extend(checked.findings);
    }
    all
}

/// The findings that are no notes.
fn faults(checked: &Checked) -> Vec<&Finding> {
    let findings = checked.findings.iter();
    findings
        .filter(|finding| finding.what.grade() > Grade::Note)
        .collect()
}

fn kinds(checked: &Checked) -> Vec<What> {
    faults(checked).iter().map(|finding| finding.what).collect()
}

/// The names of the stores and indexes in a directory, in order.
fn files(dir: &Path, suffix: &str) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == suffix))
        .collect();
    files.sort();
    files
}

fn alter(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}
