//! Writes the inputs to begin with to `corpus/<target>/`, those of the golden batches among them.

use std::fs;
use std::path::Path;

use corelog_storage::fuzz::TARGETS;

fn main() -> std::io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut golden = Vec::new();
    for entry in fs::read_dir(here.join("../../../tests/golden/data"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "bin") {
            golden.push(fs::read(path)?);
        }
    }
    for target in TARGETS {
        let folder = here.join("corpus").join(target.name);
        fs::create_dir_all(&folder)?;
        let mut seeds = (target.seeds)();
        if matches!(target.name, "batch" | "store") {
            let ways = golden.iter().flat_map(|bytes| [(0, bytes), (3, bytes)]);
            seeds.extend(ways.map(|(how, bytes)| [&[how], bytes.as_slice()].concat()));
        }
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
