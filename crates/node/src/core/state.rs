//! What a core holds, and the step that decides and performs.

use std::cell::{Cell, OnceCell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, OnceLock, Weak};

use corelog_protocol::error::ErrorCode;
use corelog_record::{CoreId, NodeId};
use corelog_storage::Now;

use super::Disk;
use super::aborted::AbortedCount;
use super::ahead::Ahead;
use super::board::{Board, Void};
use super::budget::Budget;
use super::delay::Delay;
use super::files::{self, Files};
use super::memory::Memory;
use super::queue::Queues;
use super::refusal::with_causes;
use super::slight::Slight;
use super::slots::{PartitionKey, SlotId, Slots, Troubles};
use super::slowest::Slowest;
use super::sweep::Sweep;
use super::tickets::{Tickets, Told};
use super::wanted::Wanted;
use crate::catalog::{Admin, LastSnapshots, Routes};
use crate::config::NodeLimits;
use crate::failure::{Failure, failure};
use crate::follow::{Followers, Followings, Hands, Lately, Lines, Repairs};
use crate::metrics::{Counters, add};
use crate::node::Addresses;
use crate::partition::{ACCEPTED_AGE_MAX, Effect, Effects, Failed, Input, Tick};
use crate::rate::Rate;
use crate::router::Lanes;
use crate::rt::{self, Notify, Semaphore};
use crate::sys::NodeFile;
use crate::transfer::Transfers;

/// Connections that are told at once why they are refused: each holds a descriptor.
const REFUSALS_MAX: u64 = 8;

/// What all cores of a node know.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) node: NodeId,
    pub(crate) limits: NodeLimits,
    /// Files of logs that each core keeps open.
    pub(crate) core_files: usize,
    pub(crate) core_count: u16,
    /// The data directory, absolute or as the process was given it.
    pub(crate) data_dir: PathBuf,
    /// The lock on it, for whoever is to keep it beyond the end of the cores.
    pub(crate) lock: Weak<NodeFile>,
    /// How each core's memory is shared out.
    pub(crate) budget: Budget,
    /// Bytes that the node's scrub reads in a second; 0: none but what is asked for.
    pub(crate) scrub_rate: Rate,
    /// What sends files of segments to other nodes.
    pub(crate) transfers: Transfers,
    /// Whether slight groups are about.
    pub(crate) slight: Slight,
    /// Nodes that did not answer a moment ago, and the source that each partition of this node follows.
    pub(crate) silent: Lately<String>,
    pub(crate) followed: Lately<PartitionKey, String>,
    /// Every core's counters; each is written by its own core alone.
    pub(crate) counters: Vec<Arc<Counters>>,
    /// Known once the node listens, before it serves.
    pub(crate) addresses: OnceLock<Addresses>,
}

/// What a core holds.
pub(crate) struct Core {
    pub(crate) id: CoreId,
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Arc<Counters>,
    /// The data directory.
    pub(crate) root: Disk,
    pub(crate) routes: RefCell<Routes>,
    pub(crate) lanes: Lanes,
    /// The catalog's writer, on core 0 alone.
    pub(crate) admin: OnceCell<Admin>,
    pub(crate) receive_budget: Semaphore,
    pub(crate) send_budget: Semaphore,
    /// The same of small answers from memory.
    pub(crate) send_small_budget: Semaphore,
    /// Bytes of answers without batches that clients have not taken.
    pub(crate) answer_bytes: Cell<usize>,
    /// Bytes of answers that cores tell their part of by and by, until they are encoded.
    pub(crate) asked_budget: Semaphore,
    /// What all connections remember of aborted runs.
    pub(crate) aborted_runs: AbortedCount,
    /// Notified when the core is to take no more requests.
    pub(crate) stop: Notify,
    pub(crate) is_stopping: Cell<bool>,
    pub(super) is_cutting: Cell<bool>,
    /// Places of long polls that wait a little without being parked.
    pub(crate) paced: Semaphore,
    /// Turns for connections that are told why they are refused.
    pub(crate) refusals: Semaphore,
    connection_last: Cell<u64>,
    /// Notified when a connection has ended.
    pub(crate) connection_ended: Notify,
    pub(super) slots: RefCell<Slots>,
    /// Connections to other nodes.
    pub(crate) lines: Lines,
    /// Those of its partitions that follow another node's.
    pub(crate) followings: Followings,
    /// Those of its partitions whose owner is being changed.
    pub(crate) hands: Hands,
    /// What is repaired, and was.
    pub(crate) repairs: Repairs,
    /// Who follows its partitions.
    pub(crate) followers: Followers,
    /// Where the last snapshots of the node's partitions end.
    pub(super) last_snapshots: RefCell<Arc<LastSnapshots>>,
    /// Notified when a scrub is asked for.
    pub(super) scrub_wanted: Notify,
    /// Where the last pass was.
    pub(super) scrub_last: Cell<SlotId>,
    pub(super) memory: Memory,
    pub(super) queues: Queues,
    pub(super) files: Files,
    pub(super) ahead: Ahead,
    pub(super) sweep: Sweep,
    /// Notified when a flush has ended, which makes room.
    pub(crate) flushed: Notify,
    pub(super) tickets: Rc<Tickets>,
    pub(super) slowest: Rc<Slowest>,
    pub(super) effects: RefCell<Effects<Disk>>,
    /// Partitions whose group is to start.
    pub(super) wanted: RefCell<Wanted>,
    pub(super) wanted_changed: Notify,
    pub(super) commit_soon: Delay<SlotId>,
    tick_soon: Delay<SlotId>,
    tick_later: Delay<SlotId>,
    /// Notified when a flush or a chore has been handed back.
    pub(super) quieter: Notify,
    pub(super) generation_last: Cell<u32>,
    pub(super) random: RefCell<fastrand::Rng>,
}

