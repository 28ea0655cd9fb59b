//! Whose a data directory is: every node has its own at the same place, each on its machine.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use corelog_storage::format::node::Node;
use serde_json::Value;

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
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("{} is not here; {INSTEAD}", dir.display());
        }
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let node = Node::decode(&bytes).with_context(|| format!("cannot read {}", path.display()))?;
    let is_its = told.as_str() == Some(&*node.id.to_string());
    ensure!(
        is_its,
        "{} is another node's here; {INSTEAD}",
        dir.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use corelog_record::{NodeId, Timestamp};
    use serde_json::json;

    #[test]
    fn a_directory_is_the_servers_if_its_node_is_the_one_that_the_server_tells() {
        let folder = tempfile::tempdir().unwrap();
        let id = NodeId::from_bytes([7; 16]);
        let created = Timestamp::from_millis(1);
        let node = Node { id, created }.encode();
        std::fs::write(folder.path().join("node"), node).unwrap();
        let told = |dir: &Path, id: &str| json!({ "data_dir": dir, "node": id });
        let (here, other) = (folder.path(), Path::new("/no/such/dir"));
        let its = told(other, &id.to_string());
        // In a container it has another name.
        assert_eq!(
            directory(Some(&its), Some(here)).unwrap(),
            Some(here.to_owned())
        );
        let doubt = directory(Some(&its), None).unwrap_err().to_string();
        assert!(doubt.contains("/no/such/dir is not here"), "{doubt}");
        let others = told(here, "00000000000000000000000000000000");
        let doubt = directory(Some(&others), Some(other))
            .unwrap_err()
            .to_string();
        assert!(doubt.contains("is another node's here"), "{doubt}");
        assert_eq!(
            directory(None, Some(other)).unwrap(),
            Some(other.to_owned())
        );
        assert_eq!(directory(None, None).unwrap(), None);
    }
}
