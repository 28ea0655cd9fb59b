//! Walks a store from batch to batch, checking each.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use corelog_record::batch::{HEADER_BYTES, Header, View};
use corelog_record::{Offset, Position};

/// A store being read, front to back.
pub(super) struct Walk {
    file: BufReader<File>,
    position: Position,
    bytes: u64,
    next: Option<Offset>,
    /// Offsets rise by one: in a store of this log, and not in any that a later version wrote.
    is_dense: bool,
    /// Bytes that are no batch were stepped over: which offset follows is not known.
    is_behind_gap: bool,
    batch: Vec<u8>,
}

/// What stands at a place of a store.
pub(super) enum Found<'a> {
    /// A sound batch that begins at `position`.
    Batch { position: Position, view: View<'a> },
    /// Nothing but so many zeros to the end: the prepared space of an active store.
    Zeros { bytes: u64 },
    /// Bytes that are no batch, or not the next one.
    Bad { position: Position, fault: String },
    /// The end of the file.
    End,
}

impl Walk {
    /// Begins at the start of the store at `path`, with the batch at `base` if it is known which that is.
    pub(super) fn open(path: &Path, base: Option<Offset>) -> io::Result<Self> {
        const BUFFER_BYTES: usize = 1 << 20;
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let file = BufReader::with_capacity(BUFFER_BYTES, file);
        Ok(Self {
            file,
            position: Position::ZERO,
            bytes,
            next: base,
            is_dense: base.is_some(),
            is_behind_gap: false,
            batch: Vec::new(),
        })
    }

    /// The next thing in the store. After anything but a batch there is nothing more to ask for, unless bad bytes are stepped
    /// over.
    pub(super) fn next(&mut self) -> io::Result<Found<'_>> {
        let position = self.position;
        let left = self.bytes - self.position.get();
        if left == 0 {
            return Ok(Found::End);
        }
        self.batch.clear();
        self.read(left.min(HEADER_BYTES as u64))?;
        let whole = match Header::parse(&self.batch) {
            Ok(header) if header.total_bytes() as u64 > left => {
                let bytes = header.total_bytes();
                Err(format!("a batch of {bytes} bytes where {left} are left"))
            }
            Ok(header) => Ok(header.total_bytes() - HEADER_BYTES),
            Err(error) => Err(error.to_string()),
        };
        if let Ok(behind_header) = whole {
            self.read(behind_header as u64)?;
        }
        let verify = |_| View::verify(&self.batch).map_err(|error| error.to_string());
        let view = match whole.and_then(verify) {
            Ok(view) => view,
            Err(_) if are_zeros(&self.batch, &mut self.file)? => {
                return Ok(Found::Zeros { bytes: left });
            }
            Err(fault) => return Ok(Found::Bad { position, fault }),
        };
        self.position = position.plus(self.batch.len() as u64);
        // It is not covered by the checksum of the batch.
        let is_next = |next: &Offset| match self.is_dense && !self.is_behind_gap {
            true => view.base_offset() == *next,
            false => view.base_offset() >= *next,
        };
        if let Some(expected) = self.next.filter(|next| !is_next(next)) {
            let fault = format!("offset {} where {expected} follows", view.base_offset());
            return Ok(Found::Bad { position, fault });
        }
        self.next = Some(view.next_offset());
        self.is_behind_gap = false;
        Ok(Found::Batch { position, view })
    }

    /// Goes on behind bad bytes at `position`: where they end by their own length, or at the next place of `rows`, which an index
    /// names. False where nothing names one.
    pub(super) fn step_over(&mut self, position: Position, rows: &[Position]) -> io::Result<bool> {
        let by_length = Header::parse(&self.batch).ok();
        let by_length = by_length.map(|header| position.plus(header.total_bytes() as u64));
        let by_length = by_length.filter(|behind| behind.get() < self.bytes);
        let by_row = rows.iter().copied().find(|row| position < *row);
        let Some(behind) = by_length.or(by_row) else {
            return Ok(false);
        };
        self.file.seek(SeekFrom::Start(behind.get()))?;
        self.position = behind;
        self.is_behind_gap = true;
        Ok(true)
    }

    fn read(&mut self, bytes: u64) -> io::Result<()> {
        let got = (&mut self.file).take(bytes).read_to_end(&mut self.batch)?;
        if (got as u64) < bytes {
            // A server cut the file under us; what is gone was never promised.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

/// Whether nothing but zeros was read, and all that follows is zeros.
fn are_zeros(read: &[u8], rest: &mut impl Read) -> io::Result<bool> {
    let mut are_zeros = read.iter().all(|byte| *byte == 0);
    let mut chunk = vec![0; 64 << 10];
    while are_zeros {
        let bytes = rest.read(&mut chunk)?;
        if bytes == 0 {
            break;
        }
        are_zeros = chunk[..bytes].iter().all(|byte| *byte == 0);
    }
    Ok(are_zeros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use corelog_record::batch::{self, Builder, Codec};
    use corelog_record::{LeaderEpoch, Timestamp};

    fn store(batches: u64, tail: &[u8]) -> tempfile::NamedTempFile {
        let mut bytes = Vec::new();
        for index in 0..batches {
            let mut builder = Builder::new(Codec::None);
            builder
                .append(Timestamp::from_millis(1), None, Some(b"value"), &[])
                .unwrap();
            let mut batch = builder.build().unwrap();
            let epoch = LeaderEpoch::new(0).unwrap();
            batch::patch(&mut batch, Offset::new(index).unwrap(), epoch);
            bytes.extend_from_slice(&batch);
        }
        bytes.extend_from_slice(tail);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    fn walk(file: &tempfile::NamedTempFile) -> (u64, &'static str) {
        let mut walk = Walk::open(file.path(), None).unwrap();
        let mut batches = 0;
        loop {
            match walk.next().unwrap() {
                Found::Batch { .. } => batches += 1,
                Found::Zeros { .. } => return (batches, "zeros"),
                Found::Bad { .. } => return (batches, "bad"),
                Found::End => return (batches, "end"),
            }
        }
    }

    #[test]
    fn a_store_ends_or_has_zeros_behind_it_or_is_bad() {
        assert_eq!(walk(&store(0, b"")), (0, "end"));
        assert_eq!(walk(&store(3, b"")), (3, "end"));
        assert_eq!(walk(&store(3, &[0; 10])), (3, "zeros"));
        assert_eq!(walk(&store(3, &[0; 200_000])), (3, "zeros"));
        assert_eq!(walk(&store(3, b"torn")), (3, "bad"));
        let mut late = vec![0; 200_000];
        late[199_999] = 1;
        assert_eq!(walk(&store(3, &late)), (3, "bad"));
    }
}
