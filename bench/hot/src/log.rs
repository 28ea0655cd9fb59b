//! A partition's log between the socket and the disk.

use std::hint::black_box;

use corelog_record::{
    ByteSize, Chain, CopyId, HistoryId, Offset, Ordinal, PartitionId, Position, TopicId,
};
use corelog_storage::Log;
use corelog_storage::disk::{Dir as _, block_on};
use corelog_storage::format::mark::Slot;
use corelog_storage::log::Options;
use corelog_storage::mark::Mark;
use corelog_storage::testing;

use crate::Hot;
use crate::batches::{TIME, batch_of};
use crate::sink::SinkDir;

/// A batch is checked, stamped and copied into the tail; every 4 KiB of it get a row of the index.
pub(crate) struct Append {
    log: Log<SinkDir>,
    batch: Vec<u8>,
}

impl Append {
    /// A thousand records of 1 KiB.
    pub(crate) fn large() -> Self {
        Self::of(batch_of(1000, 1024))
    }

    /// One record of 1 KiB.
    pub(crate) fn small() -> Self {
        Self::of(batch_of(1, 1024))
    }

    fn of(batch: Vec<u8>) -> Self {
        let log = log();
        Self { log, batch }
    }
}

impl Hot for Append {
    fn count(&self) -> u64 {
        APPENDS as u64
    }

    fn bytes(&self) -> u64 {
        (APPENDS * self.batch.len()) as u64
    }

    fn prepare(&mut self) {
        settle(&mut self.log);
    }

    fn run(&mut self) {
        for _ in 0..APPENDS {
            append(&mut self.log, &self.batch);
        }
    }
}

/// What 64 clients sent is taken for one flush, and made durable.
pub(crate) struct Group {
    log: Log<SinkDir>,
    batch: Vec<u8>,
}

impl Group {
    pub(crate) fn new() -> Self {
        let (log, batch) = (log(), batch_of(1, 1024));
        Self { log, batch }
    }
}

impl Hot for Group {
    fn count(&self) -> u64 {
        GROUP_BATCHES as u64
    }

    fn prepare(&mut self) {
        settle(&mut self.log);
        for _ in 0..GROUP_BATCHES {
            append(&mut self.log, &self.batch);
        }
    }

    fn run(&mut self) {
        let Some(plan) = self.log.plan_flush() else {
            panic!("there is something to flush")
        };
        let flushed = self.log.complete_flush(block_on(plan.run()), TIME);
        assert!(flushed.is_ok(), "a sink takes everything: {flushed:?}");
    }
}

/// A consumer that is a little behind reads 64 KiB by reference, from a place within what is in memory.
pub(crate) struct ReadTail {
    log: Log<SinkDir>,
    from: Offset,
}

impl ReadTail {
    pub(crate) fn new() -> Self {
        let mut log = log();
        let batch = batch_of(1, 1024);
        for _ in 0..1000 {
            append(&mut log, &batch);
            settle(&mut log);
        }
        let from = Offset::ZERO.plus(500);
        Self { log, from }
    }
}

impl Hot for ReadTail {
    fn count(&self) -> u64 {
        1
    }

    fn run(&mut self) {
        let plan = self
            .log
            .plan_read(black_box(self.from), Offset::MAX, 64 << 10);
        let Ok(plan) = plan else {
            panic!("what was appended is there")
        };
        assert!(plan.ready().is_some(), "it is in memory");
        let fetched = block_on(plan.run());
        assert!(fetched.is_ok_and(|fetched| fetched.bytes > 60 << 10));
    }
}

/// A consumer that comes from far behind: from an offset by the index to the batch, which is read and checked.
pub(crate) struct Seek {
    log: Log<SinkDir>,
    turn: u64,
}

impl Seek {
    pub(crate) fn new() -> Self {
        let options = Options {
            tail_bytes_max: 0,
            ..options()
        };
        let mut log = opened(&SinkDir::faithful(), options);
        let batch = batch_of(10, 1024);
        for _ in 0..SEEK_BATCHES {
            append(&mut log, &batch);
            settle(&mut log);
        }
        Self { log, turn: 0 }
    }
}

impl Hot for Seek {
    fn count(&self) -> u64 {
        1
    }

    fn run(&mut self) {
        // A step that shares no factor with the count visits all.
        self.turn = (self.turn + 7_919) % (10 * SEEK_BATCHES);
        let from = Offset::ZERO.plus(self.turn);
        let Ok(plan) = self.log.plan_read(from, Offset::MAX, 1) else {
            panic!("what was appended is there")
        };
        assert!(plan.ready().is_none(), "nothing is kept in memory");
        let fetched = block_on(plan.run());
        assert!(fetched.is_ok_and(|fetched| fetched.next > from));
    }
}

/// What an idle moment writes down of what is durable.
pub(crate) struct WriteMark {
    mark: Mark<SinkDir>,
    slot: Slot,
}

impl WriteMark {
    pub(crate) fn new() -> Self {
        let slot = Slot {
            history: HistoryId::of(TopicId::from_bytes([1; 16]), PartitionId::new(0)),
            copy: CopyId::from_bytes([2; 16]),
            sequence: 0,
            segment: Offset::ZERO,
            generation: 0,
            is_clean: false,
            position: Position::ZERO.plus(1 << 20),
            offset: Offset::ZERO.plus(1000),
            ordinal: Ordinal::ZERO.plus(1000),
            chain: Chain::from_raw(5),
            max_timestamp: TIME,
            epoch: None,
            born: None,
        };
        let dir = SinkDir::forgetful();
        let made = block_on(async {
            dir.create().await?;
            Ok::<_, std::io::Error>(Mark::create(dir.clone(), slot).await)
        });
        let Ok(Ok(mark)) = made else {
            panic!("a sink takes everything")
        };
        Self { mark, slot }
    }
}

impl Hot for WriteMark {
    fn count(&self) -> u64 {
        1
    }

    fn run(&mut self) {
        let written = block_on(self.mark.write(black_box(self.slot)));
        assert!(written.is_ok(), "a sink takes everything");
    }
}

fn log() -> Log<SinkDir> {
    opened(&SinkDir::forgetful(), options())
}

fn opened(dir: &SinkDir, options: Options) -> Log<SinkDir> {
    match testing::open(dir, options, 1, TIME) {
        Ok((log, _)) => log,
        Err(error) => panic!("an empty log opens: {error}"),
    }
}

/// Segments that roll now and then in a run, as those of a node do.
fn options() -> Options {
    Options {
        segment_bytes_max: ByteSize::from_mib(64),
        ..Options::default()
    }
}

fn append(log: &mut Log<SinkDir>, batch: &[u8]) {
    let appended = log.append(black_box(batch), TIME);
    assert!(appended.is_ok(), "there is room: {appended:?}");
}

/// Flushes what is pending, and does what is due behind it.
fn settle(log: &mut Log<SinkDir>) {
    let settled = testing::settle(log, TIME);
    assert!(settled.is_ok(), "a sink takes everything: {settled:?}");
}

/// Of one run; less than may be pending.
const APPENDS: usize = 8;
const GROUP_BATCHES: usize = 64;
const SEEK_BATCHES: u64 = 4096;
