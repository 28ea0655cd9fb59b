//! Record batches: kafka-python's read by ours, ours read by kafka-python.
//!
//! `data/CODEC.bin` are three batches as kafka-python's own builder wrote them
//! (`tests/python/make_golden.py`), `data/expected.json` is what went into them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use corelog_record::batch::{self, BYTES_MAX, Batches, Builder, Codec, Records, Rules, View};
use corelog_record::{Error, LeaderEpoch, Offset, Record, Timestamp};
use serde_json::{Value, json};

use crate::support::folder::Folder;
use crate::support::python;

const EXPECTED: &str = include_str!("data/expected.json");

fn golden(codec: Codec) -> &'static [u8] {
    match codec {
        Codec::None => include_bytes!("data/none.bin"),
        Codec::Gzip => include_bytes!("data/gzip.bin"),
        Codec::Snappy => include_bytes!("data/snappy.bin"),
        Codec::Lz4 => include_bytes!("data/lz4.bin"),
        Codec::Zstd => include_bytes!("data/zstd.bin"),
    }
}

#[test]
fn batches_of_kafka_python_are_admitted_and_read_record_by_record() {
    for codec in Codec::ALL {
        let found: Vec<Value> = Batches::over(golden(codec))
            .map(|bytes| describe(&batch::check(bytes.unwrap(), &Rules::default()).unwrap()))
            .collect();
        assert_eq!(json!(found), expected(codec), "{codec}");
    }
}

#[test]
fn without_compression_ours_and_theirs_are_the_same_bytes() {
    assert!(build(Codec::None) == golden(Codec::None));
}

#[test]
fn our_batches_are_read_by_kafka_python_record_by_record() {
    let folder = Folder::new();
    for codec in Codec::ALL {
        let file = folder.file(codec.name(), &build(codec));
        let found = python::run("read_batches.py", [&file]).json();
        assert_eq!(found, expected(codec), "{codec}");
    }
}

#[test]
fn a_transactional_batch_is_refused_by_a_server_and_read_by_a_reader() {
    let bytes = include_bytes!("data/transactional.bin");
    assert!(matches!(
        batch::check(bytes, &Rules::default()),
        Err(Error::Transactional)
    ));
    let view = View::verify(bytes).unwrap();
    assert_eq!(view.header().producer_id, 9);
    assert_eq!(describe(&view), expected(Codec::None)[0]);
}

#[test]
fn a_store_and_the_zeros_behind_an_active_one_are_decoded_by_kafka_python() {
    let folder = Folder::new();
    let sealed = build(Codec::Lz4);
    let mut active = [build(Codec::None), vec![0; 4096]].concat();
    move_batches(&mut active, 307);
    let (sealed, active) = (
        folder.file("sealed", &sealed),
        folder.file("active", &active),
    );
    let values = folder.path().join("values");
    let args = [
        "--values".as_ref(),
        values.as_os_str(),
        sealed.as_ref(),
        active.as_ref(),
    ];
    let found = python::run("decode_store.py", args).json();
    for (name, expected) in [
        ("base_offset", 1_000_000),
        ("next_offset", 1_000_614),
        ("records", 614),
        ("batches", 6),
        ("zeros", 4096),
    ] {
        assert_eq!(found[name], expected, "{name}");
    }
    let once: Vec<u8> = records()
        .flat_map(|record| [record.value.unwrap_or_default(), b"\n".to_vec()].concat())
        .collect();
    assert!(std::fs::read(values).unwrap() == once.repeat(2));
}

#[test]
fn decoding_a_store_finds_damage_and_gaps() {
    let folder = Folder::new();
    let whole = build(Codec::None);
    let first_bytes = batch::split_first(&whole).unwrap().unwrap().0.len();
    let decode = |name: &str, bytes: &[u8]| {
        python::run("decode_store.py", [folder.file(name, bytes)]).failed()
    };
    let mut changed = whole.clone();
    changed[first_bytes - 1] ^= 1;
    assert!(decode("changed", &changed).contains("wrong checksum at position 0"));
    let gap = [&whole[..first_bytes], &whole[..first_bytes]].concat();
    assert!(decode("gap", &gap).contains("begins at offset 1000000, not 1000006"));
    let torn = &whole[..whole.len() - 1];
    assert!(decode("torn", torn).contains("is no batch"));
}

/// The golden records in batches of our own, offsets and epoch filled in.
fn build(codec: Codec) -> Vec<u8> {
    let epoch = LeaderEpoch::new(7).unwrap();
    let mut file = Vec::new();
    for batch in expected(codec).as_array().unwrap() {
        let mut builder = Builder::new(codec);
        for record in batch["records"].as_array().unwrap() {
            builder.append_record(&to_record(record)).unwrap();
        }
        let mut bytes = builder.build().unwrap();
        let base = Offset::new(batch["base_offset"].as_u64().unwrap()).unwrap();
        batch::patch(&mut bytes, base, epoch);
        file.extend_from_slice(&bytes);
    }
    file
}

/// Moves all batches of `store` up by `count` offsets.
fn move_batches(store: &mut [u8], count: u64) {
    let mut rest = store;
    while let Ok(header) = batch::Header::parse(rest) {
        let base = Offset::new(header.base_offset.unsigned_abs() + count).unwrap();
        let (batch, behind) = rest.split_at_mut(header.total_bytes());
        batch::patch(batch, base, LeaderEpoch::new(header.leader_epoch).unwrap());
        rest = behind;
    }
}

/// What a reader of the golden batches with this codec must find.
fn expected(codec: Codec) -> Value {
    let mut batches: Value = serde_json::from_str(EXPECTED).unwrap();
    for batch in batches.as_array_mut().unwrap() {
        batch["codec"] = codec.name().into();
    }
    batches
}

/// All golden records.
fn records() -> impl Iterator<Item = Record> {
    let batches = expected(Codec::None);
    let records = batches.as_array().unwrap().iter().flat_map(|batch| {
        batch["records"]
            .as_array()
            .unwrap()
            .iter()
            .map(to_record)
            .collect::<Vec<_>>()
    });
    records.collect::<Vec<_>>().into_iter()
}

fn describe(view: &View<'_>) -> Value {
    let bytes = view.decompress(BYTES_MAX).unwrap();
    let records: Vec<Value> = Records::over(&bytes, view)
        .map(|record| {
            let record = record.unwrap();
            json!({
                "offset": record.offset,
                "timestamp": record.timestamp,
                "key": encode(record.key),
                "value": encode(record.value),
                "headers": record.headers().map(|(n, v)| json!([n, encode(v)])).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "base_offset": view.base_offset(),
        "last_offset": view.last_offset(),
        "epoch": view.epoch(),
        "codec": view.codec().name(),
        "base_timestamp": view.base_timestamp(),
        "max_timestamp": view.max_timestamp(),
        "records": records,
    })
}

fn to_record(record: &Value) -> Record {
    let header = |header: &Value| (header[0].as_str().unwrap().to_owned(), decode(&header[1]));
    Record {
        timestamp: Timestamp::from_millis(record["timestamp"].as_i64().unwrap()),
        key: decode(&record["key"]),
        value: decode(&record["value"]),
        headers: record["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(header)
            .collect(),
    }
}

fn encode(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| BASE64.encode(bytes))
}

fn decode(text: &Value) -> Option<Vec<u8>> {
    text.as_str().map(|text| BASE64.decode(text).unwrap())
}
