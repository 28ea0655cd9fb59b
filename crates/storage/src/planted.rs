//! Bugs that tests plant, to prove that they would be found.
//!
//! Each is consulted at the very place where a careless change would make it. Outside the tests of
//! this crate [`is`] is a constant, and nothing of this is left in the program.

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A group is acknowledged when it is written, not when it is synced.
    AckBeforeSync,
    /// What the mark promised is not asked for when a tail is judged.
    DamageCutAsTorn,
    /// A clean mark stays when the log goes on, and is believed whatever lies behind it.
    StaleCleanMark,
    /// What recovery wrote is shown without being synced.
    ServedBeforeSync,
    /// A torn tail is left where it is, behind the end of the log.
    BytesBehindCut,
    /// A store that the manifest does not name stays, and the segment of its name goes on in it.
    UnnamedAdopted,
    /// An unclean opening goes on with the last epoch.
    EpochReused,
    /// A store is used again with what stands in it.
    ReusedUncleared,
    /// What a page shows is taken for what the disk holds, and is not written again.
    PageBelieved,
}

/// Whether `bug` is planted.
#[cfg(not(test))]
#[inline]
pub(crate) const fn is(_bug: Bug) -> bool {
    false
}

/// Whether `bug` is planted, on this thread.
#[cfg(test)]
pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Runs `work` with `bug` planted.
#[cfg(test)]
pub(crate) fn with<T>(bug: Bug, work: impl FnOnce() -> T) -> T {
    struct Removed;
    impl Drop for Removed {
        fn drop(&mut self) {
            PLANTED.set(None);
        }
    }
    let _removed = Removed;
    PLANTED.set(Some(bug));
    work()
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}
