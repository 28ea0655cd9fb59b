//! The laws of a partition's offsets, asserted after every step.

use corelog_record::Offset;

/// A partition's offsets at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) log_start: Offset,
    pub(super) high_watermark: Offset,
    pub(super) durable: Offset,
    pub(super) log_end: Offset,
}

impl Bounds {
    /// Asserts the law of one moment.
    ///
    /// # Panics
    /// If the offsets are out of order: the process must not go on acknowledging.
    pub(super) fn assert_ordered(&self) {
        assert!(
            self.log_start <= self.high_watermark,
            "log start passed the high watermark: {self:?}"
        );
        assert!(
            self.high_watermark <= self.durable,
            "the high watermark passed what is durable: {self:?}"
        );
        assert!(
            self.durable <= self.log_end,
            "durable passed the log end: {self:?}"
        );
    }

    /// Asserts that nothing that was promised moved back since `before`.
    ///
    /// # Panics
    /// If log start, high watermark or durable fell.
    pub(super) fn assert_follows(&self, before: &Self) {
        assert!(
            before.log_start <= self.log_start,
            "log start moved back: {before:?} to {self:?}"
        );
        assert!(
            before.high_watermark <= self.high_watermark,
            "the high watermark moved back: {before:?} to {self:?}"
        );
        assert!(
            before.durable <= self.durable,
            "durable moved back: {before:?} to {self:?}"
        );
    }
}
