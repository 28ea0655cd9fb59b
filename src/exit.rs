//! How a command ends: the exit codes that scripts rely on, and the one sentence said on the way.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use corelog_protocol::error::{ErrorBody, ErrorCode};

use crate::{admin, advice, output, telemetry};

/// What the exit code of a command means. The numbers are a contract and never change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for is done.
    #[default]
    Done = 0,
    /// It failed, and none of the codes below says it better.
    Failed = 1,
    /// The command line, or the configuration it names, is wrong.
    Usage = 2,
    /// Damage was found, or a difference where there should be none.
    Damage = 3,
    /// The server could not be reached, or did not answer in time.
    Unreachable = 4,
    /// Something was sent and nobody can say whether it was applied.
    Unknown = 5,
    /// Permission is missing, or a confirmation.
    Denied = 6,
}

impl Exit {
    /// How a look ends that may have found damage.
    pub(crate) const fn damage_if(is_damaged: bool) -> Self {
        match is_damaged {
            true => Self::Damage,
            false => Self::Done,
        }
    }

    /// How several things end that ended like these.
    pub(crate) fn of_all(exits: impl IntoIterator<Item = Self>) -> Self {
        exits.into_iter().fold(Self::Done, Self::graver)
    }

    /// Which of two says more: damage, then that something is not known, then what was met first.
    pub(crate) fn graver(self, other: Self) -> Self {
        let is_there = |exit| [self, other].contains(&exit);
        match self {
            _ if is_there(Self::Damage) => Self::Damage,
            _ if is_there(Self::Unknown) => Self::Unknown,
            Self::Done => other,
            first => first,
        }
    }
}

/// An error that knows its exit code. It may stand anywhere in a chain of causes.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Stop {
    exit: Exit,
    message: String,
}

/// That the system refuses the server a thread.
pub(crate) fn no_thread(name: &'static str, source: io::Error) -> anyhow::Error {
    corelog_node::StartError::Thread { name, source }.into()
}

/// An error that ends the command with `exit`; `message` says what was wrong, where, and what to do
/// next.
pub(crate) fn stop(exit: Exit, message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Stop {
        exit,
        message: message.into(),
    })
}

/// Says why a command failed on stderr, unless it ended well or nobody listens any more.
pub(crate) fn after(outcome: anyhow::Result<Exit>) -> ExitCode {
    ExitCode::from(told(outcome) as u8)
}

/// Says likewise how each of several things ended, and tells the code of them all.
pub(crate) fn after_all(outcomes: impl IntoIterator<Item = anyhow::Result<Exit>>) -> Exit {
    Exit::of_all(outcomes.into_iter().map(told))
}

/// How a look ends that came to `found`: that counts also where it could not be `printed`.
pub(crate) fn of_found(found: Exit, printed: anyhow::Result<()>) -> Exit {
    after_all([Ok(found), printed.map(|()| Exit::Done)])
}

fn told(outcome: anyhow::Result<Exit>) -> Exit {
    match outcome {
        Ok(exit) => exit,
        Err(error) if is_closed_pipe(&error) => Exit::Done,
        Err(error) => {
            tell(&error);
            of(&error)
        }
    }
}

/// Says an error on stderr, and what to do next.
pub(crate) fn tell(error: &anyhow::Error) {
    let sentence = sentence(error);
    let next = advice::after(error, &sentence);
    let next = next.map(|next| format!("; {next}")).unwrap_or_default();
    // Servers, and files, have their words in it.
    let said = output::printable(&format!("{sentence}{next}"));
    telemetry::say_fatal("corelog: ", &said);
}

/// Prints what clap has to say: help and version to stdout (0), a wrong usage to stderr (2).
pub(crate) fn after_usage(error: &clap::Error) -> ExitCode {
    // A reader that left does not make help a failure.
    let _ = error.print();
    let exit = if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Done
    };
    ExitCode::from(exit as u8)
}

/// Writes one line for people to stderr, in which what servers tell moves no cursor; a closed stderr is no reason to fail.
pub(crate) fn say(line: &str) {
    telemetry::say(&output::printable(line));
}

