//! Scrubbing: one partition of the core after the other has its sealed segments read from the disk
//! and checked, at a bounded rate and behind everything that clients wait for.

use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_protocol::message::scrub_topic::{self, Outcome, State};
use corelog_record::{Offset, PartitionId, Timestamp};
use corelog_storage::log::Scrubbed;

use super::describe;
use super::slots::{PartitionKey, Slot, SlotId};
use super::state::Core;
use super::tickets::Tickets;
use crate::catalog::Topic;
use crate::follow::Unread;
use crate::metrics::add;
use crate::partition::{Answer, Input};
use crate::rt;

/// A whole pass is due this long after the one before, or after the topic was created.
const PASS_EVERY_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// After a pass that was not whole, the next is due this much later.
const PASS_AGAIN_MS: i64 = 60 * 60 * 1000;
/// How often partitions are looked at for a pass that is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often a pause looks if the rate is still the same.
const RATE_EVERY: Duration = Duration::from_secs(1);
/// Bytes that are read at once: a bounded piece of disk and processor time.
const PIECE_BYTES: usize = 1 << 20;
/// What the scrub reads in a second unless it is told otherwise: a terabyte in a day and a half, and
/// a small part of what any disk gives.
pub(crate) const RATE_DEFAULT: u64 = 8 << 20;

/// What a slot knows of the scrub of its partition.
#[derive(Debug, Default)]
pub(super) struct Scrubbing {
    /// Somebody asked for a pass.
    is_wanted: bool,
    is_running: bool,
    /// Somebody asked for the one that runs.
    is_asked: bool,
    /// Bytes read in the pass that goes on, or in the last one.
    bytes: u64,
    /// The end of the last pass since the server was started.
    tried: Option<Tried>,
    /// Damage that a reader met and that was told.
    met: Option<Offset>,
}

/// The end of a pass.
#[derive(Debug, Clone, Copy)]
struct Tried {
    at: Timestamp,
    outcome: Outcome,
}

/// What came of reading a piece.
enum Piece {
    Read(Box<Scrubbed>),
    /// There is nothing to read.
    Nothing,
    /// The partition is fenced, or not open.
    Refused,
}

impl Scrubbing {
    /// Somebody asks for a pass: the one that runs is as good.
    fn ask(&mut self) {
        match self.is_running {
            true => self.is_asked = true,
            false => self.is_wanted = true,
        }
    }
}

impl Core {
    /// Reads one partition after the other until the core stops.
    pub(super) async fn keep_scrubbing(self: Rc<Self>) {
        // A pass of a core that stops ends at once: what is due would all be visited in one turn.
        while !self.is_stopping.get() {
            let wanted = self.scrub_wanted.notified();
            match self.next_to_scrub() {
                Some(slot) => {
                    self.scrub_pass(slot).await;
                    // One over nothing waits for nothing.
                    rt::yield_if_needed().await;
                }
                None => drop(rt::timeout(LOOK_EVERY, wanted).await),
            }
        }
    }

    /// Has the partitions of a topic that are here scrubbed, or only one of them, and tells how
    /// far that is.
    pub(crate) async fn scrub(
        &self,
        topic: &Topic,
        partition: Option<PartitionId>,
        is_start: bool,
    ) -> Vec<scrub_topic::Partition> {
        let ids = match partition {
            Some(partition) => {
                let topic = topic.id;
                let one = PartitionKey { topic, partition };
                self.slots.borrow().find(one).into_iter().collect()
            }
            None => self.slots_of(topic),
        };
        let mut told = Vec::new();
        for id in ids {
            if let Some(slot) = self.slots.borrow_mut().get_mut(id)
                // Between two of them a slot may have become another's.
                && slot.key.topic == topic.id
            {
                if is_start {
                    slot.scrub.ask();
                }
                told.push(status_of(slot));
            }
            rt::yield_if_needed().await;
        }
        self.scrub_wanted.notify();
        told
    }

    /// A reader met damage. If it is news, it is told, and the partition is scrubbed: what a single
    /// read says is not remembered for good, what a scrub says is.
    pub(super) fn met_damage(&self, id: SlotId, from: Offset, to: Offset) {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_mut(id) else {
            return;
        };
        let mut known = slot.partition().into_iter().flat_map(|p| p.damage());
        let is_known = known.any(|known| known.from <= from && from < known.to);
        if is_known || slot.scrub.met == Some(from) {
            return;
        }
        slot.scrub.met = Some(from);
        slot.scrub.is_wanted = true;
        add(&self.counters.damage_met_total, 1);
        tracing::error!(
            topic = %slot.topic.name,
            partition = slot.key.partition.get(),
            from = from.get(),
            to = to.get(),
            "a reader met damage; the partition is scrubbed"
        );
        self.scrub_wanted.notify();
    }

