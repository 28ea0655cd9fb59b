//! A real server process on ports of its own.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::deadline::{DEADLINE, Watch, output_of};

/// The path of the binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_corelog");

/// A server that said `ready`. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    log: Option<JoinHandle<String>>,
    /// What the ready line said.
    pub(crate) ready: Ready,
}

/// The ready line, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) listen: SocketAddr,
    pub(crate) cores: Vec<SocketAddr>,
    pub(crate) admin: SocketAddr,
    pub(crate) data: PathBuf,
}

impl Ready {
    /// Where clients may connect: the shared port, then those of the cores.
    pub(crate) fn doors(&self) -> Vec<SocketAddr> {
        [&[self.listen][..], &self.cores].concat()
    }
}

/// How a server ended, and what it logged.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

/// How to start a server: `Start::on(dir).cores(2).start()`.
pub(crate) struct Start {
    data_dir: PathBuf,
    cores: u16,
    args: Vec<OsString>,
    environment: Vec<(String, String)>,
    wrapper: Vec<OsString>,
}

impl Start {
    pub(crate) fn on(data_dir: &Path) -> Self {
        let data_dir = data_dir.to_path_buf();
        Self {
            data_dir,
            cores: 1,
            args: Vec::new(),
            environment: Vec::new(),
            wrapper: Vec::new(),
        }
    }

    pub(crate) fn cores(mut self, cores: u16) -> Self {
        self.cores = cores;
        self
    }

    pub(crate) fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Where it listens, in place of ports that the system gives out.
    pub(crate) fn at(self, listen: SocketAddr) -> Self {
        self.arg("--listen").arg(listen.to_string())
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has another program run it: `wrapper` and then the command line. It has to end by executing
    /// that, so that the process stays the same.
    pub(crate) fn through<S: Into<OsString>>(
        mut self,
        wrapper: impl IntoIterator<Item = S>,
    ) -> Self {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    /// The command line, for tests of starts that fail.
    pub(crate) fn command(&self) -> Command {
        let binary = std::env::var_os("CORELOG_TEST_SERVER");
        let binary = binary.unwrap_or_else(|| BINARY.into());
        let mut words = self.wrapper.iter().chain([&binary]);
        let mut command = Command::new(words.next().unwrap_or(&binary));
        command.args(words);
        command.arg("serve").arg("--data-dir").arg(&self.data_dir);
        // Through the environment, so that a test's own options win.
        command.envs([
            ("CORELOG_NODE_LISTEN", "127.0.0.1:0"),
            ("CORELOG_NODE_ADMIN", "127.0.0.1:0"),
            // So little that what a test does to files is seen by who reads.
            ("CORELOG_NODE_TAIL_MEMORY", "4MiB"),
        ]);
        command.env("CORELOG_NODE_CORES", self.cores.to_string());
        command.args(&self.args);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts it, for one that is to fail before it serves; its exit code and what it said.
    pub(crate) fn refused(&self) -> (Option<i32>, String) {
        let output = output_of(self.command().spawn().unwrap(), "a start that fails");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.stdout.is_empty(), "it said ready: {said}");
        (output.status.code(), said)
    }

    /// Starts it and waits for the ready line.
    pub(crate) fn start(self) -> Server {
        self.try_start(DEADLINE)
            .unwrap_or_else(|why| panic!("no server: {why}"))
    }

    /// Starts it and waits for the ready line, not longer than `deadline`; says why there is none.
    pub(crate) fn try_start(self, deadline: Duration) -> Result<Server, String> {
        let mut child = self.command().spawn().unwrap();
        let _watch = Watch::within(deadline, child.id(), "the start of a server");
        let mut stderr = child.stderr.take().unwrap();
        let log = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let Some(ready) = Ready::parse(line.trim_end()) else {
            let _ = child.kill();
            let status = child.wait().unwrap();
            let log = log.join().unwrap();
            return Err(format!("{status}, said {line:?}, logged:\n{log}"));
        };
        Ok(Server {
            child,
            log: Some(log),
            ready,
        })
    }
}

/// Where a server may begin to listen whose ports nobody else is to take while it is down; proxies have those behind them.
const PORTS: Range<u16> = 10_000..19_000;
/// So many are one server's, whether or not it runs.
const PORTS_EACH: usize = 8;
/// Those that were tried, by the first of them.
static TRIED: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A server on ports below those that the system gives out by itself, and of no other test here, so that nobody else takes
/// them while it is down; and where it listens.
pub(crate) fn start_anywhere(
    start: impl Fn() -> Start,
    random: &mut fastrand::Rng,
) -> (Server, SocketAddr) {
    let mut firsts: Vec<_> = PORTS.step_by(PORTS_EACH).collect();
    random.shuffle(&mut firsts);
    for first in firsts {
        if !TRIED.lock().unwrap().insert(first) {
            continue;
        }
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, first));
        match start().at(listen).try_start(DEADLINE) {
            Ok(server) => return (server, listen),
            Err(why) => assert!(why.contains("cannot listen on"), "{why}"),
        }
    }
    panic!("no free ports in a row");
}

