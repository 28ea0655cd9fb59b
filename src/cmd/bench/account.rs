//! Where the time of an acknowledgement went, as far as the server tells.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::latencies::micros;
use super::open_loop::{Acked, Load};
use crate::cmd::topic::policy::Ack;
use crate::side::SlowAckRow;

/// What the server tells of a load.
pub(super) struct Accounts {
    rows: HashMap<(u32, u64), SlowAckRow>,
    at: Instant,
    /// What is missing in `rows` took no longer, by partition. A core keeps its slowest, so that what it does
    /// not tell of took no longer than anything that it does.
    rest_us: HashMap<u32, u64>,
    /// The same of a partition of whom the server tells nothing: whichever core has it.
    rest_us_max: Option<u64>,
}

/// What the server tells of one acknowledgement.
pub(super) struct Account<'a> {
    /// If it was among the server's slowest.
    pub(super) row: Option<&'a SlowAckRow>,
    /// What was spent outside of the server; at least that, without a row.
    pub(super) outside_us: Option<u64>,
}

impl Accounts {
    /// From what the server told at `at`.
    pub(super) fn of(load: &Load, told: Vec<SlowAckRow>, at: Instant) -> Self {
        let its = told
            .into_iter()
            .filter(|row| row.topic == load.topic.as_str());
        let rows: HashMap<_, _> = its.map(|row| ((row.partition, row.offset), row)).collect();
        let mut rest_us = HashMap::new();
        // The server tells of durable ones alone.
        if load.ack == Some(Ack::Durable) {
            for row in rows.values() {
                let least = rest_us.entry(row.partition).or_insert(u64::MAX);
                *least = spent_us(row).min(*least);
            }
        }
        Self {
            rest_us_max: rest_us.values().max().copied(),
            rows,
            at,
            rest_us,
        }
    }

    /// The account of one of the load.
    pub(super) fn account(&self, acked: &Acked) -> Account<'_> {
        let partition = acked.partition.get();
        let row = self.rows.get(&(partition, acked.offset.get()));
        let is_remembered = self.at < acked.due + acked.took + REMEMBERED;
        let rest_us = self.rest_us.get(&partition).copied();
        let rest_us = rest_us.or(self.rest_us_max).filter(|_| is_remembered);
        let inside_us = row.map(spent_us).or(rest_us);
        Account {
            row,
            outside_us: inside_us.map(|inside| micros(acked.took).saturating_sub(inside)),
        }
    }
}

/// What it took inside of the server.
fn spent_us(row: &SlowAckRow) -> u64 {
    row.queue_us + row.group_us + row.sync_us + row.reply_us
}

/// For how long the server knows its slowest.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use corelog_record::{Offset, PartitionId};

    use super::*;
    use crate::quantity::Span;

    fn load(ack: Ack) -> Load {
        Load {
            topic: "t".parse().unwrap(),
            partitions: 3,
            record_bytes: "1KiB".parse().unwrap(),
            rate: 1,
            batch_records: 1,
            duration: Span(Duration::from_secs(1)),
            ack: Some(ack),
        }
    }

    fn row(partition: u32, offset: u64, sync_us: u64) -> SlowAckRow {
        SlowAckRow {
            topic: "t".to_owned(),
            partition,
            offset,
            records: 1,
            answered_ms: 0,
            queue_us: 1,
            group_us: 2,
            sync_us,
            reply_us: 3,
        }
    }

    fn acked(partition: u32, offset: u64, due: Instant) -> Acked {
        Acked {
            partition: PartitionId::new(partition),
            offset: Offset::new(offset).unwrap(),
            due,
            due_us: 0,
            took: Duration::from_micros(1000),
        }
    }

    #[test]
    fn what_the_server_does_not_tell_of_took_no_longer_inside_than_what_it_does() {
        let now = Instant::now();
        let told = vec![row(0, 5, 794), row(0, 6, 194), row(1, 5, 494)];
        let accounts = Accounts::of(&load(Ack::Durable), told, now);
        let outside = |partition, offset| {
            let acked = acked(partition, offset, now);
            let account = accounts.account(&acked);
            (account.row.is_some(), account.outside_us)
        };
        assert_eq!(outside(0, 5), (true, Some(200)));
        assert_eq!(outside(0, 7), (false, Some(800)), "its slowest is known");
        assert_eq!(
            outside(2, 5),
            (false, Some(500)),
            "it may be of either core"
        );
    }

    #[test]
    fn of_what_the_server_has_forgotten_or_never_notes_nothing_is_known() {
        let now = Instant::now();
        let told = || vec![row(0, 5, 794)];
        let later = Accounts::of(&load(Ack::Durable), told(), now + 2 * REMEMBERED);
        assert_eq!(later.account(&acked(0, 6, now)).outside_us, None);
        let accepted = Accounts::of(&load(Ack::Accepted), told(), now);
        assert_eq!(accepted.account(&acked(0, 6, now)).outside_us, None);
        let silent = Accounts::of(&load(Ack::Durable), Vec::new(), now);
        assert_eq!(silent.account(&acked(0, 6, now)).outside_us, None);
    }
}
