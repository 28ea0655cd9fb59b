//! What edits add up to.

use corelog_record::{Chain, LeaderEpoch, Offset, Ordinal};

use super::samples::{self, epoch, ordinal, point, seal};
use crate::format::damage::{Damage, edits};
use crate::format::edit::{Edit, End, Generation, Point, SEALS_MAX, Seals, Settings, Start};
use crate::format::state::{Broken, State};
use crate::testing::own::offset;

fn empty() -> State {
    State::new(samples::header().history)
}

fn add(at: u64) -> Edit {
    Edit::Add(point(at).into())
}

fn cut(at: u64, generation: Option<u32>) -> Edit {
    let point = point(at);
    Edit::TruncateSuffix(End {
        offset: point.offset,
        ordinal: point.ordinal,
        chain: point.chain,
        generation,
        epoch: LeaderEpoch::new(0),
    })
}

/// A log of [100, 200), [200, 300) and an active segment at 300, epoch 0 from the start.
fn three() -> State {
    let mut state = empty();
    let edits = [
        Edit::Restart(point(100)),
        Edit::Epoch(epoch(0, 100)),
        add(100),
        add(200),
        Edit::Seal(seal(100, 200)),
        add(300),
        Edit::Seal(seal(200, 300)),
    ];
    for edit in edits {
        assert_eq!(state.apply(&edit).unwrap(), []);
    }
    state
}

fn bases(state: &State) -> Vec<u64> {
    state
        .segments()
        .iter()
        .map(|segment| segment.base.get())
        .collect()
}

#[track_caller]
fn refuse(state: &State, edit: &Edit) -> Broken {
    let mut changed = state.clone();
    let broken = changed.apply(edit).unwrap_err();
    assert_eq!(&changed, state, "a refused edit changes nothing");
    broken
}

#[test]
fn segments_follow_each_other_by_offset_ordinal_and_chain() {
    let mut state = three();
    assert_eq!(bases(&state), [100, 200, 300]);
    assert_eq!(state.end(), None);
    state.apply(&Edit::Seal(seal(300, 400))).unwrap();
    assert_eq!(state.end(), Some(point(400)));
    assert!(matches!(refuse(&state, &add(401)), Broken::Gap { .. }));
    let mut wrong = point(400);
    wrong.chain = Chain::from_raw(1);
    assert!(matches!(
        refuse(&state, &Edit::Add(wrong.into())),
        Broken::Gap { .. }
    ));
    state.apply(&add(400)).unwrap();
    assert!(matches!(refuse(&state, &add(400)), Broken::Order { .. }));
}

#[test]
fn the_first_segment_begins_where_the_log_does() {
    assert!(matches!(refuse(&empty(), &add(100)), Broken::Gap { .. }));
    let mut begin = point(0);
    begin.chain = Chain::seed(samples::header().history);
    empty().apply(&Edit::Add(begin.into())).unwrap();
}

#[test]
fn no_more_batches_than_records_lie_before_a_point() {
    let more = |at: u64| Point {
        ordinal: ordinal(at + 1),
        ..point(at)
    };
    let mut state = empty();
    for edit in [Edit::Restart(point(100)), add(100)] {
        state.apply(&edit).unwrap();
    }
    let Point {
        offset,
        ordinal,
        chain,
    } = more(120);
    let cut = End {
        offset,
        ordinal,
        chain,
        generation: Some(1),
        epoch: None,
    };
    let mut wrong = seal(100, 200);
    wrong.digest.end_ordinal = more(200).ordinal;
    wrong.digest.batches = wrong.digest.end_ordinal.since(wrong.digest.ordinal);
    for edit in [
        Edit::Restart(more(100)),
        Edit::Add(more(200).into()),
        Edit::TruncateSuffix(cut),
        Edit::Seal(wrong),
    ] {
        assert!(matches!(refuse(&state, &edit), Broken::Impossible { .. }));
    }
    // A batch of one record each.
    let most = Point {
        ordinal: samples::ordinal(200),
        ..point(200)
    };
    state.apply(&Edit::Add(most.into())).unwrap();
}

