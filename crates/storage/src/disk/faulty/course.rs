//! What a fault makes of an operation that it is not special to.

use ::std::io;

use super::{Fault, Operation};

/// What becomes of an operation.
pub(super) enum Course {
    Run,
    RunAndFail(io::Error),
    Fail(io::Error),
    Skip,
}

/// What a fault makes of an operation that it is not special to.
pub(super) fn course(fault: Option<Fault>, operation: Operation) -> Course {
    match fault {
        None | Some(Fault::Delayed { .. } | Fault::Misdirected { .. } | Fault::Flip { .. }) => {
            Course::Run
        }
        Some(Fault::Fail(kind)) => Course::Fail(kind.into()),
        Some(Fault::FailAfter(kind)) => Course::RunAndFail(kind.into()),
        Some(
            Fault::Short { .. }
            | Fault::Torn { .. }
            | Fault::TornBlocks { .. }
            | Fault::FailSync(_),
        ) => Course::Fail(nix::Error::EIO.into()),
        Some(Fault::OutOfFiles) => Course::Fail(nix::Error::EMFILE.into()),
        Some(Fault::Lost) => Course::Skip,
        Some(Fault::Halt(halt)) => halt.error(operation).map_or(Course::Run, Course::Fail),
    }
}

/// An operation that returns something.
pub(super) async fn run<T>(
    course: Course,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    match course {
        Course::Run => work.await,
        Course::RunAndFail(error) => {
            work.await?;
            Err(error)
        }
        Course::Fail(error) => Err(error),
        Course::Skip => Err(io::Error::other("the answer was lost")),
    }
}

/// An operation that only changes something.
pub(super) async fn change(
    course: Course,
    work: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    match course {
        Course::Skip => Ok(()),
        other => run(other, work).await,
    }
}

/// `bytes` with one bit turned over.
pub(super) fn flipped(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut random = fastrand::Rng::with_seed(seed);
    if let Some(index) = bytes.len().checked_sub(1) {
        bytes[random.usize(0..=index)] ^= 1 << random.u32(0..8);
    }
    bytes
}
