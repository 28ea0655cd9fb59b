//! Aligned buffers, registered with the kernel while they fit.

use std::fmt;
use std::rc::Rc;

use corelog_storage::disk::{BLOCK_BYTES, Buf};
use glommio::io::{DmaBuffer, ReadResult};

use crate::sys::stream;

/// A writable buffer that the disk can take as it is.
pub struct UringBuf {
    /// Shared only with writes in flight: whoever holds the buffer alone may change it.
    pub(super) memory: Rc<DmaBuffer>,
}

impl fmt::Debug for UringBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UringBuf")
            .field("bytes", &self.memory.len())
            .finish()
    }
}

impl UringBuf {
    /// A buffer of `bytes` bytes with unspecified contents.
    ///
    /// # Panics
    /// If `bytes` is not a positive multiple of [`BLOCK_BYTES`], or the thread is not a core.
    pub(super) fn alloc(bytes: usize) -> Self {
        assert!(bytes > 0, "a buffer has room");
        assert!(
            bytes.is_multiple_of(BLOCK_BYTES),
            "{bytes} bytes are not whole blocks"
        );
        Self {
            memory: Rc::new(glommio::allocate_dma_buffer(bytes)),
        }
    }

    fn memory_mut(&mut self) -> &mut DmaBuffer {
        match Rc::get_mut(&mut self.memory) {
            Some(memory) => memory,
            None => panic!("a buffer that was given to the disk is frozen"),
        }
    }
}

impl Buf for UringBuf {
    fn as_slice(&self) -> &[u8] {
        self.memory.as_bytes()
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        self.memory_mut().as_bytes_mut()
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        let target = &mut self.as_mut_slice()[at..][..bytes.len()];
        match bytes.len() < STREAMED_BYTES_MIN {
            true => target.copy_from_slice(bytes),
            false => stream::copy(target, bytes),
        }
    }

    fn truncate(&mut self, bytes: usize) {
        assert!(
            bytes.is_multiple_of(BLOCK_BYTES),
            "{bytes} bytes are not whole blocks"
        );
        assert!(bytes <= self.memory.len(), "a buffer does not grow");
        self.memory_mut().trim_to_size(bytes);
    }
}

/// Shorter batches may still be in a cache when they are written. Streams of 32 KiB, 64 KiB and 1,000 KiB cost the server
/// a sixth to a quarter less with copies past the caches, by turns; what was read of them afterwards cost the same.
const STREAMED_BYTES_MIN: usize = 16 << 10;

/// Bytes read from a file; cloning shares them.
#[derive(Clone)]
pub struct UringBytes(pub(super) ReadResult);

impl fmt::Debug for UringBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UringBytes")
            .field("bytes", &self.0.len())
            .finish()
    }
}

impl AsRef<[u8]> for UringBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
