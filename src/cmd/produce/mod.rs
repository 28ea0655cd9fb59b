//! `corelog produce`: records from files or stdin to a topic.

mod acks;
mod asked;
mod halt;
mod input;
mod pace;
mod source;
mod split;
mod tally;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use corelog_client::{Client, Producer, ProducerConfig};
use corelog_protocol::message::ack::Level;
use corelog_record::batch::Codec;
use corelog_record::{PartitionId, Record, TopicName};

use crate::cmd::topic::policy::Ack;
use crate::exit::{self, Exit, say};
use crate::output::Format;
use crate::{cli, progress, quantity, session, untold};

use acks::Printer;
use asked::Asked;
use halt::Halt;
use input::{Input, Origin};
use pace::Pace;
use source::{GoAhead, Gone};
use tally::Settling;

/// Produce a record per line of files or stdin.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Produce a record per line of files or stdin.\n\n\
        The delimiter is not part of the record, the last line needs none, and bytes are sent as \
        they are. Records with a key go to the partition of that key (the field's murmur2 rule), \
        others to one partition, at first to any, until 1MiB of them went there, and then to the \
        next: a few lines are all in one.\n\n\
        What the server refused is an error (exit 1), as is a server that cannot be reached in \
        time (exit 4). Where the connection broke before the \
        answer, nobody knows if the records were applied: they are listed on stderr, not sent \
        again, and the exit code is 5.\n\n\
        Interrupted, by SIGINT or SIGTERM, it reads no further. What it took from a pipe or a \
        terminal is gone from there: it is still sent, within --timeout, what is in flight waited for, \
        and all told as at the end, with 0 if all of that is acknowledged. Where a part is not \
        sent, of a file or of a line whose end had not come, it ends with 1, so that it is not \
        taken for the whole. A second signal ends it at once, with 5; what comes within 0.2 s of the \
        first is of the same asking.",
    after_long_help = "EXAMPLES\n  \
        corelog produce events app.log\n  \
        tail -f app.log | corelog produce events\n  \
        printf 'k1:v1\\nk2:v2\\n' | corelog produce events --key-separator :\n  \
        corelog produce images *.png --whole-file -H kind=image\n  \
        corelog produce events app.log --compression zstd --output json   # a line per batch\n\n\
        With --output json each acknowledged batch is one line on stdout as it arrives:\n  \
        {\"partition\":0,\"first\":0,\"last\":99,\"level\":\"durable\"}"
)]
pub(crate) struct Args {
    /// The topic's name.
    #[arg(value_name = "TOPIC", value_parser = quantity::topic_name)]
    topic: TopicName,
    /// Files to read, in this order; none, or `-`, is stdin.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Send everything to this partition, keys or not.
    #[arg(long, value_name = "P", value_parser = quantity::partition)]
    partition: Option<u32>,
    /// Split each record at the first S into key and value; without S there is no key.
    #[arg(long, value_name = "S", value_parser = separator, conflicts_with = "whole_file")]
    key_separator: Option<Separator>,
    /// A header for every record; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<Header>,
    /// What ends a record; may hold escapes such as \n, \0 and \x1e.
    #[arg(long, value_name = "D", value_parser = separator, default_value = "\\n")]
    delimiter: Separator,
    /// Make each file one record.
    #[arg(long, conflicts_with = "delimiter")]
    whole_file: bool,
    /// When a record counts as acknowledged [default: what the topic says]
    #[arg(long, value_name = "LEVEL", value_enum)]
    ack: Option<Ack>,
    /// How batches are compressed: none, gzip, snappy, lz4 or zstd.
    #[arg(long, value_name = "CODEC", default_value = "none")]
    compression: Codec,
    /// Send at most so many records a second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    #[command(flatten)]
    client: cli::Client,
}

/// The bytes between two records, or between key and value; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Separator(Vec<u8>);

fn separator(text: &str) -> Result<Separator, quantity::ParseError> {
    quantity::separator(text).map(Separator)
}

/// A header that every record gets.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    name: String,
    value: Vec<u8>,
}

fn header(text: &str) -> Result<Header, String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("a header is written NAME=VALUE")?;
    Ok(Header {
        name: name.to_owned(),
        value: value.as_bytes().to_vec(),
    })
}

/// Produces what the files hold.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run(&args.client, |client| produce(args, client))
}

