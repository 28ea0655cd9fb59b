//! The quarantine of a node: how files get there, what is in it, and how much of it stays.
//!
//! Torn bytes were never promised: they are kept for whoever wants to look at them, up to a bound,
//! and the oldest go first. All else is never removed here; whoever runs the node sees it in the
//! [`Usage`] and decides.

mod way;

use std::collections::BTreeMap;

use crate::Error;
use crate::disk::{ASIDE_SUFFIX, Dir};
use crate::format::quarantine::{Name, Reason};
use crate::steps;

pub(crate) use self::way::{Way, free, same};

/// The most torn bytes that a node keeps: the tails of 64 crashed partitions at their worst.
pub const TORN_BYTES_MAX: u64 = 1 << 30;

/// What a quarantine holds, by reason; files with other names are not counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage(BTreeMap<Reason, Share>);

/// What a quarantine holds for one reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// How many files.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
}

impl Usage {
    /// What it holds for `reason`.
    #[must_use]
    pub fn of(&self, reason: Reason) -> Share {
        self.0.get(&reason).copied().unwrap_or_default()
    }

    fn add(&mut self, reason: Reason, bytes: u64) {
        let share = self.0.entry(reason).or_default();
        share.files += 1;
        share.bytes += bytes;
    }
}

/// Removes the oldest torn files of the quarantine `dir` until those left have at most
/// `torn_bytes_max` bytes. Returns what is there afterwards, and what was removed. A quarantine that
/// does not exist is empty.
///
/// # Errors
/// Any error of the disk.
pub async fn trim<D: Dir>(dir: &D, torn_bytes_max: u64) -> Result<(Usage, Vec<Name>), Error> {
    // An unfinished file is but a part of what is still where it was, and goes as torn bytes do.
    let is_torn = |name: &Name| name.reason == Reason::Torn || is_unfinished(name);
    sift(dir, torn_bytes_max, is_torn).await
}

/// Removes all torn files of the quarantine `dir`, where a log finds no space to be opened in, and says which. What others
/// are writing there stays theirs.
///
/// # Errors
/// Any error of the disk.
pub async fn make_room<D: Dir>(dir: &D) -> Result<Vec<Name>, Error> {
    let is_torn = |name: &Name| name.reason == Reason::Torn && !is_unfinished(name);
    let (_, removed) = sift(dir, 0, is_torn).await?;
    Ok(removed)
}

/// Removes the oldest of the files that are torn until those left have at most `bytes_max` bytes. Returns what is there
/// afterwards, and what was removed, the oldest first.
async fn sift<D: Dir>(
    dir: &D,
    bytes_max: u64,
    is_torn: impl Fn(&Name) -> bool,
) -> Result<(Usage, Vec<Name>), Error> {
    let entries = steps::list(dir).await?;
    let mut usage = Usage::default();
    let mut removed = Vec::new();
    // Newest first: names begin with their time, and a listing is sorted.
    for entry in entries.into_iter().rev().filter(|entry| !entry.is_dir) {
        let Ok(name) = entry.name.parse::<Name>() else {
            continue;
        };
        let is_torn = is_torn(&name);
        let is_too_much = usage.of(Reason::Torn).bytes + entry.bytes > bytes_max;
        if is_torn && (is_too_much || !removed.is_empty()) {
            // Someone else may be faster.
            steps::remove(dir, &entry.name).await?;
            removed.push(name);
        } else {
            let reason = if is_torn { Reason::Torn } else { name.reason };
            usage.add(reason, entry.bytes);
        }
    }
    removed.reverse();
    Ok((usage, removed))
}

/// Whether a file was never finished: whoever wrote it was stopped before it got its name.
fn is_unfinished(name: &Name) -> bool {
    name.file.ends_with(ASIDE_SUFFIX)
}

#[cfg(test)]
mod tests {
    use corelog_record::{PartitionId, Position, Timestamp, TopicId};

    use super::*;
    use crate::disk::memory::MemoryDir;
    use crate::disk::{ASIDE_SUFFIX, block_on};

