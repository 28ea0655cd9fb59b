//! Who is connected, and what moves.

use serde::Serialize;

use super::{Fact, Row, Scope, fact};
use crate::cmd::top::column::{Column, Value};
use crate::cmd::top::picture::Picture;
use crate::cmd::top::rates::{Gap, number};
use crate::cmd::top::{clock, figure, told};

/// One connection.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cmd::top) struct Connection {
    #[serde(flatten)]
    pub(in crate::cmd::top) told: told::Connection,
    pub(in crate::cmd::top) in_bytes_per_s: Option<f64>,
    pub(in crate::cmd::top) out_bytes_per_s: Option<f64>,
    /// For how long it is open.
    pub(in crate::cmd::top) age_s: Option<f64>,
}

impl Connection {
    /// A connection as it is told now, and as it was told a gap before.
    pub(in crate::cmd::top) fn of(
        now: &told::Connection,
        before: Option<(&told::Connection, Gap)>,
        time: jiff::Timestamp,
    ) -> Self {
        let rate = |counter: fn(&told::Connection) -> u64| {
            let (before, gap) = before?;
            gap.rate(counter(before), counter(now))
        };
        Self {
            in_bytes_per_s: rate(|one| one.received_bytes),
            out_bytes_per_s: rate(|one| one.sent_bytes),
            age_s: clock::seconds_since(&now.since, time),
            told: now.clone(),
        }
    }
}

impl Row for Connection {
    const SORT: &'static str = "IN/S";
    const NONE: &'static str = "nobody is connected";
    const COLUMNS: &'static [Column<Self>] = &[
        Column::name("CLIENT", (12, 0), |one| Value::Text(&one.told.client)),
        Column::name("PEER", (15, 0), |one| Value::Text(&one.told.peer)),
        Column::<Self>::figure("CORE", (4, 1), |one| Value::Exact(one.told.core)).ascending(),
        Column::figure("AGE", (7, 2), |one| Value::Seconds(one.age_s)),
        Column::figure("IN FLIGHT", (9, 0), |one| {
            Value::Exact(one.told.in_flight_requests)
        }),
        Column::figure("IN/S", (8, 0), |one| Value::Bytes(one.in_bytes_per_s)),
        Column::figure("OUT/S", (8, 0), |one| Value::Bytes(one.out_bytes_per_s)),
        Column::figure("RECEIVED", (8, 3), |one| {
            Value::Bytes(Some(number(one.told.received_bytes)))
        }),
        Column::figure("SENT", (8, 3), |one| {
            Value::Bytes(Some(number(one.told.sent_bytes)))
        }),
        Column::<Self>::figure("ID", (6, 4), |one| Value::Exact(one.told.id)).ascending(),
        Column::name("SINCE", (24, 5), |one| Value::Text(&one.told.since)),
    ];

    fn key(&self) -> String {
        format!("{}/{}", self.told.core, self.told.id)
    }

    fn words(&self) -> Vec<&str> {
        vec![&self.told.client, &self.told.peer]
    }

    fn is_within(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Core(core) => self.told.core == *core,
            Scope::Topic(_) => true,
        }
    }

    fn facts(&self, _picture: &Picture) -> Vec<Fact> {
        let told = &self.told;
        let bytes = |bytes: u64| format!("{bytes} ({})", figure::bytes(number(bytes)));
        let value = |value: Value<'_>| value.text(0);
        vec![
            fact("client", &told.client),
            fact("peer", &told.peer),
            fact("core", told.core),
            fact("id", told.id),
            fact("since", &told.since),
            fact("age", value(Value::Seconds(self.age_s))),
            fact("requests in flight", told.in_flight_requests),
            fact("received", bytes(told.received_bytes)),
            fact("received/s", value(Value::Bytes(self.in_bytes_per_s))),
            fact("sent", bytes(told.sent_bytes)),
            fact("sent/s", value(Value::Bytes(self.out_bytes_per_s))),
        ]
    }
}
