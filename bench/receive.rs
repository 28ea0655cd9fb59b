//! Two ways for segments to come in from a peer that sends them by `sendfile`, by turns:
//!
//! ```text
//! cargo run --release -p corelog-node --features testing --example receive -- DIR SEGMENTS ROUNDS
//! ```
//!
//! - *direct*, as a node does it: into an aligned buffer, verified, written around the page cache, synced;
//! - *splice*: from the socket through a pipe into the page cache, synced, read back and verified.
//!
//! Segments of 128 MiB are made in DIR, which must not exist, and stay in the page cache of the sender. The
//! receiver's processor time is that of its thread.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use corelog_record::batch::{Batches, View};
use corelog_record::{ByteSize, Chain, HistoryId, Timestamp};
use corelog_storage::disk::block_on;
use corelog_storage::disk::std::StdDir;
use corelog_storage::format::edit::Seal;
use corelog_storage::intake::{Intake, Of};
use corelog_storage::log::Options;
use corelog_storage::log::lineage::Began;
use corelog_storage::testing;
use nix::fcntl::{FallocateFlags, SpliceFFlags, fallocate, splice};
use nix::sys::sendfile::sendfile;
use nix::time::{ClockId, clock_gettime};

type Failure = Box<dyn Error + Send + Sync>;

/// The log that is sent.
struct Source {
    address: SocketAddr,
    history: HistoryId,
    seals: Vec<Seal>,
    epochs: Vec<Began>,
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: receive DIR SEGMENTS ROUNDS";
    let dir = PathBuf::from(arguments.next().ok_or(usage)?);
    let segments: u64 = arguments.next().ok_or(usage)?.parse()?;
    let rounds: usize = arguments.next().ok_or(usage)?.parse()?;
    fs::create_dir(&dir)?;
    let source = fill(&dir, segments)?;
    let target = dir.join("target");
    for round in 1..=rounds {
        for (name, way) in [("direct", direct as Way), ("splice", spliced as Way)] {
            fs::create_dir(&target)?;
            let (began, cpu) = (Instant::now(), thread_time()?);
            let mut bytes = 0;
            for number in 0..source.seals.len() {
                way(&source, number, &target)?;
                bytes += source.seals[number].digest.bytes;
            }
            let (took, cpu) = (began.elapsed(), thread_time()?.saturating_sub(cpu));
            let mib = bytes >> 20;
            println!(
                "round {round} {name}: {mib} MiB, {:.0} MiB/s, receiver's CPU {:.2} s/GiB",
                mib as f64 / took.as_secs_f64(),
                cpu.as_secs_f64() / (bytes as f64 / (1 << 30) as f64),
            );
            fs::remove_dir_all(&target)?;
        }
    }
    Ok(())
}

type Way = fn(&Source, usize, &Path) -> Result<(), Failure>;

/// As a node does it.
fn direct(source: &Source, number: usize, target: &Path) -> Result<(), Failure> {
    let mut stream = ask(source, number)?;
    let of = Of {
        history: source.history,
        seal: source.seals[number].clone(),
        generation: 0,
        epochs: source.epochs.clone(),
        interval_bytes: 4_096,
    };
    let now = Timestamp::from_millis(1_700_000_000_000);
    block_on(async {
        let mut intake = Intake::open(&StdDir::new(target), of, now).await?;
        while intake.position() < intake.bytes() {
            let read = stream.read(intake.space())?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            intake.fill(read).await?;
        }
        intake.finish().await?;
        Ok(())
    })
}

/// Through a pipe, and read back.
fn spliced(source: &Source, number: usize, target: &Path) -> Result<(), Failure> {
    let stream = ask(source, number)?;
    let digest = &source.seals[number].digest;
    let path = target.join(format!("{number}.log"));
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).open(path)?;
    let length = i64::try_from(digest.bytes)?;
    fallocate(&file, FallocateFlags::empty(), 0, length)?;
    let (out, into) = nix::unistd::pipe()?;
    nix::fcntl::fcntl(&into, nix::fcntl::FcntlArg::F_SETPIPE_SZ(1 << 20))?;
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_MORE;
    let mut position = 0;
    while position < length {
        let mut left = splice(&stream, None, &into, None, 1 << 20, flags)?;
        if left == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        while left > 0 {
            left -= splice(&out, None, &file, Some(&mut position), left, flags)?;
        }
    }
    file.sync_all()?;
    verify(&file, digest.bytes, digest.chain, digest.end_chain)
}

/// Reads a store in pieces, and verifies its batches and their chain.
fn verify(file: &File, bytes: u64, mut chain: Chain, end: Chain) -> Result<(), Failure> {
    let mut piece = vec![0; 4 << 20];
    let (mut position, mut there) = (0, 0);
    while position < bytes {
        let read = file.read_at(&mut piece[there..], position)?;
        position += read as u64;
        there += read;
        let mut whole = 0;
        for batch in Batches::over(&piece[..there]) {
            let Ok(batch) = batch else { break };
            let view = View::verify(batch)?;
            chain = chain.extend(view.header_bytes());
            whole += batch.len();
        }
        piece.copy_within(whole..there, 0);
        there -= whole;
    }
    match chain == end && there == 0 {
        true => Ok(()),
        false => Err("what came is not what was sent".into()),
    }
}

/// Asks for a segment.
fn ask(source: &Source, number: usize) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect(source.address)?;
    stream.write_all(&u64::try_from(number)?.to_le_bytes())?;
    Ok(stream)
}

/// Makes the segments, and sends them to whoever asks.
fn fill(dir: &Path, segments: u64) -> Result<Source, Failure> {
    let options = Options {
        segment_bytes_max: ByteSize::from_mib(128),
        ..Options::default()
    };
    let now = Timestamp::from_millis(1_700_000_000_000);
    let (mut log, _) = testing::open(&StdDir::new(dir), options, 1, now)?;
    let record = vec![7; 1_000];
    let records = vec![&record[..]; 500];
    let batch = testing::batch(&records, now);
    while log.store_bytes().bytes() < (segments << 27) + (1 << 20) {
        log.append(&batch, now)?;
        testing::flush(&mut log, now)?;
        testing::chore(&mut log, now, false)?;
    }
    testing::settle(&mut log, now)?;
    let seals: Vec<_> = log.sealed().map(|(_, seal)| seal).collect();
    let name = |seal: &Seal| format!("p0/{:020}.log", seal.digest.base.get());
    let paths: Vec<_> = seals.iter().map(|seal| dir.join(name(seal))).collect();
    for path in &paths {
        fs::read(path)?;
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming() {
            if let Err(error) = stream.map_err(Failure::from).and_then(|s| send(s, &paths)) {
                eprintln!("sender: {error}");
            }
        }
    });
    let epochs = log.epochs().iter().map(Began::from).collect();
    let history = log.identity().history;
    Ok(Source {
        address,
        history,
        seals,
        epochs,
    })
}

fn send(mut stream: TcpStream, paths: &[PathBuf]) -> Result<(), Failure> {
    let mut number = [0; 8];
    stream.read_exact(&mut number)?;
    let path = &paths[usize::try_from(u64::from_le_bytes(number))?];
    let file = File::open(path)?;
    let (mut position, end) = (0, i64::try_from(file.metadata()?.len())?);
    while position < end {
        sendfile(&stream, &file, Some(&mut position), 4 << 20)?;
    }
    Ok(())
}

/// Processor time of this thread.
fn thread_time() -> Result<Duration, Failure> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}
