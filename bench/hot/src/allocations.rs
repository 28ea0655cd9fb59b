//! An allocator that counts what a thread, and what all threads, ask of it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// The allocator of the system, which counts.
#[derive(Debug)]
pub struct Counting;

/// Allocations, reallocations included, and the bytes asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocations {
    /// How many.
    pub count: u64,
    /// Of how many bytes in all.
    pub bytes: u64,
}

thread_local! {
    static HERE: Cell<Allocations> = const { Cell::new(Allocations { count: 0, bytes: 0 }) };
}
static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

impl Allocations {
    /// Those of this thread so far.
    #[must_use]
    pub fn here() -> Self {
        HERE.get()
    }

    /// Those of all threads so far.
    #[must_use]
    pub fn everywhere() -> Self {
        Self {
            count: COUNT.load(Ordering::Relaxed),
            bytes: BYTES.load(Ordering::Relaxed),
        }
    }

    /// Those since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            count: self.count - earlier.count,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

fn note(bytes: usize) {
    let bytes = bytes as u64;
    // A thread that ends may free and ask for memory after its counter is gone.
    let _ = HERE.try_with(|here| {
        let Allocations { count, bytes: all } = here.get();
        here.set(Allocations {
            count: count + 1,
            bytes: all + bytes,
        });
    });
    COUNT.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(bytes, Ordering::Relaxed);
}

#[expect(unsafe_code, reason = "only an allocator sees what is allocated")]
// SAFETY: every call is handed to the allocator of the system as it came; nothing here allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps to what `alloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps to what `alloc_zeroed` asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, from: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note(bytes);
        // SAFETY: the caller keeps to what `realloc` asks for.
        unsafe { System.realloc(from, layout, bytes) }
    }

    unsafe fn dealloc(&self, from: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to what `dealloc` asks for.
        unsafe { System.dealloc(from, layout) }
    }
}
