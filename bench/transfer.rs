//! Files of segments as a node sends them, beside the barest sender there is.
//!
//! ```text
//! transfer compare SERVER PID TOPIC FILES SCRATCH [rounds=5] [cold] [check]
//!     by turns: the bare sender, the node; one receiver, which writes around the page cache and syncs
//! transfer load bare|node SERVER PID TOPIC FILES SCRATCH seconds=N [rate=BYTES] [check]
//!     the same bytes at least once and again and again, for whoever measures something else beside it
//! transfer send RATE FILE...
//!     the bare sender: tells its port, takes one connection, sends the files by sendfile(2)
//! ```
//!
//! FILES is the directory of partition 0 of the topic, PID the server's process. `cold` drops the page
//! cache before each turn (as root), `check` has the receiver verify every batch and the chain.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement that fails says where, and that is all"
)]

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use corelog_protocol::frame::{CorrelationId, Decoder, PREFIX_BYTES, Peek};
use corelog_protocol::message::segments::Sealed;
use corelog_protocol::message::{Call, copy_segments, hello, metadata, segments};
use corelog_protocol::{answer, limits, request};
use corelog_record::batch::{View, split_first};
use corelog_record::{HistoryId, Offset, PartitionId, Position, TopicId, TopicName};
use corelog_storage::disk::Buf;
use corelog_storage::disk::buf::AlignedBuf;
use nix::sys::sendfile::sendfile64;

const PIECE_BYTES: usize = 1 << 20;
const MIB: f64 = 1_048_576.0;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["send", rate, files @ ..] => send(rate.parse().unwrap(), files),
        ["compare", server, pid, topic, files, scratch, how @ ..] => {
            compare(&Bench::new(server, pid, topic, files, scratch), how);
        }
        ["load", who, server, pid, topic, files, scratch, how @ ..] => {
            load(who, &Bench::new(server, pid, topic, files, scratch), how);
        }
        _ => panic!("see the first lines of bench/transfer.rs"),
    }
}

/// The partition whose files are sent.
struct Bench {
    server: String,
    pid: u32,
    topic: TopicName,
    id: TopicId,
    history: HistoryId,
    sealed: Vec<Sealed>,
    files: PathBuf,
    scratch: PathBuf,
}

/// What one turn took.
struct Turn {
    bytes: u64,
    elapsed: Duration,
    /// Of the sender.
    user: Duration,
}

impl Bench {
    fn new(server: &str, pid: &str, topic: &str, files: &str, scratch: &str) -> Self {
        let topic = TopicName::new(topic).unwrap();
        let mut peer = Peer::connect(server);
        let topics = Some(vec![topic.clone()]);
        let id = peer.ask(&metadata::Request { topics }).topics[0].id;
        let told = peer.ask(&segments::Request {
            topic: topic.clone(),
            id,
            partition: PartitionId::new(0),
            from: Offset::ZERO,
        });
        Self {
            server: server.to_owned(),
            pid: pid.parse().unwrap(),
            topic,
            id,
            history: told.history,
            sealed: told.sealed,
            files: files.into(),
            scratch: scratch.into(),
        }
    }

    /// Receives all from the bare sender.
    fn bare(&self, rate: u64, is_checked: bool) -> Turn {
        let name = |sealed: &Sealed| format!("{:020}.log", sealed.base.get());
        let paths = self
            .sealed
            .iter()
            .map(|sealed| self.files.join(name(sealed)));
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("send").arg(rate.to_string()).args(paths);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        let mut told = BufReader::new(child.stdout.take().unwrap());
        told.read_line(&mut port).unwrap();
        let begun = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", port.trim().parse().unwrap())).unwrap();
        self.receive(&mut stream, is_checked);
        let elapsed = begun.elapsed();
        drop(stream);
        let user = user_of_ended(&mut child, told);
        self.turn(elapsed, user)
    }

