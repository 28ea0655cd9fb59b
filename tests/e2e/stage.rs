//! What a server tells over HTTP while it does not serve: it lives, and is not ready, with the reason.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Child;

use corelog_record::Offset;
use corelog_record::batch::Codec;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::brake::Brake;
use crate::support::deadline::{Watch, output_of, until};
use crate::support::folder::Folder;
use crate::support::http;
use crate::support::server::Start;
use crate::support::wire::{Wire, batch};

/// All that is told as JSON.
const TOLD: [&str; 6] = [
    "/v1/node",
    "/v1/topics",
    "/v1/partitions",
    "/v1/connections",
    "/v1/clones",
    "/v1/slowest",
];

/// Where a process that has not said so listens, on a free port of loopback; none if it does not yet.
fn listens_at(child: &Child) -> Option<SocketAddr> {
    let of_process = format!("/proc/{}", child.id());
    let links = std::fs::read_dir(format!("{of_process}/fd")).ok()?;
    let targets = links.flatten().filter_map(|link| {
        let target = std::fs::read_link(link.path()).ok()?;
        let target = target.to_string_lossy().into_owned();
        let inode = target.strip_prefix("socket:[")?.strip_suffix(']')?;
        Some(inode.to_owned())
    });
    let sockets: BTreeSet<_> = targets.collect();
    let table = std::fs::read_to_string(format!("{of_process}/net/tcp")).ok()?;
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (_, port) = fields[1].split_once(':')?;
        let is_it = fields[3] == LISTENS && sockets.contains(fields[9]);
        let port = u16::from_str_radix(port, 16).ok()?;
        is_it.then(|| (Ipv4Addr::LOCALHOST, port).into())
    })
}

/// The word of `/proc/net/tcp` for a socket that listens.
const LISTENS: &str = "0A";

/// Who looks is told that the process lives, that it is not ready, and why.
fn assert_told(admin: SocketAddr, why: &str) {
    assert_eq!(http::get(admin, "/livez"), (200, "ok\n".to_owned()));
    assert_eq!(http::get(admin, "/readyz"), (503, format!("{why}\n")));
    for path in TOLD {
        let (status, body) = http::get(admin, path);
        let told: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &told["error"]), (503, &why.into()), "{path}");
    }
}

#[test]
fn a_server_that_starts_lives_and_is_not_ready() {
    let folder = Folder::new();
    let _brake = Brake::on(&folder.path().join("place"));
    let child = Start::on(folder.path()).command().spawn().unwrap();
    let _watch = Watch::over(child.id(), "a server that does not serve yet");
    let mut admin = None;
    until("it tells of itself", || {
        admin = listens_at(&child);
        admin.is_some()
    });
    assert_told(admin.unwrap(), "starting");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let output = output_of(child, "a server that does not serve yet");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_server_that_stops_lives_and_is_not_ready_any_more() {
    let folder = Folder::new();
    let start = Start::on(folder.path());
    let server = start.arg("--stop-timeout=60s").start();
    let admin = server.ready.admin;
    let mut deaf = Wire::open(server.ready.listen).unwrap();
    let topic = deaf.topic("t", 1, 64 << 20);
    let bytes = batch(Codec::None, [vec![b'x'; 1 << 19]]);
    for _ in 0..16 {
        deaf.call(&topic.produce(0), &bytes).unwrap().unwrap();
    }
    // More than the system takes for a client that reads nothing: a stop waits until it does.
    for _ in 0..4 {
        let mut fetch = topic.fetch(0, Offset::ZERO);
        fetch.max_bytes = 8 << 20;
        deaf.send(&fetch, &[]).unwrap();
    }
    until("an answer is on its way", || {
        http::metric(admin, "corelog_fetched_bytes_total") > 4e6
    });
    server.signal(Signal::SIGTERM);
    until("it stops", || {
        http::get(admin, "/readyz").1.contains("stopping")
    });
    assert_told(admin, "stopping");
    while deaf.receive().is_ok() {}
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
}
