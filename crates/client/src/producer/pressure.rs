//! Whether anybody waits for memory that batches hold: while any does, no batch lingers that may be what holds it.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many wait.
#[derive(Debug, Default)]
pub(super) struct Pressure(AtomicUsize);

impl Pressure {
    /// Felt until the guard is dropped; and whether nobody pressed before: then the lanes have to be told, whose batches
    /// linger. Batches that begin while somebody presses do not.
    pub(super) fn press(&self) -> (impl Drop + '_, bool) {
        struct Guard<'a>(&'a AtomicUsize);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let is_first = self.0.fetch_add(1, Ordering::Relaxed) == 0;
        (Guard(&self.0), is_first)
    }

    pub(super) fn is_felt(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each who waited told all lanes: with thousands of partitions that took longer than the wait.
    #[test]
    fn of_senders_who_wait_for_memory_together_the_first_one_tells_the_lanes() {
        let pressure = Pressure::default();
        let (first, is_first) = pressure.press();
        assert!(is_first);
        let (second, is_first) = pressure.press();
        assert!(!is_first);
        drop(first);
        assert!(pressure.is_felt(), "as long as any waits");
        drop(second);
        assert!(!pressure.is_felt());
        assert!(pressure.press().1, "those before have gone");
    }
}
