//! How a core stops: it takes no more requests, then connections end that do not by themselves.

use corelog_protocol::error::ErrorCode;
use futures_lite::FutureExt as _;

use super::state::Core;
use crate::failure::{Failure, failure};

impl Core {
    /// Ends the taking of requests: connections answer what they have and close. What is being opened is called off.
    pub(crate) fn begin_stop(&self) {
        self.is_stopping.set(true);
        self.stop.notify();
        self.call_off_openings();
    }

    /// Ready when the core is to take no more requests.
    pub(crate) fn stopping(&self) -> impl Future<Output = ()> {
        self.stop.until(|| self.is_stopping.get())
    }

    /// What comes of something, unless the core is to take no more requests before.
    ///
    /// # Errors
    /// `Stopping`.
    pub(crate) async fn unless_stopping<T>(
        &self,
        what: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let stop = async {
            self.stopping().await;
            Err(failure(ErrorCode::Stopping, "the node is stopping"))
        };
        stop.or(async { Ok(what.await) }).await
    }

    /// Ends connections that do not end by themselves.
    pub(crate) fn cut_connections(&self) {
        self.is_cutting.set(true);
        self.stop.notify();
    }

    /// Ready when connections are to end at once.
    pub(crate) fn cutting(&self) -> impl Future<Output = ()> {
        self.stop.until(|| self.is_cutting.get())
    }

    /// Waits until no connection is open.
    pub(crate) async fn no_connections(&self) {
        let is_over = || self.connection_count() == 0;
        self.connection_ended.until(is_over).await;
    }
}
