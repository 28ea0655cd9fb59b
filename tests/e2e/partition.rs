//! `corelog partition reopen`.

use crate::support::corelog::Corelog;
use crate::support::folder::Folder;
use crate::support::server::Server;

#[test]
fn a_reopened_partition_serves_what_it_held() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    corelog.feed(["produce", "t"], b"before\n").done();
    let epoch = |corelog: &Corelog| {
        let topic = corelog
            .run(["topic", "describe", "t", "--output", "json"])
            .json();
        topic["partitions"][0]["epoch"].as_i64().unwrap()
    };
    let before = epoch(&corelog);
    let report = corelog
        .run(["partition", "reopen", "t", "0", "--output", "json"])
        .json();
    assert_eq!(report["state"], "ok");
    assert_eq!(report["log_end"], 1);
    assert_eq!(report["torn_bytes"], 0);
    assert_eq!(epoch(&corelog), before, "it was in order: no new epoch");
    corelog.feed(["produce", "t"], b"after\n").done();
    assert_eq!(corelog.run(["consume", "t"]).done(), b"before\nafter\n");
}

#[test]
fn what_cannot_be_reopened_is_said() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "t"]).done();
    corelog.run(["partition", "reopen", "t", "7"]).failed(1);
    assert!(
        corelog
            .run(["partition", "reopen", "none", "0"])
            .failed(1)
            .contains("UnknownTopic")
    );
    corelog.run(["partition", "reopen", "t"]).failed(2);
}
