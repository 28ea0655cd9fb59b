//! Scripts of `tests/python`, run in an environment that the tests make themselves: under `target/`,
//! from the hash-pinned requirements, once for all test processes. What is missing fails the test
//! with a sentence that says what to install; nothing is skipped.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use super::deadline;

const REQUIREMENTS: &str = include_str!("../python/requirements.txt");
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python");

/// What a script came to.
#[derive(Debug)]
pub(crate) struct Ran {
    what: String,
    output: Output,
}

/// Runs a script of `tests/python` to its end.
pub(crate) fn run<S: AsRef<OsStr>>(script: &str, args: impl IntoIterator<Item = S>) -> Ran {
    let mut command = command(script);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let what = format!("{command:?}");
    let output = deadline::output_of(command.spawn().unwrap(), &what);
    Ran { what, output }
}

/// A script of `tests/python`, not started.
pub(crate) fn command(script: &str) -> Command {
    static INTERPRETER: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(INTERPRETER.get_or_init(environment));
    command
        .arg(Path::new(SCRIPTS).join(script))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

impl Ran {
    /// The JSON that it printed, after checking that it succeeded.
    pub(crate) fn json(self) -> serde_json::Value {
        assert!(
            self.output.status.success(),
            "{}\n{}",
            self.what,
            said(&self.output)
        );
        serde_json::from_slice(&self.output.stdout).unwrap()
    }

    /// What it said, after checking that it failed with exit code 1.
    pub(crate) fn failed(self) -> String {
        let said = said(&self.output);
        assert_eq!(self.output.status.code(), Some(1), "{}\n{said}", self.what);
        said
    }
}

/// The interpreter of the environment, made if it is not there. Its name holds a hash of all that
/// went into it, so another pin or another Python makes another one.
fn environment() -> PathBuf {
    let python = output(Command::new("python3").arg("-VV"), "find Python 3");
    let made_of = [REQUIREMENTS.as_bytes(), &python.stdout].concat();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let dir = target.join(format!("python-{:08x}", crc32fast::hash(&made_of)));
    let (interpreter, ready) = (dir.join("bin/python"), dir.join("ready"));
    let lock = File::create(dir.with_extension("lock")).unwrap();
    // Held until this function returns: test processes run side by side.
    lock.lock().unwrap();
    if !ready.exists() {
        make(&dir, &interpreter);
        File::create(ready).unwrap();
    }
    interpreter
}

fn make(dir: &Path, interpreter: &Path) {
    if dir.exists() {
        fs::remove_dir_all(dir).unwrap();
    }
    output(
        Command::new("python3").args(["-m", "venv"]).arg(dir),
        "make a Python environment",
    );
    let requirements = Path::new(SCRIPTS).join("requirements.txt");
    let mut pip = Command::new(interpreter);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ]);
    pip.args(["--require-hashes", "--prefer-binary", "-r"])
        .arg(requirements);
    output(&mut pip, "install the tests' Python packages");
}

/// What the command printed; if it cannot be run or fails, the test ends with what to do.
fn output(command: &mut Command, purpose: &str) -> Output {
    let advice = "these tests need python3 with venv and pip (Debian: apt-get install python3 \
                  python3-venv) and, once, the network";
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => output,
        Ok(output) => panic!("cannot {purpose}: {advice}\n{command:?}\n{}", said(&output)),
        Err(error) => panic!("cannot {purpose}: {advice}\n{command:?}: {error}"),
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
