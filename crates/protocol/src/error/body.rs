//! What an error answer's head holds under its key `error`.

use std::fmt;

use corelog_record::{Offset, TopicId};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Applied, ErrorCode, Retry};
use crate::limits;

/// An error as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The code's number; may be one that this version does not know.
    pub code: u16,
    /// A sentence for people, at most [`limits::ERROR_MESSAGE_BYTES_MAX`] bytes. Never parse it.
    #[serde(default, deserialize_with = "cut_text")]
    pub message: String,
    /// Facts for programs; which ones come with which code stands in PROTOCOL.md.
    #[serde(default, skip_serializing_if = "Detail::is_empty")]
    pub detail: Detail,
}

impl ErrorBody {
    /// An error without detail. What is no character to print is escaped, and a message beyond its limit is cut at a
    /// character's boundary.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code: code.number(),
            message: short(message.into()),
            detail: Detail::default(),
        }
    }

    /// The same error with this in front of its message, which is cut as in [`Self::new`].
    #[must_use]
    pub fn of(mut self, what: impl fmt::Display) -> Self {
        self.message = short(format!("{what}: {}", self.message));
        self
    }

    /// The same error with this detail.
    #[must_use]
    pub fn with_detail(mut self, detail: Detail) -> Self {
        self.detail = detail;
        self
    }

    /// The code, or `None` if this version does not know it.
    #[must_use]
    pub const fn known_code(&self) -> Option<ErrorCode> {
        ErrorCode::from_number(self.code)
    }

    /// True if the error has this code.
    #[must_use]
    pub const fn is(&self, code: ErrorCode) -> bool {
        self.code == code.number()
    }

    /// Whether the request took effect; an unknown code has to be taken as unknown.
    #[must_use]
    pub const fn applied(&self) -> Applied {
        match self.known_code() {
            Some(code) => code.applied(),
            None => Applied::Unknown,
        }
    }

    /// Whether sending the request again may help; with an unknown code it must not be. What says when to come
    /// again may pass whatever its code: damage that is being repaired.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self.known_code() {
            Some(code) => match code.retry() {
                Retry::No if self.detail.retry_ms.is_some() => Retry::Later,
                retry => retry,
            },
            None => Retry::No,
        }
    }
}

impl fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known_code() {
            Some(code) => write!(f, "{code}: ")?,
            None => write!(f, "error code {}: ", self.code)?,
        }
        // It may have come from elsewhere as it is.
        write_printable(&self.message, f)
    }
}

impl std::error::Error for ErrorBody {}

/// The facts of an error, each present only where it means something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Detail {
    /// The first offset that may be asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_start: Option<Offset>,
    /// The end of what may be read; a Fetch may begin here and wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_watermark: Option<Offset>,
    /// The offset at which two logs part, or at which damage begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<Offset>,
    /// The offset behind the damage, where reading can go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Offset>,
    /// The end of the log here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Offset>,
    /// The source's high watermark when it was last heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_end: Option<Offset>,
    /// Milliseconds since the source was last heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_heard_ms: Option<u64>,
    /// The base offset of the segment concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment: Option<Offset>,
    /// The address, `host:port`, to ask instead.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "cut_fact")]
    pub address: Option<String>,
    /// The topic's id as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<TopicId>,
    /// How many partitions the topic has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u32>,
    /// The limit that was exceeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What was found where something else, or less, was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<u64>,
    /// Which batch of the request is wrong, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<u32>,
    /// Which record of that batch, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<u32>,
    /// Which field or key is wrong.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "cut_fact")]
    pub field: Option<String>,
    /// The frame versions that the server speaks.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "cut_versions"
    )]
    pub versions: Option<Vec<u8>>,
    /// The run that is aborted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<u32>,
    /// The code of the answer that aborted the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<u16>,
    /// The correlation of the last request that was taken before the connection is closed: none that was sent behind it
    /// was, nor will be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<u32>,
    /// How long to wait before trying again, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<u32>,
}

impl Detail {
    /// True if there is no fact at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What came is kept for longer than its frame, and whoever sent it may have kept no limit.
fn cut_text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(cut)
}

fn cut_fact<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(cut))
}

fn cut_versions<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<u8>>, D::Error> {
    let mut versions = Option::<Vec<u8>>::deserialize(from)?;
    if let Some(versions) = &mut versions {
        versions.truncate(VERSIONS_MAX);
        versions.shrink_to_fit();
    }
    Ok(versions)
}

/// A message as it is sent. It is cut first as well: what is escaped of one as long as a frame would be longer than that.
fn short(message: String) -> String {
    let mut printable = String::new();
    write_printable(&cut(message), &mut printable).unwrap_or_default();
    cut(printable)
}

/// Writes a text that may hold what a client or another node sent: a newline of theirs begins no line of a log, nor of
/// what a program prints.
fn write_printable(text: &str, to: &mut impl fmt::Write) -> fmt::Result {
    text.chars().try_for_each(|c| match c.is_control() {
        true => write!(to, "{}", c.escape_default()),
        false => to.write_char(c),
    })
}

/// At most [`limits::ERROR_MESSAGE_BYTES_MAX`] bytes of a text, whole characters.
fn cut(mut text: String) -> String {
    let bytes_max = limits::ERROR_MESSAGE_BYTES_MAX as usize;
    if bytes_max < text.len() {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.shrink_to_fit();
    }
    text
}

/// There are no more that differ.
const VERSIONS_MAX: usize = 1 + u8::MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_to_come_again_speaks_where_the_code_says_no() {
        let retry = |code| {
            let retry_ms = Some(500);
            let detail = Detail {
                retry_ms,
                ..Detail::default()
            };
            let message = String::new();
            let error = ErrorBody {
                code,
                message,
                detail,
            };
            error.retry()
        };
        assert_eq!(retry(ErrorCode::Damaged.number()), Retry::Later);
        assert_eq!(retry(ErrorCode::NotOwner.number()), Retry::Elsewhere);
        assert_eq!(retry(999), Retry::No, "it is unknown");
    }

    /// A path with a newline in it was a line of its own in the log of the server that refused it.
    #[test]
    fn an_error_is_one_line_whatever_was_sent() {
        let error = ErrorBody::new(ErrorCode::InvalidRequest, "no a\nERROR \u{1b}[2J größer");
        let said = error.to_string();
        assert!(said.ends_with(r"no a\nERROR \u{1b}[2J größer"), "{said}");
    }

    /// A client that prints the message of an error printed what another one had sent.
    #[test]
    fn a_message_is_sent_in_characters_to_print() {
        let error = ErrorBody::new(ErrorCode::InvalidRequest, "no a\n\u{1b}[2J größer");
        assert_eq!(error.message, r"no a\n\u{1b}[2J größer");
        assert_eq!(error.of("h\tx").message, r"h\tx: no a\n\u{1b}[2J größer");
    }
}
