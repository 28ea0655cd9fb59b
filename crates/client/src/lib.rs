//! A tokio client for Corelog: metadata cache, producer, consumer, administration.
//!
//! ```no_run
//! use corelog_client::record::{Record, TopicName};
//! use corelog_client::{Client, ClientConfig, ConsumerConfig, End, ProducerConfig, Start, now};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(ClientConfig::new(["127.0.0.1:7400"])).await?;
//! let topic = TopicName::new("events")?;
//!
//! let producer = client.producer(ProducerConfig::default());
//! let record = Record::new(now(), "one apple");
//! let delivery = producer.send(&topic, None, record).await?; // accepted: waits while memory is full
//! let ack = delivery.await?;                                 // in the log: `ack.level` says how safe it is
//! println!("partition {} offset {}", ack.partition, ack.offset);
//!
//! let mut consumer = client.consumer(ConsumerConfig::default());
//! consumer.assign(&topic, ack.partition, Start::Offset(ack.offset), End::HighWatermark);
//! while let Some(received) = consumer.next().await {
//!     println!("{:?}", received?.value);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | room           | what lives there                                                      |
//! |----------------|-----------------------------------------------------------------------|
//! | `connection`   | frames, pipelining, timeouts, the pool, pauses between attempts       |
//! | `metadata`     | which topics there are and where their partitions' owners listen      |
//! | `client`       | routes: the owner's address, else a shared port; retries of requests  |
//! | `producer`     | batches, order, outcomes, bounded memory                              |
//! | `consumer`     | prefetch, verification, records as slices of what was fetched         |
//! | `retry`        | whether and when a request is sent again                              |
//! | `admin`        | topics, settings, offsets; replicas; snapshots, restores, scrubs      |
//! | `clock`        | the time of records that are made here                                |
//! | `error`        | what can go wrong, and whether the request may have taken effect      |
//!
//! Never here: files, a server's decisions, a runtime other than tokio. Below lie the two crates without I/O,
//! [`record`] and [`protocol`].
//!
//! The laws: a request is sent again only if it was certainly not applied, or twice is once; an
//! unknown outcome is told, never guessed; no byte that fails its checksum is handed out; every
//! queue is bounded.

mod admin;
mod client;
mod clock;
mod connection;
mod consumer;
mod error;
mod metadata;
mod producer;
mod retry;

pub use admin::{Admin, NewTopic};
pub use client::{Client, ClientConfig, Untold};
pub use clock::now;
pub use connection::Backoff;
pub use consumer::{
    Consumer, ConsumerConfig, End, Headers, Progress, Received, ReceivedBatch, Start,
};
pub use corelog_protocol as protocol;
pub use corelog_record as record;
pub use error::{Error, Fault, Outcome};
pub use metadata::{Partition, Topic};
pub use producer::{
    Ack, BatchAck, BatchDelivery, BatchReport, Delivery, Observer, ProduceError, Producer,
    ProducerConfig, partition_of_key,
};