impl Core {
    /// A core of this thread.
    pub(crate) fn new(
        id: CoreId,
        shared: Arc<Shared>,
        counters: Arc<Counters>,
        root: Disk,
        lanes: Lanes,
        seed: u64,
    ) -> Rc<Self> {
        let (files_max, core_count) = (shared.core_files, shared.core_count);
        let (budget, polls_max) = (shared.budget, shared.limits.parked_fetches_max);
        files::limit(files_max);
        Rc::new(Self {
            id,
            shared,
            counters,
            root,
            routes: RefCell::default(),
            lanes,
            admin: OnceCell::new(),
            receive_budget: Semaphore::new(budget.receive),
            send_budget: Semaphore::new(budget.send),
            send_small_budget: Semaphore::new(budget.send_small),
            answer_bytes: Cell::new(0),
            asked_budget: Semaphore::new(budget.asked),
            aborted_runs: Rc::default(),
            stop: Notify::new(),
            is_stopping: Cell::new(false),
            is_cutting: Cell::new(false),
            paced: Semaphore::new(polls_max as u64),
            refusals: Semaphore::new(REFUSALS_MAX),
            connection_last: Cell::new(0),
            connection_ended: Notify::new(),
            slots: RefCell::default(),
            lines: Lines::new(budget.sources),
            followings: Followings::default(),
            hands: Hands::default(),
            repairs: Repairs::default(),
            followers: Followers::new(),
            last_snapshots: RefCell::default(),
            scrub_wanted: Notify::new(),
            scrub_last: Cell::new(SlotId::LAST),
            memory: Memory::new(&budget),
            queues: Queues::default(),
            files: Files::new(files_max, core_count),
            ahead: Ahead::new(),
            sweep: Sweep::default(),
            flushed: Notify::new(),
            tickets: Rc::default(),
            slowest: Rc::default(),
            effects: RefCell::new(Effects::new()),
            wanted: RefCell::default(),
            wanted_changed: Notify::new(),
            commit_soon: Delay::new(ACCEPTED_AGE_MAX),
            tick_soon: Delay::new(Tick::Soon.within()),
            tick_later: Delay::new(Tick::Later.within()),
            quieter: Notify::new(),
            generation_last: Cell::new(0),
            random: RefCell::new(fastrand::Rng::with_seed(seed)),
        })
    }

    /// Lets a partition decide and performs what it decides. Gives what the step told a request
    /// with the token `Tickets::NOW`; None also if there is no open partition in the slot.
    pub(crate) fn step(self: &Rc<Self>, slot: SlotId, input: Input<'_, Disk>) -> Option<Told> {
        self.step_at(slot, input, rt::clocks())
    }

