//! A server's processes: started with output in a file, watched through /proc, ended by their id.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::process::{Pid, Signal, kill_process};

/// A started program; it and its descendants are killed when this is dropped.
pub struct Process {
    child: Child,
    /// What started it, as it may be typed where its program is found by name.
    pub line: String,
}

impl Process {
    /// Starts `command` with its output in `log`. It does not outlive this program, however that ends.
    pub fn start(command: &Command, log: &Path) -> Result<Self> {
        let line = line(command);
        let mut command = bound(command);
        let out = File::create(log)?;
        let err = out.try_clone()?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { child, line })
    }

    /// Waits until `is_ready` says something.
    pub fn wait_until<T>(&mut self, is_ready: impl FnMut() -> Option<T>) -> Result<T> {
        self.wait(is_ready, |time| {
            std::thread::sleep(time);
            Ok(())
        })
    }

    /// Waits for the word behind `key` in `log`, which the process writes: woken by that, as a start may take less than
    /// lies between two looks.
    pub fn wait_for_word(&mut self, log: &Path, key: &str) -> Result<String> {
        let writes = Writes::to(log)?;
        self.wait(|| word_behind(log, key), |time| writes.wait(time).map(drop))
    }

    fn wait<T>(
        &mut self,
        mut is_ready: impl FnMut() -> Option<T>,
        mut pause: impl FnMut(Duration) -> Result<()>,
    ) -> Result<T> {
        let started = Instant::now();
        loop {
            if let Some(ready) = is_ready() {
                return Ok(ready);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended: {status}");
            }
            if started.elapsed() > START_MAX {
                bail!("the server does not serve after {START_MAX:?}");
            }
            pause(Duration::from_millis(10))?;
        }
    }

    /// User and system time of the process and all its descendants, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        let ticks: u64 = self.family().iter().map(|&pid| ticks(pid)).sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// Resident memory of the process and all its descendants, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.family().iter().map(|&pid| resident(pid)).sum()
    }

    /// Asks it to end, and waits until it has, whatever it says to that.
    pub fn stop(self) -> Result<()> {
        self.ended().map(drop)
    }

    /// The same of one that is to say that nothing went wrong.
    pub fn stop_well(self) -> Result<()> {
        let status = self.ended()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    fn ended(mut self) -> Result<ExitStatus> {
        for pid in self.family() {
            signal(pid, Signal::TERM);
        }
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if started.elapsed() > STOP_MAX {
                bail!("the server does not end within {STOP_MAX:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn family(&self) -> Vec<u32> {
        let mut family = vec![self.child.id()];
        let processes: Vec<(u32, u32)> = processes();
        let mut seen = 0;
        while let Some(&parent) = family.get(seen) {
            let children = processes.iter().filter(|(_, of)| *of == parent);
            family.extend(children.map(|(pid, _)| pid));
            seen += 1;
        }
        family
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for pid in self.family() {
            signal(pid, Signal::KILL);
        }
        // It is gone, or was already waited for.
        let _ = self.child.wait();
    }
}

/// Tells of writes to a file.
struct Writes(OwnedFd);

impl Writes {
    fn to(path: &Path) -> Result<Self> {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&watch, path, WatchFlags::MODIFY)?;
        Ok(Self(watch))
    }

    /// Waits until there was one since the last call, at most for so long; whether there was.
    fn wait(&self, time: Duration) -> Result<bool> {
        let mut ready = [PollFd::new(&self.0, PollFlags::IN)];
        let woken = poll(&mut ready, Some(&time.try_into()?))? > 0;
        // All of them: each is told by a few bytes.
        while woken && rustix::io::read(&self.0, &mut [0; 1024]).is_ok() {}
        Ok(woken)
    }
}

/// The same command, which the kernel kills when the thread that starts it has gone (`PR_SET_PDEATHSIG`, which it
/// takes `unsafe` to ask for between fork and exec). What it starts in turn is not killed: `run` ends that.
fn bound(command: &Command) -> Command {
    let mut bound = Command::new("setpriv");
    bound
        .args(["--pdeathsig", "KILL", "--"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    bound
}

/// A command as it may be typed, with what its environment has beside that of everything.
fn line(command: &Command) -> String {
    let environment = command.get_envs().filter_map(|(name, value)| {
        let value = quoted(&value?.to_string_lossy());
        Some(format!("{}={value}", name.to_string_lossy()))
    });
    let program = Path::new(command.get_program()).file_name();
    let words = program.into_iter().chain(command.get_args());
    let words = words.map(|word| quoted(&word.to_string_lossy()));
    environment.chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A port that nobody listens on just now.
pub fn free_port() -> std::io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// The word behind `key` in a log, once it is there whole.
fn word_behind(log: &Path, key: &str) -> Option<String> {
    let text = fs::read_to_string(log).ok()?;
    let (_, rest) = text.split_once(key)?;
    let word = rest.split_inclusive(char::is_whitespace).next()?;
    word.ends_with(char::is_whitespace)
        .then(|| word.trim().to_owned())
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
    }
}

/// All processes, each with its parent.
fn processes() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?.get(1)?.parse().ok()?)))
        .collect()
}

