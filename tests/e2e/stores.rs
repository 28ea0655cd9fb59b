//! Stores are the field's public standard: kafka-python, which knows nothing of us, decodes them.

use std::path::{Path, PathBuf};

use corelog_record::batch::Batches;
use serde_json::Value;

use crate::support::chance;
use crate::support::corelog::Corelog;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::python;
use crate::support::server::{Server, Start};
use crate::support::stores;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Checksums, offsets and values of every sealed store while the server runs, and of all stores,
/// the last one too, after a clean stop.
#[test]
fn kafka_python_decodes_every_sealed_store_and_the_active_one_after_a_clean_stop() {
    let mut random = chance::random("stores");
    let folder = Folder::new();
    let data = folder.path().join("data");
    let topics = data.join("topics");
    let server = Start::on(&data).cores(2).start();
    let lines = lines(&mut random);
    let input = folder.file("input", &lines);
    for codec in CODECS {
        produce(&server, codec, &input);
        let stores = stores::of(&topics.join(codec), 0);
        assert!(stores.len() >= 3, "{codec}: {stores:?}");
        let sealed = &stores[..stores.len() - 1];
        let what = format!("{codec}: all segments but the last are sealed");
        // Sealing goes on behind the acknowledgement; a sealed store is cut to its batches.
        until(&what, || sealed.iter().all(|store| is_cut(store)));
        let sealed = decode(&folder, sealed).0;
        assert_eq!(sealed["zeros"], 0, "{codec}: a sealed store ends exactly");
        assert_eq!(sealed["base_offset"], 0, "{codec}");
    }
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);

    let record_count = lines.split(|byte| *byte == b'\n').count() - 1;
    for codec in CODECS {
        let (found, values) = decode(&folder, &stores::of(&topics.join(codec), 0));
        println!("{codec}: {found}");
        assert_eq!(found["zeros"], 0, "{codec}: a closed store ends exactly");
        assert_eq!(found["records"], record_count, "{codec}");
        assert_eq!(found["next_offset"], record_count, "{codec}");
        assert_eq!(found["codecs"][codec], found["batches"], "{codec}: {found}");
        assert!(values == lines, "{codec}: values differ from the input");
    }
}

fn produce(server: &Server, codec: &str, input: &Path) {
    let corelog = Corelog::to(server);
    let create = ["topic", "create", codec, "--segment-bytes", "1MiB"];
    corelog.run(create).done();
    let produce = ["produce", codec, "--compression", codec];
    corelog
        .run([&produce[..], &[input.to_str().unwrap()]].concat())
        .done();
}

/// True if the store holds batches and nothing behind them.
fn is_cut(store: &Path) -> bool {
    let bytes = std::fs::read(store).unwrap();
    Batches::over(&bytes).all(|batch| batch.is_ok())
}

/// What kafka-python found, and the values it read.
fn decode(folder: &Folder, stores: &[PathBuf]) -> (Value, Vec<u8>) {
    let values = folder.file("values", b"");
    let mut args = vec![PathBuf::from("--values"), values.clone()];
    args.extend_from_slice(stores);
    let found = python::run("decode_store.py", args).json();
    assert_eq!(found["stores"], stores.len());
    (found, std::fs::read(values).unwrap())
}

/// Lines each of which every codec makes smaller, but not by much: a batch that would not shrink is stored as it is, and
/// one may be of a single line.
fn lines(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut text = Vec::new();
    while text.len() < 4 << 20 {
        let bytes = random.usize(..4_000);
        // A run of one byte is what every codec finds, also one that skips through what is random.
        text.extend(std::iter::repeat_n(b'\x80', 200 + bytes / 8));
        text.extend((0..bytes).map(|_| random.u8(b'\x80'..)));
        text.push(b'\n');
    }
    text
}
