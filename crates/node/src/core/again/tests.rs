//! When a partition that could not be opened is tried again, and what is told of it meanwhile.

use std::sync::Arc;

use corelog_protocol::error::ErrorCode;
use corelog_storage::format::replica::{Replica, Role};

use super::*;
use crate::core::tests::{batches, first_store, flush, produce, topic, with_core};
use crate::metrics::PartitionState;

#[test]
fn partitions_that_found_no_room_are_tried_in_turn() {
    with_core(|core| async move {
        let slots = [1, 2, 3].map(|number| {
            let (topic, key) = topic(number);
            core.slots.borrow_mut().add(key, topic).unwrap()
        });
        let next = |last| core.next_unopened(last).map(|(slot, _)| slot);
        assert_eq!(next(SlotId::LAST), None);
        for slot in [slots[0], slots[2]] {
            let mut all = core.slots.borrow_mut();
            all.get_mut(slot).unwrap().state = SlotState::Unopened(Refusal::Busy);
        }
        assert_eq!(next(SlotId::LAST), Some(slots[0]));
        assert_eq!(next(slots[0]), Some(slots[2]));
        assert_eq!(next(slots[2]), Some(slots[0]));
    });
}

/// A read that failed once closed a partition until somebody came by; later those of five minutes did, and a copy whose
/// disk came back after six stayed closed.
#[test]
fn partitions_that_the_disk_did_not_give_are_tried_again_for_ever_and_told_a_few_times() {
    with_core(|core| async move {
        let [unread, rotten] = [1, 2].map(|number| {
            let (topic, key) = topic(number);
            let slot = core.slots.borrow_mut().add(key, topic).unwrap();
            (slot, key)
        });
        core.set_failed(rotten.0, Trouble::Refused);
        core.set_failed(unread.0, Trouble::Unread);
        let begun = rt::now();
        let mut now = begun;
        for tries in 0..10 * OPEN_AGAIN_TRIES {
            let has_waited = OPEN_AGAIN_TRIES <= tries;
            assert_eq!(core.is_told(unread.0, Trouble::Unread), has_waited);
            let at = due(&core, unread.0);
            assert_eq!(core.next_unread(at - Duration::from_millis(1)), None);
            assert_eq!(core.next_unread(at), Some(unread));
            assert!(at - now <= OPEN_AGAIN_MAX, "{tries}");
            if has_waited {
                assert_eq!(at - now, OPEN_AGAIN_MAX);
                assert!(Duration::from_secs(300) < now - begun, "{tries}");
            }
            now = at;
            fail_at(&core, unread.0, Trouble::Unread, now);
        }
        core.set_failed(unread.0, Trouble::Refused);
        assert!(
            !core.is_told(unread.0, Trouble::Unread),
            "it is another trouble"
        );
    });
}

/// Whoever was woken for it was told with each try that it is over, and woken anew behind it.
#[test]
fn a_partition_that_the_disk_does_not_give_is_told_as_failed_while_it_is_tried_again() {
    with_core(|core| async move {
        let [first, unread] = [1, 2].map(|number| {
            let (topic, key) = topic(number);
            core.slots.borrow_mut().add(key, topic).unwrap()
        });
        core.set_failed(unread, Trouble::Unread);
        for slot in [first, unread] {
            assert!(core.take_log(slot).await.is_none());
        }
        let told = core.snapshot().await;
        let told = told.iter().map(|partition| partition.state);
        assert_eq!(
            Vec::from_iter(told),
            [PartitionState::Opening, PartitionState::Failed]
        );
    });
}

/// Notes that a partition could not be opened at some time.
fn fail_at(core: &Core, slot: SlotId, trouble: Trouble, now: Instant) {
    let mut slots = core.slots.borrow_mut();
    slots.get_mut(slot).unwrap().again.failed(trouble, now);
}

/// When a partition is tried again.
fn due(core: &Core, slot: SlotId) -> Instant {
    core.slots.borrow().get(slot).unwrap().again.at.unwrap()
}

/// Has a partition that the disk does not give wait for as long as it is waited for.
fn wait_in_vain(core: &Core, slot: SlotId) {
    core.set_failed(slot, Trouble::Unread);
    while !core.ends_before_unread(slot) {
        fail_at(core, slot, Trouble::Unread, due(core, slot));
    }
}

/// Who reopened it eight times within a minute, or had it refused for what no disk says, had it end before what a
/// loose cable kept back.
#[test]
fn the_last_try_of_a_partition_comes_after_five_minutes_however_often_it_is_reopened() {
    with_core(|core| async move {
        let (topic, key) = topic(1);
        let slot = core.slots.borrow_mut().add(key, topic).unwrap();
        for trouble in [Trouble::Refused, Trouble::Unread] {
            for _ in 0..OPEN_AGAIN_TRIES {
                core.set_failed(slot, trouble);
            }
            assert!(!core.ends_before_unread(slot), "{trouble:?}");
        }
        wait_in_vain(&core, slot);
        core.set_failed(slot, Trouble::Refused);
        assert!(!core.ends_before_unread(slot), "what is refused was given");
    });
}

