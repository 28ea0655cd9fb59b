//! Reads the files, or stdin, on a thread of its own and hands over records in bounded pieces, so
//! that a slow input holds nobody up and a fast one fills no memory.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::Context as _;
use tokio::sync::mpsc;

use super::source::{Gone, Source, Stopped};
use super::split::{Split, SplitError};
use crate::exit::{Exit, stop};

/// A piece is handed over when it holds so many records or bytes, or when the input has to be
/// waited for.
const PIECE_RECORDS: usize = 1_000;
const PIECE_BYTES: usize = 256 << 10;
/// Pieces read ahead.
const PIECES_MAX: usize = 8;

/// What to read, and how to cut it.
#[derive(Clone, Debug)]
pub(super) struct Input {
    /// In this order; none, or `-`, is stdin.
    pub(super) files: Vec<PathBuf>,
    /// What ends a record; nothing if each file is one.
    pub(super) delimiter: Option<Vec<u8>>,
    /// What stands between key and value.
    pub(super) key_separator: Option<Vec<u8>>,
    /// The most bytes of a record.
    pub(super) record_bytes_max: usize,
}

/// A record as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) origin: Origin,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Vec<u8>,
}

/// Where a record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    /// Index into [`Input::names`].
    pub(super) file: usize,
    /// From 1.
    pub(super) record: u64,
}

impl Input {
    /// The names of the files, for messages.
    pub(super) fn names(&self) -> Vec<String> {
        self.sources().iter().map(|path| name(path)).collect()
    }

    /// How many bytes there are to read, if all are files.
    pub(super) fn bytes(&self) -> Option<u64> {
        let bytes = |path: &PathBuf| {
            let metadata = std::fs::metadata(path).ok()?;
            (!is_stdin(path) && metadata.is_file()).then_some(metadata.len())
        };
        self.sources().iter().map(bytes).sum()
    }

    /// If all that is read stays where it is, and can be read again.
    pub(super) fn is_kept(&self) -> bool {
        let is_file = |path: &PathBuf| {
            let path = match is_stdin(path) {
                true => Path::new("/dev/stdin"),
                false => path,
            };
            std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
        };
        self.sources().iter().all(is_file)
    }

    /// Begins to read, until the end or until the go-ahead is gone. An error is the last thing received, behind all records that
    /// are complete: that the go-ahead is gone is one where that leaves a part of the input.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub(super) fn start(self, gone: Gone) -> io::Result<mpsc::Receiver<anyhow::Result<Vec<Item>>>> {
        let (pieces, receiver) = mpsc::channel(PIECES_MAX);
        thread::Builder::new()
            .name("input".to_owned())
            .spawn(move || {
                let mut reader = Reader {
                    input: &self,
                    pieces: &pieces,
                    gone: &gone,
                    piece: Piece::default(),
                };
                let read = reader.read_all();
                // What is complete goes out before it is told why there is no more.
                reader.hand_over();
                if let Err(error) = read {
                    // If nobody receives any more, the command has ended.
                    let _ = pieces.blocking_send(Err(error));
                }
            })?;
        Ok(receiver)
    }

    fn sources(&self) -> Vec<PathBuf> {
        if self.files.is_empty() {
            vec![PathBuf::from("-")]
        } else {
            self.files.clone()
        }
    }
}

#[derive(Default)]
struct Piece {
    items: Vec<Item>,
    bytes: usize,
}

struct Reader<'a> {
    input: &'a Input,
    pieces: &'a mpsc::Sender<anyhow::Result<Vec<Item>>>,
    gone: &'a Gone,
    piece: Piece,
}

impl Reader<'_> {
    fn read_all(&mut self) -> anyhow::Result<()> {
        for (file, path) in self.input.sources().iter().enumerate() {
            let cannot = || format!("cannot read {}", name(path));
            let source = match is_stdin(path) {
                true => Source::stdin(self.gone),
                false => Source::open(path, self.gone),
            };
            let source = source.with_context(cannot)?;
            match &self.input.delimiter {
                Some(delimiter) => self.read_records(file, path, source, delimiter)?,
                None => self.read_whole(file, path, source)?,
            }
        }
        Ok(())
    }

    fn read_records(
        &mut self,
        file: usize,
        path: &Path,
        source: Source<'_>,
        delimiter: &[u8],
    ) -> anyhow::Result<()> {
        // What separates key and value does not count as part of either.
        let separator_bytes = self.input.key_separator.as_ref().map_or(0, Vec::len);
        let bytes_max = self.input.record_bytes_max.saturating_add(separator_bytes);
        let has_end = source.has_end();
        let mut split = Split::new(source, delimiter, bytes_max);
        let mut record = 0;
        loop {
            // Whatever is complete goes out before the input is waited for.
            if self.piece.is_full() || !split.is_ready() {
                self.hand_over();
            }
            record += 1;
            let at = || format!("{}, record {record}", name(path));
            let bytes = match split.next() {
                Err(SplitError::Read { source }) if Stopped::is(&source) => {
                    return stopped(path, record, split.begun_bytes(), has_end);
                }
                next => next.with_context(at)?,
            };
            let Some(bytes) = bytes else {
                return Ok(());
            };
            self.piece
                .add(self.input.item(Origin { file, record }, bytes));
            if self.pieces.is_closed() {
                return Ok(());
            }
        }
    }

    fn read_whole(&mut self, file: usize, path: &Path, source: Source<'_>) -> anyhow::Result<()> {
        let bytes_max = self.input.record_bytes_max;
        let mut bytes = Vec::new();
        let has_end = source.has_end();
        match source.take(bytes_max as u64 + 1).read_to_end(&mut bytes) {
            Err(error) if Stopped::is(&error) => return stopped(path, 1, bytes.len(), has_end),
            read => read.with_context(|| format!("cannot read {}", name(path)))?,
        };
        if bytes.len() > bytes_max {
            let name = name(path);
            anyhow::bail!(
                "{name} is larger than a record may be, which is {bytes_max} bytes; split it, or \
                 leave --whole-file out for a record per line"
            );
        }
        self.piece.add(Item {
            origin: Origin { file, record: 1 },
            key: None,
            value: bytes,
        });
        self.hand_over();
        Ok(())
    }

    fn hand_over(&mut self) {
        let piece = std::mem::take(&mut self.piece);
        if !piece.items.is_empty() {
            // If nobody receives any more, the command has ended.
            let _ = self.pieces.blocking_send(Ok(piece.items));
        }
    }
}

