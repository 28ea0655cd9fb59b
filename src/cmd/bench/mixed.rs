//! `corelog bench mixed`: producers at a steady rate and consumers that follow them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use corelog_client::Client;
use corelog_record::{Offset, PartitionId};
use serde_json::json;
use tokio::task::LocalSet;

use super::account::{Account, Accounts};
use super::each::Each;
use super::followers::{Deliveries, Followed, Followers, Over};
use super::latencies::{Latencies, micros};
use super::open_loop::{Acked, Load};
use super::rates::Rates;
use crate::exit::{self, Exit, say, stop};
use crate::output::{Format, Out};
use crate::side::SlowAckRows;
use crate::{admin, cli, session};

/// Measure acknowledgements and delivery to consumers that follow.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Measure acknowledgements and delivery to consumers that follow.\n\n\
        An open loop as `corelog bench latency` is one, and a consumer of all partitions that waits \
        for what comes. Delivery is the time from when a batch was due until its last record is in \
        the consumer's hand, decoded and checked against what was sent. What is due in the first \
        second warms up and is not counted. With --admin the server tells of the slowest \
        acknowledgements where their time went, in microseconds: in its queue, in the group that \
        formed, in writing and syncing it, in the reply; what is left was outside of it. The \
        server remembers 64 for each core, and how long all others took at most: so of the others, if \
        they are durable, it is known how much was outside at least. --acks keeps a line of JSON for each \
        acknowledgement that is counted {partition, offset, due_us, us}, as `corelog bench latency` prints them. A load \
        that fails midway tells what it measured until then, and why.",
    after_long_help = "EXAMPLES\n  \
        corelog bench mixed --rate 500\n  \
        corelog bench mixed --rate 200000 --batch-records 200 --partitions 8 --duration 60m \\\n    \
            --admin 127.0.0.1:7399"
)]
pub(crate) struct Args {
    #[command(flatten)]
    load: Load,
    /// The server's admin address, which tells where the time of the slowest acknowledgements went.
    #[arg(long, value_name = "HOST:PORT", value_parser = cli::address)]
    admin: Option<String>,
    /// Where to keep a line for each acknowledgement that is counted; a file that is there is written anew.
    #[arg(long, value_name = "FILE")]
    acks: Option<PathBuf>,
    #[command(flatten)]
    client: cli::Client,
}

/// Runs the load and prints what it measured.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    args.load.check()?;
    if args.load.duration.0 <= WARM_UP {
        return Err(stop(
            Exit::Usage,
            "the first second is not counted: --duration above 1s",
        ));
    }
    session::run(&args.client, |client| bench(args, client))
}

/// What is measured.
struct Measured {
    acks: Latencies,
    deliveries: Deliveries,
    slowest: Slowest,
    /// Whether all was acknowledged and delivered; what was until it failed is measured all the same.
    outcome: anyhow::Result<()>,
}

/// By how long it took, and which batch it was.
type Slowest = BTreeMap<(Duration, PartitionId, Offset), Acked>;

async fn bench(args: &Args, client: Client) -> anyhow::Result<Exit> {
    // That nobody answers there is better known before the load than after it.
    told(args.admin.as_deref()).await?;
    args.load.create(&client).await?;
    let each = args.acks.as_deref().map(Each::create).transpose()?;
    let measuring = measure(args, each, &client);
    let (measured, warm) = LocalSet::new().run_until(measuring).await?;
    let told = told(args.admin.as_deref()).await.unwrap_or_else(|error| {
        // What was measured is told all the same.
        say(&format!(
            "where the server's time went is not known: {error:#}"
        ));
        None
    });
    let accounts = Accounts::of(&args.load, told);
    let printed = match measured.outcome.is_ok() || !measured.slowest.is_empty() {
        true => print(args, &measured, (warm, &accounts)),
        false => Ok(()),
    };
    let outcomes = [measured.outcome, printed];
    Ok(exit::after_all(
        outcomes.map(|outcome| outcome.map(|()| Exit::Done)),
    ))
}

/// What the server tells of its slowest acknowledgements, if it is known whom to ask.
async fn told(admin: Option<&str>) -> anyhow::Result<Option<SlowAckRows>> {
    match admin {
        Some(address) => admin::ask(address, "/v1/slowest").await.map(Some),
        None => Ok(None),
    }
}