    /// Receives all from the node.
    fn node(&self, is_checked: bool) -> Turn {
        let mut peer = Peer::connect(&self.server);
        let part = |sealed: &Sealed| copy_segments::Part {
            segment: sealed.base,
            generation: sealed.generation,
            position: Position::ZERO,
            bytes: None,
        };
        let before = user_of(self.pid);
        let begun = Instant::now();
        peer.send(&copy_segments::Request {
            topic: self.topic.clone(),
            id: self.id,
            partition: PartitionId::new(0),
            history: self.history,
            parts: self.sealed.iter().map(part).collect(),
            piece_bytes_max: limits::COPY_PIECE_BYTES_MAX,
        });
        self.receive(&mut Bodies(peer.stream, 0), is_checked);
        let elapsed = begun.elapsed();
        self.turn(elapsed, user_of(self.pid).saturating_sub(before))
    }

    fn turn(&self, elapsed: Duration, user: Duration) -> Turn {
        let bytes = self.sealed.iter().map(|sealed| sealed.digest.bytes).sum();
        Turn {
            bytes,
            elapsed,
            user,
        }
    }

    /// Receives every segment into a file, written around the page cache and synced.
    fn receive(&self, from: &mut impl Read, is_checked: bool) {
        let mut piece = AlignedBuf::zeroed(PIECE_BYTES);
        for sealed in &self.sealed {
            let path = self.scratch.join(sealed.base.get().to_string());
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            let file = options
                .custom_flags(nix::libc::O_DIRECT)
                .open(&path)
                .unwrap();
            let bytes = sealed.digest.bytes;
            let whole = bytes.next_multiple_of(4096);
            let flags = nix::fcntl::FallocateFlags::empty();
            nix::fcntl::fallocate(&file, flags, 0, i64::try_from(whole).unwrap()).unwrap();
            let (mut position, mut chain, mut carry) = (0, sealed.digest.chain_base, Vec::new());
            while position < bytes {
                let wanted = usize::try_from(bytes - position).unwrap().min(PIECE_BYTES);
                from.read_exact(&mut piece.as_mut_slice()[..wanted])
                    .unwrap();
                if is_checked {
                    carry.extend_from_slice(&piece.as_slice()[..wanted]);
                    let mut rest = carry.as_slice();
                    while let Ok(Some((batch, behind))) = split_first(rest) {
                        let view = View::verify(batch).unwrap();
                        chain = chain.extend(view.header_bytes());
                        rest = behind;
                    }
                    let used = carry.len() - rest.len();
                    carry.drain(..used);
                }
                let written = &piece.as_slice()[..wanted.next_multiple_of(4096)];
                file.write_all_at(written, position).unwrap();
                position += wanted as u64;
            }
            assert!(!is_checked || chain == sealed.digest.chain_end);
            file.set_len(bytes).unwrap();
            file.sync_all().unwrap();
        }
    }

    fn clear(&self) {
        for sealed in &self.sealed {
            std::fs::remove_file(self.scratch.join(sealed.base.get().to_string())).unwrap();
        }
    }
}

fn compare(bench: &Bench, how: &[&str]) {
    let rounds = value(how, "rounds=").unwrap_or(5);
    let (is_cold, is_checked) = (how.contains(&"cold"), how.contains(&"check"));
    println!("| round | bare sender | its user CPU | node | its user CPU | node / bare |");
    println!("|---|---|---|---|---|---|");
    let mut ratios = Vec::new();
    // The first one warms up, or creates the files' blocks: it does not count.
    for round in 0..=rounds {
        let turn = |turn: &dyn Fn() -> Turn| {
            if is_cold {
                std::fs::write("/proc/sys/vm/drop_caches", "3").expect("root");
            }
            let taken = turn();
            bench.clear();
            taken
        };
        let bare = turn(&|| bench.bare(0, is_checked));
        let node = turn(&|| bench.node(is_checked));
        if round > 0 {
            let ratio = node.rate() / bare.rate();
            ratios.push(ratio);
            println!("| {round} | {bare} | {node} | {:.0} % |", ratio * 100.0);
        }
    }
    println!("| median | | | | | {:.0} % |", median(ratios) * 100.0);
}

/// Of an even number the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = (values.len() - 1) / 2;
    (values[middle] + values[values.len() / 2]) / 2.0
}

fn load(who: &str, bench: &Bench, how: &[&str]) {
    let until = Instant::now() + Duration::from_secs(value(how, "seconds=").unwrap());
    let rate = value(how, "rate=").unwrap_or(0);
    let is_checked = how.contains(&"check");
    let mut all = Turn {
        bytes: 0,
        elapsed: Duration::ZERO,
        user: Duration::ZERO,
    };
    loop {
        let turn = match who {
            "bare" => bench.bare(rate, is_checked),
            _ => bench.node(is_checked),
        };
        bench.clear();
        // Without what lies between turns: a sender's start, and the removal of what was received.
        all.bytes += turn.bytes;
        all.elapsed += turn.elapsed;
        if until <= Instant::now() {
            break;
        }
    }
    println!("{:.0} MiB/s", all.rate());
}

