//! A core: one pinned thread that runs tasks.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use glommio::{GlommioError, LocalExecutorBuilder, Placement, PoolPlacement};

use super::{blocking, guard, long, pacemaker, slice, task, threads, vitals, vitals::Vitals};
use crate::sys::cooperative;
use crate::sys::nudge::Nudge;
use crate::sys::probe::processors;

/// How a core is run.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    /// The processor to stay on, counted from zero among those that this process may run on, and
    /// round again if there are fewer.
    pub cpu: usize,
    /// The thread's name; shows in `top -H` and in the watchdog's messages.
    pub name: String,
    /// Bytes of I/O buffers to register with the kernel; see
    /// [`sys::probe::memlock`](crate::sys::probe::memlock), which computes what the limit allows.
    pub io_memory_bytes: usize,
    is_guarded: bool,
}

impl CoreConfig {
    /// A core on processor `cpu` with 1 MiB of registered buffers.
    #[must_use]
    pub fn new(cpu: usize, name: impl Into<String>) -> Self {
        Self {
            cpu,
            name: name.into(),
            io_memory_bytes: IO_MEMORY_BYTES,
            is_guarded: true,
        }
    }

    /// Runs without heartbeats, to demonstrate the hang that they prevent.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn without_guard(mut self) -> Self {
        self.is_guarded = false;
        self
    }
}

/// Why a core could not be started or did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused the rings, the thread or the processor.
    #[error("cannot start {core} on processor {cpu}")]
    Start {
        /// The core's name.
        core: String,
        /// The processor it was to run on.
        cpu: usize,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The system refuses a thread that the core needs, beside its own.
    #[error("the system refuses a thread of {core}")]
    Thread {
        /// The core's name.
        core: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The core's thread ended without an answer.
    #[error("{core} ended abnormally")]
    Join {
        /// The core's name.
        core: String,
        /// What the thread left.
        #[source]
        source: io::Error,
    },
}

/// A running core.
#[derive(Debug)]
pub struct CoreThread<T: Send + 'static> {
    name: String,
    vitals: Arc<Vitals>,
    thread: JoinHandle<io::Result<T>>,
}

impl<T: Send + 'static> CoreThread<T> {
    /// The counters that the core publishes.
    #[must_use]
    pub fn vitals(&self) -> &Arc<Vitals> {
        &self.vitals
    }

    /// Waits until the core's main future has returned, and gives its value.
    ///
    /// # Errors
    /// [`Error::Join`] if the thread panicked (in a build that unwinds) or its executor failed.
    pub fn join(self) -> Result<T, Error> {
        let Self {
            name: core, thread, ..
        } = self;
        let ended = thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("it panicked")));
        ended.map_err(|source| Error::Join { core, source })
    }

    /// The same, and nothing if that has not come by the deadline: the kernel keeps a thread until the disk has answered
    /// it.
    ///
    /// # Errors
    /// As [`join`](Self::join), and [`Error::Thread`] where no thread can be had that waits: nobody does then.
    pub(crate) fn join_by(self, deadline: Instant) -> Result<Option<T>, Error> {
        let (tell, ended) = flume::bounded(1);
        let core = self.name.clone();
        let join = move || tell.send(self.join());
        let waiting = thread::Builder::new().spawn(join);
        waiting.map_err(|source| Error::Thread { core, source })?;
        ended.recv_deadline(deadline).ok().transpose()
    }
}

/// Starts a core and runs `main` on it until it returns.
///
/// Detached tasks do not outlive `main` and are not run to their end: `main` waits for what must
/// be finished. Returns once the core runs.
///
/// # Errors
/// [`Error::Thread`] if the kernel refuses a thread, [`Error::Start`] if it refuses the processor or the rings.
pub fn spawn_core<G, F, T>(config: &CoreConfig, main: G) -> Result<CoreThread<T>, Error>
where
    G: FnOnce() -> F + Send + 'static,
    F: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let refused = |source| Error::Thread {
        core: config.name.clone(),
        source,
    };
    // The pool's threads inherit the affinity of the thread that makes them: not a core's.
    blocking::POOL.start().map_err(refused)?;
    long::LONG.start().map_err(refused)?;
    // glommio panics where it is refused its own.
    threads::try_some(CORE_THREADS).map_err(refused)?;
    let failed = |source| Error::Start {
        core: config.name.clone(),
        cpu: config.cpu,
        source,
    };
    let processors = processors().map_err(|error| failed(io::Error::other(error)))?;
    let processor = processors
        .get(config.cpu % processors.len().max(1))
        .copied();
    let vitals = Arc::new(Vitals::new(&config.name));
    let is_guarded = config.is_guarded;
    let builder = builder(config, processor.unwrap_or(0));
    let (started, start) = flume::bounded::<()>(1);
    let thread = thread::Builder::new().name(config.name.clone()).spawn({
        let vitals = Arc::clone(&vitals);
        move || {
            if is_guarded {
                vitals.admit_nudges(Nudge::of_this_thread()?);
                pacemaker::register(&vitals);
            }
            cooperative::ask();
            let executor = builder.make().map_err(io_error)?;
            tracing::debug!(rings = cooperative::rings(), "completions do not interrupt");
            Ok(executor.run(async move {
                vitals::install(vitals);
                task::install_background();
                let slices = slice::keep_short();
                let beats = is_guarded.then(guard::start);
                // The receiver waits just below; it cannot be gone.
                let _ = started.send(());
                let value = main().await;
                drop((beats, slices));
                value
            }))
        }
    });
    let thread = thread.map_err(refused)?;
    // The rings are made on the new thread: a refusal shows when it ends.
    if start.recv().is_err() {
        return Err(match thread.join() {
            Ok(Err(source)) => failed(source),
            _ => failed(io::Error::other("the core ended before it began")),
        });
    }
    Ok(CoreThread {
        name: config.name.clone(),
        vitals,
        thread,
    })
}

fn builder(config: &CoreConfig, processor: usize) -> LocalExecutorBuilder {
    LocalExecutorBuilder::new(Placement::Fixed(processor))
        .name(&config.name)
        .io_memory(config.io_memory_bytes)
        .ring_depth(RING_DEPTH)
        .preempt_timer(PREEMPT_TIMER)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
}

/// The plain I/O error inside a glommio error, its number preserved.
pub(super) fn io_error<T>(error: GlommioError<T>) -> io::Error {
    match error {
        GlommioError::IoError(source) | GlommioError::EnhancedIoError { source, .. } => source,
        other => io::Error::from(other),
    }
}

/// A core's own thread and glommio's beside it; then those of the process that begin with the cores: the pacemaker, the
/// watchdog's two, and one that waits for the cores' end.
const CORE_THREADS: usize = 6;

/// Registered I/O buffers of a core unless told otherwise.
const IO_MEMORY_BYTES: usize = 1 << 20;

/// Operations that one submission carries.
pub(super) const RING_DEPTH: usize = 128;

/// Longer than a tick of most kernels; where tasks go on for longer than a slice, it is one (`slice`).
const PREEMPT_TIMER: Duration = Duration::from_millis(5);
