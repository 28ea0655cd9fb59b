//! What a snapshot costs a log that is written to, and how fast one is restored, against the disk
//! itself in the same run:
//!
//! ```text
//! cargo run --release -p corelog-node --example snapshot -- DIR GIB SEGMENT_MIB
//! ```
//!
//! Makes a log of so many GiB in DIR, takes a snapshot of it while small groups are committed, then
//! reads all of it, writes as much, and restores it. One core, on the ring, as in a node. DIR must
//! not exist, and is left for inspection.

use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_node::rt::{self, CoreConfig, UringDir, spawn_core};
use corelog_record::batch::{Builder, Codec};
use corelog_record::{ByteSize, CopyId, Lineage, PartitionId, Timestamp, TopicId};
use corelog_storage::disk::std::{StdDir, beside};
use corelog_storage::disk::{Buf, Dir, File, Open, Space};
use corelog_storage::log::{Chore, Identity, Log, Options};
use corelog_storage::snapshot::{Partition, Restore, Stores, restore};

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: snapshot DIR GIB SEGMENT_MIB";
    let dir = arguments.next().ok_or(usage)?;
    let gib: u64 = arguments.next().ok_or(usage)?.parse()?;
    let segment_mib: u32 = arguments.next().ok_or(usage)?.parse()?;
    let core = spawn_core(&CoreConfig::new(0, "bench"), move || {
        run(dir, gib, segment_mib)
    })?;
    core.join()?
}

async fn run(dir: String, gib: u64, segment_mib: u32) -> Result<(), Failure> {
    let root = UringDir::new(dir);
    root.create_all().await?;
    let options = Options {
        segment_bytes_max: ByteSize::from_mib(segment_mib),
        ..Options::default()
    };
    let identity = Identity::new(TopicId::from_bytes([7; 16]), PartitionId::new(0));
    let (store, aside) = (root.child("0"), root.child("quarantine"));
    let (log, _) = Log::open(store, aside, identity, options, 1, now()).await?;
    let log = Rc::new(RefCell::new(log));
    fill(&log, gib << 30).await?;
    let partition = snapshot(&log, &root).await?;
    let rate = |bytes: u64, took: Duration| bytes as f64 / took.as_secs_f64() / 1e6;
    let read = read_all(&root.child("snapshot"), partition.bytes).await?;
    println!("read     {:8.0} MB/s", rate(partition.bytes, read));
    let write = write_all(&root.child("raw"), partition.bytes).await?;
    println!("write    {:8.0} MB/s", rate(partition.bytes, write));
    let order = Restore {
        origin: identity.topic,
        partition,
        topic: TopicId::from_bytes([8; 16]),
        copy: CopyId::from_bytes([5; 16]),
        lineage: Lineage::from_bytes([6; 16]),
        now: now(),
        stores: Stores::Linked,
        is_damage_kept: false,
    };
    // As a node does it: on a thread of its own, not on a core.
    let home = StdDir::new(root.path());
    for (stores, name) in [(Stores::Linked, "linked"), (Stores::Copied, "copied")] {
        let (source, topic) = (home.child("snapshot"), home.child(name));
        let restored = rt::blocking(move || {
            let begun = Instant::now();
            let order = Restore { stores, ..order };
            let restored = beside::block_on(restore(&source, &topic, order, &mut |_| {}));
            restored.map(|_| begun.elapsed())
        });
        let took = restored.await?;
        let share = write.max(read).as_secs_f64() / took.as_secs_f64();
        println!(
            "restore  {:8.0} MB/s {name}, {:.0} % of the slower of the two",
            rate(partition.bytes, took),
            100.0 * share
        );
    }
    Ok(())
}

/// Appends and commits until the log has so many bytes.
async fn fill(log: &RefCell<Log<UringDir>>, bytes: u64) -> Result<(), Failure> {
    let batch = batch(256 << 10)?;
    while log.borrow().store_bytes().bytes() < bytes {
        for _ in 0..32 {
            log.borrow_mut().append(&batch, now())?;
        }
        settle(log).await?;
    }
    Ok(())
}

/// Commits what is pending and does what is due.
async fn settle(log: &RefCell<Log<UringDir>>) -> Result<(), Failure> {
    loop {
        let plan = log.borrow_mut().plan_flush();
        if let Some(plan) = plan {
            let done = plan.run().await;
            log.borrow_mut().complete_flush(done, now())?;
            continue;
        }
        let plan = log.borrow_mut().plan_chore(now(), false);
        let Some(plan) = plan else { return Ok(()) };
        let done = plan.run().await;
        log.borrow_mut().complete_chore(done, now())?;
    }
}

/// Takes a snapshot while another task commits small groups, and tells what both took.
async fn snapshot(log: &Rc<RefCell<Log<UringDir>>>, root: &UringDir) -> Result<Partition, Failure> {
    let is_over = Rc::new(RefCell::new(false));
    let acks = rt::spawn({
        let (log, is_over) = (log.clone(), is_over.clone());
        async move { commit_small(&log, &is_over).await }
    });
    rt::sleep(Duration::from_secs(5)).await;
    let begun = Instant::now();
    let upto = log.borrow_mut().begin_snapshot()?;
    let (plan, sealed) = loop {
        let plan = match log.borrow_mut().plan_snapshot(upto, root.child("snapshot")) {
            Err(corelog_storage::Error::Busy) => None,
            other => other?,
        };
        match plan {
            Some(plan) => break (plan, begun.elapsed()),
            None => chore_or_wait(log).await?,
        }
    };
    let done = plan.run().await;
    let made = log.borrow_mut().complete_chore(done, now())?;
    let took = begun.elapsed();
    rt::sleep(Duration::from_secs(5)).await;
    *is_over.borrow_mut() = true;
    let acks = acks.await?;
    let Chore::Snapshotted {
        log_start,
        end,
        chain,
        segments,
        bytes,
    } = made
    else {
        return Err("a snapshot was planned".into());
    };
    let window = begun - WINDOW..begun + took + WINDOW;
    let (near, far): (Vec<_>, Vec<_>) = acks.iter().partition(|(at, _)| window.contains(at));
    println!(
        "snapshot {took:?}, of which {sealed:?} until sealed: {segments} segments, {bytes} bytes"
    );
    println!("acks near it     {}", quantiles(near));
    println!("acks elsewhere   {}", quantiles(far));
    Ok(Partition {
        partition: PartitionId::new(0),
        log_start,
        end,
        chain: Some(chain),
        bytes,
        segments: segments as u64,
    })
}

