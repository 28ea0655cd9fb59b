//! A partition in a snapshot: its manifest, checked against what the summary promises.

use corelog_record::{Offset, Position, TopicId};

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
    /// Its sealed segments: the generation of each, and what it holds.
    pub(super) segments: Vec<(u32, Seal)>,
    /// Those that were never sealed, since they are damaged: where each begins, and its generation.
    pub(super) unsealed: Vec<(Offset, u32)>,
    /// Damage that was known when the snapshot was made.
    pub(super) damage: Vec<Damage>,
}

impl Origin {
    /// Refuses one with known damage, or with a segment that was never sealed, of the directory `dir`.
    pub(super) fn refuse_damage<D: Dir>(&self, dir: &D) -> Result<(), Error> {
        if let Some(damage) = self.damage.first() {
            let mut segments = self.state.segments().iter();
            let segment = segments.find(|segment| segment.base == damage.segment);
            return Err(Error::DamagedStore {
                dir: dir.describe(),
                file: name::store(damage.segment, segment.map_or(0, |it| it.generation)),
                position: Position::ZERO,
                from: damage.from,
                to: damage.to,
            });
        }
        let unsealed = self.unsealed.first();
        unsealed.map_or(Ok(()), |(segment, _)| Err(not_sealed(dir, *segment)))
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
    let (mut segments, mut unsealed) = (Vec::new(), Vec::new());
    let mut end = state.end();
    for segment in state.segments() {
        match &segment.seal {
            Some(seal) => segments.push((segment.generation, seal.clone())),
            // It has no store, and says where the one before it ends.
            None if segment.base == promised.end => end = Some(segment.start()),
            None => unsealed.push((segment.base, segment.generation)),
        }
    }
    let Some(end) = end else {
        let last = unsealed
            .last()
            .map_or(promised.end, |(segment, _)| *segment);
        return Err(not_sealed(dir, last));
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
        damage: state.damage(),
        header,
        state,
        end,
        segments,
        unsealed,
    }))
}

fn not_sealed<D: Dir>(dir: &D, segment: Offset) -> Error {
    Error::NotSealed {
        dir: dir.describe(),
        segment,
    }
}
