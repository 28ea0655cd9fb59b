//! The time of this machine, for records that are stamped where they are made.

use std::time::{SystemTime, UNIX_EPOCH};

use corelog_record::Timestamp;

/// The time of this machine, as [`Record::new`](corelog_record::Record::new) takes it; none before 1970, which a batch
/// cannot say.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.map_or(0, |since| since.as_millis());
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use corelog_record::Record;

    use super::*;

    /// The crate's own example wrote records of 1970, which no look-up by time finds.
    #[test]
    fn a_record_that_is_made_now_is_of_this_time() {
        let year_2026 = Timestamp::from_millis(1_767_225_600_000);
        let record = Record::new(now(), "one apple");
        assert!(year_2026 <= record.timestamp);
        assert_eq!(record.value.as_deref(), Some(&b"one apple"[..]));
        assert!(record.key.is_none());
    }
}
