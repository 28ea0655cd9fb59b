//! A file or stdin, read until somebody asks to stop: whoever waits for it to have something stops as well, and nothing is
//! taken that would not be sent.

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Has reading go on for as long as it is there.
#[derive(Debug)]
pub(super) struct GoAhead {
    _held: PipeWriter,
}

/// What tells readers that it is gone.
#[derive(Debug)]
pub(super) struct Gone(PipeReader);

/// Why reading ended before the end.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
pub(super) struct Stopped;

/// What is read.
pub(super) struct Source<'a> {
    file: File,
    gone: &'a Gone,
}

impl GoAhead {
    /// One for the readers of all sources.
    ///
    /// # Errors
    /// Where there is no descriptor for it.
    pub(super) fn new() -> io::Result<(Self, Gone)> {
        let (gone, held) = io::pipe()?;
        Ok((Self { _held: held }, Gone(gone)))
    }
}

impl Stopped {
    /// If this is why reading failed.
    pub(super) fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|cause| cause.is::<Self>())
    }
}

impl<'a> Source<'a> {
    /// Opens a file. A pipe with a name is there at once, whether somebody writes to it or not.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn open(path: &Path, gone: &'a Gone) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let file = options.open(path)?;
        Ok(Self { file, gone })
    }

    /// Reads stdin by itself: the library's own reader takes more from it than it hands out.
    ///
    /// # Errors
    /// Where there is no descriptor for it.
    pub(super) fn stdin(gone: &'a Gone) -> io::Result<Self> {
        let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        Ok(Self { file, gone })
    }

    /// If it is known that there is more as long as its end has not come.
    pub(super) fn has_end(&self) -> bool {
        self.file.metadata().is_ok_and(|file| file.is_file())
    }

    /// Waits until there is something to read, or is not to be any more.
    fn wait(&self) -> io::Result<()> {
        let input = PollFlags::POLLIN;
        let (file, gone) = (self.file.as_fd(), self.gone.0.as_fd());
        let mut asked = [PollFd::new(file, input), PollFd::new(gone, input)];
        poll(&mut asked, PollTimeout::NONE)?;
        match asked[1].any() {
            Some(false) => Ok(()),
            _ => Err(io::Error::other(Stopped)),
        }
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.wait()?;
            match self.file.read(buffer) {
                // Another reader of the same pipe was faster.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::OwnedFd;
    use std::thread;

    use super::*;

    #[test]
    fn whoever_waits_for_a_pipe_stops_when_the_go_ahead_is_gone() {
        let (held, gone) = GoAhead::new().unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        let rest = reader.try_clone().unwrap();
        let reading = thread::spawn(move || {
            let file = File::from(OwnedFd::from(reader));
            let mut source = Source { file, gone: &gone };
            let mut read = Vec::new();
            let error = source.read_to_end(&mut read).unwrap_err();
            assert!(!source.has_end());
            (read, Stopped::is(&error))
        });
        writer.write_all(b"taken").unwrap();
        drop(held);
        let (mut read, is_stopped) = reading.join().unwrap();
        assert!(is_stopped);
        // What it had not come to is there for others.
        drop(writer);
        { rest }.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"taken");
    }

    #[test]
    fn a_pipe_that_nobody_writes_is_waited_for_as_one_that_has_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (held, gone) = GoAhead::new().unwrap();
        let mut source = Source::open(&path, &gone).unwrap();
        let mut read = [0; 4];
        thread::scope(|scope| {
            scope.spawn(|| File::create(&path).unwrap().write_all(b"late").unwrap());
            source.read_exact(&mut read).unwrap();
        });
        assert_eq!(&read, b"late");
        assert_eq!(source.read(&mut read).unwrap(), 0);
        drop(held);
        assert!(Stopped::is(&source.read(&mut read).unwrap_err()));
    }
}