fn ticks(pid: u32) -> u64 {
    let stat = stat(pid).unwrap_or_default();
    // Behind the name: 11 is utime, 12 is stime.
    let field = |at: usize| stat.get(at).and_then(|field| field.parse().ok());
    field(11).unwrap_or(0) + field(12).unwrap_or(0u64)
}

/// The fields of `/proc/PID/stat` behind the name, which may hold spaces.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_until(is_so: impl Fn() -> bool) {
        let started = Instant::now();
        while !is_so() {
            assert!(started.elapsed() < START_MAX, "it does not come to it");
            std::thread::yield_now();
        }
    }

    /// A server outlived a comparison that was killed.
    #[test]
    fn a_process_is_killed_with_the_thread_that_started_it() {
        let log = std::env::temp_dir().join(format!("compare-process-{}", std::process::id()));
        let of = |id: u32, what: &str| fs::read_to_string(format!("/proc/{id}/{what}"));
        let start = || {
            let mut sleep = Command::new("sleep");
            let process = Process::start(sleep.arg("600").env("SAID", "so"), &log).unwrap();
            let id = process.child.id();
            let says = |what, words: &str| of(id, what).is_ok_and(|text| text.contains(words));
            wait_until(|| says("comm", "sleep\n") && says("environ", "SAID=so"));
            // As where the program is killed: nothing is dropped.
            std::mem::forget(process);
            id
        };
        let id = std::thread::scope(|scope| scope.spawn(start).join()).unwrap();
        // Nobody waits for it, so something of it stays.
        wait_until(|| stat(id).is_none_or(|fields| fields[0] == "Z"));
        fs::remove_file(log).unwrap();
    }

    /// How long a start took was told in looks that were ten milliseconds apart.
    #[test]
    fn who_waits_for_a_server_is_woken_by_what_it_writes() {
        let log = std::env::temp_dir().join(format!("compare-woken-{}", std::process::id()));
        let mut file = File::create(&log).unwrap();
        let writes = Writes::to(&log).unwrap();
        assert!(!writes.wait(Duration::ZERO).unwrap());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| writes.wait(START_MAX).unwrap());
            std::io::Write::write_all(&mut file, b"ready 1 ").unwrap();
            assert!(waits.join().unwrap());
        });
        assert!(!writes.wait(Duration::ZERO).unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo ready 7; exec sleep 600"]);
        let mut process = Process::start(&shell, &log).unwrap();
        assert_eq!(process.wait_for_word(&log, "ready ").unwrap(), "7");
        fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_line_is_what_may_be_typed() {
        let mut command = Command::new("/usr/bin/redis-server");
        command.args(["--save", "", "--dir", "a folder"]);
        command.env("HOME", "/tmp/it's");
        let typed = r"HOME='/tmp/it'\''s' redis-server --save '' --dir 'a folder'";
        assert_eq!(line(&command), typed);
    }

    /// A node that had failed in its stop was taken for one that had not.
    #[test]
    fn a_server_that_is_to_end_well_says_so_with_its_status() {
        let log = std::env::temp_dir().join(format!("compare-stop-{}", std::process::id()));
        let start = |status: u8| {
            let script = "trap \"exit $0\" TERM; echo ready; while :; do sleep 0.01; done";
            let mut shell = Command::new("sh");
            shell.args(["-c", script, &status.to_string()]);
            let mut process = Process::start(&shell, &log).unwrap();
            process.wait_until(|| word_behind(&log, "ready")).unwrap();
            process
        };
        start(0).stop_well().unwrap();
        start(3).stop().unwrap();
        let error = start(3).stop_well().unwrap_err().to_string();
        assert!(error.ends_with("exit status: 3"), "{error}");
        fs::remove_file(log).unwrap();
    }
}
