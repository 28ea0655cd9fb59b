//! The yardstick: the least that a node has to do, on the node's runtime, and nothing else.
//!
//! ```text
//! bare serve FOLDER PARTITIONS   prints `ready ADDRESS` and serves until it is killed
//! bare sync FOLDER SECONDS       writes 4 KiB and syncs, one at a time; prints p50 and p99
//! ```
//!
//! A frame is `u32 body bytes · u32 partition · u32 CRC-32C of the body · u32 kind` (little-endian)
//! and the body. Each but those of a reader is answered by eight bytes, in order:
//!
//! | kind          | what is done with it                                                       |
//! |---------------|----------------------------------------------------------------------------|
//! | 0 accepted    | checked, copied into an aligned buffer, answered; the next group writes it |
//! | 1 durable     | the same, answered once its group was written and synced                   |
//! | 2 echo        | answered                                                                   |
//! | 3 read memory | the body is a u64: so many bytes of one block are sent                     |
//! | 4 read file   | the same from the start of the partition's file, by large direct reads     |
//!
//! There are no records, topics, offsets, indexes, limits or recovery: it shows room, it is no product.
//! Processor, timer, heartbeats, groups and space are a node's (`crates/node/src/rt`,
//! `crates/storage/src/log/space.rs`).

mod group;
mod sync;

use std::collections::VecDeque;
use std::io::{Error, Result};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::io::split;
use futures_lite::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::sync::Semaphore;
use glommio::{
    LocalExecutorBuilder, Placement, PoolPlacement, executor, spawn_local, timer::sleep,
};
use group::Partition;

const HEADER_BYTES: usize = 16;
/// What is received at once while no frame has begun: many small ones, or the start of a large one.
const RECEIVE_BYTES: usize = 64 << 10;
const READ_BYTES: usize = 1 << 20;
const READS_AHEAD: usize = 4;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, folder, number] = &arguments[..] else {
        return Err(Error::other(
            "bare serve FOLDER PARTITIONS | sync FOLDER SECONDS",
        ));
    };
    let number: u32 = number.parse().map_err(Error::other)?;
    let executor = LocalExecutorBuilder::new(Placement::Fixed(0))
        .io_memory(1 << 20)
        .ring_depth(128)
        .preempt_timer(Duration::from_millis(1))
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
        .make()?;
    executor.run(async {
        // Eight heartbeats, without which a core may sleep on runnable tasks.
        for beat in 0..8 {
            spawn_local(async move {
                sleep(Duration::from_millis(5 * beat + 1)).await;
                loop {
                    sleep(Duration::from_millis(40)).await;
                }
            })
            .detach();
        }
        match mode.as_str() {
            "serve" => serve(folder, number).await,
            _ => sync::measure(folder, Duration::from_secs(number.into())).await,
        }
    })
}

async fn serve(folder: &str, count: u32) -> Result<()> {
    let mut partitions = Vec::new();
    for number in 0..count {
        let partition = Partition::open(format!("{folder}/{number}")).await?;
        spawn_local(group::commit(Rc::clone(&partition))).detach();
        partitions.push(partition);
    }
    let partitions: Rc<[_]> = partitions.into();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("ready {}", listener.local_addr()?);
    loop {
        let stream = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A client that goes away is no error.
        spawn_local(converse(stream, Rc::clone(&partitions))).detach();
    }
}

async fn converse(stream: TcpStream, partitions: Rc<[Rc<Partition>]>) -> Result<()> {
    let (mut reader, writer) = split(stream);
    let (mut writer, acks) = (Some(writer), Rc::new(Semaphore::new(0)));
    let (mut buffer, mut filled) = (vec![0; group::BYTES], 0);
    loop {
        let mut start = 0;
        // A large frame is received to its end and no further, so that little has to be moved.
        let missing = loop {
            if filled < start + HEADER_BYTES {
                break RECEIVE_BYTES;
            }
            let field = |at| {
                buffer[start + at..]
                    .first_chunk()
                    .copied()
                    .map_or(0, u32::from_le_bytes)
            };
            let end = start + HEADER_BYTES + field(0) as usize;
            if filled < end {
                break end - filled;
            }
            let body = &buffer[start + HEADER_BYTES..end];
            let (partition, crc, kind) = (&partitions[field(4) as usize], field(8), field(12));
            start = end;
            if kind > 2 {
                let total = u64::from_le_bytes(body.try_into().map_err(Error::other)?);
                let writer = writer
                    .take()
                    .ok_or(Error::other("a reader does nothing else"))?;
                send(writer, (kind == 4).then_some(partition), total).await?;
                continue;
            }
            if let Some(writer) = writer.take() {
                spawn_local(answer(writer, Rc::clone(&acks))).detach();
            }
            if kind < 2 {
                assert_eq!(crc32c::crc32c(body), crc, "a body is damaged");
                partition.append(body, (kind == 1).then_some(&acks)).await;
            }
            if kind != 1 {
                acks.signal(1);
            }
        };
        buffer.copy_within(start..filled, 0);
        filled -= start;
        let end = (filled + missing).min(buffer.len());
        match reader.read(&mut buffer[filled..end]).await? {
            0 => return Ok(acks.close()),
            received => filled += received,
        }
        executor().yield_if_needed().await;
    }
}

/// Sends all that is to be answered in one write.
async fn answer(mut writer: impl AsyncWrite + Unpin, acks: Rc<Semaphore>) -> Result<()> {
    while acks.acquire(1).await.is_ok() {
        let more = acks.available();
        let _ = acks.try_acquire(more);
        writer.write_all(&vec![0; 8 * (1 + more as usize)]).await?;
    }
    Ok(())
}

/// Sends `total` bytes of the partition's file, or of one block in memory.
async fn send(
    mut writer: impl AsyncWrite + Unpin,
    from: Option<&Rc<Partition>>,
    total: u64,
) -> Result<()> {
    let block: Vec<u8> = (0..READ_BYTES).map(|at| (at * at >> 7) as u8).collect();
    let positions: Vec<u64> = (0..total).step_by(READ_BYTES).collect();
    let (mut to_read, mut ahead) = (positions.iter(), VecDeque::new());
    for position in &positions {
        let bytes = READ_BYTES.min((total - position) as usize);
        let Some(partition) = from else {
            writer.write_all(&block[..bytes]).await?;
            executor().yield_if_needed().await;
            continue;
        };
        while ahead.len() < READS_AHEAD
            && let Some(&next) = to_read.next()
        {
            let partition = Rc::clone(partition);
            let read = async move { partition.file.read_at_aligned(next, READ_BYTES).await };
            ahead.push_back(spawn_local(read));
        }
        if let Some(read) = ahead.pop_front() {
            writer.write_all(&read.await?[..bytes]).await?;
        }
    }
    Ok(())
}
