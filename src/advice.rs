//! What to do next where something is refused and the refusal does not say it itself.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io;
use std::path::Path;

use corelog_client::{Error, Fault, ProduceError};
use corelog_protocol::error::ErrorCode;

use crate::admin::Unready;

/// What to do next after an error that is told as `sentence`; nothing where that says it.
pub(crate) fn after(error: &anyhow::Error, sentence: &str) -> Option<Cow<'static, str>> {
    (!says_it(sentence))
        .then(|| error.chain().find_map(of_cause))
        .flatten()
}

/// Whether a sentence names a command or an option itself. A name or a path in it may have dashes, too.
fn says_it(sentence: &str) -> bool {
    let is_option = |word: &str| {
        let option = word.trim_start_matches(['`', '(']).strip_prefix("--");
        option.is_some_and(|name| name.starts_with(|first: char| first.is_ascii_lowercase()))
    };
    sentence.contains("`corelog ") || sentence.split_whitespace().any(is_option)
}

/// That a path of a node cannot be looked at. A partition has a directory from its first record on.
pub(crate) fn cannot_look_at(path: &Path) -> String {
    let name = path.file_name().and_then(OsStr::to_str);
    let is_number = name.is_some_and(|name| name.parse::<u32>().is_ok());
    let is_of_topic = path
        .parent()
        .is_some_and(|topic| topic.join("topic").is_file());
    let why = match is_number && is_of_topic && !path.exists() {
        true => ", and a partition without records has no directory",
        false => "",
    };
    format!("cannot look at {}{why}", path.display())
}

/// What to do next after a client's error.
pub(crate) fn of_client(error: &Error) -> Option<Cow<'static, str>> {
    if error
        .refusal()
        .is_some_and(|refusal| says_it(&refusal.message))
    {
        return None;
    }
    if let Some(owner) = owner_named_by(error) {
        return Some(format!("name the server that owns it: --server {owner}").into());
    }
    let next = match error {
        Error::NoSuchPartition { .. } => of_code(ErrorCode::UnknownPartition),
        Error::Uncounted { .. } => {
            "start it, name the others alone with --server if it is gone for good, or name a --partition"
        }
        Error::OutOfRange { .. } => of_code(ErrorCode::OutOfRange),
        Error::RecordTooLarge { .. } => of_code(ErrorCode::RecordTooLarge),
        Error::Damaged {
            topic,
            partition,
            next: Some(next),
            ..
        } => {
            let on = format!(
                "`corelog consume {topic} --partition {partition} --from {next}` reads on behind it"
            );
            // Of what was produced so there is no better copy.
            return Some(match error.refusal() {
                Some(_) => format!("{}, {on}", of_code(ErrorCode::Damaged)).into(),
                None => on.into(),
            });
        }
        Error::Damaged { .. } => of_code(ErrorCode::Damaged),
        Error::Diverged { .. } => {
            "`corelog consume --partition N --from OFFSET` reads on from there"
        }
        Error::Version { .. } => OF_VERSIONS,
        Error::TimedOut { .. } => "look at the server's log, or wait longer with --timeout",
        Error::Connect { source, .. } | Error::Lost { source, .. } => of_fault(source),
        Error::LookUp { source } | Error::Untold { source, .. } => return of_client(source),
        Error::GivenUp { source, .. } => return of_client(source),
        Error::BehindUnknown => {
            "see with `corelog consume` if that one is there, and send these again"
        }
        error if is_no_topic(error) => "choose another name, or move what is there elsewhere",
        error if has_no_offsets(error) => {
            "choose another partition, or a new topic: it takes nothing more, and gives all that it has"
        }
        error if shares_nothing(error) => "with `corelog topic delete` and `corelog clone`",
        error if is_of_other_port(error) => OF_OTHER_PORT,
        error => of_code(error.refusal()?.known_code()?),
    };
    Some(next.into())
}

/// If what has a name already is no topic, which could be taken as it is.
fn is_no_topic(error: &Error) -> bool {
    let refusal = error.refusal();
    refusal.is_some_and(|body| body.is(ErrorCode::TopicExists) && body.detail.topic_id.is_none())
}

/// If a partition is read-only for no damage, which begins somewhere.
fn has_no_offsets(error: &Error) -> bool {
    let refusal = error.refusal();
    refusal.is_some_and(|body| body.is(ErrorCode::ReadOnly) && body.detail.offset.is_none())
}

