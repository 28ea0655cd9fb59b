//! An open loop of producers: a batch is due every so often, whether or not earlier ones were
//! acknowledged, and its latency counts from when it was due, so that a stall shows in every batch behind
//! it (Tene, *How NOT to measure latency*, 2015).

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use corelog_client::{BatchDelivery, Client, Producer, ProducerConfig};
use corelog_protocol::message::ack::Level;
use corelog_record::batch::Codec;
use corelog_record::{ByteSize, Offset, PartitionId, TopicName};
use tokio::sync::mpsc;

use super::payload::{self, Place, Values};
use super::target;
use crate::cmd::topic::policy::Ack;
use crate::exit::{Exit, stop};
use crate::quantity;
use crate::quantity::Span;

/// What is due, and for how long.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Load {
    /// The topic to produce to; it is created if it is not there.
    #[arg(long, value_name = "NAME", value_parser = quantity::topic_name, default_value = "bench")]
    pub(super) topic: TopicName,
    /// How many partitions take turns.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) partitions: u32,
    /// The size of a record's value, at least 16 bytes.
    #[arg(long, value_name = "SIZE", default_value = "1KiB")]
    pub(super) record_bytes: ByteSize,
    /// Records per second.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(super) rate: u32,
    /// Records that are due together, as a batch.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) batch_records: u32,
    /// How long to go on.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(super) duration: Span,
    /// When a record counts as acknowledged [default: what the topic says]
    #[arg(long, value_name = "LEVEL", value_enum)]
    pub(super) ack: Option<Ack>,
    #[command(flatten)]
    pub(super) consent: target::Consent,
}

/// A batch that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acked {
    pub(super) partition: PartitionId,
    /// The offset of its first record.
    pub(super) offset: Offset,
    /// When it was due, here and in microseconds since 1970.
    pub(super) due: Instant,
    pub(super) due_us: u64,
    /// From then to the acknowledgement.
    pub(super) took: Duration,
}

pub(super) type Acks = mpsc::UnboundedReceiver<anyhow::Result<Acked>>;

/// When each batch is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    begun: Instant,
    begun_us: u64,
    batches_per_s: f64,
}

impl Load {
    /// Refuses what cannot be measured.
    ///
    /// # Errors
    /// Exit code 2.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let is_some = self.rate > 0 && self.batch_records > 0 && self.partitions > 0;
        if !is_some || self.duration.0.is_zero() {
            let message = "a load needs records: --rate, --batch-records, --partitions and --duration \
                           above 0";
            return Err(stop(Exit::Usage, message));
        }
        payload::check_bytes(self.record_bytes)
    }

    /// How many batches are due in all.
    pub(super) fn batch_count(&self) -> u64 {
        let micros = quantity::micros(self.duration.0);
        let records = micros.saturating_mul(self.rate.into()) / 1_000_000;
        (records / u64::from(self.batch_records)).max(1)
    }

    /// Creates the topic if it is not there.
    ///
    /// # Errors
    /// As [`target::create`]; if the topic has fewer partitions.
    pub(super) async fn create(&self, client: &Client) -> anyhow::Result<()> {
        let found = target::create(client, &self.topic, self.partitions, self.consent).await?;
        if found < self.partitions {
            let message = format!(
                "the topic has {found} partitions, --partitions is {}; name another with --topic",
                self.partitions
            );
            return Err(stop(Exit::Failed, message));
        }
        Ok(())
    }

    /// Has memory there for the batches that a stall leaves under way: what is new, a page at a time, takes longer to come
    /// by than to send, and a stall of a few milliseconds would go on for a hundred.
    fn touch(&self, backlog_bytes: usize) {
        let batch_bytes = self.record_bytes.bytes() * u64::from(self.batch_records);
        let batch_bytes = usize::try_from(batch_bytes).unwrap_or(usize::MAX);
        let count = (backlog_bytes / batch_bytes).min(IN_FLIGHT_MAX);
        let batches: Vec<_> = (0..count).map(|_| vec![1u8; batch_bytes]).collect();
        std::hint::black_box(&batches);
    }

    /// Makes all that is needed to send it by so many producers, which takes time.
    pub(super) fn prepare(&self, client: &Client, producers: u16, timeout: Duration) -> Sending {
        let config = ProducerConfig {
            linger: Duration::ZERO,
            level: self.ack.map(Level::from),
            delivery_timeout: timeout,
            in_flight_max: IN_FLIGHT_MAX,
            ..ProducerConfig::default()
        };
        let backlog_bytes = config.memory_bytes_max;
        let all: Vec<_> = (0..producers)
            .map(|number| (number, Rc::new(client.producer(config.clone()))))
            .collect();
        let bytes = usize::try_from(self.record_bytes.bytes()).unwrap_or(usize::MAX);
        // It takes tens of milliseconds where memory is new.
        self.touch(backlog_bytes);
        let turns = self.partitions.max(producers.into()) as usize;
        let partitions = (0..self.partitions).map(PartitionId::new).cycle();
        let streams = all.iter().cycle().zip(partitions).take(turns);
        let streams = streams.map(|((number, producer), partition)| {
            let place = Place {
                topic: &self.topic,
                partition,
            };
            Stream {
                producer: Rc::clone(producer),
                partition,
                values: Values::new(place, *number, bytes, self.batch_records),
            }
        });
        Sending {
            load: self.clone(),
            streams: streams.collect(),
        }
    }
}

