//! Two real servers that hold one topic: comparing them, cloning, following, and who owns it.

mod clone;
mod compare;
mod followers;
mod owners;
mod repair;

use serde_json::Value;

use crate::support::corelog::Corelog;
use crate::support::deadline;
use crate::support::folder::Folder;
use crate::support::server::Server;

/// A source and another server, each with the command line that talks to it.
struct Pair {
    source: Server,
    other: Server,
    folders: [Folder; 2],
}

impl Pair {
    fn start() -> Self {
        let folders = [Folder::new(), Folder::new()];
        let [source, other] = folders
            .each_ref()
            .map(|folder| Server::start(folder.path()));
        Self {
            source,
            other,
            folders,
        }
    }

    /// The same, of which the other follows a topic `t` of two records, and has both.
    fn following() -> Self {
        let pair = Self::start();
        pair.at_source().run(["topic", "create", "t"]).done();
        produce(&pair.at_source(), "0", b"a\nb\n");
        pair.clone(&["--follow"]);
        pair.level();
        pair
    }

    fn at_source(&self) -> Corelog {
        Corelog::to(&self.source)
    }

    fn at_other(&self) -> Corelog {
        Corelog::to(&self.other)
    }

    /// The other server clones the topic `t`; what the command printed.
    fn clone(&self, more: &[&str]) -> Value {
        let source = self.source.address();
        let args = ["clone", "t", "--from", &source, "--output", "json"];
        self.at_other().run([&args[..], more].concat()).json()
    }

    /// Waits until the other server has all that the source has of `t`.
    fn level(&self) {
        deadline::until("the follower has all that its source has", || {
            let sides = [self.at_source(), self.at_other()];
            let [source, other] = sides.map(|corelog| ends(&described(&corelog)));
            source == other
        });
    }

    /// The verdicts of a comparison of `t`, by partition, and its exit code.
    fn compare(&self) -> (Vec<Value>, Option<i32>) {
        compare(&self.at_source(), &self.other)
    }
}

/// The rows of a comparison of `t`, and its exit code.
fn compare(here: &Corelog, there: &Server) -> (Vec<Value>, Option<i32>) {
    let there = there.address();
    let args = ["compare", "t", "--with", &there, "--output", "json"];
    let (out, said, code) = here.run(args).parts();
    println!("compare: {code:?} {said}");
    let rows = String::from_utf8(out).unwrap();
    let rows = rows.lines().map(|line| serde_json::from_str(line).unwrap());
    (rows.collect(), code)
}

/// What a server tells of `t`.
fn described(corelog: &Corelog) -> Value {
    let args = ["topic", "describe", "t", "--output", "json"];
    corelog.run(args).json()
}

fn ends(described: &Value) -> Vec<u64> {
    let partitions = described["partitions"].as_array().unwrap();
    partitions
        .iter()
        .map(|partition| partition["durable"].as_u64().unwrap())
        .collect()
}

/// Lines that begin with `word`, of about `bytes` in all.
fn lines(word: &str, bytes: usize) -> Vec<u8> {
    let mut text = Vec::new();
    let mut number = 0;
    while text.len() < bytes {
        text.extend_from_slice(format!("{word} {number} {}\n", ".".repeat(1_000)).as_bytes());
        number += 1;
    }
    text
}

fn produce(corelog: &Corelog, partition: &str, lines: &[u8]) {
    corelog
        .feed(["produce", "t", "--partition", partition], lines)
        .done();
}

fn consume(corelog: &Corelog, partition: &str) -> Vec<u8> {
    corelog
        .run(["consume", "t", "--partition", partition])
        .done()
}
