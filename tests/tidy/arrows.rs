//! Who may use whom: between crates as their manifests say it, between the rooms of a crate as
//! their `crate::…` paths say it. Arrows point down, never up and never in a circle.

use std::collections::BTreeMap;

use crate::source::{self, Source};

/// A crate and the crates of ours it may depend on.
const CRATES: [(&str, &[&str]); 6] = [
    ("crates/record", &[]),
    ("crates/storage", &["corelog-record"]),
    ("crates/protocol", &["corelog-record"]),
    (
        "crates/node",
        &["corelog-record", "corelog-storage", "corelog-protocol"],
    ),
    ("crates/client", &["corelog-record", "corelog-protocol"]),
    (
        ".",
        &[
            "corelog-record",
            "corelog-storage",
            "corelog-protocol",
            "corelog-node",
            "corelog-client",
        ],
    ),
];

/// A room, and the rooms of its own crate that it must not use, with the reason.
const ROOMS: [(&str, &[&str], &str); 17] = [
    (
        "crates/storage/src/format",
        &[
            "disk", "store", "index", "segment", "log", "manifest", "mark", "recovery",
        ],
        "formats are bytes in, bytes out",
    ),
    (
        "crates/storage/src/disk",
        &[
            "format", "store", "index", "segment", "log", "manifest", "mark", "recovery",
        ],
        "a disk knows files, not logs",
    ),
    (
        "crates/storage/src/steps",
        &[
            "store", "index", "segment", "log", "manifest", "mark", "recovery",
        ],
        "a step knows names, not what they are of",
    ),
    (
        "crates/storage/src/store",
        &["log", "manifest", "mark", "recovery"],
        "a store does not know its log",
    ),
    (
        "crates/storage/src/index",
        &["log", "manifest", "mark"],
        "an index does not know its log",
    ),
    (
        "crates/storage/src/segment",
        &["log", "recovery"],
        "a segment does not know its log",
    ),
    (
        "crates/storage/src/manifest",
        &["store", "index", "segment", "log", "recovery"],
        "a manifest names files, it does not open them",
    ),
    (
        "crates/storage/src/mark",
        &["store", "index", "segment", "log", "manifest", "recovery"],
        "a mark states what it is told",
    ),
    (
        "crates/storage/src/scrub",
        &["log", "manifest", "mark", "recovery"],
        "a scrub reads one segment and decides nothing",
    ),
    (
        "crates/node/src/rt",
        &[
            "core",
            "router",
            "partition",
            "conn",
            "catalog",
            "node",
            "metrics",
        ],
        "the runtime carries the node and knows nothing of it",
    ),
    (
        "crates/node/src/sys",
        &[
            "rt",
            "core",
            "router",
            "partition",
            "conn",
            "catalog",
            "node",
            "metrics",
        ],
        "calls to the kernel know nothing of the node",
    ),
    (
        "crates/node/src/metrics",
        &[
            "rt",
            "core",
            "router",
            "partition",
            "conn",
            "catalog",
            "node",
        ],
        "numbers do not know who counts",
    ),
    (
        "crates/node/src/partition",
        &["rt", "sys", "core", "router", "conn", "catalog", "node"],
        "a partition decides without runtime, clock or socket",
    ),
    (
        "crates/node/src/core",
        &["conn"],
        "a core does not know who is connected",
    ),
    (
        "crates/node/src/catalog",
        &["conn", "node"],
        "topics do not know who asks",
    ),
    (
        "crates/node/src/router",
        &["conn", "node"],
        "a way does not know who goes it",
    ),
    (
        "crates/protocol/src/frame",
        &["message", "request", "answer"],
        "a frame does not know what it carries",
    ),
];

#[test]
fn crates_depend_only_on_those_below_them() {
    for (dir, allowed) in CRATES {
        let path = source::root().join(dir).join("Cargo.toml");
        let manifest: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(table).and_then(toml::Value::as_table) else {
                continue;
            };
            for name in dependencies
                .keys()
                .filter(|name| name.starts_with("corelog"))
            {
                assert!(
                    allowed.contains(&name.as_str()),
                    "{dir}/Cargo.toml: {table} name {name}, but that arrow does not exist"
                );
            }
        }
    }
}

#[test]
fn every_crate_is_in_the_table() {
    for entry in std::fs::read_dir(source::root().join("crates")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let dir = format!("crates/{name}");
        assert!(
            CRATES.iter().any(|(known, _)| *known == dir),
            "{dir} has no arrows in the table"
        );
    }
}

#[test]
fn rooms_use_only_those_below_them() {
    let mut wrong = Vec::new();
    for file in source::rust_files() {
        let room = ROOMS.iter().find(|(room, ..)| is_in(&file, room));
        let Some((room, forbidden, reason)) = room else {
            continue;
        };
        for (index, line) in source::code_lines(&file).iter().enumerate() {
            for name in source::names_after(line, "crate") {
                if forbidden.contains(&name.as_str()) {
                    let place = source::place(&file, index);
                    wrong.push(format!("{place}: {room} uses {name}, but {reason}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rooms_of_the_binary_are_wiring_only() {
    // Offline tools read storage, the server starts a node, whose default number of cores its machine says; everything else
    // is a client.
    const WHO: [(&str, &[&str]); 2] = [
        (
            "corelog_node",
            &[
                "src/cmd/serve/",
                "src/cmd/doctor",
                "src/config/key.rs",
                "src/side/",
                "src/exit.rs",
                "src/supervisor.rs",
            ],
        ),
        (
            "corelog_storage",
            &[
                "src/cmd/inspect",
                "src/cmd/repair",
                "src/cmd/snapshot",
                "src/cmd/verify",
                "src/exit.rs",
            ],
        ),
    ];
    let mut wrong = Vec::new();
    for file in source::rust_files()
        .iter()
        .filter(|file| file.path.starts_with("src/"))
    {
        for (index, line) in source::code_lines(file).iter().enumerate() {
            for (name, allowed) in WHO {
                let is_allowed = allowed.iter().any(|prefix| file.path.starts_with(prefix));
                if source::has_word(line, name) && !is_allowed {
                    wrong.push(format!("{}: names {name}", source::place(file, index)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_room_is_listed_twice() {
    let mut seen = BTreeMap::new();
    for (room, ..) in ROOMS {
        assert!(seen.insert(room, ()).is_none(), "{room} is listed twice");
    }
}

/// True for the room's own file (`disk.rs`) and for everything in its directory.
fn is_in(file: &Source, room: &str) -> bool {
    file.path
        .strip_prefix(room)
        .is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}
