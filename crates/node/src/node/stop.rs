//! How a node goes down: every core drains before any closes, since they answer each other, and what is received for them
//! ends behind them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use corelog_record::CoreId;
use flume::{Receiver, RecvTimeoutError, Sender, TrySendError};

use super::control::Control;
use super::start::Cores;
use crate::error::{StartError, StopError};
use crate::rt::{self, CoreConfig, CoreThread};
use crate::sys::NodeFile;

/// How much longer than its connections a core may take to drain.
const DRAIN_GRACE: Duration = Duration::from_secs(10);
/// How long after draining a core may take to flush and close its partitions.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long all of it takes at most where connections have so long to drain.
pub(super) const fn within(timeout: Duration) -> Duration {
    timeout
        .saturating_add(DRAIN_GRACE)
        .saturating_add(CLOSE_TIMEOUT)
}

/// Starts a core, which has the data directory until its thread has ended, whoever still waits for that by then: nobody is to
/// open the logs beside what may write to them.
pub(super) fn spawn<F: Future<Output = ()> + 'static>(
    core: &CoreConfig,
    lock: &Arc<NodeFile>,
    live: impl FnOnce() -> F + Send + 'static,
) -> Result<CoreThread<Arc<NodeFile>>, rt::Error> {
    let lock = Arc::clone(lock);
    rt::spawn_core(core, move || async move {
        live().await;
        lock
    })
}

impl Cores {
    /// Ends in order: the cores, and then what is received for them. The files are those of whoever starts the node again
    /// in this process.
    pub(super) fn stop(self, timeout: Duration) -> Result<(), StopError> {
        let deadline = rt::now() + within(timeout);
        let receiving = Arc::clone(&self.receiving);
        let stopped = self.end(timeout, deadline);
        receiving.end(deadline);
        stopped
    }

    /// Every core drains before any closes, since they answer each other; nobody is waited for beyond `deadline`.
    fn end(self, timeout: Duration, deadline: Instant) -> Result<(), StopError> {
        let drained = self.tell_all(timeout + DRAIN_GRACE, |reply| Control::Drain {
            timeout,
            reply,
        });
        let closed = self.tell_all(CLOSE_TIMEOUT, |reply| Control::Close { reply });
        let timeout = within(timeout);
        let join = |(number, thread): (u16, CoreThread<Arc<NodeFile>>)| {
            let core = CoreId::new(number);
            let ended = thread.join_by(deadline);
            let ended = ended.map_err(|source| StopError::Core { core, source })?;
            ended.ok_or(StopError::TimedOut { core, timeout })
        };
        let joined: Vec<_> = (0..).zip(self.threads).map(join).collect();
        let unclean = closed?;
        joined.into_iter().collect::<Result<Vec<_>, _>>()?;
        drained?;
        match unclean.into_iter().sum() {
            0 => Ok(()),
            count => Err(StopError::Unclean { count }),
        }
    }

    fn tell_all<T>(
        &self,
        timeout: Duration,
        control: impl Fn(Sender<T>) -> Control,
    ) -> Result<Vec<T>, StopError> {
        let deadline = rt::now() + timeout;
        let mut answers = Vec::with_capacity(self.controls.len());
        let mut full = Vec::new();
        for sender in &self.controls {
            let (reply, answer) = flume::bounded(1);
            // An answer that never comes tells the same as a refusal here.
            if let Err(TrySendError::Full(control)) = sender.try_send(control(reply)) {
                full.push((sender, control));
            }
            answers.push(answer);
        }
        // A core that does not turn makes no room; all others are told before it is waited for. What cannot be
        // told is kept, so that its answer does not look like one of a core that has ended.
        let send =
            |(sender, control): (&Sender<_>, _)| sender.send_deadline(control, deadline).err();
        let _untold: Vec<_> = full.into_iter().map(send).collect();
        let told = |(number, answer): (u16, Receiver<T>)| {
            let core = CoreId::new(number);
            answer.recv_deadline(deadline).map_err(|error| match error {
                RecvTimeoutError::Timeout => StopError::TimedOut { core, timeout },
                RecvTimeoutError::Disconnected => StopError::CoreEnded { core },
            })
        };
        // All are waited for before the first that failed is told of: the process may end next.
        let told: Vec<_> = (0..).zip(answers).map(told).collect();
        told.into_iter().collect()
    }

