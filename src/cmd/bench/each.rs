//! A line for each acknowledgement, to be laid over what went on beside it.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::latencies::micros;
use super::open_loop::Acked;

/// A file of such lines.
#[derive(Debug)]
pub(super) struct Each {
    file: BufWriter<File>,
    path: PathBuf,
}

impl Each {
    /// Begins the file anew.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path);
        let file = file.with_context(|| format!("cannot create {}", path.display()))?;
        let (file, path) = (BufWriter::new(file), path.to_owned());
        Ok(Self { file, path })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn note(&mut self, acked: &Acked) -> anyhow::Result<()> {
        let written = writeln!(self.file, "{}", line(acked));
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Hands all lines to the operating system.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        let written = self.file.flush();
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// What is told of one.
pub(super) fn line(acked: &Acked) -> Value {
    json!({
        "partition": acked.partition.get(),
        "offset": acked.offset.get(),
        "due_us": acked.due_us,
        "us": micros(acked.took),
    })
}
