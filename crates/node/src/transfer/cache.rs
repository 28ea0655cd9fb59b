//! What a sender leaves in the page cache: what it found there.

use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::OwnedFd;

use crate::sys::pages;

/// A file that is sent from front to back, and which of its bytes are in the page cache only for that.
#[derive(Debug)]
pub(super) struct Footprint {
    file: OwnedFd,
    /// Where the bytes that are sent end.
    end: u64,
    /// All below was asked for.
    ahead: u64,
    /// What was not there before, oldest first.
    ours: VecDeque<Range<u64>>,
}

impl Footprint {
    /// Of a file of which `bytes` are to be sent.
    pub(super) fn new(file: OwnedFd, bytes: &Range<u64>) -> Self {
        // What comes next is asked for here. Whoever does not follow this only reads more.
        let _ = pages::expect_no_order(&file);
        Self {
            file,
            end: bytes.end,
            ahead: bytes.start,
            ours: VecDeque::new(),
        }
    }

    pub(super) fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// All below `position` is sent: has the disk read what comes next, and gives back what lies far
    /// enough behind that no socket refers to it any more.
    pub(super) fn advance(&mut self, position: u64) {
        let until = self.end.min(position.saturating_add(AHEAD_BYTES));
        while self.ahead < until {
            let window_end = self.ahead - self.ahead % WINDOW_BYTES + WINDOW_BYTES;
            let window = self.ahead..window_end.min(self.end);
            self.ahead = window.end;
            // Where the kernel does not tell, nothing is given back.
            let is_there = |position| pages::is_cached(&self.file, position).unwrap_or(true);
            if !is_there(window.start) && !is_there(window.end - 1) {
                // Whether or not the kernel follows, what is not there is read when it is sent.
                let _ = pages::will_need(&self.file, &window);
                self.ours.push_back(window);
            }
        }
        let is_sent = |window: &mut Range<u64>| window.end + LAG_BYTES <= position;
        while let Some(window) = self.ours.pop_front_if(is_sent) {
            let _ = pages::give_back(&self.file, &window);
        }
    }
}

impl Drop for Footprint {
    fn drop(&mut self) {
        for window in &self.ours {
            // Advice as well: who does not take it only keeps more.
            let _ = pages::give_back(&self.file, window);
        }
    }
}

/// What is asked for, and given back, at once; whole pages of any size.
const WINDOW_BYTES: u64 = 4 << 20;
/// How far is read ahead of what is sent: enough for a disk with a queue.
const AHEAD_BYTES: u64 = 8 << 20;
/// How much may still be in the buffers of sockets: more than any is allowed by default.
const LAG_BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use tempfile::NamedTempFile;

    use super::*;

    const FILE_BYTES: u64 = 40 << 20;
    const WINDOW: usize = 4 << 20;

    fn cold_file() -> NamedTempFile {
        let file = NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let window = vec![1; WINDOW];
        for position in (0..FILE_BYTES).step_by(WINDOW) {
            file.as_file().write_all_at(&window, position).unwrap();
        }
        file.as_file().sync_all().unwrap();
        pages::give_back(file.as_file(), &(0..FILE_BYTES)).unwrap();
        file
    }

    /// The windows of which a page in the middle is cached.
    fn cached(file: &NamedTempFile) -> Vec<u64> {
        let is_cached = |window: &u64| pages::is_cached(file, window + WINDOW_BYTES / 2).unwrap();
        (0..FILE_BYTES).step_by(WINDOW).filter(is_cached).collect()
    }

    /// Reads a part of it as a sender would.
    fn send(file: &NamedTempFile, bytes: Range<u64>) {
        let file = OwnedFd::from(file.reopen().unwrap());
        let mut footprint = Footprint::new(file, &bytes);
        let mut piece = vec![0; 1 << 20];
        for position in bytes.step_by(piece.len()) {
            footprint.advance(position);
            let at = i64::try_from(position).unwrap();
            nix::sys::uio::pread(footprint.file(), &mut piece, at).unwrap();
        }
    }

    #[test]
    fn what_was_not_cached_before_is_not_cached_afterwards() {
        let file = cold_file();
        assert_eq!(cached(&file), []);
        send(&file, 100..FILE_BYTES - 5000);
        assert_eq!(cached(&file), []);
    }

    #[test]
    fn what_is_far_behind_is_given_back_on_the_way() {
        let file = cold_file();
        let bytes = 0..FILE_BYTES;
        let mut footprint = Footprint::new(OwnedFd::from(file.reopen().unwrap()), &bytes);
        footprint.advance(0);
        let mut all = vec![0; WINDOW];
        nix::sys::uio::pread(footprint.file(), &mut all, 0).unwrap();
        footprint.advance(LAG_BYTES);
        assert!(cached(&file).contains(&0), "sockets may refer to it");
        footprint.advance(LAG_BYTES + WINDOW_BYTES);
        assert!(!cached(&file).contains(&0));
    }

    #[test]
    fn what_was_cached_before_is_cached_afterwards() {
        let file = cold_file();
        let mut hot = vec![0; WINDOW];
        let reader = file.reopen().unwrap();
        pages::expect_no_order(&reader).unwrap();
        reader.read_exact_at(&mut hot, 2 * WINDOW_BYTES).unwrap();
        send(&file, 0..FILE_BYTES);
        assert_eq!(cached(&file), [2 * WINDOW_BYTES]);
    }
}
