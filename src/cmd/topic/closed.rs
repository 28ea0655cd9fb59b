//! Partitions whose log is not open: the server tells of them, and not what they hold.

use corelog_protocol::message::describe_topic::{Partition, State};
use corelog_record::{PartitionId, TopicName};

use crate::exit::{Exit, stop};
use crate::output;
use crate::quantity::Amount;

/// What is told of a partition's log; none while that is not open.
pub(crate) fn known<T>(partition: &Partition, told: T) -> Option<T> {
    (!partition.closed).then_some(told)
}

/// The same in a table.
pub(crate) fn cell(partition: &Partition, told: impl ToString) -> String {
    output::cell(known(partition, told))
}

/// Looks if the logs of all these partitions are open.
///
/// # Errors
/// Exit code 3 if one could not be opened, else 4 if one is not open yet.
pub(crate) fn check<'a>(
    topic: &TopicName,
    partitions: impl IntoIterator<Item = &'a Partition>,
) -> anyhow::Result<()> {
    let closed: Vec<_> = partitions.into_iter().filter(|one| one.closed).collect();
    let is_failed = |one: &&&Partition| one.state == State::Damaged;
    let Some(one) = closed.iter().find(is_failed).or(closed.first()) else {
        return Ok(());
    };
    Err(not_open(topic, one.id, is_failed(&one), closed.len()))
}

/// That the log of a partition could not be opened, with exit code 3.
pub(crate) fn failed(topic: &TopicName, partition: PartitionId) -> anyhow::Error {
    not_open(topic, partition, true, 1)
}

/// The same, or that it is not open yet, of one of so many.
fn not_open(
    topic: &TopicName,
    partition: PartitionId,
    is_failed: bool,
    count: usize,
) -> anyhow::Error {
    let (exit, is_closed, next) = match is_failed {
        true => (
            Exit::Damage,
            "could not be opened",
            "the server's log says why: what its disk does not give is asked for again by itself, a manifest that is damaged or \
             gone `corelog repair --dir` makes anew with the server stopped",
        ),
        false => (Exit::Unreachable, "is not open yet", "ask again"),
    };
    let what = match count - 1 {
        0 => ": what it holds".to_owned(),
        others => format!(", and {others} others are not open either: what they hold"),
    };
    let message = format!(
        "{topic}/{partition} {is_closed}{what} is not known; {next}, \
         `corelog topic describe {topic}` says its state"
    );
    stop(exit, message)
}

/// Looks if none of these partitions could not be opened; one that is not open yet will be.
///
/// # Errors
/// Exit code 3 if one could not.
pub(crate) fn check_none_failed<'a>(
    topic: &TopicName,
    partitions: impl IntoIterator<Item = &'a Partition>,
) -> anyhow::Result<()> {
    let failed = partitions.into_iter();
    check(topic, failed.filter(|one| one.state == State::Damaged))
}

/// How much partitions hold, as far as that is known.
pub(crate) fn held(partitions: &[Partition]) -> String {
    let (closed, open): (Vec<_>, Vec<_>) = partitions.iter().partition(|one| one.closed);
    let known = Amount(open.iter().map(|one| one.bytes).sum()).to_string();
    let amount = match (closed.len(), open.len()) {
        (0, _) => return known,
        (_, 0) => "an unknown amount".to_owned(),
        (_, _) => format!("at least {known}"),
    };
    format!("{amount} ({} partitions are not open)", closed.len())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::slice::from_ref;

    use corelog_record::{CoreId, LeaderEpoch, Offset};

    use super::*;
    use crate::exit;

    /// A partition that holds `bytes` and, if they are not known, is not open.
    pub(crate) fn partition(id: u32, state: State, bytes: Option<u64>) -> Partition {
        Partition {
            id: PartitionId::new(id),
            core: CoreId::new(0),
            log_start: Offset::ZERO,
            high_watermark: Offset::ZERO,
            durable: Offset::ZERO,
            log_end: Offset::ZERO,
            segments: 0,
            bytes: bytes.unwrap_or_default(),
            epoch: LeaderEpoch::default(),
            closed: bytes.is_none(),
            state,
            waits_for: Vec::new(),
            damage: Vec::new(),
            read_only: false,
            scrubbed_at: None,
            snapshot: None,
            role: Default::default(),
            source: None,
            copying: Default::default(),
            lag_records: None,
            lag_bytes: None,
            lag_ms: None,
        }
    }

    #[test]
    fn a_partition_that_is_not_open_is_told_and_one_that_cannot_be_comes_first() {
        let topic = TopicName::new("t").unwrap();
        let told = |partitions: &[Partition]| {
            check(&topic, partitions).map_err(|error| {
                let exit = exit::of(&error);
                (exit, error.to_string())
            })
        };
        let open = partition(0, State::Full, Some(1));
        assert_eq!(told(from_ref(&open)), Ok(()));
        let opening = partition(1, State::Opening, None);
        let (exit, said) = told(&[open, opening.clone()]).unwrap_err();
        assert_eq!(exit, Exit::Unreachable);
        assert!(
            said.starts_with("t/1 is not open yet: what it holds"),
            "{said}"
        );
        let failed = partition(2, State::Damaged, None);
        let (exit, said) = told(&[opening, failed]).unwrap_err();
        assert_eq!(exit, Exit::Damage);
        let begin = "t/2 could not be opened, and 1 others are not open either: what they hold";
        assert!(said.starts_with(begin), "{said}");
    }

    /// A topic of which nothing was open was to be deleted "with 0 B".
    #[test]
    fn what_is_not_open_is_not_told_as_empty() {
        let (known, closed) = (
            partition(0, State::Ok, Some(2_048)),
            partition(1, State::Opening, None),
        );
        assert_eq!(held(from_ref(&known)), "2.0 KiB");
        assert_eq!(
            held(&[known, closed.clone()]),
            "at least 2.0 KiB (1 partitions are not open)"
        );
        assert_eq!(
            held(from_ref(&closed)),
            "an unknown amount (1 partitions are not open)"
        );
        assert_eq!(cell(&closed, 0), "-");
    }
}
