//! The mark: what of a log was last known to be durable.
//!
//! The file has [`SLOTS`] slots of [`SLOT_BYTES`], written in turn, in place. All of a slot that
//! matters lies in its first 512 bytes, so an interrupted write leaves it old or new.

use corelog_record::{Chain, CopyId, HistoryId, LeaderEpoch, Offset, Ordinal, Position, Timestamp};

use super::cursor::Writer;
use super::edit::Point;
use super::{Error, read_header, write_start};

/// The length of a slot: one block, so that slots are written independently.
pub const SLOT_BYTES: usize = 4096;

/// How many slots there are: while one is written, the other stands.
pub const SLOTS: u64 = 2;

/// The length of the file. Somebody who waits for its writes has it longer for a while.
pub(crate) const FILE_BYTES: usize = 2 * SLOT_BYTES;

/// One slot: what it states.
///
/// ```text
/// 0    magic              "CLOGMARK"
/// 8    version            u32 = 1
/// 12   required features  u32
/// 16   history id         16 bytes
/// 32   copy id            16 bytes
/// 48   sequence           u64, one more than the slot written before
/// 56   segment base       u64
/// 64   generation         u32, of the segment's store
/// 68   flags              u32: bit 0 clean
/// 72   durable position   u64, in that store
/// 80   durable offset     u64
/// 88   durable ordinal    u64, not above the durable offset
/// 96   chain              u64, at the durable offset
/// 104  max timestamp      i64, of the segment below the durable position
/// 112  leader epoch       i32, the highest that this copy had or heard of; -1 none
/// 116  born               i64, when the segment got its first record, by this node's clock; 0 not known
/// 124  reserved           384 bytes, zeros
/// 508  CRC-32             u32, over bytes [0, 508)
/// 512  zeros up to 4096
/// ```
///
/// The reserved room is written as zeros and not looked at; a later version that gives it a
/// meaning which must not be missed sets a feature bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The log.
    pub history: HistoryId,
    /// The replica whose files these are.
    pub copy: CopyId,
    /// Counts the marks of this copy; the highest one holds.
    pub sequence: u64,
    /// The base offset of the active segment.
    pub segment: Offset,
    /// The generation of its store.
    pub generation: u32,
    /// Whether the log was closed in order: nothing is written behind `position`.
    pub is_clean: bool,
    /// How much of the store is durable; not 0 if `offset` is above the segment's base.
    pub position: Position,
    /// All records below it are durable.
    pub offset: Offset,
    /// All batches below it are durable.
    pub ordinal: Ordinal,
    /// The chain before that batch.
    pub chain: Chain,
    /// The largest timestamp of the segment below `position`.
    pub max_timestamp: Timestamp,
    /// The highest leader epoch that this copy had, or heard of from its source.
    pub epoch: Option<LeaderEpoch>,
    /// When the segment got its first record, by the clock of the node that wrote it. `None` if it has none, or if that is
    /// not known: not every mark has it.
    pub born: Option<Timestamp>,
}