/// What is measured, and from when on.
async fn measure(
    args: &Args,
    each: Option<Each>,
    client: &Client,
) -> anyhow::Result<(Measured, Instant)> {
    let (load, options) = (&args.load, &args.client);
    let mut followers = Followers::begin(load, options, WARM_UP).await?;
    let (schedule, mut acks) = load.prepare(client, 1, options.timeout()).start();
    followers.tell_schedule(schedule);
    let warm = schedule.due(0) + WARM_UP;
    let mut acked = Acknowledged {
        warm,
        latencies: Latencies::new()?,
        slowest: BTreeMap::new(),
        each,
    };
    let mut followed = None;
    let acknowledged = loop {
        tokio::select! {
            ack = acks.recv() => match ack {
                Some(Ok(ack)) => acked.note(ack)?,
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            },
            // A record may be in their hands before its acknowledgement is here.
            ended = followers.ended(), if followed.is_none() => {
                let has_failed = followed.insert(ended?).outcome.is_err();
                if has_failed {
                    break Ok(());
                }
            }
        }
    };
    followers.over(match acknowledged {
        Ok(()) => Over::Acked,
        Err(_) => Over::Failed,
    });
    let Followed {
        deliveries,
        outcome,
    } = match followed {
        Some(followed) => followed,
        None => followers.ended().await?,
    };
    acked.each.map_or(Ok(()), Each::finish)?;
    let measured = Measured {
        acks: acked.latencies,
        deliveries,
        slowest: acked.slowest,
        outcome: acknowledged.and(outcome),
    };
    Ok((measured, warm))
}

/// What was acknowledged so far.
struct Acknowledged {
    /// What was due before is not counted.
    warm: Instant,
    latencies: Latencies,
    slowest: Slowest,
    /// Those that are counted, if they are to be kept.
    each: Option<Each>,
}

impl Acknowledged {
    fn note(&mut self, acked: Acked) -> anyhow::Result<()> {
        if acked.due < self.warm {
            return Ok(());
        }
        if let Some(each) = &mut self.each {
            each.note(&acked)?;
        }
        self.latencies.add(acked.took);
        let key = (acked.took, acked.partition, acked.offset);
        self.slowest.insert(key, acked);
        if self.slowest.len() > SLOWEST_COUNT {
            self.slowest.pop_first();
        }
        Ok(())
    }
}

fn print(
    args: &Args,
    measured: &Measured,
    (warm, accounts): (Instant, &Accounts),
) -> anyhow::Result<()> {
    let deliveries = &measured.deliveries;
    let took = deliveries.ended.saturating_duration_since(warm);
    let rates = Rates::of(deliveries.records, deliveries.bytes, took);
    let slowest = measured.slowest.values().rev();
    let slowest = slowest.map(|acked| (acked, accounts.account(acked)));
    let mut out = Out::new();
    match args.client.output {
        Format::Table => {
            let mut rows = rates.rows();
            rows.extend(measured.acks.rows("ack"));
            rows.extend(deliveries.latencies.rows("delivery"));
            if let Some(us) = accounts.inside_us_max() {
                rows.push(vec!["ack inside max".to_owned(), format!("{us} us")]);
            }
            out.table(&[], rows)?;
            out.line("")?;
            out.table(&SLOWEST_HEADS, slowest.map(slow_row))?;
        }
        Format::Json => {
            let slow = |(acked, account): (&Acked, Account<'_>)| {
                json!({
                    "us": micros(acked.took),
                    "partition": acked.partition.get(),
                    "offset": acked.offset.get(),
                    "due_us": acked.due_us,
                    "server": account.row,
                    "outside_us_min": account.outside_us,
                })
            };
            out.json(&json!({
                "partitions": args.load.partitions,
                "record_bytes": args.load.record_bytes.bytes(),
                "batch_records": args.load.batch_records,
                "rate": args.load.rate,
                "records": deliveries.records,
                "bytes": deliveries.bytes,
                "seconds": rates.seconds,
                "records_per_s": rates.records_per_s,
                "mib_per_s": rates.mib_per_s,
                "ack_us": measured.acks.json(),
                "delivery_us": deliveries.latencies.json(),
                "inside_us_max": accounts.inside_us_max(),
                "slowest": slowest.map(slow).collect::<Vec<_>>(),
            }))?;
        }
    }
    out.flush()
}

fn slow_row((acked, account): (&Acked, Account<'_>)) -> Vec<String> {
    let mut row = vec![
        micros(acked.took).to_string(),
        acked.partition.to_string(),
        acked.offset.to_string(),
        acked.due_us.to_string(),
    ];
    let parts = account
        .row
        .map(|told| told.parts_us().map(|us| us.to_string()));
    let about = if parts.is_some() { "" } else { "≥ " };
    row.extend(parts.unwrap_or_default());
    let outside = account.outside_us.map(|us| format!("{about}{us}"));
    row.push(outside.unwrap_or_default());
    row
}

/// The last five: what the server tells, and what is left of the whole for all that is not it.
const SLOWEST_HEADS: [&str; 9] = [
    "SLOWEST US",
    "PARTITION",
    "OFFSET",
    "DUE US",
    "QUEUE",
    "GROUP",
    "SYNC",
    "REPLY",
    "OUTSIDE",
];

/// What is due before is not counted.
const WARM_UP: Duration = Duration::from_secs(1);

/// How many of the slowest acknowledgements are told.
const SLOWEST_COUNT: usize = 20;
