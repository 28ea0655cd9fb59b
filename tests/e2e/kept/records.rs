//! Records of a test's own.

use corelog_protocol::message::segments;
use corelog_record::batch::Codec;
use corelog_record::{Offset, PartitionId};

use crate::support::corelog::Corelog;
use crate::support::deadline::until;
use crate::support::wire::{Target, Wire, batch};

/// Bytes of one record: some fifty of them fill a segment of 1 MiB.
const RECORD_BYTES: usize = 20_000;

/// Produces records with the numbers `from..to` to a partition, each in a batch of its own.
pub(crate) fn produce(wire: &mut Wire, topic: &Target, partition: u32, from: u64, to: u64) {
    for number in from..to {
        let batch = batch(Codec::None, [value(number)]);
        wire.call(&topic.produce(partition), &batch)
            .unwrap()
            .unwrap();
    }
}

/// The value of a record: its number, and bytes that nothing compresses to nothing.
pub(super) fn value(number: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(number);
    let mut value: Vec<u8> = (0..RECORD_BYTES).map(|_| random.u8(..)).collect();
    value[..8].copy_from_slice(&number.to_le_bytes());
    value
}

/// Waits until so many segments of a partition are sealed: their stores are cut to what they hold.
pub(crate) fn until_sealed(wire: &mut Wire, topic: &Target, partition: u32, count: usize) {
    let request = segments::Request {
        topic: topic.name.clone(),
        id: topic.id,
        partition: PartitionId::new(partition),
        from: Offset::ZERO,
    };
    until("the segments are sealed", || {
        let (told, _) = wire.call(&request, &[]).unwrap().unwrap();
        count <= told.sealed.len()
    });
}

/// What `topic describe` says.
pub(super) fn describe(corelog: &Corelog, topic: &str) -> serde_json::Value {
    let describe = ["topic", "describe", topic, "--output", "json"];
    let (out, said, code) = corelog.run(describe).parts();
    let told: serde_json::Value = serde_json::from_slice(&out).unwrap_or_else(|_| panic!("{said}"));
    let partitions = told["partitions"].as_array().unwrap();
    let is_sound = partitions
        .iter()
        .all(|p| p["damage"] == serde_json::json!([]));
    // A script that only looks at the code is told of damage.
    assert_eq!(code, Some(if is_sound { 0 } else { 3 }), "{said}");
    told
}
