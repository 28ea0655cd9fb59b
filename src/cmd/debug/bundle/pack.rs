//! Members within a size and a time, what was left out, and the file made of them.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use corelog_record::Timestamp;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde_json::{Value, json};

use crate::exit::sentence;
use crate::quantity::rfc3339;

/// A bundle in the making.
pub(super) struct Pack {
    members: Vec<(String, Vec<u8>)>,
    missed: Vec<Missed>,
    bytes_left: u64,
    deadline: Instant,
}

/// A member that is in a bundle.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Taken {
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// A member that is not.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Missed {
    pub(super) name: String,
    pub(super) why: String,
}

/// A bundle that was written.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Made {
    pub(super) file: String,
    pub(super) file_bytes: u64,
    pub(super) members: Vec<Taken>,
    pub(super) missed: Vec<Missed>,
}

impl Pack {
    /// A bundle of so many bytes at most, of what is begun within a time.
    pub(super) fn new(bytes_max: u64, within: Duration) -> Self {
        let now = Instant::now();
        Self {
            members: Vec::new(),
            missed: Vec::new(),
            bytes_left: bytes_max,
            deadline: now.checked_add(within).unwrap_or(now + DAY),
        }
    }

    /// When nothing is begun any more.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// How large a member may still be.
    pub(super) fn bytes_left(&self) -> u64 {
        self.bytes_left
    }

    /// Takes what `read` gives, if there is time and room for it.
    pub(super) fn bytes(
        &mut self,
        name: impl Into<String>,
        read: impl FnOnce() -> anyhow::Result<Vec<u8>>,
    ) {
        let name = name.into();
        if Instant::now() >= self.deadline {
            return self.miss(name, "the time was up; give it more with --within");
        }
        match read() {
            Err(error) => self.miss(name, sentence(&error)),
            Ok(bytes) if bytes.len() as u64 > self.bytes_left => {
                let why = format!(
                    "{} bytes, and {} were left; give it more with --size-max",
                    bytes.len(),
                    self.bytes_left
                );
                self.miss(name, why);
            }
            Ok(bytes) => {
                self.bytes_left -= bytes.len() as u64;
                self.members.push((name, bytes));
            }
        }
    }

    /// As [`Self::bytes`], for a value.
    pub(super) fn json(
        &mut self,
        name: impl Into<String>,
        read: impl FnOnce() -> anyhow::Result<Value>,
    ) {
        self.bytes(name, || {
            let mut text = serde_json::to_vec_pretty(&read()?)?;
            text.push(b'\n');
            Ok(text)
        });
    }

    /// Leaves a member out.
    pub(super) fn miss(&mut self, name: impl Into<String>, why: impl Into<String>) {
        let (name, why) = (name.into(), why.into());
        self.missed.push(Missed { name, why });
    }

    /// Writes the first of these files that is not there yet, readable by its owner alone.
    ///
    /// # Errors
    /// If all are there, or one cannot be written; then nothing is left of it.
    pub(super) fn write(self, paths: &[PathBuf], now: Timestamp) -> anyhow::Result<Made> {
        let members = self.members.iter().map(|(name, bytes)| Taken {
            name: name.clone(),
            bytes: bytes.len() as u64,
        });
        let members: Vec<Taken> = members.collect();
        let manifest = json!({
            "made": rfc3339(now),
            "version": env!("CARGO_PKG_VERSION"),
            "holds": HOLDS,
            "members": &members,
            "missed": &self.missed,
        });
        let manifest = serde_json::to_vec_pretty(&manifest)?;
        let is_free = |path: &&PathBuf| path.symlink_metadata().is_err();
        for path in paths.iter().filter(is_free) {
            // Nothing is there of it while this takes its time.
            let bytes = archive(&root(path), &manifest, &self.members, now)?;
            match put(path, &bytes) {
                // Somebody was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                written => {
                    written.with_context(|| cannot(path))?;
                    return Ok(Made {
                        file: path.display().to_string(),
                        file_bytes: bytes.len() as u64,
                        members,
                        missed: self.missed,
                    });
                }
            }
        }
        let taken = Err(io::Error::from(io::ErrorKind::AlreadyExists));
        taken.with_context(|| paths.first().map_or_else(String::new, |path| cannot(path)))
    }
}

/// Writes a file that is not there yet.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = OpenOptions::new();
    let mut file = new.write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes).inspect_err(|_| {
        // Half a bundle helps nobody; that it cannot be removed either changes nothing.
        let _ = std::fs::remove_file(path);
    })
}

fn cannot(path: &Path) -> String {
    let path = path.display();
    format!("cannot write {path}; choose another file with --out")
}

/// The folder that all members are in: the file's name without what it ends with.
fn root(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let root = name.strip_suffix(".gz").unwrap_or(&name);
    let root = root.strip_suffix(".tar").unwrap_or(root);
    format!("{}/", if root.is_empty() { "bundle" } else { root })
}

fn archive(
    root: &str,
    manifest: &[u8],
    members: &[(String, Vec<u8>)],
    now: Timestamp,
) -> anyhow::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let mut append = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(u64::try_from(now.millis() / 1_000).unwrap_or(0));
        builder.append_data(&mut header, format!("{root}{name}"), bytes)
    };
    append("MANIFEST.json", manifest)?;
    for (name, bytes) in members {
        append(name, bytes)?;
    }
    Ok(builder.into_inner()?.finish()?)
}

/// A deadline beyond what a clock can hold is this far away.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const HOLDS: &str = "names of topics and hosts, addresses of clients, settings, counters, names and \
                     sizes of files, headers of batches; no key, value or header of a record";

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn what_has_no_room_or_no_time_is_left_out_and_told() {
        let mut pack = Pack::new(10, LONG);
        pack.bytes("small", || Ok(vec![0; 6]));
        pack.bytes("large", || Ok(vec![0; 5]));
        pack.bytes("fits", || Ok(vec![0; 4]));
        pack.bytes("broken", || anyhow::bail!("no such thing"));
        let names: Vec<_> = pack.members.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["small", "fits"]);
        assert!(pack.missed[0].why.contains("--size-max"));
        assert_eq!(pack.missed[1].why, "no such thing");
        let mut late = Pack::new(10, Duration::ZERO);
        late.bytes("late", || unreachable!("there is no time for it"));
        assert!(late.missed[0].why.contains("--within"));
    }

    #[test]
    fn a_bundle_replaces_no_file_and_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let [path, other] = ["b.tar.gz", "b-2.tar.gz"].map(|name| dir.path().join(name));
        let write = |paths: &[PathBuf]| Pack::new(10, LONG).write(paths, Timestamp::from_millis(0));
        let first = std::slice::from_ref(&path);
        let made = write(first).unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!(metadata.len(), made.file_bytes);
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert!(sentence(&write(first).unwrap_err()).contains("--out"));
        let both = [path.clone(), other.clone()];
        let made = write(&both).unwrap();
        assert_eq!(Path::new(&made.file), other);
        assert!(write(&both).is_err(), "both are there");
    }

    #[test]
    fn members_lie_in_a_folder_named_after_the_file() {
        assert_eq!(root(Path::new("a/b.tar.gz")), "b/");
        assert_eq!(root(Path::new("b")), "b/");
        assert_eq!(root(Path::new(".gz")), "bundle/");
    }
}
