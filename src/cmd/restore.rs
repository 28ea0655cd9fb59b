//! `corelog restore`: a new topic made of one in a snapshot.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use corelog_client::{Admin, Error};
use corelog_protocol::error::{Applied, ErrorBody, ErrorCode};
use corelog_protocol::message::describe_topic::Partition;
use corelog_protocol::message::restore_status::{Answer, State};
use corelog_protocol::message::restore_topic;
use corelog_record::TopicName;
use serde_json::json;

use crate::cmd::snapshot::export;
use crate::cmd::topic::describe;
use crate::exit::{self, Exit, say, stop};
use crate::output::{Format, Out};
use crate::quantity::Amount;
use crate::{advice, cli, progress, quantity, servers, session};

/// How often the server is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Make a new topic of one in a snapshot.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Make a new topic of one in a snapshot.\n\n\
        Every byte is verified before any is served, and the topic appears whole or not at all. \
        Offsets and batches are those of the source, settings too, but for retention: nothing \
        expires before `corelog topic alter` says so. A leader epoch begins. The \
        server does it, also if this command is interrupted. A directory is one that `corelog \
        snapshot export` made, on the server's machine. With several servers it is the first of them that \
        does it, once each has answered that it has no topic of that name. Ends with 3 if a byte of it is not what \
        it was; nothing is restored then, unless --with-damage is given.",
    after_long_help = "EXAMPLES\n  \
        corelog restore monday --topic events-on-monday\n  \
        corelog restore monday --topic events-2 --from-topic events\n  \
        corelog restore /mnt/backup/monday --topic events"
)]
pub(crate) struct Args {
    /// A snapshot's name, or the directory of an exported one: a path with a `/` in it.
    #[arg(value_name = "DIR|NAME")]
    source: String,
    /// The name of the new topic.
    #[arg(long, value_name = "NAME", value_parser = quantity::topic_name)]
    topic: TopicName,
    /// Which topic of the snapshot, where it holds several.
    #[arg(long, value_name = "TOPIC", value_parser = quantity::topic_name)]
    from_topic: Option<TopicName>,
    /// Take damage over as damage: what is sound around it is served.
    #[arg(long)]
    with_damage: bool,
    #[command(flatten)]
    client: cli::Client,
}

/// Restores the topic and prints its partitions.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run_unconnected(|| restore(args))
}

async fn restore(args: &Args) -> anyhow::Result<Exit> {
    let place = servers::place_of(&args.client, &args.topic, "restored").await?;
    let server = place.server;
    if place.is_taken {
        let message = format!(
            "nothing is restored: {server} has a topic {} already; choose another name with --topic",
            args.topic
        );
        return Err(stop(Exit::Failed, message));
    }
    let (admin, _) = place.client.admin().of_one().await?;
    let begun = Instant::now();
    let source = source(&args.source)?;
    let request = restore_topic::Request {
        source,
        source_topic: args.from_topic.clone(),
        topic: args.topic.clone(),
        with_damage: args.with_damage,
    };
    let number = match admin.restore_topic(&request).await {
        Ok(number) => number,
        Err(error) => match error.refusal().and_then(|refused| next_step(args, refused)) {
            Some(next) => {
                let exit = error.refusal().map_or(Exit::Failed, exit::of_body);
                return Err(session::ended_by(&server, error, exit, &next));
            }
            None => session::changing(&server, Err(error))?,
        },
    };
    let mut bar = None;
    let status = loop {
        let told = admin.restore_status(number).await;
        let status = told.map_err(|error| lost(&args.topic, &server, error))?;
        let bar = bar.get_or_insert_with(|| progress::bytes(Some(status.bytes_total)));
        bar.set_position(status.bytes_done);
        if status.state != State::Running {
            bar.finish_and_clear();
            break status;
        }
        tokio::time::sleep(ASK_EVERY).await;
    };
    check(args, &status).context(server.clone())?;
    let shown = show(args, &server, &status, begun.elapsed());
    let found = match args.with_damage {
        true => tell_damage(&args.topic, &admin)
            .await
            .map_err(|error| session::by(&server, error)),
        false => Ok(Exit::Done),
    };
    Ok(exit::after_all([found, shown]))
}

/// Says what of the restored topic is damaged, and is not served.
async fn tell_damage(topic: &TopicName, admin: &Admin) -> Result<Exit, Error> {
    let described = admin.describe_topic(topic).await?;
    let tell = |p: &Partition| describe::tell_damage(topic, p.id, &p.damage);
    Ok(Exit::of_all(described.partitions.iter().map(tell)))
}

/// A path as the server understands it, or a name.
fn source(source: &str) -> anyhow::Result<String> {
    if !source.contains('/') {
        return Ok(source.to_owned());
    }
    let path = std::path::absolute(Path::new(source))?;
    Ok(path.display().to_string())
}

