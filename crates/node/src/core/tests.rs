//! A core without its keepers, for tests that decide themselves what is done when.

use std::fmt;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use corelog_protocol::message::ack::Level;
use corelog_protocol::message::settings::TopicSettings;
use corelog_protocol::message::{create_topic, fetch};
use corelog_record::batch::{Builder, Codec};
use corelog_record::{CopyId, CoreId, NodeId, PartitionId, Timestamp, TopicId, TopicName};
use corelog_storage::format::edit::Point;
use corelog_storage::format::replica::Replica;
use futures_lite::future::{block_on, poll_once};
use tracing::field::Field;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber};

use super::files::Turn;
use super::queue::Stand;
use super::serve::NotAppended;
use super::terms::Terms;
use super::*;
use crate::catalog::{Admin, Change, Topic};
use crate::config::NodeConfig;
use crate::follow::{FOLLOWED_FOR, Lately, SILENT_FOR};
use crate::frame_id::tests::frame;
use crate::metrics::Counters;
use crate::partition::{Incoming, Input, Partition};
use crate::rate::Rates;
use crate::router;
use crate::rt::{self, Permit, tests::on_core};
use crate::transfer::Transfers;

/// How long a test waits for what comes at once on a machine that is not busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `test` on a core that serves from a directory of its own.
pub(crate) fn with_core<F: Future<Output = ()> + 'static>(
    test: impl FnOnce(Rc<Core>) -> F + Send + 'static,
) {
    with_others(0, |core, _| test(core));
}

/// The same by a configuration that was changed so.
pub(crate) fn with_core_of<F: Future<Output = ()> + 'static>(
    change: impl FnOnce(&mut NodeConfig),
    test: impl FnOnce(Rc<Core>) -> F + Send + 'static,
) {
    with_all(0, change, |core, _| test(core));
}

/// The same beside so many others, of which there are the ends of their lanes.
pub(crate) fn with_others<F: Future<Output = ()> + 'static>(
    others: u16,
    test: impl FnOnce(Rc<Core>, Vec<router::LaneEnds>) -> F + Send + 'static,
) {
    with_all(others, |_| {}, test);
}

fn with_all<F: Future<Output = ()> + 'static>(
    others: u16,
    change: impl FnOnce(&mut NodeConfig),
    test: impl FnOnce(Rc<Core>, Vec<router::LaneEnds>) -> F + Send + 'static,
) {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..=9 {
        std::fs::create_dir_all(dir.path().join(format!("topics/topic-{number}"))).unwrap();
    }
    let mut config = NodeConfig::new(dir.path());
    change(&mut config);
    let shared = shared(&config);
    on_core(move || {
        let counters = Arc::clone(&shared.counters[0]);
        let limits = &shared.limits;
        let mut lanes = router::connect(1 + others, limits, shared.budget.lanes);
        let (own, _) = lanes.remove(0).open();
        let root = Disk::new(shared.data_dir.clone());
        let core = Core::new(CoreId::new(0), shared, counters, root, own, 1);
        test(core, lanes)
    });
}

/// A topic of one partition, by the number in its name and id.
pub(crate) fn topic(number: u8) -> (Arc<Topic>, PartitionKey) {
    let topic = topic_of(&format!("topic-{number}"), number, 1);
    (Arc::new(topic), key(number, 0))
}

/// A topic of so many partitions of core 0, which are the node's alone.
pub(crate) fn topic_of(name: &str, id: u8, count: usize) -> Topic {
    Topic {
        name: TopicName::new(name).unwrap(),
        id: TopicId::from_bytes([id; 16]),
        created: Timestamp::from_millis(1),
        settings: TopicSettings::default(),
        owners: vec![CoreId::new(0); count],
        replicas: Default::default(),
    }
}

/// Has a topic of one partition be created.
pub(crate) fn creating(name: &str) -> create_topic::Request {
    create_topic::Request {
        name: TopicName::new(name).unwrap(),
        partitions: 1,
        settings: TopicSettings::default(),
        if_not_exists: false,
    }
}

/// A copy that ends there, as it tells of itself once it was compared.
pub(crate) fn follower(copy: u128, end: Point) -> fetch::Follower {
    fetch::Follower {
        copy: CopyId::from_bytes(copy.to_le_bytes()),
        end: end.offset,
        chain: end.chain,
        node: None,
        address: None,
        epochs: vec![],
    }
}

/// A partition of the topic of that number.
pub(crate) fn key(topic: u8, partition: u32) -> PartitionKey {
    PartitionKey {
        topic: TopicId::from_bytes([topic; 16]),
        partition: PartitionId::new(partition),
    }
}

/// The same, whose segments are as small as may be.
pub(super) fn small_topic(number: u8) -> (Arc<Topic>, PartitionKey) {
    let (topic, key) = topic(number);
    let mut topic = Arc::unwrap_or_clone(topic);
    topic.settings.segment_bytes = TopicSettings::SEGMENT_BYTES_MIN;
    (Arc::new(topic), key)
}