/// The exit code of `error`: the first cause in its chain that has an opinion decides.
pub(crate) fn of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(of_cause).unwrap_or(Exit::Failed)
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(stop) = cause.downcast_ref::<Stop>() {
        return Some(stop.exit);
    }
    // Of a node's admin address.
    if cause.is::<admin::Unready>() || cause.is::<hyper::Error>() {
        return Some(Exit::Unreachable);
    }
    if let Some(error) = cause.downcast_ref::<corelog_client::Error>() {
        return of_client(error);
    }
    // Its source is shared, and so no `Error` that could be found further down.
    if let Some(error) = cause.downcast_ref::<corelog_client::ProduceError>() {
        return of_produce(error);
    }
    if let Some(error) = cause.downcast_ref::<corelog_node::StartError>() {
        return of_start(error);
    }
    if let Some(error) = cause.downcast_ref::<corelog_storage::Error>() {
        return of_storage(error);
    }
    match cause.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::PermissionDenied => Some(Exit::Denied),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut => Some(Exit::Unreachable),
        _ => None,
    }
}

/// If a client's error says that something is damaged.
pub(crate) fn is_damage(error: &corelog_client::Error) -> bool {
    of_client(error) == Some(Exit::Damage)
}

/// The exit code of a record that was not acknowledged, if it is not just a failure.
pub(crate) fn of_produce(error: &corelog_client::ProduceError) -> Option<Exit> {
    match error.outcome {
        corelog_client::Outcome::Unknown => Some(Exit::Unknown),
        corelog_client::Outcome::NotApplied => of_client(&error.error),
    }
}

fn of_client(error: &corelog_client::Error) -> Option<Exit> {
    use corelog_client::Error;
    match error {
        Error::Damaged { .. } | Error::Diverged { .. } => return Some(Exit::Damage),
        error if error.is_unreachable() => return Some(Exit::Unreachable),
        // As what a server refuses for that.
        Error::Version { .. } => return Some(Exit::Unreachable),
        _ => {}
    }
    match error.refusal()?.known_code()? {
        // It was asked again for as long as --timeout says.
        ErrorCode::Busy | ErrorCode::Stopping => Some(Exit::Unreachable),
        code => of_code(code),
    }
}

/// The exit code of what a server tells of something that it did, or did not come to do: nobody asked again.
pub(crate) fn of_body(body: &ErrorBody) -> Exit {
    let code = body.known_code().and_then(of_code);
    code.unwrap_or(Exit::Failed)
}

/// The exit code of what a server refuses with this code, if it is not just a failure.
const fn of_code(code: ErrorCode) -> Option<Exit> {
    match code {
        ErrorCode::Damaged | ErrorCode::Diverged | ErrorCode::BadSource => Some(Exit::Damage),
        // What speaks no version of ours is as good as nobody.
        ErrorCode::TimedOut | ErrorCode::SourceUnavailable | ErrorCode::UnsupportedVersion => {
            Some(Exit::Unreachable)
        }
        ErrorCode::OutcomeUnknown => Some(Exit::Unknown),
        ErrorCode::LossPossible => Some(Exit::Denied),
        _ => None,
    }
}

/// Bytes that are not what they were are damage; that a disk, or the system, refuses something is not.
fn of_storage(error: &corelog_storage::Error) -> Option<Exit> {
    use corelog_storage::Error;
    match error {
        Error::Format { .. }
        | Error::NoManifest { .. }
        | Error::Gone { .. }
        | Error::Foreign { .. }
        | Error::ReadOnly { .. }
        | Error::NotSealed { .. }
        | Error::Unlike { .. }
        | Error::DamagedStore { .. }
        | Error::Damaged { .. } => Some(Exit::Damage),
        _ => None,
    }
}

/// What was asked for and cannot be is wrong usage; what the machine does not permit is denied, here
/// or further down the causes.
fn of_start(error: &corelog_node::StartError) -> Option<Exit> {
    use corelog_node::sys::Error;
    use corelog_node::{CatalogError, StartError};
    match error {
        StartError::System {
            source:
                Error::Kernel { .. }
                | Error::RingsMissing
                | Error::RingsDisabled { .. }
                | Error::RingsForbidden { .. }
                | Error::Thread { .. }
                | Error::Memlock { .. }
                | Error::FileSystem { .. }
                | Error::Device { .. }
                | Error::Copied { .. },
        }
        | StartError::Thread { .. }
        | StartError::Descriptors { .. } => Some(Exit::Denied),
        StartError::NodeFile { .. }
        | StartError::NoTopics { .. }
        | StartError::Catalog {
            source: CatalogError::Format { .. } | CatalogError::Misplaced { .. },
        } => Some(Exit::Damage),
        StartError::Cores { .. }
        | StartError::NotLoopback { .. }
        | StartError::NothingToAdvertise { .. }
        | StartError::NoRoomForPorts { .. }
        | StartError::NoRoomToAdvertise { .. }
        | StartError::Memory { .. }
        | StartError::Snapshot { .. } => Some(Exit::Usage),
        _ => None,
    }
}

/// True when the error is only that the reader of our stdout has left, as `| head` does.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<output::ClosedPipe>())
}

