//! Partitions of a topic taken together.

use std::collections::BTreeMap;

use serde::Serialize;

use super::partition::Partition;
use super::{Fact, Row, Scope, fact};
use crate::cmd::top::column::{Column, Value};
use crate::cmd::top::picture::Picture;
use crate::cmd::top::rates::{number, whole_sum};
use crate::cmd::top::theme::Tone;
use crate::cmd::top::{figure, told};
use crate::quantity::Span;

/// One topic.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cmd::top) struct Topic {
    #[serde(flatten)]
    pub(in crate::cmd::top) told: told::Topic,
    pub(in crate::cmd::top) records_per_s: Option<f64>,
    pub(in crate::cmd::top) bytes_per_s: Option<f64>,
    /// How many records the copy that is furthest behind lacks, here or elsewhere.
    pub(in crate::cmd::top) lag_records_max: Option<u64>,
    /// How much it holds; not known where the log of a partition is not open.
    #[serde(skip)]
    bytes: Option<u64>,
    /// What its partitions are, but for those that are as they should be; then a word for that.
    #[serde(skip)]
    state: String,
    #[serde(skip)]
    retention: String,
}

impl Topic {
    /// Every topic, with what its partitions do.
    pub(in crate::cmd::top) fn all(topics: &[told::Topic], partitions: &[Partition]) -> Vec<Self> {
        let mut by_topic: BTreeMap<&str, Vec<&Partition>> = BTreeMap::new();
        for partition in partitions {
            let topic = by_topic.entry(&partition.told.topic).or_default();
            topic.push(partition);
        }
        let of = |topic: &told::Topic| {
            let its = by_topic.get(&*topic.name).map_or(&[][..], Vec::as_slice);
            Self::of(topic, its)
        };
        topics.iter().map(of).collect()
    }

    fn of(topic: &told::Topic, partitions: &[&Partition]) -> Self {
        let are_open = partitions.iter().all(|one| one.told.bytes.is_some());
        Self {
            records_per_s: whole_sum(partitions.iter().map(|one| one.records_per_s)),
            bytes_per_s: whole_sum(partitions.iter().map(|one| one.bytes_per_s)),
            lag_records_max: partitions.iter().filter_map(|one| one.lag()).max(),
            bytes: are_open.then_some(topic.bytes),
            state: state(partitions),
            retention: retention(&topic.policy),
            told: topic.clone(),
        }
    }
}

/// `ok`, or how many are what else.
fn state(partitions: &[&Partition]) -> String {
    let mut others: BTreeMap<&str, u64> = BTreeMap::new();
    for partition in partitions.iter().filter(|one| one.tone() != Tone::Good) {
        *others.entry(partition.state()).or_default() += 1;
    }
    if others.is_empty() {
        return "ok".to_owned();
    }
    let counts = others
        .iter()
        .map(|(state, count)| format!("{count} {state}"));
    counts.collect::<Vec<_>>().join(", ")
}

fn retention(policy: &told::Policy) -> String {
    let age = policy
        .retention_age_ms
        .map(|ms| Span::from_millis(ms).to_string());
    let bytes = policy
        .retention_bytes
        .map(|bytes| figure::bytes(number(bytes)));
    let limits: Vec<_> = age.into_iter().chain(bytes).collect();
    match limits.is_empty() {
        true => "for ever".to_owned(),
        false => limits.join(", "),
    }
}

impl Row for Topic {
    // As with partitions, the bytes of a busy one are hardly ever known.
    const SORT: &'static str = "REC/S";
    const NONE: &'static str = "there is no topic yet; `corelog topic create` makes one";
    const COLUMNS: &'static [Column<Self>] = &[
        Column::name("TOPIC", (16, 0), |topic| Value::Text(&topic.told.name)),
        Column::figure("PARTS", (5, 0), |topic| Value::Exact(topic.told.partitions)),
        Column::<Self>::name("STATE", (9, 0), |topic| Value::Text(&topic.state)).toned(|topic| {
            match &*topic.state {
                "ok" => Tone::Good,
                _ => Tone::Bad,
            }
        }),
        Column::figure("REC/S", (5, 0), |topic| Value::Count(topic.records_per_s)),
        Column::figure("IN/S", (8, 0), |topic| Value::Bytes(topic.bytes_per_s)),
        Column::figure("SIZE", (8, 0), |topic| {
            Value::Bytes(topic.bytes.map(number))
        }),
        Column::figure("LAG", (5, 1), |topic| {
            Value::Count(topic.lag_records_max.map(number))
        }),
        Column::figure("SEGMENTS", (8, 3), |topic| {
            Value::Exact(topic.told.segments)
        }),
        Column::name("ACK", (8, 4), |topic| Value::Text(&topic.told.policy.ack)),
        Column::name("KEPT", (8, 2), |topic| Value::Text(&topic.retention)),
        Column::name("CREATED", (24, 5), |topic| Value::Text(&topic.told.created)),
        Column::name("ID", (32, 6), |topic| Value::Text(&topic.told.id)),
    ];

    fn key(&self) -> String {
        self.told.name.clone()
    }

    fn words(&self) -> Vec<&str> {
        vec![&self.told.name, &self.state, &self.told.policy.ack]
    }

    fn leads_to(&self) -> Option<Scope> {
        Some(Scope::Topic(self.told.name.clone()))
    }

    fn facts(&self, _picture: &Picture) -> Vec<Fact> {
        let (told, policy) = (&self.told, &self.told.policy);
        let value = |value: Value<'_>| value.text(0);
        let mut facts = vec![
            fact("topic", &told.name),
            fact("id", &told.id),
            fact("created", &told.created),
            fact("partitions", told.partitions),
            fact("state", &self.state),
            fact(
                "records appended/s",
                value(Value::Count(self.records_per_s)),
            ),
            fact("bytes appended/s", value(Value::Bytes(self.bytes_per_s))),
            fact(
                "furthest behind",
                value(Value::Count(self.lag_records_max.map(number))),
            ),
            fact("segments", told.segments),
            fact("bytes", value(Value::Known(self.bytes))),
            fact("acknowledged when", &policy.ack),
            fact("kept", &self.retention),
            fact("segment bytes", figure::bytes(number(policy.segment_bytes))),
        ];
        let rest = policy.rest.iter().filter(|(_, told)| !told.is_null());
        facts.extend(rest.map(|(name, told)| fact(&name.replace('_', " "), told)));
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One whose partitions could not be opened held 0 B.
    #[test]
    fn a_topic_has_a_size_that_is_shown_where_all_of_its_partitions_are_open() {
        let told = told::Topic {
            bytes: 2 << 20,
            ..told::Topic::default()
        };
        let size = |bytes: &[Option<u64>]| {
            let of = |bytes: &Option<u64>| {
                let told = told::Partition {
                    bytes: *bytes,
                    ..told::Partition::default()
                };
                Partition::of(&told, None, &[])
            };
            let partitions: Vec<_> = bytes.iter().map(of).collect();
            let topic = Topic::of(&told, &partitions.iter().collect::<Vec<_>>());
            let size = Topic::COLUMNS.iter().find(|column| column.head == "SIZE");
            (size.unwrap().value)(&topic).text(0)
        };
        assert_eq!(size(&[Some(1 << 20), Some(1 << 20)]), "2.0 MiB");
        assert_eq!(size(&[Some(2 << 20), None]), figure::NOTHING);
    }
}
