//! Torn bytes are kept, up to a bound.

use corelog_record::{PartitionId, Position, Timestamp, TopicId};
use corelog_storage::format::quarantine::{Name, Reason};
use corelog_storage::quarantine::TORN_BYTES_MAX;

use crate::{directory, start, wait_until};

#[test]
fn a_start_lets_the_oldest_torn_bytes_go_and_never_damage() {
    let dir = directory();
    let quarantine = dir.path().join("quarantine");
    std::fs::create_dir(&quarantine).expect("a directory");
    let put = |time: i64, reason: Reason| {
        let name = Name {
            time: Timestamp::from_millis(time),
            reason,
            topic: TopicId::from_bytes([1; 16]),
            partition: PartitionId::new(0),
            position: Position::ZERO,
            file: "00000000000000000000.log".to_owned(),
        };
        let path = quarantine.join(name.to_string());
        let file = std::fs::File::create(&path).expect("a file");
        // Sparse: what counts is the length.
        file.set_len(TORN_BYTES_MAX * 2 / 3).expect("a length");
        path
    };
    let damage = put(1, Reason::Damaged);
    let oldest = put(2, Reason::Torn);
    let newest = put(3, Reason::Torn);
    let node = start(&dir);
    wait_until(|| !oldest.exists());
    assert!(newest.exists());
    assert!(damage.exists());
    node.stop().expect("a clean stop");
}
