//! Space of removed files, given back a little at a time.
//!
//! Where a file system is mounted with `discard`, the disk is told of all that a file frees before its removal
//! is done, and syncs wait for that: 60 ms where segments of 64 MiB expire were measured. So a large file
//! is kept open while its name goes, and is then cut shorter and shorter by a thread that rests in between.
//! That nobody else has it is made sure of first: who reads it, or sends it, goes on.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use corelog_storage::disk::std::alone::is_alone;
use flume::{Receiver, Sender};
use nix::fcntl::OFlag;

use crate::rt::{Seat, Seats};

/// A large file that is about to lose a name. Dropped, it is closed, and what space it has goes at once
/// if that was its last one.
#[derive(Debug)]
pub(super) struct Leaving {
    file: File,
    _seat: Seat,
}

impl Leaving {
    /// Holds the file at `path`, if it is large. `None` also if too many are held: then its space goes
    /// with its name.
    pub(super) fn hold(path: &Path) -> Option<Self> {
        let found = fs::symlink_metadata(path).ok()?;
        if !found.is_file() || found.len() < LARGE_BYTES {
            return None;
        }
        let seat = HELD.take()?;
        let flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut options = File::options();
        let file = options.write(true).custom_flags(flags.bits()).open(path);
        Some(Self {
            file: file.ok()?,
            _seat: seat,
        })
    }

    /// Holds all large files in the directory at `path` and those below.
    pub(super) fn hold_tree(path: &Path) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(path) else {
            return Vec::new();
        };
        let held = |entry: fs::DirEntry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => Self::hold_tree(&entry.path()),
            Ok(_) => Self::hold(&entry.path()).into_iter().collect(),
            Err(_) => Vec::new(),
        };
        entries.flatten().flat_map(held).collect()
    }

    /// Gives its space back from now on, if it has no name and nobody else has it.
    pub(super) fn give_back(self) {
        // A thread that cannot be started leaves all to whoever drops the file.
        if let Some(queue) = start() {
            let _ = queue.send(self);
        }
    }

    /// Cuts the file to nothing, in steps.
    fn cut(&self, rest: impl Fn() -> Duration) -> io::Result<()> {
        if !self.is_alone_soon()? {
            return Ok(());
        }
        let mut bytes = self.file.metadata()?.len();
        while bytes > 0 {
            // To whole steps: of a page, or of as many as the page cache holds in one piece, a cut zeroes the rest, which a
            // socket may still have to send. Nobody has the file open for that any more.
            bytes = (bytes - 1) / STEP_BYTES * STEP_BYTES;
            self.file.set_len(bytes)?;
            thread::sleep(rest());
        }
        Ok(())
    }

    /// Whether nobody else has the file, or only for a moment: its log closes it about now.
    fn is_alone_soon(&self) -> io::Result<bool> {
        for _ in 0..TRIES {
            if is_alone(&self.file, 0)? {
                return Ok(true);
            }
            thread::sleep(TRY_AFTER);
        }
        is_alone(&self.file, 0)
    }
}

/// For files that are held.
static HELD: Seats = Seats::new(LEAVING_MAX);

/// The thread, started when it is first needed, by a thread that is not pinned.
fn start() -> Option<&'static Sender<Leaving>> {
    static THREAD: OnceLock<Option<Sender<Leaving>>> = OnceLock::new();
    let started = THREAD.get_or_init(|| {
        let (sender, queue) = flume::unbounded();
        let thread = thread::Builder::new().name("reclaim".to_owned());
        thread.spawn(move || run(&queue)).ok().map(|_| sender)
    });
    started.as_ref()
}

fn run(queue: &Receiver<Leaving>) {
    while let Ok(leaving) = queue.recv() {
        let rest = || rest_beside(queue.len());
        if let Err(error) = leaving.cut(rest) {
            // What is left of it goes when it is closed, right here.
            tracing::debug!(%error, "a removed file is not given back in steps");
        }
    }
}

/// How long to rest while so many others wait: the more, the shorter.
fn rest_beside(waiting: usize) -> Duration {
    REST / u32::try_from(waiting + 1).unwrap_or(u32::MAX)
}

/// Smaller files go at once.
const LARGE_BYTES: u64 = 8 << 20;

