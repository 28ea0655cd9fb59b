//! What a newcomer can do wrong on the README's tour, and that each error says what to do next: a
//! command, or an option.

use std::net::TcpListener;

use crate::support::corelog::Corelog;
use crate::support::deadline::output_of;
use crate::support::folder::Folder;
use crate::support::server::{Server, Start};

/// Runs `args`, which must fail with `code` and say each of `words`.
fn says(corelog: &Corelog, args: &[&str], code: i32, words: &[&str]) {
    let (_, said, ended) = corelog.run(args).parts();
    assert_eq!(ended, Some(code), "{args:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{args:?} does not say {word}: {said}");
    }
}

/// The same for a server that does not start.
fn refuses(start: &Start, code: i32, words: &[&str]) {
    let output = output_of(start.command().spawn().unwrap(), "a start that fails");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "it does not say {word}: {said}");
    }
}

#[test]
fn a_server_that_cannot_start_says_what_to_do() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let start = |args: &[&str]| {
        args.iter()
            .fold(Start::on(&data), |start, arg| start.arg(*arg))
    };
    refuses(
        &start(&["--listen", &address]),
        1,
        &["--listen", "stop what"],
    );
    refuses(&start(&["--admin", &address]), 1, &["--admin", "stop what"]);
    refuses(&start(&["--listen", "0.0.0.0:0"]), 2, &["--insecure"]);
    refuses(
        &start(&["--listen", "here"]),
        2,
        &["127.0.0.1:7400", "--help"],
    );
    refuses(&start(&["--cores", "many"]), 2, &["--cores", "--help"]);
    refuses(&start(&["--coers", "2"]), 2, &["'--cores'"]);
    refuses(&start(&["--config", "none.toml"]), 2, &["--config"]);
    let config = folder.file("wrong.toml", b"coers = 2\n");
    let config = config.to_str().unwrap();
    refuses(&start(&["--config", config]), 2, &["coers", "cores"]);
    refuses(&Start::on("/proc".as_ref()), 1, &["--data-dir"]);

    let server = Server::start(&data);
    refuses(&Start::on(&data), 1, &["in use", "--data-dir"]);
    drop(server);
}

#[test]
fn a_client_without_a_server_says_how_to_get_one() {
    let nobody = Corelog::at("127.0.0.1:1");
    for args in [
        &["topic", "list"][..],
        &["produce", "events"],
        &["consume", "events"],
        &["bench", "produce"],
        &["snapshot", "list"],
    ] {
        says(&nobody, args, 4, &["`corelog serve`", "--server"]);
    }
    let wrong = ["topic", "list", "--server", "localhost"];
    says(&nobody, &wrong, 2, &["HOST:PORT", "--help"]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let late = ["topic", "list", "--server", &address, "--timeout", "200ms"];
    says(&nobody, &late, 4, &["--server"]);
}

#[test]
fn a_refused_request_says_what_to_ask_instead() {
    let folder = Folder::new();
    let server = Server::start(&folder.path().join("data"));
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "events"]).done();
    corelog.feed(["produce", "events"], b"one\ntwo\n").done();
    let copy = folder.path().join("copy");
    let copy = copy.to_str().unwrap();
    let unknown = &["`corelog topic list`", "`corelog topic create`"][..];
    for (args, code, words) in [
        (
            &["topic", "create", "events"][..],
            1,
            &["--if-not-exists"][..],
        ),
        (&["topic", "describe", "evnets"], 1, unknown),
        (&["produce", "evnets"], 1, unknown),
        (&["consume", "evnets"], 1, unknown),
        (&["offsets", "evnets"], 1, unknown),
        (&["scrub", "evnets"], 1, unknown),
        (&["topic", "delete", "evnets", "--yes"], 1, unknown),
        (&["topic", "create", "a/b"], 2, &["--help"]),
        (
            &["topic", "create", "t", "--partitions", "0"],
            1,
            &["`corelog topic create --help`"],
        ),
        (
            &["topic", "create", "t", "--ack", "never"],
            2,
            &["durable, accepted"],
        ),
        (
            &["topic", "create", "t", "--retention-age", "week"],
            2,
            &["7d", "--help"],
        ),
        (
            &["topic", "create", "t", "--segment-bytes", "big"],
            2,
            &["MiB", "--help"],
        ),
        (&["topic", "delete", "events"], 6, &["--yes", "--dry-run"]),
        (
            &["produce", "events", "--partition", "7"],
            1,
            &["`corelog topic describe`"],
        ),
        (
            &["produce", "events", "--compression", "rar"],
            2,
            &["choose none, gzip"],
        ),
        (&["produce", "events", "/no/such/file"], 1, &["--help"]),
        (
            &["consume", "events", "--partition", "7"],
            1,
            &["`corelog topic describe`"],
        ),
        (
            &["consume", "events", "--partition", "0", "--from", "99"],
            1,
            &["`corelog offsets`"],
        ),
        (&["consume", "events", "--from", "yesterday"], 2, &["@-2h"]),
        (&["consume", "events", "--format", "%x"], 2, &["--help"]),
        (
            &["truncate", "events", "--partition", "0", "--before", "1"],
            6,
            &["--yes"],
        ),
        (
            &["snapshot", "export", "none", copy],
            1,
            &["`corelog snapshot list`"],
        ),
        (
            &["snapshot", "delete", "none", "--yes"],
            1,
            &["`corelog snapshot list`"],
        ),
        (
            &["restore", "none", "--topic", "t"],
            1,
            &["`corelog snapshot list`"],
        ),
        (&["inspect", "/no/such/directory"], 1, &["--help"]),
        (&["inspect", "/proc"], 1, &["`corelog inspect --help`"]),
        (&["verify", "/no/such/directory"], 1, &["--help"]),
        (&["config", "check", "/no/such/file"], 2, &["--config"]),
        (&["topci", "list"], 2, &["'topic'"]),
        (&["topic", "list", "--output", "xml"], 2, &["table, json"]),
    ] {
        says(&corelog, args, code, words);
    }
}
