//! Starts on a machine that has other things to do.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use corelog_protocol::message::produce;
use corelog_record::batch::Codec;

use crate::contention::Contention;
use crate::support::chance;
use crate::support::folder::Folder;
use crate::support::server::{Server, Start};
use crate::support::wire::{Wire, batch};

/// A core that parks with runnable tasks answers nobody until something unrelated wakes it. The
/// runtime's guard keeps that from happening; without it several of a hundred such starts hang.
/// `CORELOG_STARTS` sets how many are made, `CORELOG_TEST_SERVER` names another server binary, such
/// as `corelog-node`'s example `unguarded`, which shows the hang.
#[test]
fn no_start_under_contention_hangs() {
    let starts = chance::number("CORELOG_STARTS", 100);
    let folder = Folder::new();
    let data_dir = folder.path().join("data");
    let _contention = Contention::begin();
    let mut durations = Vec::new();
    let mut hung = Vec::new();
    for number in 0..starts {
        let begun = Instant::now();
        match loaded_start(&data_dir) {
            Ok(()) => durations.push(begun.elapsed()),
            Err(why) => {
                println!("start {number}: {why}");
                hung.push(number);
            }
        }
    }
    durations.sort();
    if let (Some(median), Some(most)) = (durations.get(durations.len() / 2), durations.last()) {
        println!("{starts} loaded starts: median {median:?}, most {most:?}");
    }
    assert!(
        hung.is_empty(),
        "{} of {starts} starts hung: {hung:?}",
        hung.len()
    );
}

/// Starts a server of two cores, loads both at once, and stops it the hard way.
fn loaded_start(data_dir: &Path) -> Result<(), String> {
    let server = Start::on(data_dir).cores(2).try_start(HANG)?;
    let loads: Vec<_> = (0..CONNECTIONS)
        .map(|index| {
            let address = server.ready.cores[index % server.ready.cores.len()];
            let partition = u32::try_from(index % PARTITIONS).unwrap();
            thread::spawn(move || load(address, partition))
        })
        .collect();
    let results: Vec<_> = loads.into_iter().map(|load| load.join().unwrap()).collect();
    let outcome = results.into_iter().collect::<Result<(), std::io::Error>>();
    let ended = Server::kill(server);
    outcome.map_err(|error| format!("{error}; the server logged: {}", ended.log))
}

/// Produces durably, several batches at a time, from the first moment on.
fn load(address: std::net::SocketAddr, partition: u32) -> std::io::Result<()> {
    let mut wire = Wire::open(address)?;
    wire.stream().set_read_timeout(Some(HANG))?;
    let topic = wire.topic("load", u32::try_from(PARTITIONS).unwrap(), 1 << 20);
    let record = batch(Codec::None, [[7; 300]; 4]);
    for _ in 0..ROUND_TRIPS {
        for _ in 0..WINDOW {
            wire.send(&topic.produce(partition), &record)?;
        }
        for _ in 0..WINDOW {
            let answer = wire.receive()?.read::<produce::Request>();
            answer.map_err(std::io::Error::other)?;
        }
    }
    Ok(())
}

/// What takes longer than this hangs. An answer takes milliseconds, also under contention, and a hang has no end; a machine
/// may stand still for seconds.
const HANG: Duration = Duration::from_secs(60);

const CONNECTIONS: usize = 4;
const PARTITIONS: usize = 4;
const ROUND_TRIPS: usize = 20;
const WINDOW: usize = 4;
