//! Health and metrics over HTTP.

use crate::kept::records::{produce, until_sealed};
use crate::support::corelog::Corelog;
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
    assert_eq!(http::get(admin, "/nothing").0, 404);
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
        for word in ["state=\"fenced\"", "state=\"damaged\"", "state=\"ok\""] {
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
    until_sealed(&corelog, "t", 0, 2);
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
