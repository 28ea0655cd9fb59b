//! The disks that a power cut may leave, one after the other.

use ::std::collections::BTreeSet;
use ::std::fmt;
use ::std::rc::Rc;

use super::MemoryDir;
use super::disk::Disk;
use super::inode::What;
use super::trace::Trace;
use super::tree::FileId;

/// How many disks to derive after each operation.
///
/// After each operation there are *units* that survive or not: of each file what one write did to
/// its bytes, each change of its length, and each change of entries. Derived are: none of them, all,
/// each prefix in their order, all but one, each alone, all subsets if they are few, and some random
/// ones. Of units of several sectors, some sectors survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choices {
    /// Up to so many units, and at most 16, every subset is derived.
    pub exhaustive_max: u32,
    /// Random subsets of units, after each operation.
    pub subsets: u32,
    /// Random mixtures of sectors of all units, after each operation.
    pub mixtures: u32,
    /// Whether units are torn one by one, in all the ways of [`Tear`].
    pub is_torn: bool,
    /// Chooses what is random.
    pub seed: u64,
}

/// The part of a unit that survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Tear {
    FirstSector,
    LastSector,
    AllButFirstSector,
    AllButLastSector,
    FirstHalf,
    LastHalf,
    /// Sectors 0, 2, 4 and so on.
    EvenSectors,
    OddSectors,
    /// The first block of 4096 bytes, of several.
    FirstBlock,
    AllButFirstBlock,
}

/// Which units survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the names say it; numbers are indices of units"
)]
pub enum Choice {
    None,
    All,
    /// The units before this one.
    Before(usize),
    AllBut(usize),
    Alone(usize),
    /// Unit i survives if bit i is set.
    Subset(u64),
    /// Each unit survives or not, by this seed.
    Random(u64),
    /// Each sector survives or not, by this seed, as [`MemoryDir::power_cut`] does it.
    Mixture(u64),
    /// The units before this one, and a part of it.
    TornLast(usize, Tear),
    /// All units, but of this one a part only.
    TornAmong(usize, Tear),
}

/// One disk that a power cut may leave.
#[derive(Debug, Clone)]
pub struct CrashState {
    /// How many operations of the trace were done. A sync among them has returned; one that has
    /// not is the state before it.
    pub after: usize,
    /// What survived of what was in doubt.
    pub choice: Choice,
    /// The disk, at the directory that was recorded.
    pub image: MemoryDir,
    /// Differs between disks that hold other names or bytes.
    pub hash: u64,
    units: Rc<[Unit]>,
    trace: Trace,
}

/// Derives [`CrashState`]s from a [`Trace`], in the order of its operations. After one operation,
/// no two of them are the same.
#[derive(Debug)]
pub struct CrashStates {
    trace: Trace,
    choices: Choices,
    disk: Disk,
    after: usize,
    units: Rc<[Unit]>,
    /// Choices for the present operation that are still to be made, last first.
    left: Vec<Choice>,
    seen: BTreeSet<u64>,
}

/// What survives together, or not at all.
#[derive(Debug, Clone)]
struct Unit {
    step: u64,
    part: Part,
    /// The sectors of effects that are bytes, else 0.
    sectors: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// The bytes of a file that one operation changed.
    Bytes(FileId),
    Len(FileId),
    /// The change of this index in the journal of entries.
    Entries(usize),
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            exhaustive_max: 4,
            subsets: 4,
            mixtures: 4,
            is_torn: true,
            seed: 0,
        }
    }
}

impl CrashStates {
    pub(super) fn new(trace: Trace, choices: Choices) -> Self {
        let disk = Disk::clone(&trace.base);
        let mut states = Self {
            trace,
            choices,
            disk,
            after: 0,
            units: Rc::default(),
            left: Vec::new(),
            seen: BTreeSet::new(),
        };
        states.choose();
        states
    }

    /// Goes on to the states after `count` operations, without those before.
    pub fn skip_to(&mut self, count: usize) {
        while self.after < count && self.step() {}
        self.choose();
    }

    /// Does the next operation; `false` if there is none.
    fn step(&mut self) -> bool {
        let Some(step) = self.trace.steps.get(self.after) else {
            return false;
        };
        self.disk.repeat(&step.op);
        self.after += 1;
        true
    }

    /// Decides what to derive after the operations so far.
    fn choose(&mut self) {
        self.seen.clear();
        self.units = units(&self.disk).into();
        let count = self.units.len();
        let mut all = vec![Choice::None, Choice::All];
        if count <= self.choices.exhaustive_max.min(16) as usize {
            all.extend((1..(1_u64 << count).saturating_sub(1)).map(Choice::Subset));
        } else {
            all.extend((1..count).map(Choice::Before));
            all.extend((0..count).map(Choice::AllBut));
            all.extend((0..count).map(Choice::Alone));
            let seeds = (0..self.choices.subsets).map(|index| self.seed(index, 1));
            all.extend(seeds.map(Choice::Random));
        }
        for (index, unit) in self.units.iter().enumerate() {
            if self.choices.is_torn && unit.sectors > 1 {
                all.extend(Tear::ALL.map(|tear| Choice::TornLast(index, tear)));
                all.extend(Tear::ALL.map(|tear| Choice::TornAmong(index, tear)));
            }
        }
        if self.units.iter().any(|unit| unit.sectors > 1) {
            let seeds = (0..self.choices.mixtures).map(|index| self.seed(index, 2));
            all.extend(seeds.map(Choice::Mixture));
        }
        all.reverse();
        self.left = all;
    }