impl Slot {
    /// The bytes of the slot.
    ///
    /// # Panics
    /// If it tells of records in the segment, and of no bytes that hold them.
    #[must_use]
    pub fn encode(&self) -> [u8; SLOT_BYTES] {
        assert!(
            self.is_held(),
            "records are durable in bytes of their store"
        );
        let mut writer = Writer::default();
        write_start(&mut writer, MAGIC);
        writer
            .bytes(self.history.as_bytes())
            .bytes(self.copy.as_bytes())
            .u64(self.sequence);
        writer
            .u64(self.segment.get())
            .u32(self.generation)
            .u32(u32::from(self.is_clean));
        writer
            .u64(self.position.get())
            .u64(self.offset.get())
            .u64(self.ordinal.get());
        writer
            .u64(self.chain.get())
            .i64(self.max_timestamp.millis());
        let epoch = self.epoch.map_or(NO_EPOCH, LeaderEpoch::get);
        writer
            .bytes(&epoch.to_le_bytes())
            .i64(self.born.map_or(0, Timestamp::millis))
            .zeros_to(USED_BYTES - 4)
            .crc()
            .zeros_to(SLOT_BYTES);
        #[expect(
            clippy::expect_used,
            reason = "the line above fills it to the length of a slot"
        )]
        writer
            .take()
            .try_into()
            .expect("a slot is filled to its length")
    }

    /// The slot in `bytes`, of which the first 512 are enough.
    ///
    /// # Errors
    /// What is wrong with it; a slot never written is all zeros, and has no magic number.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = read_header(WHAT, bytes, USED_BYTES, MAGIC)?;
        let history = HistoryId::from_bytes(reader.array()?);
        let copy = CopyId::from_bytes(reader.array()?);
        let sequence = reader.u64()?;
        let segment = reader.offset("segment base")?;
        let generation = reader.u32()?;
        let flags = reader.u32()?;
        if flags & !CLEAN != 0 {
            return Err(Error::field(WHAT, "flags", flags.into()));
        }
        let slot = Self {
            history,
            copy,
            sequence,
            segment,
            generation,
            is_clean: flags & CLEAN != 0,
            position: reader.position("durable position")?,
            offset: reader.offset("durable offset")?,
            ordinal: reader.ordinal("durable ordinal")?,
            chain: Chain::from_raw(reader.u64()?),
            max_timestamp: Timestamp::from_millis(reader.i64()?),
            epoch: read_epoch(i32::from_le_bytes(reader.array()?))?,
            born: Some(reader.i64()?)
                .filter(|born| *born != 0)
                .map(Timestamp::from_millis),
        };
        let wrong = |field, found| Err(Error::field(WHAT, field, found));
        if slot.offset < slot.segment {
            return wrong("durable offset", slot.offset.get());
        }
        if !slot.place().is_possible() {
            return wrong("durable ordinal", slot.ordinal.get());
        }
        if !slot.is_held() {
            return wrong("durable position", 0);
        }
        Ok(slot)
    }

    /// Whether it speaks of the store that the segment at `base` has in the files of `generation`.
    #[must_use]
    pub fn is_of(&self, base: Offset, generation: u32) -> bool {
        (self.segment, self.generation) == (base, generation)
    }

    /// Up to where all is durable.
    fn place(&self) -> Point {
        Point {
            offset: self.offset,
            ordinal: self.ordinal,
            chain: self.chain,
        }
    }

    /// Whether records of the segment, if it tells of any, have bytes: recovery looks for them from the
    /// position on, and would find none where they begin.
    fn is_held(&self) -> bool {
        self.offset <= self.segment || Position::ZERO < self.position
    }
}

/// The slot that holds: of the sound ones in a mark's `bytes`, the one with the highest sequence. Any that is torn, or was
/// never written, is passed over.
///
/// # Errors
/// `Version` or `Features`, for a slot that this program must not miss.
pub fn last_of(bytes: &[u8]) -> Result<Option<Slot>, Error> {
    // What is missing of a slot is zeros once the other one is written: it says the same before.
    let mut bytes = bytes.to_vec();
    bytes.resize(FILE_BYTES, 0);
    let mut last: Option<Slot> = None;
    for slot in bytes.chunks(SLOT_BYTES) {
        match Slot::decode(slot) {
            Ok(slot) if last.is_none_or(|last| last.sequence < slot.sequence) => {
                last = Some(slot);
            }
            Err(error) if error.is_newer() => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(last)
}

fn read_epoch(number: i32) -> Result<Option<LeaderEpoch>, Error> {
    match LeaderEpoch::new(number) {
        Some(epoch) => Ok(Some(epoch)),
        None if number == NO_EPOCH => Ok(None),
        None => {
            let found = number.cast_unsigned().into();
            Err(Error::field(WHAT, "leader epoch", found))
        }
    }
}

const MAGIC: [u8; 8] = *b"CLOGMARK";
const WHAT: &str = "mark";
const CLEAN: u32 = 1;
const NO_EPOCH: i32 = -1;

/// What of a slot matters: one sector of the smallest size in use.
const USED_BYTES: usize = 512;
