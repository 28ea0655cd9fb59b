//! What there is to say about a file.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use corelog_record::Offset;

use crate::format::Error;

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub what: What,
    /// The file or directory.
    pub file: PathBuf,
    /// Where in the file, in bytes, if it is a place.
    pub position: Option<u64>,
    /// The offsets that it concerns, if any.
    pub offsets: Option<Range<Offset>>,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As it may be.
    Note,
    /// Not as it should be, and mended by itself; no record is concerned.
    Difference,
    /// Nobody can say: the disk or the system did not give the bytes.
    Unread,
    /// Bytes that were promised cannot be trusted.
    Damage,
}

/// The kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum What {
    /// Bytes that are no sound batch.
    Batch,
    /// Sound batches that are not those that were appended.
    Chain,
    /// Records that cannot be decoded, in a sound batch.
    Records,
    /// A store that is not there.
    MissingStore,
    /// A store that is longer than its segment.
    Surplus,
    /// A file, or bytes of it, that the disk or the system does not give.
    Unreadable,
    /// An index that is missing or wrong.
    Index,
    /// A manifest that cannot be trusted.
    Manifest,
    /// Stores without a manifest.
    NoManifest,
    /// What had a manifest, or the directory of topics, that is not there any more.
    Gone,
    /// Files of another topic, partition or log, or of a later version.
    Foreign,
    /// A mark of which no slot can be read.
    Mark,
    /// A `topic` file that is missing or cannot be trusted.
    Topic,
    /// A `node` file that cannot be trusted.
    Node,
    /// A `snapshot` file that is missing, cannot be trusted, or tells otherwise than what is there.
    Snapshot,
    /// Damage that the manifest remembers.
    Remembered,
    /// A store that the manifest does not name.
    Unnamed,
    /// A file or directory that has no place here.
    Stranger,
    /// An end that an interrupted write left; it was never promised.
    Torn,
    /// A file that is left over, or not finished.
    Leftover,
    /// A file in quarantine.
    Quarantined,
    /// A segment, topic or snapshot that was removed, cut or replaced while it was read.
    Changed,
}

impl What {
    /// Its name for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Chain => "chain",
            Self::Records => "records",
            Self::MissingStore => "missing-store",
            Self::Surplus => "surplus",
            Self::Unreadable => "unreadable",
            Self::Index => "index",
            Self::Manifest => "manifest",
            Self::NoManifest => "no-manifest",
            Self::Gone => "gone",
            Self::Foreign => "foreign",
            Self::Mark => "mark",
            Self::Topic => "topic",
            Self::Node => "node",
            Self::Snapshot => "snapshot",
            Self::Remembered => "remembered",
            Self::Unnamed => "unnamed",
            Self::Stranger => "stranger",
            Self::Torn => "torn",
            Self::Leftover => "leftover",
            Self::Quarantined => "quarantined",
            Self::Changed => "changed",
        }
    }

    /// What it is where a file cannot be trusted by `error`: nobody mends one of a later version.
    pub(super) fn unless_newer(self, error: &Error) -> Self {
        if error.is_newer() {
            Self::Foreign
        } else {
            self
        }
    }

    /// How bad it is.
    #[must_use]
    pub fn grade(self) -> Grade {
        match self {
            Self::Batch
            | Self::Chain
            | Self::Records
            | Self::MissingStore
            | Self::Manifest
            | Self::NoManifest
            | Self::Gone
            | Self::Foreign
            | Self::Topic
            | Self::Node
            | Self::Snapshot
            | Self::Remembered => Grade::Damage,
            Self::Unreadable => Grade::Unread,
            Self::Surplus | Self::Index | Self::Mark | Self::Unnamed => Grade::Difference,
            Self::Stranger | Self::Torn | Self::Leftover | Self::Quarantined | Self::Changed => {
                Grade::Note
            }
        }
    }

    /// What an error of opening or reading says of a file that should be there.
    pub(super) fn of_error(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::IsADirectory => Self::MissingStore,
            _ => Self::Unreadable,
        }
    }

    /// What to do next.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Batch | Self::Chain | Self::MissingStore | Self::Remembered => {
                "reads of these offsets fail, and, where the header of a batch is bad, of those beside it that lie between the \
                 same two rows of the index, a few KiB; all others are served; `corelog repair TOPIC` fetches them from a replica; \
                 `corelog restore` makes another topic of an export from before; or let retention remove them"
            }
            Self::Records => {
                "the batch is as its producer sent it: find the producer, and consume past it"
            }
            Self::Unreadable => {
                "nothing is known of it: see to permissions and the limit of open files, look for errors \
                 of the device in the kernel's log, and verify again"
            }
            Self::Surplus => "never read; nothing needs to be done",
            Self::Index => "rebuilt when the segment is next scrubbed or looked up in",
            Self::Mark => {
                "the next start reads the last store from its beginning, and writes a new one"
            }
            Self::Manifest | Self::NoManifest => {
                "stop the server and run `corelog repair --dir` on the partition's directory, also on one in a snapshot or an \
                 export; of these, remove what it cannot mend, and make a new one"
            }
            Self::Gone => {
                "put the directory back as it was, or promote a copy; only if nothing has it any more, topics begin with an \
                 empty directory, and a partition anew without what tells of it: the file beside its directory, and its mark"
            }
            Self::Foreign => {
                "move the directory back to where it belongs, or serve it with the version that wrote it; it is not opened here"
            }
            Self::Topic => {
                "restore the file from a backup, or from a snapshot if the topic has no replicas, of which that one \
                 tells nothing; without it the topic is not served"
            }
            Self::Node => "restore the file from a backup; without it the node does not start",
            Self::Snapshot => {
                "put the file `snapshot` back from a copy: what is there may be all that there is of its records; only where they \
                 are elsewhere, delete the snapshot and make a new one"
            }
            Self::Unnamed => "goes to quarantine, or away, when the log is next opened",
            Self::Stranger => "not ours: move it elsewhere",
            Self::Torn => "cut and quarantined when its log is next opened",
            Self::Leftover => "removed or gone on with by itself",
            Self::Quarantined => "remove it when nobody needs it any more",
            Self::Changed => "nothing: a server went on while it was read",
        }
    }
}

impl Finding {
    /// Something about a whole file or directory.
    pub(crate) fn of(
        what: What,
        file: impl Into<PathBuf>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self {
            what,
            file: file.into(),
            position: None,
            offsets: None,
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// The same, at a place in the file.
    pub(crate) fn at(self, position: u64) -> Self {
        Self {
            position: Some(position),
            ..self
        }
    }

    /// The same, about these offsets.
    pub(crate) fn about(self, offsets: Range<Offset>) -> Self {
        Self {
            offsets: Some(offsets),
            ..self
        }
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Note => "note",
            Self::Difference => "difference",
            Self::Unread => "unread",
            Self::Damage => "damage",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a manifest it was said that a repair mends it, which refuses it, and of a snapshot that it is to be removed.
    #[test]
    fn what_a_later_version_wrote_is_for_that_one_and_no_damage_to_be_mended() {
        let newer = Error::Version {
            what: "a file",
            found: 2,
            known: 1,
        };
        let all = [What::Manifest, What::Mark, What::Snapshot];
        assert_eq!(
            all.map(|what| what.unless_newer(&newer)),
            [What::Foreign; 3]
        );
        let torn = Error::NoSummary;
        assert_eq!(all.map(|what| what.unless_newer(&torn)), all);
    }
}
