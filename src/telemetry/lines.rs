//! The lines of a server's log on their way to stderr. Whoever logs leaves its line here and goes on; one
//! thread writes them. A terminal that was stopped, or a pipe that nobody reads, keeps that thread waiting and
//! nobody else: what does not fit any more is dropped and counted.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// So much waits to be written; a line beyond it is dropped. It is what some 20,000 lines take.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// Whole lines of so many bytes are written at once: what a pipe takes in one piece (PIPE_BUF, pipe(7)), so
/// that nobody else's come between.
const WRITE_BYTES_MAX: usize = 4 << 10;

/// Lines that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    state: Mutex<State>,
    /// Notified when some come.
    came: Condvar,
    /// Notified when some were written.
    went: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Bytes that waited at any time, and those of them that wait no more.
    came: u64,
    went: u64,
    /// Lines that were dropped, or that nobody took.
    lost: u64,
    /// Those of them that were dropped and that the log does not tell of yet.
    untold: u64,
}

impl Lines {
    /// Has a thread write to `out` from now on. `tell` is called with the number of lines that were dropped,
    /// when there is room again; what it logs stands in their place.
    ///
    /// # Errors
    /// If the system refuses the thread.
    pub(crate) fn start(
        out: impl Write + Send + 'static,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Arc<Self>> {
        let lines = Arc::<Self>::default();
        let theirs = Arc::clone(&lines);
        let thread = thread::Builder::new().name("log".to_owned());
        thread.spawn(move || theirs.write_to(out, tell))?;
        Ok(lines)
    }

    /// Leaves a line, or counts it if there is no room; never waits for whoever reads.
    fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if state.waiting.len() + line.len() > WAITING_BYTES_MAX {
            state.lost += 1;
            state.untold += 1;
            return;
        }
        state.take(line);
        self.came.notify_one();
    }

    /// Leaves what is said last, whether or not there is room.
    pub(crate) fn push_last(&self, line: &str) {
        let mut state = self.state();
        state.take(line.as_bytes());
        state.take(b"\n");
        self.came.notify_one();
    }

    /// Waits until all was written, not longer than `within`.
    pub(crate) fn wait_written(&self, within: Duration) {
        let waits = |state: &mut State| state.went < state.came;
        let waited = self.went.wait_timeout_while(self.state(), within, waits);
        // Whether it was or not: nothing can be done about it.
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Lines that were lost since the start.
    pub(crate) fn lost(&self) -> u64 {
        self.state().lost
    }

    fn write_to(&self, mut out: impl Write, tell: impl Fn(u64)) {
        loop {
            let (waiting, untold) = self.next();
            if untold > 0 {
                tell(untold);
            }
            let lost = write(&mut out, &waiting);
            let mut state = self.state();
            state.went += waiting.len() as u64;
            state.lost += lost;
            self.went.notify_all();
        }
    }

    /// Waits for lines, and takes all that wait; and how many were dropped behind them.
    fn next(&self) -> (Vec<u8>, u64) {
        let is_idle = |state: &mut State| state.waiting.is_empty();
        let state = self.came.wait_while(self.state(), is_idle);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let waiting = std::mem::take(&mut state.waiting);
        (waiting, std::mem::take(&mut state.untold))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        self.came += bytes.len() as u64;
    }
}

/// Each write is a line.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes lines, a few at once; how many nobody took.
fn write(out: &mut impl Write, lines: &[u8]) -> u64 {
    let (mut rest, mut lost) = (lines, 0);
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(whole(rest));
        if out.write_all(piece).is_err() {
            lost += piece.split_inclusive(|byte| *byte == b'\n').count() as u64;
        }
        rest = behind;
    }
    lost
}

/// How many bytes of `lines` are whole lines and written at once; at least one line is.
fn whole(lines: &[u8]) -> usize {
    let is_end = |byte: &u8| *byte == b'\n';
    let fits = &lines[..lines.len().min(WRITE_BYTES_MAX)];
    let last = fits.iter().rposition(is_end);
    let last = last.or_else(|| lines.iter().position(is_end));
    last.map_or(lines.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver, Sender};

    use super::*;

    /// Far beyond what anything takes on a slow, busy machine.
    const SOON: Duration = Duration::from_secs(60);

    /// Takes a piece only when the test lets it, and hands it on.
    struct Slow {
        turns: Receiver<()>,
        taken: Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let is_read = self.turns.recv().is_ok() && self.taken.send(bytes.to_vec()).is_ok();
            match is_read {
                true => Ok(bytes.len()),
                false => Err(io::ErrorKind::BrokenPipe.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Lines that nobody reads but who gives a turn; what was read; the counts that were told.
    fn unread() -> (Arc<Lines>, Sender<()>, Receiver<Vec<u8>>, Receiver<u64>) {
        let (turn, turns) = mpsc::channel();
        let (taken, read) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let lines = Lines::start(Slow { turns, taken }, move |count| {
            tell.send(count).unwrap();
        });
        (lines.unwrap(), turn, read, told)
    }

    #[test]
    fn lines_are_written_in_order_and_whole() {
        let (lines, turn, read, _told) = unread();
        let text: Vec<_> = (0..1_000)
            .map(|number| format!("line {number}\n"))
            .collect();
        for line in &text {
            (&*lines).write_all(line.as_bytes()).unwrap();
        }
        (0..1_000).for_each(|_| turn.send(()).unwrap());
        lines.wait_written(SOON);
        let pieces: Vec<_> = read.try_iter().collect();
        assert!(pieces.iter().all(|piece| piece.ends_with(b"\n")));
        assert!(pieces.iter().all(|piece| piece.len() <= WRITE_BYTES_MAX));
        assert_eq!(pieces.concat(), text.concat().as_bytes());
        assert_eq!(lines.lost(), 0);
    }

    #[test]
    fn a_line_that_is_longer_than_what_is_written_at_once_is_a_piece_of_its_own() {
        let long = [b"x".repeat(WRITE_BYTES_MAX), b"\nshort\n".to_vec()].concat();
        assert_eq!(whole(&long), WRITE_BYTES_MAX + 1);
        assert_eq!(whole(&long[WRITE_BYTES_MAX + 1..]), 6);
        assert_eq!(whole(b"without an end"), 14);
    }

    /// The lock of stderr was held while a core wrote to it: when nobody read, all of them stood still.
    #[test]
    fn nobody_waits_for_a_log_that_is_not_read_and_what_is_lost_is_counted_and_told() {
        let (lines, turn, read, told) = unread();
        let line = [b'x'; 1 << 16];
        let count = 2 * WAITING_BYTES_MAX as u64 / line.len() as u64 + 10;
        for _ in 0..count {
            (&*lines).write_all(&line).unwrap();
        }
        let lost = lines.lost();
        assert!(0 < lost && lost < count, "{lost} of {count}");
        lines.push_last("the end");
        lines.wait_written(Duration::ZERO);
        drop(read);
        drop(turn);
        let mut untold = lost;
        while untold > 0 {
            untold -= told.recv_timeout(SOON).unwrap();
        }
        lines.wait_written(SOON);
        assert!(lines.lost() > lost, "what nobody took is lost, too");
    }

    #[test]
    fn what_is_said_last_comes_out_where_it_can() {
        let (lines, turn, read, _told) = unread();
        (&*lines).write_all(b"first\n").unwrap();
        lines.push_last("last");
        (0..2).for_each(|_| turn.send(()).unwrap());
        lines.wait_written(SOON);
        let said: Vec<_> = read.try_iter().flatten().collect();
        assert_eq!(said, b"first\nlast\n");
    }
}
