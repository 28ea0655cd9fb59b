//! What two polls of a node give: rows with their rates, and their sums.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::poll::Poll;
use super::rates::{Gap, Histogram, sum};
use super::told;
use super::view::connection::Connection;
use super::view::copy::Copy;
use super::view::core::Core;
use super::view::partition::Partition;
use super::view::slow::Slow;
use super::view::topic::Topic;

/// A node at one moment.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) time: Timestamp,
    pub(super) admin: String,
    pub(super) node: told::Node,
    pub(super) totals: Totals,
    pub(super) cores: Vec<Core>,
    pub(super) topics: Vec<Topic>,
    pub(super) partitions: Vec<Partition>,
    pub(super) connections: Vec<Connection>,
    pub(super) copies: Vec<Copy>,
    pub(super) slowest: Vec<Slow>,
}

/// All cores taken together.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Totals {
    pub(super) busy_cores: Option<f64>,
    pub(super) records_per_s: Option<f64>,
    pub(super) in_bytes_per_s: Option<f64>,
    pub(super) out_bytes_per_s: Option<f64>,
    pub(super) errors_per_s: Option<f64>,
    pub(super) sync_p50_us: Option<f64>,
    pub(super) sync_p99_us: Option<f64>,
    /// How many partitions are in each state.
    pub(super) states: BTreeMap<String, u64>,
}

impl Picture {
    /// What `now` shows by itself, and since `before` if that was the same run of the same node.
    pub(super) fn of(admin: &str, now: &Poll, before: Option<&Poll>) -> Self {
        let before = before.and_then(|before| Some((&before.told, gap(before, now)?)));
        let told = &now.told;
        let partitions = partitions(told, before);
        let cores = told.node.cores.iter().enumerate().map(|(index, core)| {
            let then = before.and_then(|(then, gap)| Some((then.node.cores.get(index)?, gap)));
            Core::of(core, then)
        });
        let cores: Vec<_> = cores.collect();
        Self {
            time: now.time,
            admin: admin.to_owned(),
            node: told.node.clone(),
            totals: totals(told, before, (&cores, &partitions)),
            topics: Topic::all(&told.topics, &partitions),
            connections: connections(now, before),
            copies: copies(told, before),
            slowest: told
                .slowest
                .iter()
                .map(|slow| Slow::of(slow, now.time))
                .collect(),
            cores,
            partitions,
        }
    }
}

/// What was told before, and how long before.
type Before<'a> = Option<(&'a told::Told, Gap)>;

/// The gap between two polls of one run of a node; what it counts begins anew with each.
fn gap(before: &Poll, now: &Poll) -> Option<Gap> {
    let run = |poll: &Poll| (poll.told.node.node.clone(), poll.told.node.started.clone());
    let is_same = run(before) == run(now);
    let apart = now.at.saturating_duration_since(before.at);
    is_same.then(|| Gap::of(apart)).flatten()
}

/// What was told before of the thing of the same name.
fn by_name<'a, T, K: Ord>(
    before: Before<'a>,
    things: fn(&'a told::Told) -> &'a [T],
    name: fn(&'a T) -> K,
) -> BTreeMap<K, (&'a T, Gap)> {
    let each = before.into_iter().flat_map(|(told, gap)| {
        let things = things(told).iter();
        things.map(move |thing| (name(thing), (thing, gap)))
    });
    each.collect()
}

/// The topics that are as they were made; one that was made anew under its name counts from nothing.
fn lasting<'a>(told: &'a told::Told, before: Before<'_>) -> BTreeSet<&'a str> {
    let then = before.map_or(&[][..], |(then, _)| &then.topics);
    let then: BTreeSet<_> = then.iter().map(|one| (&*one.name, &*one.id)).collect();
    let topics = told.topics.iter();
    let lasting = topics.filter(|one| then.contains(&(&*one.name, &*one.id)));
    lasting.map(|one| &*one.name).collect()
}

fn partitions(told: &told::Told, before: Before<'_>) -> Vec<Partition> {
    let lasting = lasting(told, before);
    let then = by_name(
        before,
        |told| &told.partitions,
        |one| (&*one.topic, one.partition),
    );
    let mut followers: BTreeMap<(&str, u64), Vec<&told::Follower>> = BTreeMap::new();
    for follower in &told.followers {
        let name = (&*follower.topic, follower.partition);
        followers.entry(name).or_default().push(follower);
    }
    let of = |one: &told::Partition| {
        let name = (&*one.topic, one.partition);
        let followers = followers.get(&name).map_or(&[][..], Vec::as_slice);
        let then = then.get(&name).filter(|_| lasting.contains(&*one.topic));
        Partition::of(one, then.copied(), followers)
    };
    told.partitions.iter().map(of).collect()
}

fn connections(now: &Poll, before: Before<'_>) -> Vec<Connection> {
    let then = by_name(before, |told| &told.connections, |one| (one.core, one.id));
    let of = |one: &told::Connection| {
        let then = then.get(&(one.core, one.id)).copied();
        Connection::of(one, then, now.time)
    };
    now.told.connections.iter().map(of).collect()
}

fn copies(told: &told::Told, before: Before<'_>) -> Vec<Copy> {
    let lasting = lasting(told, before);
    let then = by_name(
        before,
        |told| &told.clones,
        |one| (&*one.topic, one.partition),
    );
    let here = told.clones.iter().map(|one| {
        let then = then.get(&(&*one.topic, one.partition));
        let then = then.filter(|_| lasting.contains(&*one.topic));
        Copy::here(one, then.copied())
    });
    let then = by_name(
        before,
        |told| &told.followers,
        |one| (&*one.topic, one.partition, &*one.copy),
    );
    let durable: BTreeMap<_, _> = told
        .partitions
        .iter()
        .map(|one| ((&*one.topic, one.partition), one.durable))
        .collect();
    let elsewhere = told.followers.iter().map(|one| {
        let then = then.get(&(&*one.topic, one.partition, &*one.copy));
        let then = then.filter(|_| lasting.contains(&*one.topic));
        let durable = durable.get(&(&*one.topic, one.partition)).copied();
        Copy::elsewhere(one, then.copied(), durable.flatten())
    });
    here.chain(elsewhere).collect()
}

fn totals(
    told: &told::Told,
    before: Before<'_>,
    (cores, partitions): (&[Core], &[Partition]),
) -> Totals {
    let all = |rate: fn(&Core) -> Option<f64>| sum(cores.iter().map(rate));
    let syncs = |told: &told::Told| {
        let each = told.node.cores.iter().map(|core| &core.sync_us);
        each.fold(Histogram::default(), |all, one| all.and(one))
    };
    let syncs = before.and_then(|(then, _)| syncs(told).since(&syncs(then)));
    let mut states = BTreeMap::new();
    for partition in partitions {
        *states.entry(partition.state().to_owned()).or_default() += 1;
    }
    Totals {
        busy_cores: all(|core| core.busy),
        records_per_s: all(|core| core.records_per_s),
        in_bytes_per_s: all(|core| core.in_bytes_per_s),
        out_bytes_per_s: all(|core| core.out_bytes_per_s),
        errors_per_s: all(|core| core.errors_per_s),
        sync_p50_us: syncs.as_ref().and_then(|syncs| syncs.quantile(0.5)),
        sync_p99_us: syncs.as_ref().and_then(|syncs| syncs.quantile(0.99)),
        states,
    }
}
