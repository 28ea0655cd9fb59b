//! Rates, size and lag of each partition.

use serde::Serialize;

use super::{Fact, Row, Scope, fact};
use crate::cmd::top::column::{Column, Value};
use crate::cmd::top::picture::Picture;
use crate::cmd::top::rates::{Gap, number};
use crate::cmd::top::theme::Tone;
use crate::cmd::top::{figure, told};
use crate::cmd::topic::state;

/// One partition.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cmd::top) struct Partition {
    #[serde(flatten)]
    pub(in crate::cmd::top) told: told::Partition,
    pub(in crate::cmd::top) records_per_s: Option<f64>,
    pub(in crate::cmd::top) bytes_per_s: Option<f64>,
    /// How many copies elsewhere follow it.
    pub(in crate::cmd::top) followers: u64,
    /// How many records the one lacks that is furthest behind, of those that were heard.
    pub(in crate::cmd::top) follower_lag_records_max: Option<u64>,
}

impl Partition {
    /// A partition as it is told now, and as it was told a gap before.
    pub(in crate::cmd::top) fn of(
        now: &told::Partition,
        before: Option<(&told::Partition, Gap)>,
        followers: &[&told::Follower],
    ) -> Self {
        let records = before.and_then(|(before, gap)| gap.rate(before.log_end?, now.log_end?));
        // What retention took meanwhile hides what was added.
        let uncut = before.filter(|(before, _)| before.log_start == now.log_start);
        let bytes = uncut.and_then(|(before, gap)| gap.rate(before.bytes?, now.bytes?));
        let lags = followers
            .iter()
            .filter_map(|one| Some(now.durable?.saturating_sub(one.end?)));
        Self {
            told: now.clone(),
            records_per_s: records,
            bytes_per_s: bytes,
            followers: followers.len() as u64,
            follower_lag_records_max: lags.max(),
        }
    }

    /// How many records are missing: here, or where it is followed.
    pub(super) fn lag(&self) -> Option<u64> {
        self.told.lag_records.or(self.follower_lag_records_max)
    }

    /// The word for its state.
    pub(in crate::cmd::top) fn state(&self) -> &str {
        let told = state::Told {
            word: &self.told.state,
            is_read_only: self.told.read_only == Some(true),
            is_replaced: self.told.role == "fenced",
        };
        told.shown()
    }

    pub(super) fn tone(&self) -> Tone {
        match self.state() {
            "ok" => Tone::Good,
            "opening" | "replaced" => Tone::Warn,
            _ => Tone::Bad,
        }
    }

    fn lag_tone(&self) -> Tone {
        match self.lag() {
            Some(0) | None => Tone::Plain,
            Some(_) => Tone::Warn,
        }
    }

    /// How many records wait for the disk.
    fn unsynced(&self) -> Option<u64> {
        Some(self.told.log_end?.saturating_sub(self.told.durable?))
    }

    /// Its name, as of something that is one thing.
    fn name(&self) -> String {
        format!("{}/{}", self.told.topic, self.told.partition)
    }
}