    fn name(time: i64, reason: Reason) -> Name {
        Name {
            time: Timestamp::from_millis(time),
            reason,
            topic: TopicId::from_bytes([1; 16]),
            partition: PartitionId::new(0),
            position: Position::ZERO,
            file: "00000000000000000000.log".to_owned(),
        }
    }

    #[test]
    fn the_oldest_torn_files_go_until_the_rest_is_within_the_bound() {
        block_on(async {
            let dir = MemoryDir::new().child("quarantine");
            dir.create().await.unwrap();
            for time in 1..=5 {
                let name = name(time, Reason::Torn).to_string();
                dir.write_aside(&name, &[1; 100]).await.unwrap();
            }
            let (usage, removed) = trim(&dir, 500).await.unwrap();
            assert_eq!((usage.of(Reason::Torn).files, removed.len()), (5, 0));
            let (usage, removed) = trim(&dir, 250).await.unwrap();
            assert_eq!(
                usage.of(Reason::Torn),
                Share {
                    files: 2,
                    bytes: 200
                }
            );
            let gone: Vec<_> = removed.iter().map(|name| name.time.millis()).collect();
            assert_eq!(gone, [1, 2, 3]);
            assert_eq!(dir.list().await.unwrap().len(), 2);
        });
    }

    /// A partition stayed closed on a full disk beside a gibibyte of bytes that nobody was promised.
    #[test]
    fn room_is_made_of_torn_bytes_alone_and_of_none_that_somebody_writes() {
        block_on(async {
            let dir = MemoryDir::new().child("quarantine");
            assert_eq!(make_room(&dir).await.unwrap(), []);
            dir.create().await.unwrap();
            let unfinished = Name {
                file: format!("00000000000000000000.log{ASIDE_SUFFIX}"),
                ..name(3, Reason::Torn)
            };
            let kept = [name(1, Reason::Damaged), name(2, Reason::Cut), unfinished];
            for name in &kept {
                dir.write_aside(&name.to_string(), &[1]).await.unwrap();
            }
            let torn = [4, 5].map(|time| name(time, Reason::Torn));
            for name in &torn {
                dir.write_aside(&name.to_string(), &[1]).await.unwrap();
            }
            assert_eq!(make_room(&dir).await.unwrap(), torn);
            let left = dir.list().await.unwrap();
            assert_eq!(left.len(), kept.len(), "{left:?}");
        });
    }

    #[test]
    fn damage_and_what_was_cut_are_counted_and_never_removed() {
        block_on(async {
            let dir = MemoryDir::new().child("quarantine");
            dir.create().await.unwrap();
            let kept = [
                Reason::Damaged,
                Reason::Unnamed,
                Reason::Cut,
                Reason::Rejoined,
            ];
            for (reason, time) in kept.into_iter().zip(1..) {
                dir.write_aside(&name(time, reason).to_string(), &[1; 100])
                    .await
                    .unwrap();
            }
            dir.write_aside("notes of an operator", b"look at this")
                .await
                .unwrap();
            let (usage, removed) = trim(&dir, 0).await.unwrap();
            assert_eq!(removed, []);
            for reason in kept {
                assert_eq!(
                    usage.of(reason),
                    Share {
                        files: 1,
                        bytes: 100
                    }
                );
            }
            assert_eq!(dir.list().await.unwrap().len(), 5);
        });
    }

    #[test]
    fn what_was_never_finished_goes_as_torn_bytes_do() {
        block_on(async {
            let dir = MemoryDir::new().child("quarantine");
            dir.create().await.unwrap();
            let mut unfinished = name(1, Reason::Damaged);
            unfinished.file.push_str(ASIDE_SUFFIX);
            dir.write_aside(&unfinished.to_string(), &[1; 100])
                .await
                .unwrap();
            let (usage, removed) = trim(&dir, 0).await.unwrap();
            assert_eq!((usage, removed), (Usage::default(), vec![unfinished]));
        });
    }

    #[test]
    fn a_quarantine_that_does_not_exist_is_empty() {
        let (usage, removed) = block_on(trim(&MemoryDir::new().child("none"), 0)).unwrap();
        assert_eq!((usage, removed), (Usage::default(), Vec::new()));
    }
}
