//! Measures how long a long poll takes to wake, and what waiting costs a server.
//!
//! ```text
//! corelog serve --data-dir DIR &
//! cargo run --release -p corelog-client --example long_poll -- 127.0.0.1:7400 [PID]
//! ```
//!
//! For 1 and for 100 followers of one partition: from the call that produces a record to the
//! moment a follower has it in its hands, the record's sync included. Then, if the server's
//! process id is given (Linux only), the processor time that it takes while 100 followers of 100
//! partitions wait and nothing happens.

use std::error::Error;
use std::time::Duration;

use corelog_client::record::{PartitionId, Record, TopicName};
use corelog_client::{
    Client, ClientConfig, Consumer, ConsumerConfig, End, NewTopic, Producer, ProducerConfig, Start,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let server = args
        .next()
        .ok_or("usage: long_poll SERVER [PID of the server]")?;
    let pid = args.next();
    for followers in [1, 100] {
        let client = Client::connect(ClientConfig::new([server.clone()])).await?;
        wake(&client, followers).await?;
    }
    if let Some(pid) = pid {
        let client = Client::connect(ClientConfig::new([server])).await?;
        idle(&client, &pid).await?;
    }
    Ok(())
}

/// Prints how long it takes from a call of `send` to its record in each follower's hands.
async fn wake(client: &Client, followers: usize) -> Result<()> {
    let topic = fresh_topic(client, 1).await?;
    let producer = client.producer(ProducerConfig {
        linger: Duration::ZERO,
        ..ProducerConfig::default()
    });
    let (woken, mut wakes) = unbounded_channel();
    for _ in 0..followers {
        let consumer = follow(client, &topic, PartitionId::new(0));
        tokio::spawn(report(consumer, woken.clone()));
    }
    let mut acks = Vec::new();
    let mut latencies = Vec::new();
    for round in 0..WARM_ROUNDS + ROUNDS {
        // Long enough for every follower to be parked again.
        sleep(PAUSE).await;
        let begun = Instant::now();
        let ack = send(&producer, &topic, PartitionId::new(0)).await?;
        let moments = all(&mut wakes, followers).await?;
        if round >= WARM_ROUNDS {
            acks.push(ack.duration_since(begun));
            latencies.extend(moments.iter().map(|moment| moment.duration_since(begun)));
        }
    }
    print(&format!("wake of {followers} followers"), &mut latencies);
    print(&format!("ack beside {followers} followers"), &mut acks);
    Ok(())
}

/// Prints the processor time of a server with 100 followers that wait.
async fn idle(client: &Client, pid: &str) -> Result<()> {
    let topic = fresh_topic(client, PARTITIONS).await?;
    let producer = client.producer(ProducerConfig::default());
    let (woken, mut wakes) = unbounded_channel();
    for partition in (0..PARTITIONS).map(PartitionId::new) {
        let consumer = follow(client, &topic, partition);
        tokio::spawn(report(consumer, woken.clone()));
        send(&producer, &topic, partition).await?;
    }
    // Each got its first record: from now on all of them wait.
    all(&mut wakes, PARTITIONS as usize).await?;
    sleep(SETTLE).await;
    let before = processor_ticks(pid)?;
    sleep(IDLE).await;
    let ticks = processor_ticks(pid)? - before;
    let percent = 100.0 * f64::from(ticks) / f64::from(TICKS_PER_SECOND) / IDLE.as_secs_f64();
    println!("idle with {PARTITIONS} partitions and as many followers: {percent:.2} % of a core");
    Ok(())
}

async fn fresh_topic(client: &Client, partitions: u32) -> Result<TopicName> {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed()?;
    let topic = TopicName::new(&format!("long-poll-{}", since.as_nanos()))?;
    let new = NewTopic::new(topic.clone(), partitions);
    client.admin().create_topic(new).await?;
    Ok(topic)
}

fn follow(client: &Client, topic: &TopicName, partition: PartitionId) -> Consumer {
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign(topic, partition, Start::Earliest, End::Follow);
    consumer
}

/// Tells when each record arrives, until nobody listens.
async fn report(mut consumer: Consumer, woken: UnboundedSender<Instant>) {
    while let Some(Ok(_)) = consumer.next().await {
        if woken.send(Instant::now()).is_err() {
            return;
        }
    }
}

/// Sends one record and tells when it was acknowledged.
async fn send(producer: &Producer, topic: &TopicName, to: PartitionId) -> Result<Instant> {
    let record = Record {
        value: Some(vec![7; 100]),
        ..Record::default()
    };
    producer.send(topic, Some(to), record).await?.await?;
    Ok(Instant::now())
}

async fn all(wakes: &mut UnboundedReceiver<Instant>, count: usize) -> Result<Vec<Instant>> {
    let mut moments = Vec::with_capacity(count);
    while moments.len() < count {
        moments.push(wakes.recv().await.ok_or("a follower ended")?);
    }
    Ok(moments)
}

fn print(what: &str, latencies: &mut [Duration]) {
    latencies.sort_unstable();
    let at = |share: usize| latencies[(latencies.len() - 1) * share / 1_000];
    println!(
        "{what}: median {:?}, p99 {:?}, most {:?} of {}",
        at(500),
        at(990),
        at(1_000),
        latencies.len()
    );
}

/// User and system time of a process, in clock ticks (`proc_pid_stat(5)`, fields 14 and 15).
fn processor_ticks(pid: &str) -> Result<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").ok_or("an odd stat")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || -> Result<u32> { Ok(fields.next().ok_or("a short stat")?.parse()?) };
    Ok(ticks()? + ticks()?)
}

const WARM_ROUNDS: usize = 20;
const ROUNDS: usize = 500;
const PAUSE: Duration = Duration::from_millis(10);
const PARTITIONS: u32 = 100;
const SETTLE: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(10);

/// `USER_HZ`, which Linux has kept at 100 for every program to rely on.
const TICKS_PER_SECOND: u32 = 100;