async fn produce(args: &Args, client: Client) -> anyhow::Result<Exit> {
    // A missing topic or partition is an error even if there is nothing to send.
    let topic = client.topic_anew(&args.topic).await?;
    match args.partition {
        Some(partition) => {
            untold::partition(&client, &topic, partition).await?;
        }
        None => {
            for one in client.untold(&args.topic).await {
                say(&untold::sentence(&args.topic, &one, UNSENT));
            }
        }
    }
    let limits = client.hello().await?.limits;
    let input = Input {
        files: args.files.clone(),
        delimiter: (!args.whole_file).then(|| args.delimiter.0.clone()),
        key_separator: args
            .key_separator
            .as_ref()
            .map(|separator| separator.0.clone()),
        record_bytes_max: usize::try_from(limits.record_bytes_max).unwrap_or(usize::MAX),
    };
    let names = input.names();
    let (printer, observer) = match args.client.output {
        Format::Json => Some(Printer::start()?).unzip(),
        Format::Table => (None, None),
    };
    let halt = Halt::default();
    let config = ProducerConfig {
        codec: args.compression,
        level: args.ack.map(Level::from),
        memory_bytes_max: MEMORY_BYTES_MAX,
        delivery_timeout: args.client.timeout(),
        observer: Some(halt.observer(observer)),
        ..ProducerConfig::default()
    };
    let producer = client.producer(config);
    let settling = Settling::start();
    let started = Instant::now();
    let mut asked = Asked::hear(args.client.timeout())?;
    let (go_ahead, gone) = GoAhead::new()?;
    asked.ends(go_ahead, input.is_kept(), halt.clone());
    let sending = Sending {
        args,
        producer: &producer,
        names: &names,
        halt: &halt,
        settling: &settling,
    };
    let sent = sending.run(input, gone).await;
    asked.unless_late(producer.flush()).await;
    // What is not settled by now is given up.
    drop(producer);
    let tally = settling.finish().await?;
    let exit = match (tally.report(&names, started.elapsed()), &sent) {
        // All that was sent is acknowledged, and something was not sent.
        (Exit::Done, Ok(Ended::Halted)) => Exit::Failed,
        (exit, _) => exit,
    };
    asked.told();
    // Only now: whoever reads stdout, or a full disk, keeps nobody from hearing what became of the records.
    let printed = printer.map_or(Ok(()), Printer::finish);
    Ok(conclude(exit, [sent.map(drop), printed]))
}

/// How the command ends: by why no more was sent, or nothing printed, unless what became of the records weighs more.
fn conclude(exit: Exit, outcomes: [anyhow::Result<()>; 2]) -> Exit {
    let outcomes = outcomes.map(|outcome| outcome.map(|()| Exit::Done));
    exit::after_all(outcomes.into_iter().chain([Ok(exit)]))
}

/// How sending ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    AtEnd,
    /// Before it.
    Halted,
}

/// What sends the records.
struct Sending<'a> {
    args: &'a Args,
    producer: &'a Producer,
    /// Of the files.
    names: &'a [String],
    halt: &'a Halt,
    settling: &'a Settling,
}

impl Sending<'_> {
    /// Sends records until the input ends, or one was not acknowledged, or there is no more time.
    async fn run(self, input: Input, gone: Gone) -> anyhow::Result<Ended> {
        let args = self.args;
        let partition = args.partition.map(PartitionId::new);
        // Where it is not known how much there is, no bar can say how far it is.
        let progress = progress::bytes(input.bytes());
        let mut pace = args.rate.map(|rate| Pace::new(rate, Instant::now()));
        let mut pieces = input.start(gone)?;
        let mut last = None;
        while let Some(next) = self.halt.unless_set(pieces.recv()).await {
            let Some(piece) = next else {
                progress.finish_and_clear();
                return Ok(Ended::AtEnd);
            };
            for item in piece? {
                if let Some(pace) = &mut pace {
                    let turn = pace.next(Instant::now());
                    let turn = tokio::time::sleep_until(turn.into());
                    if self.halt.unless_set(turn).await.is_none() {
                        break;
                    }
                }
                let record = args.record(item.key, item.value);
                let bytes = record.bytes() as u64;
                let sending = self.producer.send(&args.topic, partition, record);
                let Some(delivery) = self.halt.unless_set(sending).await else {
                    break;
                };
                progress.inc(bytes + 1);
                let delivery = delivery.with_context(|| self.place(item.origin))?;
                self.settling.add(item.origin, bytes, delivery).await;
                last = Some(item.origin);
            }
        }
        progress.finish_and_clear();
        let behind = last.map_or_else(|| "nothing".to_owned(), |last| self.place(last));
        say(&format!(
            "stopped behind {behind}: nothing that follows was sent"
        ));
        Ok(Ended::Halted)
    }

    fn place(&self, Origin { file, record }: Origin) -> String {
        format!("{}, record {record}", self.names[file])
    }
}

impl Args {
    fn record(&self, key: Option<Vec<u8>>, value: Vec<u8>) -> Record {
        let headers = self.headers.iter();
        let headers = headers.map(|header| (header.name.clone(), Some(header.value.clone())));
        Record {
            timestamp: corelog_client::now(),
            key,
            value: Some(value),
            headers: headers.collect(),
        }
    }
}

/// Where a server may have more of the topic than the others tell.
const UNSENT: &str =
    "what has a key waits for it, and all else goes to the partitions of the others";

/// What waits to be sent has to be on its way within the timeout, also over a slow line: no more than a fast one needs.
const MEMORY_BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::stop;

    /// A file that was not there hid from scripts that the records met damage.
    #[test]
    fn damage_that_records_met_weighs_more_than_why_no_more_was_sent() {
        let missing = || Err(stop(Exit::Failed, "no such file"));
        assert_eq!(conclude(Exit::Damage, [missing(), Ok(())]), Exit::Damage);
        assert_eq!(conclude(Exit::Unknown, [Ok(()), missing()]), Exit::Unknown);
        // Else it is that which says why.
        let late = Err(stop(Exit::Unreachable, "there was no more time"));
        assert_eq!(conclude(Exit::Failed, [late, missing()]), Exit::Unreachable);
    }
}
