//! The adapters: one file each, and the list of all.

mod bare;
mod corelog;
mod corelog_protocol;
mod nats;
mod rabbitmq;
mod redis;
mod stream_protocol;

use std::path::Path;

use crate::contender::Contender;

pub use corelog::{Client, Corelog};

/// Every contender there is, installed or not; the first is the one that others are compared with.
pub fn all(corelog: &Path, bare: &Path) -> Vec<Box<dyn Contender>> {
    vec![
        Box::new(corelog::Corelog::new(corelog, corelog::Client::Own)),
        Box::new(corelog::Corelog::new(corelog, corelog::Client::Plain)),
        Box::new(bare::Bare::new(bare)),
        Box::new(redis::Redis::default()),
        Box::new(nats::Nats::default()),
        Box::new(rabbitmq::RabbitMq::default()),
    ]
}
