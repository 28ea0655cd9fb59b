//! What is copied from other nodes, and by them.

use serde::Serialize;

use super::{Fact, Row, fact};
use crate::cmd::top::column::{Column, Value};
use crate::cmd::top::picture::Picture;
use crate::cmd::top::rates::{Gap, number};
use crate::cmd::top::theme::Tone;
use crate::cmd::top::{figure, told};

/// A copy here of another node's partition, or a copy elsewhere of one of this node's.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cmd::top) struct Copy {
    pub(in crate::cmd::top) topic: String,
    pub(in crate::cmd::top) partition: u64,
    /// `from` another node, or `to` another node.
    pub(in crate::cmd::top) way: &'static str,
    /// The other node.
    pub(in crate::cmd::top) peer: String,
    pub(in crate::cmd::top) state: String,
    /// Where the copy ends.
    pub(in crate::cmd::top) end: Option<u64>,
    /// How fast it grows.
    pub(in crate::cmd::top) records_per_s: Option<f64>,
    pub(in crate::cmd::top) lag_records: Option<u64>,
    pub(in crate::cmd::top) lag_bytes: Option<u64>,
    pub(in crate::cmd::top) lag_ms: Option<u64>,
    /// How long ago the other node was heard.
    pub(in crate::cmd::top) heard_ms: Option<u64>,
    /// Which share of the sealed segments is here.
    pub(in crate::cmd::top) done: Option<f64>,
    pub(in crate::cmd::top) bytes_done: Option<u64>,
    pub(in crate::cmd::top) bytes_total: Option<u64>,
    /// Why it does not go on.
    pub(in crate::cmd::top) error: Option<told::Trouble>,
    /// The other node's id, where it said.
    pub(in crate::cmd::top) node: Option<String>,
    /// The id of a copy elsewhere: one that was made anew may have the address of the one before.
    pub(in crate::cmd::top) copy: Option<String>,
}

impl Copy {
    /// A copy here.
    pub(in crate::cmd::top) fn here(
        now: &told::Clone,
        before: Option<(&told::Clone, Gap)>,
    ) -> Self {
        let is_counted = now.bytes_total > 0;
        let peer = now.source.as_ref().or(now.sources.first());
        Self {
            topic: now.topic.clone(),
            partition: now.partition,
            way: "from",
            peer: peer.cloned().unwrap_or_default(),
            state: now.state.clone(),
            end: now.end,
            records_per_s: before.and_then(|(before, gap)| gap.rate(before.end?, now.end?)),
            lag_records: now.lag_records,
            lag_bytes: now.lag_bytes,
            lag_ms: now.lag_ms,
            heard_ms: now.source_heard_ms,
            done: is_counted.then(|| number(now.bytes_done) / number(now.bytes_total)),
            bytes_done: is_counted.then_some(now.bytes_done),
            bytes_total: is_counted.then_some(now.bytes_total),
            error: now.error.clone(),
            node: None,
            copy: None,
        }
    }

    /// A copy elsewhere of a partition that is durable up to `durable`, if that is known.
    pub(in crate::cmd::top) fn elsewhere(
        now: &told::Follower,
        before: Option<(&told::Follower, Gap)>,
        durable: Option<u64>,
    ) -> Self {
        let state = if now.is_silent { "silent" } else { "following" };
        Self {
            topic: now.topic.clone(),
            partition: now.partition,
            way: "to",
            peer: now.address.clone().unwrap_or_else(|| now.copy.clone()),
            state: state.to_owned(),
            end: now.end,
            records_per_s: before.and_then(|(before, gap)| gap.rate(before.end?, now.end?)),
            lag_records: durable.and_then(|durable| Some(durable.saturating_sub(now.end?))),
            lag_bytes: None,
            lag_ms: None,
            heard_ms: now.heard_ms,
            done: None,
            bytes_done: None,
            bytes_total: None,
            error: None,
            node: now.node.clone(),
            copy: Some(now.copy.clone()),
        }
    }

    pub(super) fn is_of(&self, topic: &str, partition: u64) -> bool {
        self.topic == topic && self.partition == partition
    }

    /// What it is to the partition.
    pub(super) fn way(&self) -> &'static str {
        match self.way {
            "from" => "copied from",
            _ => "followed by",
        }
    }

    /// Who, how, and how far.
    pub(super) fn sentence(&self) -> String {
        let (peer, state) = (&self.peer, &self.state);
        let Some(heard_ms) = self.heard_ms else {
            return format!("{peer}: {state}, not heard since the node was started");
        };
        let lag = Value::Count(self.lag_records.map(number)).text(0);
        let heard = Value::Micros(Some(number(heard_ms) * 1e3)).text(0);
        format!("{peer}: {state}, {lag} records behind, heard {heard} ago")
    }

    pub(super) fn tone(&self) -> Tone {
        match &*self.state {
            "stopped" => Tone::Bad,
            "waiting" | "silent" => Tone::Warn,
            "following" | "done" => Tone::Good,
            _ => Tone::Plain,
        }
    }

    fn trouble(&self) -> String {
        let error = self.error.as_ref();
        error.map_or_else(String::new, |error| {
            format!("{}: {}", error.code, error.message)
        })
    }
}

