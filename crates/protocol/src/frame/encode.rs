//! Lays a frame's prefix and head at the end of a caller's buffer.

use serde::Serialize;

use super::{CorrelationId, FrameError, Header, LENGTH_BYTES, PREFIX_BYTES};
use crate::{head, limits};

/// Which frame to lay down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) kind: u16,
    pub(crate) is_answer: bool,
    pub(crate) correlation: CorrelationId,
    pub(crate) body_bytes: usize,
}

/// Appends prefix and head to `out`; the caller sends or appends the body's bytes behind them. A
/// reused `out` allocates nothing once it has grown.
///
/// # Errors
/// [`FrameError::HeadTooLarge`] or [`FrameError::TooLarge`] if no peer would read the frame at the
/// default limits; `out` is then as it was.
pub(crate) fn encode<T: Serialize>(
    shape: Shape,
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), FrameError> {
    let start = out.len();
    let result = lay(shape, value, start, out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn lay<T: Serialize>(
    shape: Shape,
    value: &T,
    start: usize,
    out: &mut Vec<u8>,
) -> Result<(), FrameError> {
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    head::encode(value, out)?;
    let (prefix, head) = out[start..].split_at_mut(PREFIX_BYTES);

    let head_bytes_max = if shape.is_answer {
        limits::ANSWER_HEAD_BYTES_MAX
    } else {
        limits::REQUEST_HEAD_BYTES_MAX
    };
    let head_bytes = u32::try_from(head.len())
        .ok()
        .filter(|&bytes| bytes <= head_bytes_max);
    let Some(head_bytes) = head_bytes else {
        return Err(FrameError::HeadTooLarge {
            head_bytes: head.len() as u64,
            head_bytes_max,
        });
    };

    let frame_bytes_max = limits::FRAME_BYTES_MAX;
    let after_length = (PREFIX_BYTES - LENGTH_BYTES) as u64;
    let frame_bytes = after_length + u64::from(head_bytes) + shape.body_bytes as u64;
    let checked = u32::try_from(frame_bytes)
        .ok()
        .filter(|&bytes| bytes <= frame_bytes_max);
    let Some(frame_bytes) = checked else {
        return Err(FrameError::TooLarge {
            frame_bytes,
            frame_bytes_max,
        });
    };

    let header = Header {
        is_answer: shape.is_answer,
        kind: shape.kind,
        correlation: shape.correlation,
        head_bytes,
        frame_bytes,
    };
    prefix.copy_from_slice(&header.to_bytes(head));
    Ok(())
}
