//! A partition on a disk in memory with everything around it in a test's hands: when a flush
//! starts, when each operation of the disk has its effect, when the power fails.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use corelog_protocol::message::ack::Level;
use corelog_record::{ByteSize, Offset, PartitionId, Timestamp, TopicId};
use corelog_storage::Now;
use corelog_storage::disk::faulty::{Faults, FaultyDir};
use corelog_storage::disk::memory::MemoryDir;
use corelog_storage::disk::{Dir, block_on, poll_once};
use corelog_storage::log::{Identity, Log, OpenReport, Options};
use corelog_storage::testing;

use super::{
    Answer, Appetite, Effect, Effects, Failed, Incoming, Input, Partition, Policy, Refusal, Token,
};

pub(super) type Disk = FaultyDir<MemoryDir>;

/// What a step told a request.
pub(super) type Told = Result<Answer<Disk>, Refusal>;

/// A partition, its disk, and what it wants performed.
pub(super) struct Bench {
    pub(super) disk: Disk,
    pub(super) partition: Partition<Disk>,
    pub(super) report: OpenReport,
    pub(super) now: Timestamp,
    /// How far the machine's clock is ahead of the node's.
    pub(super) ahead_ms: i64,
    /// The greatest offset told as durable.
    pub(super) durable: Offset,
    pub(super) told: Vec<(Token, Told)>,
    pub(super) woken: Vec<Token>,
    pub(super) wants_commit: bool,
    pub(super) is_fenced: bool,
    /// What fenced it.
    pub(super) failed: Option<Failed>,
    pub(super) accepted_lost: u64,
    pub(super) full_count: usize,
    /// Ticks that are to be handed back.
    pub(super) ticks_armed: usize,
    /// The chore that was started last holds flushes up.
    pub(super) is_held: bool,
    running: Vec<Pin<Box<dyn Future<Output = Input<'static, Disk>>>>>,
    effects: Effects<Disk>,
    token_last: u64,
    seed: u64,
}

impl Bench {
    pub(super) fn new(seed: u64) -> Self {
        Self::open(
            FaultyDir::new(MemoryDir::new()),
            seed,
            Timestamp::from_millis(1_000_000),
        )
    }

    /// Recovers what is on a disk.
    pub(super) fn open(disk: Disk, seed: u64, now: Timestamp) -> Self {
        let (log, report) = open_log(&disk, seed, now);
        Self {
            durable: log.durable(),
            partition: Partition::new(log, 1, policy(), now),
            disk,
            report,
            now,
            ahead_ms: 0,
            told: Vec::new(),
            woken: Vec::new(),
            wants_commit: false,
            is_fenced: false,
            failed: None,
            accepted_lost: 0,
            full_count: 0,
            ticks_armed: 0,
            is_held: false,
            running: Vec::new(),
            effects: Effects::new(),
            token_last: 0,
            seed,
        }
    }

    pub(super) fn faults(&self) -> &Faults {
        self.disk.faults()
    }

    /// Lets the partition decide, and takes down what it decided.
    pub(super) fn step(&mut self, input: Input<'_, Disk>) {
        let now = Now {
            time: self.now,
            stamp: self.now.saturating_add_millis(self.ahead_ms),
        };
        self.partition.step(input, now, &mut self.effects);
        for effect in self.effects.drain() {
            match effect {
                Effect::Answer { token, answer } => self.told.push((token, answer)),
                Effect::Wake { token } => self.woken.push(token),
                Effect::Commit(_) | Effect::CommitSoon => self.wants_commit = true,
                Effect::Flush {
                    generation, plan, ..
                } => self.running.push(Box::pin(async move {
                    Input::Flushed {
                        generation,
                        done: Box::new(plan.run().await),
                    }
                })),
                Effect::Chore { generation, plan } => {
                    self.is_held = plan.holds_flushes();
                    self.running.push(Box::pin(async move {
                        Input::Chored {
                            generation,
                            done: Box::new(plan.run().await),
                        }
                    }));
                }
                Effect::Durable { upto, .. } => {
                    assert!(
                        self.durable < upto,
                        "durable is told once per flush, and rises"
                    );
                    self.durable = upto;
                }
                Effect::Cut { durable } => {
                    assert!(durable < self.durable, "what is cut is told only then");
                    self.durable = durable;
                }
                Effect::Fenced {
                    failed,
                    accepted_lost,
                    ..
                } => {
                    assert!(!self.is_fenced, "fenced twice");
                    (self.is_fenced, self.failed) = (true, Some(failed));
                    self.accepted_lost += accepted_lost;
                }
                Effect::Full { .. } => self.full_count += 1,
                Effect::Tick(_) => self.ticks_armed += 1,
                Effect::ChoreFailed { .. } | Effect::Event { .. } => {}
            }
        }
    }

    /// A place for a snapshot on the partition's disk.
    pub(super) fn snapshot_dir(&self, name: &str) -> Disk {
        self.disk.child("snapshots").child(name)
    }

    pub(super) fn token(&mut self) -> Token {
        self.token_last += 1;
        Token(self.token_last)
    }