/// If a rejoin was refused since nothing is left that both logs have: there, no other one helps.
fn shares_nothing(error: &Error) -> bool {
    let refusal = error.refusal();
    refusal.is_some_and(|body| body.is(ErrorCode::Diverged) && body.detail.log_start.is_some())
}

/// If a server says that another one, which it was to ask, answers in no frames: a node of another version tells which it speaks.
fn is_of_other_port(error: &Error) -> bool {
    let refusal = error.refusal();
    refusal.is_some_and(|body| {
        body.is(ErrorCode::UnsupportedVersion) && body.detail.versions.is_none()
    })
}

fn of_fault(fault: &Fault) -> &'static str {
    let refusal = match fault {
        Fault::Refused { body } => body.known_code(),
        Fault::Frame { .. } => return OF_OTHER_PORT,
        Fault::Resting { source, .. } => return of_fault(source),
        _ => None,
    };
    refusal.map_or(
        "see if it still runs, or name another with --server",
        of_code,
    )
}

/// The address of who does what was refused, if the refusal has it.
fn owner_named_by(error: &Error) -> Option<&str> {
    let refusal = error.refusal()?;
    let address = refusal.detail.address.as_deref();
    address.filter(|_| refusal.is(ErrorCode::NotOwner))
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Cow<'static, str>> {
    if let Some(error) = cause.downcast_ref::<Error>() {
        return of_client(error);
    }
    // Its source is shared, and so no `Error` that could be found further down.
    if let Some(error) = cause.downcast_ref::<ProduceError>() {
        return of_client(&error.error);
    }
    if cause.is::<Unready>() {
        return Some("ask again".into());
    }
    let next = match cause.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => {
            "check the path (the command's --help says what it takes)"
        }
        io::ErrorKind::AlreadyExists => {
            "something else is there; name another place (the command's --help says how)"
        }
        io::ErrorKind::PermissionDenied => "run it as the user who owns that, with sudo -u",
        io::ErrorKind::ReadOnlyFilesystem => {
            "name a place that can be written (the command's --help says how), or mount that for writing"
        }
        io::ErrorKind::StorageFull => "free some space; `df -h` says where there is some",
        _ => return None,
    };
    Some(next.into())
}

/// What to do next where something answers, such as an HTTP server, and not in frames.
const OF_OTHER_PORT: &str = "what answers there is no server for clients: name what `corelog serve` has as --listen, not as --admin";

/// What to do next where two do not speak the same.
const OF_VERSIONS: &str = "upgrade the older of the two: `corelog --version` says which one a command is, `version` of /v1/node which a server is";

/// What to do next where a server found damage.
pub(crate) const OF_DAMAGE: &str =
    "`corelog topic describe` shows what is damaged, `corelog repair` fetches it from a copy";

pub(crate) const fn of_code(code: ErrorCode) -> &'static str {
    use ErrorCode as E;
    match code {
        E::UnknownTopic => {
            "`corelog topic list` shows those that there are, `corelog topic create` makes one"
        }
        E::TopicExists => {
            "choose another name, or take it as it is with `corelog topic create --if-not-exists`"
        }
        E::TopicChanged => "look at it with `corelog topic describe`, then ask again",
        E::UnknownPartition => "`corelog topic describe` shows the topic's partitions",
        E::InvalidPartitions => "choose a number between these with --partitions",
        E::InvalidTopicName => "`corelog topic create --help` says what can be asked for",
        E::InvalidSettings => {
            "`corelog topic create --help` and `corelog topic alter --help` say what can be asked for"
        }
        E::TooManyPartitions => "delete topics, or start the server with more --partitions-max",
        E::TooManyConnections => {
            "close some, or start the server with more --connections-max or open files (`ulimit -n`)"
        }
        E::UnknownSnapshot => "`corelog snapshot list` shows those that there are",
        E::SnapshotExists | E::TooManySnapshots => {
            "choose another name, or `corelog snapshot delete` one"
        }
        E::UnknownRestore => "`corelog topic list` shows if it came to its end; else restore again",
        E::NotOwner => "`corelog topic describe` shows who owns it; name that server with --server",
        E::NotFollower => {
            "`corelog topic describe` at each server shows who owns it and who follows; name one that follows with --server, or make \
             one with `corelog clone --follow`"
        }
        E::ReadOnly => {
            "mend the disk, then `corelog partition reopen`; if it does not give the end any more, have a copy take over: \
             `corelog promote`"
        }
        E::OutOfRange | E::PastHighWatermark => {
            "`corelog offsets` shows where each log begins and ends"
        }
        E::Fenced => "mend the disk, then `corelog partition reopen`",
        E::Damaged | E::BadSource => OF_DAMAGE,
        E::StorageFull => {
            "give the server space: `corelog topic alter` with a lower --retention-bytes, or \
             `corelog topic delete`; appends go on by themselves then, ask again for all else"
        }
        E::Diverged => {
            "`corelog compare` shows where, `corelog rejoin` gives up what only this one has"
        }
        E::Gone | E::NotEqual => "`corelog topic describe` shows how far it is; ask again",
        E::SourceUnavailable => {
            "see if that server runs, and is named by its --listen and not its --admin; then ask again"
        }
        E::LossPossible => "say --accept-loss if it may be",
        E::UnknownFollower => "`corelog topic describe` shows its followers",
        E::RecordTooLarge | E::BatchTooLarge => {
            "split it; `corelog produce --help` says how input becomes records"
        }
        E::UnsupportedVersion | E::UnknownKind | E::NotSupported => OF_VERSIONS,
        E::InvalidRequest => "the command's --help says what can be asked for",
        E::Busy | E::Stopping | E::Idle => "ask again, or wait longer with --timeout",
        _ => "the server's log says more; `corelog debug bundle` collects what a maintainer needs",
    }
}

