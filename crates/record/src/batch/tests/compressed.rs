//! Compression: no codec brings a reader down or makes it take memory that was only promised.

use super::hostile::mutate;
use super::{build, read, record, reseal, sample};
use crate::Error;
use crate::batch::{self, Codec, HEADER_BYTES, Rules, View};

/// A batch of one record whose value is a megabyte of zeros.
fn bomb(codec: Codec) -> Vec<u8> {
    build(codec, &[record(0, None, Some(&vec![0; 1 << 20]))])
}

/// A batch of this codec around these bytes.
fn around(codec: Codec, compressed: &[u8]) -> Vec<u8> {
    let mut bytes = sample(Codec::None);
    bytes[22] = codec.number();
    bytes.truncate(HEADER_BYTES);
    bytes.extend_from_slice(compressed);
    reseal(&mut bytes);
    bytes
}

#[test]
fn records_that_compression_would_not_make_smaller_are_stored_as_they_are() {
    for codec in Codec::ALL {
        let bytes = build(codec, &[record(0, None, Some(b"short"))]);
        assert_eq!(View::verify(&bytes).unwrap().codec(), Codec::None);
        let bytes = sample(codec);
        assert_eq!(View::verify(&bytes).unwrap().codec(), codec);
    }
}

#[test]
fn no_more_comes_out_than_the_caller_allows() {
    for codec in &Codec::ALL[1..] {
        let bytes = bomb(*codec);
        let view = View::verify(&bytes).unwrap();
        let whole = view.decompress(batch::BYTES_MAX).unwrap().len();
        assert_eq!(view.decompress(whole).unwrap().len(), whole);
        let refused = view.decompress(whole - 1);
        assert!(
            matches!(refused, Err(Error::DecompressedTooLarge { max, .. }) if max == whole - 1)
        );
    }
}

#[test]
fn records_without_compression_are_borrowed() {
    let bytes = sample(Codec::None);
    let view = View::verify(&bytes).unwrap();
    assert!(matches!(
        view.decompress(0),
        Ok(std::borrow::Cow::Borrowed(_))
    ));
}

/// The server does not look inside; the reader's error names the codec.
#[test]
fn noise_in_place_of_compressed_records_is_an_error_of_the_codec() {
    for codec in &Codec::ALL[1..] {
        let bytes = around(*codec, &[0xa5; 100]);
        let view = batch::check(&bytes, &Rules::default()).unwrap();
        let error = view.decompress(batch::BYTES_MAX).unwrap_err();
        assert!(
            matches!(error, Error::Codec { codec: c, .. } if c == *codec),
            "{error:?}"
        );
    }
}

/// A cut behind the last record takes only the codec's own end mark, which not every codec misses.
#[test]
fn a_cut_stream_gives_an_error_and_never_other_records() {
    for codec in &Codec::ALL[1..] {
        let whole = sample(*codec);
        let expected = read(&View::verify(&whole).unwrap()).unwrap();
        for end in HEADER_BYTES..whole.len() {
            let bytes = around(*codec, &whole[HEADER_BYTES..end]);
            if let Ok(records) = read(&View::verify(&bytes).unwrap()) {
                assert_eq!(records, expected, "{codec} cut at {end}");
                assert!(whole.len() - end <= 4, "{codec} cut at {end}");
            }
        }
    }
}

/// A bare block, as some clients write, and a claim beyond what its bytes can hold.
#[test]
fn snappy_is_read_with_and_without_its_frame() {
    let records = b"abc ".repeat(100);
    let bare = snap::raw::Encoder::new().compress_vec(&records).unwrap();
    let bytes = around(Codec::Snappy, &bare);
    assert_eq!(
        View::verify(&bytes).unwrap().decompress(400).unwrap(),
        records
    );
    let claim = [0xff, 0xff, 0xff, 0x07, 0];
    let bytes = around(Codec::Snappy, &claim);
    let refused = View::verify(&bytes).unwrap().decompress(usize::MAX);
    assert!(matches!(
        refused,
        Err(Error::Codec {
            codec: Codec::Snappy,
            ..
        })
    ));
}

/// gzip and zstd streams may be made of several; both are read to their end.
#[test]
fn streams_in_several_pieces_are_read_whole() {
    for codec in [Codec::Gzip, Codec::Zstd] {
        let whole = bomb(codec);
        let piece = &whole[HEADER_BYTES..];
        let bytes = around(codec, &[piece, piece].concat());
        let len = View::verify(&whole)
            .unwrap()
            .decompress(batch::BYTES_MAX)
            .unwrap()
            .len();
        let twice = View::verify(&bytes)
            .unwrap()
            .decompress(batch::BYTES_MAX)
            .unwrap()
            .len();
        assert_eq!(twice, 2 * len);
    }
}

/// zstd 0.7 and before wrote other formats than RFC 8878, each with a decoder of its own, which takes the window that a frame
/// asks for.
#[test]
fn frames_of_zstd_from_before_its_format_was_settled_are_refused() {
    let hello: &[u8] = &[
        0x27, 0xb5, 0x2f, 0xfd, // the magic number of 0.7
        0x20, 5, // one segment, of five bytes
        0x40, 0, 5, b'h', b'e', b'l', b'l', b'o', // a raw block
        0xc0, 0, 0, // the end
    ];
    let bytes = around(Codec::Zstd, hello);
    assert!(matches!(
        View::verify(&bytes).unwrap().decompress(batch::BYTES_MAX),
        Err(Error::Codec {
            codec: Codec::Zstd,
            ..
        })
    ));
}

#[test]
fn mutated_streams_bring_no_codec_down() {
    const BYTES_MAX: usize = 4096;
    let mut random = fastrand::Rng::with_seed(0x5eed_0003);
    for codec in &Codec::ALL[1..] {
        let (whole, mut read) = (sample(*codec), 0);
        for _ in 0..100_000 {
            let mut compressed = whole[HEADER_BYTES..].to_vec();
            mutate(&mut compressed, &mut random);
            let bytes = around(*codec, &compressed);
            let Ok(records) = View::verify(&bytes).unwrap().decompress(BYTES_MAX) else {
                continue;
            };
            read += 1;
            assert!(records.len() <= BYTES_MAX);
            // Twice, because a growing vector doubles: memory follows what came out.
            let memory = records.into_owned().capacity();
            assert!(memory <= 2 * BYTES_MAX, "{codec} took {memory} bytes");
        }
        assert!(read > 1_000, "{codec}: {read} are read all the same");
    }
}
