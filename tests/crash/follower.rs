//! A consumer that follows a partition until its server is gone or stops, and remembers what it saw.

use std::net::SocketAddr;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::fetch;
use corelog_record::Offset;
use corelog_record::batch::{self, View};
use corelog_record::checksum::crc32c;

use crate::support::wire::{Target, Wire};

/// A batch that a consumer was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) base: Offset,
    pub(crate) next: Offset,
    /// Of all its bytes, base offset and epoch included.
    pub(crate) checksum: u32,
}

impl Seen {
    pub(crate) fn of(batch: &View<'_>) -> Self {
        Self {
            base: batch.base_offset(),
            next: batch.next_offset(),
            checksum: crc32c(batch.bytes()),
        }
    }
}

/// Follows from `from` until the connection breaks.
pub(crate) fn run(address: SocketAddr, topic: &Target, partition: u32, from: Offset) -> Vec<Seen> {
    let (mut seen, mut next, mut high_watermark) = (Vec::new(), from, Offset::ZERO);
    let Ok(mut wire) = Wire::open(address) else {
        return seen;
    };
    loop {
        let request = fetch::Request {
            max_bytes: 256 << 10,
            max_wait_ms: 10_000,
            ..topic.fetch(partition, next)
        };
        let Ok(answer) = wire.call(&request, &[]) else {
            return seen;
        };
        let (answer, body) = match answer {
            Ok(answer) => answer,
            Err(error) if error.known_code() == Some(ErrorCode::Stopping) => return seen,
            Err(error) => panic!("refused: {error:?}"),
        };
        assert!(
            answer.high_watermark >= high_watermark,
            "the high watermark fell"
        );
        high_watermark = answer.high_watermark;
        for bytes in batch::Batches::over(&body) {
            let batch = View::verify(bytes.unwrap()).unwrap();
            assert_eq!(batch.base_offset(), next, "offsets are dense: {answer:?}");
            next = batch.next_offset();
            assert!(next <= high_watermark, "shown beyond the high watermark");
            seen.push(Seen::of(&batch));
        }
        assert_eq!(next, answer.next);
    }
}
