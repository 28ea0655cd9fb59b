//! A whole node on a temporary directory, talked to over raw sockets.
#![allow(clippy::expect_used, clippy::result_large_err, reason = "a test may")]

mod ahead;
mod client;
mod copy;
mod fairness;
mod idle;
mod kept;
mod leave;
mod liars;
mod limits;
mod load;
mod produce_and_fetch;
mod promises;
mod quarantine;
mod refusals;
mod segments;

use std::process::Command;
use std::time::{Duration, Instant};

use corelog_node::metrics::CoreSnapshot;
use corelog_node::{Node, NodeConfig};

/// The server's own: what another one keeps of memory that was given back is not what is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A node of two cores on free ports of loopback.
fn start(dir: &tempfile::TempDir) -> Node {
    start_with(dir, |_| {})
}

fn start_with(dir: &tempfile::TempDir, adjust: impl FnOnce(&mut NodeConfig)) -> Node {
    let mut config = NodeConfig::new(dir.path());
    config.listen.set_port(0);
    config.cores = 2;
    config.stop_timeout = Duration::from_secs(2);
    adjust(&mut config);
    Node::start(config).expect("the node starts")
}

/// A node of one core that keeps so many bytes of records on disk in memory, too.
fn keeping(dir: &tempfile::TempDir, tail_memory: usize) -> Node {
    start_with(dir, |config| {
        config.cores = 1;
        config.tail_memory = tail_memory;
    })
}

/// How often a node of one core has read ahead.
fn reads_ahead(node: &Node) -> u64 {
    node.handle().counters()[0].reads_ahead_total
}

/// What the cores of a node tell in all.
fn sum(node: &Node, of: impl Fn(&CoreSnapshot) -> u64) -> u64 {
    node.handle().counters().iter().map(of).sum()
}

/// A directory on a file system that a node can serve from.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the test")
}

fn wait_until(condition: impl FnMut() -> bool) {
    let is_so = comes_within(Duration::from_secs(60), condition);
    assert!(is_so, "it never came to that");
}

/// Looks again and again, and leaves the processors to the node between.
fn comes_within(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !condition() {
        if begun.elapsed() > time {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    true
}

/// Runs an ignored test in a process of its own, for what only a process has.
fn run_apart(test: &str) {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", "--ignored", test]);
    // Else what is freed stays in the process for a second: so much more as the machine is fast.
    child.env("MIMALLOC_PURGE_DELAY", "0");
    let told = child.output();
    let told = told.expect("it runs");
    let text = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

/// Memory of this process.
fn resident_bytes() -> usize {
    status_bytes("VmRSS:")
}

/// The most that it has taken so far.
fn resident_bytes_most() -> usize {
    status_bytes("VmHWM:")
}

fn status_bytes(of: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix(of));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.expect("a size").parse::<usize>().expect("a number") << 10
}
