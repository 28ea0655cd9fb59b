//! Bytes in, values or errors out: nothing panics, and what was understood reads back the same.

use std::cell::RefCell;

use corelog_record::batch::{self, Batches, Rules, View};
use corelog_record::{Chain, CopyId, HistoryId, Offset, PartitionId, Position, Timestamp, TopicId};

use super::{recovery, repair, split};
use crate::disk::block_on;
use crate::disk::memory::MemoryDir;
use crate::format::carry::Carry;
use crate::format::edit::Frame;
use crate::format::index::{self as format, Row};
use crate::format::manifest::{self, Header, Manifest};
use crate::format::mark::Slot;
use crate::format::node::Node;
use crate::format::quarantine::Name;
use crate::format::snapshot::Summary;
use crate::format::topic::Topic;
use crate::index::{Builder, after_position, before_offset, before_time};
use crate::manifest as open;
use crate::segment::{Point, name};

/// Batches as a reader, and as a server takes them.
pub(super) fn batch(input: &[u8]) {
    let Some((how, bytes)) = split(input) else {
        return;
    };
    let mut bytes = bytes.to_vec();
    if how & 1 == 1 {
        repair::batches(&mut bytes, None);
    }
    for batch in Batches::over(&bytes) {
        let Ok(batch) = batch else { break };
        let Ok(view) = View::verify(batch) else {
            // What no reader takes, no server may.
            assert!(batch::check(batch, &Rules::default()).is_err());
            continue;
        };
        assert!(view.base_offset() < view.next_offset());
        let mut count = 0;
        let mut is_sound = true;
        for record in view.records().into_iter().flatten() {
            let Ok(record) = record else {
                is_sound = false;
                break;
            };
            assert!(view.base_offset() <= record.offset);
            assert!(record.offset < view.next_offset());
            count += 1;
            for (name, value) in record.headers() {
                assert!(name.len() + value.map_or(0, <[u8]>::len) <= batch.len());
            }
        }
        let is_plain = view.codec() == batch::Codec::None;
        if let Ok(checked) = batch::check(batch, &Rules::default()) {
            assert!(is_sound || !is_plain, "a server takes what can be read");
            assert!(count == checked.count() || !is_plain);
        }
    }
}

/// Index headers and rows, and lookups in whatever rows there are.
pub(super) fn index(input: &[u8]) {
    let Some((how, bytes)) = split(input) else {
        return;
    };
    let mut bytes = bytes.to_vec();
    if how & 1 == 1 {
        repair::index(&mut bytes);
    }
    let mut base = Point::origin(Chain::from_raw(7));
    if let Ok(header) = format::Header::decode(&bytes) {
        assert_eq!(header.encode().as_slice(), &bytes[..format::HEADER_BYTES]);
        base.offset = header.base;
        base.ordinal = header.ordinal;
    }
    let rows =
        (0..format::row_count(&bytes)).filter_map(|number| format::row(&bytes, number)?.ok());
    let rows: Vec<Row> = rows.collect();
    let known = Builder::from(rows.clone());
    for row in &rows {
        assert_eq!(Row::decode(&row.encode()).ok().as_ref(), Some(row));
        let offset = base.offset.checked_add(row.relative_offset.into());
        let found = before_offset(&base, &known, offset.unwrap_or(Offset::MAX));
        assert!(base.offset <= found.offset);
        before_time(&base, &known, row.max_timestamp);
        after_position(&base, &known, row.position.into());
    }
    before_offset(&base, &known, Offset::ZERO);
    before_time(&base, &known, Timestamp::from_millis(i64::MIN));
    after_position(&base, &known, Position::MAX.get());
}