    /// Ends the cores of a start that failed, and gives the reason on.
    pub(super) fn give_up(self, error: StartError) -> StartError {
        // What was opened is closed cleanly; if that fails too, the first reason counts.
        if let Err(error) = self.stop(Duration::ZERO) {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the start failed, and so did ending it");
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::{io, thread};

    use super::*;
    use crate::sys;
    use crate::transfer::Claims;

    /// Far beyond what anything takes on a slow, busy machine.
    const SOON: Duration = Duration::from_secs(60);

    /// What comes of something that may wait for ever, and does not.
    fn soon<T: Send + 'static>(ends: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = flume::bounded(1);
        thread::spawn(move || tell.send(ends()));
        told.recv_timeout(SOON).expect("it ends")
    }

    /// Who stopped the node waited for room, before any time began to count.
    #[test]
    fn a_stop_waits_for_no_room_at_a_core_that_does_not_turn_and_the_others_hear_of_it() {
        let (stuck, kept) = flume::bounded(1);
        let (reply, _answer) = flume::bounded(1);
        stuck.send(Control::Topics { reply }).unwrap();
        let (well, told) = flume::bounded(1);
        let turning = thread::spawn(move || {
            let Ok(Control::Drain { reply, .. }) = told.recv() else {
                panic!("it is told something else");
            };
            // Who waits that briefly may have given up by now; this one was told all the same.
            let _ = reply.send(());
        });
        let cores = Cores {
            threads: Vec::new(),
            controls: vec![stuck, well],
            receiving: Arc::default(),
        };
        let end = soon(move || {
            let timeout = Duration::from_millis(1);
            cores.tell_all(timeout, |reply| Control::Drain { timeout, reply })
        });
        let core = CoreId::new(0);
        assert!(matches!(end, Err(StopError::TimedOut { core: late, .. }) if late == core));
        turning.join().unwrap();
        drop(kept);
    }

    /// What the others had in memory was lost with the process, which ended meanwhile.
    #[test]
    fn a_core_that_had_ended_keeps_a_stop_from_waiting_for_no_other() {
        let (gone, _) = flume::bounded(1);
        let (well, told) = flume::bounded(1);
        let (tell, returned) = flume::bounded(1);
        let turning = thread::spawn(move || {
            let Ok(Control::Close { reply }) = told.recv() else {
                panic!("it is told something else");
            };
            let was_left = returned.recv_timeout(Duration::from_millis(100)).is_ok();
            // Nobody may listen any more.
            let _ = reply.send(0);
            was_left
        });
        let cores = Cores {
            threads: Vec::new(),
            controls: vec![gone, well],
            receiving: Arc::default(),
        };
        let end = cores.tell_all(SOON, |reply| Control::Close { reply });
        let core = CoreId::new(0);
        assert!(matches!(end, Err(StopError::CoreEnded { core: gone }) if gone == core));
        // It has been told, or has not waited for so long.
        let _ = tell.send(());
        assert!(!turning.join().unwrap());
    }

    /// A core on a data directory that closes and does not end before what is given back with it is dropped.
    fn stuck(data: &Path) -> (Cores, Sender<()>) {
        let lock = Arc::new(NodeFile::lock(data).unwrap());
        let (keep, kept) = flume::bounded::<()>(0);
        let (control, told) = flume::bounded(1);
        let live = move || async move {
            while let Ok(told) = told.recv_async().await {
                match told {
                    Control::Drain { reply, .. } => reply.send(()).unwrap(),
                    Control::Close { reply } => {
                        reply.send(0).unwrap();
                        // As what waits while it is dropped.
                        let _ = kept.recv();
                    }
                    other => panic!("it is told {other:?}"),
                }
            }
        };
        let core = spawn(&CoreConfig::new(0, "late"), &lock, live).unwrap();
        let cores = Cores {
            threads: vec![core],
            controls: vec![control],
            receiving: Arc::default(),
        };
        (cores, keep)
    }

    /// Its thread was waited for without a bound, and the stop said nothing.
    #[test]
    fn a_core_that_has_closed_and_does_not_end_is_waited_for_until_the_deadline() {
        let dir = tempfile::tempdir().unwrap();
        let (cores, keep) = stuck(dir.path());
        let end = soon(move || cores.end(Duration::ZERO, rt::now() + Duration::from_millis(1)));
        let core = CoreId::new(0);
        assert!(matches!(end, Err(StopError::TimedOut { core: late, .. }) if late == core));
        drop(keep);
    }

    /// Another node could open the logs beside a core that still wrote to them.
    #[test]
    fn what_a_stop_does_not_wait_for_has_the_data_directory_until_it_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let is_taken = |data: &Path| {
            let locked = NodeFile::lock(data);
            matches!(locked, Err(sys::Error::Locked { .. }))
        };
        let until_free = |data: &Path| {
            let data = data.to_owned();
            soon(move || {
                while is_taken(&data) {
                    thread::yield_now();
                }
            });
        };
        let (cores, keep) = stuck(dir.path());
        soon(move || cores.end(Duration::ZERO, rt::now())).unwrap_err();
        assert!(is_taken(dir.path()));
        drop(keep);
        until_free(dir.path());
        let receiving: Arc<Claims> = Arc::default();
        receiving.keep(Arc::new(NodeFile::lock(dir.path()).unwrap()));
        let claim = receiving.hold("one").unwrap();
        receiving.end(rt::now());
        assert!(is_taken(dir.path()));
        drop(claim);
        until_free(dir.path());
    }

    /// What had begun to be received was not waited for where the start failed behind that.
    #[test]
    fn whatever_ends_the_cores_nothing_is_received_behind_that() {
        for ends in [
            |cores: Cores| drop(cores.stop(Duration::ZERO)),
            |cores: Cores| {
                let source = io::Error::other("a test");
                drop(cores.give_up(StartError::Random { source }));
            },
        ] {
            let receiving: Arc<Claims> = Arc::default();
            let claim = receiving.hold("one").unwrap();
            let cores = Cores {
                threads: Vec::new(),
                controls: Vec::new(),
                receiving: Arc::clone(&receiving),
            };
            let (tell, ended) = flume::bounded(1);
            let ending = thread::spawn(move || {
                ends(cores);
                let _ = tell.send(());
            });
            while receiving.hold("another").is_some() && !ending.is_finished() {
                thread::yield_now();
            }
            let early = ended.recv_timeout(Duration::from_millis(200));
            assert!(early.is_err(), "it waited for nothing");
            drop(claim);
            ending.join().unwrap();
        }
    }
}