/// What to do next after a refusal that means something else here than it does elsewhere.
fn next_step(args: &Args, refused: &ErrorBody) -> Option<String> {
    let source = &args.source;
    let next = match refused.known_code()? {
        ErrorCode::TopicExists => "choose another name with --topic",
        // A server lists its own.
        ErrorCode::UnknownTopic if source.contains('/') => {
            "--from-topic names it, `corelog inspect` of the directory shows what there is"
        }
        ErrorCode::UnknownTopic => {
            "--from-topic names it, `corelog snapshot list` shows what there is of each"
        }
        // It is the snapshot's own file; of a topic's the refusal says itself what to do.
        ErrorCode::Damaged if !refused.message.contains("`corelog ") => {
            "name another one: `corelog snapshot list` shows which can be read"
        }
        ErrorCode::UnknownSnapshot
            if source.contains('/') && export::is_unfinished(Path::new(source)) =>
        {
            "what is there is an export that did not come to its end, or is still being written, and no snapshot yet: wait \
             for it, or remove it and `corelog snapshot export` again"
        }
        ErrorCode::UnknownSnapshot | ErrorCode::InvalidRequest if source.contains('/') => {
            "name a directory on the server's machine that `corelog snapshot export` made, and that the \
             server sees and may read: as a service not below /home or /tmp, as the user corelog"
        }
        ErrorCode::UnknownSnapshot if Path::new(source).is_dir() => {
            return Some(format!(
                "what has no / in it is the name of a snapshot of the server; the directory here is \
                 ./{source} (see --help)"
            ));
        }
        _ => return None,
    };
    Some(next.to_owned())
}

/// Looks how a restore ended that, as far as can be told, goes on no more.
fn check(args: &Args, status: &Answer) -> anyhow::Result<()> {
    let topic = &args.topic;
    match (&status.failure, status.state) {
        (Some(failure), _) => Err(failed(args, failure)),
        (None, State::Done) => Ok(()),
        (None, State::Failed) => {
            let message = "nothing was restored, and the server does not say why: its log does";
            Err(stop(Exit::Failed, message))
        }
        (None, State::Running | State::Unknown) => {
            let message = format!(
                "the server says how far the restore is in a word that this version does not know: whether it goes on is not \
                 known; look with `corelog topic describe {topic}` if the topic is there"
            );
            Err(stop(Exit::Unknown, message))
        }
    }
}

/// The restore came to no good end, and what of it is there.
fn failed(args: &Args, failure: &ErrorBody) -> anyhow::Error {
    let why = &failure.message;
    if failure.applied() == Applied::No {
        let next = next_after(args, failure);
        let message = format!("nothing was restored: {why}; {next}");
        return stop(exit::of_body(failure), message);
    }
    let message = format!(
        "{why}; whether it is restored is unknown: it may be there once the server is started again, look with \
         `corelog topic list` before asking again"
    );
    stop(Exit::Unknown, message)
}

/// What to do next after a restore that was begun.
fn next_after(args: &Args, failure: &ErrorBody) -> String {
    const SEE: &str = "`corelog verify` of its directory says what is damaged, and what mends it";
    match failure.known_code() {
        Some(ErrorCode::Damaged) if args.with_damage => format!("{SEE}; or name another one"),
        Some(ErrorCode::Damaged) => {
            format!("{SEE}; --with-damage restores what is sound of it, or name another one")
        }
        code => {
            let elsewhere = || code.map(advice::of_code).map(str::to_owned);
            let next = next_step(args, failure).or_else(elsewhere);
            next.unwrap_or_else(|| "the server's log says more".to_owned())
        }
    }
}

/// What is known of a restore that the server does not know any more.
const STARTED_AGAIN: &str =
    "the server was started again meanwhile: nothing was restored, unless the topic is there";

/// The server could not be asked any more: what becomes of the restore is its own business.
fn lost(topic: &TopicName, server: &str, error: Error) -> anyhow::Error {
    let is_known = !error
        .refusal()
        .is_some_and(|refusal| refusal.is(ErrorCode::UnknownRestore));
    let next = match is_known {
        true => format!("the restore may go on; look with `corelog topic describe {topic}`"),
        false => STARTED_AGAIN.to_owned(),
    };
    session::ended_by(server, error, Exit::Unknown, &next)
}

