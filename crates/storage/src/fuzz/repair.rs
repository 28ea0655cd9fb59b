//! Putting right what a random change breaks first: checksums, lengths, numbers that follow from
//! others.

use corelog_record::batch::{HEADER_BYTES, PREFIX_BYTES};
use corelog_record::checksum::crc32c;

use crate::format::cursor::checksum;

/// Gives each batch of `bytes` its right checksum; the last one the length up to the end if its own
/// goes beyond; and all of them dense offsets from `base` on, if there is one.
#[expect(clippy::big_endian_bytes, reason = "the batch format is big-endian")]
pub(super) fn batches(bytes: &mut [u8], mut base: Option<i64>) {
    let mut rest = bytes;
    while HEADER_BYTES <= rest.len() {
        let claimed = i32::from_be_bytes([rest[8], rest[9], rest[10], rest[11]]);
        let claimed = usize::try_from(claimed)
            .ok()
            .and_then(|length| length.checked_add(PREFIX_BYTES));
        let is_within = |total: &usize| (HEADER_BYTES..=rest.len()).contains(total);
        let total = claimed.filter(is_within).unwrap_or(rest.len());
        let (batch, behind) = rest.split_at_mut(total);
        let length = i32::try_from(total - PREFIX_BYTES).unwrap_or(i32::MAX);
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        batch[16] = 2;
        let crc = crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        if let Some(base) = &mut base {
            batch[..8].copy_from_slice(&base.to_be_bytes());
            let delta = i32::from_be_bytes([batch[23], batch[24], batch[25], batch[26]]);
            *base = base.wrapping_add(i64::from(delta) + 1);
        }
        rest = behind;
    }
}

/// Gives the header and each row of an index their right checksums.
pub(super) fn index(bytes: &mut [u8]) {
    let header_bytes = bytes.len().min(64);
    let (header, rows) = bytes.split_at_mut(header_bytes);
    if header.len() == 64 {
        last_4(header);
    }
    rows.chunks_exact_mut(32).for_each(last_4);
}

/// Puts the CRC-32 of all bytes before the last four there.
pub(crate) fn last_4(bytes: &mut [u8]) {
    if let Some((rest, crc)) = bytes.split_last_chunk_mut() {
        *crc = crc32fast::hash(rest).to_le_bytes();
    }
}

/// Gives edits, as far as their lengths lead from one to the next, their right sequence numbers,
/// padding and checksums.
pub(super) fn edits(bytes: &mut [u8]) {
    let mut rest = bytes;
    for sequence in 1_u32.. {
        let Some((header, behind)) = rest.split_first_chunk_mut::<16>() else {
            return;
        };
        let body_bytes = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let body_bytes = usize::try_from(body_bytes).unwrap_or(usize::MAX);
        let padded = body_bytes.saturating_add(16).checked_next_multiple_of(16);
        let padded = padded.map_or(usize::MAX, |frame| frame - 16);
        let Some((frame, next)) = behind
            .split_at_mut_checked(padded)
            .filter(|_| body_bytes > 0)
        else {
            return;
        };
        let (body, padding) = frame.split_at_mut(body_bytes);
        padding.fill(0);
        header[6..8].fill(0);
        header[8..12].copy_from_slice(&sequence.to_le_bytes());
        let crc = checksum(&header[..12], body);
        header[12..].copy_from_slice(&crc.to_le_bytes());
        rest = next;
    }
}

/// Gives a small file its right length and checksum.
pub(crate) fn envelope(bytes: &mut [u8]) {
    framed::<24>(bytes, 16);
}

/// Gives a carry file its right length and checksum.
pub(super) fn carry(bytes: &mut [u8]) {
    framed::<32>(bytes, 24);
}

/// A header of `HEADER` bytes with the length of what is behind it at `at`, and the checksum of both
/// at its end.
fn framed<const HEADER: usize>(bytes: &mut [u8], at: usize) {
    let Some((header, body)) = bytes.split_first_chunk_mut::<HEADER>() else {
        return;
    };
    let body_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
    header[at..at + 4].copy_from_slice(&body_bytes.to_le_bytes());
    let crc = checksum(&header[..HEADER - 4], body);
    header[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
}
