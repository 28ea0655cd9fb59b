//! What a figure depends on beside the programs: the machine, its kernel, its disk, who else is on it.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use memmap2::{Advice, MmapMut};
use serde_json::{Value, json};

use crate::Options;

/// The machine as it is, and which programs run on it.
pub fn describe(options: &Options) -> Value {
    let scratch = options.scratch.to_string_lossy();
    let corelog = options.corelog.to_string_lossy();
    json!({
        "date": said(&["date", "-u", "+%FT%TZ"]),
        "commit": said(&["git", "describe", "--always", "--dirty"]),
        "node": {
            "is_of_commit": options.built,
            "version": said(&[&corelog, "--version"]),
            "sha256": said(&["sha256sum", &corelog]).split(' ').next(),
        },
        "kernel": said(&["uname", "-sr"]),
        "processor": line_of("/proc/cpuinfo", "model name"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": line_of("/proc/meminfo", "MemTotal"),
        "file_system": said(&["df", "--output=source,fstype,size", &scratch])
            .lines()
            .last()
            .unwrap_or_default(),
        "disks": disks(),
        "congestion_control": read(CONGESTION_CONTROL).trim(),
        "fio": said(&["fio", "--version"]),
        "iperf3": said(&["iperf3", "--version"]).lines().next().unwrap_or_default(),
        "rustc": said(&["rustc", "--version"]),
    })
}

/// Which programs were measured: a version alone does not say of which commit a build is.
pub fn programs(machine: &Value) -> String {
    let node = &machine["node"];
    let said = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = match node["is_of_commit"].as_bool() {
        Some(true) => "built of it",
        _ => "**another build**",
    };
    let (commit, version, hash) = (
        said(&machine["commit"]),
        said(&node["version"]),
        said(&node["sha256"]),
    );
    let hash = hash.get(..HASH_DIGITS).unwrap_or_default();
    format!("harness of commit {commit}; the node is {of}: {version}, SHA-256 {hash}…")
}

/// So many of a hash tell builds apart.
const HASH_DIGITS: usize = 12;

/// Checks that nothing paces what peers send over the loopback: they take what the system has, where a node's sockets, its
/// client's and the yardstick's are told.
///
/// # Errors
/// If something does.
pub fn check_unpaced() -> Result<()> {
    let control = read(CONGESTION_CONTROL);
    let control = control.trim();
    ensure!(
        !is_paced(control),
        "{control} paces what peers send, also within a machine: \
         sysctl -w net.ipv4.tcp_congestion_control=cubic"
    );
    Ok(())
}

fn is_paced(control: &str) -> bool {
    control.starts_with("bbr")
}

const CONGESTION_CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// Touches memory in huge pages and gives it back, so that what a server takes is not what a virtual
/// machine has to ask its host for: that can take ten times as long as all that is measured, and whoever
/// comes later in a round would have it easier.
///
/// # Errors
/// If there is not that much.
pub fn warm_memory() -> Result<()> {
    let mut memory = MmapMut::map_anon(WARM_BYTES)?;
    memory.advise(Advice::HugePage)?;
    for page in memory.iter_mut().step_by(4096) {
        *page = 1;
    }
    std::hint::black_box(&memory);
    Ok(())
}

/// As much as a workload writes, and what a server has beside.
const WARM_BYTES: usize = 1536 << 20;

/// Processes that ran or wanted to, averaged over the last minute.
pub fn load_average() -> f64 {
    let text = read("/proc/loadavg");
    let first = text.split(' ').next().and_then(|word| word.parse().ok());
    first.unwrap_or(f64::NAN)
}

/// The share of processor time that the host took away since `before`, and the present count.
pub fn steal(before: (f64, f64)) -> (f64, (f64, f64)) {
    let text = read("/proc/stat");
    let line = text.lines().next().unwrap_or_default();
    let numbers: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .flat_map(str::parse)
        .collect();
    let now = (
        numbers.get(7).copied().unwrap_or(0.0),
        numbers.iter().take(8).sum::<f64>(),
    );
    ((now.0 - before.0) / (now.1 - before.1).max(1.0), now)
}

/// Each disk's write cache, whether it can write through it, and its sectors.
fn disks() -> Value {
    let Ok(entries) = fs::read_dir("/sys/block") else {
        return Value::Null;
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_real = |name: &String| {
        !["loop", "ram", "zram"]
            .iter()
            .any(|kind| name.starts_with(kind))
    };
    names
        .filter(is_real)
        .map(|name| {
            let queue = |key| {
                read(&format!("/sys/block/{name}/queue/{key}"))
                    .trim()
                    .to_owned()
            };
            json!({
                "name": name,
                "write_cache": queue("write_cache"),
                "fua": queue("fua"),
                "logical_sector": queue("logical_block_size"),
                "physical_sector": queue("physical_block_size"),
                "scheduler": queue("scheduler"),
            })
        })
        .collect()
}

fn line_of(path: &str, key: &str) -> String {
    let text = read(path);
    let line = text.lines().find(|line| line.starts_with(key));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or(String::new(), |(_, value)| value.trim().to_owned())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn said(words: &[&str]) -> String {
    let out = Command::new(words[0]).args(&words[1..]).output();
    let text = out.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    text.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table was of the harness's commit, whatever build of the node it had measured.
    #[test]
    fn a_build_that_is_named_is_none_of_the_commit() {
        let of = |is_of_commit: bool| {
            let node = json!({
                "is_of_commit": is_of_commit,
                "version": "corelog 0.1.0",
                "sha256": "0123456789abcdef",
            });
            programs(&json!({"commit": "6a269c1", "node": node}))
        };
        assert_eq!(
            of(true),
            "harness of commit 6a269c1; the node is built of it: corelog 0.1.0, SHA-256 0123456789ab…"
        );
        assert!(of(false).contains("**another build**: corelog 0.1.0"));
    }

    #[test]
    fn what_paces_peers_is_known() {
        assert!(is_paced("bbr") && is_paced("bbr2"));
        assert!(!is_paced("cubic") && !is_paced("reno"));
    }
}
