//! What the scrub cannot read: what the disk does not give of a segment is had again from whoever has a copy, once in a pass,
//! and no more once the disk does not give what has just been put there.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_record::Offset;
use corelog_storage::Error;

use crate::core::{Core, PartitionKey, with_causes};
use crate::metrics::add;
use crate::rt;

/// How long a pass waits for each repair: the scrub of the core's other partitions waits behind it.
const REPAIR_WAIT_MAX: Duration = Duration::from_secs(60);

/// What a pass of the scrub has met of that, and asked for.
#[derive(Debug)]
pub(crate) struct Unread {
    /// How long it waits for each repair: once that was in vain, for none any more.
    patience: Duration,
    /// The segments that could not be read.
    segments: BTreeSet<Offset>,
    /// How many of them were asked for in vain.
    unrepaired: Rc<Cell<u64>>,
    /// The segment that was met last of those that the disk does not give, and when it was first.
    met: Option<(Offset, Instant)>,
    /// Whether the disk does not give what has just been put there.
    is_hopeless: bool,
}

impl Default for Unread {
    fn default() -> Self {
        Self {
            patience: REPAIR_WAIT_MAX,
            segments: BTreeSet::new(),
            unrepaired: Rc::default(),
            met: None,
            is_hopeless: false,
        }
    }
}

impl Core {
    /// A pass of the scrub cannot read some of a segment: tells so of the first, and has what the disk does not give repaired.
    pub(crate) async fn meet_unread(
        self: &Rc<Self>,
        key: PartitionKey,
        (segment, error): (Offset, &Error),
        unread: &mut Unread,
    ) {
        add(&self.counters.scrub_errors_total, 1);
        if unread.segments.is_empty() {
            let (topic, partition) = (self.told_name(key), key.partition.get());
            let (segment, error) = (segment.get(), with_causes(error));
            tracing::error!(%topic, partition, segment, %error, "the scrub could not read a segment");
        }
        unread.segments.insert(segment);
        if error.is_unread_store() {
            self.heal_unread(key, segment, unread).await;
        }
    }

    /// A pass is over: tells how many segments it could not read, if it was more than the one that was told. A disk that is gone
    /// gives none of them, and each would have its line.
    pub(crate) fn tell_unread(&self, key: PartitionKey, unread: &Unread) {
        let (segments, unrepaired) = (unread.segments.len(), unread.unrepaired.get());
        if let Some(first) = unread.segments.first()
            && segments > 1
        {
            let (topic, partition, first) = (self.told_name(key), key.partition.get(), first.get());
            tracing::error!(%topic, partition, segments, first, unrepaired, "the scrub could not read segments");
        }
    }

