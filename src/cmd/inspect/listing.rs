//! A list of batches or records, printed as it is read.

use corelog_record::batch::{RecordView, Records, View};
use corelog_record::{Offset, Position};
use serde_json::json;

use super::DECOMPRESSED_BYTES_MAX;
use crate::exit::{Exit, stop};
use crate::output::{Format, Out, cell, record};
use crate::quantity::rfc3339;

/// What to list, from where, and how much of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listing {
    pub(super) of: Of,
    pub(super) from: Offset,
    pub(super) count: Option<u64>,
    pub(super) format: Format,
}

/// What a line of the list stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Batches,
    Records,
}

/// A list in the making.
pub(super) struct Lines<'a> {
    listing: Listing,
    out: &'a mut Out,
    printed: u64,
    /// Why nothing more can be printed, as where its reader has left. What was found by then is told all the same.
    ended: Option<anyhow::Error>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(listing: Listing, out: &'a mut Out) -> Self {
        Self {
            listing,
            out,
            printed: 0,
            ended: None,
        }
    }

    /// Begins with the header, at `start` unless it is asked for what lies behind that; gives where.
    pub(super) fn begin(&mut self, start: Offset) -> Offset {
        let from = self.listing.from.max(start);
        self.listing.from = from;
        self.ended = self.header().err();
        from
    }

    fn header(&mut self) -> anyhow::Result<()> {
        if self.listing.format == Format::Json {
            return Ok(());
        }
        const OF_BATCHES: [&str; 9] = [
            "OFFSET", "NEXT", "RECORDS", "POSITION", "BYTES", "CODEC", "EPOCH", "MAX TIME",
            "CHECKSUM",
        ];
        self.out.row(match self.listing.of {
            Of::Batches => &OF_BATCHES[..],
            Of::Records => &["OFFSET", "TIME", "KEY", "VALUE", "HEADERS"],
        })
    }

    /// True when nothing more is wanted, or can be printed.
    pub(super) fn is_full(&self) -> bool {
        let count = self.listing.count;
        self.ended.is_some() || count.is_some_and(|count| self.printed >= count)
    }

    /// Prints the batch, or its records, as far as they are wanted.
    pub(super) fn add(&mut self, position: Position, view: &View<'_>) {
        if view.next_offset() <= self.listing.from || self.is_full() {
            return;
        }
        let printed = match self.listing.of {
            Of::Batches => {
                self.printed += 1;
                self.batch(position, view)
            }
            Of::Records => self.records(view),
        };
        self.ended = printed.err();
    }

    /// What ended the list early, if anything did.
    pub(super) fn end(self) -> anyhow::Result<()> {
        self.ended.map_or(Ok(()), Err)
    }

    fn batch(&mut self, position: Position, view: &View<'_>) -> anyhow::Result<()> {
        let epoch = view.epoch().map(|epoch| epoch.get());
        let time = rfc3339(view.max_timestamp());
        let crc = format!("{:08x}", view.header().crc);
        match self.listing.format {
            Format::Table => {
                let control = if view.is_control() { " control" } else { "" };
                let cells = [
                    view.base_offset().to_string(),
                    view.next_offset().to_string(),
                    view.count().to_string(),
                    position.to_string(),
                    view.bytes().len().to_string(),
                    format!("{}{control}", view.codec()),
                    cell(epoch),
                    time,
                    crc,
                ];
                self.out.row(&cells)
            }
            Format::Json => self.out.json(&json!({
                "offset": view.base_offset().get(),
                "next": view.next_offset().get(),
                "records": view.count(),
                "position": position.get(),
                "bytes": view.bytes().len(),
                "codec": view.codec().to_string(),
                "is_control": view.is_control(),
                "epoch": epoch,
                "max_time": time,
                "checksum": crc,
            })),
        }
    }

    fn records(&mut self, view: &View<'_>) -> anyhow::Result<()> {
        let offset = view.base_offset();
        let damaged = |error: corelog_record::Error| {
            let what = format!("the records of the batch at offset {offset}: {error}");
            stop(Exit::Damage, what)
        };
        let bytes = view.decompress(DECOMPRESSED_BYTES_MAX).map_err(damaged)?;
        for record in Records::over(&bytes, view) {
            let record = record.map_err(damaged)?;
            if self.is_full() {
                break;
            }
            if record.offset >= self.listing.from {
                self.printed += 1;
                self.record(&record)?;
            }
        }
        Ok(())
    }

    fn record(&mut self, record: &RecordView<'_>) -> anyhow::Result<()> {
        match self.listing.format {
            Format::Table => {
                let text = |bytes: Option<&[u8]>| cell(bytes.map(escaped));
                let headers: Vec<String> = record
                    .headers()
                    .map(|(name, value)| format!("{}={}", escaped(name.as_bytes()), text(value)))
                    .collect();
                let cells = [
                    record.offset.to_string(),
                    rfc3339(record.timestamp),
                    text(record.key),
                    text(record.value),
                    headers.join(" "),
                ];
                self.out.row(&cells)
            }
            Format::Json => {
                let place = (record.offset, record.timestamp);
                let fields = [record.key, record.value];
                self.out
                    .json(&record::json(place, fields, record.headers()))
            }
        }
    }
}

/// Bytes as text on one line: what is no printable text becomes an escape.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.extend(chunk.valid().chars().flat_map(|c| match c {
            '"' | '\'' => vec![c],
            c => c.escape_debug().collect(),
        }));
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_on_one_line() {
        assert_eq!(escaped("grüße 'du'".as_bytes()), "grüße 'du'");
        assert_eq!(escaped(b"a\n\tb\xff\\"), r"a\n\tb\xff\\");
    }
}
