//! The bare durable acknowledgement: 4 KiB written over zeroed space and synced, one at a time.

use std::cell::Cell;
use std::io::{Error, Result};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::group::{BLOCK, Partition, prepare};
use crate::learn_device;

const FILE_BYTES: u64 = 64 << 20;
const TOOK_NS_MAX: u64 = 60_000_000_000;

/// Prints the median and the 99th percentile as JSON.
pub(crate) async fn measure(folder: &str, seconds: usize) -> Result<()> {
    learn_device(folder).await?;
    let partition = Partition::open(format!("{folder}/sync")).await?;
    let file = &partition.file;
    prepare(file, &Cell::new(0), FILE_BYTES, true).await?;
    file.fdatasync().await?;
    let mut took_ns = Histogram::<u64>::new_with_bounds(1, TOOK_NS_MAX, 3).map_err(Error::other)?;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(seconds as u64) {
        let mut block = file.alloc_dma_buffer(BLOCK);
        block.as_bytes_mut().fill(0x5a);
        let position = took_ns.len() * BLOCK as u64 % FILE_BYTES;
        let begun = Instant::now();
        file.write_at(block, position).await?;
        file.fdatasync().await?;
        took_ns.saturating_record(begun.elapsed().as_nanos() as u64);
    }
    let us = |quantile| took_ns.value_at_quantile(quantile) as f64 / 1e3;
    let per_s = took_ns.len() as f64 / started.elapsed().as_secs_f64();
    println!(
        r#"{{"p50_us": {}, "p99_us": {}, "per_s": {per_s:.0}}}"#,
        us(0.5),
        us(0.99)
    );
    Ok(())
}
