//! Times as a node writes them, and how long ago they were.

use jiff::Timestamp;
use serde::Serializer;

/// How many seconds before `now` it was; none if it is no time. A clock that is ahead of ours is
/// no age.
pub(super) fn seconds_since(then: &str, now: Timestamp) -> Option<f64> {
    let then: Timestamp = then.parse().ok()?;
    let since = now.duration_since(then);
    Some(since.as_secs_f64().max(0.0))
}

/// A time as a node writes them.
pub(super) fn rfc3339(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// The same, among other things that are told.
pub(super) fn serialize<S: Serializer>(time: &Timestamp, told: S) -> Result<S::Ok, S::Error> {
    told.serialize_str(&rfc3339(*time))
}

/// The time of day, in UTC.
pub(super) fn time_of_day(time: Timestamp) -> String {
    time.strftime("%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_ahead_of_our_clock_is_no_age() {
        let noon: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        assert_eq!(seconds_since("2026-01-01T11:59:58.500Z", noon), Some(1.5));
        assert_eq!(seconds_since("2026-01-01T12:00:10Z", noon), Some(0.0));
        assert_eq!(seconds_since("", noon), None);
        assert_eq!(time_of_day(noon), "12:00:00Z");
    }
}
