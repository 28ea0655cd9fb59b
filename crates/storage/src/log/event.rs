//! What happened to a log that whoever runs it should hear of: once each, as it happens.

use corelog_record::{Offset, Position};

use super::{Damage, Log, Torn};
use crate::disk::Dir;

/// Something worth one line in a log and one count in a metric. [`Log::take_events`] hands each out
/// once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Bytes that were never promised went from the end to quarantine.
    Torn(Torn),
    /// Bytes that were promised cannot be trusted; found for the first time.
    Damage(Damage),
    /// The same, found before this opening and not repaired since.
    DamageKnown(Damage),
    /// Damage at the end could not be stepped over: nothing is appended.
    ReadOnly {
        /// The first offset that cannot be trusted.
        from: Offset,
    },
    /// A file that the manifest does not name went to quarantine.
    Unnamed {
        /// What it was called.
        file: String,
        /// Its name in quarantine.
        quarantined: String,
    },
    /// A file that the manifest does not name stays where it is: it cannot be moved, and is in nobody's way.
    Stray {
        /// What it is called.
        file: String,
        /// Why it cannot be moved.
        why: String,
    },
    /// The file that is to tell of the log where its directory is gone cannot be made: it is tried again before anything is
    /// acknowledged.
    Untold {
        /// Why it cannot be made.
        why: String,
    },
    /// The remains of an interrupted edit went from the manifest to quarantine.
    ManifestTorn {
        /// Where they lay, in bytes from the start of the file.
        position: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// The disk did not give bytes of a store that was to be read: they count as bytes that are wrong, until it gives
    /// them at another opening.
    Unread {
        /// The store.
        file: String,
        /// Where the batch begins that they are of.
        position: Position,
        /// What the disk said.
        why: String,
    },
    /// No slot of the mark told how much is durable, so the last store was read from its start.
    MarkLost,
    /// A store could not be written in place, and was copied to a new file.
    StoreReplaced {
        /// The base offset of the segment.
        segment: Offset,
        /// The generation of the new file.
        generation: u32,
    },
    /// A damaged segment was replaced by what another replica had of it.
    Repaired {
        /// The base offset of the segment.
        segment: Offset,
        /// The generation of the new file.
        generation: u32,
    },
    /// A sealed segment's store is longer than its digest says. What is behind is never read.
    Surplus {
        /// The base offset of the segment.
        segment: Offset,
        /// How many bytes too many.
        bytes: u64,
    },
    /// An index was missing or wrong, and was made anew from its store.
    IndexRebuilt {
        /// The base offset of the segment.
        segment: Offset,
    },
    /// More happened than was kept: these were not.
    Dropped {
        /// How many events.
        count: u64,
    },
}

/// Events that wait to be taken. Bounded: a log whose owner never asks must not grow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Events {
    waiting: Vec<Event>,
    dropped: u64,
}

impl Events {
    /// Notes an event; beyond the bound it is only counted.
    pub(crate) fn note(&mut self, event: Event) {
        match self.waiting.len() < WAITING_MAX {
            true => self.waiting.push(event),
            false => self.dropped += 1,
        }
    }
}

impl<D: Dir> Log<D> {
    /// What happened since this was last asked, oldest first; after opening, what recovery found.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.note_found();
        let Events { waiting, dropped } = std::mem::take(&mut self.events);
        let dropped = Some(dropped).filter(|count| *count > 0);
        let dropped = dropped.map(|count| Event::Dropped { count });
        waiting.into_iter().chain(dropped).collect()
    }
}

/// How many events wait at most: more than an operator reads, few enough for ten thousand logs.
const WAITING_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::MemoryDir;
    use crate::testing::open;
    use corelog_record::Timestamp;

    /// They were counted where nobody looked.
    #[test]
    fn events_beyond_the_bound_are_told_as_a_number_once() {
        let now = Timestamp::from_millis(0);
        let (mut log, _) = open(&MemoryDir::new(), Default::default(), 1, now).unwrap();
        log.take_events();
        for _ in 0..WAITING_MAX + 7 {
            log.events.note(Event::ReadOnly { from: Offset::ZERO });
        }
        let told = log.take_events();
        assert_eq!(told.len(), WAITING_MAX + 1);
        assert_eq!(told.last(), Some(&Event::Dropped { count: 7 }));
        assert_eq!(log.take_events(), []);
    }
}
