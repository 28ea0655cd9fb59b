//! Reading a large file front to back as fast as the machine allows.
//!
//! What the page cache has is copied from there, which costs less than asking the disk. What it has
//! not is read around it, by direct I/O in large pieces: that costs the processor next to nothing,
//! and leaves the cache to those who need it. Which of the two it is, a read of one page that must not
//! wait tells (`RWF_NOWAIT`, preadv2(2)).

use ::std::fs::{self, OpenOptions};
use ::std::io::{self, IoSliceMut};
use ::std::ops::Range;
use ::std::os::unix::fs::{FileExt, OpenOptionsExt};

use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};
use rustix::io::{ReadWriteFlags, preadv2};

use super::super::buf::AlignedBuf;
use super::super::{BLOCK_BYTES, Buf};
use super::{StdDir, open_file};

/// A file and a window of its bytes.
#[derive(Debug)]
pub(crate) struct Stream {
    cached: fs::File,
    /// The same file around the page cache, where the file system can do that.
    direct: Option<fs::File>,
    memory: AlignedBuf,
    /// The part of the memory that holds bytes of the file.
    window: Range<usize>,
    /// Where the window begins in the file.
    start: u64,
    /// Pieces to read from the disk before the cache is asked again.
    direct_pieces: u32,
}

impl Stream {
    /// The file `name` of `dir`.
    ///
    /// # Errors
    /// Any error of opening it.
    pub(crate) fn open(dir: &StdDir, name: &str) -> io::Result<Self> {
        let path = dir.path().join(name);
        let cached = open_file(&path, OpenOptions::new().read(true))?;
        let direct = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_DIRECT.bits())
            .open(&path);
        let direct = direct.ok();
        // Asking the cache must not make the kernel read ahead what is read around it.
        let advice = match direct {
            Some(_) => PosixFadviseAdvice::POSIX_FADV_RANDOM,
            None => PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL,
        };
        let _advised = posix_fadvise(&cached, 0, 0, advice);
        Ok(Self {
            cached,
            direct,
            memory: AlignedBuf::any(2 * PIECE_BYTES),
            window: 0..0,
            start: 0,
            direct_pieces: 0,
        })
    }

    /// The length of the file in bytes, as it is now.
    ///
    /// # Errors
    /// Any error of the file system.
    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.cached.metadata()?.len())
    }

    /// The bytes from `position` on: at least `wanted`, fewer only at the end of the file.
    ///
    /// # Errors
    /// Any error of reading.
    pub(crate) fn at(&mut self, position: u64, wanted: usize) -> io::Result<&[u8]> {
        loop {
            let held = position
                .checked_sub(self.start)
                .and_then(|skip| usize::try_from(skip).ok())
                .filter(|skip| *skip <= self.window.len());
            let kept = match held {
                Some(skip) => self.window.start + skip..self.window.end,
                None => {
                    self.start = position - position % BLOCK_BYTES as u64;
                    self.window = 0..0;
                    0..0
                }
            };
            let is_new = held.is_none();
            if !is_new && kept.len() >= wanted {
                return Ok(&self.memory.as_slice()[kept]);
            }
            let is_end = self.fill(position, kept, wanted, is_new)? == 0;
            let skip = usize::try_from(position - self.start).unwrap_or(usize::MAX);
            if is_end || self.window.len() < skip {
                let start = self.window.start.saturating_add(skip);
                return Ok(&self.memory.as_slice()[start.min(self.window.end)..self.window.end]);
            }
        }
    }

    /// Reads the next piece behind the window, of which `kept` stays. Returns how many bytes came.
    fn fill(
        &mut self,
        position: u64,
        kept: Range<usize>,
        wanted: usize,
        is_new: bool,
    ) -> io::Result<usize> {
        let read_at = self.start + self.window.len() as u64;
        // The file ends within a block only at its end: nothing follows.
        if !read_at.is_multiple_of(BLOCK_BYTES as u64) {
            return Ok(0);
        }
        let front = kept.len().next_multiple_of(BLOCK_BYTES);
        let missing = wanted.saturating_sub(kept.len()) + BLOCK_BYTES;
        let piece = PIECE_BYTES.max(missing.next_multiple_of(BLOCK_BYTES));
        let needed = front + piece;
        if needed > self.memory.as_slice().len() {
            let mut memory = AlignedBuf::any(needed);
            memory.as_mut_slice()[front - kept.len()..front]
                .copy_from_slice(&self.memory.as_slice()[kept.clone()]);
            self.memory = memory;
        } else {
            let to = front - kept.len();
            self.memory.as_mut_slice().copy_within(kept.clone(), to);
        }
        if !is_new {
            self.start = position;
        }
        self.window = front - kept.len()..front;
        let read = self.read(front..front + piece, read_at)?;
        self.window.end += read;
        Ok(read)
    }

    /// Reads from the position `at` on into a range of the memory, both multiples of the block.
    fn read(&mut self, range: Range<usize>, at: u64) -> io::Result<usize> {
        let into = &mut self.memory.as_mut_slice()[range];
        let Some(direct) = &self.direct else {
            return read_full(&self.cached, into, at);
        };
        let mut read = 0;
        if self.direct_pieces > 0 {
            self.direct_pieces -= 1;
        } else {
            read = read_cached(&self.cached, into, at);
            if read < into.len() {
                self.direct_pieces = DIRECT_PIECES;
            }
        }
        // A page that is there only in part is read again.
        read -= read % BLOCK_BYTES;
        if read < into.len() {
            read += read_full(direct, &mut into[read..], at + read as u64)?;
        }
        Ok(read)
    }
}

