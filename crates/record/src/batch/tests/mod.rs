//! Tests of whole batches: what is written is read back, what is damaged is found.

#![expect(clippy::big_endian_bytes, reason = "the batch format is big-endian")]

#[cfg(feature = "compression")]
mod compressed;
mod hostile;
mod refused;
mod round_trip;

use super::{Builder, Codec, View, header::CHECKED_FROM};
use crate::checksum::crc32c;
use crate::{Record, Timestamp};

/// The codecs that this build has.
fn codecs() -> &'static [Codec] {
    if cfg!(feature = "compression") {
        &Codec::ALL
    } else {
        &[Codec::None]
    }
}

fn record(millis: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Record {
    Record {
        timestamp: Timestamp::from_millis(millis),
        key: key.map(Into::into),
        value: value.map(Into::into),
        headers: Vec::new(),
    }
}

fn build(codec: Codec, records: &[Record]) -> Vec<u8> {
    let mut builder = Builder::new(codec);
    for (index, record) in records.iter().enumerate() {
        assert_eq!(
            builder.append_record(record).unwrap(),
            u32::try_from(index).unwrap()
        );
    }
    builder.build().unwrap()
}

/// Three records that between them have everything a record can have, and text that compresses.
fn sample(codec: Codec) -> Vec<u8> {
    let mut first = record(1_700_000_000_500, Some(b"key"), Some(&b"value ".repeat(20)));
    first
        .headers
        .push(("trace".to_owned(), Some(b"abc".to_vec())));
    first.headers.push(("empty".to_owned(), None));
    let second = record(1_700_000_000_000, None, Some(b""));
    let third = record(1_700_000_000_900, Some(b""), None);
    build(codec, &[first, second, third])
}

/// Every record of a batch with its offset, whatever the codec.
fn read(batch: &View<'_>) -> Result<Vec<(u64, Record)>, crate::Error> {
    let own = |record: super::RecordView<'_>| (record.offset.get(), record.to_record());
    #[cfg(feature = "compression")]
    let bytes = batch.decompress(super::BYTES_MAX)?;
    #[cfg(not(feature = "compression"))]
    let bytes = batch
        .records()
        .map(|_| std::borrow::Cow::Borrowed(batch.record_bytes()))?;
    super::Records::over(&bytes, batch)
        .map(|record| record.map(own))
        .collect()
}

/// Makes length and checksum of a tampered batch right again, so that the next check is reached.
fn reseal(batch: &mut [u8]) {
    let length = i32::try_from(batch.len() - super::PREFIX_BYTES).unwrap();
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&batch[CHECKED_FROM..]);
    batch[17..CHECKED_FROM].copy_from_slice(&crc.to_be_bytes());
}
