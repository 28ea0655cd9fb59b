//! Verifying a sealed store that comes in pieces, in one pass.

use corelog_record::batch::{HEADER_BYTES, Header, View};

use super::epochs::Epochs;
use crate::format::edit::{Epoch, Seal};
use crate::index::Builder;
use crate::log::lineage::Began;
use crate::segment::Point;

/// A walk over the batches of one sealed store, whatever its pieces: checksums, offsets and chain.
/// The rows of its index are made on the way.
pub(crate) struct Verifier {
    base: Point,
    /// Before the first batch that was not verified yet.
    point: Point,
    /// What there has to be at the end.
    end: Point,
    /// The beginning of a batch whose rest is in the next piece.
    begun: Vec<u8>,
    rows: Builder,
    interval_bytes: u32,
    /// Which epochs may have made the batches, if that is known.
    epochs: Option<Epochs>,
}

/// A place from which on a store cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bad(pub(crate) Point);

/// What the front of some bytes is.
enum Front {
    /// A batch of so many bytes.
    Batch(usize),
    /// Part of a batch: so many bytes are needed to go on.
    Short(usize),
}

impl Verifier {
    /// A verifier of the store that `seal` is of.
    pub(crate) fn new(seal: &Seal, interval_bytes: u32) -> Self {
        let base = Point::starting(seal.digest.start());
        Self {
            base,
            point: base,
            end: Point::sealed(seal),
            begun: Vec::new(),
            rows: Builder::default(),
            interval_bytes,
            epochs: None,
        }
    }

    /// The same, which also holds the batches against the epochs of the log, oldest first.
    pub(super) fn with_epochs(self, epochs: &[Began]) -> Self {
        Self {
            epochs: Some(Epochs::new(epochs, &self.base)),
            ..self
        }
    }

    /// Before the first batch that was not verified yet.
    pub(super) fn point(&self) -> Point {
        self.point
    }

    /// Forgets the beginning of a batch whose rest is not there: what is pushed next begins at the
    /// point.
    pub(super) fn rewind(&mut self) {
        self.begun.clear();
    }

    /// Verifies the next bytes of the store, as far as their batches are whole.
    ///
    /// # Errors
    /// The first place that cannot be trusted; nothing may be pushed afterwards, unless the verifier
    /// is rewound.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<(), Bad> {
        while !self.begun.is_empty() {
            match self.front(&self.begun)? {
                Front::Short(needed) => {
                    let missing = needed - self.begun.len();
                    let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
                    self.begun.extend_from_slice(taken);
                    bytes = rest;
                    if taken.len() < missing {
                        return Ok(());
                    }
                }
                Front::Batch(_) => {
                    let whole = std::mem::take(&mut self.begun);
                    self.verify(&whole)?;
                }
            }
        }
        while !bytes.is_empty() {
            match self.front(bytes)? {
                Front::Short(_) => {
                    self.begun.extend_from_slice(bytes);
                    return Ok(());
                }
                Front::Batch(length) => {
                    let (batch, rest) = bytes.split_at(length);
                    self.verify(batch)?;
                    bytes = rest;
                }
            }
        }
        Ok(())
    }

    /// The rows of the index, and the epochs met, if all that the seal promises was pushed, and nothing
    /// else.
    ///
    /// # Errors
    /// Where that is not so: the start of the segment if every batch is sound, and yet they are not
    /// those that were sealed.
    pub(crate) fn finish(self) -> Result<(Builder, Vec<Epoch>), Bad> {
        if !self.begun.is_empty() || self.point.position != self.end.position {
            return Err(Bad(self.point));
        }
        match self.point == self.end {
            true => Ok((
                self.rows,
                self.epochs.map(Epochs::into_met).unwrap_or_default(),
            )),
            false => Err(Bad(self.base)),
        }
    }

    fn front(&self, bytes: &[u8]) -> Result<Front, Bad> {
        if bytes.len() < HEADER_BYTES {
            return Ok(Front::Short(HEADER_BYTES));
        }
        let bad = Bad(self.point);
        let Ok(header) = Header::parse(bytes) else {
            return Err(bad);
        };
        let length = header.total_bytes();
        let left = self.end.position.get() - self.point.position.get();
        // Memory is taken for what the store can hold only.
        if left < length as u64 {
            return Err(bad);
        }
        Ok(match length <= bytes.len() {
            true => Front::Batch(length),
            false => Front::Short(length),
        })
    }

    fn verify(&mut self, batch: &[u8]) -> Result<(), Bad> {
        let bad = Bad(self.point);
        let Ok(view) = View::verify(batch) else {
            return Err(bad);
        };
        if view.base_offset() != self.point.offset {
            return Err(bad);
        }
        // No batch of a seal that was made is behind its end.
        if self.end.ordinal <= self.point.ordinal || self.end.offset < view.next_offset() {
            return Err(bad);
        }
        let epochs = self.epochs.as_mut();
        if epochs.is_some_and(|epochs| !epochs.admit(&self.point, &view)) {
            return Err(bad);
        }
        self.rows.note(&self.base, &self.point, self.interval_bytes);
        self.point = self.point.after(&view);
        Ok(())
    }
}