/// So much is given back at once: what takes a virtual disk a quarter of a millisecond, for as long as it writes nothing.
/// With four times as much, 900 MiB/s written and given back, it was six where that came to it late.
const STEP_BYTES: u64 = 1 << 20;

/// Between two steps, if no other file waits: nine tenths of the time are left to others, and some
/// 350 MiB go each second.
const REST: Duration = Duration::from_micros(2_500);

/// Files that are held at once, each by a descriptor.
pub(crate) const LEAVING_MAX: usize = 16;

/// How often, and after what time, it is asked again whether a file is still somebody's.
const TRIES: u32 = 10;
const TRY_AFTER: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::FileExt;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn filled(path: &Path, mib: usize) -> Vec<u8> {
        let bytes: Vec<u8> = (0..mib << 20)
            .map(|at| (at / 511).to_le_bytes()[0])
            .collect();
        File::create(path).unwrap().write_all(&bytes).unwrap();
        bytes
    }

    /// The lengths that a file has while it is cut.
    fn lengths(leaving: &Leaving) -> Vec<u64> {
        let seen = std::cell::RefCell::new(Vec::new());
        let rest = || {
            seen.borrow_mut()
                .push(leaving.file.metadata().unwrap().len() >> 20);
            Duration::ZERO
        };
        leaving.cut(rest).unwrap();
        seen.into_inner()
    }

    #[test]
    fn a_removed_file_is_cut_in_steps_once_nobody_else_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        filled(&path, 13);
        let leaving = Leaving::hold(&path).unwrap();
        assert_eq!(lengths(&leaving), [0; 0], "it has a name");
        fs::remove_file(&path).unwrap();
        let shorter: Vec<u64> = (0..13).rev().collect();
        assert_eq!(lengths(&leaving), shorter);
    }

    /// The rest of the last page was zeroed while a socket still had to send it.
    #[test]
    fn a_removed_file_is_never_cut_within_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        filled(&path, 9);
        let leaving = Leaving::hold(&path).unwrap();
        leaving.file.set_len((9 << 20) - 5_000).unwrap();
        fs::remove_file(&path).unwrap();
        let rest = || {
            let bytes = leaving.file.metadata().unwrap().len();
            assert_eq!(bytes % STEP_BYTES, 0);
            Duration::ZERO
        };
        leaving.cut(rest).unwrap();
    }

    #[test]
    fn who_has_a_removed_file_open_reads_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let bytes = filled(&path, 9);
        let reader = File::open(&path).unwrap();
        let leaving = Leaving::hold(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(lengths(&leaving), [0; 0]);
        let mut read = vec![0; bytes.len()];
        reader.read_exact_at(&mut read, 0).unwrap();
        assert!(read == bytes);
        drop(reader);
        assert_eq!(lengths(&leaving), [8, 7, 6, 5, 4, 3, 2, 1, 0]);
    }

    #[test]
    fn another_name_of_a_removed_file_keeps_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("store"), dir.path().join("snapshot"));
        let bytes = filled(&path, 9);
        fs::hard_link(&path, &link).unwrap();
        let leaving = Leaving::hold(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(lengths(&leaving), [0; 0]);
        leaving.give_back();
        assert!(fs::read(&link).unwrap() == bytes);
        assert_eq!(fs::metadata(&link).unwrap().nlink(), 1);
    }

    #[test]
    fn small_files_links_and_directories_are_not_held_and_no_more_than_a_few_large_ones() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        filled(&at("large"), 8);
        filled(&at("small"), 7);
        fs::create_dir(at("below")).unwrap();
        fs::hard_link(at("large"), at("below/large")).unwrap();
        std::os::unix::fs::symlink(at("large"), at("symbolic")).unwrap();
        for name in ["small", "below", "symbolic", "missing"] {
            assert!(Leaving::hold(&at(name)).is_none(), "{name}");
        }
        assert_eq!(Leaving::hold_tree(dir.path()).len(), 2);
        assert!(Leaving::hold_tree(&at("missing")).is_empty());
        let held: Vec<_> = (0..2 * LEAVING_MAX)
            .map_while(|_| Leaving::hold(&at("large")))
            .collect();
        assert!(!held.is_empty() && held.len() <= LEAVING_MAX);
    }

    #[test]
    fn the_more_files_wait_the_shorter_are_the_rests() {
        assert_eq!(rest_beside(0), REST);
        assert_eq!(rest_beside(4), REST / 5);
    }
}