/// What is about `bytes` long.
pub(crate) fn batches(bytes: usize) -> Vec<u8> {
    let mut builder = Builder::new(Codec::None);
    let value = vec![b'v'; bytes];
    let time = Timestamp::from_millis(1);
    builder.append(time, None, Some(&value), &[]).unwrap();
    builder.build().unwrap()
}

pub(crate) fn terms() -> Terms {
    Terms {
        frame: frame(),
        level: Some(Level::Accepted),
        taken: rt::now(),
    }
}

/// A topic of one partition that was created by whoever keeps the topics, which this core is from now on.
pub(crate) async fn created(core: &Rc<Core>) -> (TopicName, PartitionKey) {
    let admin = Admin::new(Rc::clone(core));
    assert!(core.admin.set(admin).is_ok());
    let request = creating("t");
    let name = request.name.clone();
    let topic = core.admin().unwrap().create(request).await.unwrap().id;
    let partition = PartitionId::new(0);
    (name, PartitionKey { topic, partition })
}

/// As a connection does.
pub(crate) async fn produce(core: &Rc<Core>, key: PartitionKey, batches: &[u8]) {
    let batches = Incoming::Unchecked(batches);
    match core.produce(key, batches, terms(), Stand::Newcomer) {
        Err(NotAppended::TailFull(_)) => {
            core.produce_in_turn(key, batches, terms()).await.unwrap();
        }
        Err(NotAppended::Refused(error)) => panic!("{error}"),
        Ok(_) => {}
    }
}

/// Has the disk take all that a partition has in memory.
pub(crate) async fn flush(core: &Rc<Core>, key: PartitionKey) {
    let slot = core.slot_of(key).unwrap();
    core.step(slot, Input::Commit);
    let end = core.place(key).unwrap().log_end;
    core.durable(key, end).await.unwrap();
}

/// Fences the partition of a topic that was [`created`], by what stands in place of its directory, as is given.
pub(crate) async fn fence(core: &Rc<Core>, key: PartitionKey) -> PathBuf {
    let dir = core.shared.data_dir.join("topics/t/0");
    // It is made with the first group.
    std::fs::write(&dir, "").unwrap();
    produce(core, key, &batches(100)).await;
    core.step(core.slot_of(key).unwrap(), Input::Commit);
    let end = core.place(key).unwrap().log_end;
    core.durable(key, end).await.unwrap_err();
    dir
}

/// A partition of [`topic`] with a batch of a mebibyte, which lies on the disk alone.
pub(crate) async fn cold(core: &Rc<Core>) -> (Arc<Topic>, PartitionKey) {
    cold_batches(core, 1).await
}

/// The same with so many batches, of which each is more than a stride.
pub(crate) async fn cold_batches(core: &Rc<Core>, count: usize) -> (Arc<Topic>, PartitionKey) {
    let (topic, key) = topic(1);
    assert!(core.open_partition(&topic, key).await);
    for _ in 0..count {
        produce(core, key, &batches(1 << 20)).await;
    }
    flush(core, key).await;
    core.reopen_partition(key).await.unwrap();
    (topic, key)
}

/// All turns of reads: until they are dropped no read goes to the disk.
pub(crate) async fn hold_reads(core: &Core) -> Vec<Permit> {
    let mut turns = Vec::new();
    while core.reads_left() > 0 {
        turns.push(core.files.turn(Turn::Read).await);
    }
    turns
}

/// All turns of chores: until they are dropped none goes to the disk.
pub(crate) async fn hold_chores(core: &Core) -> Vec<Permit> {
    let mut turns = Vec::new();
    while let Some(turn) = poll_once(pin!(core.files.turn(Turn::Chore))).await {
        turns.push(turn);
    }
    turns
}

/// All turns of flushes into files that are there, or not: until they are dropped none goes to the disk.
pub(crate) async fn hold_flushes(core: &Core) -> Vec<Permit> {
    let mut turns = Vec::new();
    for turn in [Turn::Flush, Turn::Birth] {
        while let Some(turn) = poll_once(pin!(core.files.turn(turn))).await {
            turns.push(turn);
        }
    }
    turns
}

/// All turns of openings: until they are dropped nothing that waits for one is opened.
pub(crate) async fn hold_openings(core: &Core) -> Vec<Permit> {
    let mut turns = Vec::new();
    for _ in 0..core.at_once() {
        turns.push(core.files.turn(Turn::Open).await);
    }
    turns
}

/// Has partitions flushed just now, and no stride of a read go to the disk, until these are dropped.
pub(super) async fn hold_strides(core: &Core) -> [Permit; 2] {
    [
        core.files.turn(Turn::Flush).await,
        core.files.stride().await,
    ]
}

