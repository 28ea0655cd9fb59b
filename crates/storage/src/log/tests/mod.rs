//! Tests of the log, each a sentence of its laws.

mod ahead;
mod appending;
mod begun;
mod behind;
mod bounds;
mod brink;
mod called_off;
mod cost;
mod counted;
mod cuts;
mod descriptors;
mod epochs;
mod explore;
mod failing;
mod faults;
mod fenced;
mod finding;
mod following;
mod forgiven;
mod gaps;
mod holding;
mod joined;
mod lost;
mod misread;
mod model;
mod nested;
mod origin;
mod pin;
mod plans;
mod planted;
mod reading;
mod recovery;
mod rejoining;
mod replica;
mod retention;
mod reuse;
mod rot;
mod scrub;
mod sealing;
mod shortage;
mod sim;
mod space;
mod stories;
mod strays;
mod strides;
mod stuck;
mod survival;
mod taken;
mod unread;
mod unread_scrub;
mod unsure;
mod world;

use corelog_record::ByteSize;

use super::{Log, Options};
use crate::disk::Dir;
use crate::testing::own::{at, offset};

/// Small segments, so that little data makes many.
fn small() -> Options {
    Options {
        segment_bytes_max: ByteSize::from_kib(16),
        index_interval_bytes: 512,
        tail_bytes_max: 64 << 10,
        ..Options::default()
    }
}

/// Holds what a log knows of all its segments against what each of them tells.
pub(super) fn assert_counted<D: Dir>(log: &Log<D>) {
    assert_eq!(log.segment_count(), log.segments().count());
    let bytes: u64 = log.segments().map(|segment| segment.bytes).sum();
    assert_eq!(log.store_bytes().bytes(), bytes);
    let sealed = log.segments().filter(|segment| segment.is_sealed);
    let sealed: u64 = sealed.map(|segment| segment.bytes).sum();
    assert_eq!(log.sealed_bytes().bytes(), sealed);
}