impl Input {
    /// A record with its key, if it has one.
    fn item(&self, origin: Origin, bytes: &[u8]) -> Item {
        let separator = self.key_separator.as_deref();
        let split = separator.and_then(|separator| {
            let at = bytes
                .windows(separator.len())
                .position(|window| window == separator)?;
            Some((&bytes[..at], &bytes[at + separator.len()..]))
        });
        match split {
            Some((key, value)) => Item {
                origin,
                key: Some(key.to_vec()),
                value: value.to_vec(),
            },
            None => Item {
                origin,
                key: None,
                value: bytes.to_vec(),
            },
        }
    }
}

impl Piece {
    fn add(&mut self, item: Item) {
        self.bytes += item.key.as_ref().map_or(0, Vec::len) + item.value.len();
        self.items.push(item);
    }

    fn is_full(&self) -> bool {
        self.items.len() >= PIECE_RECORDS || self.bytes >= PIECE_BYTES
    }
}

/// What it comes to that reading stopped before this record, of which so many bytes had come: nothing is amiss if what was
/// taken of a source without an end is all sent.
fn stopped(path: &Path, record: u64, begun_bytes: usize, has_end: bool) -> anyhow::Result<()> {
    let name = name(path);
    let message = match (has_end, begun_bytes) {
        (true, _) => format!(
            "stopped before the end of {name}, at record {record}: nothing that follows was sent"
        ),
        (false, 0) => return Ok(()),
        (false, bytes) => format!(
            "stopped within record {record} of {name}: {bytes} bytes of it were read, and not sent"
        ),
    };
    Err(stop(Exit::Failed, message))
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn name(path: &Path) -> String {
    if is_stdin(path) {
        "stdin".to_owned()
    } else {
        path.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::GoAhead;
    use super::*;

    fn input(files: Vec<PathBuf>) -> Input {
        let (delimiter, key_separator) = (Some(b"\n".to_vec()), Some(b"::".to_vec()));
        Input {
            files,
            delimiter,
            key_separator,
            record_bytes_max: 100,
        }
    }

    #[test]
    fn the_first_separator_ends_the_key() {
        let origin = Origin { file: 0, record: 1 };
        let split = |bytes: &[u8]| {
            let item = input(Vec::new()).item(origin, bytes);
            (item.key, item.value)
        };
        assert_eq!(split(b"k::v::w"), (Some(b"k".to_vec()), b"v::w".to_vec()));
        assert_eq!(split(b"::v"), (Some(Vec::new()), b"v".to_vec()));
        assert_eq!(split(b"k:v"), (None, b"k:v".to_vec()));
    }

    /// Pieces of records that are all key grew to a gigabyte each.
    #[test]
    fn keys_count_to_the_bytes_of_a_piece() {
        let mut piece = Piece::default();
        while !piece.is_full() {
            let origin = Origin { file: 0, record: 1 };
            let bytes = [&[b'k'; 100_000][..], b"::v"].concat();
            piece.add(input(Vec::new()).item(origin, &bytes));
        }
        assert_eq!(piece.items.len(), 3);
    }

    #[test]
    fn files_are_read_in_order_and_a_missing_one_ends_it() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        std::fs::write(&one, "a\nb\n").unwrap();
        std::fs::write(&two, "c").unwrap();
        let (values, error) = read(input(vec![one, two, dir.path().join("three")]));
        assert_eq!(values, [b"a", b"b", b"c"]);
        assert!(error.to_string().contains("three"), "{error}");
    }

    /// They were dropped, and nobody was told of them.
    #[test]
    fn records_in_front_of_one_that_is_too_long_come_before_the_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "a\nb\n1234567\n").unwrap();
        let (values, error) = read(Input {
            key_separator: None,
            record_bytes_max: 5,
            ..input(vec![file])
        });
        assert_eq!(values, [b"a", b"b"]);
        assert!(error.to_string().ends_with("record 3"), "{error}");
    }

    /// The values that are read, and the error behind them.
    fn read(input: Input) -> (Vec<Vec<u8>>, anyhow::Error) {
        let (_held, gone) = GoAhead::new().unwrap();
        let mut pieces = input.start(gone).unwrap();
        let mut values = Vec::new();
        let error = loop {
            match pieces.blocking_recv().unwrap() {
                Ok(items) => values.extend(items.into_iter().map(|item| item.value)),
                Err(error) => break error,
            }
        };
        assert!(pieces.blocking_recv().is_none());
        (values, error)
    }
}
