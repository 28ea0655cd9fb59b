//! How many files may be open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::unknown;
use crate::sys::Error;

/// Raises the soft limit of open files to the hard one, and gives it.
///
/// # Errors
/// [`Error::Unknown`] if the kernel neither tells nor raises it.
pub fn raise_descriptors() -> Result<u64, Error> {
    let failed = |errno: nix::Error| unknown("the limit of open files")(errno.into());
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(failed)?;
    }
    Ok(hard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_reaches_the_hard_one() {
        let hard = raise_descriptors().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
    }
}
