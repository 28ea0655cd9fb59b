//! Rounds of trouble, by a seed: whatever goes wrong, a copy ends equal to its source, or says why it
//! stopped and goes on when asked again; never with a wrong byte, and nothing stays open.

use std::collections::BTreeMap;
use std::time::Instant;

use corelog_protocol::message::delete_topic;
use corelog_record::Offset;

use super::copies::{assert_equal, bytes, segments, status, try_until_level};
use super::node::{Node, cloning};
use crate::support::chance;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::mount::Mount;
use crate::support::proxy::Odds;
use crate::support::wire::Target;

/// What goes wrong in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// Connections to the source are cut, within frames and between them.
    Cut,
    /// They stand still for a while.
    Stall,
    /// Single bits of what they carry are turned.
    Corrupt,
    /// The source is killed and comes back.
    SourceKilled,
    /// The follower is.
    FollowerKilled,
    /// The follower's disk is full for a while.
    DiskFull,
    /// The source lets go of records that are being copied.
    Retention,
}

impl Trouble {
    const ALL: [Self; 7] = [
        Self::Cut,
        Self::Stall,
        Self::Corrupt,
        Self::SourceKilled,
        Self::FollowerKilled,
        Self::DiskFull,
        Self::Retention,
    ];

    fn odds(self, random: &mut fastrand::Rng) -> Odds {
        let mut odds = Odds::default();
        match self {
            Self::Cut => odds.cut = random.u32(3..20),
            Self::Stall => (odds.stall, odds.stall_ms) = (random.u32(2..6), 200),
            Self::Corrupt => odds.corrupt = random.u32(3..12),
            // Some of all on top of what else goes wrong.
            _ if random.bool() => (odds.cut, odds.corrupt) = (40, 40),
            _ => {}
        }
        odds
    }
}

/// The source, the follower on a small disk of its own, and what was seen of them.
struct Pair {
    source: Node,
    follower: Node,
    mount: Mount,
    random: fastrand::Rng,
    /// How often a follower stopped with which code.
    stopped: BTreeMap<String, usize>,
}

/// `CORELOG_REPLICA_ROUNDS` sets how many.
#[test]
fn whatever_goes_wrong_a_copy_ends_equal_or_says_why_it_stopped() {
    let mut random = chance::random("replicas::faults");
    let rounds = chance::number("CORELOG_REPLICA_ROUNDS", 40_usize);
    let begun = Instant::now();
    let folder = Folder::new();
    let mount = Mount::small(&folder, DISK_BYTES);
    let follower = Node::on(mount.inside("b"), mount.wrapper(), 1);
    let mut pair = Pair {
        source: Node::start(&folder, "a"),
        follower,
        mount,
        random: random.fork(),
        stopped: BTreeMap::new(),
    };
    let mut seen = BTreeMap::<_, usize>::new();
    let mut order = Vec::new();
    for round in 0..rounds {
        if order.is_empty() {
            order.extend(Trouble::ALL);
            random.shuffle(&mut order);
        }
        let trouble = order.pop().unwrap();
        println!("round {round}: {trouble:?}");
        pair.round(&format!("t{round}"), trouble);
        *seen.entry(trouble).or_default() += 1;
    }
    let counts = pair.source.proxy.counts();
    println!(
        "{rounds} rounds in {} s on {}: {seen:?}; {counts:?}; stopped {:?}",
        begun.elapsed().as_secs(),
        pair.mount.kind,
        pair.stopped
    );
    for (trouble, count) in [
        (Trouble::Cut, counts.cut),
        (Trouble::Stall, counts.stalled),
        (Trouble::Corrupt, counts.corrupt),
    ] {
        let is_certain = seen.get(&trouble).is_some_and(|rounds| *rounds >= 4);
        assert!(count > 0 || !is_certain, "{trouble:?} never happened");
    }
    pair.source.stop();
    pair.follower.stop();
}

