//! The bare durable acknowledgement: 4 KiB written over zeroed space, one at a time; by turns with an `fdatasync` behind
//! and, as small groups are, by one write that is durable when it returns.

use std::io::{Error, Result};
use std::time::{Duration, Instant};

use glommio::io::{DmaBuffer, DmaFile};
use hdrhistogram::Histogram;

use crate::group::{BLOCK, Partition};
use crate::learn_device;
use crate::space::{PART_BYTES, zero};

const FILE_BYTES: u64 = 64 << 20;
const TOOK_NS_MAX: u64 = 60_000_000_000;

/// Prints the medians and the 99th percentiles of both as JSON.
pub(crate) async fn measure(folder: &str, seconds: usize) -> Result<()> {
    learn_device(folder).await?;
    let partition = Partition::open(format!("{folder}/sync")).await?;
    let file = &partition.file;
    file.pre_allocate(FILE_BYTES, false).await?;
    for at in (0..FILE_BYTES).step_by(PART_BYTES as usize) {
        zero(file, at..at + PART_BYTES).await?;
    }
    file.fdatasync().await?;
    let new = || Histogram::<u64>::new_with_bounds(1, TOOK_NS_MAX, 3).map_err(Error::other);
    let (mut synced, mut durable) = (new()?, new()?);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(seconds as u64) {
        let position = synced.len() * BLOCK as u64 % FILE_BYTES;
        let block = filled(file);
        let begun = Instant::now();
        file.write_at(block, position).await?;
        file.fdatasync().await?;
        synced.saturating_record(begun.elapsed().as_nanos() as u64);
        let block = filled(file);
        let begun = Instant::now();
        partition.durable.write_at(block, position).await?;
        durable.saturating_record(begun.elapsed().as_nanos() as u64);
    }
    let us = |took_ns: &Histogram<u64>, quantile| took_ns.value_at_quantile(quantile) as f64 / 1e3;
    println!(
        r#"{{"p50_us": {}, "p99_us": {}, "durable_p50_us": {}, "durable_p99_us": {}}}"#,
        us(&synced, 0.5),
        us(&synced, 0.99),
        us(&durable, 0.5),
        us(&durable, 0.99)
    );
    Ok(())
}

fn filled(file: &DmaFile) -> DmaBuffer {
    let mut block = file.alloc_dma_buffer(BLOCK);
    block.as_bytes_mut().fill(0x5a);
    block
}