impl Row for Partition {
    // IN/S is not known while retention takes something, as it does all the while where most comes in.
    const SORT: &'static str = "REC/S";
    const NONE: &'static str = "there is no partition yet; `corelog topic create` makes some";
    const COLUMNS: &'static [Column<Self>] = &[
        Column::name("TOPIC", (14, 0), |one| Value::Text(&one.told.topic)),
        Column::<Self>::figure("PART", (4, 0), |one| Value::Exact(one.told.partition)).ascending(),
        Column::<Self>::name("STATE", (7, 0), |one| Value::Text(one.state())).toned(Self::tone),
        Column::name("ROLE", (8, 3), |one| Value::Text(&one.told.role)),
        Column::<Self>::figure("CORE", (4, 2), |one| Value::Exact(one.told.core)).ascending(),
        Column::figure("REC/S", (5, 0), |one| Value::Count(one.records_per_s)),
        Column::figure("IN/S", (8, 0), |one| Value::Bytes(one.bytes_per_s)),
        Column::figure("SIZE", (8, 0), |one| {
            Value::Bytes(one.told.bytes.map(number))
        }),
        Column::<Self>::figure("LAG", (5, 0), |one| Value::Count(one.lag().map(number)))
            .toned(Self::lag_tone),
        Column::figure("BEHIND", (7, 5), |one| {
            Value::Seconds(one.told.lag_ms.map(|ms| number(ms) / 1e3))
        }),
        Column::figure("START", (12, 6), |one| Value::Known(one.told.log_start)),
        Column::figure("END", (12, 4), |one| Value::Known(one.told.log_end)),
        Column::figure("UNSYNCED", (8, 5), |one| {
            Value::Count(one.unsynced().map(number))
        }),
        Column::figure("SEGMENTS", (8, 6), |one| Value::Known(one.told.segments)),
        Column::figure("PARKED", (6, 7), |one| {
            Value::Exact(one.told.parked_fetches)
        }),
        Column::figure("COPIES", (6, 7), |one| Value::Exact(one.followers)),
        Column::figure("EPOCH", (5, 8), |one| Value::Known(one.told.epoch)),
        Column::name("SOURCE", (16, 8), |one| {
            Value::Text(one.told.source.as_deref().unwrap_or_default())
        }),
        Column::name("SCRUBBED", (24, 9), |one| {
            Value::Text(one.told.scrubbed_at.as_deref().unwrap_or_default())
        }),
    ];

    fn key(&self) -> String {
        self.name()
    }

    fn words(&self) -> Vec<&str> {
        let source = self.told.source.as_deref().unwrap_or_default();
        vec![&self.told.topic, self.state(), &self.told.role, source]
    }

    fn is_within(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Core(core) => self.told.core == *core,
            Scope::Topic(topic) => self.told.topic == *topic,
        }
    }

    fn facts(&self, picture: &Picture) -> Vec<Fact> {
        let told = &self.told;
        let value = |value: Value<'_>| value.text(0);
        let known = |number: Option<u64>| value(Value::Known(number));
        let in_short = |bytes: u64| format!("{bytes} ({})", figure::bytes(number(bytes)));
        let bytes = told.bytes.map_or_else(|| known(None), in_short);
        let unscrubbed = told.log_end.map_or(figure::NOTHING, |_| "never");
        let mut facts = vec![
            fact("partition", self.name()),
            fact("state", self.state()).toned(self.tone()),
            fact("role", &told.role),
            fact("core", told.core),
            fact(
                "records appended/s",
                value(Value::Count(self.records_per_s)),
            ),
            fact("bytes appended/s", value(Value::Bytes(self.bytes_per_s))),
            fact("log start", known(told.log_start)),
            fact("high watermark", known(told.high_watermark)),
            fact("durable", known(told.durable)),
            fact("log end", known(told.log_end)),
            fact("leader epoch", known(told.epoch)),
            fact("segments", known(told.segments)),
            fact("bytes", bytes),
            fact("parked fetches", told.parked_fetches),
            fact("damaged ranges", known(told.damaged_ranges)).toned(match told.damaged_ranges {
                Some(0) | None => Tone::Plain,
                Some(_) => Tone::Bad,
            }),
            fact(
                "scrubbed",
                told.scrubbed_at.as_deref().unwrap_or(unscrubbed),
            ),
        ];
        let waits_for = told.waits_for.iter().map(state::awaited);
        facts.extend(waits_for.map(|whom| fact("waits for", whom).toned(Tone::Bad)));
        if told.source.is_some() || told.lag_records.is_some() {
            facts.extend(self.behind());
        }
        let copies = picture.copies.iter();
        let mine = copies.filter(|copy| copy.is_of(&told.topic, told.partition));
        facts.extend(mine.map(|copy| fact(copy.way(), copy.sentence()).toned(copy.tone())));
        facts
    }
}

impl Partition {
    /// How far it is behind its source.
    fn behind(&self) -> Vec<Fact> {
        let told = &self.told;
        let millis = |ms: Option<u64>| Value::Micros(ms.map(|ms| number(ms) * 1e3)).text(0);
        vec![
            fact("source", told.source.as_deref().unwrap_or(figure::NOTHING)),
            fact(
                "records behind",
                Value::Count(told.lag_records.map(number)).text(0),
            )
            .toned(self.lag_tone()),
            fact(
                "bytes behind",
                Value::Bytes(told.lag_bytes.map(number)).text(0),
            ),
            fact("behind for", millis(told.lag_ms)),
            fact("source silent for", millis(told.source_silent_ms)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_word_for_its_state_is_that_of_topic_describe() {
        let with = |state: &str, role: &str, read_only| told::Partition {
            state: state.to_owned(),
            role: role.to_owned(),
            read_only: Some(read_only),
            damaged_ranges: Some(2),
            ..told::Partition::default()
        };
        let state = |told| Partition::of(&told, None, &[]).state().to_owned();
        assert_eq!(state(with("damaged", "owner", false)), "damaged");
        assert_eq!(state(with("damaged", "owner", true)), "read-only");
        assert_eq!(state(with("ok", "fenced", false)), "replaced");
    }

    /// One that was opened between two polls had appended all that it holds in that second.
    #[test]
    fn what_was_not_open_has_no_rate_and_nothing_that_could_be_shown() {
        let open = told::Partition {
            log_start: Some(0),
            log_end: Some(90_000),
            durable: Some(90_000),
            bytes: Some(1 << 20),
            ..told::Partition::default()
        };
        let closed = told::Partition::default();
        let gap = Gap::of(Duration::from_secs(1)).unwrap();
        for (before, now) in [(&closed, &open), (&open, &closed), (&closed, &closed)] {
            let partition = Partition::of(now, Some((before, gap)), &[]);
            assert_eq!(partition.records_per_s, None);
            assert_eq!(partition.bytes_per_s, None);
        }
        let partition = Partition::of(&closed, None, &[]);
        let columns = Partition::COLUMNS.iter();
        let shown = columns.map(|column| (column.head, (column.value)(&partition).text(0)));
        let unknown = ["SIZE", "START", "END", "UNSYNCED", "SEGMENTS", "EPOCH"];
        for (head, text) in shown.filter(|(head, _)| unknown.contains(head)) {
            assert_eq!(text, figure::NOTHING, "{head}");
        }
    }
}
