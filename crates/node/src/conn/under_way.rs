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
        let mut gone = pin!(self.gone());
        loop {
            let left = self.left.notified();
            let InFlight { requests, bytes } = self.in_flight.get();
            if self.is_dead() {
                return false;
            }
            let (requests_max, bytes_max) = (
                limits::IN_FLIGHT_REQUEST_COUNT_MAX,
                limits::IN_FLIGHT_BYTES_MAX,
            );
            if requests < requests_max as usize && bytes < bytes_max as usize {
                return true;
            }
            left.or(&mut gone).await;
        }
    }

    /// Waits until no request but one is in flight: all other answers were sent. False if the
    /// connection closes instead.
    pub(super) async fn alone(&self) -> bool {
        let mut gone = pin!(self.gone());
        loop {
            let left = self.left.notified();
            if self.is_dead() {
                return false;
            }
            if self.in_flight.get().requests == 1 {
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
