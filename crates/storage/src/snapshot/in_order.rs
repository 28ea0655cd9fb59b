//! A few operations on their way at once, whose outcomes are taken in the order they were begun.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Operations under way.
pub(super) struct InOrder<'a, T> {
    begun: VecDeque<Operation<'a, T>>,
}

enum Operation<'a, T> {
    Running(Pin<Box<dyn Future<Output = T> + 'a>>),
    Done(T),
}

impl<T> Default for InOrder<'_, T> {
    fn default() -> Self {
        Self {
            begun: VecDeque::new(),
        }
    }
}

impl<'a, T> InOrder<'a, T> {
    /// How many are under way, or done and not taken.
    pub(super) fn len(&self) -> usize {
        self.begun.len()
    }

    /// Adds an operation; it begins when it is next polled.
    pub(super) fn push(&mut self, operation: impl Future<Output = T> + 'a) {
        self.begun
            .push_back(Operation::Running(Box::pin(operation)));
    }

    /// Lets all of them go on. Ready with the outcome of the first, once there is one and room for it.
    pub(super) fn poll_within(&mut self, is_room: bool, context: &mut Context<'_>) -> Poll<T> {
        for operation in &mut self.begun {
            if let Operation::Running(running) = operation
                && let Poll::Ready(outcome) = running.as_mut().poll(context)
            {
                *operation = Operation::Done(outcome);
            }
        }
        match self.begun.pop_front() {
            Some(Operation::Done(outcome)) if is_room => Poll::Ready(outcome),
            Some(first) => {
                self.begun.push_front(first);
                Poll::Pending
            }
            None => Poll::Pending,
        }
    }
}
