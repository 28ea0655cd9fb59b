//! Snappy as Kafka has it: blocks in the frame of xerial's snappy-java, or, from some clients, one
//! bare block.
//!
//! ```text
//!  0  0x82 "SNAPPY" 0x00
//!  8  version            i32   1
//! 12  compatible since   i32   1
//! 16  blocks {length i32 · snappy block}, in Kafka of 32 KiB before compression
//! ```

#![deny(clippy::indexing_slicing)]
#![expect(clippy::big_endian_bytes, reason = "snappy-java's frame is big-endian")]

use std::io;

const FRAME: [u8; 8] = *b"\x82SNAPPY\0";
const VERSION: u32 = 1;
const BLOCK_BYTES: usize = 32 << 10;

/// No element of a snappy block yields more: 64 bytes copied by an element of 3.
const RATIO_MAX: usize = 64;

pub(super) fn compress(records: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = snap::raw::Encoder::new();
    let mut out = Vec::with_capacity(records.len() / 2);
    out.extend_from_slice(&FRAME);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&VERSION.to_be_bytes());
    for block in records.chunks(BLOCK_BYTES) {
        let compressed = encoder.compress_vec(block)?;
        let length = u32::try_from(compressed.len()).map_err(io::Error::other)?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&compressed);
    }
    Ok(out)
}

/// Everything in `compressed`, or `None` beyond `bytes_max`.
pub(super) fn decompress(compressed: &[u8], bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut records = Vec::new();
    let Some(framed) = compressed.strip_prefix(&FRAME) else {
        let fits = append_block(compressed, bytes_max, &mut records)?;
        return Ok(fits.then_some(records));
    };
    let (_version, rest) = take_u32(framed)?;
    let (_compatible, mut rest) = take_u32(rest)?;
    while !rest.is_empty() {
        let (length, blocks) = take_u32(rest)?;
        let (block, behind) = blocks
            .split_at_checked(length as usize)
            .ok_or_else(|| cut("a snappy block is cut"))?;
        if !append_block(block, bytes_max, &mut records)? {
            return Ok(None);
        }
        rest = behind;
    }
    Ok(Some(records))
}

/// Appends what `block` decompresses to, or says `false` if `records` would pass `bytes_max`.
fn append_block(block: &[u8], bytes_max: usize, records: &mut Vec<u8>) -> io::Result<bool> {
    let claimed = snap::raw::decompress_len(block)?;
    if claimed / RATIO_MAX > block.len() {
        return Err(cut("a snappy block claims more than it can hold"));
    }
    let from = records.len();
    if claimed > bytes_max.saturating_sub(from) {
        return Ok(false);
    }
    records.resize(from + claimed, 0);
    let out = records.get_mut(from..).unwrap_or_default();
    let written = snap::raw::Decoder::new().decompress(block, out)?;
    records.truncate(from + written);
    Ok(true)
}

fn take_u32(bytes: &[u8]) -> io::Result<(u32, &[u8])> {
    let (field, rest) = bytes
        .split_first_chunk()
        .ok_or_else(|| cut("a snappy frame is cut"))?;
    Ok((u32::from_be_bytes(*field), rest))
}

fn cut(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
