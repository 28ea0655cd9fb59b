//! What to do where the place that a state names is no more, or what lies there cannot be read.

use corelog_client::Error;
use corelog_record::{Offset, PartitionId};

use crate::advice;

/// How one partition is read on from another place than the state says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remedy {
    pub(super) partition: PartitionId,
    /// The place that the state has to name, or else it is not what is wrong. None if it names none behind it.
    pub(super) asked: Option<Offset>,
    pub(super) next: String,
}

impl Remedy {
    /// What helps against an error that is one partition's.
    pub(super) fn of(error: &Error) -> Option<Self> {
        let (partition, asked, next) = match error {
            Error::OutOfRange {
                partition,
                offset,
                log_start,
                high_watermark,
                ..
            } => {
                let next = match high_watermark < offset {
                    true => format!(
                        "the server may be behind another one, or behind what it had: ask that one with --server, or this one \
                         later, or {}",
                        elsewhere(*partition, *high_watermark)
                    ),
                    false => elsewhere(*partition, *log_start),
                };
                (*partition, Some(*offset), next)
            }
            Error::Diverged {
                partition,
                offset,
                parting,
                ..
            } => (*partition, Some(*offset), elsewhere(*partition, *parting)),
            Error::Damaged {
                partition,
                next: Some(next),
                ..
            } => {
                let behind = elsewhere(*partition, *next);
                // Of what was produced so there is no better copy.
                let next = match error.refusal() {
                    Some(_) => format!("{}, or {behind}", advice::OF_DAMAGE),
                    None => behind,
                };
                (*partition, None, next)
            }
            _ => return None,
        };
        Some(Self {
            partition,
            asked,
            next,
        })
    }
}

/// The partition that an error has ended, and no other one.
pub(super) fn partition_of(error: &Error) -> Option<PartitionId> {
    match error {
        Error::OutOfRange { partition, .. }
        | Error::Diverged { partition, .. }
        | Error::Unread { partition, .. }
        | Error::Damaged { partition, .. } => Some(*partition),
        _ => None,
    }
}

/// Of another place, by which the state keeps those of the others.
fn elsewhere(partition: PartitionId, from: Offset) -> String {
    format!("read on with another --state and --partition {partition} --from {from}")
}

#[cfg(test)]
mod tests {
    use corelog_protocol::error::{ErrorBody, ErrorCode};

    use super::*;
    use crate::exit::{self, Exit};

    /// The state was never said to name a place that cannot be read, and how to read on beside it.
    #[test]
    fn damage_is_stepped_over_with_another_state_and_fetched_from_a_copy_if_a_server_found_it() {
        let of = |source| {
            let error = Error::Damaged {
                topic: "t".parse().unwrap(),
                partition: PartitionId::new(3),
                offset: Offset::new(40).unwrap(),
                next: Offset::new(50),
                source: Box::new(source),
            };
            let remedy = Remedy::of(&error).unwrap();
            assert_eq!((remedy.partition.get(), remedy.asked), (3, None));
            remedy.next
        };
        let on = "read on with another --state and --partition 3 --from 50";
        assert_eq!(of(Error::Closed), on);
        let body = Box::new(ErrorBody::new(ErrorCode::Damaged, "it is damaged"));
        let told = of(Error::Refused { body });
        assert!(told.contains("`corelog repair`"), "{told}");
        assert!(told.ends_with(on), "{told}");
    }

    /// It ended the run, and what the others had left was not printed.
    #[test]
    fn what_the_disk_does_not_give_of_a_partition_ends_that_one_alone() {
        let body = Box::new(ErrorBody::new(ErrorCode::Internal, "input/output error"));
        let error = Error::Unread {
            topic: "t".parse().unwrap(),
            partition: PartitionId::new(3),
            offset: Offset::ZERO,
            source: Box::new(Error::Refused { body }),
        };
        assert_eq!(partition_of(&error), Some(PartitionId::new(3)));
        assert_eq!(exit::of(&error.into()), Exit::Failed);
    }
}
