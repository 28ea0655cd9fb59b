//! Answers: from a message or an error to a frame, and back.

use serde::{Deserialize, Serialize};

use crate::error::ErrorBody;
use crate::frame::{self, CorrelationId, Frame, FrameError, Shape};
use crate::head::{self, HeadError};
use crate::message::Call;

/// Appends a good answer's prefix and head to `out`; `body_bytes` raw bytes have to follow it on
/// the wire. A reused `out` allocates nothing once it has grown.
///
/// # Errors
/// [`FrameError::HeadTooLarge`] or [`FrameError::TooLarge`]; `out` is then as it was.
///
/// # Panics
/// If `body_bytes` is not 0 for a kind whose answers have no body.
pub fn encode_ok<R: Call>(
    correlation: CorrelationId,
    answer: &R::Answer,
    body_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), FrameError> {
    assert!(
        body_bytes == 0 || R::HAS_ANSWER_BODY,
        "a {} answer has no body",
        R::KIND
    );
    let kind = R::KIND.number();
    frame::encode(
        Shape {
            kind,
            is_answer: true,
            correlation,
            body_bytes,
        },
        answer,
        out,
    )
}

/// Appends an error answer to `out`. `kind` is the request's number, known or not.
///
/// # Errors
/// [`FrameError::HeadTooLarge`], which takes a detail of megabytes; `out` is then as it was.
pub fn encode_err(
    kind: u16,
    correlation: CorrelationId,
    error: &ErrorBody,
    out: &mut Vec<u8>,
) -> Result<(), FrameError> {
    let shape = Shape {
        kind,
        is_answer: true,
        correlation,
        body_bytes: 0,
    };
    frame::encode(shape, &Failed { error }, out)
}

/// Reads an answer to a request of type `R`: what was asked for, or the server's
/// error. An error of [`CONNECTION_KIND`] is given, too, but is no answer to this request, which may have been taken, and be
/// answered behind it: see [`Detail::taken`](crate::error::Detail::taken).
///
/// # Errors
/// [`FrameError::UnexpectedKind`], [`FrameError::Head`] or [`FrameError::UnexpectedBody`].
pub fn decode<R: Call>(frame: &Frame<'_>) -> Result<Result<R::Answer, ErrorBody>, FrameError> {
    let kind = R::KIND;
    let found = frame.header.kind;
    let error = match found == kind.number() && is_surely_good(frame.head) {
        true => None,
        false => decode_err(frame).map_err(|source| FrameError::Head { kind, source })?,
    };
    match error {
        Some(error) if found == kind.number() || found == CONNECTION_KIND => return Ok(Err(error)),
        None if found == kind.number() => {}
        Some(_) | None => {
            return Err(FrameError::UnexpectedKind {
                expected: kind,
                found,
            });
        }
    }
    let answer = head::decode(frame.head).map_err(|source| FrameError::Head { kind, source })?;
    if !R::HAS_ANSWER_BODY && !frame.body.is_empty() {
        return Err(FrameError::UnexpectedBody {
            kind,
            body_bytes: frame.body.len(),
        });
    }
    Ok(Ok(answer))
}

/// If a head names no error anywhere, as is seen without decoding it. The answers of which there are many are short: of a long
/// one it would be another walk.
fn is_surely_good(head: &[u8]) -> bool {
    const SHORT_BYTES: usize = 128;
    const KEY: &[u8] = b"error";
    head.len() <= SHORT_BYTES && !head.windows(KEY.len()).any(|bytes| bytes == KEY)
}

/// The error that an answer of any kind carries, or `None` if it is a good one.
///
/// # Errors
/// [`HeadError`] if the head is malformed.
pub fn decode_err(frame: &Frame<'_>) -> Result<Option<ErrorBody>, HeadError> {
    let probe: Probe = head::decode(frame.head)?;
    Ok(probe.error)
}

/// The kind of an error answer that concerns no request but the connection, which is then closed.
pub const CONNECTION_KIND: u16 = 0;

#[derive(Serialize)]
struct Failed<'a> {
    error: &'a ErrorBody,
}

/// Sees only whether there is an error.
#[derive(Deserialize)]
struct Probe {
    #[serde(default)]
    error: Option<ErrorBody>,
}