/// The barest sender, as fast as it may.
fn send(rate: u64, files: &[&str]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    let (stream, _) = listener.accept().unwrap();
    let (begun, mut sent) = (Instant::now(), 0_u64);
    for path in files {
        let file = File::open(path).unwrap();
        let (mut position, end) = (0, i64::try_from(file.metadata().unwrap().len()).unwrap());
        while position < end {
            let due = sent.saturating_mul(1_000_000).checked_div(rate);
            let due = Duration::from_micros(due.unwrap_or(0));
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            sent += sendfile64(&stream, &file, Some(&mut position), PIECE_BYTES).unwrap() as u64;
        }
    }
    // The receiver closes when it has all.
    let _ = (&stream).read(&mut [0]);
    println!("{}", user_of(std::process::id()).as_micros());
}

/// A connection that has said hello.
struct Peer {
    stream: TcpStream,
}

impl Peer {
    fn connect(server: &str) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut peer = Self { stream };
        peer.ask(&hello::Request {
            versions: vec![1],
            client: "transfer".into(),
        });
        peer
    }

    fn send<R: Call>(&mut self, what: &R) {
        let mut frame = Vec::new();
        request::encode(CorrelationId::new(1), what, 0, &mut frame).unwrap();
        self.stream.write_all(&frame).unwrap();
    }

    fn ask<R: Call>(&mut self, what: &R) -> R::Answer {
        self.send(what);
        let decoder = Decoder::answers(limits::FRAME_BYTES_MAX);
        let mut bytes = Vec::new();
        loop {
            match decoder.peek(&bytes).unwrap() {
                Peek::Frame(frame) => return answer::decode::<R>(&frame).unwrap().unwrap(),
                Peek::Need(count) => {
                    let start = bytes.len();
                    bytes.resize(count, 0);
                    self.stream.read_exact(&mut bytes[start..]).unwrap();
                }
            }
        }
    }
}

/// The bodies of answers, and how many bytes of the present one are left.
struct Bodies(TcpStream, usize);

impl Read for Bodies {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.1 == 0 {
            let mut prefix = [0; PREFIX_BYTES];
            self.0.read_exact(&mut prefix)?;
            let number = |at: usize| {
                let bytes = prefix[at..at + 4].try_into().unwrap();
                u32::from_le_bytes(bytes) as usize
            };
            let mut head = vec![0; number(12)];
            self.0.read_exact(&mut head)?;
            self.1 = number(0) + 4 - PREFIX_BYTES - head.len();
            assert!(self.1 > 0, "{}", String::from_utf8_lossy(&head));
        }
        let wanted = into.len().min(self.1);
        let read = self.0.read(&mut into[..wanted])?;
        self.1 -= read;
        Ok(read)
    }
}

impl Turn {
    fn rate(&self) -> f64 {
        self.bytes as f64 / MIB / self.elapsed.as_secs_f64()
    }
}

impl std::fmt::Display for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let per_gib = self.user.as_secs_f64() / (self.bytes as f64 / MIB / 1024.0);
        write!(f, "{:.0} MiB/s | {per_gib:.3} s/GiB", self.rate())
    }
}

/// Processor time that a process took outside the kernel.
fn user_of(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    let stat = stat.unwrap();
    let behind_name = stat.rsplit_once(") ").unwrap().1;
    let ticks: u64 = behind_name.split(' ').nth(11).unwrap().parse().unwrap();
    Duration::from_millis(ticks * 10)
}

fn user_of_ended(child: &mut Child, mut told: impl BufRead) -> Duration {
    let mut micros = String::new();
    told.read_line(&mut micros).unwrap();
    child.wait().unwrap();
    Duration::from_micros(micros.trim().parse().unwrap())
}

fn value(how: &[&str], key: &str) -> Option<u64> {
    let found = how.iter().find_map(|word| word.strip_prefix(key));
    found.map(|value| value.parse().unwrap())
}
