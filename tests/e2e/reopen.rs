//! Reopening a partition while it is used.

use std::thread;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::{ack::Level, produce, reopen_partition};
use corelog_record::batch::{self, Codec, View};
use corelog_record::{Offset, PartitionId};

use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::server::Start;
use crate::support::wire::{Wire, batch};

/// Once, several clients who reopened one partition at a time had it opened as often: two logs wrote
/// to the same files, and what the first one had made durable the second one did not know.
#[test]
fn a_partition_reopened_by_many_at_once_is_opened_once() {
    let folder = Folder::new();
    let server = Start::on(&folder.path().join("data")).cores(2).start();
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("revolving", 1, 1 << 20);
    let clients: Vec<_> = (0..6)
        .map(|client| {
            let (address, topic) = (server.ready.listen, topic.clone());
            thread::spawn(move || {
                let mut wire = Wire::open(address).unwrap();
                let mut acked = Vec::new();
                let mut produce = produce::Request {
                    level: Some(Level::Durable),
                    ..topic.produce(0)
                };
                for turn in 0..40_u32 {
                    let reopen = reopen_partition::Request {
                        topic: topic.name.clone(),
                        id: topic.id,
                        partition: PartitionId::new(0),
                    };
                    produce.run += 1;
                    let value = format!("turn {turn} of client {client}");
                    let records = batch(Codec::None, [&value]);
                    let correlation = wire.send(&reopen, &[]).unwrap();
                    wire.send(&produce, &records).unwrap();
                    let mut ack = None;
                    for _ in 0..2 {
                        let reply = wire.receive().unwrap();
                        if reply.correlation == correlation {
                            let told = reply.read::<reopen_partition::Request>();
                            let code = told.err().map(|error| error.known_code().unwrap());
                            assert!(matches!(code, None | Some(ErrorCode::Busy)), "{code:?}");
                        } else {
                            ack = reply.read::<produce::Request>().ok();
                        }
                    }
                    // What comes while the partition is opened is refused.
                    until("a record is taken", || {
                        if ack.is_none() {
                            produce.run += 1;
                            ack = wire.call(&produce, &records).unwrap().ok();
                        }
                        ack.is_some()
                    });
                    acked.push((ack.unwrap().0.base, value));
                }
                acked
            })
        })
        .collect();
    let acked: Vec<_> = clients
        .into_iter()
        .flat_map(|c| c.join().unwrap())
        .collect();
    let mut values = Vec::new();
    for bytes in batch::Batches::over(&wire.read_all(&topic, 0, Offset::ZERO)) {
        let batch = View::verify(bytes.unwrap()).unwrap();
        assert_eq!(batch.base_offset().get(), values.len() as u64);
        let records = batch.records().unwrap();
        values.extend(records.map(|record| record.unwrap().value.unwrap().to_vec()));
    }
    for (offset, value) in acked {
        let found = &values[usize::try_from(offset.get()).unwrap()];
        assert_eq!(found, value.as_bytes());
    }
    assert!(server.stop().status.success());
}