    fn seed(&self, index: u32, kind: u64) -> u64 {
        let mut random = fastrand::Rng::with_seed(self.choices.seed ^ (kind << 62));
        random.u64(..) ^ ((self.after as u64) << 32 | u64::from(index))
    }

    /// The disk that is left if `choice` survives.
    fn image(&self, choice: Choice) -> Disk {
        if let Choice::Mixture(seed) = choice {
            return self.disk.power_cut(seed);
        }
        let of = |part: Part, step: u64| {
            let is_it = |unit: &Unit| unit.step == step && unit.part == part;
            self.units.iter().position(is_it)
        };
        let mut random = match choice {
            Choice::Random(seed) => Some(fastrand::Rng::with_seed(seed)),
            _ => None,
        };
        let chosen: Vec<_> = (0..self.units.len())
            .map(|index| random.as_mut().is_none_or(fastrand::Rng::bool) && choice.has(index))
            .collect();
        let mut place = (usize::MAX, 0);
        self.disk.image(
            |index| {
                of(Part::Entries(index), self.disk.tree.journal()[index].step)
                    .is_some_and(|unit| chosen[unit])
            },
            |file, _, effect| {
                let part = match effect.what {
                    What::Block { .. } => Part::Bytes(file),
                    What::Len(_) => Part::Len(file),
                };
                let Some(unit) = of(part, effect.step) else {
                    return 0;
                };
                let What::Block { mask, .. } = &effect.what else {
                    return if chosen[unit] { u8::MAX } else { 0 };
                };
                let tear = match choice {
                    Choice::TornLast(torn, tear) | Choice::TornAmong(torn, tear)
                        if torn == unit =>
                    {
                        tear
                    }
                    _ => return if chosen[unit] { u8::MAX } else { 0 },
                };
                if place.0 != unit {
                    place = (unit, 0);
                }
                tear.mask(*mask, &mut place.1, self.units[unit].sectors)
            },
        )
    }
}

impl Iterator for CrashStates {
    type Item = CrashState;

    fn next(&mut self) -> Option<CrashState> {
        loop {
            let Some(choice) = self.left.pop() else {
                if !self.step() {
                    return None;
                }
                self.choose();
                continue;
            };
            let image = self.image(choice);
            let hash = image.hash();
            if self.seen.insert(hash) {
                return Some(CrashState {
                    after: self.after,
                    choice,
                    image: MemoryDir::of(image, Rc::clone(&self.trace.path)),
                    hash,
                    units: Rc::clone(&self.units),
                    trace: self.trace.clone(),
                });
            }
        }
    }
}

impl Choice {
    /// Whether the unit `index` survives, or a part of it.
    fn has(self, index: usize) -> bool {
        match self {
            Self::None => false,
            Self::All | Self::Random(_) | Self::Mixture(_) | Self::TornAmong(..) => true,
            Self::Before(end) => index < end,
            Self::AllBut(one) => index != one,
            Self::Alone(one) => index == one,
            Self::Subset(bits) => bits >> index & 1 == 1,
            Self::TornLast(last, _) => index <= last,
        }
    }
}

impl Tear {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::FirstSector,
        Self::LastSector,
        Self::AllButFirstSector,
        Self::AllButLastSector,
        Self::FirstHalf,
        Self::LastHalf,
        Self::EvenSectors,
        Self::OddSectors,
        Self::FirstBlock,
        Self::AllButFirstBlock,
    ];

    /// The sectors of `mask` that survive; `index` is the number of the first of them within its
    /// unit, and is moved on.
    fn mask(self, mask: u8, index: &mut usize, count: usize) -> u8 {
        let is_first_block = *index == 0;
        let mut survived = 0;
        for bit in (0..8).filter(|bit| mask >> bit & 1 == 1) {
            let at = *index;
            *index += 1;
            let is_in = match self {
                Self::FirstSector => at == 0,
                Self::LastSector => at == count - 1,
                Self::AllButFirstSector => at != 0,
                Self::AllButLastSector => at != count - 1,
                Self::FirstHalf => at < count / 2,
                Self::LastHalf => count / 2 <= at,
                Self::EvenSectors => at.is_multiple_of(2),
                Self::OddSectors => at % 2 == 1,
                Self::FirstBlock => is_first_block,
                Self::AllButFirstBlock => !is_first_block,
            };
            survived |= u8::from(is_in) << bit;
        }
        survived
    }
}

impl fmt::Display for CrashState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} of {} operations", self.after, self.trace.len())?;
        if let Some(last) = self.after.checked_sub(1) {
            write!(f, " ({})", self.trace.steps[last])?;
        }
        write!(f, ", of {} in doubt: {:?}", self.units.len(), self.choice)?;
        Ok(())
    }
}

/// What is in doubt, oldest first.
fn units(disk: &Disk) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    for (index, change) in disk.tree.journal().iter().enumerate() {
        units.push(Unit {
            step: change.step,
            part: Part::Entries(index),
            sectors: 0,
        });
    }
    for (file, inode) in disk.doubtful() {
        for effect in inode.pending() {
            let (part, sectors) = match &effect.what {
                What::Block { mask, .. } => (Part::Bytes(file), mask.count_ones() as usize),
                What::Len(_) => (Part::Len(file), 0),
            };
            let last = units
                .iter_mut()
                .rev()
                .find(|unit| unit.step == effect.step && unit.part == part);
            match last {
                Some(unit) => unit.sectors += sectors,
                None => units.push(Unit {
                    step: effect.step,
                    part,
                    sectors,
                }),
            }
        }
    }
    units.sort_by_key(|unit| (unit.step, unit.part.clone()));
    units
}
