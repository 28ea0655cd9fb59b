//! The fake server's log of one partition: batches in memory.

use corelog_client::protocol::error::{Detail, ErrorBody, ErrorCode};
use corelog_client::protocol::message::list_offsets::At;
use corelog_client::protocol::message::{fetch, list_offsets};
use corelog_client::record::batch::{self, Builder, Codec, View, split_first};
use corelog_client::record::checksum::crc32c;
use corelog_client::record::{LeaderEpoch, Offset, Record, Timestamp};

#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    batches: Vec<Vec<u8>>,
    pub(crate) log_start: Offset,
    /// Everything appended is readable at once.
    pub(crate) end: Offset,
}

impl Log {
    /// Appends whole batches as a server does: checked, with base offset and epoch patched in.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> (Offset, Offset) {
        let (base, mut rest) = (self.end, bytes);
        while let Some((one, behind)) = split_first(rest).unwrap() {
            let view = batch::check(one, &batch::Rules::default()).unwrap();
            let next = self.end.plus(view.count().into());
            let mut one = one.to_vec();
            batch::patch(&mut one, self.end, LeaderEpoch::ZERO);
            self.batches.push(one);
            (self.end, rest) = (next, behind);
        }
        assert!(base < self.end, "a Produce has at least one batch");
        (base, self.end)
    }

    /// Appends one batch of these times, each record's value being its offset.
    pub(crate) fn fill(&mut self, codec: Codec, times: &[i64]) {
        let mut builder = Builder::new(codec);
        for (index, &time) in times.iter().enumerate() {
            let value = (self.end.get() + index as u64).to_string().into_bytes();
            let record = Record {
                timestamp: Timestamp::from_millis(time),
                key: Some(b"key".to_vec()),
                value: Some(value),
                headers: vec![("name".to_owned(), Some(b"header".to_vec()))],
            };
            builder.append_record(&record).unwrap();
        }
        self.append(&builder.build().unwrap());
    }

    /// Appends a control batch, as a consensus would.
    pub(crate) fn control(&mut self) {
        self.fill_otherwise(1, |batch| batch[22] |= 1 << 5);
        let last = self.batches.last().unwrap();
        assert!(View::verify(last).unwrap().is_control());
    }

    /// Appends a batch of so many records and of one that is none, as a producer might that compresses.
    pub(crate) fn fill_badly(&mut self, sound: u64) {
        // A negative count of headers.
        self.fill_otherwise(sound + 1, |batch| *batch.last_mut().unwrap() = 1);
    }

    /// Appends a batch that was changed, with the checksum of what it is by then.
    fn fill_otherwise(&mut self, records: u64, change: impl FnOnce(&mut [u8])) {
        let mut builder = Builder::new(Codec::None);
        for _ in 0..records {
            builder
                .append(Timestamp::ZERO, Some(b"key"), None, &[])
                .unwrap();
        }
        let mut bytes = builder.build().unwrap();
        batch::patch(&mut bytes, self.end, LeaderEpoch::ZERO);
        change(&mut bytes);
        let [a, b, c, d] = crc32c(&bytes[21..]).to_le_bytes();
        bytes[17..21].copy_from_slice(&[d, c, b, a]);
        self.batches.push(bytes);
        self.end = self.end.plus(records);
    }

    /// Leaves a gap, as compaction would.
    pub(crate) fn jump(&mut self, count: u64) {
        self.end = self.end.plus(count);
    }

    /// Drops whole batches below an offset.
    pub(crate) fn truncate(&mut self, lowest: Offset) {
        self.log_start = lowest;
        self.batches
            .retain(|bytes| lowest < View::verify(bytes).unwrap().next_offset());
    }

    /// Ends at a batch's end, as a replica would that has no more.
    pub(crate) fn cut(&mut self, end: Offset) {
        self.end = end;
        self.batches
            .retain(|bytes| View::verify(bytes).unwrap().base_offset() < end);
    }

    /// The values of all records, in the order of the log.
    pub(crate) fn values(&self) -> Vec<Vec<u8>> {
        let mut values = Vec::new();
        for bytes in &self.batches {
            let view = View::verify(bytes).unwrap();
            let records = view.decompress(64 << 20).unwrap();
            for record in batch::Records::over(&records, &view) {
                values.push(record.unwrap().value.unwrap_or_default().to_vec());
            }
        }
        values
    }

    pub(crate) fn list_offsets(&self, at: At) -> list_offsets::Answer {
        let views = || {
            self.batches
                .iter()
                .map(|bytes| View::verify(bytes).unwrap())
        };
        let (offset, timestamp) = match at {
            At::Earliest => (self.log_start, None),
            At::Latest => (self.end, None),
            At::Time(time) => {
                views()
                    .find(|view| time <= view.max_timestamp())
                    .map_or((self.end, None), |view| {
                        (
                            view.base_offset().max(self.log_start),
                            Some(view.max_timestamp()),
                        )
                    })
            }
        };
        let (log_start, high_watermark) = (self.log_start, self.end);
        list_offsets::Answer {
            offset,
            timestamp,
            log_start,
            high_watermark,
            epoch: None,
        }
    }

    pub(crate) fn fetch(
        &self,
        offset: Offset,
        bytes_max: usize,
    ) -> Result<(fetch::Answer, Vec<u8>), ErrorBody> {
        if offset < self.log_start || self.end < offset {
            let (log_start, high_watermark) = (Some(self.log_start), Some(self.end));
            let detail = Detail {
                log_start,
                high_watermark,
                ..Detail::default()
            };
            let error = ErrorBody::new(ErrorCode::OutOfRange, "no such offset");
            return Err(error.with_detail(detail));
        }
        let (mut body, mut next) = (Vec::new(), offset);
        for bytes in &self.batches {
            let view = View::verify(bytes).unwrap();
            if view.next_offset() <= offset {
                continue;
            }
            if !body.is_empty() && bytes_max < body.len() + bytes.len() {
                break;
            }
            body.extend_from_slice(bytes);
            next = view.next_offset();
        }
        let head = fetch::Answer {
            log_start: self.log_start,
            high_watermark: self.end,
            segment_base: Offset::ZERO,
            next,
            epochs: Vec::new(),
            lag_bytes: 0,
        };
        Ok((head, body))
    }
}
