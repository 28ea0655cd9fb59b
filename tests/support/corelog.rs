//! The command line under test: `Corelog::to(&server).run(["topic", "list"])`.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::thread;

use super::deadline;
use super::server::{BINARY, Server};

/// A way to call the binary, with the server it talks to.
#[derive(Clone, Debug)]
pub(crate) struct Corelog {
    server: Option<String>,
    wrapper: Vec<String>,
}

/// What a call came to.
#[derive(Debug)]
pub(crate) struct Called {
    what: String,
    output: Output,
}

impl Corelog {
    /// Calls that talk to `server`.
    pub(crate) fn to(server: &Server) -> Self {
        Self {
            server: Some(server.address()),
            wrapper: Vec::new(),
        }
    }

    /// Calls that talk to whatever listens at `address`.
    pub(crate) fn at(address: &str) -> Self {
        Self {
            server: Some(address.to_owned()),
            wrapper: Vec::new(),
        }
    }

    /// Calls that need no server.
    pub(crate) fn offline() -> Self {
        Self {
            server: None,
            wrapper: Vec::new(),
        }
    }

    /// The same calls, run by another program: `wrapper` and then the command line.
    pub(crate) fn through(mut self, wrapper: Vec<String>) -> Self {
        self.wrapper = wrapper;
        self
    }

    /// Calls it without input.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Called {
        self.feed(args, b"")
    }

    /// Calls it with `input` on stdin.
    pub(crate) fn feed<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: &[u8],
    ) -> Called {
        let mut command = self.command(args);
        let what = format!("{command:?}");
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // A command that stops reading early makes this end early; that is not the test's matter.
        let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
        let output = deadline::output_of(child, &what);
        feeder.join().unwrap();
        Called { what, output }
    }

    /// Calls it, and gives up after a second, when it does not know whether what it asks for is done; what it said on stderr.
    pub(crate) fn give_up(&self, args: &[&str]) -> String {
        self.run([args, &["--timeout", "1s"]].concat()).failed(5)
    }

    /// Calls it for half a second, in which it is refused and ends with `code`; what it said on stderr. On a machine that is busy its
    /// last try may be cut off, of which it does not know what came: it is called again.
    pub(crate) fn refused(&self, args: &[&str], code: i32) -> String {
        let mut refused = None;
        deadline::until("it is refused", || {
            let called = self.run([args, &["--timeout", "500ms"]].concat());
            refused = Some(called).filter(|told| told.output.status.code() != Some(5));
            refused.is_some()
        });
        refused.unwrap().failed(code)
    }

    /// The command, not started, with all three streams piped.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut words = self.wrapper.iter().map(String::as_str).chain([BINARY]);
        let mut command = Command::new(words.next().unwrap_or(BINARY));
        command
            .args(words)
            .args(args)
            .env_remove("CORELOG_SERVER")
            .env_remove("CORELOG_LOG");
        if let Some(server) = &self.server {
            command.env("CORELOG_SERVER", server);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

impl Called {
    /// What it printed, after checking that it was done.
    pub(crate) fn done(self) -> Vec<u8> {
        self.assert_code(0);
        self.output.stdout
    }

    /// As [`Self::done`], for text.
    pub(crate) fn text(self) -> String {
        String::from_utf8(self.done()).unwrap()
    }

    /// As [`Self::done`], for one JSON value.
    pub(crate) fn json(self) -> serde_json::Value {
        serde_json::from_slice(&self.done()).unwrap()
    }

    /// As [`Self::done`], for one JSON value per line.
    pub(crate) fn json_lines(self) -> Vec<serde_json::Value> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// What it said on stderr, after checking that it ended with `code` and printed no data.
    pub(crate) fn failed(self, code: i32) -> String {
        self.assert_code(code);
        let said = String::from_utf8_lossy(&self.output.stderr).into_owned();
        assert!(
            self.output.stdout.is_empty(),
            "{}: printed data and failed",
            self.what
        );
        assert!(
            !said.trim().is_empty(),
            "{}: failed without a word",
            self.what
        );
        said
    }

    /// Both streams whatever the outcome: stdout, stderr, exit code.
    pub(crate) fn parts(self) -> (Vec<u8>, String, Option<i32>) {
        let said = String::from_utf8_lossy(&self.output.stderr).into_owned();
        (self.output.stdout, said, self.output.status.code())
    }

    fn assert_code(&self, code: i32) {
        assert_eq!(
            self.output.status.code(),
            Some(code),
            "{}\nstdout: {}\nstderr: {}",
            self.what,
            String::from_utf8_lossy(&self.output.stdout[..self.output.stdout.len().min(4096)]),
            String::from_utf8_lossy(&self.output.stderr),
        );
    }
}
