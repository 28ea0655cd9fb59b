//! A record as programs read it: what is bytes in it is in base64.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use corelog_record::{Offset, Timestamp};
use serde_json::{Value, json};

use crate::quantity::rfc3339;

/// The object of a record: its place in its log and its time, its key and its value, and its headers.
pub(crate) fn json<'a>(
    (offset, time): (Offset, Timestamp),
    [key, value]: [Option<&[u8]>; 2],
    headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
) -> Value {
    let base64 = |bytes: Option<&[u8]>| bytes.map(|bytes| BASE64_STANDARD.encode(bytes));
    let header = |(name, value)| json!({ "name": name, "value": base64(value) });
    json!({
        "offset": offset.get(),
        "time": rfc3339(time),
        "key": base64(key),
        "value": base64(value),
        "headers": headers.map(header).collect::<Vec<Value>>(),
    })
}