async fn chore_or_wait(log: &RefCell<Log<UringDir>>) -> Result<(), Failure> {
    let plan = log.borrow_mut().plan_chore(now(), false);
    let Some(plan) = plan else {
        rt::sleep(Duration::from_millis(1)).await;
        return Ok(());
    };
    let done = plan.run().await;
    log.borrow_mut().complete_chore(done, now())?;
    Ok(())
}

/// Commits a group of 4 KiB after the other. Returns when each began, and how long it took.
async fn commit_small(
    log: &RefCell<Log<UringDir>>,
    is_over: &RefCell<bool>,
) -> Result<Vec<(Instant, Duration)>, Failure> {
    let batch = batch(4 << 10)?;
    let mut acks = Vec::new();
    while !*is_over.borrow() {
        let begun = Instant::now();
        log.borrow_mut().append(&batch, now())?;
        let plan = loop {
            if let Some(plan) = log.borrow_mut().plan_flush() {
                break plan;
            }
            rt::sleep(Duration::from_micros(50)).await;
        };
        let done = plan.run().await;
        log.borrow_mut().complete_flush(done, now())?;
        acks.push((begun, begun.elapsed()));
    }
    Ok(acks)
}

fn quantiles<'a>(acks: impl IntoIterator<Item = &'a (Instant, Duration)>) -> String {
    let mut took: Vec<_> = acks.into_iter().map(|(_, took)| *took).collect();
    took.sort_unstable();
    let at = |thousandths: usize| {
        let index = took.len() * thousandths / 1000;
        took.get(index.min(took.len().saturating_sub(1))).copied()
    };
    format!(
        "{} groups: p50 {:?}, p99 {:?}, p99.9 {:?}, max {:?}",
        took.len(),
        at(500).unwrap_or_default(),
        at(990).unwrap_or_default(),
        at(999).unwrap_or_default(),
        took.last().copied().unwrap_or_default()
    )
}

/// Reads every store of `dir` front to back.
async fn read_all(dir: &UringDir, bytes: u64) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let mut read = 0;
    for entry in dir
        .list()
        .await?
        .iter()
        .filter(|entry| entry.name.ends_with(".log"))
    {
        let file = Rc::new(dir.open(&entry.name, Open::Read).await?);
        let pieces: Vec<_> = (0..entry.bytes).step_by(PIECE_BYTES).collect();
        for pieces in pieces.chunks(4) {
            let tasks: Vec<_> = pieces
                .iter()
                .map(|position| {
                    let (file, position) = (file.clone(), *position);
                    rt::spawn(async move { file.read_at(position, PIECE_BYTES).await })
                })
                .collect();
            for task in tasks {
                read += task.await?.as_ref().len() as u64;
            }
        }
        file.close().await?;
    }
    assert_eq!(read, bytes, "all was read");
    Ok(begun.elapsed())
}

/// Writes so many bytes to new files of 128 MiB, and syncs each.
async fn write_all(dir: &UringDir, bytes: u64) -> Result<Duration, Failure> {
    dir.create_all().await?;
    let mut piece = dir.alloc(PIECE_BYTES);
    piece.as_mut_slice().fill(0x5a);
    let piece = Rc::new(piece);
    let begun = Instant::now();
    for number in 0..bytes.div_ceil(FILE_BYTES) {
        let length = FILE_BYTES
            .min(bytes - number * FILE_BYTES)
            .next_multiple_of(PIECE_BYTES as u64);
        let file = Rc::new(dir.open(&number.to_string(), Open::Create).await?);
        file.allocate(0..length, Space::Reserved).await?;
        let pieces: Vec<_> = (0..length).step_by(PIECE_BYTES).collect();
        for pieces in pieces.chunks(4) {
            let tasks: Vec<_> = pieces
                .iter()
                .map(|position| {
                    let (file, piece, position) = (file.clone(), piece.clone(), *position);
                    rt::spawn(async move { file.write_at(piece, position).await })
                })
                .collect();
            for task in tasks {
                task.await?;
            }
        }
        file.sync_all().await?;
        file.close().await?;
    }
    let took = begun.elapsed();
    dir.remove_tree().await?;
    Ok(took)
}

/// One record with a value of so many bytes that no codec and no disk shrinks.
fn batch(bytes: usize) -> Result<Vec<u8>, Failure> {
    let value: Vec<u8> = (0..bytes as u64)
        .map(|number| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    let mut builder = Builder::new(Codec::None);
    builder.append(now(), None, Some(&value), &[])?;
    Ok(builder.build()?)
}

fn now() -> Timestamp {
    rt::wall_clock()
}

/// Around the snapshot, what a group takes is its doing.
const WINDOW: Duration = Duration::from_millis(100);
const PIECE_BYTES: usize = 1 << 20;
const FILE_BYTES: u64 = 128 << 20;
