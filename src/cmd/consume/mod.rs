//! `corelog consume`: records of a topic to stdout.

mod added;
mod format;
mod range;
mod remedy;
mod remember;
mod state;

use std::collections::BTreeMap;
use std::future::ready;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use corelog_client::{Client, Consumer, ConsumerConfig, End, Error, Received, Start, Untold};
use corelog_record::{PartitionId, TopicName};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::exit::{Exit, say};
use crate::interrupt::HANDING_OVER;
use crate::output::{self, Out};
use crate::quantity::{self, Place};
use crate::{cli, exit, interrupt, session, untold};

use added::Found;
use format::Format;
use range::{end, start};
use remedy::partition_of;
use state::State;

/// What is printed may be a part, since a server may have more.
const UNREAD: &str = "partitions that it alone has were not read";

/// How often the state is saved.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// Print the records of a topic.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Print the records of a topic.\n\n\
        Without --follow it ends at the high watermark, which is where the topic's readable part \
        ended when the command reached it. Interrupted before that, by SIGINT or SIGTERM, it ends \
        with 1, so that a part is not taken for the whole; with --follow, which has no end, with 0. \
        Order holds within a partition. Every batch is checked before its records are printed. With \
        --follow, and without --partition, partitions that the topic gets meanwhile are read from \
        their beginning; with --state those as well that it gets between two runs.\n\n\
        With several servers each is asked which partitions it has. Where one does not answer, and the \
        others do not own all of the topic, what they have is printed, and without --follow it ends with 4, or \
        with 3 where that one cannot read the topic; with --follow what it has is read from where --from says once it \
        answers. A --partition that only such a server may have ends it the same way, at once.",
    after_long_help = "EXAMPLES\n  \
        corelog consume events                          # everything there is\n  \
        corelog consume events --from -10               # the last 10 of each partition\n  \
        corelog consume events --from @-2h --follow     # since two hours ago, and on\n  \
        corelog consume events --partition 0 --from 100 --until 200\n  \
        corelog consume events --format json | jq -r '.value | @base64d'\n  \
        corelog consume events --format '%p %o %t %k %v\\n'\n  \
        corelog consume events --follow --state events.state   # goes on where it stopped\n\n\
        PLACES (--from, --until)\n  \
        earliest, latest, an offset (17), -N (N before the end), @TIME (RFC 3339), @-2h (ago)\n\n\
        FORMATS\n  \
        value      the value's bytes and a newline\n  \
        json       one object per line; key, value and header values in base64\n  \
        otherwise  a text with %T topic, %p partition, %o offset, %t time, %k key, %v value,\n             \
        %h headers, %% a percent sign, and escapes such as \\n and \\0"
)]
pub(crate) struct Args {
    /// The topic's name.
    #[arg(value_name = "TOPIC", value_parser = quantity::topic_name)]
    topic: TopicName,
    /// Only this partition.
    #[arg(long, value_name = "P", value_parser = quantity::partition)]
    partition: Option<u32>,
    /// Where to begin, where --state does not say it.
    #[arg(
        long,
        value_name = "PLACE",
        default_value = "earliest",
        allow_hyphen_values = true
    )]
    from: Place,
    /// Where to end: the first record that is not printed.
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    until: Option<Place>,
    /// End after so many records.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Wait for new records instead of ending.
    #[arg(long, conflicts_with = "until")]
    follow: bool,
    /// Remember in this file where it stopped, and go on there the next time. One run at a time uses it: FILE.lock, which
    /// stays beside it, sees to that.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// What to print per record: value, json, or a text with % signs [default: value, or json with
    /// --output json]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    #[command(flatten)]
    client: cli::Client,
}

/// Prints records until the end, the count or the reader's leaving.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run(&args.client, |client| consume(args, client))
}

impl Args {
    /// How records are printed: as was said, else as all results are.
    fn format(&self) -> Format {
        match (&self.format, self.client.output) {
            (Some(format), _) => format.clone(),
            (None, output::Format::Json) => Format::Json,
            (None, output::Format::Table) => Format::Value,
        }
    }
}

