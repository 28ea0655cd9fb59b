//! Waiting until fewer requests of a connection are under way. Nothing is read meanwhile, so it is looked for a reset.

use std::pin::pin;

use corelog_protocol::limits;
use futures_lite::FutureExt;

use super::intake::LOOK_EVERY;
use super::link::{InFlight, Link};
use crate::rt;

impl Link {
    /// Waits until one more request may be taken; false if the connection closes instead.
    pub(super) async fn room(&self) -> bool {
        const REQUESTS_MAX: usize = limits::IN_FLIGHT_REQUEST_COUNT_MAX as usize;
        const BYTES_MAX: usize = limits::IN_FLIGHT_BYTES_MAX as usize;
        self.until(|under_way| under_way.requests < REQUESTS_MAX && under_way.bytes < BYTES_MAX)
            .await
    }

    /// Waits until no request but one is in flight: all other answers were sent. False if the
    /// connection closes instead.
    pub(super) async fn alone(&self) -> bool {
        self.until(|under_way| under_way.requests == 1).await
    }

    async fn until(&self, is_so: impl Fn(InFlight) -> bool) -> bool {
        let mut gone = pin!(self.gone());
        loop {
            let left = self.left.notified();
            if self.is_dead() {
                return false;
            }
            if is_so(self.in_flight.get()) {
                return true;
            }
            left.or(&mut gone).await;
        }
    }

    /// Ready when the client is, which the connection then dies of: to be awaited where nothing is read that would tell.
    async fn gone(&self) {
        loop {
            rt::sleep(LOOK_EVERY).await;
            if self.socket.is_gone() {
                return self.die();
            }
        }
    }
}