    /// The same for who has looked at the clocks.
    pub(super) fn step_at(
        self: &Rc<Self>,
        slot: SlotId,
        input: Input<'_, Disk>,
        now: Now,
    ) -> Option<Told> {
        // A step may lead to another before its effects are performed: each takes its own buffer.
        let mut effects = self.effects.replace(Effects::new());
        if let Some(found) = self.slots.borrow_mut().get_mut(slot) {
            // Whatever comes of a look at the clock comes to the partition as another input.
            if !matches!(input, Input::Tick | Input::Ticked) {
                self.sweep.wake(slot, &mut found.swept);
            }
            if let Some(partition) = found.partition_mut() {
                partition.step(input, now, &mut effects);
            }
        }
        let mut told_now = None;
        for effect in effects.drain() {
            match effect {
                Effect::Answer {
                    token: Tickets::NOW,
                    answer,
                } => told_now = Some(answer),
                effect => self.perform(slot, effect),
            }
        }
        self.effects.replace(effects);
        told_now
    }

    /// Partitions that look again after this time.
    pub(super) fn ticks(&self, tick: Tick) -> &Delay<SlotId> {
        match tick {
            Tick::Soon => &self.tick_soon,
            Tick::Later => &self.tick_later,
        }
    }

    fn perform(self: &Rc<Self>, slot: SlotId, effect: Effect<Disk>) {
        match effect {
            Effect::Answer { token, answer } => self.tickets.tell(token, answer),
            Effect::Wake { token } => {
                add(&self.counters.woken_fetches_total, 1);
                self.tickets.wake(token);
            }
            Effect::Commit(pace) => self.want_group(slot, pace),
            Effect::CommitSoon => self.commit_soon.put(slot),
            Effect::Tick(tick) => self.ticks(tick).put(slot),
            Effect::Flush {
                next_pace,
                is_slight,
                generation,
                plan,
            } => self.run_flush(slot, next_pace, is_slight, generation, plan),
            Effect::Chore { generation, plan } => self.run_chore(slot, generation, plan),
            Effect::Durable { upto, bytes } => {
                // A copy that begins, or takes a segment in, is no group.
                add(&self.counters.flushes_total, u64::from(0 < bytes));
                add(&self.counters.flushed_bytes_total, bytes as u64);
                if let Some(found) = self.slots.borrow_mut().get_mut(slot) {
                    found.troubles = Troubles::default();
                    found.board.advance(upto);
                    Board::forget_voids(&mut found.board);
                }
            }
            Effect::Cut { durable } => self.was_cut(slot, durable),
            Effect::Fenced {
                failed,
                accepted_lost,
                error,
            } => {
                let failed = match failed {
                    Failed::Flush => &self.counters.flushes_failed_total,
                    Failed::Chore => &self.counters.chores_failed_total,
                };
                add(failed, 1);
                add(&self.counters.fenced_partitions, 1);
                add(&self.counters.accepted_lost_records_total, accepted_lost);
                let lost = (0 < accepted_lost).then_some(accepted_lost);
                self.log_trouble(slot, "fenced after a failed write or sync", &error, lost);
                self.void(slot, Void::Fenced);
                self.weigh(slot);
            }
            Effect::Full { error } => {
                if self.is_news(slot, |troubles| &mut troubles.is_full_told) {
                    self.log_trouble(slot, "a group could not be written yet", &error, None);
                }
                self.void(slot, Void::Full);
            }
            Effect::Event { event } => self.tell_event(slot, &event),
            Effect::ChoreFailed { error } => {
                add(&self.counters.chores_failed_total, 1);
                if self.is_news(slot, |troubles| &mut troubles.is_chore_told) {
                    self.log_trouble(slot, "a chore failed", &error, None);
                }
            }
        }
    }

    pub(super) fn void(&self, slot: SlotId, why: Void) {
        if let Some(board) = self.slots.borrow().board(slot) {
            board.void(why);
        }
    }

    /// Whether a trouble was not told yet; now it is. One line until the disk takes something again.
    fn is_news(&self, slot: SlotId, of: impl FnOnce(&mut Troubles) -> &mut bool) -> bool {
        let mut slots = self.slots.borrow_mut();
        let found = slots.get_mut(slot);
        found.is_some_and(|found| !std::mem::replace(of(&mut found.troubles), true))
    }

    /// So many records `lost` that were accepted, if any were.
    pub(super) fn log_trouble(
        &self,
        slot: SlotId,
        what: &str,
        error: &corelog_storage::Error,
        lost: Option<u64>,
    ) {
        if let Some(slot) = self.slots.borrow().get(slot) {
            tracing::error!(
                topic = %slot.topic.name,
                partition = slot.key.partition.get(),
                core = self.id.get(),
                lost,
                error = %with_causes(error),
                "{what}"
            );
        }
    }