async fn consume(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let topic = client.topic_anew(&args.topic).await?;
    let (partitions, untold) = match args.partition {
        Some(partition) => {
            let partition = untold::partition(&client, &topic, partition).await?;
            (vec![partition], Vec::new())
        }
        None => {
            let all = topic.partitions.iter().map(|partition| partition.id);
            (all.collect(), client.untold(&args.topic).await)
        }
    };
    let found = (args.follow && args.partition.is_none())
        .then(|| added::watch(client.clone(), &topic, untold.is_empty()));
    let state = args
        .state
        .as_deref()
        .map(|path| State::open(path, &args.topic, topic.id));
    let mut state = state.transpose()?;
    if args.partition.is_none()
        && untold.is_empty()
        && let Some(state) = &mut state
    {
        state.know(topic.partition_count());
    }
    let mut printing = Printing {
        args,
        format: args.format(),
        consumer: client.consumer(config(args)),
        partitions: Vec::new(),
        unread: BTreeMap::new(),
        unremembered: Vec::new(),
        failures: Vec::new(),
        untold,
        found,
        out: Out::while_read(),
        state,
        line: Vec::new(),
        printed: 0,
    };
    let ended = printing.read(&client, partitions).await;
    Ok(printing.end(ended))
}

fn config(args: &Args) -> ConsumerConfig {
    let unreachable_timeout = Some(args.client.timeout());
    ConsumerConfig {
        unreachable_timeout,
        ..ConsumerConfig::default()
    }
}

/// If the disk of a server does not give what is to be read.
fn is_unread(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Unread { .. }))
}

/// Why printing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    AtEnd,
    AtCount,
    BySignal,
}

/// Records on their way to stdout.
struct Printing<'a> {
    args: &'a Args,
    format: Format,
    consumer: Consumer,
    /// All that are read, and were not ended by an error.
    partitions: Vec<PartitionId>,
    /// Partitions of which nothing was printed yet, now or by a run before: where they were to begin, and where they end.
    unread: BTreeMap<PartitionId, (Start, End)>,
    /// Those of them of which the state says nothing yet.
    unremembered: Vec<PartitionId>,
    /// The codes of what ended single partitions, and was told.
    failures: Vec<Exit>,
    /// Servers that may have partitions of which nobody tells.
    untold: Vec<Untold>,
    /// Partitions that turn up, where they are to be read.
    found: Option<mpsc::Receiver<Found>>,
    out: Out,
    state: Option<State>,
    line: Vec<u8>,
    printed: u64,
}

