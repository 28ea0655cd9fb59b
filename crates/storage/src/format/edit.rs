//! The edits of a manifest, and how each lies in the file.
//!
//! ```text
//! 0   body_bytes   u32, 1 or more
//! 4   kind         u16
//! 6   reserved     u16, zero
//! 8   sequence     u32, 1 for the first edit of a file, then one more each
//! 12  CRC-32       u32, over bytes [0, 12) and the body
//! 16  body         body_bytes of MessagePack: a map with string keys
//!     zeros up to a multiple of 16
//! ```
//!
//! An edit starts at a multiple of 16, so its header never straddles two sectors.

use std::collections::BTreeMap;

use corelog_record::{Chain, HistoryId, LeaderEpoch, Lineage, Offset, Ordinal, Timestamp};
use serde::{Deserialize, Serialize};

use super::cursor::{Reader, Writer, checksum};
use super::envelope::{from_messagepack, to_messagepack};
use super::{Error, state};

pub use super::seal::{Digest, Kind, SEALS_MAX, Seal, Seals};

/// Edits start at multiples of this, in bytes.
pub const ALIGN_BYTES: usize = 16;

/// The most bytes of an edit, header and padding included.
pub const FRAME_BYTES_MAX: usize = 4096;

/// A change of what a manifest states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Kind 1: a segment begins.
    Add(Add),
    /// Kind 2: a segment has its final end.
    Seal(Seal),
    /// Kind 3: a segment's bytes are in another file from now on.
    Generation(Generation),
    /// Kind 4: retention removed the segments below.
    Expire(Start),
    /// Kind 5: a user moved the log start.
    Truncate(Start),
    /// Kind 6: the log was cut at its end.
    TruncateSuffix(End),
    /// Kind 7: all segments are given up, the log begins anew further on.
    Restart(Point),
    /// Kind 8: another ownership begins.
    Epoch(Epoch),
    /// Kind 9: values that belong to this partition change.
    Settings(Settings),
    /// Kind 10: a scrub has read all sealed segments.
    Scrubbed(Scrubbed),
    /// Kind 11: several segments have their final ends.
    Seals(Seals),
}

/// A place between two batches of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Of the next record.
    pub offset: Offset,
    /// Of the next batch.
    pub ordinal: Ordinal,
    /// Before the next batch.
    pub chain: Chain,
}

/// A new segment, in generation 0, which begins at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Add {
    /// The offset of its first record, and the name of its files.
    pub base: Offset,
    /// The ordinal of its first batch.
    pub ordinal: Ordinal,
    /// The chain before its first batch.
    pub chain: Chain,
}

/// The files of a segment are now `<base>.<generation>.log` and `.index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Which segment.
    pub base: Offset,
    /// Higher than the one before.
    pub generation: u32,
}

/// The log starts here; segments that end at or below are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The new log start.
    pub start: Offset,
}

/// The log ends here; segments that begin at or above are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The new log end.
    pub offset: Offset,
    /// The ordinal there.
    pub ordinal: Ordinal,
    /// The chain there.
    pub chain: Chain,
    /// The generation of the file that holds the first part of the segment that was cut; none if
    /// the cut runs between two segments.
    pub generation: Option<u32>,
    /// The last epoch that stays; later ones are gone. None if none stays.
    pub epoch: Option<LeaderEpoch>,
}

/// An ownership of the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// Higher than the one before.
    pub epoch: LeaderEpoch,
    /// Drawn at random: two owners of one epoch differ in it.
    pub lineage: Lineage,
    /// The log end when it began.
    pub offset: Offset,
    /// The ordinal there.
    pub ordinal: Ordinal,
}

/// Changed values: a key's new value, or nil to forget it. Keys not named stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// By key, sorted.
    pub changes: BTreeMap<String, Option<String>>,
}

/// A whole pass of the scrub has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrubbed {
    /// When, by the node's clock.
    pub time: Timestamp,
}

impl Edit {
    /// The bytes of the edit in a manifest, padding included.
    ///
    /// # Panics
    /// If it would exceed [`FRAME_BYTES_MAX`]; only settings can.
    #[must_use]
    pub fn encode(&self, sequence: u32) -> Vec<u8> {
        let body = self.body();
        assert!(
            body.len() <= BODY_BYTES_MAX,
            "an edit of {} bytes",
            body.len()
        );
        let mut writer = Writer::default();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "asserted to be at most 4096"
        )]
        writer
            .u32(body.len() as u32)
            .u16(self.kind())
            .u16(0)
            .u32(sequence);
        let start = writer.take();
        let crc = checksum(&start, &body);
        writer.bytes(&start).u32(crc).bytes(&body);
        writer.zeros_to(frame_bytes(body.len())).take()
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Add(_) => 1,
            Self::Seal(_) => 2,
            Self::Generation(_) => 3,
            Self::Expire(_) => 4,
            Self::Truncate(_) => 5,
            Self::TruncateSuffix(_) => 6,
            Self::Restart(_) => 7,
            Self::Epoch(_) => 8,
            Self::Settings(_) => 9,
            Self::Scrubbed(_) => 10,
            Self::Seals(_) => 11,
        }
    }

    fn body(&self) -> Vec<u8> {
        match self {
            Self::Add(body) => to_messagepack(body),
            Self::Seal(body) => to_messagepack(body),
            Self::Generation(body) => to_messagepack(body),
            Self::Expire(body) | Self::Truncate(body) => to_messagepack(body),
            Self::TruncateSuffix(body) => to_messagepack(body),
            Self::Restart(body) => to_messagepack(body),
            Self::Epoch(body) => to_messagepack(body),
            Self::Settings(body) => to_messagepack(body),
            Self::Scrubbed(body) => to_messagepack(body),
            Self::Seals(body) => to_messagepack(body),
        }
    }
}

