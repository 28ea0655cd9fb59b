//! The yardstick: the least that a node has to do, on the node's runtime, and nothing else.
//!
//! ```text
//! bare serve FOLDER PARTITIONS BYTES   prints `ready ADDRESS` and serves until it is killed
//! bare sync FOLDER SECONDS             writes 4 KiB and syncs, one at a time; prints p50 and p99
//! ```
//!
//! Groups of at least BYTES are written into space that was allocated, smaller ones into space that was
//! also zeroed (0: all into the former; a large number: all into the latter).
//!
//! A frame is `u32 body bytes · u32 partition · u32 CRC-32C of the body · u32 kind` (little-endian)
//! and the body. Each but those of a reader is answered by eight bytes, in order:
//!
//! | kind          | what is done with it                                                       |
//! |---------------|----------------------------------------------------------------------------|
//! | 0 accepted    | checked, copied into an aligned buffer, answered; a group writes and syncs |
//! | 1 durable     | the same, answered once its group was written and synced                   |
//! | 2 echo        | answered                                                                   |
//! | 3 read memory | the body is a u64: so many bytes of one block are sent                     |
//! | 4 read file   | the same from the start of the partition's file, by large direct reads     |
//!
//! `connection` receives, checks, answers and sends, `group` copies, writes and syncs, `space` makes room ahead of it. What
//! is here starts them; `sync` is the second command.
//! There are no records, topics, offsets, indexes, limits or recovery: it shows room, it is no product.
//! Processor, timer, heartbeats, allocator, groups and space are a node's (`crates/node/src/rt`,
//! `crates/storage/src/log/space.rs`); a node's slices are not: the timer is always long.

mod connection;
mod group;
mod space;
mod sync;

use std::io::{Error, Result, Write as _};
use std::os::fd::{FromRawFd as _, IntoRawFd as _};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use glommio::io::OpenOptions;
use glommio::net::TcpListener;
use glommio::timer::sleep;
use glommio::{LocalExecutorBuilder, Placement, PoolPlacement, spawn_local};
use group::Partition;
use rustix::net::sockopt::set_tcp_congestion;
use rustix::process::{Signal, getpid, kill_process};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let executor = LocalExecutorBuilder::new(Placement::Fixed(0))
        .io_memory(8 << 20)
        .ring_depth(128)
        .preempt_timer(Duration::from_millis(5))
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
        .make()?;
    // Interrupts the main thread's sleep, should all of its heartbeats have expired at once.
    signal_hook::flag::register(signal_hook::consts::SIGURG, Arc::default())?;
    thread::spawn(|| {
        loop {
            thread::sleep(Duration::from_millis(50));
            // A process may always send a signal to itself.
            let _ = kill_process(getpid(), Signal::URG);
        }
    });
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
        match words[..] {
            ["serve", folder, count, bytes] => serve(folder, number(count)?, number(bytes)?).await,
            ["sync", folder, time] => sync::measure(folder, number(time)?).await,
            _ => Err(Error::other(
                "serve FOLDER PARTITIONS BYTES | sync FOLDER SECONDS",
            )),
        }
    })
}

fn number(word: &str) -> Result<usize> {
    word.parse().map_err(Error::other)
}

/// Serves partitions on a free port, for ever.
async fn serve(folder: &str, count: usize, reserved_bytes_min: usize) -> Result<()> {
    learn_device(folder).await?;
    let mut partitions = Vec::new();
    for number in 0..count {
        let partition = Partition::open(format!("{folder}/{number}")).await?;
        spawn_local(group::commit(Rc::clone(&partition), reserved_bytes_min)).detach();
        partitions.push(partition);
    }
    let partitions: Rc<[_]> = partitions.into();
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    // As a node's: nothing paces what stays on this machine. Connections begin with what their listener has.
    set_tcp_congestion(&listener, "reno")?;
    println!("ready {}", listener.local_addr()?);
    // SAFETY: nobody else has the descriptor.
    let listener = unsafe { TcpListener::from_raw_fd(listener.into_raw_fd()) };
    loop {
        let stream = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A client that goes away is no error.
        spawn_local(connection::converse(stream, Rc::clone(&partitions))).detach();
    }
}

/// The runtime asks the first file that it opens whether its device can be polled, and takes the empty
/// read of an empty file for a yes: it gets one with bytes.
async fn learn_device(folder: &str) -> Result<()> {
    let path = format!("{folder}/sample");
    let mut file = std::fs::File::create(&path)?;
    file.write_all(&[1; group::BLOCK])?;
    file.sync_all()?;
    OpenOptions::new()
        .read(true)
        .dma_open(&path)
        .await?
        .close()
        .await?;
    std::fs::remove_file(path)
}