    /// The catalog's writer.
    ///
    /// # Errors
    /// `Internal` on any core but core 0, where nothing sends such requests.
    pub(crate) fn admin(&self) -> Result<&Admin, Failure> {
        let elsewhere = || failure(ErrorCode::Internal, "the catalog is on core 0");
        self.admin.get().ok_or_else(elsewhere)
    }

    /// How this node calls itself to others.
    pub(crate) fn name(&self) -> String {
        format!("corelog node {}", self.shared.node)
    }

    /// If it takes connections: nobody can be told before where it is reached.
    pub(crate) fn is_listening(&self) -> bool {
        self.shared.addresses.get().is_some()
    }

    /// A number for a new connection.
    pub(crate) fn next_connection(&self) -> u64 {
        self.connection_last.set(self.connection_last.get() + 1);
        self.connection_last.get()
    }

    /// A number for whatever wants to be random but repeatable.
    pub(super) fn seed(&self) -> u64 {
        self.random.borrow_mut().u64(..)
    }

    /// Waits for `condition`, looked at whenever a flush or a chore was handed back.
    pub(super) async fn quiet(&self, condition: impl Fn() -> bool) {
        self.quieter.until(condition).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use corelog_record::Offset;
    use corelog_storage::Error;

    use super::super::tests::{batches, flush, logged, produce, topic, with_core};
    use super::*;

    async fn partition_of(core: &Rc<Core>) -> SlotId {
        let (topic, key) = topic(1);
        assert!(core.open_partition(&topic, key).await);
        core.slot_of(key).unwrap()
    }

    /// A file that could not be removed kept it out of the log that the disk is full.
    #[test]
    fn a_chore_that_failed_keeps_nobody_from_hearing_that_there_is_no_space() {
        with_core(|core| async move {
            let slot = partition_of(&core).await;
            let failed = || Effect::ChoreFailed {
                error: Error::Fenced,
            };
            let full = || Effect::Full {
                error: Error::Fenced,
            };
            let lines = logged(async {
                for effect in [failed(), full(), failed(), full()] {
                    core.perform(slot, effect);
                }
            })
            .await;
            let [first, second] = &lines[..] else {
                panic!("once each: {lines:?}");
            };
            assert!(first.contains("a chore failed"), "{first}");
            assert!(second.contains("could not be written"), "{second}");
        });
    }

    /// Nothing held it.
    #[test]
    fn what_was_said_of_a_partition_before_it_was_reopened_is_said_again() {
        with_core(|core| async move {
            let slot = partition_of(&core).await;
            let key = core.slots.borrow().get(slot).unwrap().key;
            produce(&core, key, &batches(100)).await;
            flush(&core, key).await;
            let full = || Effect::Full {
                error: Error::Fenced,
            };
            let lines = logged(async {
                core.perform(slot, full());
                Box::pin(core.reopen_partition(key)).await.unwrap();
                core.perform(slot, full());
                core.perform(slot, full());
            })
            .await;
            let told = lines.iter().filter(|line| line.contains("written yet"));
            assert_eq!(told.count(), 2, "{lines:?}");
        });
    }

    /// They were counted alone.
    #[test]
    fn the_log_says_how_many_accepted_records_a_fence_loses() {
        with_core(|core| async move {
            let slot = partition_of(&core).await;
            let fenced = |accepted_lost| Effect::Fenced {
                failed: Failed::Flush,
                accepted_lost,
                error: Error::Fenced,
            };
            let lines = logged(async {
                for effect in [3, 0].map(fenced) {
                    core.perform(slot, effect);
                }
            })
            .await;
            assert!(lines[0].contains("lost=3"), "{lines:?}");
            assert!(!lines[1].contains("lost"), "{lines:?}");
        });
    }

    #[test]
    fn a_copy_that_begins_is_no_group_that_was_written() {
        with_core(|core| async move {
            let slot = partition_of(&core).await;
            let upto = Offset::ZERO.plus(10);
            core.perform(slot, Effect::Durable { upto, bytes: 0 });
            let flushes = core.counters.flushes_total.load(Ordering::Relaxed);
            assert_eq!(flushes, 0);
        });
    }
}
