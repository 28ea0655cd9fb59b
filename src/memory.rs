//! Memory that a server takes before it serves, and keeps.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;

use crate::allocator;
use crate::exit::{Exit, stop};

/// Has the allocator hold `bytes_each` bytes for each of `cores` cores, and give none of it back.
///
/// A virtual machine may take milliseconds to find 2 MiB that it has not touched yet, and whoever needs them
/// first waits. As many threads as there are cores touch them, each its part.
///
/// # Errors
/// Where the machine, or the control group of this process, does not have as much.
pub(crate) fn preallocate(bytes_each: usize, cores: usize) -> anyhow::Result<()> {
    let wanted = bytes_each.saturating_mul(cores);
    let too_little = |why: String| {
        let message = format!(
            "--prealloc-memory takes {} (--tail-memory and --traffic-memory of {cores} cores), and {why}; choose \
             less, or leave it to be taken as it is needed",
            mib(wanted as u64),
        );
        stop(Exit::Failed, message)
    };
    if let Some((available, who)) = available()
        && available < wanted as u64
    {
        return Err(too_little(format!("{who} has {} left", mib(available))));
    }
    allocator::keep_free_memory();
    let taken: anyhow::Result<Vec<_>> = thread::scope(|scope| {
        let begin = |_| thread::Builder::new().spawn_scoped(scope, move || take(bytes_each));
        let threads: Vec<_> = (0..cores).map(begin).collect();
        let ended = threads.into_iter().map(|thread| thread.ok()?.join().ok()?);
        ended
            .map(|pieces| pieces.ok_or_else(|| too_little("the system refuses it".to_owned())))
            .collect()
    });
    let taken: Vec<_> = taken?.into_iter().flatten().collect();
    let ranges = taken.iter().map(|piece| {
        let piece = piece.as_ptr_range();
        piece.start.addr()..piece.end.addr()
    });
    for span in spans(ranges.collect()) {
        allocator::populate(span);
    }
    // Freed only now, so that no piece was taken twice.
    drop(taken);
    Ok(())
}

/// What the allocator serves others from that lies between the pieces and behind them: it keeps sizes apart, and
/// had begun a group for some of them before.
fn spans(mut pieces: Vec<Range<usize>>) -> Vec<Range<usize>> {
    pieces.sort_by_key(|piece| piece.start);
    let mut spans: Vec<Range<usize>> = Vec::new();
    for piece in pieces {
        match spans.last_mut() {
            Some(last) if piece.start <= last.end => last.end = piece.end + GROUP_BYTES,
            _ => spans.push(piece.start..piece.end + GROUP_BYTES),
        }
    }
    spans
}

/// What mimalloc 3 gives to pages of one size at a time (`MI_BCHUNK_BITS` slices).
const GROUP_BYTES: usize = 32 << 20;

/// So many bytes, touched, in pieces; None where they are refused.
fn take(bytes: usize) -> Option<Vec<Vec<u8>>> {
    let pieces = (0..bytes).step_by(PIECE_BYTES).map(|from| {
        let bytes = PIECE_BYTES.min(bytes - from);
        let mut piece = Vec::new();
        piece.try_reserve_exact(bytes).ok()?;
        // Other bytes than zeros, which need not be written where memory is new.
        piece.resize(bytes, 1_u8);
        Some(std::hint::black_box(piece))
    });
    pieces.collect()
}

/// What the allocator packs without gaps: between larger pieces it leaves up to a tenth of its memory, which nobody
/// would have touched.
const PIECE_BYTES: usize = 64 << 10;

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// How many bytes may be taken yet, and who says so; None where nobody does.
fn available() -> Option<(u64, &'static str)> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| of_machine(&text));
    let machine = machine.map(|bytes| (bytes, "the machine"));
    let group = of_group().map(|bytes| (bytes, "the control group"));
    machine.into_iter().chain(group).min()
}

/// `MemAvailable` of proc_meminfo(5), in bytes.
fn of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// What the limits of this process's control group, and of those around it, leave (cgroups(7), version 2).
fn of_group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let own = Path::new(GROUPS).join(group);
    let around = own.ancestors().take_while(|path| path.starts_with(GROUPS));
    around.filter_map(left_in).min()
}

const GROUPS: &str = "/sys/fs/cgroup";

fn left_in(group: &Path) -> Option<u64> {
    let read = |name: &str| -> Option<u64> {
        let path: PathBuf = group.join(name);
        fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    // Where there is no limit it says `max`, which is no number.
    Some(read("memory.max")?.saturating_sub(read("memory.current")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_has_left_is_read_in_bytes() {
        let text = "MemTotal:       24605828 kB\nMemFree:  1 kB\nMemAvailable:   20000000 kB\n";
        assert_eq!(of_machine(text), Some(20_480_000_000));
        assert_eq!(of_machine("MemFree:  1 kB\n"), None);
        assert!(available().is_some_and(|(bytes, _)| 0 < bytes));
    }

    #[test]
    fn a_group_has_left_what_its_limit_is_above_what_it_took() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("memory.current", "1000\n");
        write("memory.max", "max\n");
        assert_eq!(left_in(folder.path()), None);
        write("memory.max", "4096\n");
        assert_eq!(left_in(folder.path()), Some(3096));
        write("memory.max", "512\n");
        assert_eq!(left_in(folder.path()), Some(0));
    }

    #[test]
    fn pieces_are_as_much_as_was_wanted() {
        for bytes in [0, 1, PIECE_BYTES, 2 * PIECE_BYTES + 1] {
            let taken = take(bytes).unwrap();
            assert_eq!(taken.iter().map(Vec::len).sum::<usize>(), bytes);
        }
    }

    #[test]
    fn what_lies_between_pieces_and_a_group_behind_them_is_taken_too() {
        let far = 9 * GROUP_BYTES;
        let pieces = vec![far..far + 5, 10..20, 20..30, GROUP_BYTES..GROUP_BYTES + 1];
        let expected = [10..2 * GROUP_BYTES + 1, far..far + 5 + GROUP_BYTES];
        assert_eq!(spans(pieces), expected);
    }

    #[test]
    fn more_than_there_is_is_refused_with_what_to_do() {
        let error = preallocate(usize::MAX, 2).unwrap_err().to_string();
        assert!(error.contains("--tail-memory"), "{error}");
    }
}