impl Printing<'_> {
    /// Prints what these partitions hold, and remembers how far it came.
    async fn read(
        &mut self,
        client: &Client,
        partitions: Vec<PartitionId>,
    ) -> anyhow::Result<Exit> {
        for partition in partitions {
            match end(self.args, client, partition).await {
                Ok(end) => self.assign(partition, end),
                // Where it ends is not known, nor is anything of it read.
                Err(error) if exit::of(&error) == Exit::Damage || is_unread(&error) => {
                    let topic = &self.args.topic;
                    let what = format!("where {topic}/{partition} ends is not known");
                    self.fail(error.context(what));
                }
                Err(error) => return Err(error),
            }
        }
        let ended = self.print_all().await;
        let settled = self.settle();
        let ended = ended?;
        settled?;
        if ended == Ended::AtEnd && !self.args.follow {
            for one in std::mem::take(&mut self.untold) {
                self.fail(untold::error(&self.args.topic, &one, UNREAD));
            }
        }
        match ended {
            Ended::AtEnd if self.failures.is_empty() && std::io::stderr().is_terminal() => {
                say("end of the topic; --follow waits for more");
            }
            // Whoever follows has no end but this one.
            Ended::BySignal if !self.args.follow => return Err(self.cut_short()),
            Ended::AtEnd | Ended::AtCount | Ended::BySignal => {}
        }
        Ok(Exit::Done)
    }

    async fn print_all(&mut self) -> anyhow::Result<Ended> {
        let mut saved = Instant::now();
        let mut asked = interrupt::asked(HANDING_OVER, || Exit::Failed)?;
        while self.args.count.is_none_or(|count| self.printed < count) {
            let at_once = tokio::select! {
                biased;
                next = self.consumer.next() => Some(next),
                () = ready(()) => None,
            };
            let next = match at_once {
                Some(next) => next,
                None => {
                    // Nothing is there at once: whoever reads gets what was printed so far.
                    self.settle()?;
                    self.assign_found();
                    saved = Instant::now();
                    if self.is_rest_read() {
                        return Ok(Ended::AtEnd);
                    }
                    tokio::select! {
                        next = self.consumer.next() => next,
                        () = sleep(SAVE_INTERVAL) => {
                            self.out.while_idle()?;
                            continue;
                        }
                        Ok(_) = asked.wait_for(|asked| *asked) => return Ok(Ended::BySignal),
                    }
                }
            };
            match next {
                Some(Ok(record)) => self.print(&record)?,
                Some(Err(error)) => self.leave_out(error)?,
                None => return Ok(Ended::AtEnd),
            }
            if saved.elapsed() >= SAVE_INTERVAL {
                self.settle()?;
                self.assign_found();
                saved = Instant::now();
                if self.is_rest_read() {
                    return Ok(Ended::AtEnd);
                }
                if *asked.borrow() {
                    return Ok(Ended::BySignal);
                }
            }
        }
        Ok(Ended::AtCount)
    }

    /// Reads a partition from where the state says, from its beginning if the topic got it since the state was begun, else
    /// from where --from says.
    fn assign(&mut self, partition: PartitionId, end: End) {
        let state = self.state.as_ref();
        let is_added =
            self.args.partition.is_none() && state.is_some_and(|state| state.is_added(partition));
        self.begin(partition, self.from(is_added), end);
    }

    /// Reads what turned up: all of it where the topic got it meanwhile, since that came after whatever --from says, unless the
    /// state knows better.
    fn assign_found(&mut self) {
        let Some(found) = self.found.as_mut().and_then(|found| found.try_recv().ok()) else {
            return;
        };
        for partition in found.partitions {
            match self.state {
                Some(_) => self.assign(partition, End::Follow),
                None => self.begin(partition, self.from(found.is_added), End::Follow),
            }
        }
        if let (Some(state), Some(count)) = (&mut self.state, found.count) {
            state.know(count);
        }
    }

    /// Where a partition begins of which nothing is known yet.
    fn from(&self, is_added: bool) -> Start {
        match is_added {
            // It came after whatever --from says.
            true => Start::Earliest,
            false => start(self.args.from),
        }
    }

    /// Reads a partition from where the state says, else from `from`.
    fn begin(&mut self, partition: PartitionId, from: Start, end: End) {
        let state = self.state.as_ref();
        let kept = state.and_then(|state| state.start(partition));
        let begun = match kept {
            Some(_) => state.and_then(|state| state.begun(partition)),
            None => {
                self.unremembered.push(partition);
                Some(from)
            }
        };
        if let Some(begun) = begun {
            self.unread.insert(partition, (begun, end));
        }
        self.partitions.push(partition);
        let start = kept.unwrap_or(from);
        self.consumer
            .assign(&self.args.topic, partition, start, end);
    }

    /// Goes on without a partition that an error has ended alone: it holds up nothing that lies elsewhere.
    fn leave_out(&mut self, error: Error) -> anyhow::Result<()> {
        let Some(partition) = partition_of(&error) else {
            return Err(error.into());
        };
        if self.begins_again(&error) {
            return Ok(());
        }
        self.partitions.retain(|one| *one != partition);
        self.note_begun();
        self.fail(error.into());
        Ok(())
    }

    /// If a partition was left out, and whoever follows the others has all that they had. Without --follow each tells itself
    /// that it is read.
    fn is_rest_read(&self) -> bool {
        let is_read = |partition: &PartitionId| {
            let progress = self.consumer.progress(&self.args.topic, *partition);
            progress.is_some_and(|one| one.is_ended || one.high_watermark <= one.next)
        };
        self.args.follow && !self.failures.is_empty() && self.partitions.iter().all(is_read)
    }

    /// Says what ended the run; what ended single partitions gives its code as well.
    fn end(self, ended: anyhow::Result<Exit>) -> Exit {
        let ended = ended.map_err(|error| self.told(error));
        let failures = self.failures.into_iter().map(Ok);
        exit::after_all(failures.chain([ended]))
    }

    fn print(&mut self, record: &Received) -> anyhow::Result<()> {
        self.line.clear();
        self.format.write(record, &mut self.line);
        // Also where that fails: the consumer is behind a record that nobody got.
        self.unread.remove(&record.partition);
        self.out.bytes(&self.line)?;
        self.printed += 1;
        if let Some(state) = &mut self.state {
            state.set(record.partition, record.offset.plus(1), record.epoch);
        }
        Ok(())
    }
}