/// Waits until a read waits for its stride.
pub(super) async fn stride_wanted(core: &Core) {
    until("a stride is wanted", || core.strides_waiting() == 1).await;
}

/// Lets one stride go to the disk, once it is wanted, which `held` kept back, and waits until that has answered: what is
/// given keeps back the next one.
pub(super) async fn let_stride_go(core: &Core, held: Permit) -> Permit {
    stride_wanted(core).await;
    let mut behind = pin!(core.files.stride());
    assert!(poll_once(behind.as_mut()).await.is_none());
    drop(held);
    let answered = rt::timeout(PATIENCE, behind).await;
    answered.expect("the disk answers")
}

/// Waits until that is so.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let so = async {
        while !is_so() {
            rt::next_turn().await;
        }
    };
    rt::timeout(PATIENCE, so).await.expect(what);
}

/// A partition of a [`small_topic`] that `source` is known to have a copy of.
pub(crate) async fn copied(core: &Rc<Core>, source: &str) -> PartitionKey {
    let (topic, key) = small_topic(1);
    assert!(core.open_partition(&topic, key).await);
    give_copy(core, &[source]).await;
    key
}

/// Has `sources` be known to have a copy of it, and nobody else.
pub(crate) async fn give_copy(core: &Rc<Core>, sources: &[&str]) {
    let (topic, key) = small_topic(1);
    let mut topic = Arc::unwrap_or_clone(topic);
    let replica = Replica {
        sources: sources.iter().map(|source| (*source).to_owned()).collect(),
        ..Replica::owner(key.partition)
    };
    topic.replicas.insert(key.partition, replica);
    core.apply(Change::Publish(Arc::new(topic))).await;
}

/// Has a partition of a [`small_topic`] seal one more segment, of two batches if it is the first.
pub(crate) async fn seal(core: &Rc<Core>, key: PartitionKey) {
    // The third does not fit beside the others.
    seal_of(core, key, 3, 400 << 10).await;
}

/// Has it seal one more segment by so many batches of about as many `bytes`.
pub(crate) async fn seal_of(core: &Rc<Core>, key: PartitionKey, count: usize, bytes: usize) {
    let slot = core.slot_of(key).unwrap();
    let sealed = || core.look(key, Partition::sealed_bytes).unwrap();
    let before = sealed();
    for _ in 0..count {
        produce(core, key, &batches(bytes)).await;
    }
    for _ in 0..2_000 {
        if before < sealed() {
            return;
        }
        core.step(slot, Input::Commit);
        rt::sleep(Duration::from_millis(5)).await;
    }
    panic!("it is not sealed");
}

/// The first store of a partition of [`topic`].
pub(crate) fn first_store(core: &Core, number: u8) -> PathBuf {
    let store = format!("topics/topic-{number}/0/00000000000000000000.log");
    core.shared.data_dir.join(store)
}

/// The lines that are logged while `work` is done, with their fields.
pub(crate) async fn logged(work: impl Future<Output = ()>) -> Vec<String> {
    // While there is but one subscriber, whoever comes to a line first settles for all threads whether it is told, and
    // asks only the subscriber of its own.
    static OTHERS: OnceLock<[Dispatch; 2]> = OnceLock::new();
    OTHERS.get_or_init(|| [(); 2].map(|()| Dispatch::new(Lines::default())));
    let lines = Arc::new(Lines::default());
    let until_then = tracing::subscriber::set_default(Arc::clone(&lines));
    work.await;
    drop(until_then);
    std::mem::take(&mut lines.0.lock().unwrap())
}

/// A line that another test had come to first was not there.
#[test]
fn lines_are_told_whoever_came_to_them_first() {
    let log = || tracing::error!("a line");
    let lines = block_on(logged(async {
        std::thread::spawn(log).join().unwrap();
        log();
    }));
    assert_eq!(lines, ["message=a line "]);
}

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = String::new();
        event.record(&mut |field: &Field, value: &dyn fmt::Debug| {
            line += &format!("{field}={value:?} ");
        });
        self.0.lock().unwrap().push(line);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn shared(config: &NodeConfig) -> Arc<Shared> {
    let rates = Rates::of(config);
    Arc::new(Shared {
        node: NodeId::from_bytes([1; 16]),
        limits: config.limits.clone(),
        core_files: 64,
        core_count: 1,
        data_dir: config.data_dir.clone(),
        lock: Weak::new(),
        budget: config.budget().unwrap(),
        scrub_rate: rates.scrub,
        transfers: Transfers::start(rates.transfer).unwrap(),
        slight: Slight::new(rt::now()),
        silent: Lately::new(SILENT_FOR),
        followed: Lately::new(FOLLOWED_FOR),
        counters: vec![Arc::<Counters>::default()],
        addresses: OnceLock::new(),
    })
}
