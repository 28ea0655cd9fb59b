//! The runtime's own small vocabulary.
//!
//! ```text
//! executor     a pinned thread that runs tasks: `spawn_core`
//! task         `spawn`, `spawn_background`, `at_once`
//! slice        how long tasks go on before the core looks at what came: `yield_if_needed`
//! clock        `now`, `booted`, `wall_clock`, `clocks`, `sleep`, `timeout`, `millis`, `micros`
//! steady       the wall clock that `wall_clock` follows: never back, never far ahead at once
//! blocking     what must not run on a core: the pool of directory threads
//! long         what takes minutes: a thread of its own, behind everything that clients wait for
//! threads      plain threads that do what is handed to them, as both of those have
//! unless       a future that is given up once another one is ready
//! place        which task a core is in, by where it was started
//! vitals       what a core has outstanding, published for the watchdog
//! guard        heartbeats that keep a core from sleeping on runnable tasks
//! pulse        how a core's loop goes: time at work, lateness of its heartbeats
//! pacemaker    the plain thread that wakes a core whose heartbeats all expired at once
//! watchdog     the plain thread that notices a core that no longer turns
//! port         a claimed TCP port, and sockets that share it
//! listener     accepting connections
//! conn         a connection and its two halves
//! congestion   how fast a connection may send
//! semaphore    bounded resources of one core, first come first served
//! seats        a bounded number for the whole process, for any thread; none is waited for
//! notify       "something changed" among tasks of one core
//! disk/        directories and files driven by io_uring
//! ```
//!
//! This is the only room that names glommio, and no glommio type stands in a public signature, so
//! that another back end (compio, plain threads) could take its place here. Nothing in here knows
//! what a record, a partition or a frame is.
//!
//! The law of the room: a core never blocks and never sleeps while it has something to do.

mod blocking;
mod clock;
mod congestion;
mod conn;
mod disk;
mod executor;
mod guard;
mod listener;
mod long;
mod notify;
mod pacemaker;
mod place;
mod port;
mod pulse;
mod seats;
mod semaphore;
mod slice;
mod steady;
mod task;
mod threads;
mod unless;
mod vitals;
mod watchdog;

pub use blocking::{blocking, unwatched};
pub(crate) use clock::micros;
pub use clock::{booted, clock_doubt, clocks, millis, now, sleep, timeout, waited, wall_clock};
pub use conn::{Conn, ReadHalf, Socket, WriteHalf, Written};
pub(crate) use disk::LEAVING_MAX;
#[cfg(test)]
pub(crate) use disk::unreadable;
pub use disk::{UringBuf, UringBytes, UringDir, UringFile};
pub use executor::{CoreConfig, CoreThread, Error, spawn_core};
pub use listener::Listener;
pub use long::long;
pub use notify::{Notified, Notify};
pub use port::Port;
pub use pulse::{Pulse, STALL, pulse};
pub(crate) use seats::{Seat, Seats};
pub use semaphore::{Permit, Semaphore};
pub use slice::{next_turn, yield_if_needed, yield_processor};
pub use task::{Task, at_once, run_on, spawn, spawn_background};
pub use unless::unless;
pub use vitals::{Outstanding, Vitals, Work, outstanding};
pub use watchdog::Watchdog;

#[cfg(test)]
pub(crate) mod tests;
