//! Offsets count records in a log.

crate::counter::counter!(
    /// The place of a record in its log: 0 for the first record ever appended.
    ///
    /// At most `i64::MAX`, the bound of the batch format. Ranges of offsets are half-open.
    Offset,
    "offset"
);
