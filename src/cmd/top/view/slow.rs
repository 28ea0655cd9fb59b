//! The slowest acknowledgements of the last hour, and where their time went.

use serde::Serialize;

use super::{Fact, Row, fact};
use crate::cmd::top::column::{Column, Value};
use crate::cmd::top::figure;
use crate::cmd::top::picture::Picture;
use crate::cmd::top::rates::number;
use crate::quantity::rfc3339;
use crate::side::SlowAckRow;

/// One of them.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cmd::top) struct Slow {
    #[serde(flatten)]
    pub(in crate::cmd::top) told: SlowAckRow,
    pub(in crate::cmd::top) total_us: u64,
    /// When it was answered.
    #[serde(skip)]
    answered: String,
    /// How long ago that was.
    #[serde(skip)]
    ago_s: f64,
}

impl Slow {
    /// One as it is told at this time.
    pub(in crate::cmd::top) fn of(told: &SlowAckRow, time: jiff::Timestamp) -> Self {
        let ago_ms = time.as_millisecond().saturating_sub(told.answered_ms);
        Self {
            told: told.clone(),
            total_us: told.total_us(),
            answered: rfc3339(corelog_record::Timestamp::from_millis(told.answered_ms)),
            // A clock of there that is ahead of ours is no age.
            ago_s: number(u64::try_from(ago_ms).unwrap_or_default()) / 1e3,
        }
    }
}

impl Row for Slow {
    const SORT: &'static str = "TOTAL";
    const NONE: &'static str = "no durable acknowledgement in the last hour";
    const COLUMNS: &'static [Column<Self>] = &[
        Column::name("TOPIC", (14, 0), |slow| Value::Text(&slow.told.topic)),
        Column::<Self>::figure("PART", (4, 0), |slow| {
            Value::Exact(slow.told.partition.into())
        })
        .ascending(),
        Column::<Self>::figure("AGO", (7, 1), |slow| Value::Seconds(Some(slow.ago_s))).ascending(),
        Column::figure("RECORDS", (7, 2), |slow| Value::Exact(slow.told.records)),
        Column::figure("TOTAL", (6, 0), |slow| {
            Value::Micros(Some(number(slow.total_us)))
        }),
        Column::figure("QUEUE", (6, 0), |slow| {
            Value::Micros(Some(number(slow.told.queue_us)))
        }),
        Column::figure("GROUP", (6, 0), |slow| {
            Value::Micros(Some(number(slow.told.group_us)))
        }),
        Column::figure("SYNC", (6, 0), |slow| {
            Value::Micros(Some(number(slow.told.sync_us)))
        }),
        Column::figure("REPLY", (6, 0), |slow| {
            Value::Micros(Some(number(slow.told.reply_us)))
        }),
        Column::figure("OFFSET", (12, 3), |slow| Value::Exact(slow.told.offset)),
        Column::name("ANSWERED", (24, 4), |slow| Value::Text(&slow.answered)),
    ];

    fn key(&self) -> String {
        let told = &self.told;
        format!("{}/{}@{}", told.topic, told.partition, told.offset)
    }

    fn words(&self) -> Vec<&str> {
        vec![&self.told.topic]
    }

    fn facts(&self, _picture: &Picture) -> Vec<Fact> {
        let told = &self.told;
        let part = |us: u64| {
            let share = number(us) / number(self.total_us.max(1));
            format!(
                "{:>6}  {}",
                figure::micros(number(us)),
                figure::bar(share, 20)
            )
        };
        vec![
            fact("partition", format!("{}/{}", told.topic, told.partition)),
            fact("offset", told.offset),
            fact("records", told.records),
            fact("answered", &self.answered),
            fact("took", figure::micros(number(self.total_us))),
            fact("in its queue", part(told.queue_us)),
            fact("while its group formed", part(told.group_us)),
            fact("written and synced", part(told.sync_us)),
            fact("until it was answered", part(told.reply_us)),
        ]
    }
}
