//! The index beside a store: a header of 64 bytes, then rows of 32 bytes.
//!
//! A row tells the state of the log at a place between two batches of the store, so that a lookup
//! or a check of the chain can start there. Rows stand about 4 KiB of store apart; the start of the
//! store is the header's, and has no row. All of it is a hint, rebuilt from the store at need.

use corelog_record::{Chain, HistoryId, Offset, Ordinal, Timestamp};

use super::cursor::{Reader, Writer};
use super::{Error, read_header, write_start};

/// The length of the header.
pub const HEADER_BYTES: usize = 64;

/// The length of a row.
pub const ROW_BYTES: usize = 32;

/// The longest index that is read: of a segment of 1 GiB with a row for every batch of 512 bytes.
pub(crate) const BYTES_MAX: u64 = 64 << 20;

/// The header: which segment this is the index of.
///
/// ```text
/// 0   magic              "CLOGINDX"
/// 8   version            u32 = 1
/// 12  required features  u32
/// 16  history id         16 bytes
/// 32  base offset        u64
/// 40  base ordinal       u64, not above the base offset
/// 48  chain at base      u64
/// 56  reserved           u32, zero
/// 60  CRC-32             u32, over bytes [0, 60)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The log.
    pub history: HistoryId,
    /// The offset of the segment's first record.
    pub base: Offset,
    /// The ordinal of the segment's first batch.
    pub ordinal: Ordinal,
    /// The chain before the segment's first batch.
    pub chain: Chain,
}

/// One row: the state of the log at a place between two batches.
///
/// ```text
/// 0   relative offset        u32, of the next record, from the base offset
/// 4   position               u32, in the store
/// 8   running max timestamp  i64, of all batches of this segment before the place
/// 16  relative ordinal       u32, of the next batch, from the base ordinal; not above the relative offset
/// 20  chain                  u64, before the next batch
/// 28  CRC-32                 u32, over bytes [0, 28)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Records of the segment before the place.
    pub relative_offset: u32,
    /// Bytes of the store before the place.
    pub position: u32,
    /// The largest timestamp of the segment before the place.
    pub max_timestamp: Timestamp,
    /// Batches of the segment before the place.
    pub relative_ordinal: u32,
    /// The chain at the place.
    pub chain: Chain,
}

impl Header {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut writer = Writer::default();
        write_start(&mut writer, MAGIC);
        writer
            .bytes(self.history.as_bytes())
            .u64(self.base.get())
            .u64(self.ordinal.get());
        writer.u64(self.chain.get()).u32(0).crc();
        fixed(writer)
    }

    /// The header at the start of `bytes`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = read_header(HEADER, bytes, HEADER_BYTES, MAGIC)?;
        let header = Self {
            history: HistoryId::from_bytes(reader.array()?),
            base: reader.offset("base offset")?,
            ordinal: reader.ordinal("base ordinal")?,
            chain: Chain::from_raw(reader.u64()?),
        };
        let wrong = |field, found| Err(Error::field(HEADER, field, found));
        // Each batch has an offset at least.
        if header.base.get() < header.ordinal.get() {
            return wrong("base ordinal", header.ordinal.get());
        }
        match reader.u32()? {
            0 => Ok(header),
            found => wrong("reserved bytes", found.into()),
        }
    }
}

impl Row {
    /// The row's bytes. A segment that is sealed has tens of thousands, which are encoded in one go: no memory is taken.
    #[must_use]
    pub fn encode(&self) -> [u8; ROW_BYTES] {
        let mut row = [0; ROW_BYTES];
        row[0..4].copy_from_slice(&self.relative_offset.to_le_bytes());
        row[4..8].copy_from_slice(&self.position.to_le_bytes());
        row[8..16].copy_from_slice(&self.max_timestamp.millis().to_le_bytes());
        row[16..20].copy_from_slice(&self.relative_ordinal.to_le_bytes());
        row[20..28].copy_from_slice(&self.chain.get().to_le_bytes());
        let crc = crc32fast::hash(&row[..28]);
        row[28..].copy_from_slice(&crc.to_le_bytes());
        row
    }

    /// The row at the start of `bytes`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::checked(ROW, bytes, ROW_BYTES)?;
        let row = Self {
            relative_offset: reader.u32()?,
            position: reader.u32()?,
            max_timestamp: Timestamp::from_millis(reader.i64()?),
            relative_ordinal: reader.u32()?,
            chain: Chain::from_raw(reader.u64()?),
        };
        if row.relative_offset < row.relative_ordinal {
            let found = row.relative_ordinal.into();
            return Err(Error::field(ROW, "relative ordinal", found));
        }
        Ok(row)
    }
}

/// The row `number`, counted from 0, of a whole index; `None` behind the last one.
///
/// # Errors
/// What is wrong with the row.
pub fn row(index: &[u8], number: usize) -> Option<Result<Row, Error>> {
    let start = number.checked_mul(ROW_BYTES)?.checked_add(HEADER_BYTES)?;
    let bytes = index.get(start..start.checked_add(ROW_BYTES)?)?;
    Some(Row::decode(bytes))
}

/// How many whole rows a whole index has.
#[must_use]
pub fn row_count(index: &[u8]) -> usize {
    index.len().saturating_sub(HEADER_BYTES) / ROW_BYTES
}

fn fixed<const N: usize>(mut writer: Writer) -> [u8; N] {
    let bytes = writer.take();
    #[expect(
        clippy::expect_used,
        reason = "the callers' golden tests pin the length"
    )]
    bytes
        .try_into()
        .expect("the fields fill the format exactly")
}

const MAGIC: [u8; 8] = *b"CLOGINDX";
const HEADER: &str = "index header";
const ROW: &str = "index row";