/// The hours in which a volume was not mounted passed for tries of its disk: the first sector that this did not give, once
/// it was back, ended the partition before it.
#[test]
fn a_partition_whose_volume_was_away_is_waited_for_as_one_that_fails_for_the_first_time() {
    with_core(|core| async move {
        let (topic, key) = topic(1);
        let slot = core.slots.borrow_mut().add(key, topic).unwrap();
        for _ in 0..2 {
            core.set_away(slot);
            while !core.is_told(slot, Trouble::Away) {
                fail_at(&core, slot, Trouble::Away, due(&core, slot));
            }
            assert!(!core.ends_before_unread(slot), "it gave nothing yet");
            core.set_failed(slot, Trouble::Unread);
            assert!(!core.ends_before_unread(slot), "it was tried once");
            assert!(!core.is_told(slot, Trouble::Unread));
            assert!(due(&core, slot) <= rt::now() + OPEN_AGAIN_EVERY);
            wait_in_vain(&core, slot);
        }
    });
}

/// A cable that was pulled under a mounted volume had the disk seem to have had its time: once it was in again, the first
/// sector that was not given at once ended the partition before it.
#[test]
fn a_disk_that_does_not_tell_what_is_in_a_directory_has_not_had_its_time() {
    let unread = |action, file: &str| Error::Io {
        action,
        dir: "p0".into(),
        file: file.into(),
        source: std::io::Error::from_raw_os_error(5),
    };
    let store = "00000000000000000000.log";
    let of_store = Trouble::from(&unread("read", store));
    assert_eq!(of_store, Trouble::Unread);
    let mut again = Again::default();
    let mut fail = |trouble| {
        let at = again.at.unwrap_or_else(rt::now);
        again.failed(trouble, at);
        again.has_waited()
    };
    for (action, file) in [
        ("list", "."),
        ("open", "manifest"),
        ("read", "manifest"),
        ("measure", store),
    ] {
        for _ in 0..=OPEN_AGAIN_TRIES {
            assert!(!fail(Trouble::from(&unread(action, file))), "{action}");
        }
        assert!(!fail(of_store), "{action}: the store was asked for once");
    }
    let waited: Vec<_> = (1..OPEN_AGAIN_TRIES).map(|_| fail(of_store)).collect();
    assert_eq!(waited.last(), Some(&true));
}

/// It stayed closed until somebody came by, for bytes that were read wrongly while they were to be written again.
#[test]
fn a_partition_that_is_read_otherwise_than_a_moment_before_is_tried_again() {
    let offset = |offset| corelog_record::Offset::new(offset).unwrap();
    let (from, to, segment) = (offset(3), offset(4), offset(0));
    let unlike = |file: &str| Error::Io {
        action: "verify",
        dir: "p0".into(),
        file: file.into(),
        source: std::io::ErrorKind::InvalidData.into(),
    };
    let unsound = Error::Damaged { from, to, segment };
    for misread in [unsound, unlike("00000000000000000000.1.log")] {
        let mut again = Again::default();
        for _ in 0..=OPEN_AGAIN_TRIES {
            let now = again.at.unwrap_or_else(rt::now);
            again.failed(Trouble::from(&misread), now);
            assert!(again.at.is_some_and(|at| now < at), "{misread}");
            assert!(!again.has_waited(), "it was given");
        }
    }
    assert_eq!(Trouble::from(&unlike("manifest")), Trouble::Refused);
}

/// The source's next batch had it give up all of its last segment for the sector, and where the source was lost that
/// was lost with it.
#[test]
fn a_copy_is_not_opened_before_what_the_disk_does_not_give_of_it() {
    with_core(|core| async move {
        let (topic, key) = topic(1);
        let owned = Arc::clone(&topic);
        let slot = core.slots.borrow_mut().add(key, owned).unwrap();
        wait_in_vain(&core, slot);
        let mut copy = Arc::unwrap_or_clone(topic);
        let replica = Replica {
            role: Role::Follower,
            ..Replica::owner(key.partition)
        };
        copy.replicas.insert(key.partition, replica);
        core.slots.borrow_mut().get_mut(slot).unwrap().topic = Arc::new(copy);
        assert!(!core.ends_before_unread(slot));
    });
}

/// A partition that has something on disk.
async fn kept(core: &Rc<Core>) -> (SlotId, PartitionKey) {
    let (topic, key) = topic(1);
    assert!(core.open_partition(&topic, key).await);
    produce(core, key, &batches(10_000)).await;
    flush(core, key).await;
    (core.slot_of(key).unwrap(), key)
}

