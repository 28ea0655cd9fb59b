//! What may be named where: a runtime, the file system, clocks and `unsafe` each have their rooms,
//! so that logic stays free of them and can be driven by a test or a simulator.

use crate::source;

/// A name (or several that mean the same), the rooms that may use it, and why no other may.
struct Rule {
    names: &'static [&'static str],
    rooms: &'static [&'static str],
    /// Whether tests, wherever they stand, may use it too.
    is_for_tests: bool,
    reason: &'static str,
}

const RULES: [Rule; 7] = [
    Rule {
        names: &["tokio"],
        rooms: &["crates/client/", "src/", "tests/", "bench/"],
        is_for_tests: true,
        reason: "the data plane runs on its own executors; tokio serves clients and the side thread",
    },
    Rule {
        names: &["glommio"],
        rooms: &["crates/node/src/rt/", "bench/bare/"],
        is_for_tests: false,
        reason: "another runtime must be able to take its place in one room",
    },
    Rule {
        names: &["unsafe"],
        rooms: &[
            "crates/storage/src/disk/map.rs",
            // Leases, which have no safe wrapper.
            "crates/storage/src/disk/std/alone.rs",
            "crates/node/src/sys/",
            // What the allocator is told.
            "src/allocator.rs",
            // An allocator that counts.
            "bench/hot/src/allocations.rs",
            // Hands a socket with an option to the runtime.
            "bench/bare/src/main.rs",
        ],
        is_for_tests: false,
        reason: "what the compiler cannot check stays where it can be read in one sitting",
    },
    Rule {
        names: &["std::fs", "File::open", "File::create", "OpenOptions::new"],
        rooms: &[
            "crates/storage/src/disk/std",
            // Directory work and the probes before the first executor: blocking by nature, on the
            // pool or before anything serves.
            "crates/node/src/rt/",
            "crates/node/src/sys/",
            "src/",
            "tests/",
            "bench/",
        ],
        is_for_tests: true,
        reason: "files are reached through a directory that a test can replace",
    },
    Rule {
        names: &[
            "Instant::now",
            "SystemTime::now",
            "Timestamp::now",
            "jiff",
            "UNIX_EPOCH",
        ],
        rooms: &[
            "crates/node/src/rt/",
            "crates/client/",
            // When a file was made, whatever time it is.
            "crates/node/src/sys/place.rs",
            // What embeds a log has no clock to offer: the façade is the owner that asks for time.
            "crates/storage/src/wal/",
            "src/",
            "tests/",
            "bench/",
        ],
        is_for_tests: true,
        reason: "time is an argument",
    },
    Rule {
        names: &["rmp_serde", "rmpv"],
        rooms: &[
            "crates/protocol/",
            "crates/storage/",
            "crates/node/",
            "tests/",
        ],
        is_for_tests: true,
        reason: "records are laid by hand; MessagePack is for heads and small metadata",
    },
    Rule {
        names: &["thread::sleep"],
        rooms: &[
            "crates/node/src/rt/",
            // The throttle, on threads that have nothing else to do.
            "crates/node/src/transfer/budget.rs",
            "src/",
            "bench/",
        ],
        is_for_tests: false,
        reason: "waiting has a condition; a test that sleeps is slow or wrong",
    },
];

/// Modules that say nothing about what they hold.
const EMPTY_NAMES: [&str; 7] = [
    "util", "utils", "common", "manager", "helpers", "misc", "shared",
];

#[test]
fn names_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for file in source::rust_files() {
        // The rules name what they forbid.
        if file.path.starts_with("tests/tidy/") {
            continue;
        }
        for (index, line) in source::code_lines(&file).iter().enumerate() {
            for rule in &RULES {
                let is_allowed = rule.rooms.iter().any(|room| file.path.starts_with(room))
                    || (rule.is_for_tests && source::is_test(&file));
                let name = rule.names.iter().find(|name| source::has_word(line, name));
                if let (Some(name), false) = (name, is_allowed) {
                    let place = source::place(&file, index);
                    wrong.push(format!("{place}: names `{name}`, but {}", rule.reason));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn modules_are_named_after_what_they_hold() {
    for file in source::rust_files() {
        let is_empty = |part: &str| EMPTY_NAMES.contains(&part.trim_end_matches(".rs"));
        assert!(
            !file.path.split('/').any(is_empty),
            "{}: its name says nothing",
            file.path
        );
    }
}

#[test]
fn a_room_has_a_map() {
    for file in source::rust_files() {
        let is_map = file.path.ends_with("/mod.rs") || file.path.ends_with("/lib.rs");
        let says_something = file.text.trim_start().starts_with("//!");
        assert!(
            !is_map || says_something,
            "{}: a room begins with its map",
            file.path
        );
    }
}
