//! `corelog bench delivery`: from a producer to a consumer that waits, one record at a time.

use std::pin::pin;
use std::time::{Duration, Instant};

use corelog_client::{Client, Consumer, Producer, ProducerConfig};
use corelog_protocol::message::ack::Level;
use corelog_record::batch::Codec;
use corelog_record::{ByteSize, PartitionId, TopicName};
use serde_json::json;
use tokio::time::timeout;

use super::follow::follow;
use super::latencies::Latencies;
use super::payload::{self, Check, Place, Values};
use super::target;
use crate::cmd::topic::policy::Ack;
use crate::exit::{Exit, stop};
use crate::output::{Format, Out};
use crate::{cli, quantity, session};

/// Measure the way from a producer to a consumer that waits, one record at a time.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Measure the way from a producer to a consumer that waits, one record at a time.\n\n\
        A closed loop: the next record is sent once the one before was acknowledged and is in the consumer's \
        hand, decoded and checked against what was sent. Both times count from sending it. The first tenth \
        warms up and is not counted. `corelog bench mixed` measures the same under a steady load.",
    after_long_help = "EXAMPLES\n  \
        corelog bench delivery\n  \
        corelog bench delivery --record-bytes 100B --ack accepted --output json"
)]
pub(crate) struct Args {
    /// The topic to produce to; it is created if it is not there. Nobody else may send to it meanwhile.
    #[arg(long, value_name = "NAME", value_parser = quantity::topic_name, default_value = "bench")]
    topic: TopicName,
    /// The size of a record's value, at least 16 bytes.
    #[arg(long, value_name = "SIZE", default_value = "1KiB")]
    record_bytes: ByteSize,
    /// How many records to send.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    count: u64,
    /// When a record counts as acknowledged [default: what the topic says]
    #[arg(long, value_name = "LEVEL", value_enum)]
    ack: Option<Ack>,
    #[command(flatten)]
    consent: target::Consent,
    #[command(flatten)]
    client: cli::Client,
}

/// Sends the records and prints what it measured.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    payload::check_bytes(args.record_bytes)?;
    if args.count == 0 {
        return Err(stop(Exit::Usage, "there is nothing to measure: --count 0"));
    }
    session::run(&args.client, |client| bench(args, client))
}

async fn bench(args: &Args, client: Client) -> anyhow::Result<Exit> {
    target::create(&client, &args.topic, 1, args.consent).await?;
    let patience = args.client.timeout();
    let bytes = usize::try_from(args.record_bytes.bytes()).unwrap_or(usize::MAX);
    let place = Place {
        topic: &args.topic,
        partition: PartitionId::default(),
    };
    let round_trips = RoundTrips {
        consumer: follow(&client, &args.topic, 1, patience).await?,
        producer: client.producer(ProducerConfig {
            linger: Duration::ZERO,
            level: args.ack.map(Level::from),
            delivery_timeout: patience,
            ..ProducerConfig::default()
        }),
        topic: args.topic.clone(),
        values: Values::new(place, 0, bytes, 1),
        check: Check::whole(place),
        patience,
    };
    // As a task: what the runtime itself waits for is woken by a system call each time.
    let measured = tokio::spawn(round_trips.measure(args.count)).await??;
    print(args, &measured)?;
    Ok(Exit::Done)
}

/// Records on their way from a producer to a consumer, one after the other.
struct RoundTrips {
    producer: Producer,
    consumer: Consumer,
    topic: TopicName,
    values: Values,
    check: Check,
    patience: Duration,
}

/// What is measured.
struct Measured {
    acks: Latencies,
    deliveries: Latencies,
}

impl RoundTrips {
    async fn measure(mut self, count: u64) -> anyhow::Result<Measured> {
        let mut measured = Measured {
            acks: Latencies::new()?,
            deliveries: Latencies::new()?,
        };
        for number in 0..count {
            let (acked, delivered) = self.send(number).await?;
            if count / 10 <= number {
                measured.acks.add(acked);
                measured.deliveries.add(delivered);
            }
        }
        Ok(measured)
    }

    /// Sends a record; the times until it was acknowledged and until the consumer had it.
    async fn send(&mut self, number: u64) -> anyhow::Result<(Duration, Duration)> {
        let batch = payload::build(&mut self.values, 1, Codec::None)?;
        let sent = Instant::now();
        let sending = self
            .producer
            .send_batch(&self.topic, PartitionId::default(), batch);
        let mut acking = sending.await?;
        let mut arriving = pin!(arrive(&mut self.consumer, &mut self.check, number));
        let mut delivered = None;
        let acked = loop {
            tokio::select! {
                acked = &mut acking => break acked.map(|_| sent.elapsed())?,
                arrived = &mut arriving, if delivered.is_none() => {
                    arrived?;
                    delivered = Some(sent.elapsed());
                }
            }
        };
        let delivered = match delivered {
            Some(delivered) => delivered,
            None => {
                let late = |_| {
                    let message = format!(
                        "a record that was acknowledged has not been delivered for {:?}",
                        self.patience
                    );
                    stop(Exit::Damage, message)
                };
                timeout(self.patience, arriving).await.map_err(late)??;
                sent.elapsed()
            }
        };
        Ok((acked, delivered))
    }
}

/// Waits until the consumer has the value of that number.
async fn arrive(consumer: &mut Consumer, check: &mut Check, number: u64) -> anyhow::Result<()> {
    while let Some(batch) = consumer.next_batch().await {
        if check.look_at(&batch?)?.last == number {
            return Ok(());
        }
    }
    Err(stop(Exit::Failed, "the consumer ended"))
}

fn print(args: &Args, measured: &Measured) -> anyhow::Result<()> {
    let mut out = Out::new();
    match args.client.output {
        Format::Table => {
            let mut rows = measured.acks.rows("ack");
            rows.extend(measured.deliveries.rows("delivery"));
            out.table(&[], rows)?;
        }
        Format::Json => out.json(&json!({
            "record_bytes": args.record_bytes.bytes(),
            "count": args.count,
            "ack_us": measured.acks.json(),
            "delivery_us": measured.deliveries.json(),
        }))?,
    }
    out.flush()
}
