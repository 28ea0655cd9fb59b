//! The names of stores that are being received.
//!
//! ```text
//! 00000000000000001234.log.1763628300123.partial      begun at that time, by the node's clock
//! 00000000000000001234.2.log.1763628300123.partial
//! ```

use corelog_record::{Offset, Timestamp};

use crate::segment::name;

/// The name of the store `store` while it is received, since `begun`.
pub(super) fn named(store: &str, begun: Timestamp) -> String {
    format!("{store}.{}{SUFFIX}", begun.millis())
}

/// The store that the file `file` is to become, and since when; `None` if it is none of these.
pub(crate) fn parse(file: &str) -> Option<(&str, Timestamp)> {
    let (store, begun) = file.strip_suffix(SUFFIX)?.rsplit_once('.')?;
    let begun = begun.parse().ok().map(Timestamp::from_millis)?;
    name::is_store(store).then_some((store, begun))
}

/// The base and generation of the segment that `file` was to become the store of; `None` as for [`parse`].
pub(crate) fn segment(file: &str) -> Option<(Offset, u32)> {
    parse(file).and_then(|(store, _)| name::parse(store))
}

/// Whether `file` is being received, or may be gone on with at `now`. One that was begun later than that a clock
/// named that was ahead; by more than a file is kept for, it would be kept for as long as that clock was.
pub(crate) fn is_kept(file: &str, now: Timestamp) -> bool {
    parse(file).is_some_and(|(_, begun)| now.millis_since(begun).unsigned_abs() < KEPT_MS)
}

/// Whether `file` was being received, at whatever time.
pub(crate) fn is_partial(file: &str) -> bool {
    parse(file).is_some()
}

/// What was received of a segment waits so long to be gone on with, in milliseconds: what is older was
/// given up, and holds space that nobody knows of.
const KEPT_MS: u64 = 24 * 60 * 60 * 1_000;

const SUFFIX: &str = ".partial";

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

    #[test]
    fn a_name_tells_the_store_and_the_time() {
        let name = named("00000000000000001234.2.log", Timestamp::from_millis(77));
        assert_eq!(name, "00000000000000001234.2.log.77.partial");
        let known = Some(("00000000000000001234.2.log", Timestamp::from_millis(77)));
        assert_eq!(parse(&name), known);
        for other in [
            "x.partial",
            "00000000000000001234.log.partial",
            "00000000000000001234.index.77.partial",
            "00000000000000001234.log.77",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_given_up_is_kept_for_a_day() {
        let name = named("00000000000000001234.log", Timestamp::from_millis(1_000));
        let after = |millis| Timestamp::from_millis(1_000 + millis);
        assert!(is_kept(&name, after(DAY_MS - 1)));
        assert!(!is_kept(&name, after(DAY_MS)));
    }

    /// What a clock named that was a year ahead stayed for a year.
    #[test]
    fn what_was_begun_in_the_future_is_kept_if_that_is_less_than_a_day_ahead() {
        let name = named("00000000000000001234.log", Timestamp::from_millis(0));
        assert!(is_kept(&name, Timestamp::from_millis(1 - DAY_MS)));
        assert!(!is_kept(&name, Timestamp::from_millis(-DAY_MS)));
        assert!(!is_kept(&name, Timestamp::from_millis(i64::MIN)));
    }
}
