//! What reaches the device for each byte appended, by the size of the groups: counted as asked for,
//! and as the kernel charges this process for it (`write_bytes` of `/proc/self/io`).
//!
//! ```text
//! cargo run --release --bin amplification -- [FOLDER]
//! ```
//!
//! Prints a Markdown table, and the curve for gnuplot or the eye as `group ratio` lines behind it.

use std::error::Error;
use std::path::PathBuf;

use corelog_record::{ByteSize, Timestamp};
use corelog_storage::disk::counting::CountingDir;
use corelog_storage::disk::std::StdDir;
use corelog_storage::disk::{Dir, block_on};
use corelog_storage::log::Options;
use corelog_storage::testing::{batch, chore, flush, open};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let folder = std::env::args()
        .nth(1)
        .map_or_else(|| PathBuf::from("target/logs"), PathBuf::from);
    println!(
        "| group | groups | asked for / payload | charged / payload | syncs / group | metadata / group |"
    );
    println!("|---|---|---|---|---|---|");
    let mut curve = Vec::new();
    for power in 9..=22 {
        let group_bytes = 1 << power;
        curve.push((group_bytes, measure(group_bytes, &folder)?));
    }
    println!();
    for (group_bytes, ratio) in curve {
        let bar = "#".repeat((ratio * 8.0) as usize);
        println!("{group_bytes:>9} {ratio:6.2} {bar}");
    }
    Ok(())
}

/// Writes groups of one batch of `group_bytes`, with the chores that are due between them, and prints
/// a row. Returns the bytes asked for by each byte given.
fn measure(group_bytes: usize, folder: &std::path::Path) -> Result<f64> {
    let root = StdDir::new(folder.join("amplification"));
    block_on(root.remove_tree())?;
    block_on(root.create_all())?;
    let disk = CountingDir::new(root.clone());
    let options = Options {
        segment_bytes_max: ByteSize::from_mib(32),
        ..Options::default()
    };
    let at = Timestamp::from_millis;
    let (mut log, _) = open(&disk, options, 1, at(0))?;
    // A record holds at most a mebibyte, a batch some: the header and the frames are payload here.
    let records = group_bytes.div_ceil(1 << 20);
    let value = vec![0x5a; group_bytes / records - 61 / records - 12];
    let group = batch(&vec![value.as_slice(); records], at(0));
    let groups = ((96 << 20) / group_bytes).clamp(24, 6_000);
    let (begun, charged) = (disk.counts(), charged()?);
    for number in 0..groups {
        let now = at(i64::try_from(number)? * 5);
        log.append(&group, now)?;
        flush(&mut log, now)?;
        while chore(&mut log, now, false)?.is_some() {}
    }
    block_on(log.close(at(60_000)))?;
    let spent = disk.counts() - begun;
    let charged = self::charged()? - charged;
    let payload = (groups * group.len()) as f64;
    let metadata =
        spent.dir_syncs + spent.set_lens + spent.allocates + spent.renames + spent.entries;
    let ratio = spent.bytes() as f64 / payload;
    println!(
        "| {} | {groups} | {ratio:.2} | {:.2} | {:.2} | {:.3} |",
        ByteSize::from_bytes(group_bytes as u64),
        charged as f64 / payload,
        spent.syncs as f64 / groups as f64,
        metadata as f64 / groups as f64,
    );
    block_on(root.remove_tree())?;
    Ok(ratio)
}

/// Bytes that this process had written to devices.
fn charged() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/io")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line
        .ok_or("no write_bytes in /proc/self/io")?
        .trim()
        .parse()?)
}
