//! Memory that a server takes before it serves, and keeps.

mod left;

use std::ops::Range;
use std::thread;

use crate::allocator;
use crate::exit::{Exit, stop};

/// Has the allocator hold `bytes_each` bytes for each of `cores` cores, and give none of it back.
///
/// A virtual machine may take milliseconds to find 2 MiB that it has not touched yet, and whoever needs them
/// first waits. As many threads as there are cores touch them, each its part.
///
/// # Errors
/// Where the machine, or a control group of this process, does not have as much, and what a node takes beside.
pub(crate) fn preallocate(bytes_each: usize, cores: usize) -> anyhow::Result<()> {
    let refused = |why: String| {
        let message = format!(
            "--prealloc-memory takes {} MiB (--tail-memory and --traffic-memory of {cores} cores), and {why}; choose \
             less, or leave it to be taken as it is needed",
            bytes_each.saturating_mul(cores) >> 20,
        );
        stop(Exit::Failed, message)
    };
    is_there(bytes_each, cores, left::bytes()).map_err(refused)?;
    allocator::keep_free_memory();
    let pieces = thread::scope(|scope| {
        let begin = |_| thread::Builder::new().spawn_scoped(scope, move || take(bytes_each));
        let threads: Vec<_> = (0..cores).map(begin).collect();
        let ended = threads.into_iter().map(|thread| thread.ok()?.join().ok()?);
        ended.collect::<Option<Vec<_>>>()
    });
    let pieces = pieces.ok_or_else(|| refused("the system refuses it".to_owned()))?;
    let ranges = pieces.iter().flatten().map(|piece| {
        let piece = piece.as_ptr_range();
        piece.start.addr()..piece.end.addr()
    });
    for span in spans(ranges.collect()) {
        // A hole ends a call, and what lies behind it is there all the same.
        for start in span.clone().step_by(CHUNK_BYTES) {
            allocator::populate(start..span.end.min(start + CHUNK_BYTES));
        }
    }
    // Freed only now, so that no piece was taken twice.
    drop(pieces);
    Ok(())
}

/// How much is missing of what a node may come to take, if anyone says. What it takes as records come is missing hours after the
/// start, and then the kernel ends it.
pub(crate) fn missing(bytes_each: usize, cores: usize) -> Option<String> {
    let left = left::bytes();
    let why = is_there(bytes_each, cores, left).err()?;
    let most = wanted(bytes_each, cores) >> 20;
    Some(format!(
        "{cores} cores may come to take {most} MiB (--tail-memory, --traffic-memory and what a core needs beside), and {why}"
    ))
}

/// What so many cores take at most.
pub(crate) fn wanted(bytes_each: usize, cores: usize) -> usize {
    bytes_each
        .saturating_add(BESIDE_BYTES)
        .saturating_mul(cores)
}

/// Whether as much is `left`, if anyone says; why not.
fn is_there(
    bytes_each: usize,
    cores: usize,
    left: Option<(u64, &'static str)>,
) -> Result<(), String> {
    let wanted = wanted(bytes_each, cores);
    match left {
        Some((left, who)) if left < wanted as u64 => {
            let (left, beside) = (left >> 20, BESIDE_BYTES >> 20);
            Err(format!(
                "{who} has {left} MiB left, of which a core needs {beside} for other things"
            ))
        }
        _ => Ok(()),
    }
}

/// So many bytes, touched, in pieces; None where they are refused.
fn take(bytes: usize) -> Option<Vec<Vec<u8>>> {
    let mut pieces = Vec::new();
    pieces.try_reserve_exact(bytes.div_ceil(PIECE_BYTES)).ok()?;
    for from in (0..bytes).step_by(PIECE_BYTES) {
        let bytes = PIECE_BYTES.min(bytes - from);
        let mut piece = Vec::new();
        piece.try_reserve_exact(bytes).ok()?;
        // Other bytes than zeros, which need not be written where memory is new.
        piece.resize(bytes, 1_u8);
        pieces.push(std::hint::black_box(piece));
    }
    Some(pieces)
}

/// What the allocator serves others from: the pieces, what lies between them, since it keeps sizes apart and had begun
/// a chunk for some of them before, and a chunk behind them.
fn spans(mut pieces: Vec<Range<usize>>) -> Vec<Range<usize>> {
    pieces.sort_by_key(|piece| piece.start);
    let mut spans: Vec<Range<usize>> = Vec::new();
    for piece in pieces {
        match spans.last_mut() {
            Some(last) if piece.start <= last.end => last.end = piece.end + CHUNK_BYTES,
            _ => spans.push(piece.start..piece.end + CHUNK_BYTES),
        }
    }
    spans
}

/// What the allocator packs without gaps: between larger pieces it leaves up to a tenth of its memory, which nobody
/// would have touched.
const PIECE_BYTES: usize = 64 << 10;

/// What mimalloc 3 gives to pages of one size at a time (`MI_BCHUNK_BITS` slices).
const CHUNK_BYTES: usize = 32 << 20;

/// What a core takes beside: what is read ahead (35 MiB), mapped indexes (64 MiB), and chunks between the pieces.
const BESIDE_BYTES: usize = 160 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_as_much_as_was_wanted() {
        for bytes in [0, 1, PIECE_BYTES, 2 * PIECE_BYTES + 1] {
            let taken = take(bytes).unwrap();
            assert_eq!(taken.iter().map(Vec::len).sum::<usize>(), bytes);
        }
    }

    #[test]
    fn what_lies_between_pieces_and_a_chunk_behind_them_is_populated_too() {
        let far = 9 * CHUNK_BYTES;
        let pieces = vec![far..far + 5, 10..20, 20..30, CHUNK_BYTES..CHUNK_BYTES + 1];
        let expected = [10..2 * CHUNK_BYTES + 1, far..far + 5 + CHUNK_BYTES];
        assert_eq!(spans(pieces), expected);
    }

    #[test]
    fn more_than_is_left_is_refused_with_what_a_core_needs_beside() {
        let bytes = 2 * (BESIDE_BYTES as u64 + (40 << 20));
        let is_there = |left| is_there(40 << 20, 2, left);
        assert_eq!(is_there(None), Ok(()));
        assert_eq!(is_there(Some((bytes, "the machine"))), Ok(()));
        let why = is_there(Some((bytes - 1, "the control group"))).unwrap_err();
        assert!(
            why.starts_with("the control group has 399 MiB left"),
            "{why}"
        );
        assert!(super::is_there(usize::MAX, 2, Some((u64::MAX - 1, "it"))).is_err());
    }
}
