//! Walks a store from batch to batch, checking each.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use corelog_record::batch::{HEADER_BYTES, Header, View};
use corelog_record::{Offset, Position};

use super::files;

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
        let file = files::open(path)?;
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
        if !self.read(left.min(HEADER_BYTES as u64))? {
            return Ok(Found::End);
        }
        let whole = match Header::parse(&self.batch) {
            Ok(header) if header.total_bytes() as u64 > left => {
                let bytes = header.total_bytes();
                Err(format!("a batch of {bytes} bytes where {left} are left"))
            }
            Ok(header) => Ok(header.total_bytes() - HEADER_BYTES),
            Err(error) => Err(error.to_string()),
        };
        if let Ok(behind_header) = whole
            && !self.read(behind_header as u64)?
        {
            return Ok(Found::End);
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
        if let Some(expected) = self.next.filter(|_| !self.may_begin(view.base_offset())) {
            let fault = format!("offset {} where {expected} follows", view.base_offset());
            return Ok(Found::Bad { position, fault });
        }
        self.next = Some(view.next_offset());
        self.is_behind_gap = false;
        Ok(Found::Batch { position, view })
    }

    /// Goes on behind bad bytes at `position`: where they end by their own length, or at the next place of `rows`, which an index
    /// names, if a sound batch of later records stands there. False where none does.
    pub(super) fn step_over(&mut self, position: Position, rows: &[Position]) -> io::Result<bool> {
        let bad = Header::parse(&self.batch).ok();
        let by_length = bad.and_then(|bad| {
            let offsets = bad
                .offsets()
                .filter(|offsets| self.may_begin(offsets.start))?;
            let behind = position.checked_add(bad.total_bytes() as u64)?;
            Some((behind, offsets.end))
        });
        if let Some((behind, next)) = by_length
            && self.base_at(behind)? == Some(next)
        {
            return self.go_on(behind).map(|()| true);
        }
        for row in rows.iter().copied().filter(|row| position < *row) {
            let base = self.base_at(row)?;
            if base.is_some_and(|base| self.next.is_none_or(|next| next < base)) {
                return self.go_on(row).map(|()| true);
            }
        }
        Ok(false)
    }

    /// Whether a batch may begin with this offset where the walk is.
    fn may_begin(&self, base: Offset) -> bool {
        // It is not covered by the checksum of the batch.
        self.next
            .is_none_or(|next| match self.is_dense && !self.is_behind_gap {
                true => base == next,
                false => base >= next,
            })
    }

    /// The first offset of the sound batch at `position`, if one stands there.
    fn base_at(&mut self, position: Position) -> io::Result<Option<Offset>> {
        let left = self.bytes.saturating_sub(position.get());
        if left < HEADER_BYTES as u64 {
            return Ok(None);
        }
        self.file.seek(SeekFrom::Start(position.get()))?;
        self.batch.clear();
        if !self.read(HEADER_BYTES as u64)? {
            return Ok(None);
        }
        let header = Header::parse(&self.batch).ok();
        let Some(header) = header.filter(|header| header.total_bytes() as u64 <= left) else {
            return Ok(None);
        };
        if !self.read((header.total_bytes() - HEADER_BYTES) as u64)? {
            return Ok(None);
        }
        let view = View::verify(&self.batch).ok();
        Ok(view.map(|view| view.base_offset()))
    }

    fn go_on(&mut self, behind: Position) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(behind.get()))?;
        self.position = behind;
        self.is_behind_gap = true;
        Ok(())
    }

    /// Reads so many bytes more of the batch. False where a server cut the file meanwhile: what is gone was never promised.
    fn read(&mut self, bytes: u64) -> io::Result<bool> {
        let got = (&mut self.file).take(bytes).read_to_end(&mut self.batch)?;
        Ok(got as u64 == bytes)
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
pub(super) mod tests {
    use super::*;
    use corelog_record::batch::{self, Builder, Codec};
    use corelog_record::{LeaderEpoch, Timestamp};

    /// A store of so many batches of one record with this value.
    pub(in super::super) fn store(
        batches: u64,
        value: &[u8],
        tail: &[u8],
    ) -> tempfile::NamedTempFile {
        let mut bytes = Vec::new();
        for index in 0..batches {
            let mut builder = Builder::new(Codec::None);
            builder
                .append(Timestamp::from_millis(1), None, Some(value), &[])
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

    /// Where the length of a bad batch led, whatever stood there was looked at: what is inside of a value may be a batch, and
    /// the list ended where there was none.
    #[test]
    fn a_bad_batch_is_stepped_over_to_where_a_sound_one_stands() {
        let file = store(4, b"value", b"");
        let sound = std::fs::read(file.path()).unwrap();
        let one = sound.len() / 4;
        let at = |batch: usize| Position::new((batch * one) as u64).unwrap();
        let rows: Vec<_> = (0..4).map(at).collect();
        let listed = |rotten: usize, change: &dyn Fn(&mut u8), rows: &[Position]| {
            let mut bytes = sound.clone();
            change(&mut bytes[one + rotten]);
            std::fs::write(file.path(), bytes).unwrap();
            let mut walk = Walk::open(file.path(), Some(Offset::ZERO)).unwrap();
            let mut offsets = Vec::new();
            loop {
                match walk.next().unwrap() {
                    Found::Batch { view, .. } => offsets.push(view.base_offset().get()),
                    Found::Bad { position, .. } => {
                        if !walk.step_over(position, rows).unwrap() {
                            offsets.push(u64::MAX);
                        }
                    }
                    Found::Zeros { .. } | Found::End => return offsets,
                }
                if offsets.last() == Some(&u64::MAX) {
                    return offsets;
                }
            }
        };
        // In its value, its length does.
        assert_eq!(listed(one - 3, &|byte| *byte ^= 1, &[]), [0, 2, 3]);
        // In its length: to the middle of the next batch, or to the one behind that.
        assert_eq!(listed(11, &|byte| *byte += 3, &rows), [0, 2, 3]);
        let double = |byte: &mut u8| *byte += u8::try_from(one).unwrap();
        assert_eq!(listed(11, &double, &rows), [0, 2, 3]);
        assert_eq!(listed(11, &double, &[]), [0, u64::MAX]);
    }

    /// The command failed beside a server that sealed what it read.
    #[test]
    fn a_store_that_is_cut_while_it_is_read_ends_there() {
        for cut in [0, 1, HEADER_BYTES as u64 + 1] {
            let file = store(1, b"value", b"");
            let mut walk = Walk::open(file.path(), None).unwrap();
            file.as_file().set_len(cut).unwrap();
            assert!(matches!(walk.next().unwrap(), Found::End), "{cut}");
        }
    }

    #[test]
    fn a_store_ends_or_has_zeros_behind_it_or_is_bad() {
        assert_eq!(walk(&store(0, b"value", b"")), (0, "end"));
        assert_eq!(walk(&store(3, b"value", b"")), (3, "end"));
        assert_eq!(walk(&store(3, b"value", &[0; 10])), (3, "zeros"));
        assert_eq!(walk(&store(3, b"value", &[0; 200_000])), (3, "zeros"));
        assert_eq!(walk(&store(3, b"value", b"torn")), (3, "bad"));
        let mut late = vec![0; 200_000];
        late[199_999] = 1;
        assert_eq!(walk(&store(3, b"value", &late)), (3, "bad"));
    }
}
