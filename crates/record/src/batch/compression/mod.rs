//! The codecs themselves, behind the feature `compression`: only programs that write or read records
//! need them, a server stores what it got.
//!
//! The law: memory grows with what came out, up to the caller's bound. What a codec takes on a
//! frame's word alone is bounded: a window of 8 MiB, or of as much as may come out up to 128 MiB (zstd), two blocks of 8 MiB
//! (lz4).

#![deny(clippy::indexing_slicing)]

mod snappy;

use std::borrow::Cow;
use std::io::{self, Read, Write};

use super::Codec;
use crate::Error;

/// The records compressed, or `None` by the codec none.
pub(super) fn compress(codec: Codec, records: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let compressed = match codec {
        Codec::None => return Ok(None),
        Codec::Gzip => gzip(records),
        Codec::Snappy => snappy::compress(records),
        Codec::Lz4 => lz4(records),
        Codec::Zstd => zstd::bulk::compress(records, zstd::DEFAULT_COMPRESSION_LEVEL),
    };
    compressed
        .map(Some)
        .map_err(|source| Error::Codec { codec, source })
}

/// The records without compression, of at most `bytes_max` bytes.
pub(super) fn decompress(
    codec: Codec,
    compressed: &[u8],
    bytes_max: usize,
) -> Result<Cow<'_, [u8]>, Error> {
    let decompressed = match codec {
        Codec::None => return Ok(Cow::Borrowed(compressed)),
        Codec::Gzip => read_all(flate2::bufread::MultiGzDecoder::new(compressed), bytes_max),
        Codec::Snappy => snappy::decompress(compressed, bytes_max),
        Codec::Lz4 => read_all(lz4_flex::frame::FrameDecoder::new(compressed), bytes_max),
        Codec::Zstd => unzstd(compressed, bytes_max),
    };
    match decompressed {
        Ok(Some(records)) => Ok(Cow::Owned(records)),
        Ok(None) => Err(Error::DecompressedTooLarge {
            codec,
            max: bytes_max,
        }),
        Err(source) => Err(Error::Codec { codec, source }),
    }
}

fn gzip(records: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(records)?;
    encoder.finish()
}

fn lz4(records: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(records)?;
    encoder.finish().map_err(io::Error::other)
}

/// A frame's window is memory taken on its word alone: 8 MiB, what RFC 8878 asks every decoder to
/// support, or as much as may come out, whichever is more.
fn unzstd(compressed: &[u8], bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    const WINDOW_LOG_MIN: u32 = 23;
    const WINDOW_LOG_MAX: u32 = 27;
    let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed)?;
    let output_log = usize::BITS - bytes_max.leading_zeros();
    decoder.window_log_max(output_log.clamp(WINDOW_LOG_MIN, WINDOW_LOG_MAX))?;
    read_all(decoder, bytes_max)
}

/// Everything that `decoder` gives, or `None` beyond `bytes_max`. Memory grows with what came out,
/// never with what was promised.
fn read_all(decoder: impl Read, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut records = Vec::new();
    let limit = (bytes_max as u64).saturating_add(1);
    decoder.take(limit).read_to_end(&mut records)?;
    Ok((records.len() <= bytes_max).then_some(records))
}
