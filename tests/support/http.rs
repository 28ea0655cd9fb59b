//! Just enough HTTP to ask a server's side thread.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::deadline::DEADLINE;

/// The status and body of `GET path`.
pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: corelog\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// The sum over all label sets of the metric `name`.
pub(crate) fn metric(address: SocketAddr, name: &str) -> f64 {
    let (status, text) = get(address, "/metrics");
    assert_eq!(status, 200);
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let is_it = rest.starts_with(' ') || rest.starts_with('{');
        let (_, value) = line.rsplit_once(' ')?;
        is_it.then(|| value.parse::<f64>().unwrap())
    });
    let values: Vec<f64> = values.collect();
    assert!(!values.is_empty(), "no metric is called {name} in:\n{text}");
    values.iter().sum()
}
