//! The `carry` file of an embedded log: records that a cut must not lose.
//!
//! A log is cut at whole batches. What stays of the batch that is cut through is written aside here
//! first, and appended again behind the cut, also if a crash comes in between.
//!
//! ```text
//!  0  magic              "CLOGCARY"
//!  8  version            u32 = 1
//! 12  required features  u32
//! 16  log start          u64   where it was before the cut
//! 24  batch_bytes        u32
//! 28  CRC-32             u32   over [0, 28) and the batch
//! 32  the batch, with the base offset that it has to get again
//! ```

use corelog_record::Offset;

use super::cursor::{Reader, Writer};
use super::{Error, read_start, write_start};

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carry {
    /// Log start before the cut.
    pub log_start: Offset,
    /// The records that stay, as one batch.
    pub batch: Vec<u8>,
}

impl Carry {
    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.batch.len() <= BATCH_BYTES_MAX, "a batch has its limit");
        let mut writer = Writer::default();
        write_start(&mut writer, MAGIC);
        writer.u64(self.log_start.get()).body(&self.batch).take()
    }

    /// What the file `bytes` says. The batch is not looked into.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(WHAT, bytes);
        read_start(&mut reader, WHAT, MAGIC)?;
        let log_start = reader.u64()?;
        let batch = reader.body("batch_bytes", BATCH_BYTES_MAX)?;
        let wrong = Error::field(WHAT, "log start", log_start);
        let log_start = Offset::new(log_start).ok_or(wrong)?;
        Ok(Self {
            log_start,
            batch: batch.to_vec(),
        })
    }
}

/// The longest file, in bytes.
pub const FILE_BYTES_MAX: u64 = (HEADER_BYTES + BATCH_BYTES_MAX) as u64;

const WHAT: &str = "carry file";
const MAGIC: [u8; 8] = *b"CLOGCARY";
const HEADER_BYTES: usize = 32;
const BATCH_BYTES_MAX: usize = corelog_record::batch::BYTES_MAX;

#[cfg(test)]
mod tests {
    use corelog_record::Offset;

    use super::Carry;

    fn sample() -> Carry {
        Carry {
            log_start: Offset::ZERO.plus(7),
            batch: vec![1, 2, 3],
        }
    }

    #[test]
    fn a_carry_reads_back_as_it_was_written() {
        let bytes = sample().encode();
        assert_eq!(bytes[..8], *b"CLOGCARY");
        assert_eq!(bytes[16..28], [7, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(bytes[32..], [1, 2, 3]);
        assert_eq!(Carry::decode(&bytes).unwrap(), sample());
    }

    #[test]
    fn a_carry_with_any_bit_flipped_or_any_byte_missing_is_refused() {
        let bytes = sample().encode();
        for bit in 0..8 * bytes.len() {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(Carry::decode(&bent).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Carry::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
    }
}
