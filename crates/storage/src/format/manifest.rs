//! The manifest: which files make up a log, as a header and a sequence of edits.
//!
//! The header has a block of its own; edits follow from [`EDITS_AT`] on, packed, in space that was
//! prepared with zeros. Each edit is durable before the next is written, so only the last can be
//! torn.

use std::ops::Range;

use corelog_record::{CopyId, HistoryId, PartitionId, TopicId};

use super::cursor::Writer;
use super::edit::{ALIGN_BYTES, Edit, FRAME_BYTES_MAX, Frame, claimed_bytes};
use super::state::State;
use super::{Error, read_header, write_start};

/// Where the first edit lies, in bytes: behind the header's block.
pub const EDITS_AT: usize = 4096;

/// Whose manifest it is.
///
/// ```text
/// 0    magic              "CLOGMANI"
/// 8    version            u32 = 1
/// 12   required features  u32
/// 16   topic id           16 bytes
/// 32   partition          u32
/// 36   reserved           u32, zero
/// 40   history id         16 bytes
/// 56   copy id            16 bytes
/// 72   reserved           436 bytes, zeros
/// 508  CRC-32             u32, over bytes [0, 508)
/// 512  zeros up to 4096
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The topic.
    pub topic: TopicId,
    /// The partition of the topic.
    pub partition: PartitionId,
    /// The log, shared by its replicas.
    pub history: HistoryId,
    /// The replica whose files these are.
    pub copy: CopyId,
}

/// What a whole manifest says.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Whose it is.
    pub header: Header,
    /// What its edits add up to.
    pub state: State,
    /// The edits, in order.
    pub edits: Vec<Edit>,
    /// Where the last edit begins, in bytes from the start of the file; the end if there is none.
    pub last: usize,
    /// Where the next edit goes, in bytes from the start of the file.
    pub end: usize,
    /// Bytes behind the end that belong to an edit which was never promised.
    pub torn: Option<Range<usize>>,
}

impl Header {
    /// The bytes of the header's block.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        write_start(&mut writer, MAGIC);
        writer
            .bytes(self.topic.as_bytes())
            .u32(self.partition.get())
            .u32(0);
        writer
            .bytes(self.history.as_bytes())
            .bytes(self.copy.as_bytes());
        writer
            .zeros_to(USED_BYTES - 4)
            .crc()
            .zeros_to(EDITS_AT)
            .take()
    }

    /// The header at the start of `bytes`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = read_header(WHAT, bytes, USED_BYTES, MAGIC)?;
        let topic = TopicId::from_bytes(reader.array()?);
        let partition = PartitionId::new(reader.u32()?);
        let _reserved = reader.u32()?;
        let history = HistoryId::from_bytes(reader.array()?);
        let copy = CopyId::from_bytes(reader.array()?);
        Ok(Self {
            topic,
            partition,
            history,
            copy,
        })
    }
}

impl Manifest {
    /// What the whole file `bytes` says. It never allocates more than a multiple of its input.
    ///
    /// # Errors
    /// What is wrong with it: `DamagedEdits` and `NoEdits` if bytes that were promised cannot be trusted or
    /// are gone, any other for what this program cannot or must not understand.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let header = Header::decode(bytes)?;
        let mut state = State::new(header.history);
        let mut edits = Vec::new();
        let (mut last, mut end, mut sequence) = (EDITS_AT, EDITS_AT, 1);
        while let Some(frame) = bytes.get(end..).and_then(Frame::read) {
            if frame.sequence != sequence {
                return Err(Error::field("edit", "sequence", frame.sequence.into()));
            }
            let edit = frame.decode()?;
            state
                .apply(&edit)
                .map_err(|source| Error::Inconsistent { sequence, source })?;
            edits.push(edit);
            last = end;
            end += frame.bytes();
            sequence += 1;
        }
        let torn = find_torn(bytes, end, sequence)?;
        if edits.is_empty() {
            return Err(Error::NoEdits);
        }
        Ok(Self {
            header,
            state,
            edits,
            last,
            end,
            torn,
        })
    }

    /// The sequence of the next edit.
    #[must_use]
    pub fn next_sequence(&self) -> u32 {
        #[expect(
            clippy::expect_used,
            reason = "an edit takes 32 bytes, a file has fewer than 2^32"
        )]
        u32::try_from(self.edits.len() + 1).expect("the edits of one file are counted in a u32")
    }
}

/// Judges the bytes behind the last sound edit: nothing, the remains of an edit whose write was
/// interrupted, or damage.
///
/// An interrupted write leaves each sector old (zeros) or new. So a torn edit is the last one, it
/// has its header or zeros in its place, and at least one of the sectors it touches is still zero
/// where the edit lies. Anything else was written whole once, and has changed since.
fn find_torn(bytes: &[u8], start: usize, sequence: u32) -> Result<Option<Range<usize>>, Error> {
    let rest = bytes.get(start..).unwrap_or_default();
    let Some(last) = rest.iter().rposition(|&byte| byte != 0) else {
        return Ok(None);
    };
    let end = start + last + 1;
    let claimed = match rest.iter().take(ALIGN_BYTES).all(|&byte| byte == 0) {
        true => Some(FRAME_BYTES_MAX.min(rest.len())),
        false => claimed_bytes(rest, sequence).filter(|&claimed| claimed <= rest.len()),
    };
    let is_torn = claimed.is_some_and(|claimed| {
        end - start <= claimed
            && has_unwritten_sector(bytes, start..start + claimed)
            && !has_later_edit(rest.get(..=last).unwrap_or_default(), sequence)
    });
    if is_torn {
        Ok(Some(start..end))
    } else {
        Err(Error::DamagedEdits {
            position: start as u64,
            end: end as u64,
        })
    }
}

/// Whether a sector is zero in its whole share of `range`; if the first bytes of the range are
/// zeros, it must be the first sector.
fn has_unwritten_sector(bytes: &[u8], range: Range<usize>) -> bool {
    let mut shares = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let end = (start + 1).next_multiple_of(USED_BYTES).min(range.end);
        shares.push(bytes.get(start..end.min(bytes.len())).unwrap_or_default());
        start = end;
    }
    let is_zero = |share: &[u8]| share.iter().all(|&byte| byte == 0);
    let header = bytes
        .get(range.start..range.start + ALIGN_BYTES)
        .unwrap_or_default();
    match shares.split_first() {
        Some((first, _)) if is_zero(header) => is_zero(first),
        Some((_, others)) => others.iter().any(|share| is_zero(share)),
        None => false,
    }
}

/// Whether a sound later edit stands somewhere in `bytes`, which start with a bad one.
fn has_later_edit(bytes: &[u8], sequence: u32) -> bool {
    let places = (ALIGN_BYTES..bytes.len()).step_by(ALIGN_BYTES);
    let mut frames = places.filter_map(|place| bytes.get(place..).and_then(Frame::read));
    frames.any(|frame| frame.sequence > sequence)
}

const MAGIC: [u8; 8] = *b"CLOGMANI";
const WHAT: &str = "manifest";

/// What of the header's block matters: one sector of the smallest size in use.
const USED_BYTES: usize = 512;
