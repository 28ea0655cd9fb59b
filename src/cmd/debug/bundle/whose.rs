//! Whose a data directory is: every node has its own at the same place, each on its machine.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::cmd::inspect;

/// The directory of the server that tells `node` of itself: the one it tells, else the `configured` one.
/// Of one that tells nothing it is the latter.
///
/// # Errors
/// Why none here is known to be that server's; then the server is taken to be on another machine.
pub(super) fn directory(
    node: Option<&Value>,
    configured: Option<&Path>,
) -> anyhow::Result<Option<PathBuf>> {
    let Some(node) = node else {
        return Ok(configured.map(Path::to_owned));
    };
    let told = node["data_dir"].as_str().map(Path::new);
    let mut doubt = None;
    for dir in [told, configured].into_iter().flatten() {
        match is_of(dir, &node["node"]) {
            Ok(()) => return Ok(Some(dir.to_owned())),
            Err(error) => doubt = doubt.or(Some(error)),
        }
    }
    Err(doubt.context("the server tells no directory; name it with --data-dir")?)
}

/// Whether the node of the directory is the one with the id `told`.
fn is_of(dir: &Path, told: &Value) -> anyhow::Result<()> {
    const INSTEAD: &str = "run it on the server's machine, or name a directory with --data-dir";
    let path = dir.join("node");
    if path.try_exists().is_ok_and(|is_there| !is_there) {
        bail!("{} is not here; {INSTEAD}", dir.display());
    }
    let (node, _) = inspect::facts(&path)?;
    let is_its = node["node"] == *told;
    ensure!(
        is_its,
        "{} is another node's here; {INSTEAD}",
        dir.display()
    );
    Ok(())
}
