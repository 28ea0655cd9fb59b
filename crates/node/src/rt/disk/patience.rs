//! Waiting for a descriptor when the process, or the system, has none left.
//!
//! A node shares its descriptors out so that this does not happen by itself; what else runs on the
//! machine may use them up all the same.

use std::future::Future;
use std::io;
use std::time::Duration;

use corelog_storage::disk::is_out_of_files;

use crate::rt;

/// Does `work`, and does it again as long as it finds no descriptor, for a while.
pub(super) async fn with_files<T, F: Future<Output = io::Result<T>>>(
    mut work: impl FnMut() -> F,
) -> io::Result<T> {
    for _ in 0..TRIES {
        match work().await {
            Err(error) if is_out_of_files(&error) => rt::sleep(PAUSE).await,
            other => return other,
        }
    }
    work().await
}

/// Together two seconds: files are closed in microseconds, if any are idle.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use nix::errno::Errno;

    use super::*;
    use crate::rt::{CoreConfig, spawn_core};

    #[test]
    fn a_file_that_no_descriptor_is_left_for_is_opened_when_there_is_one() {
        let core = spawn_core(&CoreConfig::new(0, "patient"), || async {
            let tries = Cell::new(0);
            let opened = with_files(|| {
                tries.set(tries.get() + 1);
                let errno = [Errno::EMFILE, Errno::ENFILE][tries.get() % 2];
                let is_free = tries.get() == 4;
                async move { if is_free { Ok(()) } else { Err(errno.into()) } }
            });
            opened.await.unwrap();
            let refused: io::Result<()> = with_files(|| async { Err(Errno::EACCES.into()) }).await;
            (tries.get(), refused.unwrap_err().raw_os_error())
        });
        let (tries, refused) = core.unwrap().join().unwrap();
        assert_eq!((tries, refused), (4, Some(Errno::EACCES as i32)));
    }
}
