//! A crowd that means harm, or is broken, and one producer and one consumer that are well: these lose
//! nothing, the server stays within its memory, and afterwards it is as it was.
//!
//! `CORELOG_HOSTILE_SECONDS` says how long it goes on (60), `CORELOG_HOSTILE_CONNECTIONS` how many make up
//! the crowd (5,000). A quarter of the time the crowd is benign: as many connections, which only ask how the
//! server is. What was waited for acknowledgements and deliveries in both is printed, not judged; only, those who behave
//! go on in both.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod crowd;
mod good;

use std::str::FromStr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::crowd::{Crowd, Did, Manners};
use crate::good::{Good, Ledger, Waited};
use crate::support::deadline;
use crate::support::folder::Folder;
use crate::support::http::metric;
use crate::support::server::{Server, Start};
use crate::support::wire::Wire;

const CORES: u16 = 2;
const TAIL: &str = "16MiB";
const TRAFFIC: &str = "256MiB";
/// What the cores may take, what the process takes without any client, and what each connection may.
const CORE_BYTES: u64 = (16 + 256) << 20;
const PROCESS_BYTES: u64 = 64 << 20;
const CONNECTION_BYTES: u64 = 128 << 10;
/// What those who behave get done beside a hostile crowd is at least one in so many of what they do beside a benign one in
/// the same time: no machine is that uneven.
const SHARE_MIN: u64 = 10;
/// Descriptors that come and go by themselves: files, a scrape.
const SPARE_DESCRIPTORS: usize = 64;

fn setting<T: FromStr>(name: &str, default: T) -> T {
    let said = std::env::var(name).ok();
    said.map_or(default, |said| said.parse().ok().unwrap())
}

#[test]
fn a_hostile_crowd_takes_nothing_from_those_who_behave() {
    let seconds: u64 = setting("CORELOG_HOSTILE_SECONDS", 60);
    let wanted: usize = setting("CORELOG_HOSTILE_CONNECTIONS", 5_000);
    let count = connections_possible(wanted);
    let folder = Folder::new();
    let server = Start::on(&folder.path().join("data"))
        .cores(CORES)
        .arg("--tail-memory")
        .arg(TAIL)
        .arg("--traffic-memory")
        .arg(TRAFFIC)
        // All come from here, the well-behaved too.
        .arg("--connections-per-address-max")
        .arg((wanted + 100).to_string())
        .start();
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("good", u32::from(CORES), 16 << 20);
    crowd::fill(&mut wire);
    let ledger = Arc::<Ledger>::default();
    let good = Good::begin(server.ready.listen, &topic, &ledger);
    ledger.wait_for_acks(100);
    let descriptors = server.descriptors();
    let budget = u64::from(CORES) * CORE_BYTES + PROCESS_BYTES + count as u64 * CONNECTION_BYTES;

    let (benign, _) = beside(
        &server,
        Manners::Benign,
        count,
        seconds / 4,
        &ledger,
        budget,
    );
    let counted = |name| metric(server.ready.admin, name);
    let refused = counted("corelog_connections_refused_total");
    assert!(refused.abs() < 0.5, "{refused} who behave were refused");
    let cut_before = counted("corelog_connections_cut_total");
    let (hostile, did) = beside(
        &server,
        Manners::Hostile,
        count,
        seconds - seconds / 4,
        &ledger,
        budget,
    );
    let cut = counted("corelog_connections_cut_total") - cut_before;
    assert!(cut >= 1.0 && did.closed > 0, "nobody was cut: {did}");
    println!("beside a benign crowd of {count}: {benign}");
    println!("beside a hostile crowd of {count}: {hostile}");
    println!("p99 is {:.2} of it", hostile.ratio_of_p99(&benign));
    // Who is told to come again, or waits, loses nothing either, and gets nothing done.
    assert!(seconds / 4 <= benign.least(), "{benign}");
    let share = seconds / 4 * SHARE_MIN;
    assert!(
        benign.least() * (seconds - seconds / 4) <= hostile.least() * share,
        "{hostile}"
    );

    deadline::until("the crowd's connections are closed", || {
        server.descriptors() <= descriptors + SPARE_DESCRIPTORS
    });
    good.end();
    let mut after = Wire::open(server.ready.listen).unwrap();
    assert_eq!(after.owners(&topic).len(), usize::from(CORES));
    let acked = ledger.audit(&mut after, &topic);
    let refused = counted("corelog_connections_refused_total");
    println!("{acked} acknowledged, read once and in order; {refused} refused, {cut} cut");
    drop((wire, after));
    let ended = server.stop();
    assert!(ended.status.success(), "{}", ended.log);
    assert!(!ended.log.contains("fenced"), "{}", ended.log);
}

/// Has the good go on beside such a crowd for some time; what they waited for, and what it did.
fn beside(
    server: &Server,
    manners: Manners,
    count: usize,
    seconds: u64,
    ledger: &Ledger,
    budget: u64,
) -> (Waited, Did) {
    let crowd = Crowd::begin(server.ready.listen, manners, count);
    deadline::until("the crowd is there", || crowd.is_complete());
    ledger.take_waited();
    let (begun, mut most, mut open) = (Instant::now(), 0, Vec::new());
    while begun.elapsed() < Duration::from_secs(seconds) {
        open.push(metric(server.ready.admin, "corelog_connections"));
        most = server.resident_bytes().max(most);
        assert!(most <= budget, "{most} bytes are in memory, of {budget}");
        thread::park_timeout(Duration::from_millis(500));
    }
    let waited = ledger.take_waited();
    println!("{} MiB in memory at most, of {}", most >> 20, budget >> 20);
    // Those who were cut come back in their turn: what is open at most of the time, not at its end.
    open.sort_unstable_by(f64::total_cmp);
    let open = open[open.len() / 2];
    println!("{open} connections at half of the looks");
    let wanted = match manners {
        Manners::Benign => count * 9 / 10,
        Manners::Hostile => count / 3,
    };
    assert!(wanted as f64 <= open, "{open} of {count} are open");
    let did = crowd.end();
    println!("{did}");
    (waited, did)
}

/// As many of `wanted` as this process may have descriptors for, once it has asked for all it may have.
fn connections_possible(wanted: usize) -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let possible = usize::try_from(hard)
        .unwrap_or(usize::MAX)
        .saturating_sub(200);
    if possible < wanted {
        println!("this machine allows {hard} descriptors: {possible} connections, not {wanted}");
    }
    wanted.min(possible)
}
