//! Health, metrics and what a node tells of itself over HTTP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::kept::records::{produce, until_sealed};
use crate::support::corelog::Corelog;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::http;
use crate::support::server::Start;
use crate::support::wire::Wire;

#[test]
fn a_server_that_serves_is_alive_and_ready() {
    let folder = Folder::new();
    let server = Start::on(folder.path()).cores(2).start();
    let admin = server.ready.admin;
    assert_eq!(http::get(admin, "/livez"), (200, "ok\n".to_owned()));
    assert_eq!(http::get(admin, "/readyz"), (200, "ok\n".to_owned()));
    let (status, paths) = http::get(admin, "/metric");
    assert_eq!(status, 404);
    assert!(paths.contains("/metrics, "), "what there is: {paths}");
}

/// One of five such probes was answered with nothing.
#[test]
fn who_has_no_more_to_send_is_answered_all_the_same() {
    let folder = Folder::new();
    let server = Start::on(folder.path()).cores(1).start();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(server.ready.admin).unwrap();
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nHost: corelog\r\n\r\n")
            .unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
    }
}

/// Each connection took a descriptor, and those on which nothing was asked kept theirs.
#[test]
fn who_connects_and_asks_nothing_takes_few_descriptors_and_not_for_long() {
    let folder = Folder::new();
    let server = Start::on(folder.path()).cores(1).start();
    let admin = server.ready.admin;
    let fds = format!("/proc/{}/fd", server.pid());
    let open = || std::fs::read_dir(&fds).unwrap().count();
    let before = open();
    let idle: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(admin).unwrap())
        .collect();
    idle[0].set_nonblocking(true).unwrap();
    let mut most = 0;
    until("who was taken first is told that nothing comes", || {
        most = open().max(most);
        matches!((&idle[0]).read(&mut [0; 1]), Ok(0))
    });
    assert!(most < before + 32, "{before} before, {most} then");
    drop(idle);
    // What was open before may have been more than is open at rest.
    until("as many had been taken as may be", || open() + 16 <= most);
    assert_eq!(http::get(admin, "/livez").0, 200);
}

/// Sixteen of them kept all others waiting for five seconds, and as many more for five more.
#[test]
fn who_connects_and_asks_nothing_does_not_keep_a_server_from_telling_that_it_is_alive() {
    let folder = Folder::new();
    let server = Start::on(folder.path()).cores(1).start();
    let admin = server.ready.admin;
    let _idle = [(); 64].map(|()| TcpStream::connect(admin).unwrap());
    let asked = Instant::now();
    assert_eq!(http::get(admin, "/livez").0, 200);
    let waited = asked.elapsed();
    assert!(waited < Duration::from_secs(10), "{waited:?}");
}

/// The page was 503 then, of all cores: that one stands still was seen nowhere, and the counters of the last minutes
/// before the end neither.
#[test]
fn a_core_that_does_not_answer_is_told_and_the_others_are_counted() {
    let folder = Folder::new();
    let server = Start::on(folder.path()).cores(2).start();
    let admin = server.ready.admin;
    let corelog = Corelog::to(&server);
    let topic = ["topic", "create", "t", "--partitions", "2"];
    corelog.run(topic).done();
    let told = || {
        let (status, page) = http::get(admin, "/metrics");
        assert_eq!(status, 200, "{page}");
        let value = |name: &str| {
            let line = page.lines().find(|line| line.starts_with(name))?;
            line.rsplit_once(' ')?.1.parse::<f64>().ok()
        };
        let of_core =
            |name: &str| [0, 1].map(|core| value(&format!("corelog_{name}{{core=\"{core}\"")));
        [
            "core_answers",
            "stuck_total",
            "partitions",
            "busy_seconds_total",
        ]
        .map(|name| of_core(name).map(|value| value.map(|value| value > 0.0)))
    };
    let (yes, no) = (Some(true), Some(false));
    let all = [[yes, yes], [no, no], [yes, yes], [yes, yes]];
    until("both answer", || told() == all);
    let Some(frozen) = Frozen::of(server.pid(), "core-1") else {
        return;
    };
    let but_one = [[yes, no], [no, no], [yes, yes], [yes, None]];
    until("the other one answers", || told() == but_one);
    assert_eq!(http::get(admin, "/readyz").0, 503);
    assert_eq!(http::get(admin, "/livez").0, 200);
    drop(frozen);
    until("it answers again", || told() == all);
}

