//! Bugs planted on purpose: the explorer finds each, and nothing in the same histories without it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::explore::{Effort, Kind, Lie, Tally, explore_one, rot};
use crate::disk::faulty::Operation;
use crate::disk::memory::Step;
use crate::planted::{self, Bug};

/// So many histories are enough to find any of them.
const SEEDS: u64 = 60;

const EFFORT: Effort = Effort {
    images_min: 0,
    again: 2,
};

/// Explores histories of `kind` until `explored` finds something with the bug; without it nothing
/// is found in them.
fn assert_found(what: &str, sound: impl Fn(u64), planted: impl Fn(u64)) {
    for seed in 0..SEEDS {
        sound(seed);
        if catch_unwind(AssertUnwindSafe(|| planted(seed))).is_err() {
            println!("{what}: found by seed {seed}");
            return;
        }
    }
    panic!("{what} was not found by {SEEDS} seeds");
}

fn explore(kind: Kind, seed: u64, is_lie: Lie) {
    explore_one(kind, seed, is_lie, EFFORT, &mut Tally::default());
}

/// The disk lies.
fn assert_lie_found(kind: Kind, is_lie: Lie) {
    let sound = |seed| explore(kind, seed, |_| false);
    assert_found(&format!("{kind:?}"), sound, |seed| {
        explore(kind, seed, is_lie);
    });
}

/// The program has a bug.
fn assert_bug_found(kind: Kind, bug: Bug) {
    let sound = |seed| explore(kind, seed, |_| false);
    let planted = |seed| planted::with(bug, || explore(kind, seed, |_| false));
    assert_found(&format!("{bug:?}"), sound, planted);
}

fn is_sync_of(step: &Step, suffix: &str) -> bool {
    step.operation() == Operation::Sync && step.name().ends_with(suffix)
}

#[test]
fn a_store_that_is_not_synced_is_found() {
    assert_lie_found(Kind::Append, |step| is_sync_of(step, ".log"));
    assert_lie_found(Kind::GroupCommit, |step| is_sync_of(step, ".log"));
}

#[test]
fn a_manifest_that_is_not_synced_is_found() {
    assert_lie_found(Kind::Truncate, |step| is_sync_of(step, "manifest"));
    assert_lie_found(Kind::ManifestCompaction, |step| {
        is_sync_of(step, "manifest.new")
    });
}

#[test]
fn a_directory_that_is_not_synced_is_found() {
    for kind in [Kind::Append, Kind::Roll, Kind::ManifestCompaction] {
        assert_lie_found(kind, |step| step.operation() == Operation::SyncDir);
    }
}

#[test]
fn an_ack_before_the_sync_is_found() {
    assert_bug_found(Kind::Append, Bug::AckBeforeSync);
}

#[test]
fn damage_that_is_cut_as_torn_is_found() {
    let sound = |seed| _ = rot(seed);
    let planted = |seed| _ = planted::with(Bug::DamageCutAsTorn, || rot(seed));
    assert_found("DamageCutAsTorn", sound, planted);
}

#[test]
fn a_clean_mark_that_stays_and_is_believed_is_found() {
    assert_bug_found(Kind::Close, Bug::StaleCleanMark);
}

#[test]
fn a_recovery_that_serves_before_it_synced_is_found() {
    assert_bug_found(Kind::GroupCommit, Bug::ServedBeforeSync);
}

#[test]
fn bytes_left_behind_a_cut_are_found() {
    assert_bug_found(Kind::GroupCommit, Bug::BytesBehindCut);
}

#[test]
fn a_file_that_no_manifest_names_and_that_is_adopted_is_found() {
    assert_bug_found(Kind::TruncateSuffix, Bug::UnnamedAdopted);
}

#[test]
fn an_epoch_that_is_used_again_is_found() {
    assert_bug_found(Kind::Append, Bug::EpochReused);
}

#[test]
fn a_page_that_is_believed_after_a_failed_sync_is_found() {
    assert_bug_found(Kind::GroupCommit, Bug::PageBelieved);
}
