//! A future that is given up once another one is ready.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

pin_project! {
    /// What [`unless`] gives.
    #[must_use = "a future does nothing unless awaited"]
    pub struct Unless<F, E> {
        #[pin]
        future: F,
        #[pin]
        end: E,
    }
}

/// The value of `future`, or `None` if `end` is ready before it.
///
/// No `async fn`: that has room for its arguments beside where it awaits them, and this stands around what thousands wait in.
pub fn unless<F: Future, E: Future>(future: F, end: E) -> Unless<F, E> {
    Unless { future, end }
}

impl<F: Future, E: Future> Future for Unless<F, E> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.future.poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => this.end.poll(cx).map(|_| None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_lite::future::block_on;

    use super::*;

    #[test]
    fn what_is_ready_counts_before_what_would_end_it() {
        assert_eq!(block_on(unless(ready(1), ready(()))), Some(1));
        assert_eq!(block_on(unless(ready(1), pending::<()>())), Some(1));
        assert_eq!(block_on(unless(pending::<u8>(), ready(()))), None);
    }

    /// Each had the room of three.
    #[test]
    fn who_may_be_given_up_is_there_once() {
        let large = async {
            let bytes = [1_u8; 1_024];
            pending::<()>().await;
            std::hint::black_box(bytes);
        };
        let alone = size_of_val(&large);
        assert!(size_of_val(&unless(large, pending::<()>())) < alone + 16);
    }
}