impl Ready {
    /// Takes `ready listen=… cores=…,… admin=… data=…` apart.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let rest = line.strip_prefix("ready listen=")?;
        let (listen, rest) = rest.split_once(" cores=")?;
        let (cores, rest) = rest.split_once(" admin=")?;
        let (admin, data) = rest.split_once(" data=")?;
        Some(Self {
            listen: listen.parse().ok()?,
            cores: cores
                .split(',')
                .map(|core| core.parse().ok())
                .collect::<Option<_>>()?,
            admin: admin.parse().ok()?,
            data: PathBuf::from(data),
        })
    }
}

impl Server {
    /// A one-core server on a fresh directory below `dir`.
    pub(crate) fn start(dir: &Path) -> Self {
        Start::on(dir).start()
    }

    /// The shared address, as `--server` takes it.
    pub(crate) fn address(&self) -> String {
        self.ready.listen.to_string()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its writes into files beyond the last whole block of so many bytes fail from now on, as on a broken disk.
    pub(crate) fn fail_writes_beyond(&self, bytes: u64) {
        self.limit_files(&format!("--fsize={}:", bytes / 4096 * 4096));
    }

    /// They succeed again.
    pub(crate) fn write_again(&self) {
        self.limit_files("--fsize=unlimited:");
    }

    fn limit_files(&self, limit: &str) {
        let pid = self.pid().to_string();
        let mut prlimit = Command::new("prlimit");
        let status = prlimit.args(["--pid", &pid, limit]).status().unwrap();
        assert!(status.success(), "prlimit of util-linux sets {limit}");
    }

    /// SIGTERM, then waits for the ordered stop.
    pub(crate) fn stop(self) -> Ended {
        self.end(Signal::SIGTERM)
    }

    /// SIGKILL: nothing is flushed, nothing is marked.
    pub(crate) fn kill(self) -> Ended {
        self.end(Signal::SIGKILL)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    pub(crate) fn end(mut self, signal: Signal) -> Ended {
        self.signal(signal);
        self.wait()
    }

    fn wait(&mut self) -> Ended {
        let _watch = Watch::over(self.child.id(), "the stop of a server");
        let status = self.child.wait().unwrap();
        Ended {
            status,
            log: self.log.take().unwrap().join().unwrap(),
        }
    }

    /// The resident memory of the process, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * 1024
    }

    /// How many files and sockets the process has open.
    pub(crate) fn descriptors(&self) -> usize {
        let dir = format!("/proc/{}/fd", self.pid());
        std::fs::read_dir(dir).unwrap().count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(log) = self.log.take()
            && thread::panicking()
        {
            eprintln!("the server logged:\n{}", log.join().unwrap_or_default());
        }
    }
}
