//! The example of embedding a log, run as its reader would: killed again and again, it recovers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

#[test]
fn the_example_recovers_every_acknowledged_command_when_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..6_u64 {
        let mut run = start(folder.path(), "1000000");
        let mut lines = lines(&mut run);
        let recovered = recovered(&mut lines);
        assert!(
            acknowledged <= recovered,
            "{recovered} of {acknowledged} recovered"
        );
        // Kills at different places, also right behind a checkpoint.
        for line in lines.by_ref() {
            let Some(rest) = line.strip_prefix("acknowledged ") else {
                continue;
            };
            acknowledged = number(rest.split(':').next().unwrap());
            if recovered + 40 * (round + 1) <= acknowledged {
                break;
            }
        }
        run.kill().unwrap();
        // What it had said before the signal reached it counts too.
        for line in lines {
            let rest = line.strip_prefix("acknowledged ");
            // The last line may be cut off in its middle.
            let count = rest.and_then(|rest| rest.split_once(": 10 commands"));
            acknowledged = count.map_or(acknowledged, |(count, _)| number(count));
        }
        run.wait().unwrap();
    }
    assert!(800 < acknowledged, "{acknowledged} commands");
    let mut run = start(folder.path(), "3");
    let mut lines = lines(&mut run);
    let recovered = recovered(&mut lines);
    assert!(
        acknowledged <= recovered,
        "{recovered} of {acknowledged} recovered"
    );
    let state = lines.find(|line| line.starts_with("the state: ")).unwrap();
    let counted = format!("\"commands\": \"{}\"", recovered + 30);
    assert!(
        state.contains(&counted),
        "each command is there once: {state}"
    );
    assert!(run.wait().unwrap().success());
}

/// How many commands the leader recovered, by what it prints.
fn recovered(lines: &mut impl Iterator<Item = String>) -> u64 {
    let line = lines.find(|line| line.starts_with("leader: ")).unwrap();
    let count = line.split_once(" from the log, ").unwrap().1;
    number(count.split(' ').next().unwrap())
}

fn number(text: &str) -> u64 {
    text.parse().unwrap()
}

fn start(folder: &Path, rounds: &str) -> Child {
    let command = Command::new(example())
        .arg(folder)
        .arg(rounds)
        .stdout(Stdio::piped())
        .spawn();
    command.unwrap()
}

fn lines(run: &mut Child) -> impl Iterator<Item = String> + use<> {
    let stdout = BufReader::new(run.stdout.take().unwrap());
    stdout.lines().map_while(Result::ok)
}

/// The program, which is built beside this test unless only some targets are.
fn example() -> PathBuf {
    const NAME: &str = "replicated_state_machine";
    let test = std::env::current_exe().unwrap();
    let target = test.parent().unwrap().parent().unwrap();
    let example = target.join("examples").join(NAME);
    if !example.exists() {
        let built = Command::new(env!("CARGO"))
            .args(["build", "-p", env!("CARGO_PKG_NAME"), "--example", NAME])
            .status();
        assert!(built.unwrap().success());
    }
    example
}
