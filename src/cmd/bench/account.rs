//! Where the time of an acknowledgement went, as far as the server tells.

use std::collections::HashMap;

use super::latencies::micros;
use super::open_loop::{Acked, Load};
use crate::cmd::topic::policy::Ack;
use crate::side::{SlowAckRow, SlowAckRows};

/// What the server tells of a load.
#[derive(Default)]
pub(super) struct Accounts {
    rows: HashMap<(u32, u64), SlowAckRow>,
    /// What is missing in `rows` took no longer inside of the server, if they are durable.
    others_us_max: Option<u64>,
}

/// What the server tells of one acknowledgement.
pub(super) struct Account<'a> {
    /// If it was among the server's slowest.
    pub(super) row: Option<&'a SlowAckRow>,
    /// What was spent outside of the server; at least that, without a row.
    pub(super) outside_us: Option<u64>,
}

impl Accounts {
    /// From what the server told.
    pub(super) fn of(load: &Load, told: Option<SlowAckRows>) -> Self {
        let Some(told) = told else {
            return Self::default();
        };
        let topic = load.topic.as_str();
        let its = told.slowest.into_iter().filter(|row| row.topic == topic);
        let rows: HashMap<_, _> = its.map(|row| ((row.partition, row.offset), row)).collect();
        Self {
            rows,
            others_us_max: (load.ack == Some(Ack::Durable)).then_some(told.others_us_max),
        }
    }

    /// The longest that an acknowledgement of the load took inside of the server, in microseconds, or more: of what it
    /// does not remember it tells a bound that holds for other topics too.
    pub(super) fn inside_us_max(&self) -> Option<u64> {
        let rows = self.rows.values().map(SlowAckRow::total_us).max();
        self.others_us_max
            .map(|others| rows.unwrap_or(0).max(others))
    }

    /// The account of one of the load. Of a partition of which the server tells nothing, which may be
    /// another's, nothing is known.
    pub(super) fn account(&self, acked: &Acked) -> Account<'_> {
        let partition = acked.partition.get();
        let row = self.rows.get(&(partition, acked.offset.get()));
        let is_its = self.rows.keys().any(|(its, _)| *its == partition);
        let others_us_max = self.others_us_max.filter(|_| is_its);
        let inside_us = row.map(SlowAckRow::total_us).or(others_us_max);
        Account {
            row,
            outside_us: inside_us.map(|inside| micros(acked.took).saturating_sub(inside)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use corelog_record::{Offset, PartitionId};

    use super::super::target;
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
            consent: target::Consent::default(),
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

    fn acked(partition: u32, offset: u64) -> Acked {
        Acked {
            partition: PartitionId::new(partition),
            offset: Offset::new(offset).unwrap(),
            due: Instant::now(),
            due_us: 0,
            took: Duration::from_micros(1000),
        }
    }

    fn told(slowest: Vec<SlowAckRow>) -> Option<SlowAckRows> {
        Some(SlowAckRows {
            slowest,
            others_us_max: 200,
        })
    }

    #[test]
    fn what_the_server_does_not_tell_of_took_no_longer_inside_than_it_says_of_all_others() {
        let rows = vec![row(0, 5, 794), row(1, 5, 494)];
        let accounts = Accounts::of(&load(Ack::Durable), told(rows));
        let outside = |partition, offset| {
            let acked = acked(partition, offset);
            let account = accounts.account(&acked);
            (account.row.is_some(), account.outside_us)
        };
        assert_eq!(outside(0, 5), (true, Some(200)));
        assert_eq!(outside(0, 7), (false, Some(800)));
        assert_eq!(outside(2, 5), (false, None), "another may have it");
        assert_eq!(
            accounts.inside_us_max(),
            Some(800),
            "of all, not of those asked for"
        );
        let accounts = Accounts::of(&load(Ack::Durable), told(Vec::new()));
        assert_eq!(accounts.inside_us_max(), Some(200));
    }

    #[test]
    fn of_accepted_ones_and_of_another_topic_s_the_server_tells_nothing() {
        let acked = acked(0, 6);
        let accepted = Accounts::of(&load(Ack::Accepted), told(vec![row(0, 5, 794)]));
        assert_eq!(accepted.account(&acked).outside_us, None);
        assert_eq!(accepted.inside_us_max(), None);
        let other = SlowAckRow {
            topic: "other".to_owned(),
            ..row(0, 6, 794)
        };
        let other = Accounts::of(&load(Ack::Durable), told(vec![other]));
        assert_eq!(other.account(&acked).outside_us, None);
        let silent = Accounts::of(&load(Ack::Durable), None);
        assert_eq!(silent.account(&acked).outside_us, None);
    }
}
