//! Read-only maps of files.

use ::std::io;
use ::std::ops::Deref;
use ::std::os::fd::{AsRawFd, BorrowedFd};
use ::std::rc::Rc;

use nix::sys::stat::fstat;

/// No longer file is mapped: it is none that was sealed, and all of it would come into memory.
pub const BYTES_MAX: u64 = 64 << 20;

/// The bytes of a whole file: mapped, or owned where there is nothing to map. It may be made on
/// one thread and used on another; [`Map`] shares it within a thread.
#[derive(Debug)]
pub struct Pages(Inner);

#[derive(Debug)]
enum Inner {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl Pages {
    /// Maps the whole of `file` read-only and makes every page resident. What cannot be read is an error of this call,
    /// not a signal to whoever looks at it; a page that the kernel lets go later and cannot read again still is one.
    ///
    /// Of the caller's files, only sealed ones are mapped: they are written, synced and never
    /// changed again, under a data directory that one process holds by an exclusive lock.
    ///
    /// # Errors
    /// `InvalidData` for more than [`BYTES_MAX`]; any error of `fstat`, `mmap` and reading.
    #[expect(unsafe_code, reason = "memory maps cannot be had without it")]
    pub fn of_file(file: BorrowedFd<'_>) -> io::Result<Self> {
        let bytes = u64::try_from(fstat(file)?.st_size).map_err(io::Error::other)?;
        if BYTES_MAX < bytes {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let options = memmap2::MmapOptions::new();
        // SAFETY: the file behind the descriptor is sealed: nobody writes or cuts it while the map
        // lives (a cut would turn reads into SIGBUS, a write would change a shared slice). The
        // descriptor is open for the duration of the call, which is all that `mmap` needs.
        let map = unsafe { options.map(file.as_raw_fd()) }?;
        populate(&map)?;
        Ok(Self(Inner::Mapped(map)))
    }

    /// Bytes in memory that stand in for a map.
    #[must_use]
    pub fn owned(bytes: Vec<u8>) -> Self {
        Self(Inner::Owned(bytes))
    }

    /// These, if `is_right` says so.
    ///
    /// # Errors
    /// `InvalidData` otherwise.
    pub fn if_right(self, is_right: impl Check) -> io::Result<Self> {
        match is_right(&self) {
            true => Ok(self),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Whether the bytes of a file are what they should be; asked on any thread.
pub trait Check: Fn(&[u8]) -> bool + Clone + Send + 'static {}

impl<F: Fn(&[u8]) -> bool + Clone + Send + 'static> Check for F {}

/// Reads every page of `map`, as `MAP_POPULATE` does, which however keeps errors to itself.
fn populate(map: &memmap2::Mmap) -> io::Result<()> {
    match map.advise(memmap2::Advice::PopulateRead) {
        // Linux before 5.14 has no such advice: pages come when they are looked at.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        populated => populated,
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Inner::Mapped(map) => map,
            Inner::Owned(bytes) => bytes,
        }
    }
}

/// [`Pages`] shared within one thread; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Map(Rc<Pages>);

impl From<Pages> for Map {
    fn from(pages: Pages) -> Self {
        Self(Rc::new(pages))
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use ::std::io::Write;
    use ::std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_map_shows_the_whole_file() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 5000]).unwrap();
        let map = Map::from(Pages::of_file(file.as_fd()).unwrap());
        assert_eq!(&map.clone()[..], &[7; 5000]);
    }

    /// It came into memory whole before anybody asked what it is.
    #[test]
    fn a_file_that_is_too_long_is_not_mapped() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(BYTES_MAX + 1).unwrap();
        let refused = Pages::of_file(file.as_fd()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    #[expect(unsafe_code, reason = "a map beyond the end of its file")]
    fn pages_that_cannot_be_read_are_an_error_and_no_signal() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 4096]).unwrap();
        let mut options = memmap2::MmapOptions::new();
        // SAFETY: nobody changes the file, and what lies behind its end is not looked at.
        let beyond = unsafe { options.len(2 * 4096).map(file.as_raw_fd()) }.unwrap();
        assert!(populate(&beyond).is_err());
    }

    #[test]
    fn an_empty_file_maps_to_no_bytes() {
        let file = tempfile::tempfile().unwrap();
        assert!(Pages::of_file(file.as_fd()).unwrap().is_empty());
    }
}