#[test]
fn a_seal_must_fit_its_segment_and_its_successor() {
    let mut state = empty();
    for edit in [Edit::Restart(point(100)), add(100), add(200)] {
        state.apply(&edit).unwrap();
    }
    assert!(matches!(
        refuse(&state, &Edit::Seal(seal(100, 190))),
        Broken::Gap { .. }
    ));
    assert!(matches!(
        refuse(&state, &Edit::Seal(seal(150, 200))),
        Broken::NoSegment { .. }
    ));
    let mut wrong = seal(100, 200);
    wrong.digest.batches += 1;
    assert!(matches!(
        refuse(&state, &Edit::Seal(wrong)),
        Broken::Digest { .. }
    ));
    let mut wrong = seal(100, 200);
    wrong.digest.chain = Chain::from_raw(1);
    assert!(matches!(
        refuse(&state, &Edit::Seal(wrong)),
        Broken::Digest { .. }
    ));
    state.apply(&Edit::Seal(seal(100, 200))).unwrap();
    assert!(matches!(
        refuse(&state, &Edit::Seal(seal(100, 200))),
        Broken::Sealed { .. }
    ));
}

#[test]
fn the_log_start_moves_forward_and_takes_whole_segments_along() {
    let mut state = three();
    assert_eq!(
        state
            .apply(&Edit::Truncate(Start { start: offset(199) }))
            .unwrap(),
        []
    );
    assert_eq!(state.log_start(), offset(199));
    let gone = state
        .apply(&Edit::Expire(Start { start: offset(200) }))
        .unwrap();
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].base, offset(100));
    assert_eq!(bases(&state), [200, 300]);
    let back = Edit::Truncate(Start { start: offset(199) });
    assert!(matches!(
        refuse(&state, &back),
        Broken::StartMovesBack { .. }
    ));
    // The active segment stays, for only its store knows its end.
    state
        .apply(&Edit::Truncate(Start { start: offset(350) }))
        .unwrap();
    assert_eq!(bases(&state), [300]);
}

#[test]
fn a_log_whose_segments_are_all_gone_goes_on_where_it_ended() {
    let mut state = three();
    state.apply(&Edit::Seal(seal(300, 400))).unwrap();
    let beyond = Edit::Truncate(Start { start: offset(401) });
    assert!(matches!(refuse(&state, &beyond), Broken::BeyondEnd { .. }));
    assert_eq!(
        state
            .apply(&Edit::Truncate(Start { start: offset(400) }))
            .unwrap()
            .len(),
        3
    );
    assert_eq!(bases(&state), []);
    assert_eq!(state.end(), Some(point(400)));
    state.apply(&add(400)).unwrap();
}

#[test]
fn a_cut_within_a_segment_puts_it_in_another_generation() {
    let mut state = three();
    assert!(matches!(
        refuse(&state, &cut(250, None)),
        Broken::GenerationOrder { .. }
    ));
    let gone = state.apply(&cut(250, Some(1))).unwrap();
    assert_eq!(
        gone.iter()
            .map(|s| (s.base.get(), s.generation))
            .collect::<Vec<_>>(),
        [(200, 0), (300, 0)]
    );
    assert_eq!(bases(&state), [100, 200]);
    let last = state.segments().last().unwrap();
    assert_eq!((last.generation, &last.seal), (1, &None));
}

/// The setting that remembers damage.
fn remembered(segment: u64, from: u64, to: u64) -> (String, Option<String>) {
    let [from, to, segment] = [from, to, segment].map(offset);
    Damage { from, to, segment }.setting()
}

#[test]
fn a_cut_forgets_the_damage_of_what_it_cuts_off() {
    let mut state = three();
    let damage = [
        (100, 150, 160),
        (200, 210, 220),
        (200, 250, 260),
        (300, 300, 310),
    ];
    let changes = damage.map(|(segment, from, to)| remembered(segment, from, to));
    let changes = changes.into();
    state.apply(&Edit::Settings(Settings { changes })).unwrap();
    state.apply(&cut(250, Some(1))).unwrap();
    let left: Vec<_> = state.settings().keys().map(String::as_str).collect();
    assert_eq!(left, ["damage.100.150", "damage.200.210"]);
    // What reaches above the cut ends there.
    state.apply(&cut(212, Some(2))).unwrap();
    let left: Vec<_> = state.settings().values().map(String::as_str).collect();
    assert_eq!(left, ["160", "212"]);
}

/// It stayed in the manifest for ever, one setting for each.
#[test]
fn damage_of_a_segment_that_leaves_the_log_is_forgotten_with_it() {
    let mut state = three();
    let changes = [(100, 150), (200, 210), (300, 310)]
        .map(|(segment, from)| remembered(segment, from, from + 5));
    let changes = changes.into();
    state.apply(&Edit::Settings(Settings { changes })).unwrap();
    let start = offset(200);
    state.apply(&Edit::Expire(Start { start })).unwrap();
    let left: Vec<_> = state.settings().keys().map(String::as_str).collect();
    assert_eq!(left, ["damage.200.210", "damage.300.310"]);
    state.apply(&Edit::Restart(point(400))).unwrap();
    assert!(state.settings().is_empty());
}