#[cfg(test)]
mod tests {
    use corelog_protocol::error::{Detail, ErrorBody};
    use corelog_record::{Offset, PartitionId};

    use super::*;

    #[test]
    fn who_is_refused_by_a_node_that_does_not_own_it_is_told_which_one_does() {
        let detail = Detail {
            address: Some("log1:7400".to_owned()),
            ..Detail::default()
        };
        let body = ErrorBody::new(ErrorCode::NotOwner, "it follows").with_detail(detail);
        let error = anyhow::Error::new(Error::Refused {
            body: Box::new(body),
        });
        let next = after(&error, "it follows").unwrap();
        assert!(next.ends_with("--server log1:7400"), "{next}");
    }

    /// Who had asked with `--if-not-exists` was told to ask with it.
    #[test]
    fn what_has_the_name_of_a_topic_and_is_none_is_not_taken_as_it_is() {
        let said = |topic_id| {
            let detail = Detail {
                topic_id,
                ..Detail::default()
            };
            let body = ErrorBody::new(ErrorCode::TopicExists, "in its place").with_detail(detail);
            let body = Box::new(body);
            of_client(&Error::Refused { body }).unwrap()
        };
        assert!(!said(None).contains("--if-not-exists"));
        let topic = corelog_record::TopicId::from_bytes([1; 16]);
        assert!(said(Some(topic)).contains("--if-not-exists"));
    }

    /// Who gave up was told nothing.
    #[test]
    fn who_gave_up_on_a_server_is_told_what_one_is_who_met_it_once() {
        let away = || Error::Connect {
            address: "log1:7400".into(),
            source: Fault::Closed.into(),
        };
        let given_up = Error::GivenUp {
            after: std::time::Duration::from_secs(1),
            source: away().into(),
        };
        let next = of_client(&given_up);
        assert!(next.is_some());
        assert_eq!(next, of_client(&away()));
        assert!(of_client(&Error::BehindUnknown).is_some());
    }

    /// Who read on at the next offset met the same batch again.
    #[test]
    fn who_met_damage_is_told_where_to_read_on() {
        let damaged = |source| Error::Damaged {
            topic: "events".parse().unwrap(),
            partition: PartitionId::new(3),
            offset: Offset::ZERO,
            next: Some(Offset::ZERO.plus(7)),
            source: Box::new(source),
        };
        let on = "`corelog consume events --partition 3 --from 7` reads on behind it";
        let found = ErrorBody::new(ErrorCode::Damaged, "it is damaged");
        let found = Box::new(found);
        let next = of_client(&damaged(Error::Refused { body: found })).unwrap();
        assert!(
            next.contains("`corelog repair`") && next.ends_with(on),
            "{next}"
        );
        let source = corelog_record::Error::Excess { bytes: 1 };
        let next = of_client(&damaged(Error::Batch { source })).unwrap();
        assert_eq!(next, on);
    }

    /// Who is being handed a partition does not take its writes yet, and perhaps never will.
    #[test]
    fn who_is_refused_during_a_handover_is_not_sent_to_its_target() {
        let detail = Detail {
            address: Some("log2:7400".to_owned()),
            ..Detail::default()
        };
        let message =
            "it is being handed over to log2:7400; the same `corelog handover` goes on with it";
        let body = ErrorBody::new(ErrorCode::NotOwner, message).with_detail(detail);
        let error = Error::Refused {
            body: Box::new(body),
        };
        assert_eq!(of_client(&error), None);
    }

