//! Why a log is not repaired.

use corelog_record::{HistoryId, LeaderEpoch, Offset};

use crate::{Error, format};

/// Why nothing can be done, or nothing that would surely be right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] Error),
    /// There is nothing to repair.
    #[error("there is no store with records")]
    NoStores,
    /// A file of a later program.
    #[error("{file} is of a later program; repair with that one")]
    Newer {
        /// The file.
        file: &'static str,
        /// What it needs.
        #[source]
        source: format::Error,
    },
    /// Nothing tells which topic and partition it is.
    #[error(
        "nothing tells which topic and partition this is: the manifest's header is lost, and there \
         is no topic file above; put the directory back into its topic's"
    )]
    NoIdentity,
    /// The directory is not where its files belong.
    #[error(
        "the manifest is that of another topic or partition than the directory's place: put the \
         directory back where it belongs"
    )]
    Foreign,
    /// Files of several logs.
    #[error(
        "{first} is of history {of_first}, {second} of history {of_second}: move what is not the log's \
         elsewhere"
    )]
    Histories {
        /// One file.
        first: String,
        /// Its history.
        of_first: HistoryId,
        /// Another.
        second: String,
        /// Its history.
        of_second: HistoryId,
    },
    /// A store whose beginning nothing tells.
    #[error(
        "nothing tells the ordinal and the chain at the start of {file}: put back its index, or the \
         store before it"
    )]
    StartUnknown {
        /// The store.
        file: String,
    },
    /// Stores that do not meet.
    #[error(
        "{file} ends at offset {end}, the next store begins at {next}: put back what lies between; or, \
         if all below {next} had expired, move {file} and the stores before it elsewhere; or move those \
         from {next} on elsewhere to go on without them"
    )]
    Gap {
        /// The store before.
        file: String,
        /// Where it ends.
        end: Offset,
        /// Where the next one begins.
        next: Offset,
    },
    /// Stores that overlap.
    #[error(
        "{file} goes on to offset {end} beyond {next}, where the next store begins: move the one that \
         is not the log's elsewhere"
    )]
    Overlap {
        /// The store before.
        file: String,
        /// Where it ends.
        end: Offset,
        /// Where the next one begins.
        next: Offset,
    },
    /// Several generations of a store, and nothing to choose by.
    #[error(
        "nothing tells which generation of the store at offset {base} is the log's: put one there that \
         ends where the next store begins"
    )]
    Ambiguous {
        /// The base offset.
        base: Offset,
    },
    /// Files that contradict each other.
    #[error(
        "{file} does not agree with {other} at offset {offset}: put another copy of the store in its \
         place"
    )]
    Disagree {
        /// The store.
        file: String,
        /// What it was held against.
        other: String,
        /// Where.
        offset: Offset,
    },
    /// Epochs that fall: rot in a field that no checksum covers, or batches of another log.
    #[error(
        "{file} holds a batch of epoch {found:?} at offset {offset}, where epoch {ruling} rules: put \
         another copy of the store in its place"
    )]
    Epochs {
        /// The store.
        file: String,
        /// Where.
        offset: Offset,
        /// The epoch of the batch.
        found: Option<LeaderEpoch>,
        /// The one that the batches around it tell of.
        ruling: LeaderEpoch,
    },
    /// What was found makes no manifest.
    #[error("the stores do not make a log; put other copies of them in their place")]
    Broken(#[source] format::state::Broken),
}
