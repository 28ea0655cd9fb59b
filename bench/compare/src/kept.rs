//! Where a run leaves what it saw: a table for people and all of it as JSON, written anew after each round, so
//! that what ends a run takes no round with it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde::Serialize;

pub struct Kept {
    json: PathBuf,
    markdown: PathBuf,
}

impl Kept {
    /// `name.json` and `name.md` below `out`.
    ///
    /// # Errors
    /// If another run left some there.
    pub fn new(out: &Path, name: &str) -> Result<Self> {
        let [json, markdown] = ["json", "md"].map(|ending| out.join(format!("{name}.{ending}")));
        for path in [&json, &markdown] {
            ensure!(
                !path.exists(),
                "{} is of another run: move it away, or name another folder (--out, or OUT)",
                path.display()
            );
        }
        Ok(Self { json, markdown })
    }

    /// Leaves both, in place of what this run left before.
    pub fn write(&self, all: &impl Serialize, text: &str) -> Result<()> {
        replace(&self.json, &serde_json::to_vec_pretty(all)?)?;
        replace(&self.markdown, text.as_bytes())
    }
}

/// Whole or not at all: a run may be ended while it writes.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(out) = path.parent() {
        fs::create_dir_all(out)?;
    }
    let part = path.with_extension("part");
    fs::write(&part, bytes)?;
    Ok(fs::rename(part, path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_replaces_what_it_left_itself_and_nothing_of_another() {
        let out = std::env::temp_dir().join(format!("compare-kept-{}", std::process::id()));
        let kept = Kept::new(&out, "compare").unwrap();
        kept.write(&1, "one").unwrap();
        kept.write(&2, "two").unwrap();
        assert_eq!(fs::read_to_string(out.join("compare.md")).unwrap(), "two");
        assert_eq!(fs::read_to_string(out.join("compare.json")).unwrap(), "2");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 2);
        let Err(refused) = Kept::new(&out, "compare") else {
            panic!("it was taken");
        };
        assert!(refused.to_string().contains("OUT"), "{refused}");
        assert!(Kept::new(&out, "curves").is_ok());
        fs::remove_dir_all(&out).unwrap();
    }
}