    /// What was told to a request by now.
    pub(super) fn take_told(&mut self, token: Token) -> Option<Told> {
        let at = self.told.iter().position(|(told, _)| *told == token)?;
        Some(self.told.remove(at).1)
    }

    /// Appends one batch; gives the offsets it got.
    pub(super) fn produce(
        &mut self,
        values: &[&[u8]],
        level: Level,
    ) -> Result<(Offset, Offset), Refusal> {
        self.produce_bytes(&testing::batch(values, self.now), level)
    }

    /// Appends batches; gives the offsets they got.
    pub(super) fn produce_bytes(
        &mut self,
        batches: &[u8],
        level: Level,
    ) -> Result<(Offset, Offset), Refusal> {
        let token = self.token();
        self.step(Input::Produce {
            token,
            batches: Incoming::Unchecked(batches),
            level: Some(level),
        });
        match self.take_told(token) {
            Some(Ok(Answer::Appended {
                base,
                end,
                level: reached,
                ..
            })) => {
                assert_eq!(reached, level);
                Ok((base, end))
            }
            Some(Err(refusal)) => Err(refusal),
            _ => panic!("a produce is told at once that it was appended or refused"),
        }
    }

    /// Starts the group that has formed.
    pub(super) fn commit(&mut self) {
        self.wants_commit = false;
        self.step(Input::Commit);
    }

    /// Polls once what runs on the disk by now, and hands back what has ended.
    pub(super) fn poll(&mut self) {
        let mut at = 0;
        for _ in 0..self.running.len() {
            match poll_once(Pin::new(&mut self.running[at])) {
                Poll::Pending => at += 1,
                Poll::Ready(input) => {
                    drop(self.running.remove(at));
                    self.step(input);
                }
            }
        }
    }

    /// Commits and polls until nothing is left to do.
    pub(super) fn settle(&mut self) {
        while self.wants_commit || !self.running.is_empty() {
            if self.wants_commit {
                self.commit();
            }
            self.poll();
        }
    }

    /// Twenty seconds go by, in which the partition is looked at.
    pub(super) fn go_on(&mut self) {
        for _ in 0..40 {
            self.now = self.now.saturating_add_millis(500);
            self.step(Input::Tick);
            self.settle();
        }
    }

    pub(super) fn running_count(&self) -> usize {
        self.running.len()
    }

    /// The values readable from an offset on, with their offsets, as one fetch after another gives
    /// them.
    pub(super) fn read_from(
        &mut self,
        mut from: Offset,
    ) -> Result<Vec<(Offset, Vec<u8>)>, Refusal> {
        let mut read = Vec::new();
        loop {
            let token = self.token();
            let appetite = Appetite {
                bytes_max: 4096,
                ..Appetite::ONE
            };
            self.step(Input::Fetch {
                token,
                from,
                appetite,
            });
            match self.take_told(token) {
                Some(Ok(Answer::Read {
                    plan,
                    high_watermark,
                    ..
                })) => {
                    let fetched = block_on(plan.run()).expect("it is there");
                    for piece in &fetched.pieces {
                        collect(piece, from, &mut read);
                    }
                    assert!(
                        fetched.next <= high_watermark,
                        "read past the high watermark"
                    );
                    from = fetched.next;
                }
                Some(Ok(Answer::Nothing { .. })) => return Ok(read),
                Some(Err(refusal)) => return Err(refusal),
                _ => panic!("a fetch is told at once what there is"),
            }
        }
    }

    /// The power fails now, and comes back: what runs on the disk is lost.
    pub(super) fn power_cut(self, seed: u64) -> Self {
        let image = self.disk.inner().power_cut(seed);
        Self::open(
            FaultyDir::new(image),
            self.seed.wrapping_add(seed),
            self.now,
        )
    }

    /// Recovers the partition on the disk as it is, as reopening does: it waits for what is under
    /// way there, so that nothing lands on what it writes.
    pub(super) fn reopen(mut self) -> Self {
        self.faults().release_all();
        while !self.running.is_empty() {
            self.poll();
        }
        Self::open(self.disk.clone(), self.seed.wrapping_add(1), self.now)
    }
}

fn policy() -> Policy {
    Policy::default()
}

fn open_log(disk: &Disk, seed: u64, now: Timestamp) -> (Log<Disk>, OpenReport) {
    let identity = Identity::new(TopicId::from_bytes([3; 16]), PartitionId::new(0));
    let options = Options {
        segment_bytes_max: ByteSize::from_kib(32),
        tail_bytes_max: 16 << 10,
        ..Options::default()
    };
    let (dir, quarantine) = (disk.child("0"), disk.child("quarantine"));
    let opened = block_on(Log::open(dir, quarantine, identity, options, seed, now));
    opened.expect("the log opens")
}

fn collect(mut batches: &[u8], from: Offset, into: &mut Vec<(Offset, Vec<u8>)>) {
    use corelog_record::batch::{View, split_first};
    while let Some((batch, rest)) = split_first(batches).expect("whole batches") {
        let view = View::verify(batch).expect("a valid batch");
        for record in view.records().expect("plain records") {
            let record = record.expect("a valid record");
            if record.offset >= from {
                into.push((record.offset, record.value.unwrap_or_default().to_vec()));
            }
        }
        batches = rest;
    }
}
