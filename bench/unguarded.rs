//! A server whose cores run without the heartbeats that keep them from sleeping on runnable tasks
//! (`corelog_node::rt`), to show that the test of loaded starts sees what they prevent:
//!
//! ```text
//! cargo build -p corelog-node --features testing --example unguarded
//! CORELOG_TEST_SERVER=target/debug/examples/unguarded CORELOG_STARTS=100 \
//!     cargo test --test crash no_start_under_contention_hangs -- --nocapture
//! ```
//!
//! It understands what the tests say (`serve --data-dir DIR --listen ADDR --cores N`) and ends
//! only by a signal.

use std::error::Error;
use std::thread;

use corelog_node::{Node, NodeConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let option = |name: &str| {
        let at = args.iter().position(|arg| arg == name);
        at.and_then(|at| args.get(at + 1)).ok_or(format!("{name}?"))
    };
    let mut config = NodeConfig::new(option("--data-dir")?);
    config.listen = option("--listen")?.parse()?;
    config.cores = option("--cores")?.parse()?;
    config.core.is_guarded = false;
    let node = Node::start(config)?;
    let addresses = node.addresses();
    let cores: Vec<String> = addresses.cores.iter().map(ToString::to_string).collect();
    println!(
        "ready listen={} cores={} admin={} data={}",
        addresses.listen,
        cores.join(","),
        option("--admin")?,
        option("--data-dir")?,
    );
    loop {
        thread::park();
    }
}