    /// The partition to scrub now: one that somebody asked for, then one that is due.
    fn next_to_scrub(&self) -> Option<SlotId> {
        let (slots, last) = (self.slots.borrow(), self.scrub_last.get());
        let first = |is_it: &dyn Fn(&Slot) -> bool| {
            let mut all = slots.iter_after(last);
            all.find(|(_, slot)| is_it(slot)).map(|(id, _)| id)
        };
        let wanted = first(&|slot| slot.scrub.is_wanted);
        if wanted.is_some() || self.shared.scrub_rate.get() == 0 {
            return wanted;
        }
        let now = rt::wall_clock();
        first(&|slot| is_due(slot, now))
    }

    /// One pass over one partition.
    pub(crate) async fn scrub_pass(self: &Rc<Self>, id: SlotId) {
        self.scrub_last.set(id);
        let Some(key) = self.begin_scrub(id) else {
            return;
        };
        let mut outcome = Outcome::Stopped;
        let mut unread = Unread::default();
        while !self.is_stopping.get() {
            let Some(is_asked) = self.is_asked(id, key) else {
                return;
            };
            // One that nobody asked for ends where scrubbing is turned off.
            if !is_asked && self.shared.scrub_rate.get() == 0 {
                break;
            }
            let begun = rt::now();
            let scrubbed = match self.scrub_piece(id).await {
                Piece::Read(scrubbed) => scrubbed,
                Piece::Nothing => {
                    outcome = Outcome::Whole;
                    break;
                }
                Piece::Refused => break,
            };
            self.tell_scrubbed(id, &scrubbed);
            if let Some((segment, error)) = &scrubbed.error {
                self.meet_unread(key, (*segment, error), &mut unread).await;
            }
            if scrubbed.is_pass_complete {
                // What it could not read it may have met before it was stopped, and went on.
                outcome = match scrubbed.is_whole {
                    true => Outcome::Whole,
                    false => Outcome::Unread,
                };
                let count = u64::from(scrubbed.is_whole);
                add(&self.counters.scrub_passes_total, count);
                break;
            }
            // One that read nothing met a file that is being moved: it is looked for again, and not at once.
            let bytes = match scrubbed.bytes {
                0 => PIECE_BYTES as u64,
                read => read,
            };
            self.pause(begun, bytes).await;
        }
        self.tell_unread(key, &unread);
        let mut slots = self.slots.borrow_mut();
        if let Some(slot) = slots.get_mut(id).filter(|slot| slot.key == key) {
            slot.scrub.is_running = false;
            let at = rt::wall_clock();
            slot.scrub.tried = Some(Tried { at, outcome });
        }
    }

    /// A pass over the partition in a slot begins: which one it is.
    fn begin_scrub(&self, id: SlotId) -> Option<PartitionKey> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.get_mut(id)?;
        let (tried, is_asked) = (slot.scrub.tried, slot.scrub.is_wanted);
        slot.scrub = Scrubbing {
            is_running: true,
            is_asked,
            tried,
            ..Scrubbing::default()
        };
        Some(slot.key)
    }

    /// Whether somebody asked for the pass over a partition; `None` if its slot has become another one's between two
    /// pieces.
    fn is_asked(&self, id: SlotId, key: PartitionKey) -> Option<bool> {
        let slots = self.slots.borrow();
        let slot = slots.get(id).filter(|slot| slot.key == key)?;
        Some(slot.scrub.is_asked)
    }

    /// Reads one piece.
    async fn scrub_piece(self: &Rc<Self>, id: SlotId) -> Piece {
        let token = Tickets::NOW;
        let bytes_max = PIECE_BYTES;
        let told = self.step(id, Input::Scrub { token, bytes_max });
        let Some(Ok(Answer::Scrub { generation, plan })) = told else {
            return Piece::Refused;
        };
        let Some(plan) = plan else {
            return Piece::Nothing;
        };
        let done = Box::new(rt::spawn_background(plan.run()).await);
        let read = Input::ScrubRead {
            token,
            generation,
            done,
        };
        match self.step(id, read) {
            Some(Ok(Answer::Scrubbed(scrubbed))) => Piece::Read(scrubbed),
            _ => Piece::Refused,
        }
    }

    /// Tells what a piece found, but for what it could not read, and for damage: that is an event of the log.
    fn tell_scrubbed(&self, id: SlotId, scrubbed: &Scrubbed) {
        add(&self.counters.scrubbed_bytes_total, scrubbed.bytes);
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_mut(id) else {
            return;
        };
        slot.scrub.bytes += scrubbed.bytes;
        let (topic, partition) = (&slot.topic.name, slot.key.partition.get());
        if let Some(segment) = scrubbed.index {
            let segment = segment.get();
            tracing::warn!(%topic, partition, segment, "the scrub found a wrong index");
        }
        if scrubbed.surplus_bytes > 0 {
            add(&self.counters.surplus_total, 1);
            let bytes = scrubbed.surplus_bytes;
            tracing::warn!(%topic, partition, bytes, "a sealed store is longer than it was");
        }
    }

    /// Waits until a piece that was begun then has taken its time. The rate may change meanwhile.
    async fn pause(&self, begun: Instant, bytes: u64) {
        loop {
            let left = self.pause_after(bytes).saturating_sub(begun.elapsed());
            if left.is_zero() {
                return;
            }
            rt::sleep(left.min(RATE_EVERY)).await;
        }
    }

    /// How long a piece of so many bytes may take, at this core's part of the node's rate.
    fn pause_after(&self, bytes: u64) -> Duration {
        let rate = match self.shared.scrub_rate.get() {
            0 => RATE_DEFAULT,
            rate => rate,
        };
        let cores = u64::from(self.shared.core_count);
        let millis = bytes.saturating_mul(1_000).saturating_mul(cores) / rate;
        Duration::from_millis(millis)
    }
}

