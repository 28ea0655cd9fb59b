//! Batches that are to be appended, and were checked: at once, or by pieces, where that takes long.

use corelog_record::Error;
use corelog_record::batch::{self, Batches, Rules};

use super::AppendError;

/// Batches of which each was found as the rules ask. Holding them is the proof.
#[derive(Debug, Clone, Copy)]
pub struct Checked<'a> {
    bytes: &'a [u8],
    count: usize,
    records: u64,
}

impl<'a> Checked<'a> {
    /// What is checked without a pause, but for a batch of more: a third of a millisecond where batches, or records, are as
    /// small as can be.
    pub const PIECE_BYTES: usize = 256 << 10;

    pub(super) fn at_once(bytes: &'a [u8], rules: &Rules) -> Result<Self, AppendError> {
        let mut checked = Self::none_of(bytes);
        for batch in Batches::over(bytes) {
            checked.take(batch, rules)?;
        }
        Ok(checked)
    }

    /// Checks batches for who shares its thread with others, and gives way to them behind each piece.
    ///
    /// # Errors
    /// [`AppendError::Invalid`].
    pub async fn by_pieces(
        bytes: &'a [u8],
        rules: &Rules,
        give_way: impl AsyncFn(),
    ) -> Result<Self, AppendError> {
        let mut checked = Self::none_of(bytes);
        let mut piece = 0;
        for batch in Batches::over(bytes) {
            if Self::PIECE_BYTES <= piece {
                give_way().await;
                piece = 0;
            }
            piece += checked.take(batch, rules)?;
        }
        Ok(checked)
    }

    const fn none_of(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            count: 0,
            records: 0,
        }
    }

    /// Checks the next one; gives how many bytes it has.
    fn take(&mut self, batch: Result<&[u8], Error>, rules: &Rules) -> Result<usize, AppendError> {
        let index = self.count;
        let invalid = |source| AppendError::Invalid { index, source };
        let batch = batch.map_err(invalid)?;
        let view = batch::check(batch, rules).map_err(invalid)?;
        self.records += u64::from(view.count());
        self.count += 1;
        Ok(batch.len())
    }

    /// All of them.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many there are.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// How many records they hold.
    pub(super) const fn records(&self) -> u64 {
        self.records
    }
}
