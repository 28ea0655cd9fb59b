//! Where data goes: stdout, as a table for people or JSON for programs. Everything else a command
//! says goes to stderr ([`crate::exit::say`]).

pub(crate) mod fit;
pub(crate) mod record;

use std::fs::File;
use std::io::{self, BufWriter, StdoutLock, Write};
use std::os::fd::AsFd;

use anyhow::Context as _;
use clap::ValueEnum;
use nix::poll::{PollFd, PollFlags, PollTimeout};
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

/// Buffered stdout. A reader that left is no error: how the command ends is told by its exit code as well, and that is
/// what it would have been. Where the output is all that there is to do, it is a [`ClosedPipe`].
pub(crate) struct Out {
    stdout: BufWriter<StdoutLock<'static>>,
    ends_with_reader: bool,
    is_reader_gone: bool,
    /// Something was not written or not synced: the system tells of it once, and of what comes behind as if all were there.
    has_failed: bool,
    /// Columns of the terminal that stdout is, if it is one.
    width: Option<usize>,
}

impl Out {
    /// Takes stdout; nothing else may print to it while this lives.
    pub(crate) fn new() -> Self {
        const BUFFER_BYTES: usize = 256 << 10;
        Self {
            stdout: BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock()),
            ends_with_reader: false,
            is_reader_gone: false,
            has_failed: false,
            width: terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| width.0.into()),
        }
    }

    /// The same of a command that has nothing to do once nobody reads any more.
    pub(crate) fn while_read() -> Self {
        Self {
            ends_with_reader: true,
            ..Self::new()
        }
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let written = self.reader().and_then(|stdout| stdout.write_all(bytes));
        self.written(written)
    }

    /// Writes `text` and a newline; what servers tell, which may be in it, moves no cursor.
    pub(crate) fn line(&mut self, text: &str) -> anyhow::Result<()> {
        self.bytes(printable(text).as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes a row of a list whose widths nobody knows yet: its cells, with a tab between each two.
    pub(crate) fn row(&mut self, cells: &[impl AsRef<str>]) -> anyhow::Result<()> {
        let cells: Vec<String> = cells.iter().map(|cell| printable(cell.as_ref())).collect();
        self.bytes(cells.join("\t").as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes `value` as JSON on one line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string(value)?;
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes a row per fact: its name, and what it is.
    pub(crate) fn facts<'a>(
        &mut self,
        facts: impl IntoIterator<Item = (&'a str, String)>,
    ) -> anyhow::Result<()> {
        let rows = facts.into_iter();
        self.table(&[], rows.map(|(name, value)| vec![name.to_owned(), value]))
    }

    /// Writes columns under `headers`, if there are any, without borders: `awk` can read them too. A
    /// terminal that is too narrow gets the last column in several lines, or the last columns below, and long names cut.
    pub(crate) fn table(
        &mut self,
        headers: &[&str],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> anyhow::Result<()> {
        let head = headers.iter().map(|header| (*header).to_owned()).collect();
        let rows = [head].into_iter().chain(rows);
        let rows: Vec<Vec<String>> = rows.filter(|row| !row.is_empty()).collect();
        let tables = match self.width {
            Some(width) => fit::fit(rows, width),
            None => vec![rows],
        };
        for (number, rows) in tables.iter().enumerate() {
            if number > 0 {
                self.line("")?;
            }
            self.aligned(rows)?;
        }
        Ok(())
    }

    fn aligned(&mut self, rows: &[Vec<String>]) -> anyhow::Result<()> {
        let widths = fit::widths(rows);
        for row in rows {
            let cells = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"));
            let cells: Vec<String> = cells.collect();
            self.line(cells.join(fit::GAP).trim_end())?;
        }
        Ok(())
    }

    /// Hands everything written so far to whoever reads stdout.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        let flushed = self.reader().and_then(Write::flush);
        self.written(flushed)
    }

    /// Looks if somebody reads still, where nothing is written that would tell.
    ///
    /// # Errors
    /// As what is written then.
    pub(crate) fn while_idle(&mut self) -> anyhow::Result<()> {
        match is_hung_up(self.stdout.get_ref(), PollTimeout::ZERO) {
            Ok(true) => self.written(Err(io::ErrorKind::BrokenPipe.into())),
            _ => Ok(()),
        }
    }

    /// The same; where stdout is a file, it has all of it on the disk.
    ///
    /// # Errors
    /// Also where something before could not be written, or synced.
    pub(crate) fn settle(&mut self) -> anyhow::Result<()> {
        self.flush()?;
        anyhow::ensure!(
            !self.has_failed,
            "cannot write to stdout: what was written before may not be there"
        );
        let synced = sync(self.stdout.get_ref());
        self.written(synced)
    }

    /// Stdout, unless its reader was seen to have left: nothing that is written behind that has come anywhere.
    fn reader(&mut self) -> io::Result<&mut BufWriter<StdoutLock<'static>>> {
        match self.is_reader_gone {
            true => Err(io::ErrorKind::BrokenPipe.into()),
            false => Ok(&mut self.stdout),
        }
    }

    fn written(&mut self, written: io::Result<()>) -> anyhow::Result<()> {
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_reader_gone = true;
                match self.ends_with_reader {
                    true => Err(anyhow::Error::new(ClosedPipe)),
                    false => Ok(()),
                }
            }
            other => {
                self.has_failed |= other.is_err();
                other.context("cannot write to stdout")
            }
        }
    }
}

/// What stands in a table for what may not be there, or not known.
pub(crate) fn cell(told: Option<impl ToString>) -> String {
    told.map_or_else(|| "-".to_owned(), |told| told.to_string())
}

/// Text of somebody else without what would move the cursor.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// Whether nobody is at the other end any more, or has left within this time.
pub(crate) fn is_hung_up(stdout: impl AsFd, within: PollTimeout) -> nix::Result<bool> {
    // Asked for nothing, poll(2) tells hangups and errors.
    let mut asked = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    nix::poll::poll(&mut asked, within).map(|told| told > 0)
}

fn sync(stdout: &StdoutLock<'_>) -> io::Result<()> {
    let file = File::from(stdout.as_fd().try_clone_to_owned()?);
    match file.metadata()?.is_file() {
        true => file.sync_data(),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux tells of a write-back that failed once: what the second sync was told was remembered as printed.
    #[test]
    fn nothing_is_settled_behind_what_could_not_be_written_or_synced() {
        let mut out = Out::new();
        out.settle().unwrap();
        out.written(Err(io::Error::other("as the disk said")))
            .unwrap_err();
        for _ in 0..2 {
            out.settle().unwrap_err();
        }
    }

    #[test]
    fn text_of_others_moves_no_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a?[2Jb?");
    }
}