impl Row for Copy {
    const SORT: &'static str = "LAG";
    const NONE: &'static str = "nothing is copied to or from here; `corelog clone` begins a copy";
    const COLUMNS: &'static [Column<Self>] = &[
        Column::name("TOPIC", (12, 0), |copy| Value::Text(&copy.topic)),
        Column::<Self>::figure("PART", (4, 0), |copy| Value::Exact(copy.partition)).ascending(),
        Column::name("WAY", (4, 0), |copy| Value::Text(copy.way)),
        Column::name("PEER", (14, 0), |copy| Value::Text(&copy.peer)),
        Column::<Self>::name("STATE", (9, 0), |copy| Value::Text(&copy.state)).toned(Self::tone),
        Column::figure("REC/S", (5, 2), |copy| Value::Count(copy.records_per_s)),
        Column::figure("LAG", (5, 0), |copy| {
            Value::Count(copy.lag_records.map(number))
        }),
        Column::figure("LAG BYTES", (9, 3), |copy| {
            Value::Bytes(copy.lag_bytes.map(number))
        }),
        Column::figure("BEHIND", (7, 3), |copy| {
            Value::Seconds(copy.lag_ms.map(|ms| number(ms) / 1e3))
        }),
        Column::figure("DONE", (4, 1), |copy| Value::Share(copy.done)),
        Column::<Self>::drawing("COPIED", (20, 4), |copy| Value::Bar(copy.done))
            .toned(|_| Tone::Drawn),
        Column::figure("HEARD", (7, 1), |copy| {
            Value::Seconds(copy.heard_ms.map(|ms| number(ms) / 1e3))
        }),
        Column::figure("END", (12, 5), |copy| Value::Known(copy.end)),
        Column::<Self>::name("ERROR", (20, 4), |copy| Value::Words(copy.trouble()))
            .toned(|_| Tone::Bad),
    ];

    fn key(&self) -> String {
        let copy = self.copy.as_deref().unwrap_or_default();
        format!(
            "{}/{} {} {} {copy}",
            self.topic, self.partition, self.way, self.peer
        )
    }

    fn words(&self) -> Vec<&str> {
        vec![&self.topic, self.way, &self.peer, &self.state]
    }

    fn facts(&self, _picture: &Picture) -> Vec<Fact> {
        let millis = |ms: Option<u64>| Value::Micros(ms.map(|ms| number(ms) * 1e3)).text(0);
        let bytes = |bytes: Option<u64>| Value::Bytes(bytes.map(number)).text(0);
        let mut facts = vec![
            fact("partition", format!("{}/{}", self.topic, self.partition)),
            fact(self.way(), &self.peer),
            fact("its node", self.node.as_deref().unwrap_or(figure::NOTHING)),
            fact("state", &self.state).toned(self.tone()),
            fact("ends at", Value::Known(self.end).text(0)),
            fact("records/s", Value::Count(self.records_per_s).text(0)),
            fact(
                "records behind",
                Value::Count(self.lag_records.map(number)).text(0),
            ),
            fact("bytes behind", bytes(self.lag_bytes)),
            fact("behind for", millis(self.lag_ms)),
            fact("heard ago", millis(self.heard_ms)),
            fact("sealed bytes here", bytes(self.bytes_done)),
            fact("of", bytes(self.bytes_total)),
        ];
        if self.error.is_some() {
            facts.push(fact("error", self.trouble()).toned(Tone::Bad));
        }
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::top::view::partition::Partition;

    fn follower(end: Option<u64>, heard_ms: Option<u64>) -> told::Follower {
        told::Follower {
            address: Some("log3:7400".to_owned()),
            end,
            heard_ms,
            is_silent: heard_ms.is_none(),
            ..told::Follower::default()
        }
    }

    /// The second of two could not be chosen, and nothing below it be reached.
    #[test]
    fn a_copy_that_was_made_anew_at_the_same_address_is_another_row() {
        let key = |copy: &str| {
            let copy = copy.to_owned();
            let follower = told::Follower {
                copy,
                ..follower(None, None)
            };
            Copy::elsewhere(&follower, None, None).key()
        };
        assert_ne!(key("one"), key("other"));
    }

    /// It lacked the whole log, and was the one that its partition was furthest behind at.
    #[test]
    fn how_far_a_follower_is_behind_that_was_not_heard_since_the_start_is_not_known() {
        let heard = follower(Some(90), Some(80_000));
        let unheard = follower(None, None);
        let copy = Copy::elsewhere(&unheard, None, Some(100));
        assert_eq!(
            (copy.end, copy.lag_records, copy.heard_ms),
            (None, None, None)
        );
        assert_eq!(
            copy.sentence(),
            "log3:7400: silent, not heard since the node was started"
        );
        let partition = |followers: &[&told::Follower]| {
            let now = told::Partition {
                durable: Some(100),
                ..told::Partition::default()
            };
            Partition::of(&now, None, followers)
        };
        let both = partition(&[&unheard, &heard]);
        assert_eq!((both.followers, both.lag()), (2, Some(10)));
        assert_eq!(partition(&[&unheard]).lag(), None);
    }
}
