//! Ordinals count batches in a log.

crate::counter::counter!(
    /// The place of a batch in its log: 0 for the first batch ever appended.
    Ordinal,
    "ordinal"
);