/// One kill in an hour was seen by nobody.
#[test]
fn an_end_that_was_none_in_order_is_counted_at_the_next_start() {
    let folder = Folder::new();
    let server = Start::on(folder.path()).cores(2).start();
    let corelog = Corelog::to(&server);
    let topic = ["topic", "create", "t", "--partitions", "2"];
    corelog.run(topic).done();
    corelog.feed(["produce", "t"], b"a\nb\n").done();
    let unclean = |admin| http::metric(admin, "corelog_unclean_total") > 0.0;
    assert!(!unclean(server.ready.admin), "it made them");
    server.kill();
    let server = Start::on(folder.path()).cores(2).start();
    assert!(unclean(server.ready.admin));
    server.stop();
    let server = Start::on(folder.path()).cores(2).start();
    assert!(!unclean(server.ready.admin));
}

/// A thread that stands still, until this is dropped.
struct Frozen(Child);

impl Frozen {
    /// The first thread of that name; nothing where Yama forbids it.
    fn of(pid: u32, name: &str) -> Option<Self> {
        let tasks = format!("/proc/{pid}/task");
        let tasks = std::fs::read_dir(tasks).unwrap().map(|task| task.unwrap());
        let is_it = |path: &Path| {
            let comm = std::fs::read_to_string(path.join("comm"));
            comm.is_ok_and(|comm| comm.trim() == name)
        };
        // A thread that has ended since has none. Those that a thread starts inherit its name.
        let threads = tasks.filter(|task| is_it(&task.path()));
        let threads = threads.map(|task| task.file_name().into_string().unwrap());
        let first = threads.min_by_key(|id| id.parse::<u32>().unwrap());
        let freeze = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/checks/freeze.py");
        let mut freezer = Command::new("python3")
            .args([freeze, &first.unwrap()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut reader = BufReader::new(freezer.stdout.take().unwrap());
        reader.read_line(&mut said).unwrap();
        (said == "held\n").then_some(Self(freezer))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn metrics_count_what_was_done() {
    let folder = Folder::new();
    let server = Start::on(folder.path()).cores(2).start();
    let (admin, corelog) = (server.ready.admin, Corelog::to(&server));
    corelog
        .run(["topic", "create", "t", "--partitions", "2"])
        .done();
    corelog
        .feed(["produce", "t", "--partition", "0"], b"a\nb\nc\n")
        .done();
    corelog.run(["topic", "describe", "none"]).failed(1);
    assert!(http::metric(admin, "corelog_appended_records_total") >= 3.0);
    assert!(http::metric(admin, "corelog_flushes_total") >= 1.0);
    assert!(http::metric(admin, "corelog_sync_seconds_count") >= 1.0);
    assert!(http::metric(admin, "corelog_errors_total") >= 1.0);
    assert!(http::metric(admin, "corelog_resident_bytes") > 1e6);
    assert_eq!(
        http::metric(admin, "corelog_partition_log_end").to_string(),
        "3"
    );
    assert_eq!(
        http::metric(admin, "corelog_partition_state").to_string(),
        "2"
    );
}

#[test]
fn what_alerts_watch_is_there_before_anything_has_happened() {
    let folder = Folder::new();
    let server = Start::on(folder.path()).cores(2).start();
    let admin = server.ready.admin;
    let metric = |name: &str| http::metric(admin, name);
    for core in 0..2 {
        for code in ["StorageFull", "Fenced", "Damaged", "OutcomeUnknown"] {
            let name = format!("corelog_errors_total{{core=\"{core}\",code=\"{code}\"");
            assert_eq!(metric(&name).to_string(), "0", "{name}");
        }
        for word in ["fenced", "damaged", "held", "ok"].map(|word| format!("state=\"{word}\"")) {
            let name = format!("corelog_partitions_by_state{{core=\"{core}\",{word}");
            assert_eq!(metric(&name).to_string(), "0", "{name}");
        }
        let name = format!("corelog_partitions_by_role{{core=\"{core}\",role=\"fenced\"");
        assert_eq!(metric(&name).to_string(), "0");
        let name = format!("corelog_late_seconds_count{{core=\"{core}\"");
        assert!(metric(&name) >= 1.0, "heartbeats come without any work");
        let name = format!("corelog_busy_seconds_total{{core=\"{core}\"");
        assert!(metric(&name) > 0.0);
        assert!(metric(&format!("corelog_stalls_total{{core=\"{core}\"")) >= 0.0);
    }
    assert_eq!(metric("corelog_stuck_total").to_string(), "0");
    assert_eq!(metric("corelog_read_only_partitions").to_string(), "0");
    assert_eq!(metric("corelog_damaged_partitions").to_string(), "0");
    assert_eq!(metric("corelog_silent_followers").to_string(), "0");
    let (free, total) = (
        metric("corelog_disk_free_bytes"),
        metric("corelog_disk_total_bytes"),
    );
    assert!(0.0 < free && free <= total, "{free} of {total}");
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let age = now.as_secs_f64() - metric("process_start_time_seconds");
    assert!((0.0..300.0).contains(&age), "started {age} s ago");
}

#[test]
fn a_partition_that_was_never_scrubbed_has_no_age_of_its_scrub() {
    let folder = Folder::new();
    let server = Start::on(folder.path()).arg("--scrub-rate=64MiB").start();
    let (admin, corelog) = (server.ready.admin, Corelog::to(&server));
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("t", 1, 1 << 20);
    produce(&mut wire, &topic, 0, 0, 150);
    until_sealed(&mut wire, &topic, 0, 2);
    let name = "corelog_partition_scrub_age_seconds";
    assert_eq!(http::metric_if_any(admin, name), None);
    corelog.run(["scrub", "t", "--wait"]).done();
    let age = http::metric(admin, name);
    assert!((0.0..300.0).contains(&age), "{age} s");
    assert_eq!(
        http::metric(admin, "corelog_partition_read_only").to_string(),
        "0"
    );
}

/// One that was never scrubbed was hidden by any that was, and one with nothing sealed any more grew old.
#[test]
fn the_oldest_scrub_is_that_of_a_partition_with_sealed_segments_scrubbed_or_not() {
    let folder = Folder::new();
    let start = Start::on(folder.path()).cores(1);
    let server = start.arg("--scrub-rate=64MiB").start();
    let (admin, corelog) = (server.ready.admin, Corelog::to(&server));
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let told = || {
        let (_, page) = http::get(admin, "/metrics");
        let value = |name: &str| {
            let line = page.lines().find(|line| line.starts_with(name))?;
            line.rsplit_once(' ')?.1.parse::<f64>().ok()
        };
        let sealed = value("corelog_sealed_partitions{");
        let of_a = value("corelog_partition_scrub_age_seconds{topic=\"a\"");
        (sealed, value("corelog_scrub_age_seconds_max "), of_a)
    };
    let topics = ["a", "b"].map(|name| wire.topic(name, 1, 1 << 20));
    assert_eq!(told(), (Some(0.0), None, None), "nothing is sealed");
    for topic in &topics {
        produce(&mut wire, topic, 0, 0, 150);
        until_sealed(&mut wire, topic, 0, 2);
    }
    until("both have sealed segments", || told().0 == Some(2.0));
    let since_made = told().1.unwrap();
    assert!((0.0..300.0).contains(&since_made), "{since_made} s");
    corelog.run(["scrub", "a", "--wait"]).done();
    let (_, oldest, of_a) = told();
    assert!(
        oldest >= Some(since_made) && of_a < oldest,
        "{of_a:?} s, b {oldest:?} s"
    );
    corelog.run(["scrub", "b", "--wait"]).done();
    let (_, oldest, of_a) = told();
    assert_eq!(oldest, of_a, "b was scrubbed after it");
    for (name, left) in [("a", 1.0), ("b", 0.0)] {
        let all = [
            "truncate",
            name,
            "--partition",
            "0",
            "--before",
            "latest",
            "--yes",
        ];
        corelog.run(all).done();
        until("nothing of it is sealed", || told().0 == Some(left));
    }
    assert_eq!(told().1, None);
}

#[test]
fn openmetrics_is_for_those_who_ask_for_it() {
    let folder = Folder::new();
    let server = Start::on(folder.path()).start();
    let admin = server.ready.admin;
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let (head, page) = http::ask(admin, "/metrics", accept);
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{head}"
    );
    assert!(page.ends_with("\n# EOF\n"));
    assert!(page.contains("# TYPE corelog_flushes counter\n"));
    assert!(page.contains("\ncorelog_flushes_total{core=\"0\"} "));
    let (head, page) = http::ask(admin, "/metrics", "text/plain");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    assert!(page.contains("# TYPE corelog_flushes_total counter\n"));
    assert!(!page.contains("# EOF"));
}

#[test]
fn a_node_may_do_without_a_series_for_each_partition() {
    let folder = Folder::new();
    let start = Start::on(folder.path()).arg("--partition-metrics=false");
    let server = start.start();
    let (admin, corelog) = (server.ready.admin, Corelog::to(&server));
    corelog
        .run(["topic", "create", "t", "--partitions", "3"])
        .done();
    let (_, page) = http::get(admin, "/metrics");
    assert!(!page.contains("corelog_partition_"), "{page}");
    let name = "corelog_partitions_by_state{core=\"0\",state=\"ok\"";
    assert_eq!(http::metric(admin, name).to_string(), "3");
    assert_eq!(
        http::metric(admin, "corelog_sealed_partitions").to_string(),
        "0"
    );
    let told = http::json(admin, "/v1/partitions");
    assert_eq!(told["partitions"].as_array().unwrap().len(), 3);
}

#[test]
fn a_node_tells_what_it_is_and_has_as_json() {
    let folder = Folder::new();
    let server = Start::on(folder.path()).cores(2).start();
    let (admin, corelog) = (server.ready.admin, Corelog::to(&server));
    corelog
        .run(["topic", "create", "t", "--partitions", "2"])
        .done();
    corelog.run(["topic", "create", "other"]).done();
    corelog
        .feed(["produce", "t", "--partition", "1"], b"a\nb\n")
        .done();

    let node = http::json(admin, "/v1/node");
    assert_eq!(node["listen"], server.address());
    assert_eq!(node["data_dir"], server.ready.data.to_str().unwrap());
    assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
    let cores = node["cores"].as_array().unwrap();
    let addresses: Vec<_> = cores.iter().map(|core| core["address"].clone()).collect();
    let expected: Vec<_> = server.ready.cores.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, expected);
    let owned = cores
        .iter()
        .map(|core| core["partitions"].as_u64().unwrap());
    assert_eq!(owned.sum::<u64>(), 3);
    assert!(cores[0]["busy_ms"].is_u64() && cores[0]["stalls"].is_u64());
    let disk = ["free_bytes", "total_bytes"].map(|name| node["disk"][name].as_u64().unwrap());
    assert!(0 < disk[0] && disk[0] <= disk[1], "{node}");
    assert_eq!(node["start"]["failed_partitions"], 0);
    assert_eq!(node["start"]["opening_partitions"], 0);
    assert!(!node["quarantine"].as_array().unwrap().is_empty());

    let topics = http::json(admin, "/v1/topics");
    let topic = &topics["topics"][1];
    assert_eq!(
        (&topic["name"], &topic["partitions"]),
        (&"t".into(), &2.into())
    );
    assert_eq!(topic["states"]["ok"], 2);
    assert_eq!(topic["roles"]["owner"], 2);
    assert_eq!(topic["policy"]["ack"], "durable");
    assert!(topic["bytes"].as_u64().unwrap() > 0);

    let all = http::json(admin, "/v1/partitions");
    assert_eq!(all["partitions"].as_array().unwrap().len(), 3);
    let some = http::json(admin, "/v1/partitions?topic=t");
    let partition = &some["partitions"][1];
    assert_eq!(some["partitions"].as_array().unwrap().len(), 2);
    assert_eq!(partition["partition"], 1);
    assert_eq!(partition["high_watermark"], 2);
    assert_eq!(partition["state"], "ok");
    assert_eq!(partition["role"], "owner");
    assert_eq!(partition["read_only"], false);
    let (status, body) = http::get(admin, "/v1/partitions?partition=1");
    assert_eq!(status, 400);
    assert!(body.contains("ask ?topic=NAME"), "{body}");
    let clones = http::json(admin, "/v1/clones");
    assert_eq!(clones.to_string(), r#"{"clones":[],"followers":[]}"#);
}

#[test]
fn open_connections_are_told_with_their_peer_and_go_with_it() {
    let folder = Folder::new();
    let server = Start::on(folder.path()).start();
    let admin = server.ready.admin;
    let mut wire = Wire::open(server.ready.listen).unwrap();
    wire.topic("t", 1, 1 << 20);
    let told = http::json(admin, "/v1/connections");
    assert_eq!(told["cores"][0]["open"], 1);
    let connections = told["connections"].as_array().unwrap();
    assert_eq!(connections.len(), 1, "{told}");
    let one = &connections[0];
    assert!(one["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(one["received_bytes"].as_u64().unwrap() > 0);
    assert!(one["sent_bytes"].as_u64().unwrap() > 0);
    assert_eq!(one["in_flight_requests"], 0);
    assert!(one["since"].as_str().unwrap().ends_with('Z'));
    assert!(!one["client"].as_str().unwrap().is_empty());
    drop(wire);
    until("the connection is told no more", || {
        let told = http::json(admin, "/v1/connections");
        told["connections"].as_array().unwrap().is_empty()
    });
}

/// A topic that is not served has no partition that could tell of it, and was missing from each snapshot without a word.
#[test]
fn a_topic_whose_file_cannot_be_read_is_counted_and_left_out_of_no_snapshot_silently() {
    let folder = Folder::new();
    let server = Start::on(folder.path()).start();
    for topic in ["t", "sound"] {
        Corelog::to(&server).run(["topic", "create", topic]).done();
    }
    let admin = server.ready.admin;
    assert_eq!(http::metric(admin, "corelog_unreadable_topics"), 0.0);
    server.stop();
    std::fs::write(folder.path().join("topics/t/topic"), b"rotten").unwrap();
    let server = Start::on(folder.path()).start();
    let admin = server.ready.admin;
    assert_eq!(http::metric(admin, "corelog_unreadable_topics"), 1.0);
    let corelog = Corelog::to(&server);
    let told = corelog.run(["snapshot", "create", "all"]).failed(3);
    assert!(told.contains("topic t could not be read"), "{told}");
    let sound = ["snapshot", "create", "some", "--topic", "sound"];
    corelog.run(sound).done();
}
