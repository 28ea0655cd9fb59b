//! No bytes whatever bring a decoder down.

use super::{read, reseal, sample};
use crate::batch::{self, Batches, Codec, Rules, View};

/// Base offset and epoch lie outside the checksum: another value there is another place, not damage.
#[test]
fn every_change_of_one_byte_is_found_or_moves_the_batch_as_a_whole() {
    let original = sample(Codec::None);
    let expected: Vec<_> = read(&View::verify(&original).unwrap())
        .unwrap()
        .into_iter()
        .map(|(_, r)| r)
        .collect();
    for at in 0..original.len() {
        for change in 1..=255u8 {
            let mut bytes = original.clone();
            bytes[at] ^= change;
            let Ok(view) = batch::check(&bytes, &Rules::default()) else {
                continue;
            };
            assert!(
                (0..8).contains(&at) || (12..16).contains(&at),
                "byte {at} went unnoticed"
            );
            let records = read(&view).unwrap();
            assert!(
                records
                    .into_iter()
                    .map(|(_, record)| record)
                    .eq(expected.clone())
            );
        }
    }
}

/// Half of the inputs get a right checksum again, or nothing behind it would ever be reached.
#[test]
fn a_million_mutated_batches_bring_no_decoder_down() {
    let mut random = fastrand::Rng::with_seed(0x5eed_0001);
    let original = [sample(Codec::None), sample(Codec::None)].concat();
    let one = original.len() / 2;
    let mut admitted = 0;
    let mut bytes = Vec::new();
    for round in 0..1_000_000 {
        bytes.clear();
        bytes.extend_from_slice(&original[..if round % 8 == 0 { original.len() } else { one }]);
        mutate(&mut bytes, &mut random);
        if round % 2 == 0 && bytes.len() >= batch::HEADER_BYTES {
            reseal(&mut bytes);
        }
        for batch in Batches::over(&bytes).flatten() {
            let plain = |view: &View<'_>| view.codec() == Codec::None;
            let is_admitted = batch::check(batch, &Rules::default()).is_ok_and(|v| plain(&v));
            let records = View::verify(batch).and_then(|view| view.records());
            let is_read = records.is_ok_and(|mut records| records.all(|record| record.is_ok()));
            assert!(
                is_read || !is_admitted,
                "what is admitted can be read, round {round}"
            );
            admitted += u32::from(is_admitted);
        }
    }
    assert!(
        admitted > 10_000,
        "mutations that change no meaning are admitted: {admitted}"
    );
}

#[test]
fn noise_is_no_batch() {
    let mut random = fastrand::Rng::with_seed(0x5eed_0002);
    let mut bytes = [0; 200];
    for _ in 0..100_000 {
        random.fill(&mut bytes);
        assert!(batch::check(&bytes, &Rules::default()).is_err());
        assert!(Batches::over(&bytes).all(|batch| batch.is_err()));
    }
}

/// A few small changes: bytes set, bits flipped, pieces cut out, doubled or cut off.
pub(super) fn mutate(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    for _ in 0..random.usize(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.usize(..bytes.len());
        let end = (at + random.usize(1..8)).min(bytes.len());
        match random.u8(..8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.extend_from_within(at..end),
            3 => bytes[at] = *random.choice(&[0, 1, 0x7f, 0x80, 0xff]).unwrap(),
            4 => bytes.insert(at, random.u8(..)),
            5 => bytes[at] = random.u8(..),
            _ => bytes[at] ^= 1 << random.u8(..8),
        }
    }
}