    /// Whoever met damage at the end of a log was sent to its owner, which is the very server that has it.
    #[test]
    fn who_meets_a_log_that_takes_no_more_is_not_sent_to_its_owner() {
        let next = of_code(ErrorCode::ReadOnly);
        assert!(!next.contains("who owns it"), "{next}");
        assert!(next.contains("`corelog partition reopen`"), "{next}");
    }

    /// A log that gave out all its offsets has no disk to mend.
    #[test]
    fn who_meets_damage_at_the_end_is_told_of_the_disk_and_who_meets_the_last_offset_is_not() {
        for offset in [None, Some(Offset::ZERO)] {
            let detail = Detail {
                offset,
                ..Detail::default()
            };
            let body = ErrorBody::new(ErrorCode::ReadOnly, "it is read-only").with_detail(detail);
            let body = Box::new(body);
            let next = of_client(&Error::Refused { body }).unwrap();
            assert_eq!(next.contains("the disk"), offset.is_some(), "{next}");
        }
    }

    #[test]
    fn who_asks_for_what_cannot_be_is_not_sent_to_a_maintainer() {
        let next = of_code(ErrorCode::InvalidRequest);
        assert!(!next.contains("maintainer"), "{next}");
    }

    /// Whoever met the bound of a server's connections was told to start one.
    #[test]
    fn who_is_refused_as_it_connects_is_told_what_to_do_about_that() {
        let body = ErrorBody::new(ErrorCode::TooManyConnections, "as many as it may have");
        let fault = Fault::Refused {
            body: Box::new(body),
        };
        let error = anyhow::Error::new(Error::Connect {
            address: "log1:7400".into(),
            source: fault.into(),
        });
        let next = after(&error, "as many as it may have").unwrap();
        assert!(next.contains("--connections-max"), "{next}");
    }

    /// Whoever asked one of several servers by itself was told to see if it still runs.
    #[test]
    fn who_asks_at_another_port_is_told_which_one_answers_clients() {
        let bytes = u32::from_le_bytes(*b"HTTP");
        let source = corelog_protocol::frame::FrameError::TooLarge {
            frame_bytes: bytes.into(),
            frame_bytes_max: 1,
        };
        let frame = Fault::Frame { source }.into();
        let resting = Fault::Resting {
            source: std::sync::Arc::clone(&frame),
        };
        for source in [frame, resting.into()] {
            let address = "log1:7399".into();
            let next = of_client(&Error::Connect { address, source }).unwrap();
            assert!(next.contains("not as --admin"), "{next}");
        }
        let said = |versions| {
            let detail = Detail {
                versions,
                ..Detail::default()
            };
            let body = ErrorBody::new(ErrorCode::UnsupportedVersion, "log2:7399: it is no server");
            let body = Box::new(body.with_detail(detail));
            of_client(&Error::Refused { body }).unwrap()
        };
        assert!(said(None).contains("not as --admin"));
        assert!(said(Some(vec![1])).contains("`corelog --version`"));
    }

    #[test]
    fn every_refusal_has_a_next_step_with_a_command_or_an_option() {
        for code in ErrorCode::ALL {
            let next = of_code(*code);
            assert!(next.contains("`corelog ") || next.contains("--"), "{code}");
        }
    }

    /// A name that was mistyped was told of as a partition without records.
    #[test]
    fn only_what_may_be_a_partition_has_no_directory_for_want_of_records() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("topic"), "").unwrap();
        let says_why = |name| cannot_look_at(&dir.path().join(name)).contains("without records");
        assert!(says_why("7"));
        assert!(!says_why("typo"));
        assert!(!says_why("topic"));
    }

    #[test]
    fn an_error_that_says_what_to_do_gets_no_more_advice() {
        let error = anyhow::Error::new(io::Error::from(io::ErrorKind::NotFound));
        assert!(after(&error, "no such file").is_some());
        let fixed = anyhow::Error::new(io::Error::from(io::ErrorKind::ReadOnlyFilesystem));
        assert!(after(&fixed, "cannot write").is_some());
        assert_eq!(
            after(&error, "no such file; name another with --config"),
            None
        );
        let path = "cannot look at /data/a--b/-- ";
        assert!(after(&error, path).is_some(), "a path is no option");
        assert_eq!(after(&error, "start one with `corelog serve`"), None);
        assert_eq!(after(&anyhow::anyhow!("who knows"), "who knows"), None);
    }
}