/// An edit as it lies in a file: the frame is sound, its meaning not yet looked at.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Which edit of the file.
    pub sequence: u32,
    kind: u16,
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at the start of `bytes`, or `None` if there is no sound one.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let start = Start16::read(bytes)?;
        let body = bytes.get(HEADER_BYTES..HEADER_BYTES + start.body_bytes)?;
        let padding = bytes.get(HEADER_BYTES + start.body_bytes..frame_bytes(start.body_bytes))?;
        let is_sound = checksum(bytes.get(..HEADER_BYTES - 4)?, body) == start.crc
            && padding.iter().all(|&byte| byte == 0);
        is_sound.then_some(Self {
            sequence: start.sequence,
            kind: start.kind,
            body,
        })
    }

    /// The bytes of the frame in the file, padding included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        frame_bytes(self.body.len())
    }

    /// The edit.
    ///
    /// # Errors
    /// `UnknownEdit` for a kind of a later version, `Body` for a body that is malformed.
    pub fn decode(&self) -> Result<Edit, Error> {
        let body = self.body;
        Ok(match self.kind {
            1 => Edit::Add(from_messagepack("an add edit", body)?),
            2 => Edit::Seal(from_messagepack("a seal edit", body)?),
            3 => Edit::Generation(from_messagepack("a generation edit", body)?),
            4 => Edit::Expire(from_messagepack("an expire edit", body)?),
            5 => Edit::Truncate(from_messagepack("a truncate edit", body)?),
            6 => Edit::TruncateSuffix(from_messagepack("a truncate-suffix edit", body)?),
            7 => Edit::Restart(from_messagepack("a restart edit", body)?),
            8 => Edit::Epoch(from_messagepack("an epoch edit", body)?),
            9 => Edit::Settings(from_messagepack("a settings edit", body)?),
            10 => Edit::Scrubbed(from_messagepack("a scrubbed edit", body)?),
            11 => Edit::Seals(from_messagepack("a seals edit", body)?),
            kind => {
                return Err(Error::UnknownEdit {
                    sequence: self.sequence,
                    kind,
                });
            }
        })
    }
}

/// How long the frame at the start of `bytes` claims to be, if its header can be that of edit
/// `sequence` at all. Its checksum is not looked at.
pub(super) fn claimed_bytes(bytes: &[u8], sequence: u32) -> Option<usize> {
    let start = Start16::read(bytes)?;
    (start.sequence == sequence).then_some(frame_bytes(start.body_bytes))
}

/// The header of a frame, its fields within their limits.
struct Start16 {
    body_bytes: usize,
    kind: u16,
    sequence: u32,
    crc: u32,
}

impl Start16 {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new("edit", bytes);
        let body_bytes = usize::try_from(reader.u32().ok()?).ok()?;
        let kind = reader.u16().ok()?;
        let reserved = reader.u16().ok()?;
        let sequence = reader.u32().ok()?;
        let crc = reader.u32().ok()?;
        let is_sane = reserved == 0 && (1..=BODY_BYTES_MAX).contains(&body_bytes);
        is_sane.then_some(Self {
            body_bytes,
            kind,
            sequence,
            crc,
        })
    }
}

fn frame_bytes(body_bytes: usize) -> usize {
    (HEADER_BYTES + body_bytes).next_multiple_of(ALIGN_BYTES)
}

impl Point {
    /// Where a log of that history begins that never had a record.
    #[must_use]
    pub fn origin(history: HistoryId) -> Self {
        Self {
            offset: Offset::ZERO,
            ordinal: Ordinal::ZERO,
            chain: Chain::seed(history),
        }
    }

    /// Whether a log can come there: each batch has an offset at least.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        self.ordinal.get() <= self.offset.get()
    }

    /// Refuses a point to which no log can come.
    pub(crate) fn check(self) -> Result<(), state::Broken> {
        match self.is_possible() {
            true => Ok(()),
            false => Err(state::Broken::Impossible { found: self }),
        }
    }
}

impl Epoch {
    /// The epoch that begins at `end`, behind the one that was the `last`: damage that was stepped over may have hidden how far
    /// the log was.
    pub(crate) fn behind(
        last: Option<&Self>,
        end: Point,
        epoch: LeaderEpoch,
        lineage: Lineage,
    ) -> Self {
        Self {
            epoch,
            lineage,
            offset: last.map_or(end.offset, |last| last.offset.max(end.offset)),
            ordinal: last.map_or(end.ordinal, |last| last.ordinal.max(end.ordinal)),
        }
    }
}

impl End {
    /// The end at `point` of a log whose last segment stays as it is.
    pub(crate) fn at(point: Point, epoch: Option<LeaderEpoch>) -> Self {
        Self {
            offset: point.offset,
            ordinal: point.ordinal,
            chain: point.chain,
            generation: None,
            epoch,
        }
    }
}

impl From<Add> for Point {
    fn from(add: Add) -> Self {
        Self {
            offset: add.base,
            ordinal: add.ordinal,
            chain: add.chain,
        }
    }
}

impl From<Point> for Add {
    fn from(point: Point) -> Self {
        Self {
            base: point.offset,
            ordinal: point.ordinal,
            chain: point.chain,
        }
    }
}

const HEADER_BYTES: usize = 16;
const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - HEADER_BYTES;
