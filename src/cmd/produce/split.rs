//! Cuts an input into records at a delimiter, without ever holding more than one record and one
//! read of it.

use std::io::{self, Read};

/// How much is read at once.
const READ_BYTES: usize = 256 << 10;

/// The records of an input, one after the other.
pub(super) struct Split<R> {
    input: R,
    delimiter: Vec<u8>,
    record_bytes_max: usize,
    buffer: Vec<u8>,
    /// What of `buffer` is not handed out yet.
    start: usize,
    end: usize,
    /// How far behind `start` there is certainly no delimiter.
    searched: usize,
    is_over: bool,
}

/// Why an input could not be cut.
#[derive(Debug, thiserror::Error)]
pub(super) enum SplitError {
    #[error("cannot read")]
    Read {
        #[from]
        source: io::Error,
    },
    #[error(
        "a record is longer than {record_bytes_max} bytes; is the delimiter right? \
         (--delimiter, --whole-file)"
    )]
    TooLong { record_bytes_max: usize },
}

impl<R: Read> Split<R> {
    /// Cuts `input` at each `delimiter`, which must not be empty; a record longer than
    /// `record_bytes_max` is an error.
    pub(super) fn new(input: R, delimiter: &[u8], record_bytes_max: usize) -> Self {
        assert!(!delimiter.is_empty(), "a delimiter has bytes");
        Self {
            input,
            delimiter: delimiter.to_vec(),
            record_bytes_max,
            buffer: vec![0; READ_BYTES],
            start: 0,
            end: 0,
            searched: 0,
            is_over: false,
        }
    }

    /// The next record without its delimiter; nothing at the end of the input. The last record
    /// needs no delimiter, and a delimiter at the very end begins no empty one.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, SplitError> {
        loop {
            if let Some(bytes) = self.find() {
                let record = self.start..self.start + bytes;
                self.start = record.end + self.delimiter.len();
                self.searched = 0;
                self.check(bytes)?;
                return Ok(Some(&self.buffer[record]));
            }
            if self.is_over {
                let record = self.start..self.end;
                self.start = self.end;
                self.searched = 0;
                self.check(record.len())?;
                return Ok((!record.is_empty()).then(|| &self.buffer[record]));
            }
            self.check((self.end - self.start).saturating_sub(self.delimiter.len()))?;
            self.read()?;
        }
    }

    /// True when another record can be had without waiting for the input.
    pub(super) fn is_ready(&mut self) -> bool {
        self.find().is_some()
    }

    /// How many bytes there are behind the last record, where reading failed.
    pub(super) const fn begun_bytes(&self) -> usize {
        self.end - self.start
    }

    fn check(&self, record_bytes: usize) -> Result<(), SplitError> {
        let record_bytes_max = self.record_bytes_max;
        if record_bytes > record_bytes_max {
            return Err(SplitError::TooLong { record_bytes_max });
        }
        Ok(())
    }

    /// The length of the record at `start`, if its delimiter has been read.
    fn find(&mut self) -> Option<usize> {
        let rest = &self.buffer[self.start..self.end];
        let found = match self.delimiter.as_slice() {
            [byte] => rest[self.searched..].iter().position(|b| b == byte),
            bytes => rest[self.searched..]
                .windows(bytes.len())
                .position(|w| w == bytes),
        };
        match found {
            Some(at) => {
                self.searched += at;
                Some(self.searched)
            }
            None => {
                // The end may hold the first part of a delimiter.
                let part = self.delimiter.len() - 1;
                self.searched = rest.len().saturating_sub(part).max(self.searched);
                None
            }
        }
    }

    fn read(&mut self) -> Result<(), SplitError> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let bytes = loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.end += bytes;
        self.is_over = bytes == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(input: &[u8], delimiter: &[u8], bytes_max: usize) -> Result<Vec<Vec<u8>>, SplitError> {
        let mut split = Split::new(Trickle(input), delimiter, bytes_max);
        let mut records = Vec::new();
        while let Some(record) = split.next()? {
            records.push(record.to_vec());
        }
        Ok(records)
    }

    /// Gives its bytes in small uneven pieces.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let bytes = (self.0.len() % 3 + 1).min(self.0.len()).min(buffer.len());
            buffer[..bytes].copy_from_slice(&self.0[..bytes]);
            self.0 = &self.0[bytes..];
            Ok(bytes)
        }
    }

    #[test]
    fn lines_may_be_empty_hold_any_byte_and_lack_the_last_newline() {
        let records = split(b"a\n\n\xff\r\nlast", b"\n", 100).unwrap();
        assert_eq!(records, [&b"a"[..], b"", b"\xff\r", b"last"]);
        assert_eq!(split(b"a\n", b"\n", 100).unwrap(), [b"a"]);
        assert_eq!(split(b"\n", b"\n", 100).unwrap(), [b""]);
        assert!(split(b"", b"\n", 100).unwrap().is_empty());
    }

    #[test]
    fn a_delimiter_of_several_bytes_is_found_across_reads() {
        let records = split(b"one--two-three----end-", b"--", 100).unwrap();
        assert_eq!(records, [&b"one"[..], b"two-three", b"", b"end-"]);
    }

    #[test]
    fn a_record_longer_than_the_limit_is_refused_before_it_is_held() {
        assert_eq!(split(b"12345\n12345", b"\n", 5).unwrap().len(), 2);
        assert!(matches!(
            split(b"123456\n", b"\n", 5),
            Err(SplitError::TooLong { .. })
        ));
        assert!(matches!(
            split(b"123456", b"\n", 5),
            Err(SplitError::TooLong { .. })
        ));
        let mut endless = Split::new(io::repeat(b'x'), b"\n", 1 << 20);
        assert!(matches!(endless.next(), Err(SplitError::TooLong { .. })));
        assert!(endless.buffer.len() <= 4 << 20);
    }

    #[test]
    fn a_long_record_grows_the_buffer() {
        let mut input = vec![b'x'; 3 * READ_BYTES];
        input.push(b'\n');
        let mut split = Split::new(input.as_slice(), b"\n", 1 << 20);
        assert_eq!(split.next().unwrap().unwrap().len(), 3 * READ_BYTES);
        assert!(split.next().unwrap().is_none());
    }
}
