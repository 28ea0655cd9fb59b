//! The last batches of a partition, by their headers alone.

use std::collections::VecDeque;
use std::io::{BufReader, Read as _};
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use corelog_record::Timestamp;
use corelog_record::batch::{HEADER_BYTES, Header};
use corelog_storage::segment::name;
use serde_json::{Value, json};

use super::files::{self, read_manifest};
use crate::quantity::rfc3339;

/// The headers of the last `count_max` batches in the last store of the partition in `dir`, as far as
/// they are found until `deadline`. No record is looked at, so no checksum is checked.
pub(super) fn tail(dir: &Path, count_max: usize, deadline: Instant) -> anyhow::Result<Value> {
    let manifest = read_manifest(&dir.join("manifest"))?;
    let Some(segment) = manifest.state.segments().last() else {
        return Ok(json!({ "file": null, "batches": [], "ends": "no segment" }));
    };
    let name = name::store(segment.base, segment.generation);
    let path = dir.join(&name);
    let base = i64::try_from(segment.base.get()).unwrap_or(i64::MAX);
    let walked = walk(&path, base, count_max, deadline);
    let (batches, ends) = walked.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(json!({ "file": name, "batches": batches, "ends": ends }))
}

fn walk(
    path: &Path,
    base: i64,
    count_max: usize,
    deadline: Instant,
) -> std::io::Result<(VecDeque<Value>, String)> {
    /// A small batch lies in it with its neighbours, a large one is stepped over.
    const BUFFER_BYTES: usize = 64 << 10;
    let file = files::open(path)?;
    let bytes = file.metadata()?.len();
    let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
    let (mut batches, mut position, mut next) = (VecDeque::new(), 0_u64, base);
    let ends = loop {
        if Instant::now() >= deadline {
            break format!("the time was up at position {position}");
        }
        let left = bytes - position;
        let mut head = Vec::with_capacity(HEADER_BYTES);
        (&mut file)
            .take(HEADER_BYTES as u64)
            .read_to_end(&mut head)?;
        if head.is_empty() {
            break "the end of the file".to_owned();
        }
        if head.iter().all(|byte| *byte == 0) {
            break format!("zeros from position {position} on");
        }
        let header = match Header::parse(&head) {
            Ok(header) if header.base_offset < next => {
                break format!("at position {position}, a batch that is not the next one");
            }
            Ok(header) if header.total_bytes() as u64 > left => {
                break format!("at position {position}, a batch beyond the end of the file");
            }
            Ok(header) => header,
            Err(error) => break format!("at position {position}: {error}"),
        };
        if batches.len() == count_max {
            batches.pop_front();
        }
        batches.push_back(row(position, &header));
        let last = i64::from(header.last_offset_delta.max(0));
        next = header.base_offset.saturating_add(last + 1);
        position += header.total_bytes() as u64;
        let records = header.total_bytes() - HEADER_BYTES;
        file.seek_relative(i64::try_from(records).unwrap_or(i64::MAX))?;
    };
    Ok((batches, ends))
}

fn row(position: u64, header: &Header) -> Value {
    json!({
        "position": position,
        "offset": header.base_offset,
        "last_offset_delta": header.last_offset_delta,
        "records": header.count,
        "bytes": header.total_bytes(),
        "attributes": header.attributes,
        "epoch": header.leader_epoch,
        "base_time": rfc3339(Timestamp::from_millis(header.base_timestamp)),
        "max_time": rfc3339(Timestamp::from_millis(header.max_timestamp)),
        "producer": header.producer_id,
        "checksum": format!("{:08x}", header.crc),
    })
}

#[cfg(test)]
mod tests {
    use super::super::walk;
    use super::*;
    use std::time::Duration;

    fn store(batches: u64, tail: &[u8]) -> tempfile::NamedTempFile {
        walk::tests::store(batches, &[b'v'; 100_000], tail)
    }

    #[test]
    fn the_last_headers_are_found_and_how_they_end_is_told() {
        let soon = Instant::now() + Duration::from_secs(600);
        let walked = |tail: &[u8]| {
            let file = store(5, tail);
            let (batches, ends) = walk(file.path(), 0, 2, soon).unwrap();
            let offsets: Vec<_> = batches.iter().map(|row| row["offset"].as_i64()).collect();
            assert_eq!(offsets, [Some(3), Some(4)]);
            ends
        };
        assert_eq!(walked(b""), "the end of the file");
        assert!(walked(&[0; 5_000]).starts_with("zeros from position"));
        assert!(walked(&[7; 5_000]).starts_with("at position"));
        let again = std::fs::read(store(1, b"").path()).unwrap();
        assert!(walked(&again).contains("not the next one"));
    }

    #[test]
    fn a_walk_ends_when_its_time_is_up() {
        let file = store(2, b"");
        let (batches, ends) = walk(file.path(), 0, 9, Instant::now()).unwrap();
        assert!(batches.is_empty());
        assert_eq!(ends, "the time was up at position 0");
    }
}
