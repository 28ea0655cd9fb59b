//! Walks a head's bytes without building anything: are all its lengths really there?

#![deny(clippy::indexing_slicing)]

use super::HeadError;
use crate::limits;

/// Checks that `head` is one map, nested at most [`limits::HEAD_DEPTH_MAX`] deep, whose every
/// array, map, string and binary fits in the bytes behind it, and whose strings are UTF-8. Runs in
/// one pass over the bytes with a stack of fixed size.
pub(super) fn check(head: &[u8]) -> Result<(), HeadError> {
    let Some(&first) = head.first() else {
        return Err(HeadError::Truncated { position: 0 });
    };
    if !matches!(first, 0x80..=0x8f | 0xde | 0xdf) {
        return Err(HeadError::NotAMap { marker: first });
    }
    let mut walk = Walk {
        head,
        position: 0,
        open: [0; DEPTH_MAX],
        depth: 0,
    };
    walk.value()?;
    while let Some(level) = walk.depth.checked_sub(1) {
        match walk.open.get_mut(level) {
            Some(0) | None => walk.depth = level,
            Some(left) => {
                *left -= 1;
                walk.value()?;
            }
        }
    }
    match head.len() - walk.position {
        0 => Ok(()),
        bytes => Err(HeadError::Trailing { bytes }),
    }
}

struct Walk<'a> {
    head: &'a [u8],
    position: usize,
    /// Values still to come in each open array or map, outermost first.
    open: [usize; DEPTH_MAX],
    depth: usize,
}

impl Walk<'_> {
    /// Steps over one scalar, or into one array or map.
    fn value(&mut self) -> Result<(), HeadError> {
        let position = self.position;
        let Some(&marker) = self.head.get(position) else {
            return Err(HeadError::Truncated { position });
        };
        self.position += 1;
        let low = u64::from(marker);
        match marker {
            // Fixed integers, nil, booleans.
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => Ok(()),
            0x80..=0x8f => self.enter(2 * (low & 0x0f)),
            0x90..=0x9f => self.enter(low & 0x0f),
            0xa0..=0xbf => self.text(low & 0x1f),
            // Binary, then strings, by the width of their length.
            0xc4 => self.skip_counted(1),
            0xc5 => self.skip_counted(2),
            0xc6 => self.skip_counted(4),
            0xd9 => self.text_counted(1),
            0xda => self.text_counted(2),
            0xdb => self.text_counted(4),
            // Integers and floats by their width.
            0xcc | 0xd0 => self.skip(1),
            0xcd | 0xd1 => self.skip(2),
            0xca | 0xce | 0xd2 => self.skip(4),
            0xcb | 0xcf | 0xd3 => self.skip(8),
            0xdc => self.enter_counted(2, 1),
            0xdd => self.enter_counted(4, 1),
            0xde => self.enter_counted(2, 2),
            0xdf => self.enter_counted(4, 2),
            // Extension types, and 0xc1, which MessagePack never uses.
            0xc1 | 0xc7..=0xc9 | 0xd4..=0xd8 => Err(HeadError::Marker { marker, position }),
        }
    }

    fn skip_counted(&mut self, width: usize) -> Result<(), HeadError> {
        let bytes = self.length(width)?;
        self.skip(bytes)
    }

    fn text_counted(&mut self, width: usize) -> Result<(), HeadError> {
        let bytes = self.length(width)?;
        self.text(bytes)
    }

    /// Steps over a string, which is UTF-8: the decoder would take any other for a binary.
    fn text(&mut self, bytes: u64) -> Result<(), HeadError> {
        let position = self.position;
        self.skip(bytes)?;
        let text = self.head.get(position..self.position).unwrap_or_default();
        // Nearly all are, and are short: that alone is told in fewer steps.
        if text.is_ascii() {
            return Ok(());
        }
        match str::from_utf8(text) {
            Ok(_) => Ok(()),
            Err(source) => Err(HeadError::Text { position, source }),
        }
    }

    fn skip(&mut self, bytes: u64) -> Result<(), HeadError> {
        self.position += self.fitting(bytes)?;
        Ok(())
    }

    fn enter_counted(&mut self, width: usize, values_per_item: u64) -> Result<(), HeadError> {
        let items = self.length(width)?;
        self.enter(items * values_per_item)
    }

    /// Opens an array or map of so many values. Each takes a byte at the least, so a count beyond
    /// the bytes left is a lie, found before anybody reserves room for it.
    fn enter(&mut self, values: u64) -> Result<(), HeadError> {
        let values = self.fitting(values)?;
        let depth_max = DEPTH_MAX;
        let Some(slot) = self.open.get_mut(self.depth) else {
            return Err(HeadError::TooDeep { depth_max });
        };
        *slot = values;
        self.depth += 1;
        Ok(())
    }

    /// The count as a number of bytes, if so many are left.
    fn fitting(&self, count: u64) -> Result<usize, HeadError> {
        let left = self.head.len() - self.position;
        usize::try_from(count)
            .ok()
            .filter(|&count| count <= left)
            .ok_or_else(|| self.truncated())
    }

    /// Made only where it is one: it is large, and to drop it costs as much as to step over a value.
    fn truncated(&self) -> HeadError {
        HeadError::Truncated {
            position: self.head.len(),
        }
    }

    /// MessagePack's lengths are big-endian, of 1, 2 or 4 bytes.
    fn length(&mut self, width: usize) -> Result<u64, HeadError> {
        let bytes = self
            .head
            .get(self.position..self.position + width)
            .ok_or_else(|| self.truncated())?;
        self.position += width;
        Ok(bytes
            .iter()
            .fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }
}

const DEPTH_MAX: usize = limits::HEAD_DEPTH_MAX as usize;
