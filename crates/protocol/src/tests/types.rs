//! Values of another type than the one that PROTOCOL.md says: none of them has a meaning.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::defaults::{decode, head};
use crate::frame::FrameError;
use crate::kind::Kind;

/// Any value of MessagePack.
#[derive(Clone)]
enum Value {
    Nil,
    Number(u64),
    Text(&'static str),
    Bytes(&'static [u8]),
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

use Value::{Array, Bytes, Map, Nil, Number, Text};

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Nil => serializer.serialize_none(),
            Number(number) => serializer.serialize_u64(*number),
            Text(text) => serializer.serialize_str(text),
            Bytes(bytes) => serializer.serialize_bytes(bytes),
            Array(values) => serializer.collect_seq(values),
            Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

fn map(entries: &[(&'static str, Value)]) -> Value {
    let entries = entries.iter().cloned();
    Map(entries.map(|(key, value)| (Text(key), value)).collect())
}

/// A head in which `key` has this value.
fn with(kind: Kind, key: &'static str, value: Value) -> Value {
    let mut entries = match kind {
        Kind::CreateTopic => vec![("name", Text("orders")), ("partitions", Number(1))],
        Kind::Fetch => vec![
            ("topic", Text("orders")),
            ("id", Bytes(&[7; 16])),
            ("partition", Number(0)),
            ("offset", Number(0)),
        ],
        _ => vec![
            ("topic", Text("orders")),
            ("id", Bytes(&[7; 16])),
            ("partition", Number(0)),
        ],
    };
    entries.retain(|(other, _)| *other != key);
    entries.push((key, value));
    map(&entries)
}

#[test]
fn a_value_of_another_type_is_refused() {
    use Kind::{CreateTopic, Fetch, ListOffsets, Produce};
    let bytes = Array(vec![Number(7); 16]);
    let follower = Array(vec![Text("h:1"), Bytes(&[1; 16])]);
    let settings = |key, value| map(&[(key, value)]);
    let cases = [
        (Produce, "level", Number(1)),
        (Produce, "level", map(&[("accepted", Nil)])),
        (Produce, "level", Bytes(b"accepted")),
        (Produce, "id", bytes),
        (Produce, "id", Text("07070707070707070707070707070707")),
        (Produce, "topic", Bytes(b"orders")),
        (Produce, "partition", Text("0")),
        (Produce, "run", Bytes(b"\x01")),
        (ListOffsets, "at", Number(0)),
        (ListOffsets, "at", map(&[("earliest", Nil)])),
        (
            ListOffsets,
            "at",
            map(&[("time", Number(5)), ("zone", Nil)]),
        ),
        (ListOffsets, "at", map(&[])),
        (Fetch, "follower", follower),
        (CreateTopic, "settings", settings("ack", Number(1))),
        (
            CreateTopic,
            "settings",
            settings("retention_hold", Number(2)),
        ),
        (
            CreateTopic,
            "settings",
            settings("segment_bytes", Text("1MiB")),
        ),
        (
            CreateTopic,
            "settings",
            Array(vec![Text("accepted"), Nil, Nil]),
        ),
    ];
    for (number, (kind, key, value)) in cases.into_iter().enumerate() {
        let decoded = decode(kind, &head(&with(kind, key, value)));
        let is_refused = matches!(decoded, Err(FrameError::Head { .. }));
        assert!(is_refused, "case {number}, {key}: {decoded:?}");
    }
}

/// Nearly every id was taken that stood as a text; one of some ten thousand, whose bytes are UTF-8, was not.
#[test]
fn an_id_that_stands_as_a_text_is_refused_whatever_its_bytes() {
    let mut head = head(&with(Kind::Produce, "id", Bytes(&[0xaa; 16])));
    let id = [0xc4, 16, 0xaa];
    let at = head
        .windows(id.len())
        .position(|bytes| bytes == id)
        .unwrap();
    head.splice(at..at + 2, [0xb0]);
    let decoded = decode(Kind::Produce, &head);
    assert!(
        matches!(decoded, Err(FrameError::Head { .. })),
        "{decoded:?}"
    );
}

#[test]
fn a_key_that_is_no_text_is_refused() {
    let entries = [(0, Text("orders")), (1, Bytes(&[7; 16])), (2, Number(0))];
    let numbered = entries.map(|(key, value)| (Number(key), value));
    let decoded = decode(Kind::ListOffsets, &head(&Map(numbered.into())));
    assert!(
        matches!(decoded, Err(FrameError::Head { .. })),
        "{decoded:?}"
    );
}

#[test]
fn what_is_of_its_type_is_taken_and_an_unknown_key_may_have_any() {
    use Kind::{CreateTopic, ListOffsets, Produce};
    let unknown = Array(vec![Map(vec![(Number(1), Bytes(b"x"))]), Nil]);
    for (kind, key, value) in [
        (Produce, "level", Text("accepted")),
        (Produce, "level", Nil),
        (Produce, "colour", unknown),
        (ListOffsets, "at", Text("earliest")),
        (ListOffsets, "at", map(&[("time", Number(5))])),
        (
            CreateTopic,
            "settings",
            map(&[("ack", Text("durable")), ("segment_bytes", Number(1 << 20))]),
        ),
    ] {
        let decoded = decode(kind, &head(&with(kind, key, value)));
        assert!(decoded.is_ok(), "{key}: {decoded:?}");
    }
}
