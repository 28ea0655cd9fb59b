//! Calling off an opening: a disk that answers late may be asked for minutes.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use crate::Error;

/// Calls an opening off; clones call off the same one.
#[derive(Debug, Clone, Default)]
pub struct CallOff(Arc<AtomicBool>);

impl CallOff {
    /// Has the opening end with [`Error::CalledOff`] once the disk has answered what it is being asked. What it has done by
    /// then is what a killed process may leave. An opening that is over is not changed by it.
    pub fn call(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is called off.
    #[must_use]
    pub fn is_called(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// What comes of `reading`, which changes nothing and may be dropped, unless the opening is called off before: that is
    /// looked at whenever the disk has answered.
    ///
    /// # Errors
    /// [`Error::CalledOff`]; those of `reading`.
    pub(crate) async fn unless_called<T>(
        &self,
        reading: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut reading = pin!(reading);
        poll_fn(|context| match self.check() {
            Ok(()) => reading.as_mut().poll(context),
            Err(called_off) => Poll::Ready(Err(called_off)),
        })
        .await
    }

    /// Goes on unless it is called off: asked between things that change something.
    ///
    /// # Errors
    /// [`Error::CalledOff`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.is_called() {
            true => Err(Error::CalledOff),
            false => Ok(()),
        }
    }
}