/// As much as the page cache has, without waiting for a disk. Errors are the disk's to tell.
fn read_cached(file: &fs::File, into: &mut [u8], at: u64) -> usize {
    let mut read = 0;
    // One page first: the kernel would begin to read all that is asked for and not there.
    for end in [BLOCK_BYTES.min(into.len()), into.len()] {
        while read < end {
            let slice = &mut into[read..end];
            let mut slices = [IoSliceMut::new(slice)];
            match preadv2(file, &mut slices, at + read as u64, ReadWriteFlags::NOWAIT) {
                Ok(0) | Err(_) => return read,
                Ok(bytes) => read += bytes,
            }
        }
    }
    read
}

/// Reads until the buffer is full or the file ends.
fn read_full(file: &fs::File, into: &mut [u8], at: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < into.len() {
        match file.read_at(&mut into[read..], at + read as u64) {
            Ok(0) => break,
            Ok(bytes) => {
                read += bytes;
                // Direct reads end within a block only at the end of the file.
                if !bytes.is_multiple_of(BLOCK_BYTES) && read < into.len() {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// How much is read at once: large enough for a disk, small enough for a processor's cache.
const PIECE_BYTES: usize = 1 << 20;

/// After a miss so many pieces are read from the disk before the cache is asked again.
const DIRECT_PIECES: u32 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(bytes: &[u8]) -> (tempfile::TempDir, Stream) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), bytes).unwrap();
        let stream = Stream::open(&StdDir::new(folder.path()), "file").unwrap();
        (folder, stream)
    }

    #[test]
    fn any_walk_through_a_file_sees_its_bytes() {
        let mut rng = fastrand::Rng::with_seed(3);
        for bytes in [0, 1, 4095, 4096, 4097, 3 << 20, (5 << 20) + 77] {
            let expected: Vec<u8> = (0..bytes).map(|_| rng.u8(..)).collect();
            let (_folder, mut stream) = stream(&expected);
            for _ in 0..20 {
                let mut at = 0;
                while at < bytes {
                    if rng.u8(..) == 0 {
                        at = rng.usize(..bytes);
                    }
                    let wanted = [1, 61, 5000, 1 << 20, 5 << 20][rng.usize(..5)];
                    let got = stream.at(at as u64, wanted).unwrap();
                    assert!(got.len() >= wanted.min(bytes - at), "{at}, {wanted}");
                    assert!(expected[at..].starts_with(got), "{at}, {wanted}");
                    at += rng.usize(1..=wanted);
                }
                assert!(stream.at(bytes as u64, 10).unwrap().is_empty());
                assert!(stream.at(bytes as u64 + 7, 0).unwrap().is_empty());
                assert!(stream.at(bytes as u64 + 9000, 10).unwrap().is_empty());
            }
        }
    }

    #[test]
    fn what_is_not_cached_is_read_from_the_disk() {
        let expected: Vec<u8> = (0..3_u32 << 20).map(|n| (n % 251) as u8).collect();
        let (folder, _) = stream(&expected);
        let file = fs::File::open(folder.path().join("file")).unwrap();
        file.sync_all().unwrap();
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        let mut stream = Stream::open(&StdDir::new(folder.path()), "file").unwrap();
        for at in (0..expected.len()).step_by(100_000) {
            let got = stream.at(at as u64, 100).unwrap();
            assert!(expected[at..].starts_with(got));
        }
    }
}
