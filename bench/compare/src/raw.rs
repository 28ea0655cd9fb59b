//! The machine's raw limits: what the disk and the loopback do without any of the contenders.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use rustix::fs::OFlags;
use serde_json::Value;

use crate::process::{Process, free_port};

/// Limits by name.
pub type Limits = BTreeMap<&'static str, f64>;

pub const LOOPBACK: &str = "loopback MiB/s";
pub const LOOPBACK_ZERO_COPY: &str = "loopback, zero copy MiB/s";
pub const WRITE: &str = "direct write MiB/s";
pub const READ: &str = "direct read MiB/s";
pub const SYNC_P50: &str = "write + fdatasync p50 µs";
pub const SYNC_P99: &str = "write + fdatasync p99 µs";
pub const BARE_SYNC_P50: &str = "the same on the node's runtime p50 µs";
pub const BARE_SYNC_P99: &str = "the same on the node's runtime p99 µs";
pub const BARE_DURABLE_P50: &str = "one durable write on the node's runtime p50 µs";
pub const BARE_DURABLE_P99: &str = "one durable write on the node's runtime p99 µs";

/// Measures all of them; `bytes` are what is written and read, and are removed again.
pub fn measure(scratch: &Path, bare: &Path, bytes: u64, seconds: u64) -> Result<Limits> {
    let (p50, p99) = sync(scratch, Duration::from_secs(seconds))?;
    let mut command = Command::new(bare);
    let on_runtime = output(command.arg("sync").arg(scratch).arg(seconds.to_string()))?;
    let on_runtime = |key: &str| on_runtime[key].as_f64().context("bare says no time");
    let limits = Limits::from([
        (WRITE, disk(scratch, "write", bytes)?),
        (READ, disk(scratch, "read", bytes)?),
        (LOOPBACK, loopback(scratch, seconds, &[])?),
        (
            LOOPBACK_ZERO_COPY,
            loopback(scratch, seconds, &["--zerocopy"])?,
        ),
        (SYNC_P50, p50),
        (SYNC_P99, p99),
        (BARE_SYNC_P50, on_runtime("p50_us")?),
        (BARE_SYNC_P99, on_runtime("p99_us")?),
        (BARE_DURABLE_P50, on_runtime("durable_p50_us")?),
        (BARE_DURABLE_P99, on_runtime("durable_p99_us")?),
    ]);
    std::fs::remove_file(scratch.join("fio"))?;
    std::fs::remove_file(scratch.join("sync"))?;
    Ok(limits)
}

/// What is run, for the record.
pub fn commands(bytes: u64, seconds: u64) -> Vec<String> {
    vec![
        format!("fio {}", fio("write", bytes).join(" ")),
        format!("iperf3 --client 127.0.0.1 --congestion reno --time {seconds} [--zerocopy]"),
        format!("bare sync FOLDER {seconds}"),
        "pwrite of 4 KiB over zeroed space (O_DIRECT), fdatasync, one at a time".into(),
    ]
}

fn fio(rw: &str, bytes: u64) -> Vec<String> {
    let line = format!(
        "--name=limit --rw={rw} --size={bytes} --bs=1m --iodepth=8 --direct=1 --ioengine=io_uring \
         --output-format=json"
    );
    line.split_whitespace().map(str::to_owned).collect()
}

fn disk(scratch: &Path, rw: &str, bytes: u64) -> Result<f64> {
    let file = format!("--filename={}", scratch.join("fio").display());
    let out = output(Command::new("fio").args(fio(rw, bytes)).arg(file))?;
    let rate = out["jobs"][0][rw]["bw_bytes"].as_f64();
    Ok(rate.context("fio says no rate")? / f64::from(1 << 20))
}

fn loopback(scratch: &Path, seconds: u64, options: &[&str]) -> Result<f64> {
    let port = free_port()?;
    let arguments = ["--port".to_owned(), port.to_string()];
    let mut command = Command::new("iperf3");
    command.args(["--server", "--one-off"]).args(&arguments);
    let mut server = Process::start(&command, &scratch.join("iperf3.log"))?;
    // A connection would be the one that it serves.
    server.wait_until(|| is_listening(port).then_some(()))?;
    let mut client = Command::new("iperf3");
    client.args([
        "--client",
        "127.0.0.1",
        "--congestion",
        "reno",
        "--json",
        "--time",
    ]);
    client
        .arg(seconds.to_string())
        .args(&arguments)
        .args(options);
    let out = output(&client)?;
    let rate = out["end"]["sum_received"]["bits_per_second"].as_f64();
    Ok(rate.context("iperf3 says no rate")? / 8.0 / f64::from(1 << 20))
}

fn is_listening(port: u16) -> bool {
    const LISTENING: &str = " 0A ";
    let sockets = ["/proc/net/tcp", "/proc/net/tcp6"].map(std::fs::read_to_string);
    let port = format!(":{port:04X} ");
    let is_ours = |line: &str| line.contains(&port) && line.contains(LISTENING);
    sockets
        .iter()
        .flatten()
        .any(|text| text.lines().any(is_ours))
}

/// What a program says, which ends within [`SECONDS_MAX`] or is ended.
fn output(program: &Command) -> Result<Value> {
    let mut command = Command::new("timeout");
    command
        .args(["--foreground", "--kill-after=5", SECONDS_MAX])
        .arg(program.get_program())
        .args(program.get_args());
    let out = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        out.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(serde_json::from_slice(&out.stdout)?)
}

/// The median and the 99th percentile of a write of 4 KiB with its sync, in microseconds.
fn sync(scratch: &Path, time: Duration) -> Result<(f64, f64)> {
    let path = scratch.join("sync");
    std::fs::write(&path, vec![0; SYNC_FILE_BYTES as usize])?;
    let flags = i32::try_from(OFlags::DIRECT.bits())?;
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(flags)
        .open(&path)?;
    file.sync_all()?;
    // A block somewhere within this is aligned.
    let memory = vec![0x5a; 2 * BLOCK_BYTES];
    let aligned = memory.as_ptr().align_offset(BLOCK_BYTES);
    let block = &memory[aligned..aligned + BLOCK_BYTES];
    let mut took_ns = Histogram::<u64>::new_with_bounds(1, TOOK_NS_MAX, 3)?;
    let started = Instant::now();
    while started.elapsed() < time {
        let begun = Instant::now();
        file.write_all_at(block, took_ns.len() * BLOCK_BYTES as u64 % SYNC_FILE_BYTES)?;
        file.sync_data()?;
        took_ns.saturating_record(begun.elapsed().as_nanos() as u64);
    }
    let us = |quantile| took_ns.value_at_quantile(quantile) as f64 / 1e3;
    Ok((us(0.5), us(0.99)))
}

/// Longer than any of the programs takes.
const SECONDS_MAX: &str = "300";
const BLOCK_BYTES: usize = 4096;
const TOOK_NS_MAX: u64 = 60_000_000_000;
const SYNC_FILE_BYTES: u64 = 64 << 20;
