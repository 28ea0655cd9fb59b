//! A server that the system refuses a thread.

use std::process;

use crate::support::deadline::DEADLINE;
use crate::support::folder::Folder;
use crate::support::server::Start;

/// Runs a program as a user of whom nothing else runs, whom no file is closed to: limits of processes do not hold for the
/// superuser. Whoever else runs the tests has others that count.
fn limited(processes: u32) -> Vec<String> {
    let nobody_else = 60_000 + process::id() % 5_000;
    let open = "+dac_override";
    let user = format!(
        "setpriv --reuid={nobody_else} --clear-groups --inh-caps={open} --ambient-caps={open}"
    );
    let limit = format!("prlimit --nproc={processes}:{processes}");
    let words = match nix::unistd::geteuid().is_root() {
        true => format!("{user} {limit}"),
        false => limit,
    };
    words.split(' ').map(str::to_owned).collect()
}

/// It ended by a panic where a core, or the first thread of a pool, was refused, and told of a core that did not end in time.
#[test]
fn a_server_that_is_refused_a_thread_does_not_start_and_says_how_to_have_more() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let mut starts = (1..64).map(|processes| {
        let start = Start::on(&data).cores(2).through(limited(processes));
        start.try_start(DEADLINE)
    });
    let started = starts.find_map(|start| match start {
        Ok(server) => Some(server.stop()),
        Err(why) => {
            assert!(why.starts_with("exit status: 6,"), "{why}");
            assert!(why.contains("ulimit -u"), "{why}");
            assert!(!why.contains("so did ending it"), "{why}");
            None
        }
    });
    let is_alone = nix::unistd::geteuid().is_root();
    assert_eq!(started.is_some(), is_alone, "it starts with some");
    assert!(started.is_none_or(|ended| ended.status.success()));
}
