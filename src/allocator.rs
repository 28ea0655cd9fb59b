//! Where memory comes from.

use std::ffi::c_long;
use std::ops::Range;
use std::ptr::{self, NonNull};

use libmimalloc_sys::{
    mi_option_large_os_pages, mi_option_set, mi_option_set_default, mi_option_t,
};
use mimalloc::MiMalloc;
use nix::sys::mman::{MmapAdvise, madvise};
use nix::sys::prctl::set_thp_disable;

/// A group's buffers are megabytes that come and go a thousand times a second. The allocator of the C
/// library gives each back to the kernel, and half of a busy core's time went into page faults.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Tells the allocator how the memory of a node comes and goes.
///
/// - In huge pages, as far as the kernel has them: what is kept for readers can be gigabytes, which in pages of
///   4 KiB take longer to come by.
/// - What is free goes back to the kernel after ten seconds, not after one, unless `MIMALLOC_PURGE_DELAY` says
///   when: a node under load needs it again, and each time it took up to 10,000 page faults for a gibibyte.
pub(crate) fn set_up() {
    set(mi_option_large_os_pages, 1);
    #[expect(unsafe_code, reason = "an option of the allocator")]
    // SAFETY: it stores a number; any is allowed for this option.
    unsafe {
        mi_option_set_default(PURGE_DELAY, 10_000);
    };
}

/// From now on what is free stays for the next who needs it, whatever the environment says.
pub(crate) fn keep_free_memory() {
    set(PURGE_DELAY, NEVER);
}

/// A delay that has no end.
const NEVER: c_long = -1;

/// Has the kernel find memory for what of these addresses can be written to (`MADV_POPULATE_WRITE`, madvise(2)). Where
/// it cannot, whoever writes there first waits for it, as ever.
pub(crate) fn populate(addresses: Range<usize>) {
    let Some(start) = NonNull::new(ptr::without_provenance_mut(
        addresses.start & !(PAGE_BYTES_MAX - 1),
    )) else {
        return;
    };
    let bytes = addresses.end - start.addr().get();
    #[expect(unsafe_code, reason = "advice on addresses, some of them of others")]
    // SAFETY: this advice changes no byte and no mapping; addresses that are nobody's are an error.
    let populated = unsafe { madvise(start, bytes, MmapAdvise::MADV_POPULATE_WRITE) };
    if let Err(error) = populated {
        tracing::debug!(%error, "not all memory is populated");
    }
}

/// The largest that a kernel has by default; the allocator's memory is aligned to no less.
const PAGE_BYTES_MAX: usize = 64 << 10;

/// What this process takes of memory from now on is in small pages: one of 2 MiB can take milliseconds to come by, which
/// a program that measures others would count as theirs.
pub(crate) fn use_small_pages() {
    set(mi_option_large_os_pages, 0);
    if let Err(error) = set_thp_disable(true) {
        tracing::warn!(%error, "pages may be large, and slow to come by");
    }
}

fn set(option: mi_option_t, value: c_long) {
    #[expect(unsafe_code, reason = "an option of the allocator")]
    // SAFETY: it stores a number that is read as one, atomically; any is allowed for the options that this file has.
    unsafe {
        mi_option_set(option, value);
    };
}

/// `mi_option_purge_delay` of `mimalloc.h` (in milliseconds), which the bindings do not name.
const PURGE_DELAY: mi_option_t = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_that_of_the_option_whose_default_is_a_second() {
        #[expect(unsafe_code, reason = "an option of the allocator")]
        // SAFETY: it reads a number.
        let before = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
            assert_eq!(before, 1_000);
        }
    }
}
