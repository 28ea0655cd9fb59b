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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    /// What was asked of a server that had stopped to serve was waited for without an end, and its time to start with that.
    #[test]
    fn a_server_that_accepts_and_says_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let given_up = [
            super::corelog_protocol::greet(&address.to_string()).map(drop),
            super::redis::Redis::at(address.port()).ping(),
        ];
        for error in given_up.map(Result::unwrap_err) {
            let error = error.downcast::<std::io::Error>().unwrap();
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        }
    }
}
