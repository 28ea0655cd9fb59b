//! How a record is printed.

use std::str::FromStr;

use corelog_client::Received;
use serde_json::Value;

use crate::output;
use crate::quantity::{self, ParseError, rfc3339};

/// What to print per record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// The value's bytes and a newline.
    Value,
    /// One JSON object per line.
    Json,
    /// A text with parts of the record in it.
    Text(Vec<Piece>),
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Bytes(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Time,
    Key,
    Value,
    Headers,
}

/// Why a format could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FormatError {
    #[error("`{text}` holds no % sign; say value, json, or a text like '%o %v\\n'")]
    NoPart { text: String },
    #[error("`%{part}` is no part of a record: use %T %p %o %t %k %v %h or %%")]
    UnknownPart { part: String },
    #[error(transparent)]
    Escape(#[from] ParseError),
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        match text {
            "value" => Ok(Self::Value),
            "json" => Ok(Self::Json),
            text if text.contains('%') => pieces(text).map(Self::Text),
            text => Err(FormatError::NoPart {
                text: text.to_owned(),
            }),
        }
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, FormatError> {
    let mut pieces = Vec::new();
    let mut parts = text.split('%');
    pieces.extend(literal(parts.next().unwrap_or_default())?);
    while let Some(part) = parts.next() {
        let Some(letter) = part.chars().next() else {
            // `%%`: nothing stands between the two signs, the text goes on behind the second.
            let Some(after) = parts.next() else {
                return Err(FormatError::UnknownPart {
                    part: String::new(),
                });
            };
            pieces.push(Piece::Bytes(b"%".to_vec()));
            pieces.extend(literal(after)?);
            continue;
        };
        pieces.push(match letter {
            'T' => Piece::Topic,
            'p' => Piece::Partition,
            'o' => Piece::Offset,
            't' => Piece::Time,
            'k' => Piece::Key,
            'v' => Piece::Value,
            'h' => Piece::Headers,
            other => {
                return Err(FormatError::UnknownPart {
                    part: other.to_string(),
                });
            }
        });
        pieces.extend(literal(&part[letter.len_utf8()..])?);
    }
    Ok(pieces)
}

fn literal(text: &str) -> Result<Option<Piece>, FormatError> {
    let bytes = quantity::escaped(text)?;
    Ok((!bytes.is_empty()).then_some(Piece::Bytes(bytes)))
}

impl Format {
    /// Appends `record` to `out` as it is to be printed.
    pub(super) fn write(&self, record: &Received, out: &mut Vec<u8>) {
        match self {
            Self::Value => {
                out.extend_from_slice(record.value.as_deref().unwrap_or_default());
                out.push(b'\n');
            }
            Self::Json => {
                out.extend_from_slice(json(record).to_string().as_bytes());
                out.push(b'\n');
            }
            Self::Text(pieces) => pieces.iter().for_each(|piece| piece.write(record, out)),
        }
    }
}

impl Piece {
    fn write(&self, record: &Received, out: &mut Vec<u8>) {
        match self {
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
            Self::Topic => out.extend_from_slice(record.topic.as_str().as_bytes()),
            Self::Partition => out.extend_from_slice(record.partition.to_string().as_bytes()),
            Self::Offset => out.extend_from_slice(record.offset.to_string().as_bytes()),
            Self::Time => out.extend_from_slice(rfc3339(record.timestamp).as_bytes()),
            Self::Key => out.extend_from_slice(record.key.as_deref().unwrap_or_default()),
            Self::Value => out.extend_from_slice(record.value.as_deref().unwrap_or_default()),
            Self::Headers => {
                for (index, (name, value)) in record.headers.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(name.as_bytes());
                    out.push(b'=');
                    out.extend_from_slice(value.unwrap_or_default());
                }
            }
        }
    }
}

fn json(record: &Received) -> Value {
    let fields = [record.key.as_deref(), record.value.as_deref()];
    let place = (record.offset, record.timestamp);
    let mut json = output::record::json(place, fields, record.headers.iter());
    json["topic"] = record.topic.as_str().into();
    json["partition"] = record.partition.get().into();
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &[u8]) -> Piece {
        Piece::Bytes(text.to_vec())
    }

    #[test]
    fn a_text_is_literals_and_parts() {
        let format: Format = r"%p %o\t%k=%v%%\n".parse().unwrap();
        let pieces = vec![
            Piece::Partition,
            bytes(b" "),
            Piece::Offset,
            bytes(b"\t"),
            Piece::Key,
            bytes(b"="),
            Piece::Value,
            bytes(b"%"),
            bytes(b"\n"),
        ];
        assert_eq!(format, Format::Text(pieces));
        let signs = vec![bytes(b"%"), bytes(b"v"), Piece::Value];
        assert_eq!("%%v%v".parse::<Format>().unwrap(), Format::Text(signs));
    }

    #[test]
    fn a_format_that_is_none_is_refused() {
        for text in ["", "values", "%", "%q", "a%", r"%v\q"] {
            assert!(text.parse::<Format>().is_err(), "{text:?}");
        }
    }
}
