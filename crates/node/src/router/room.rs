//! Room for an answer with batches, from before they are read until they were sent.

use std::time::Duration;

use corelog_protocol::limits;
use corelog_storage::log::ReadPlan;

use crate::core::{Core, Disk, SMALL_BYTES};
use crate::failure::{self, Failure};
use crate::rt::{self, Permit, Semaphore};

/// Bytes of one fetch at most: with its head it fits a frame, and any one batch does.
pub(crate) const FETCH_BYTES_MAX: u32 = limits::BATCH_BYTES_MAX;

/// Memory of one answer at most.
const ANSWER_BYTES_MAX: u64 = ReadPlan::<Disk>::held_max(FETCH_BYTES_MAX as usize) as u64;

/// Memory of fetched batches that one connection has not taken yet: one answer is sent while the
/// next one is read.
pub(crate) const CONNECTION_BYTES_MAX: u64 = 2 * ANSWER_BYTES_MAX;

/// How long a fetch waits for the core's room. Only clients that do not read can make it scarce,
/// and they are cut in the end; until then others are told.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Room for an answer, of its connection and of the core.
#[derive(Debug)]
pub(crate) struct Room {
    of_connection: Permit,
    of_core: Permit,
    /// Of what the core has for small answers.
    is_small: bool,
}

impl Room {
    /// Room for any answer, if nobody waits for some.
    pub(super) fn at_once(core: &Core, connection: &Semaphore) -> Option<Self> {
        Some(Self {
            of_connection: connection.try_acquire(ANSWER_BYTES_MAX)?,
            of_core: core.send_budget.try_acquire(ANSWER_BYTES_MAX)?,
            is_small: false,
        })
    }

    /// Waits for room for any answer.
    ///
    /// # Errors
    /// `Busy` if other clients hold the core's room and do not read.
    pub(super) async fn take(core: &Core, connection: &Semaphore) -> Result<Self, Failure> {
        Self::wait(connection, &core.send_budget, ANSWER_BYTES_MAX).await
    }

    /// Waits for room for an answer of [`SMALL_BYTES`]: not behind those who want more.
    ///
    /// # Errors
    /// As [`take`](Room::take).
    pub(super) async fn small(core: &Core, connection: &Semaphore) -> Result<Self, Failure> {
        let bytes = SMALL_BYTES as u64;
        let room = Self::wait(connection, &core.send_small_budget, bytes).await?;
        Ok(Self {
            is_small: true,
            ..room
        })
    }

    /// The connection's own comes first: who does not read holds up nobody else.
    async fn wait(connection: &Semaphore, core: &Semaphore, bytes: u64) -> Result<Self, Failure> {
        let of_connection = connection.acquire(bytes).await;
        match rt::timeout(WAIT_MAX, core.acquire(bytes)).await {
            Some(of_core) => Ok(Self {
                of_connection,
                of_core,
                is_small: false,
            }),
            None => Err(failure::untaken()),
        }
    }

    #[cfg(test)]
    pub(crate) fn of(of_connection: Permit, of_core: Permit) -> Self {
        Self {
            of_connection,
            of_core,
            is_small: false,
        }
    }

    /// If it is of what the core has for small answers.
    pub(crate) const fn is_small(&self) -> bool {
        self.is_small
    }

    /// How much memory an answer may hold.
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.of_core.units()).unwrap_or(usize::MAX)
    }

    /// Gives back what an answer that holds so many bytes of memory does not need.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        for permit in [&mut self.of_connection, &mut self.of_core] {
            permit.shrink_to(permit.units().min(bytes as u64));
        }
    }
}
