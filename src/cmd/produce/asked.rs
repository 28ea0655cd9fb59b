//! Being asked to stop: what was taken from the input is still sent, and what became of it told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::halt::Halt;
use super::source::GoAhead;
use crate::exit::Exit;
use crate::interrupt::{self, HANDING_OVER};

/// Whether somebody asked to stop.
pub(super) struct Asked {
    asked: watch::Receiver<bool>,
    /// How long what was read may take to be sent, and then what was sent to be acknowledged.
    timeout: Duration,
    /// Set once it was told what became of the records.
    is_told: Arc<AtomicBool>,
}

impl Asked {
    /// Hears it from now on.
    ///
    /// # Errors
    /// As [`interrupt::asked`].
    pub(super) fn hear(timeout: Duration) -> anyhow::Result<Self> {
        let is_told = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&is_told);
        let give_up = move || match theirs.load(Ordering::Relaxed) {
            true => Exit::Failed,
            false => Exit::Unknown,
        };
        let grace = timeout.saturating_mul(2).saturating_add(HANDING_OVER);
        Ok(Self {
            asked: interrupt::asked(grace, give_up)?,
            timeout,
            is_told,
        })
    }

    /// Has the input end there. What was taken from a pipe is gone from it, and is sent as long as there is time; of what
    /// is kept, in files, no more is sent.
    pub(super) fn ends(&self, input: GoAhead, is_kept: bool, halt: Halt) {
        let (mut asked, timeout) = (self.asked.clone(), self.timeout);
        tokio::spawn(async move {
            // Nobody asks any more where the thread that hears it has ended.
            if asked.wait_for(|asked| *asked).await.is_err() {
                std::future::pending::<()>().await;
            }
            drop(input);
            if !is_kept {
                sleep(timeout).await;
            }
            halt.set();
        });
    }

    /// What `waiting` comes to; once somebody has asked it is waited for as long as there is time.
    pub(super) async fn unless_late<F: Future>(&mut self, waiting: F) -> Option<F::Output> {
        let (asked, timeout) = (&mut self.asked, self.timeout);
        let late = async {
            match asked.wait_for(|asked| *asked).await {
                Ok(_) => sleep(timeout).await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            come = waiting => Some(come),
            () = late => None,
        }
    }

    /// From now on it is known what became of the records.
    pub(super) fn told(&self) {
        self.is_told.store(true, Ordering::Relaxed);
    }
}
