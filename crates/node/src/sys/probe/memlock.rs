//! What the limit of locked memory allows.

use std::fs;

use corelog_record::ByteSize;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::unknown;
use crate::sys::Error;

/// What a number of cores may lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memlock {
    /// The limit; `None` if there is none for this process.
    pub limit: Option<ByteSize>,
    /// Bytes of I/O buffers that each core can register. Buffers beyond are used unregistered,
    /// which costs a little processor time and nothing else.
    pub io_memory_bytes: usize,
}

/// Plans the locked memory of `cores` cores.
///
/// # Errors
/// [`Error::Memlock`] if the limit does not suffice for their rings.
///
/// # Panics
/// If `cores` is zero.
pub fn memlock(cores: usize) -> Result<Memlock, Error> {
    match limit()? {
        None => Ok(Memlock {
            limit: None,
            io_memory_bytes: IO_MEMORY_BYTES_MAX,
        }),
        Some(limit) => plan(cores, limit),
    }
}

/// For how many cores the limit of locked memory has room, at least one: whether that one can start says [`memlock`].
#[must_use]
pub fn cores_max() -> usize {
    // A limit that is not known is told by whoever plans with it.
    limit().ok().flatten().map_or(usize::MAX, cores_within)
}

/// Bytes that this process may lock; `None` if there is no limit for it.
fn limit() -> Result<Option<u64>, Error> {
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK)
        .map_err(|errno| unknown("the limit of locked memory")(errno.into()))?;
    // The runtime reads the number itself, whatever the process may do.
    let is_unlimited = soft == RLIM_INFINITY || (may_lock_any() && soft >= SOFT_MIN_BYTES);
    Ok((!is_unlimited).then_some(soft))
}

fn cores_within(limit: u64) -> usize {
    usize::try_from(limit / CORE_MIN_BYTES)
        .unwrap_or(usize::MAX)
        .max(1)
}

/// Divides `limit` bytes among `cores`.
fn plan(cores: usize, limit: u64) -> Result<Memlock, Error> {
    assert!(cores > 0, "a node has cores");
    let needed = (cores as u64).saturating_mul(CORE_MIN_BYTES);
    if limit < needed.max(SOFT_MIN_BYTES) {
        let needed = ByteSize::from_bytes(needed.max(SOFT_MIN_BYTES));
        return Err(Error::Memlock {
            cores,
            needed,
            limit: ByteSize::from_bytes(limit),
        });
    }
    let for_buffers = (limit / cores as u64 - RING_BYTES) / REGISTRATIONS;
    let whole = for_buffers - for_buffers % IO_MEMORY_BYTES_MIN;
    let io_memory_bytes = usize::try_from(whole)
        .unwrap_or(usize::MAX)
        .min(IO_MEMORY_BYTES_MAX);
    Ok(Memlock {
        limit: Some(ByteSize::from_bytes(limit)),
        io_memory_bytes,
    })
}

/// Whether this process has CAP_IPC_LOCK, which lifts the limit.
fn may_lock_any() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|capabilities| capabilities & CAP_IPC_LOCK != 0)
}

/// The bit of CAP_IPC_LOCK (14) in a capability mask, from `linux/capability.h`.
const CAP_IPC_LOCK: u64 = 1 << 14;

/// Each core's three rings register the same buffers, and each registration counts.
const REGISTRATIONS: u64 = 3;

/// What a core's three rings take: measured, eleven cores exhaust 8 MiB.
const RING_BYTES: u64 = 768 << 10;

/// The least that the runtime sets aside for a core.
const IO_MEMORY_BYTES_MIN: u64 = 64 << 10;

/// The least that a core locks.
const CORE_MIN_BYTES: u64 = RING_BYTES + REGISTRATIONS * IO_MEMORY_BYTES_MIN;

/// More registered buffers than this bring nothing: a group commit is at most 2 MiB of them.
const IO_MEMORY_BYTES_MAX: usize = 8 << 20;

/// The runtime refuses to start below this, privileges or not.
const SOFT_MIN_BYTES: u64 = 512 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_normal_users_eight_mebibytes_serve_two_cores() {
        let plan = plan(2, 8 << 20).unwrap();
        assert!(plan.io_memory_bytes >= 1 << 20, "{plan:?}");
        let locked = 2 * (RING_BYTES + REGISTRATIONS * plan.io_memory_bytes as u64);
        assert!(locked <= 8 << 20);
    }

    #[test]
    fn more_cores_get_smaller_buffers_until_the_rings_do_not_fit() {
        let mut last = usize::MAX;
        let mut cores = 1;
        while let Ok(plan) = plan(cores, 8 << 20) {
            assert!(plan.io_memory_bytes <= last);
            last = plan.io_memory_bytes;
            cores += 1;
        }
        assert!((8..12).contains(&cores), "{cores}");
    }

    #[test]
    fn as_many_cores_as_a_limit_has_room_for_start_and_one_more_does_not() {
        assert_eq!(cores_within(8 << 20), 8);
        for mebibytes in 1..100 {
            let limit = mebibytes << 20;
            let cores = cores_within(limit);
            plan(cores, limit).unwrap();
            plan(cores + 1, limit).unwrap_err();
        }
        assert_eq!(cores_within(0), 1, "which says what it lacks");
    }

    #[test]
    fn too_low_a_limit_says_what_is_needed() {
        let message = plan(4, 1 << 20).unwrap_err().to_string();
        assert!(message.contains("4 cores need 3840KiB"), "{message}");
        assert!(message.contains("LimitMEMLOCK"), "{message}");
    }

    #[test]
    fn this_machine_gets_an_answer() {
        memlock(1).unwrap();
    }
}
