//! A record that owns its bytes.

use crate::Timestamp;

/// One record: what a program appends, or keeps of what it read. By default its time is the Unix epoch, where no
/// look-up by time finds it: begin with [`Record::new`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// When it happened, as its producer says.
    pub timestamp: Timestamp,
    /// What decides its partition, and what compaction would keep it by.
    pub key: Option<Vec<u8>>,
    /// What it says. `None` is not the same as empty.
    pub value: Option<Vec<u8>>,
    /// Names and values in order; a name may come twice.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// A record of this time and value, without key and headers:
    /// `Record { key: Some(key), ..Record::new(now, value) }` has one.
    pub fn new(timestamp: Timestamp, value: impl Into<Vec<u8>>) -> Self {
        Self {
            timestamp,
            key: None,
            value: Some(value.into()),
            headers: Vec::new(),
        }
    }

    /// Bytes that count against the record limit: key, value, and the headers' names and values.
    pub fn bytes(&self) -> usize {
        let len = |field: &Option<Vec<u8>>| field.as_ref().map_or(0, Vec::len);
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + len(value));
        len(&self.key) + len(&self.value) + headers.sum::<usize>()
    }
}
