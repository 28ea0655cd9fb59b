//! An intake that is called off while it looks at what an earlier one left.

use std::pin::pin;
use std::task::Poll;

use corelog_record::ByteSize;
use corelog_record::batch::Batches;

use super::*;
use crate::disk::faulty::{FaultyDir, Operation, When};
use crate::disk::poll_once;
use crate::intake::{Left, partial};
use crate::log::CallOff;

/// A stop waited until a gibibyte had been read and written again.
#[test]
fn what_was_left_is_called_off_between_two_pieces_and_stays() {
    let options = Options {
        segment_bytes_max: ByteSize::from_kib(2_000),
        ..small()
    };
    let source = Source::of_values(250_000, 0, &options);
    let root = MemoryDir::new();
    copy(&root, &source);
    let sent = source.bytes(1);
    let parked = root.child("p0");
    let mut intake = block_on(Intake::open(&parked, source.of(1, 0), at(5))).unwrap();
    block_on(intake.push(&sent[..sent.len() - 1])).unwrap();
    block_on(intake.park()).unwrap();
    let partial = partial::named(&name::store(source.sealed[1].1.digest.base, 0), at(5));
    let kept = || block_on(parked.read(&partial, 4 << 20)).unwrap();
    let before = kept();
    let disk = FaultyDir::new(root);
    let (dir, faults) = (disk.child("p0"), disk.faults());
    faults.hold(Operation::Read, When::Before);
    let left = block_on(Left::of(&dir)).unwrap();
    let call_off = CallOff::default();
    let of = source.of(1, 0);
    let mut opening = pin!(Intake::open_behind(&dir, of, left, at(6), &call_off));
    assert!(poll_once(opening.as_mut()).is_pending());
    call_off.call();
    assert!(faults.release_one());
    let Poll::Ready(Err(Error::Storage(error))) = poll_once(opening.as_mut()) else {
        panic!("it reads on");
    };
    assert!(matches!(error, crate::Error::CalledOff), "{error}");
    assert!(kept() == before, "it is as it was");
    faults.release_all();
    let intake = block_on(Intake::open(&dir, source.of(1, 0), at(7))).unwrap();
    let last = Batches::over(&sent).last().unwrap().unwrap().len();
    assert_eq!(intake.resumed_bytes(), (sent.len() - last) as u64);
}
