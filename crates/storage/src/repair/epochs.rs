//! Which epochs the log has: the batches decide, and what they say nothing of the old manifest tells.

use corelog_record::batch::View;
use corelog_record::{LeaderEpoch, Lineage, Offset, Ordinal};

use super::evidence::Evidence;
use super::refusal::Refusal;
use super::walk::Walked;
use crate::epochs::ruling;
use crate::format::edit::Epoch;
use crate::format::state::State;
use crate::segment::Point;

/// Batches of one epoch, one behind the other in one store.
#[derive(Debug)]
pub(super) struct Run {
    /// `None`: they were never appended to any log.
    epoch: Option<LeaderEpoch>,
    /// Where the first one begins.
    offset: Offset,
    ordinal: Ordinal,
    /// Where the last one begins.
    last: Offset,
}

/// Adds the batch that begins `at` to the runs of its store.
pub(super) fn note(runs: &mut Vec<Run>, batch: &View<'_>, at: &Point) {
    let epoch = batch.epoch();
    match runs.last_mut().filter(|run| run.epoch == epoch) {
        Some(run) => run.last = at.offset,
        None => runs.push(Run {
            epoch,
            offset: at.offset,
            ordinal: at.ordinal,
            last: at.offset,
        }),
    }
}

/// The epochs of a log that consists of the `chosen` stores. The last edits of the old manifest may be lost, and with them a
/// cut: so what it knows may have been given up since.
pub(super) fn epochs(
    chosen: &[Walked],
    evidence: &Evidence,
    seed: u64,
) -> Result<Vec<Epoch>, Refusal> {
    let known = evidence.state.as_ref().map(State::epochs);
    let mut epochs = known.unwrap_or_default().to_vec();
    let reach = reach(chosen, evidence);
    epochs.retain(|known| reach.is_some_and(|reach| known.offset <= reach));
    for run in chosen.iter().flat_map(|walked| &walked.runs) {
        let Some(epoch) = run.epoch else { continue };
        // It did not rule where a batch of a lower one stands.
        epochs.retain(|known| known.epoch <= epoch || run.last < known.offset);
        let is_known = ruling(&epochs, run.offset).is_some_and(|ruling| ruling.epoch == epoch);
        if !is_known {
            // What began above, and had not heard of this one, was cut off before it began.
            epochs.retain(|known| known.offset <= run.offset);
            epochs.push(Epoch {
                epoch,
                lineage: lineage(seed, epoch),
                offset: run.offset,
                ordinal: run.ordinal,
            });
        }
    }
    check(chosen, &epochs)?;
    Ok(epochs)
}

/// How far the log goes. What lies behind damage in its last store is not seen, but for what the mark tells.
fn reach(chosen: &[Walked], evidence: &Evidence) -> Option<Offset> {
    let last = chosen.last()?;
    let mark = evidence.mark.as_ref().filter(|_| !last.is_whole);
    let mark = mark.filter(|slot| slot.is_of(last.base, last.generation));
    let end = last.end.offset;
    Some(mark.map_or(end, |slot| slot.offset.max(end)))
}

/// Opening takes no batch of another epoch than the one that rules where it stands: it would cut or refuse what was promised.
fn check(chosen: &[Walked], epochs: &[Epoch]) -> Result<(), Refusal> {
    for walked in chosen {
        for run in &walked.runs {
            for offset in [run.offset, run.last] {
                if let Some(ruling) = ruling(epochs, offset).map(|ruling| ruling.epoch)
                    && run.epoch != Some(ruling)
                {
                    return Err(Refusal::Epochs {
                        file: walked.name(),
                        offset,
                        found: run.epoch,
                        ruling,
                    });
                }
            }
        }
    }
    Ok(())
}

fn lineage(seed: u64, epoch: LeaderEpoch) -> Lineage {
    let drawn = xxhash_rust::xxh3::xxh3_128_with_seed(&epoch.get().to_le_bytes(), seed);
    Lineage::from_bytes(drawn.to_le_bytes())
}