/// The chain of causes as one sentence, without repeating a cause its parent already quotes.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            let _ = write!(text, ": {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn the_exit_code_is_found_below_added_context() {
        let error = stop(Exit::Damage, "batch 7 is damaged");
        let error = Err::<(), _>(error)
            .context("reading the store")
            .unwrap_err();
        assert_eq!(of(&error), Exit::Damage);
        assert_eq!(sentence(&error), "reading the store: batch 7 is damaged");
    }

    /// A clone of which one partition had diverged and one had an unknown outcome ended with 5.
    #[test]
    fn of_several_ends_damage_wins_then_what_is_not_known_then_the_first() {
        use Exit::{Damage, Denied, Done, Failed, Unknown, Unreachable};
        let all = |exits: &[Exit]| Exit::of_all(exits.iter().copied());
        assert_eq!(all(&[]), Done);
        assert_eq!(all(&[Done, Denied, Failed]), Denied);
        assert_eq!(all(&[Unreachable, Unknown, Denied]), Unknown);
        assert_eq!(all(&[Unknown, Damage, Unreachable]), Damage);
    }

    /// The first alone gave the code: damage behind something else was not seen by a script.
    #[test]
    fn of_several_errors_the_gravest_gives_the_code_wherever_it_stands() {
        let ends = |codes: [Exit; 2]| after_all(codes.map(|code| Err(stop(code, "it failed"))));
        assert_eq!(ends([Exit::Failed, Exit::Damage]), Exit::Damage);
        assert_eq!(ends([Exit::Damage, Exit::Unreachable]), Exit::Damage);
        let left = anyhow::Error::new(output::ClosedPipe);
        let all = [Err(stop(Exit::Damage, "it is damaged")), Err(left)];
        assert_eq!(after_all(all), Exit::Damage);
    }

    #[test]
    fn an_error_without_an_opinion_is_a_failure() {
        assert_eq!(of(&anyhow::anyhow!("who knows")), Exit::Failed);
    }

    /// The lack of a descriptor, in an export, ended with the code of damage.
    #[test]
    fn only_bytes_that_are_not_what_they_were_are_damage() {
        use corelog_storage::Error;
        let (dir, file) = (|| "d".to_owned(), || "f".to_owned());
        let source = |kind| io::Error::from(kind);
        let missing = Error::OutOfFiles {
            action: "open",
            dir: dir(),
            file: file(),
            source: source(io::ErrorKind::Other),
        };
        assert_eq!(of(&anyhow::Error::new(missing)), Exit::Failed);
        let forbidden = Error::Io {
            action: "open",
            dir: dir(),
            file: file(),
            source: source(io::ErrorKind::PermissionDenied),
        };
        assert_eq!(of(&anyhow::Error::new(forbidden)), Exit::Denied);
        let unlike = Error::NoManifest {
            dir: dir(),
            file: file(),
        };
        assert_eq!(of(&anyhow::Error::new(unlike)), Exit::Damage);
    }

    /// A client that met another version ended with 1, and a server that it asked to meet one with 4.
    #[test]
    fn who_speaks_another_version_is_unreachable_whoever_meets_it() {
        let met = corelog_client::Error::Version {
            address: "log1:7400".into(),
            found: 2,
            supported: 1,
        };
        let told = ErrorBody::new(ErrorCode::UnsupportedVersion, "log2:7400: it speaks 2");
        assert_eq!(of(&anyhow::Error::new(met)), Exit::Unreachable);
        assert_eq!(of_body(&told), Exit::Unreachable);
    }

    /// A script that asks again where nothing was done in time did not where that was said by the server itself.
    #[test]
    fn a_server_that_did_nothing_in_time_ends_as_one_that_did_not_answer() {
        for code in [ErrorCode::Busy, ErrorCode::Stopping, ErrorCode::TimedOut] {
            let body = Box::new(ErrorBody::new(code, "not now"));
            let refused = anyhow::Error::new(corelog_client::Error::Refused { body });
            assert_eq!(of(&refused), Exit::Unreachable, "{code}");
        }
    }

    /// A restore that failed since the server was busy with something ended as if it had not been reached.
    #[test]
    fn what_a_server_tells_that_it_did_not_do_was_not_asked_again() {
        for code in [ErrorCode::Busy, ErrorCode::Stopping] {
            assert_eq!(of_body(&ErrorBody::new(code, "not now")), Exit::Failed);
        }
    }

    #[test]
    fn a_refused_connection_is_unreachable() {
        let error = anyhow::Error::new(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(of(&error), Exit::Unreachable);
    }
}
