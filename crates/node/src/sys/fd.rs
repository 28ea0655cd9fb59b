//! Descriptors handed between the standard library and the runtime.
#![expect(unsafe_code, reason = "raw descriptors; the public face is safe")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

/// Makes a runtime's socket from a descriptor, which it owns from then on.
pub(crate) fn adopt<T: FromRawFd>(owned: OwnedFd) -> T {
    // SAFETY: the descriptor is open and ours alone, and given up by `into_raw_fd`; nobody else
    // closes it.
    unsafe { T::from_raw_fd(owned.into_raw_fd()) }
}

/// The descriptor of a runtime's file or socket, for as long as that is borrowed.
pub(crate) fn borrow<T: AsRawFd>(owner: &T) -> BorrowedFd<'_> {
    // SAFETY: `owner` keeps its descriptor open while it is borrowed: every type this is called
    // with closes it only when it is dropped or consumed.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}
