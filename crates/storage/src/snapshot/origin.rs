//! A partition in a snapshot: its manifest, checked against what the summary promises.

use corelog_record::{Position, TopicId};

use super::Partition;
use crate::Error;
use crate::disk::Dir;
use crate::format::damage::Damage;
use crate::format::edit::{Point, Seal};
use crate::format::manifest::Header;
use crate::format::state::State;
use crate::{manifest, segment::name};

/// What a partition of a snapshot says of itself.
pub(super) struct Origin {
    pub(super) header: Header,
    pub(super) state: State,
    /// Where it ends.
    pub(super) end: Point,
    /// Its segments: the generation of each, and what it holds.
    pub(super) segments: Vec<(u32, Seal)>,
    /// Damage that was known when the snapshot was made.
    pub(super) damage: Vec<Damage>,
}

impl Origin {
    /// Refuses one with known damage, of the directory `dir`.
    pub(super) fn refuse_damage<D: Dir>(&self, dir: &D) -> Result<(), Error> {
        let Some(damage) = self.damage.first() else {
            return Ok(());
        };
        let mut segments = self.segments.iter();
        let segment = segments.find(|(_, seal)| seal.digest.base == damage.segment);
        let generation = segment.map_or(0, |(generation, _)| *generation);
        Err(damaged(dir, generation, damage))
    }
}

/// Reads the manifest of `dir`, of the partition `promised` of `topic`; `None` for one that never
/// had a record.
pub(super) async fn read<D: Dir>(
    dir: &D,
    topic: TopicId,
    promised: &Partition,
) -> Result<Option<Origin>, Error> {
    let (header, state) = match manifest::read(dir).await {
        Err(error) if promised.is_unborn() && error.is_missing() => return Ok(None),
        other => other?,
    };
    if header.topic != topic || header.partition != promised.partition {
        return Err(Error::Foreign {
            dir: dir.describe(),
            topic: header.topic,
            partition: header.partition,
            history: header.history,
        });
    }
    let damage = state.damage();
    let mut segments = Vec::new();
    for segment in state.segments() {
        match &segment.seal {
            Some(seal) => segments.push((segment.generation, seal.clone())),
            None => {
                let mut damage = damage.iter().filter(|d| d.segment == segment.base);
                let damaged = damage.next().map(|d| damaged(dir, segment.generation, d));
                return Err(damaged.unwrap_or_else(|| not_sealed(dir, segment.base)));
            }
        }
    }
    let Some(end) = state.end() else {
        return Err(not_sealed(dir, state.log_start()));
    };
    let (found, promised) = (
        state.log_start()..end.offset,
        promised.log_start..promised.end,
    );
    if found != promised {
        let dir = dir.describe();
        return Err(Error::Unlike {
            dir,
            found,
            promised,
        });
    }
    Ok(Some(Origin {
        damage,
        header,
        state,
        end,
        segments,
    }))
}

fn damaged<D: Dir>(dir: &D, generation: u32, damage: &Damage) -> Error {
    Error::DamagedStore {
        dir: dir.describe(),
        file: name::store(damage.segment, generation),
        position: Position::ZERO,
        from: damage.from,
        to: damage.to,
    }
}

fn not_sealed<D: Dir>(dir: &D, segment: corelog_record::Offset) -> Error {
    Error::NotSealed {
        dir: dir.describe(),
        segment,
    }
}
