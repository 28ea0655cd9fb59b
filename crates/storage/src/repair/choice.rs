//! Which store is the log's at each base offset, and how they follow one another.

use std::collections::BTreeMap;

use corelog_record::{Chain, Offset};

use super::evidence::Evidence;
use super::refusal::Refusal;
use super::walk::{From, Walked};
use crate::disk::{Dir, Entry};
use crate::recovery::holds_bytes;
use crate::segment::{Point, name};

/// The stores that make the log.
pub(super) struct Choice {
    /// In order.
    pub(super) chosen: Vec<Walked>,
    /// Stores that are not of the log, with the reason.
    pub(super) displaced: Vec<(String, &'static str)>,
}

/// Chooses among the stores of `dir`.
pub(super) async fn choose<D: Dir>(
    dir: &D,
    entries: &[Entry],
    evidence: &Evidence,
    interval_bytes: u32,
    progress: &mut dyn FnMut(u64),
) -> Result<Choice, Refusal> {
    let mut bases = bases(entries, evidence);
    drop_empty(dir, entries, &mut bases).await?;
    let next_bases: Vec<Offset> = bases.keys().copied().collect();
    let mut choice = Choice {
        chosen: Vec::new(),
        displaced: Vec::new(),
    };
    for (number, (base, generations)) in bases.iter().enumerate() {
        let next = next_bases.get(number + 1).copied();
        let mut walked = Vec::new();
        for generation in generations {
            let start = start(&choice, evidence, *base, *generation)?;
            let from = From {
                dir,
                history: evidence.header.history,
                start,
                generation: *generation,
                mark: evidence.mark.as_ref(),
                interval_bytes,
            };
            let read = from.walk().await?;
            progress(read.bytes);
            walked.push(read);
        }
        // Without a sound batch it is no store of records: opening deals with such.
        walked.retain(|walked| walked.base < walked.end.offset || !walked.is_whole);
        let Some(best) = best(&walked, *base, next, evidence)? else {
            continue;
        };
        let taken = walked.swap_remove(best);
        for other in walked {
            let reason = match other.end.offset > taken.end.offset {
                true => "the log was cut before its end",
                false => "another generation holds the records",
            };
            choice.displaced.push((other.name(), reason));
        }
        check_end(&taken, next, evidence)?;
        let is_cut = is_cut(&taken, next, evidence);
        choice.chosen.push(taken);
        if is_cut {
            // The mark was written after the log was cut here: what lies behind was cut off.
            for (base, generations) in bases.iter().skip(number + 1) {
                let names = generations.iter().map(|g| name::store(*base, *g));
                let reason = "the log was cut before it";
                choice.displaced.extend(names.map(|name| (name, reason)));
            }
            break;
        }
    }
    Ok(choice)
}

/// The generations of each base, without those that the old manifest says are expired.
fn bases(entries: &[Entry], evidence: &Evidence) -> BTreeMap<Offset, Vec<u32>> {
    let first = evidence.state.as_ref().map(|state| {
        let first = state.segments().first();
        first.map_or(state.log_start(), |first| first.base)
    });
    let mut bases: BTreeMap<Offset, Vec<u32>> = BTreeMap::new();
    for entry in entries
        .iter()
        .filter(|entry| !entry.is_dir && entry.bytes > 0)
    {
        let named = name::parse(&entry.name);
        let is_left = |(base, _): &(Offset, u32)| first.is_none_or(|first| first <= *base);
        if let Some((base, generation)) = named.filter(is_left) {
            bases.entry(base).or_default().push(generation);
        }
    }
    bases
        .values_mut()
        .for_each(|generations| generations.sort_unstable());
    bases
}

/// Leaves out the stores behind the last one that holds bytes, as opening does: one that was made ahead begins where a group
/// was to end that may never have come.
async fn drop_empty<D: Dir>(
    dir: &D,
    entries: &[Entry],
    bases: &mut BTreeMap<Offset, Vec<u32>>,
) -> Result<(), Refusal> {
    while let Some(last) = bases.last_entry() {
        let base = Some(*last.key());
        for entry in entries
            .iter()
            .filter(|entry| name::base(&entry.name) == base)
        {
            match holds_bytes(dir, entry).await {
                Ok(false) => {}
                // What the disk does not give may be anything.
                Err(error) if !error.is_unreadable() => return Err(error.into()),
                Ok(true) | Err(_) => return Ok(()),
            }
        }
        last.remove();
    }
    Ok(())
}

/// The point at the start of a store: where the one before ends, or what its index or the old
/// manifest says.
fn start(
    choice: &Choice,
    evidence: &Evidence,
    base: Offset,
    generation: u32,
) -> Result<Point, Refusal> {
    let file = name::store(base, generation);
    let by_index = evidence.index(&file).map(|header| Point {
        offset: header.base,
        ordinal: header.ordinal,
        ..Point::origin(header.chain)
    });
    let before = choice.chosen.last().filter(|before| before.is_whole);
    if let Some(before) = before.filter(|before| before.end.offset == base) {
        let start = before.end.rolled();
        return match by_index.is_none_or(|by_index| by_index == start) {
            true => Ok(start),
            false => Err(Refusal::Disagree {
                file: before.name(),
                other: format!("the index of {file}"),
                offset: base,
            }),
        };
    }
    let named = evidence.state.as_ref().and_then(|state| {
        let segment = state
            .segments()
            .iter()
            .find(|segment| segment.base == base)?;
        Some(Point::starting(segment.start()))
    });
    let origin = Point::origin(Chain::seed(evidence.header.history));
    let origin = Some(origin).filter(|_| base == Offset::ZERO);
    named
        .or(by_index)
        .or(origin)
        .ok_or(Refusal::StartUnknown { file })
}

/// Which of the generations of one base is the log's.
fn best(
    walked: &[Walked],
    base: Offset,
    next: Option<Offset>,
    evidence: &Evidence,
) -> Result<Option<usize>, Refusal> {
    if walked.len() <= 1 {
        return Ok((!walked.is_empty()).then_some(0));
    }
    let highest = |numbers: Vec<usize>| {
        numbers
            .into_iter()
            .max_by_key(|number| walked[*number].generation)
    };
    // The mark names a generation only after the manifest did; one that took its place since may be the sound one.
    let slot = evidence.mark.filter(|slot| slot.segment == base);
    if let Some(slot) = slot {
        let is_marked = |other: &Walked| other.generation == slot.generation;
        if let Some(marked) = walked.iter().position(is_marked) {
            let took_its_place = |number: &usize| {
                let other = &walked[*number];
                slot.generation < other.generation
                    && other.is_whole
                    && slot.offset <= other.end.offset
                    && next.is_none_or(|next| other.end.offset == next)
            };
            let is_sound = walked[marked].is_whole;
            let healed = (0..walked.len()).filter(|number| !is_sound && took_its_place(number));
            return Ok(highest(healed.collect()).or(Some(marked)));
        }
    }
    // Those from before that one were cut off, or replaced.
    let marked = slot.map_or(0, |slot| slot.generation);
    let is_since = |number: &usize| marked <= walked[*number].generation;
    let mut left: Vec<usize> = (0..walked.len()).filter(is_since).collect();
    if left.is_empty() {
        left = (0..walked.len()).collect();
    }
    let sound = |walked: &Walked| walked.is_whole;
    if let Some(next) = next {
        let is_fit = |number: &usize| sound(&walked[*number]) && walked[*number].end.offset == next;
        let fits = left.into_iter().filter(is_fit);
        return match highest(fits.collect()) {
            Some(number) => Ok(Some(number)),
            None => Err(Refusal::Ambiguous { base }),
        };
    }
    // Of the last one: what holds most, since a cut may not have come to its end.
    let end_of = |number: &usize| walked[*number].end.offset;
    let longest = left.iter().map(end_of).max();
    left.retain(|number| Some(end_of(number)) == longest);
    Ok(highest(left))
}

/// Whether the store leads on to the next one, as far as it should.
fn check_end(taken: &Walked, next: Option<Offset>, evidence: &Evidence) -> Result<(), Refusal> {
    let (file, end) = (taken.name(), taken.end.offset);
    if !taken.agrees_with_mark {
        return Err(Refusal::Disagree {
            file,
            other: "the mark".to_owned(),
            offset: end,
        });
    }
    let Some(next) = next else {
        return Ok(());
    };
    if next < end && !is_cut(taken, Some(next), evidence) {
        return Err(Refusal::Overlap { file, end, next });
    }
    // A store with damage may well end before: opening it says so.
    if end < next && taken.is_whole && !is_cut(taken, Some(next), evidence) {
        return Err(Refusal::Gap { file, end, next });
    }
    Ok(())
}

/// Whether the mark says that the log ends in this store, which is whole and does not meet the next.
fn is_cut(taken: &Walked, next: Option<Offset>, evidence: &Evidence) -> bool {
    let mut mark = evidence.mark.iter();
    mark.any(|slot| slot.is_of(taken.base, taken.generation))
        && taken.is_whole
        && taken.generation > 0
        && next.is_some_and(|n| n != taken.end.offset)
}