#[test]
fn a_cut_between_segments_needs_no_other_file() {
    let mut state = three();
    assert_eq!(state.apply(&cut(200, None)).unwrap().len(), 2);
    assert_eq!(bases(&state), [100]);
    assert_eq!(state.end(), Some(point(200)));
    state.apply(&cut(100, None)).unwrap();
    assert_eq!(bases(&state), []);
    assert_eq!(state.end(), Some(point(100)));
    state.apply(&add(100)).unwrap();
}

#[test]
fn a_cut_drops_the_epochs_that_it_says() {
    let mut state = three();
    state.apply(&Edit::Epoch(epoch(1, 310))).unwrap();
    state.apply(&cut(300, None)).unwrap();
    assert_eq!(state.epochs(), [epoch(0, 100)]);
}

#[test]
fn a_restart_gives_everything_up_and_begins_further_on() {
    let mut state = three();
    let back = Edit::Restart(point(50));
    assert!(matches!(
        refuse(&state, &back),
        Broken::StartMovesBack { .. }
    ));
    assert_eq!(state.apply(&Edit::Restart(point(900))).unwrap().len(), 3);
    assert_eq!(
        (state.log_start(), state.end()),
        (offset(900), Some(point(900)))
    );
}

#[test]
fn epochs_rise_and_are_forgotten_with_their_last_batch() {
    let mut state = three();
    let again = Edit::Epoch(epoch(0, 400));
    assert!(matches!(refuse(&state, &again), Broken::EpochOrder { .. }));
    state.apply(&Edit::Epoch(epoch(2, 250))).unwrap();
    let earlier = Edit::Epoch(epoch(3, 249));
    assert!(matches!(
        refuse(&state, &earlier),
        Broken::EpochOrder { .. }
    ));
    state
        .apply(&Edit::Truncate(Start { start: offset(260) }))
        .unwrap();
    assert_eq!(
        state.epochs().len(),
        2,
        "the first segment has batches of both"
    );
    state
        .apply(&Edit::Expire(Start { start: offset(300) }))
        .unwrap();
    assert_eq!(state.epochs(), [epoch(2, 250)]);
}

#[test]
fn a_generation_only_rises() {
    let mut state = three();
    let change = |generation| {
        Edit::Generation(Generation {
            base: offset(200),
            generation,
        })
    };
    let gone = state.apply(&change(3)).unwrap();
    assert_eq!((gone.len(), gone[0].generation), (1, 0));
    assert!(
        state.segments()[1].seal.is_some(),
        "a repaired segment is still sealed"
    );
    assert!(matches!(
        refuse(&state, &change(3)),
        Broken::GenerationOrder { .. }
    ));
}

#[test]
fn settings_change_key_by_key() {
    let mut state = empty();
    for (key, value) in [("a", Some("1")), ("b", Some("2")), ("a", None)] {
        let changes = [(key.to_owned(), value.map(str::to_owned))].into();
        state.apply(&Edit::Settings(Settings { changes })).unwrap();
    }
    assert_eq!(state.settings(), &[("b".to_owned(), "2".to_owned())].into());
}

/// Any sequence of edits, most of them possible: what a compaction writes says the same.
#[test]
fn the_fewest_edits_lead_to_the_same_state() {
    for seed in 0..20_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut state = empty();
        let mut number = 0;
        for _ in 0..random.usize(0..30) {
            let last = state.segments().last().cloned();
            let open = last.as_ref().filter(|last| last.seal.is_none());
            let at = last.as_ref().map_or(0, |last| last.base.get());
            let further = at + 10 * random.u64(1..10);
            let edit = match random.u8(0..8) {
                0 => Edit::Restart(point(state.log_start().get().next_multiple_of(10))),
                1 | 2 => match state.end() {
                    Some(end) => Edit::Add(end.into()),
                    None => add(further),
                },
                3 | 4 => match open {
                    Some(open) => {
                        let mut seal = seal(open.base.get(), further);
                        seal.digest.chain = open.chain;
                        seal.digest.ordinal = open.ordinal;
                        seal.digest.end_ordinal = open.ordinal.plus(4);
                        seal.digest.batches = 4;
                        Edit::Seal(seal)
                    }
                    None => continue,
                },
                5 => Edit::Truncate(Start {
                    start: offset(random.u64(0..=further)),
                }),
                6 => {
                    number += 1;
                    let point = point(further);
                    Edit::Epoch(crate::format::edit::Epoch {
                        ordinal: ordinal(point.ordinal.get()),
                        ..epoch(number, further)
                    })
                }
                _ => cut(10 * random.u64(0..=further / 10), Some(random.u32(0..50))),
            };
            // Some of these contradict the ones before, and change nothing.
            let _refused = state.apply(&edit).is_err();
        }
        let mut again = empty();
        for edit in state.edits() {
            again
                .apply(&edit)
                .unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        }
        assert_eq!(again, state, "seed {seed}");
    }
}

