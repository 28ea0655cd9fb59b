//! Writes the inputs to begin with to `corpus/<target>/`, those of the golden batches among them.

use std::io;

use corelog_storage::disk::std::StdDir;
use corelog_storage::disk::{Dir, block_on};
use corelog_storage::fuzz::TARGETS;

fn main() -> io::Result<()> {
    let golden = golden()?;
    let corpus = StdDir::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus"));
    for target in TARGETS {
        let folder = corpus.child(target.name);
        block_on(folder.create_all())?;
        let mut seeds = (target.seeds)();
        if matches!(target.name, "batch" | "store") {
            let ways = golden.iter().flat_map(|bytes| [(0, bytes), (3, bytes)]);
            seeds.extend(ways.map(|(how, bytes)| [&[how], bytes.as_slice()].concat()));
        }
        for (number, seed) in seeds.iter().enumerate() {
            block_on(folder.write_aside(&format!("seed-{number}"), seed))?;
        }
    }
    Ok(())
}

/// The batches that the tests of the formats keep for ever.
fn golden() -> io::Result<Vec<Vec<u8>>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/golden/data");
    let dir = StdDir::new(path);
    let entries = block_on(dir.list())?.into_iter();
    let batches = entries.filter(|entry| entry.name.ends_with(".bin"));
    batches
        .map(|entry| block_on(dir.read(&entry.name, 1 << 20)))
        .collect()
}
