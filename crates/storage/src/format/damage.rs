//! How a manifest names damage: as a setting of the partition, `damage.<segment>.<from>` = `<to>`, all
//! three offsets in decimal.

use corelog_record::Offset;

/// The key for damage that begins at `from` in the segment based at `segment`.
pub(crate) fn key(segment: Offset, from: Offset) -> String {
    format!("{PREFIX}{segment}.{from}")
}

/// The segment and the first damaged offset, if `key` is one of damage.
pub(crate) fn parse(key: &str) -> Option<(Offset, Offset)> {
    let offset = |text: &str| text.parse().ok().and_then(Offset::new);
    let (segment, from) = key.strip_prefix(PREFIX)?.split_once('.')?;
    Some((offset(segment)?, offset(from)?))
}

const PREFIX: &str = "damage.";
