//! Tasks of the core that calls.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use glommio::{Latency, Shares, TaskQueueHandle};

use super::place::Placed;
use super::slice::yield_if_needed;

/// A task of this core. Dropping it cancels the task; [`detach`](Task::detach) lets it run on.
#[must_use = "dropping a task cancels it"]
pub struct Task<T>(glommio::Task<T>);

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task")
    }
}

impl<T> Task<T> {
    /// Lets the task run on by itself. It is not finished when the core's main future returns.
    pub fn detach(self) {
        drop(self.0.detach());
    }

    /// Cancels the task and waits until its future is dropped; its value, if it was done already.
    pub async fn cancel(self) -> Option<T> {
        self.0.cancel().await
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// Starts a task on this core's default queue, and polls it once before it returns: hold no
/// `RefCell` borrow that the task needs.
///
/// # Panics
/// If the calling thread is not a core.
#[track_caller]
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> Task<T> {
    spawn_from(Location::caller(), future)
}

fn spawn_from<T: 'static>(
    location: &'static Location<'static>,
    future: impl Future<Output = T> + 'static,
) -> Task<T> {
    Task(glommio::spawn_local(Placed::new(location, future)))
}

/// Does `work` for every thing, each in a task of its own and at most `count` of them at once: what came of each, in order.
/// A thing is taken when its turn has come; one that takes long keeps a single turn.
///
/// # Panics
/// As [`spawn`].
#[track_caller]
pub fn at_once<T, R: 'static, F: Future<Output = R> + 'static>(
    count: usize,
    things: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> F,
) -> impl Future<Output = Vec<R>> {
    let location = Location::caller();
    async move {
        let (mut things, mut running) = (things.into_iter().enumerate(), Vec::new());
        let mut done = Vec::new();
        loop {
            while running.len() < count
                && let Some((number, thing)) = things.next()
            {
                running.push((number, spawn_from(location, work(thing))));
            }
            if running.is_empty() {
                done.sort_unstable_by_key(|(number, _)| *number);
                return done.into_iter().map(|(_, what)| what).collect();
            }
            done.push(first_done(&mut running).await);
            // What is done as it is begun waits for nothing.
            yield_if_needed().await;
        }
    }
}

/// Takes the first task out that is done: its number, and what came of it.
async fn first_done<R>(running: &mut Vec<(usize, Task<R>)>) -> (usize, R) {
    let look = |cx: &mut Context<'_>| {
        for at in 0..running.len() {
            if let Poll::Ready(what) = Pin::new(&mut running[at].1).poll(cx) {
                let (number, _) = running.swap_remove(at);
                return Poll::Ready((number, what));
            }
        }
        Poll::Pending
    };
    poll_fn(look).await
}

/// Starts a task on this core's background queue, which gets a small share of the processor while
/// the default queue has work: cold reads, catching up, removing files.
///
/// # Panics
/// If the calling thread is not a core.
#[track_caller]
pub fn spawn_background<T: 'static>(future: impl Future<Output = T> + 'static) -> Task<T> {
    match BACKGROUND.get() {
        Some(queue) => spawn_into(queue, future),
        None => unreachable!("every core has a background queue"),
    }
}

/// Starts a task on a queue of this core, which is never removed.
#[track_caller]
pub(super) fn spawn_into<T: 'static>(
    queue: TaskQueueHandle,
    future: impl Future<Output = T> + 'static,
) -> Task<T> {
    let future = Placed::new(Location::caller(), future);
    match glommio::spawn_local_into(future, queue) {
        Ok(task) => Task(task),
        Err(_) => unreachable!("the queue is this core's"),
    }
}

/// Runs a future on this core's default queue to its end, also if whoever waits for it is dropped, or never does: it begins
/// with the call, as [`spawn`]'s does.
///
/// # Panics
/// As [`spawn`].
#[track_caller]
pub fn run_on<T: 'static>(
    future: impl Future<Output = T> + 'static,
) -> impl Future<Output = T> + 'static {
    // An async block would have room for all of what the task has.
    RunOn(Some(spawn_from(Location::caller(), future)))
}

/// A task that is detached, not cancelled, when nobody waits for it any more.
struct RunOn<T>(Option<Task<T>>);

impl<T> Future for RunOn<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(task) = &mut self.0 else {
            return Poll::Pending;
        };
        let polled = Pin::new(task).poll(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<T> Drop for RunOn<T> {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Task::detach);
    }
}

/// Makes the background queue of the core that is starting.
pub(super) fn install_background() {
    let queue = glommio::executor().create_task_queue(
        Shares::Static(BACKGROUND_SHARES),
        Latency::NotImportant,
        "background",
    );
    BACKGROUND.set(Some(queue));
}

thread_local! {
    static BACKGROUND: Cell<Option<TaskQueueHandle>> = const { Cell::new(None) };
}

/// Of the default queue's 1000.
const BACKGROUND_SHARES: usize = 100;