    /// The disk does not give a pass of the scrub some of a segment: begins to repair that, once in the pass, unless a repair
    /// of its partition goes on or rests, and waits a while until none goes on. It is not remembered for a later one, as what
    /// readers meet is: that would ask for all that a failing disk did not give, also for what has been replaced by then.
    async fn heal_unread(self: &Rc<Self>, key: PartitionKey, segment: Offset, unread: &mut Unread) {
        let (now, next) = (rt::now(), self.generation_next(key, segment).ok());
        let replaced_at = next.and_then(|next| self.repairs.replaced_at(key, segment, next));
        if let Some((_, since)) = unread.met.filter(|(met, _)| *met == segment) {
            // Once: what has its place is read anew, and no disk is to hold the pass there.
            if !unread.is_hopeless && replaced_at.is_some_and(|at| since <= at) {
                unread.is_hopeless = true;
                let (topic, partition) = (self.told_name(key), key.partition.get());
                let segment = segment.get();
                tracing::error!(
                    %topic, partition, segment,
                    "the disk does not give what has just replaced a segment: the scrub asks for no more"
                );
            }
            return;
        }
        unread.met = Some((segment, now));
        if unread.is_hopeless {
            return;
        }
        let may_begin = replaced_at.is_none() && !self.repairs.is_running(key);
        if may_begin && !self.repairs.rests(key, segment) {
            let unrepaired = Rc::clone(&unread.unrepaired);
            self.heal_telling(key, Some(segment), move |core, repaired| {
                // As of what could not be read, the first is told, and of the others how many there are.
                if repaired.error.is_some() && unrepaired.replace(unrepaired.get() + 1) == 0 {
                    core.tell_unrepaired(key, repaired);
                }
            });
        }
        let has_ended = || !self.repairs.is_running(key);
        let ended = self.repairs.ended.until(has_ended);
        // Of a node that stops the pass ends by itself.
        let ended = self.unless_stopping(ended);
        if rt::timeout(unread.patience, ended).await.is_none() {
            unread.patience = Duration::ZERO;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::pin::pin;
    use std::sync::atomic::Ordering;

    use corelog_protocol::message::scrub_topic::Outcome;
    use futures_lite::future::poll_once;

    use super::super::repairs::Put;
    use super::super::repairs::tests::replaced;
    use super::*;
    use crate::core::tests::{copied, first_store, give_copy, logged, seal, seal_of, with_core};
    use crate::rt::unreadable;
    use crate::transfer::{Wanted, source_of};

    /// Where nobody listens.
    const NOBODY: &str = "127.0.0.1:1";
    /// About as much as four batches of a segment may have.
    const BATCH_BYTES: u64 = 240 << 10;

    async fn heal_unread(core: &Rc<Core>, key: PartitionKey) {
        core.heal_unread(key, Offset::ZERO, &mut Unread::default())
            .await;
    }

    /// A pass: how many repairs failed in it, and how it ended.
    async fn pass(core: &Rc<Core>, key: PartitionKey) -> (usize, Outcome) {
        let slot = core.slot_of(key).unwrap();
        let lines = logged(core.scrub_pass(slot)).await;
        let topic = core.routes.borrow().topic_by_id(key.topic).cloned();
        let told = core
            .scrub(&topic.unwrap(), Some(key.partition), false)
            .await;
        (are_asked_for(&lines), told[0].outcome)
    }

    /// The disk gives nothing of those files of a partition which it has by now.
    fn lose(core: &Core, is_it: impl Fn(&Path) -> bool) {
        let folder = first_store(core, 1).with_file_name("");
        let files = std::fs::read_dir(folder).unwrap();
        let files = files.map(|file| file.unwrap().path());
        for file in files.filter(|file| is_it(file)) {
            unreadable::lose(&file);
        }
    }

    /// A source of all that a partition has sealed.
    fn source_of_all(core: &Core, key: PartitionKey) -> String {
        let store = |base: u64| first_store(core, 1).with_file_name(format!("{base:020}.log"));
        let bases = (0..100).filter(|base| store(*base).exists());
        let bases = bases.map(|base| Offset::new(base).unwrap()).collect();
        let all = core.damaged_segments(key, &bases).unwrap().into_iter();
        let sealed = all.map(|Wanted { seal, .. }| {
            let mut bytes = std::fs::read(store(seal.digest.base.get())).unwrap();
            bytes.truncate(usize::try_from(seal.digest.bytes).unwrap());
            (seal, bytes)
        });
        source_of(core.place(key).unwrap().history, sealed.collect())
    }

    fn errors(core: &Core) -> u64 {
        let errors = &core.counters.scrub_errors_total;
        errors.load(Ordering::Relaxed)
    }

    /// What a pass logs over a partition whose first segment has two places that the disk does not give, and behind it
    /// perhaps another one, where a repair goes on when the first is met that replaces `instead`.
    async fn pass_beside_a_repair(
        core: &Rc<Core>,
        key: PartitionKey,
        instead: &[Put],
    ) -> Vec<String> {
        let slot = core.slot_of(key).unwrap();
        let first = first_store(core, 1);
        for batch in [0, 2] {
            let middle = batch * BATCH_BYTES + BATCH_BYTES / 2;
            unreadable::lose_part(&first, middle..middle + 1);
        }
        let stem = first.with_extension("");
        lose(core, |file| file.with_extension("") != stem);
        // One that an operator asked for has nothing rest.
        assert!(core.repairs.begin(key, None, true));
        logged(async {
            let mut scrubs = pin!(core.scrub_pass(slot));
            while errors(core) == 0 {
                assert!(poll_once(&mut scrubs).await.is_none(), "it met nothing");
                rt::sleep(Duration::from_millis(1)).await;
            }
            core.repairs.end(key, instead, false);
            scrubs.await;
        })
        .await
    }

    /// Has a partition seal a segment of four batches.
    async fn seal_four(core: &Rc<Core>, key: PartitionKey) {
        let bytes = usize::try_from(BATCH_BYTES).unwrap();
        seal_of(core, key, 5, bytes).await;
    }

    /// How many repairs failed: a pass tells the first, and, if it could not read more than one segment, how many there were.
    fn are_asked_for(lines: &[String]) -> usize {
        let counts = lines.iter().find_map(|line| line.split_once("unrepaired="));
        let count = counts.map(|(_, count)| count.trim_end().parse().unwrap());
        count.unwrap_or_else(|| count_of(lines, "not repaired"))
    }

    fn count_of(lines: &[String], words: &str) -> usize {
        lines.iter().filter(|line| line.contains(words)).count()
    }

    /// What was replaced for a reader meanwhile would be asked for once more.
    #[test]
    fn the_scrub_waits_for_the_repair_that_goes_on_and_begins_none_behind_it() {
        with_core(|core| async move {
            let key = copied(&core, NOBODY).await;
            for stops in [false, true] {
                assert!(core.repairs.begin(key, None, true));
                let mut waits = pin!(heal_unread(&core, key));
                assert!(poll_once(&mut waits).await.is_none(), "one goes on");
                match stops {
                    false => core.repairs.end(key, &[replaced(9)], true),
                    true => core.begin_stop(),
                }
                assert!(poll_once(&mut waits).await.is_some());
                assert_eq!(core.repairs.is_running(key), stops);
            }
        });
    }

    /// It was waited for without an end, and all other partitions of the core were not scrubbed meanwhile.
    #[test]
    fn a_repair_that_goes_on_and_on_holds_up_a_pass_once_and_for_a_while() {
        with_core(|core| async move {
            let key = copied(&core, NOBODY).await;
            assert!(core.repairs.begin(key, None, true));
            let mut unread = Unread {
                patience: Duration::from_millis(1),
                ..Unread::default()
            };
            let waits = core.heal_unread(key, Offset::ZERO, &mut unread);
            let over = rt::timeout(Duration::from_secs(10), waits).await;
            over.expect("the pass goes on");
            assert!(core.repairs.is_running(key));
            assert!(unread.patience.is_zero());
        });
    }

    /// The next round would ask for each segment that a failing disk had not given.
    #[test]
    fn what_the_scrub_meets_while_repairs_go_on_or_rest_is_not_remembered() {
        with_core(|core| async move {
            let key = copied(&core, NOBODY).await;
            assert!(core.repairs.begin(key, None, false));
            assert!(poll_once(heal_unread(&core, key)).await.is_none());
            core.repairs.end(key, &[], false);
            heal_unread(&core, key).await;
            assert!(core.repairs.take_met(key).is_empty());
        });
    }

    /// It waited for a reader, who found it missing.
    #[test]
    fn a_segment_that_the_disk_does_not_give_a_pass_is_asked_for_and_none_behind_it_where_nobody_answers()
     {
        with_core(|core| async move {
            let key = copied(&core, NOBODY).await;
            for _ in 0..2 {
                seal(&core, key).await;
            }
            lose(&core, |_| true);
            assert_eq!(pass(&core, key).await, (1, Outcome::Unread), "of two");
            unreadable::give_back();
            assert_eq!(pass(&core, key).await, (0, Outcome::Whole));
            assert_eq!(core.damage_count(key).unwrap(), 0);
        });
    }

    /// It was told as whole once it went on, so that what it had not read was left for a week.
    #[test]
    fn a_pass_that_goes_on_behind_a_stop_is_not_whole_where_it_could_not_read_some_before_it() {
        with_core(|core| async move {
            let key = copied(&core, NOBODY).await;
            for _ in 0..2 {
                seal(&core, key).await;
            }
            let (slot, rate) = (core.slot_of(key).unwrap(), core.shared.scrub_rate.get());
            unreadable::lose(&first_store(&core, 1));
            let mut scrubs = pin!(core.scrub_pass(slot));
            while errors(&core) == 0 {
                assert!(poll_once(&mut scrubs).await.is_none(), "it met nothing");
                rt::sleep(Duration::from_millis(1)).await;
            }
            core.shared.scrub_rate.set(0);
            scrubs.await;
            unreadable::give_back();
            assert_eq!(pass(&core, key).await, (0, Outcome::Stopped));
            core.shared.scrub_rate.set(rate);
            for outcome in [Outcome::Unread, Outcome::Whole] {
                assert_eq!(pass(&core, key).await, (0, outcome));
            }
        });
    }

    /// The next one waited for a pass an hour later, where nobody had the first.
    #[test]
    fn a_segment_that_no_source_has_keeps_a_pass_from_asking_for_no_other() {
        with_core(|core| async move {
            let key = copied(&core, NOBODY).await;
            let nothing = source_of(core.place(key).unwrap().history, Vec::new());
            give_copy(&core, &[&nothing]).await;
            for _ in 0..2 {
                seal(&core, key).await;
            }
            lose(&core, |_| true);
            assert_eq!(pass(&core, key).await, (2, Outcome::Unread));
            assert_eq!(pass(&core, key).await, (0, Outcome::Unread), "they rest");
        });
    }

    /// Each pass over a disk that was gone logged two lines for each segment.
    #[test]
    fn a_pass_tells_how_many_segments_it_could_not_read_and_that_no_source_has() {
        with_core(|core| async move {
            let key = copied(&core, NOBODY).await;
            let nothing = source_of(core.place(key).unwrap().history, Vec::new());
            give_copy(&core, &[&nothing]).await;
            for _ in 0..4 {
                seal(&core, key).await;
            }
            lose(&core, |_| true);
            let slot = core.slot_of(key).unwrap();
            let lines = logged(core.scrub_pass(slot)).await;
            // One more may be sealed by then.
            let count = errors(&core);
            assert!(4 <= count, "{lines:?}");
            let all = format!("segments={count} first=0 unrepaired={count}");
            for words in ["could not read a segment ", "not repaired", &all] {
                assert_eq!(count_of(&lines, words), 1, "{words}: {lines:?}");
            }
        });
    }

    /// It waited for the silent one again, segment after segment.
    #[test]
    fn where_one_source_does_not_answer_a_pass_asks_for_no_other_segment_of_those_that_do() {
        with_core(|core| async move {
            let key = copied(&core, NOBODY).await;
            let nothing = source_of(core.place(key).unwrap().history, Vec::new());
            give_copy(&core, &[&nothing, NOBODY]).await;
            for _ in 0..2 {
                seal(&core, key).await;
            }
            lose(&core, |_| true);
            assert_eq!(pass(&core, key).await, (1, Outcome::Unread), "of two");
        });
    }

    /// A disk with many bad places would hold the pass there, with a repair for each.
    #[test]
    fn a_segment_is_asked_for_once_in_a_pass_however_much_of_it_the_disk_does_not_give() {
        with_core(|core| async move {
            let key = copied(&core, NOBODY).await;
            seal_four(&core, key).await;
            let lines = pass_beside_a_repair(&core, key, &[]).await;
            assert_eq!((errors(&core), are_asked_for(&lines)), (2, 0), "{lines:?}");
        });
    }

    /// Where reads fail and writes do not, each pass had all of a log fetched anew.
    #[test]
    fn a_pass_asks_for_no_more_once_the_disk_does_not_give_what_has_just_replaced_a_segment() {
        with_core(|core| async move {
            let key = copied(&core, NOBODY).await;
            seal_four(&core, key).await;
            seal(&core, key).await;
            let lines = pass_beside_a_repair(&core, key, &[replaced(0)]).await;
            assert_eq!((errors(&core), are_asked_for(&lines)), (3, 0), "{lines:?}");
            let is_told =
                |line: &String| line.contains("just replaced") && line.contains("segment=0 ");
            assert!(lines.iter().any(is_told), "{lines:?}");
        });
    }

    /// All of the log came anew, as fast as it could, while the disk gave nothing for a moment.
    #[test]
    fn a_pass_over_a_disk_that_gives_nothing_has_one_segment_replaced() {
        with_core(|core| async move {
            let key = copied(&core, NOBODY).await;
            for _ in 0..3 {
                seal(&core, key).await;
            }
            give_copy(&core, &[&source_of_all(&core, key)]).await;
            unreadable::lose_all();
            assert_eq!(pass(&core, key).await, (0, Outcome::Unread));
            assert_eq!(core.repairs.count(key), 1);
            assert_eq!(pass(&core, key).await, (0, Outcome::Unread));
            assert_eq!(core.repairs.count(key), 2, "of those that are left");
            unreadable::give_back();
            assert_eq!(pass(&core, key).await, (0, Outcome::Whole));
        });
    }

    /// So had each pass, an hour later, what the disk gave from a cache in between.
    #[test]
    fn a_segment_that_was_replaced_within_a_day_is_not_asked_for_by_a_pass() {
        with_core(|core| async move {
            let key = copied(&core, NOBODY).await;
            for _ in 0..2 {
                seal(&core, key).await;
            }
            assert!(core.repairs.begin(key, None, true));
            core.repairs.end(key, &[replaced(0)], true);
            let second = first_store(&core, 1).with_file_name("00000000000000000002.log");
            for (lost, asks) in [(first_store(&core, 1), 0), (second, 1)] {
                unreadable::lose(&lost);
                assert_eq!(pass(&core, key).await, (asks, Outcome::Unread));
                unreadable::give_back();
            }
        });
    }

    /// A rejoin had cut the one that was replaced, and what came in its place was left as it was for a day.
    #[test]
    fn a_segment_is_asked_for_that_came_where_one_was_that_had_been_replaced() {
        with_core(|core| async move {
            let key = copied(&core, NOBODY).await;
            seal(&core, key).await;
            let (before, _) = replaced(0);
            assert!(core.repairs.begin(key, None, true));
            core.repairs.end(key, &[(before, 1)], true);
            unreadable::lose(&first_store(&core, 1));
            assert_eq!(pass(&core, key).await, (1, Outcome::Unread));
        });
    }

    /// A lack of descriptors would have sound segments replaced.
    #[test]
    fn nothing_is_asked_for_that_a_pass_cannot_read_for_another_reason() {
        with_core(|core| async move {
            let key = copied(&core, NOBODY).await;
            seal(&core, key).await;
            let store = first_store(&core, 1);
            std::fs::rename(&store, store.with_extension("away")).unwrap();
            std::fs::create_dir(&store).unwrap();
            assert_eq!(pass(&core, key).await, (0, Outcome::Unread));
        });
    }
}