fn is_due(slot: &Slot, now: Timestamp) -> bool {
    let (Some(partition), Some(last)) = (slot.partition(), counted_from(slot)) else {
        return false;
    };
    due_at(last, slot.scrub.tried, now) <= now && !partition.status().is_fenced
}

/// Since when sealed bytes of a partition wait for a pass: its last whole one, or the day its topic came here.
pub(super) fn counted_from(slot: &Slot) -> Option<Timestamp> {
    let partition = slot.partition()?;
    let last = partition.scrubbed_at().unwrap_or(slot.topic.created);
    (partition.sealed_bytes() > 0).then_some(last)
}

/// When the next pass is due, after the one that the log remembers and the one that was tried. One of a clock that was ahead
/// tells nothing.
fn due_at(last: Timestamp, tried: Option<Tried>, now: Timestamp) -> Timestamp {
    let last = Some(last).filter(|last| *last <= now);
    match tried {
        Some(tried) if tried.outcome != Outcome::Whole => {
            tried.at.saturating_add_millis(PASS_AGAIN_MS)
        }
        Some(tried) => {
            let last = last.map_or(tried.at, |last| last.max(tried.at));
            last.saturating_add_millis(PASS_EVERY_MS)
        }
        None => last.map_or(now, |last| last.saturating_add_millis(PASS_EVERY_MS)),
    }
}

