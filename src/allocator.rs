//! Where memory comes from.

use libmimalloc_sys::{mi_option_large_os_pages, mi_option_set};
use mimalloc::MiMalloc;

/// A group's buffers are megabytes that come and go a thousand times a second. The allocator of the C
/// library gives each back to the kernel, and half of a busy core's time went into page faults.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Asks for memory in huge pages, as far as the kernel has them: what is kept for readers can be gigabytes,
/// which in pages of 4 KiB take longer to come by.
pub(crate) fn use_huge_pages() {
    #[expect(
        unsafe_code,
        reason = "an option of the allocator, set before there is a second thread"
    )]
    // SAFETY: it stores a number; any is allowed for this option, and nobody reads it meanwhile.
    unsafe {
        mi_option_set(mi_option_large_os_pages, 1);
    }
}
