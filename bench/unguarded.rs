//! A server whose cores run without the heartbeats that keep them from sleeping on runnable tasks
//! (`corelog_node::rt`), to show that the test of loaded starts sees what they prevent:
//!
//! ```text
//! cargo build -p corelog-node --features testing --example unguarded
//! CORELOG_TEST_SERVER=target/debug/examples/unguarded CORELOG_STARTS=100 \
//!     cargo test --test crash no_start_under_contention_hangs -- --nocapture
//! ```
//!
//! It understands what the tests say (`serve --data-dir DIR`, the listener and the number of cores
//! in the environment) and ends only by a signal.

use std::error::Error;
use std::thread;

use corelog_node::{Node, NodeConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let data_dir = std::env::args()
        .nth(3)
        .ok_or("usage: unguarded serve --data-dir DIR, the rest from CORELOG_NODE_…")?;
    let option = |name: &str| {
        let name = format!("CORELOG_NODE_{name}");
        std::env::var(&name).map_err(|why| format!("{name}: {why}"))
    };
    let mut config = NodeConfig::new(&data_dir);
    config.listen = option("LISTEN")?.parse()?;
    config.cores = option("CORES")?.parse()?;
    config.is_unguarded = true;
    let node = Node::start(config)?;
    let addresses = node.addresses();
    let cores: Vec<String> = addresses.cores.iter().map(ToString::to_string).collect();
    println!(
        "ready listen={} cores={} admin={} data={data_dir}",
        addresses.listen,
        cores.join(","),
        option("ADMIN")?,
    );
    loop {
        thread::park();
    }
}
