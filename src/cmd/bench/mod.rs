//! `corelog bench`: throughput and latency of a server, measured from outside with the client.
//!
//! What runs here loads a server and counts; it knows nothing a user's program could not know.
//!
//! ```text
//! produce   closed loop        latency   open loop: open_loop        latencies, rates     what is told
//! consume   checked values     mixed     open loop, followers        payload              what is sent
//! seek      random places      delivery  one record at a time        follow, shares       who waits, who has which partitions
//!                                                                    each, account        a line for each acknowledgement, where its time went
//!                                                                    target               the topic that is written to
//! ```

mod account;
mod consume;
mod delivery;
mod each;
mod follow;
mod followers;
mod latencies;
mod latency;
mod mixed;
mod open_loop;
mod payload;
mod produce;
mod rates;
mod seek;
mod shares;
mod target;

use clap::Subcommand;

use crate::allocator;
use crate::exit::Exit;

/// Measure a server's throughput and latency.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Produce(produce::Args),
    Consume(consume::Args),
    Latency(latency::Args),
    Mixed(mixed::Args),
    Delivery(delivery::Args),
    Seek(seek::Args),
}

/// Does what the action says.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    // What measures others neither waits for memory nor gives any back while it does.
    allocator::use_small_pages();
    allocator::keep_free_memory();
    match &args.action {
        Action::Produce(args) => produce::run(args),
        Action::Consume(args) => consume::run(args),
        Action::Latency(args) => latency::run(args),
        Action::Mixed(args) => mixed::run(args),
        Action::Delivery(args) => delivery::run(args),
        Action::Seek(args) => seek::run(args),
    }
}