fn show(args: &Args, server: &str, status: &Answer, took: Duration) -> anyhow::Result<Exit> {
    let id = status.id.map(|id| id.to_string()).unwrap_or_default();
    let mut out = Out::new();
    match args.client.output {
        Format::Table => {
            out.facts([
                ("topic", args.topic.to_string()),
                ("id", id),
                ("server", server.to_owned()),
                ("bytes", Amount(status.bytes_done).to_string()),
                ("seconds", format!("{:.3}", took.as_secs_f64())),
            ])?;
            out.line("")?;
            let partitions = status.partitions.iter().map(|partition| {
                vec![
                    partition.id.to_string(),
                    partition.log_start.to_string(),
                    partition.log_end.to_string(),
                ]
            });
            out.table(&["PARTITION", "LOG START", "LOG END"], partitions)?;
        }
        Format::Json => {
            let partitions = status.partitions.iter().map(|partition| {
                json!({
                    "partition": partition.id.get(),
                    "log_start": partition.log_start.get(),
                    "log_end": partition.log_end.get(),
                })
            });
            out.json(&json!({
                "name": args.topic.as_str(),
                "id": id,
                "server": server,
                "bytes": status.bytes_done,
                "seconds": took.as_secs_f64(),
                "partitions": partitions.collect::<Vec<_>>(),
            }))?;
        }
    }
    out.flush()?;
    if args.client.output == Format::Table {
        say("nothing of it expires until `corelog topic alter` sets a retention");
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn done(topic: &TopicName) -> Answer {
        Answer {
            state: State::Done,
            topic: topic.clone(),
            bytes_done: 0,
            bytes_total: 0,
            id: None,
            partitions: Vec::new(),
            failure: None,
        }
    }

    fn args(words: &[&str]) -> Args {
        let words = [&["corelog", "restore"], words, &["--topic", "t"]].concat();
        match Cli::try_parse_from(words).unwrap().command {
            Command::Restore(args) => args,
            other => panic!("{other:?}"),
        }
    }

    /// What is no success by the server's word, or by none that is known, was told as one.
    #[test]
    fn a_restore_is_done_if_the_server_says_so_and_not_otherwise() {
        let args = args(&["s"]);
        let told = |state| {
            let status = Answer {
                state,
                ..done(&args.topic)
            };
            check(&args, &status)
        };
        assert!(told(State::Done).is_ok());
        let failed = told(State::Failed).unwrap_err();
        assert_eq!(exit::of(&failed), Exit::Failed);
        // It was said to have ended.
        let unknown = told(State::Unknown).unwrap_err();
        assert_eq!(exit::of(&unknown), Exit::Unknown);
        let said = unknown.to_string();
        assert!(said.contains("whether it goes on is not known"), "{said}");
    }

    /// It was sought where the server may not look.
    #[test]
    fn what_an_interrupted_export_left_is_told_as_that() {
        let dir = tempfile::tempdir().unwrap();
        let args = args(&[dir.path().to_str().unwrap()]);
        let next = || {
            let refused = ErrorBody::new(ErrorCode::UnknownSnapshot, "none");
            next_step(&args, &refused).unwrap()
        };
        assert!(next().contains("not below /home"));
        std::fs::create_dir(dir.path().join("topics")).unwrap();
        assert!(next().contains("did not come to its end"));
    }

    /// A topic that came with the next start had been told as "nothing was restored".
    #[test]
    fn a_restore_of_which_nobody_knows_if_it_was_made_says_so() {
        let args = args(&["s"]);
        let told = |code: ErrorCode| {
            let error = failed(&args, &ErrorBody::new(code, "why"));
            (exit::of(&error), error.to_string())
        };
        for (code, exit) in [
            (ErrorCode::Damaged, Exit::Damage),
            (ErrorCode::StorageFull, Exit::Failed),
        ] {
            let (found, said) = told(code);
            assert_eq!(found, exit);
            assert!(said.starts_with("nothing was restored: why; "), "{said}");
        }
        let (exit, said) = told(ErrorCode::Internal);
        assert_eq!(exit, Exit::Unknown);
        assert!(said.contains("`corelog topic list`"), "{said}");
    }

    /// Whoever's backup was damaged, or whose disk was full, was told that nothing was restored, and no more.
    #[test]
    fn a_restore_that_failed_on_its_way_says_what_to_do_next() {
        let said = |words: &[&str], code| {
            let error = failed(&args(words), &ErrorBody::new(code, "why"));
            error.to_string()
        };
        let damaged = said(&["/mnt/monday"], ErrorCode::Damaged);
        assert!(
            damaged.contains("`corelog verify`") && damaged.contains("--with-damage"),
            "{damaged}"
        );
        let damaged = said(&["s", "--with-damage"], ErrorCode::Damaged);
        assert!(!damaged.contains("--with-damage"), "{damaged}");
        let full = said(&["s"], ErrorCode::StorageFull);
        assert!(full.contains("`corelog topic alter`"), "{full}");
        assert!(!full.contains("; it goes on by itself"), "{full}");
        let exists = said(&["s"], ErrorCode::TopicExists);
        assert!(exists.contains("--topic"), "{exists}");
    }

    /// The server's own list was named, in which no exported one is.
    #[test]
    fn what_a_directory_holds_is_looked_up_there() {
        let next = |source| {
            let refused = ErrorBody::new(ErrorCode::UnknownTopic, "it holds 2 topics");
            next_step(&args(&[source]), &refused).unwrap()
        };
        assert!(next("/mnt/monday").contains("`corelog inspect`"));
        assert!(next("monday").contains("`corelog snapshot list`"));
    }
}
