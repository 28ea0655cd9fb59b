//! `corelog bench latency`: acknowledgements at a steady rate, each with its time.

use std::sync::mpsc;

use corelog_client::Client;
use tokio::task::{LocalSet, spawn_blocking};

use super::each;
use super::latencies::Latencies;
use super::open_loop::{Acked, Load};
use crate::exit::Exit;
use crate::output::{Format, Out};
use crate::{cli, session};

/// Measure the latency of acknowledgements at a steady rate.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Measure the latency of acknowledgements at a steady rate.\n\n\
        An open loop: records are due on a fixed schedule whether or not earlier ones were \
        acknowledged, and a latency counts from when its record was due, so that a stall shows in \
        every record behind it. Partitions take turns, and so do --producers, each on a connection of its own: with as \
        many of both each partition has one of its own. Before the first record is due each sends a batch to each of \
        its partitions, which is awaited and not counted: connections and new files are made for it. With --output json there is a line per \
        acknowledged batch {partition, offset, due_us, us}, with the time it was due in microseconds since \
        1970: what went on beside it can be laid over it.",
    after_long_help = "EXAMPLES\n  \
        corelog bench latency --rate 1000 --duration 30s\n  \
        corelog bench latency --rate 100000 --batch-records 100 --ack accepted\n  \
        corelog bench latency --partitions 1000 --producers 1000 --rate 5000\n  \
        corelog bench latency --topic latencies --output json >acks.jsonl"
)]
pub(crate) struct Args {
    /// How many producers share the partitions; more than there are partitions share one.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    producers: u16,
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    client: cli::Client,
}

/// Sends at the rate and prints what it measured.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    args.load.check()?;
    session::run(&args.client, |client| bench(args, client))
}

async fn bench(args: &Args, client: Client) -> anyhow::Result<Exit> {
    args.load.create(&client).await?;
    let measured = async {
        let mut sending = args
            .load
            .prepare(&client, args.producers, args.client.timeout());
        sending.warm_up().await?;
        let (_, mut acks) = sending.start();
        let mut latencies = Latencies::new()?;
        let each = (args.client.output == Format::Json).then(|| {
            let (told, to_print) = mpsc::channel();
            (told, spawn_blocking(move || print(&to_print)))
        });
        while let Some(acked) = acks.recv().await {
            let acked = acked?;
            latencies.add(acked.took);
            // Why it prints no more is told below.
            if let Some((told, _)) = &each
                && told.send(acked).is_err()
            {
                break;
            }
        }
        match each {
            Some((told, printing)) => {
                drop(told);
                printing.await?
            }
            None => {
                let mut out = Out::while_read();
                out.table(&[], latencies.rows("ack"))?;
                out.flush()
            }
        }
    };
    LocalSet::new().run_until(measured).await?;
    Ok(Exit::Done)
}

/// Prints a line for each, on a thread of its own: whoever reads them late would be taken for a server that answers late.
fn print(acks: &mpsc::Receiver<Acked>) -> anyhow::Result<()> {
    let mut out = Out::while_read();
    for acked in acks {
        out.json(&each::line(&acked))?;
    }
    out.flush()
}
