//! Copying what is too long to be found in a cache later.
#![expect(
    unsafe_code,
    reason = "stores past the caches have no safe wrapper; the public face is safe"
)]

/// Copies `source` to `target` past the caches, where the processor can: a store into a line that no cache has
/// reads it from memory first, for nothing where all of it is overwritten, and drives out what is of use (Intel's
/// Optimization Reference Manual, "Non-temporal Stores").
///
/// # Panics
/// If they differ in length.
pub(crate) fn copy(target: &mut [u8], source: &[u8]) {
    assert_eq!(target.len(), source.len(), "as much as there is room for");
    #[cfg(target_arch = "x86_64")]
    x86::copy(target, source);
    #[cfg(not(target_arch = "x86_64"))]
    target.copy_from_slice(source);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};

    /// What one store takes.
    const BYTES: usize = size_of::<__m128i>();

    pub(super) fn copy(target: &mut [u8], source: &[u8]) {
        let lead = target.as_ptr().align_offset(BYTES).min(target.len());
        let (target_lead, target) = target.split_at_mut(lead);
        let (source_lead, source) = source.split_at(lead);
        target_lead.copy_from_slice(source_lead);
        let (targets, target_rest) = target.as_chunks_mut::<BYTES>();
        let (sources, source_rest) = source.as_chunks::<BYTES>();
        for (target, source) in targets.iter_mut().zip(sources) {
            // SAFETY: there are as many bytes to read.
            let bytes = unsafe { _mm_loadu_si128(source.as_ptr().cast()) };
            // SAFETY: there are as many bytes to write, they begin at a multiple of that, and nobody looks at them before the
            // fence below.
            unsafe { _mm_stream_si128(target.as_mut_ptr().cast(), bytes) };
        }
        target_rest.copy_from_slice(source_rest);
        // Such stores are not ordered with others, of this thread neither: whoever looks here, or is told to, is to find them.
        // SAFETY: every x86-64 has it, and it touches no memory.
        unsafe { _mm_sfence() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_length_and_place_all_is_copied_and_nothing_else_changes() {
        let source: Vec<u8> = (0..255).cycle().take(4096).collect();
        for (from, at, bytes) in [(0, 0), (3, 1), (1, 15), (7, 16), (0, 63)]
            .into_iter()
            .flat_map(|(from, at)| [0, 1, 15, 16, 17, 64, 1000, 4000].map(|len| (from, at, len)))
        {
            let mut target = vec![0xff; 4096];
            let mut expected = target.clone();
            expected[at..][..bytes].copy_from_slice(&source[from..][..bytes]);
            copy(&mut target[at..][..bytes], &source[from..][..bytes]);
            assert!(target == expected, "{bytes} from {from} to {at}");
        }
    }

    #[test]
    #[should_panic = "as much as there is room for"]
    fn more_than_there_is_room_for_is_refused() {
        copy(&mut [0; 3], &[0; 4]);
    }
}
