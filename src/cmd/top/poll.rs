//! Asking a node again and again, without anybody waiting for it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::told::{Clone, Connection, Follower, Node, Partition, Told, Topic};
use crate::admin;
use crate::side::SlowAckRows;

/// What a node told, and when.
#[derive(Debug)]
pub(super) struct Poll {
    pub(super) told: Told,
    pub(super) at: Instant,
    pub(super) time: Timestamp,
}

impl Poll {
    /// Of a node that has told nothing.
    pub(super) fn nothing() -> Self {
        Self {
            told: Told::default(),
            at: Instant::now(),
            time: Timestamp::now(),
        }
    }
}

#[derive(Deserialize)]
struct Topics {
    topics: Vec<Topic>,
}

#[derive(Deserialize)]
struct Partitions {
    partitions: Vec<Partition>,
}

#[derive(Deserialize)]
struct Connections {
    connections: Vec<Connection>,
}

#[derive(Deserialize)]
struct Clones {
    clones: Vec<Clone>,
    followers: Vec<Follower>,
}

/// Asks once for everything that is shown.
///
/// # Errors
/// Exit code 4 if nobody answers there.
pub(super) async fn ask(address: &str) -> anyhow::Result<Poll> {
    let (node, topics, partitions, connections, clones, slowest) = tokio::try_join!(
        admin::ask::<Node>(address, "/v1/node"),
        admin::ask::<Topics>(address, "/v1/topics"),
        admin::ask::<Partitions>(address, "/v1/partitions"),
        admin::ask::<Connections>(address, "/v1/connections"),
        admin::ask::<Clones>(address, "/v1/clones"),
        admin::ask::<SlowAckRows>(address, "/v1/slowest"),
    )?;
    Ok(Poll {
        told: Told {
            node,
            topics: topics.topics,
            partitions: partitions.partitions,
            connections: connections.connections,
            clones: clones.clones,
            followers: clones.followers,
            slowest: slowest.slowest,
        },
        at: Instant::now(),
        time: Timestamp::now(),
    })
}

/// Asks at every interval from one interval on, until nobody takes the answers any more.
pub(super) fn begin(address: String, interval: Duration) -> mpsc::Receiver<anyhow::Result<Poll>> {
    let (tell, told) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is now, and whoever begins has just asked.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            if tell.send(ask(&address).await).await.is_err() {
                break;
            }
        }
    });
    told
}
