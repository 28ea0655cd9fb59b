//! What a server tells over HTTP.

use std::time::Instant;

use anyhow::Context as _;
use serde_json::Value;

use super::pack::Pack;
use crate::admin;

/// What is asked, and what it is called in the bundle. Who does not answer the first is asked no more.
const PATHS: [(&str, &str); 9] = [
    ("server/livez.txt", "/livez"),
    ("server/v1-node.json", NODE),
    ("server/readyz.txt", "/readyz"),
    ("server/metrics.txt", "/metrics"),
    ("server/v1-topics.json", "/v1/topics"),
    ("server/v1-partitions.json", "/v1/partitions"),
    ("server/v1-connections.json", "/v1/connections"),
    ("server/v1-clones.json", "/v1/clones"),
    ("server/v1-slowest.json", "/v1/slowest"),
];

const NODE: &str = "/v1/node";

/// Asks everything, and gives what the server says of itself, if it does.
pub(super) fn collect(address: &str, pack: &mut Pack) -> Option<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build();
    let mut node = None;
    let mut is_there = true;
    for (name, path) in PATHS {
        if !is_there {
            pack.miss(name, "the server did not answer before");
            continue;
        }
        let (bytes_max, left) = (pack.bytes_left(), pack.deadline() - Instant::now());
        pack.bytes(name, || {
            let runtime = runtime.as_ref().ok().context("no runtime to ask with")?;
            let told = runtime.block_on(admin::read(address, path, bytes_max, left));
            is_there &= told.is_ok() || path != PATHS[0].1;
            if path == NODE
                && let Ok(told) = &told
            {
                node = serde_json::from_slice(told).ok();
            }
            Ok(told?.to_vec())
        });
    }
    // A name that nobody resolves is looked up for longer than there is time.
    if let Ok(runtime) = runtime {
        runtime.shutdown_background();
    }
    node
}
