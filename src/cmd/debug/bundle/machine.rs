//! The machine, the process of the server, and the end of its log.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::pack::Pack;

/// The end of a log that is taken.
const LOG_BYTES_MAX: usize = 256 << 10;
const LOG_LINES_MAX: u32 = 2_000;
/// How long the journal may take.
const JOURNAL_MAX: Duration = Duration::from_secs(10);
/// No file of `/proc` that is taken is nearly as large.
const PROC_BYTES_MAX: u64 = 4 << 20;

/// What this program is.
pub(super) fn version() -> anyhow::Result<Value> {
    let binary = std::env::current_exe()?;
    let metadata = std::fs::metadata(&binary)?;
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "is_debug_build": cfg!(debug_assertions),
        "arch": std::env::consts::ARCH,
        "os": std::env::consts::OS,
        "binary": binary.display().to_string(),
        "binary_bytes": metadata.len(),
    }))
}

/// What the kernel tells of the machine.
pub(super) fn collect(pack: &mut Pack) {
    const FILES: [(&str, &str); 9] = [
        ("machine/version", "/proc/version"),
        ("machine/meminfo", "/proc/meminfo"),
        ("machine/cpuinfo", "/proc/cpuinfo"),
        ("machine/loadavg", "/proc/loadavg"),
        ("machine/diskstats", "/proc/diskstats"),
        ("machine/pressure-cpu", "/proc/pressure/cpu"),
        ("machine/pressure-io", "/proc/pressure/io"),
        ("machine/pressure-memory", "/proc/pressure/memory"),
        (
            "machine/io_uring_disabled",
            "/proc/sys/kernel/io_uring_disabled",
        ),
    ];
    for (name, path) in FILES {
        pack.bytes(name, || read(Path::new(path)));
    }
}

/// What the kernel tells of the server's process, or of this one where the server is not here.
/// `node` is what the server tells of itself.
pub(super) fn collect_process(node: Option<&Value>, pack: &mut Pack) {
    const FILES: [&str; 5] = ["status", "limits", "mountinfo", "cgroup", "io"];
    let server = node.and_then(|node| node["pid"].as_u64());
    // The number may be that of a process on another machine, or in another container.
    let is_here = |pid: &u64| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name.trim_end() == "corelog")
    };
    let (folder, process) = match server.filter(is_here) {
        Some(pid) => ("server-process", pid.to_string()),
        None => ("own-process", "self".to_owned()),
    };
    for file in FILES {
        let path = format!("/proc/{process}/{file}");
        pack.bytes(format!("{folder}/{file}"), || read(Path::new(&path)));
    }
}

/// The last lines of the log: of `file`, else of the journal.
pub(super) fn collect_log(file: Option<&Path>, pack: &mut Pack) {
    match file {
        Some(file) => pack.bytes("log.txt", || tail(file)),
        None => pack.bytes("log.txt", || {
            journal().context("no log in the journal; name its file with --log")
        }),
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    let mut bytes = Vec::new();
    let mut file = file.take(PROC_BYTES_MAX);
    file.read_to_end(&mut bytes).with_context(cannot)?;
    Ok(bytes)
}

/// The end of a file, from the beginning of a line on.
fn tail(path: &Path) -> anyhow::Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(cannot)?;
    let end = file.metadata().with_context(cannot)?.len();
    // With the byte before, which tells if a line begins there.
    let start = end.saturating_sub(LOG_BYTES_MAX as u64 + 1);
    file.seek(SeekFrom::Start(start)).with_context(cannot)?;
    end_of(file.take(end - start)).with_context(cannot)
}

/// The last of what is said, from the beginning of a line on.
fn end_of(mut said: impl Read) -> io::Result<Vec<u8>> {
    let (mut bytes, mut piece) = (Vec::new(), vec![0; LOG_BYTES_MAX]);
    loop {
        match said.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        let beyond = bytes.len().saturating_sub(LOG_BYTES_MAX + 1);
        bytes.drain(..beyond);
    }
    if bytes.len() > LOG_BYTES_MAX {
        let newline = bytes.iter().position(|byte| *byte == b'\n');
        bytes.drain(..=newline.unwrap_or_default());
    }
    Ok(bytes)
}

fn journal() -> anyhow::Result<Vec<u8>> {
    let mut child = Command::new("journalctl")
        .args(["--unit", "corelog", "--no-pager", "--quiet"])
        .args(["--output", "short-iso-precise", "--lines"])
        .arg(LOG_LINES_MAX.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run journalctl")?;
    let said = child.stdout.take().context("journalctl says nothing")?;
    let reader = thread::spawn(move || end_of(said));
    let begun = Instant::now();
    while !reader.is_finished() && begun.elapsed() < JOURNAL_MAX {
        thread::sleep(Duration::from_millis(5));
    }
    let is_late = !reader.is_finished();
    // What it does still is of no use, and it may have ended.
    let _ = child.kill();
    child.wait()?;
    ensure!(!is_late, "journalctl took longer than {JOURNAL_MAX:?}");
    let bytes = reader.join().ok().context("reading the journal failed")??;
    ensure!(
        !bytes.is_empty(),
        "the unit corelog has logged nothing that this user may read (group systemd-journal)"
    );
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_log_begins_with_a_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines: Vec<_> = (0..40_000).map(|n| format!("line {n:06}\n")).collect();
        std::fs::write(file.path(), lines.concat()).unwrap();
        let told = String::from_utf8(tail(file.path()).unwrap()).unwrap();
        assert_eq!(
            told.len() / 12,
            LOG_BYTES_MAX / 12,
            "whole lines, as many as fit"
        );
        assert!(told.starts_with("line "), "{}", &told[..20]);
        assert!(told.ends_with("line 039999\n"));
        std::fs::write(file.path(), "short\n").unwrap();
        assert_eq!(tail(file.path()).unwrap(), b"short\n");
        assert!(tail(Path::new("/no/such/log")).is_err());
    }

    /// What the journal says comes oldest first, and its newest lines are what a bundle is made for.
    #[test]
    fn the_end_is_taken_of_what_is_said_in_pieces() {
        let lines: Vec<_> = (0..100_000).map(|n| format!("{n:09}\n")).collect();
        let said = lines.concat();
        let (first, rest) = said.as_bytes().split_at(999_937);
        let told = end_of(first.chain(rest)).unwrap();
        assert!(LOG_BYTES_MAX - 10 < told.len() && told.len() <= LOG_BYTES_MAX);
        assert!(said.as_bytes().ends_with(&told));
        assert_eq!(told.len() % 10, 0, "it begins with a line");
    }

    #[test]
    fn this_program_knows_its_version() {
        let version = version().unwrap();
        assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    }
}