#[test]
fn several_seals_are_made_all_or_none() {
    let mut state = empty();
    let start = state.end().unwrap();
    state.apply(&Edit::Add(start.into())).unwrap();
    state.apply(&add(100)).unwrap();
    let before = state.clone();
    let mut first = seal(0, 100);
    (first.digest.ordinal, first.digest.chain) = (start.ordinal, start.chain);
    let wrong = Seals {
        seals: vec![first.clone(), seal(110, 200)],
    };
    assert!(state.apply(&Edit::Seals(wrong)).is_err());
    assert_eq!(state, before, "an edit that is refused changes nothing");
    let right = Seals {
        seals: vec![first, seal(100, 200)],
    };
    state.apply(&Edit::Seals(right)).unwrap();
    assert!(
        state
            .segments()
            .iter()
            .all(|segment| segment.seal.is_some())
    );
    assert_eq!(state.end(), Some(point(200)));
}

#[test]
fn as_many_seals_as_are_written_at_once_fit_into_one_edit() {
    let mut largest = seal(0, 100);
    let digest = &mut largest.digest;
    (digest.base, digest.end) = (Offset::MAX, Offset::MAX);
    (digest.bytes, digest.batches) = (u64::MAX, u64::MAX);
    digest.chain = Chain::from_raw(u64::MAX);
    digest.end_chain = digest.chain;
    (digest.ordinal, digest.end_ordinal) = (Ordinal::MAX, Ordinal::MAX);
    digest.hash = Some(serde_bytes::ByteArray::new([255; 16]));
    let seals = vec![largest; SEALS_MAX];
    assert!(Edit::Seals(Seals { seals }).encode(u32::MAX).len() <= 4096);
}

#[test]
fn the_front_of_a_log_is_what_a_snapshot_says() {
    let mut state = three();
    state.apply(&Edit::Epoch(epoch(1, 200))).unwrap();
    state.apply(&Edit::Epoch(epoch(2, 300))).unwrap();
    state
        .apply(&Edit::Truncate(Start { start: offset(150) }))
        .unwrap();
    state
        .apply(&Edit::Settings(Settings {
            changes: [("a".to_owned(), Some("b".to_owned()))].into(),
        }))
        .unwrap();
    let front = state.front(point(200));
    assert_eq!(bases(&front), [100]);
    assert_eq!(
        (front.end(), front.log_start()),
        (Some(point(200)), offset(150))
    );
    assert_eq!(front.epochs().len(), 2, "those that had begun");
    assert!(front.settings().is_empty());
    for at in [100, 200, 300] {
        let front = state.front(point(at));
        let mut again = empty();
        for edit in front.edits() {
            again.apply(&edit).unwrap();
        }
        assert_eq!(again, front);
        assert_eq!(front.end(), Some(point(at)));
    }
    let nothing = state.front(point(100));
    assert_eq!(
        (bases(&nothing), nothing.log_start()),
        (vec![], offset(100))
    );
}

/// Only its successor says where a segment that is never sealed ends.
#[test]
fn the_front_of_a_log_that_ends_unsealed_has_an_empty_segment_behind_it() {
    let mut state = empty();
    for edit in [Edit::Restart(point(100)), add(100), add(200), add(300)] {
        state.apply(&edit).unwrap();
    }
    let front = state.front(point(200));
    assert_eq!(bases(&front), [100, 200]);
    assert_eq!(front.end(), None);
}

/// Each was held against all others: what an opening took went with the square of how many there were.
#[test]
fn damage_in_many_ranges_is_told_in_order() {
    const RANGES: u64 = 200_000;
    let mut state = three();
    let of = |number: u64| {
        let (from, to) = (offset(1_000 + 2 * number), offset(1_001 + 2 * number));
        let segment = offset(300);
        Damage { from, to, segment }
    };
    let all: Vec<_> = (0..RANGES).map(of).collect();
    for edit in edits(&all) {
        state.apply(&edit).unwrap();
    }
    assert!(state.damage() == all);
}
