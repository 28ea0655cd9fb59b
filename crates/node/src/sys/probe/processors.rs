//! Which processors this process may run on.

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use super::unknown;
use crate::sys::Error;

/// The numbers of the processors that the calling thread may run on, in order; at least one.
/// Fewer than the machine has under `taskset` or in a container with a set of its own.
///
/// # Errors
/// [`Error::Unknown`] if the kernel does not tell.
pub fn processors() -> Result<Vec<usize>, Error> {
    let set = sched_getaffinity(Pid::from_raw(0))
        .map_err(|errno| unknown("the processors")(errno.into()))?;
    let numbers = 0..CpuSet::count();
    Ok(numbers
        .filter(|number| set.is_set(*number).unwrap_or(false))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_and_they_are_in_order() {
        let processors = processors().unwrap();
        assert!(!processors.is_empty());
        assert!(processors.is_sorted());
    }
}