impl Pair {
    fn round(&mut self, name: &str, trouble: Trouble) {
        let topic = self.source.topic(name, 1);
        let batches = 20 + self.random.usize(..130);
        self.source.fill(&topic, 0, batches);
        let odds = trouble.odds(&mut self.random);
        self.source.proxy.set(odds);
        self.ask(&topic);
        self.strike(&topic, trouble);
        let from = segments(&self.follower, &topic, 0).log_start;
        let seen = bytes(&self.follower, &topic, 0, Offset::MAX);
        self.source.proxy.set(Odds::default());
        let mut stops = 0;
        while let Err(why) = try_until_level(&self.source, &self.follower, &topic, 0) {
            let code = why.known_code();
            assert!(code.is_some(), "stopped without a known cause: {why:?}");
            stops += 1;
            assert!(stops <= STOPS_MAX, "it stops again and again: {why:?}");
            *self.stopped.entry(format!("{code:?}")).or_default() += 1;
            self.ask(&topic);
        }
        assert_equal(&self.source, &self.follower, &topic, 0);
        if from == segments(&self.source, &topic, 0).log_start {
            let all = bytes(&self.source, &topic, 0, Offset::MAX);
            assert!(all.starts_with(&seen), "the follower served other bytes");
        }
        self.remove(&topic);
    }

    /// Asks the follower to follow until it does.
    fn ask(&self, topic: &Target) {
        let request = cloning(topic, &[&self.source]);
        until("the follower follows", || {
            match self.follower.ask(&request) {
                Ok(_) => true,
                Err(why) => {
                    assert!(
                        why.known_code().is_some(),
                        "refused without a cause: {why:?}"
                    );
                    false
                }
            }
        });
    }

    fn strike(&mut self, topic: &Target, trouble: Trouble) {
        let part = Offset::ZERO.plus(self.random.u64(0..RECORDS_MIN));
        until("it begins", || {
            let told = status(&self.follower, topic, 0);
            told.end >= part || told.error.is_some()
        });
        match trouble {
            Trouble::Cut | Trouble::Stall | Trouble::Corrupt => {}
            Trouble::SourceKilled => {
                let _poured = self.source.pour(topic, 0, 30);
                self.source.kill();
                self.source.up();
            }
            Trouble::FollowerKilled => {
                self.follower.kill();
                self.follower.up();
            }
            Trouble::DiskFull => {
                let filler = self.mount.fill();
                self.source.fill(topic, 0, 100);
                until("the disk is found full", || {
                    let told = status(&self.follower, topic, 0);
                    told.error.is_some() || told.lag_records == Some(0)
                });
                std::fs::remove_file(filler).unwrap();
            }
            Trouble::Retention => {
                for _ in 0..3 {
                    let end = segments(&self.source, topic, 0).high_watermark.get();
                    let start = segments(&self.source, topic, 0).log_start.get();
                    let lowest = self.random.u64(start..=end);
                    // Offsets within a batch are not batch boundaries; the source takes any.
                    self.source.truncate(topic, Offset::ZERO.plus(lowest));
                    self.source.fill(topic, 0, 10);
                }
            }
        }
        self.source.fill(topic, 0, self.random.usize(5..40));
    }

    /// Removes the topic on both sides; nothing of it stays open.
    fn remove(&self, topic: &Target) {
        for node in [&self.follower, &self.source] {
            let request = delete_topic::Request {
                name: topic.name.clone(),
                id: topic.id,
            };
            node.ask(&request).unwrap();
        }
        for node in [&self.follower, &self.source] {
            until("nothing of it stays open", || {
                let open = node.open();
                open.unnamed == 0 && open.sockets <= SOCKETS_MAX
            });
        }
    }
}

/// A topic has that many at least when it is cloned: 20 batches of two.
const RECORDS_MIN: u64 = 40;
/// When the trouble is over, a copy that is asked to goes on: it may have stopped before, and meet what was on its way.
const STOPS_MAX: usize = 3;
/// Room for a round's topic several times over.
const DISK_BYTES: u64 = 96 << 20;
/// Of a node that nobody talks to: those that it listens on, and one that is being closed.
const SOCKETS_MAX: usize = 8;