fn status_of(slot: &Slot) -> scrub_topic::Partition {
    let partition = slot.partition();
    let state = match (slot.scrub.is_running, slot.scrub.is_wanted) {
        (true, _) => State::Running,
        (false, true) => State::Waiting,
        (false, false) => State::Idle,
    };
    let bytes_total = partition.map_or(0, |partition| partition.sealed_bytes());
    scrub_topic::Partition {
        id: slot.key.partition,
        state,
        // Of what was read, some may have been removed since.
        bytes_done: slot.scrub.bytes.min(bytes_total),
        bytes_total,
        scrubbed_at: partition.and_then(|partition| partition.scrubbed_at()),
        outcome: slot
            .scrub
            .tried
            .map_or(Outcome::Never, |tried| tried.outcome),
        damage: partition.map_or_else(Vec::new, |partition| describe::told(partition.damage())),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_lite::future::poll_once;

    use super::super::tests::{seal, small_topic, topic, with_core};
    use super::*;

    /// With thousands of partitions that were due, the core did nothing else for seconds while it was to answer
    /// what was in flight.
    #[test]
    fn a_core_that_stops_visits_no_partition_that_is_due() {
        with_core(|core| async move {
            for number in 0..100 {
                let (topic, key) = topic(number);
                let slot = core.slots.borrow_mut().add(key, topic).unwrap();
                let mut slots = core.slots.borrow_mut();
                slots.get_mut(slot).unwrap().scrub.is_wanted = true;
            }
            core.begin_stop();
            let ended = poll_once(Rc::clone(&core).keep_scrubbing()).await;
            let slots = core.slots.borrow();
            let visited = slots.iter().filter(|(_, slot)| slot.scrub.tried.is_some());
            assert_eq!((visited.count(), ended), (0, Some(())));
        });
    }

    #[test]
    fn a_scrub_goes_from_one_partition_to_the_next_and_begins_anew_behind_the_last() {
        with_core(|core| async move {
            let slots = [1, 2, 3].map(|number| {
                let (topic, key) = topic(number);
                core.slots.borrow_mut().add(key, topic).unwrap()
            });
            let want = |slot| {
                let mut slots = core.slots.borrow_mut();
                slots.get_mut(slot).unwrap().scrub.is_wanted = true;
            };
            let mut visited = Vec::new();
            for _ in 0..4 {
                // A reader meets damage in the first again and again: the others have their turn.
                want(slots[0]);
                (visited.len() < 2).then(|| want(slots[2]));
                let slot = core.next_to_scrub().unwrap();
                core.scrub_pass(slot).await;
                visited.push(slot);
            }
            assert_eq!(visited, [0, 2, 0, 0].map(|at| slots[at]));
        });
    }

    /// Its topic came here in 1970, and nobody asks for a pass.
    #[test]
    fn a_week_after_a_pass_a_partition_is_scrubbed_unasked_unless_that_is_turned_off() {
        with_core(|core| async move {
            let (topic, key) = small_topic(1);
            assert!(core.open_partition(&topic, key).await);
            assert_eq!(core.next_to_scrub(), None, "nothing is sealed");
            let opened = core.slot_of(key).unwrap();
            seal(&core, key).await;
            let rate = core.shared.scrub_rate.get();
            core.shared.scrub_rate.set(0);
            assert_eq!(core.next_to_scrub(), None, "turned off");
            core.shared.scrub_rate.set(rate);
            let slot = core.next_to_scrub().unwrap();
            assert_eq!(slot, opened);
            core.scrub_pass(slot).await;
            let tried = core.slots.borrow().get(slot).unwrap().scrub.tried;
            assert_eq!(tried.unwrap().outcome, Outcome::Whole);
            assert_eq!(core.next_to_scrub(), None, "it has been scrubbed");
            let slots = core.slots.borrow();
            let slot = slots.get(slot).unwrap();
            let in_a_week = tried.unwrap().at.saturating_add_millis(PASS_EVERY_MS);
            let just_before = tried.unwrap().at.saturating_add_millis(PASS_EVERY_MS - 1);
            assert!(is_due(slot, in_a_week));
            assert!(!is_due(slot, just_before));
        });
    }

    /// It ended with the others when scrubbing was turned off, and whoever had asked waited for the next one.
    #[test]
    fn a_pass_that_is_asked_for_while_it_runs_unasked_is_brought_to_its_end() {
        with_core(|core| async move {
            let (topic, key) = small_topic(1);
            assert!(core.open_partition(&topic, key).await);
            // The pieces of a pass.
            for _ in 0..2 {
                seal(&core, key).await;
            }
            let slot = core.slot_of(key).unwrap();
            for (is_start, expected) in [(true, Outcome::Whole), (false, Outcome::Stopped)] {
                core.shared.scrub_rate.set(RATE_DEFAULT);
                let mut pass = pin!(core.scrub_pass(slot));
                assert!(poll_once(&mut pass).await.is_none(), "it reads");
                let one = Some(key.partition);
                core.scrub(&topic, one, is_start).await;
                core.shared.scrub_rate.set(0);
                pass.await;
                let tried = core.slots.borrow().get(slot).unwrap().scrub.tried;
                assert_eq!(tried.unwrap().outcome, expected);
            }
        });
    }

    /// A pass that met an error of the disk once counted like one that had read all.
    #[test]
    fn a_pass_that_was_not_whole_is_due_again_in_an_hour_and_a_whole_one_in_a_week() {
        let (last, at) = (Timestamp::from_millis(1_000), Timestamp::from_millis(9_000));
        let due = |outcome| due_at(last, Some(Tried { at, outcome }), at).millis();
        assert_eq!(due(Outcome::Unread), 9_000 + 60 * 60 * 1_000);
        assert_eq!(due(Outcome::Stopped), 9_000 + 60 * 60 * 1_000);
        assert_eq!(due(Outcome::Whole), 9_000 + PASS_EVERY_MS);
        assert_eq!(due_at(last, None, at).millis(), 1_000 + PASS_EVERY_MS);
    }

    /// One in a year of a clock that was ahead put off the next one until that year was over.
    #[test]
    fn a_pass_of_the_future_puts_off_no_other() {
        let (last, at) = (Timestamp::MAX, Timestamp::from_millis(9_000));
        assert_eq!(due_at(last, None, at), at);
        let whole = Tried {
            at,
            outcome: Outcome::Whole,
        };
        assert_eq!(
            due_at(last, Some(whole), at).millis(),
            9_000 + PASS_EVERY_MS
        );
    }
}
