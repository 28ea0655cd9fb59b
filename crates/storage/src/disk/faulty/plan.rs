//! Faults chosen by a seed, so that a run that went wrong can be run again.

use ::std::fmt;
use ::std::io::ErrorKind;

use super::super::memory::FailedSync;
use super::{Fault, Halt, Match, Operation};

/// Faults to come. Its `Display` is the list of its events, which are all that there is to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The seed that chose them, for messages.
    pub seed: u64,
    /// What is to happen; give it to [`Faults::install`](super::Faults::install).
    pub events: Vec<Event>,
}

/// One fault to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The operations that are counted.
    pub which: Match,
    /// Which of them it is, counted from 1.
    pub nth: u64,
    /// What happens to it.
    pub fault: Fault,
}

/// What a plan may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// The kinds of faults to choose from.
    pub kinds: &'static [Kind],
    /// How many faults there are.
    pub count: u32,
    /// Each happens to one of so many operations of its kind.
    pub nth_max: u64,
    /// To files whose name ends so; empty means to any.
    pub suffix: &'static str,
}

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An operation of any kind fails without an effect.
    Fails,
    /// An operation that changes something has its effect and fails.
    FailsAfter,
    /// A write is short or torn.
    Tears,
    /// A sync fails, and bytes are dropped as one of [`FailedSync::ALL`] says.
    FailsSync,
    /// The file system halts.
    Halts,
    /// Space runs out when it is prepared.
    Fills,
    /// A sync says that it is done, and is not, or later.
    LiesAboutSync,
    /// A write says that it is done, and is not, or elsewhere; a read comes from elsewhere.
    Misdirects,
    /// A bit turns over, as it is written or as it is read.
    Rots,
}

impl Profile {
    /// Errors that are told: none of them may cost an acknowledged record.
    pub const ERRORS: Self = Self::of(&[
        Kind::Fails,
        Kind::FailsAfter,
        Kind::Tears,
        Kind::FailsSync,
        Kind::Halts,
        Kind::Fills,
    ]);

    /// Untold ones: the disk lies. What was acknowledged may be gone; what is served is still right.
    pub const LIES: Self = Self::of(&[Kind::LiesAboutSync, Kind::Misdirects, Kind::Rots]);

    const fn of(kinds: &'static [Kind]) -> Self {
        Self {
            kinds,
            count: 2,
            nth_max: 100,
            suffix: "",
        }
    }
}

impl Plan {
    /// The faults that `seed` chooses of those that `profile` allows.
    ///
    /// # Panics
    /// If the profile has no kinds, or nothing to count.
    #[must_use]
    pub fn seeded(seed: u64, profile: Profile) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let event = |_| {
            let kind = profile.kinds[random.usize(0..profile.kinds.len())];
            let (operation, fault) = kind.choose(&mut random);
            let suffix = profile.suffix;
            Event {
                which: Match { operation, suffix },
                nth: random.u64(1..=profile.nth_max),
                fault,
            }
        };
        let events = (0..profile.count).map(event).collect();
        Self { seed, events }
    }
}

impl Kind {
    /// A fault of this kind, and the operation that it happens to.
    fn choose(self, random: &mut fastrand::Rng) -> (Option<Operation>, Fault) {
        let errors = [
            ErrorKind::Other,
            ErrorKind::Interrupted,
            ErrorKind::TimedOut,
        ];
        let error = errors[random.usize(0..errors.len())];
        let seed = random.u64(..);
        match self {
            Self::Fails => (None, Fault::Fail(error)),
            Self::FailsAfter => {
                let changed = CHANGES[random.usize(0..CHANGES.len())];
                (Some(changed), Fault::FailAfter(error))
            }
            Self::Tears => {
                // Sectors are never half written, by a write that is cut short either.
                let bytes = 512 * random.usize(0..super::super::BLOCK_BYTES / 512);
                let faults = [
                    Fault::Short { bytes },
                    Fault::Torn { seed },
                    Fault::TornBlocks { seed },
                ];
                (
                    Some(Operation::Write),
                    faults[random.usize(0..faults.len())],
                )
            }
            Self::FailsSync => {
                let how = FailedSync::ALL[random.usize(0..FailedSync::ALL.len())];
                (Some(Operation::Sync), Fault::FailSync(how))
            }
            Self::Halts => {
                let halts = [Halt::ReadOnly, Halt::Shutdown];
                (None, Fault::Halt(halts[random.usize(0..2)]))
            }
            Self::Fills => {
                let fault = Fault::Fail(ErrorKind::StorageFull);
                (Some(Operation::Allocate), fault)
            }
            Self::LiesAboutSync => {
                let syncs = [Operation::Sync, Operation::SyncDir];
                let operations = random.u64(1..20);
                let faults = [Fault::Lost, Fault::Delayed { operations }];
                (Some(syncs[random.usize(0..2)]), faults[random.usize(0..2)])
            }
            Self::Misdirects => match random.u32(0..3) {
                0 => (Some(Operation::Write), Fault::Lost),
                1 => (Some(Operation::Write), Fault::Misdirected { seed }),
                _ => (Some(Operation::Read), Fault::Misdirected { seed }),
            },
            Self::Rots => {
                let bent = [Operation::Write, Operation::Read, Operation::Map];
                (Some(bent[random.usize(0..3)]), Fault::Flip { seed })
            }
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plan of seed {}:", self.seed)?;
        for event in &self.events {
            write!(f, " [{event}]")?;
        }
        Ok(())
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { which, nth, fault } = self;
        match which.operation {
            Some(operation) => write!(f, "{operation:?}")?,
            None => write!(f, "operation")?,
        }
        write!(f, " {nth}")?;
        if !which.suffix.is_empty() {
            write!(f, " of *{}", which.suffix)?;
        }
        write!(f, ": {fault:?}")
    }
}

/// Operations that have an effect that an error may come after.
const CHANGES: [Operation; 10] = [
    Operation::CreateDir,
    Operation::CreateFile,
    Operation::Rename,
    Operation::Remove,
    Operation::Reuse,
    Operation::SyncDir,
    Operation::Write,
    Operation::Sync,
    Operation::Allocate,
    Operation::SetLen,
];
