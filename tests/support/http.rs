//! Just enough HTTP to ask a server's side thread.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::deadline::DEADLINE;

/// The status and body of `GET path`.
pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let (head, body) = ask(address, path, "*/*");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body)
}

/// The JSON that `GET path` answers.
pub(crate) fn json(address: SocketAddr, path: &str) -> serde_json::Value {
    let (status, body) = get(address, path);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// The head and body of `GET path` by somebody who accepts `accept`.
pub(crate) fn ask(address: SocketAddr, path: &str, accept: &str) -> (String, String) {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // In one piece: a server waits a second for the rest of one that has begun.
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: corelog\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// The sum over all label sets of the metric `name`.
pub(crate) fn metric(address: SocketAddr, name: &str) -> f64 {
    let found = metric_if_any(address, name);
    found.unwrap_or_else(|| panic!("no metric is called {name}"))
}

/// The same, if there is any. A name with the beginning of its labels, up to a comma, names those.
pub(crate) fn metric_if_any(address: SocketAddr, name: &str) -> Option<f64> {
    let (status, text) = get(address, "/metrics");
    assert_eq!(status, 200);
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let is_it = rest.starts_with([' ', '{', ',', '}']);
        let (_, value) = line.rsplit_once(' ')?;
        is_it.then(|| value.parse::<f64>().unwrap())
    });
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum())
}
