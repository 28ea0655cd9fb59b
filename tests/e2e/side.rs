//! Health and metrics over HTTP.

use crate::support::corelog::Corelog;
use crate::support::folder::Folder;
use crate::support::http;
use crate::support::server::Start;

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