impl Schedule {
    /// One of this load that begins now.
    fn begin(load: &Load) -> Self {
        Self {
            begun: Instant::now(),
            begun_us: now_us(),
            batches_per_s: f64::from(load.rate) / f64::from(load.batch_records),
        }
    }

    /// When a batch is due.
    pub(super) fn due(&self, batch: u64) -> Instant {
        self.begun + self.after(batch)
    }

    #[expect(clippy::cast_precision_loss, reason = "far fewer batches than 2^52")]
    fn after(&self, batch: u64) -> Duration {
        Duration::from_secs_f64(batch as f64 / self.batches_per_s)
    }

    /// The number of each batch when it is due, told by a thread: the runtime's own timers wake by
    /// whole milliseconds only.
    fn ticks(self, count: u64) -> mpsc::Receiver<u64> {
        // One that is told late is as late as it was: a latency counts from when it was due.
        let (sender, receiver) = mpsc::channel(TICKS_AHEAD_MAX);
        std::thread::spawn(move || {
            // The kernel would otherwise gather wake-ups within 50 microseconds. Late is all that
            // a refusal makes them.
            let _ = nix::sys::prctl::set_timerslack(1);
            for batch in 0..count {
                std::thread::sleep(self.due(batch).saturating_duration_since(Instant::now()));
                if sender.blocking_send(batch).is_err() {
                    break;
                }
            }
        });
        receiver
    }
}

/// What sends each batch when it is due.
pub(super) struct Sending {
    load: Load,
    /// They take turns.
    streams: Vec<Stream>,
}

/// What one producer sends to one partition.
struct Stream {
    producer: Rc<Producer>,
    partition: PartitionId,
    values: Values,
}

impl Stream {
    /// Sends its next batch.
    async fn send(&mut self, load: &Load) -> anyhow::Result<BatchDelivery> {
        let built = payload::build(&mut self.values, load.batch_records, Codec::None)?;
        let sent = self.producer.send_batch(&load.topic, self.partition, built);
        Ok(sent.await?)
    }
}

impl Sending {
    /// Sends a batch of each stream and waits for all of them: who is the first waits for connections and new files, too.
    ///
    /// # Errors
    /// As the client says.
    pub(super) async fn warm_up(&mut self) -> anyhow::Result<()> {
        let mut deliveries = Vec::new();
        for stream in &mut self.streams {
            deliveries.push(stream.send(&self.load).await?);
        }
        for delivery in deliveries {
            delivery.await?;
        }
        Ok(())
    }

    /// Begins to send what is due from now on, on tasks of this thread.
    pub(super) fn start(self) -> (Schedule, Acks) {
        let schedule = Schedule::begin(&self.load);
        let due = schedule.ticks(self.load.batch_count());
        let (acks, receiver) = mpsc::unbounded_channel();
        tokio::task::spawn_local(self.run(schedule, due, acks));
        (schedule, receiver)
    }

    async fn run(
        mut self,
        schedule: Schedule,
        mut due: mpsc::Receiver<u64>,
        acks: mpsc::UnboundedSender<anyhow::Result<Acked>>,
    ) {
        let turns = (0..self.streams.len()).cycle();
        for turn in turns {
            let Some(batch) = due.recv().await else {
                return;
            };
            let stream = &mut self.streams[turn];
            let delivery = match stream.send(&self.load).await {
                Ok(delivery) => delivery,
                Err(error) => {
                    // Nobody listens any more once a batch has failed.
                    let _ = acks.send(Err(error));
                    return;
                }
            };
            let (acks, producer) = (acks.clone(), Rc::clone(&stream.producer));
            let partition = stream.partition;
            tokio::task::spawn_local(async move {
                let told = delivery.await.map(|ack| Acked {
                    partition,
                    offset: ack.first,
                    due: schedule.due(batch),
                    due_us: schedule.begun_us + quantity::micros(schedule.after(batch)),
                    took: schedule.due(batch).elapsed(),
                });
                let _ = acks.send(told.map_err(Into::into));
                // It lives as long as something of it is awaited.
                drop(producer);
            });
        }
    }
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, quantity::micros)
}

/// Batches that are due and not looked at.
const TICKS_AHEAD_MAX: usize = 1_000;

/// An open loop does not wait for answers, so far more may be on their way than a program lets.
const IN_FLIGHT_MAX: usize = 1_000;