/// A bad sector at the end kept all that precedes it from readers until somebody copied the disk.
#[test]
fn the_last_try_of_a_partition_takes_what_the_disk_gives_of_it() {
    with_core(|core| async move {
        let (slot, key) = kept(&core).await;
        core.reopen_partition(key).await.unwrap();
        wait_in_vain(&core, slot);
        // What the last one finds is not waited for again by who reopens it.
        let store = first_store(&core, 1);
        let store = std::fs::OpenOptions::new().write(true).open(store);
        store.unwrap().set_len(5_000).unwrap();
        for _ in 0..2 {
            core.reopen_partition(key).await.unwrap();
            let read_only = core.check_not_read_only(key).unwrap_err();
            assert!(read_only.is(ErrorCode::ReadOnly));
            assert!(core.ends_before_unread(slot));
        }
        core.take_log(slot).await.unwrap();
        assert_eq!(core.snapshot().await[0].state, PartitionState::Opening);
    });
}

/// The tries that never end came upon the bare mount point of a volume that somebody repaired, took the partition for
/// a new one, and gave its offsets a second time.
#[test]
fn a_partition_whose_volume_is_not_mounted_is_not_opened_as_a_new_one() {
    with_core(|core| async move {
        let (slot, key) = kept(&core).await;
        let end = core.place(key).unwrap().log_end;
        core.take_log(slot).await.unwrap();
        core.set_failed(slot, Trouble::Unread);
        let here = core.shared.data_dir.clone();
        let away = here.with_extension("away");
        std::fs::rename(&here, &away).unwrap();
        for _ in 0..2 {
            assert!(!core.opens_again(key).await);
            let due = rt::now() + OPEN_AGAIN_MAX;
            assert_eq!(core.next_unread(due), Some((slot, key)), "it may come back");
            assert!(!here.exists(), "nothing is made where a volume is missing");
        }
        std::fs::rename(&away, &here).unwrap();
        assert!(core.opens_again(key).await);
        assert_eq!(core.place(key).unwrap().log_end, end);
    });
}

/// It counted as one whose files were gone, and was not tried again.
#[test]
fn a_partition_whose_volume_goes_away_while_it_is_opened_again_is_tried_again() {
    with_core(|core| async move {
        let (slot, key) = kept(&core).await;
        let end = core.place(key).unwrap().log_end;
        core.take_log(slot).await.unwrap();
        let here = first_store(&core, 1).with_file_name("manifest");
        let away = core.shared.data_dir.join("away");
        std::fs::rename(&here, &away).unwrap();
        // It is there for who lists the directory, and gone for who opens it.
        std::os::unix::fs::symlink("nowhere", &here).unwrap();
        assert!(!core.opens_again(key).await);
        let due = rt::now() + OPEN_AGAIN_MAX;
        assert_eq!(core.next_unread(due), Some((slot, key)));
        std::fs::remove_file(&here).unwrap();
        std::fs::rename(&away, &here).unwrap();
        assert!(core.opens_again(key).await);
        assert_eq!(core.place(key).unwrap().log_end, end);
    });
}

/// Two hundred that never opened had one that failed a moment ago wait for a quarter of an hour.
#[test]
fn a_partition_that_failed_a_moment_ago_is_tried_before_those_that_fail_for_ever() {
    with_core(|core| async move {
        let add = |number| {
            let (topic, key) = topic(number);
            let slot = core.slots.borrow_mut().add(key, topic).unwrap();
            (slot, key)
        };
        for number in 1..=50 {
            wait_in_vain(&core, add(number).0);
        }
        let late = rt::now() + Duration::from_secs(3_600);
        let latest = add(51);
        core.set_failed(latest.0, Trouble::Refused);
        let lately = late - Duration::from_secs(60);
        fail_at(&core, latest.0, Trouble::Unread, lately);
        assert_eq!(core.next_unread(late), Some(latest));
        core.set_failed(latest.0, Trouble::Refused);
        assert!(core.next_unread(late).is_some());
    });
}

#[test]
fn a_partition_whose_try_took_long_rests_for_several_times_as_long() {
    let (mut again, now) = (Again::default(), rt::now());
    again.rest(now, now);
    assert!(again.at.is_none(), "it is not to be tried");
    let took = Duration::from_secs(60);
    again.failed(Trouble::Unread, now + took);
    again.rest(now, now + took);
    assert_eq!(again.at, Some(now + took + took * OPEN_AGAIN_RESTS));
}

#[test]
fn a_partition_that_opens_begins_to_count_anew() {
    with_core(|core| async move {
        let (slot, key) = kept(&core).await;
        core.set_failed(slot, Trouble::Unread);
        let due = rt::now() + OPEN_AGAIN_EVERY;
        assert_eq!(core.next_unread(due), Some((slot, key)));
        core.reopen_partition(key).await.unwrap();
        assert_eq!(core.next_unread(due), None);
        assert_eq!(core.slots.borrow().get(slot).unwrap().again.tries, 0);
    });
}