/// The edits of a manifest whose header is right, and what they add up to.
pub(super) fn manifest(input: &[u8]) {
    thread_local! {
        static FILE: RefCell<Vec<u8>> = RefCell::new(header().encode());
    }
    let Some((how, edits)) = split(input) else {
        return;
    };
    FILE.with_borrow_mut(|file| {
        file.truncate(manifest::EDITS_AT);
        file.extend_from_slice(edits);
        if how & 1 == 1 {
            repair::edits(&mut file[manifest::EDITS_AT..]);
        }
        if how & 2 == 2 {
            file.resize(file.len() + 512, 0);
        }
        let opened = opened(file);
        let Ok(read) = Manifest::decode(file) else {
            assert!(opened.is_none(), "what is not understood is not opened");
            return;
        };
        let opened = opened.as_ref().map(open::Manifest::state);
        assert_eq!(opened, Some(&read.state), "what is understood is opened");
        assert!(manifest::EDITS_AT <= read.last);
        assert!(read.last <= read.end);
        assert!(read.end <= file.len());
        for edit in &read.edits {
            let bytes = edit.encode(1);
            let again = Frame::read(&bytes).and_then(|frame| frame.decode().ok());
            assert_eq!(again.as_ref(), Some(edit), "an edit reads back as it was");
        }
        let mut anew = header().encode();
        for (edit, sequence) in read.state.edits().iter().zip(1..) {
            anew.extend(edit.encode(sequence));
        }
        match Manifest::decode(&anew) {
            Ok(again) => assert_eq!(
                again.state, read.state,
                "a compacted manifest says the same"
            ),
            Err(error) => panic!("a compacted manifest is understood: {error}"),
        }
    });
}

/// The manifest in a file of these bytes, as whoever opens a log reads it.
fn opened(bytes: &[u8]) -> Option<open::Manifest<MemoryDir>> {
    let dir = MemoryDir::new();
    recovery::write(&dir, open::NAME, bytes);
    block_on(open::Manifest::open(dir)).ok()
}

/// Slots of a mark.
pub(super) fn mark(input: &[u8]) {
    let Some((how, bytes)) = split(input) else {
        return;
    };
    let mut sector = [0; 512];
    let len = bytes.len().min(sector.len());
    sector[..len].copy_from_slice(&bytes[..len]);
    if how & 1 == 1 {
        repair::last_4(&mut sector);
    }
    if let Ok(slot) = Slot::decode(&sector) {
        assert_eq!(Slot::decode(&slot.encode()).ok(), Some(slot));
    }
    assert!(Slot::decode(bytes).is_err() || 512 <= bytes.len());
}

/// The small files: topic, node, carry, snapshot, the header of a manifest.
pub(super) fn files(input: &[u8]) {
    let Some((how, bytes)) = split(input) else {
        return;
    };
    let mut bytes = bytes.to_vec();
    match how {
        how if how & 1 == 0 => {}
        how if how & 2 == 0 => repair::envelope(&mut bytes),
        _ => repair::carry(&mut bytes),
    }
    if let Ok(topic) = Topic::decode(&bytes) {
        let again = topic.encode().and_then(|bytes| Topic::decode(&bytes));
        assert_eq!(again.ok(), Some(topic));
    }
    if let Ok(node) = Node::decode(&bytes) {
        assert_eq!(Node::decode(&node.encode()).ok(), Some(node));
    }
    if let Ok(carry) = Carry::decode(&bytes) {
        assert_eq!(carry.encode(), bytes);
    }
    if let Ok(summary) = Summary::decode(&bytes) {
        let again = summary.encode().and_then(|bytes| Summary::decode(&bytes));
        assert_eq!(again.ok(), Some(summary));
    }
    if let Ok(header) = Header::decode(&bytes) {
        assert_eq!(Header::decode(&header.encode()).ok(), Some(header));
    }
}

/// Names of files: a segment's, and those in quarantine.
pub(super) fn names(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Ok(parsed) = text.parse::<Name>() {
        let again = parsed.to_string().parse::<Name>();
        assert_eq!(again.ok(), Some(parsed), "a name reads back as it was");
    }
    if let Some(base) = name::base(text) {
        assert!(name::is_store(text));
        assert!(name::store(base, 0).starts_with(&text[..20]));
    }
    assert!(!(name::is_store(text) && name::is_index(text)));
}

/// The header of every manifest here.
pub(super) fn header() -> Header {
    Header {
        topic: TopicId::from_bytes([7; 16]),
        partition: PartitionId::new(0),
        history: HistoryId::of(TopicId::from_bytes([7; 16]), PartitionId::new(0)),
        copy: CopyId::from_bytes([9; 16]),
    }
}
