//! Where data goes: stdout, as a table for people or JSON for programs. Everything else a command
//! says goes to stderr ([`crate::exit::say`]).

use std::io::{self, BufWriter, StdoutLock, Write};

use clap::ValueEnum;
use serde::Serialize;

/// How a command prints what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for people.
    #[default]
    Table,
    /// JSON for programs: one object, or one per line where results arrive one by one.
    Json,
}

/// Whoever read our stdout has left. Not an error of ours: the command ends quietly.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the output has left")]
pub(crate) struct ClosedPipe;

/// Buffered stdout whose closed pipe is a [`ClosedPipe`].
pub(crate) struct Out {
    stdout: BufWriter<StdoutLock<'static>>,
}

impl Out {
    /// Takes stdout; nothing else may print to it while this lives.
    pub(crate) fn new() -> Self {
        const BUFFER_BYTES: usize = 256 << 10;
        Self {
            stdout: BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock()),
        }
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stdout.write_all(bytes).map_err(from_stdout)
    }

    /// Writes `text` and a newline.
    pub(crate) fn line(&mut self, text: &str) -> anyhow::Result<()> {
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes `value` as JSON on one line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string(value)?;
        self.line(&text)
    }

    /// Writes columns under `headers`, if there are any, without borders: `awk` can read them too.
    pub(crate) fn table(
        &mut self,
        headers: &[&str],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> anyhow::Result<()> {
        let head = headers.iter().map(|header| (*header).to_owned()).collect();
        let lines: Vec<Vec<String>> = [head].into_iter().chain(rows).collect();
        let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
        let cell =
            |line: &[String], column: usize| line.get(column).map_or(0, |c| c.chars().count());
        let width = |column| {
            lines
                .iter()
                .map(|line| cell(line, column))
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for line in lines.iter().filter(|line| !line.is_empty()) {
            let cells = line
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"));
            let cells: Vec<String> = cells.collect();
            self.line(cells.join("  ").trim_end())?;
        }
        Ok(())
    }

    /// Hands everything written so far to whoever reads stdout.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        self.stdout.flush().map_err(from_stdout)
    }
}

fn from_stdout(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        anyhow::Error::new(ClosedPipe)
    } else {
        anyhow::Error::new(error).context("cannot write to stdout")
    }
}
