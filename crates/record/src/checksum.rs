//! CRC-32C (Castagnoli), the checksum of the batch format, by carry-less multiplication and the processor's
//! own instruction where it has them. RFC 3720, appendix B.4, gives test vectors.

/// The CRC-32C of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn the_vectors_of_rfc_3720_hold() {
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&rising), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    /// The library takes another way by the processor, by the length, and at edges of vectors.
    #[test]
    fn every_length_at_every_alignment_has_the_remainder_of_the_polynomial() {
        let mut bytes = vec![0; 4_200];
        fastrand::Rng::with_seed(7).fill(&mut bytes);
        for from in (0..64).chain([1_000]) {
            let bytes = &bytes[from..];
            let mut remainder = !0;
            for length in 0..bytes.len().min(3_200) {
                assert_eq!(crc32c(&bytes[..length]), !remainder, "{from}, {length}");
                remainder = divided(remainder ^ u32::from(bytes[length]));
            }
        }
    }

    /// One byte further, bit by bit, the lowest first: the reversed polynomial of RFC 3720, 12.1.
    fn divided(remainder: u32) -> u32 {
        (0..8).fold(remainder, |rest, _| {
            (rest >> 1) ^ (0x82f6_3b78 & (rest & 1).wrapping_neg())
        })
    }
}
