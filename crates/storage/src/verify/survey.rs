//! What a path is, and all that is to be checked below it.

use std::io;
use std::path::{Path, PathBuf};

use corelog_record::{Chain, HistoryId};

use super::finding::{Finding, Grade, What};
use super::store::{End, Index, StoreCheck};
use super::subject::Subject;
use super::{node, partition, snapshot};
use crate::disk::std::StdDir;
use crate::disk::{Dir, Entry, block_on};
use crate::format;
use crate::format::node::{NODE, TOPIC, TOPICS};
use crate::segment::{Point, name};
use crate::{manifest, mark};

/// What a first look at a path came to.
#[derive(Debug, Default)]
pub struct Survey {
    /// What was found on the way.
    pub findings: Vec<Finding>,
    /// The stores that are to be read.
    pub stores: Vec<StoreCheck>,
    /// How many partitions were looked at.
    pub partitions: usize,
    /// Whether a server has in use what is looked at.
    pub(super) is_live: bool,
}

/// Looks at `path`: one store, a partition's directory, a topic's, a node's, or a snapshot. Reads all
/// that is small. `None` if it is none of these. `is_live`: a server has it in use.
///
/// # Errors
/// Any error of listing `path` itself.
pub fn survey(path: &Path, is_live: bool) -> io::Result<Option<Survey>> {
    let mut survey = Survey {
        is_live,
        ..Survey::default()
    };
    let entries = match block_on(StdDir::new(path).list()) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            return name::is_store(&name)
                .then(|| survey_store(path, survey))
                .transpose();
        }
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                && !partition::tells_of(path)?.is_empty() =>
        {
            survey.find(partition::gone(path, "no directory"));
            return Ok(Some(survey));
        }
        other => other?,
    };
    let holds = |name: &str| entries.iter().any(|entry| entry.name == name);
    let has_stores = entries.iter().any(|entry| name::is_store(&entry.name));
    if holds(manifest::NAME) || has_stores {
        partition::alone(path, &mut survey)?;
    } else if holds(format::snapshot::NAME) {
        snapshot::survey(path, &mut survey)?;
    } else if snapshot::is_export_begun(path, &entries) {
        let found = "an export that did not come to its end, or is still being written";
        survey.find(Finding::of(What::Snapshot, path, "a snapshot", found));
    } else if holds(NODE) || holds(TOPICS) {
        node::data(path, &mut survey)?;
    } else if holds(TOPIC) {
        let snapshot = snapshot::around(path);
        node::topic(path, snapshot.as_ref(), &mut survey)?;
    } else if !partition::tells_of(path)?.is_empty() {
        partition::alone(path, &mut survey)?;
    } else {
        return Ok(None);
    }
    Ok(Some(survey))
}

impl Survey {
    /// How many bytes of stores are to be read.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.stores.iter().map(StoreCheck::bytes).sum()
    }

    pub(super) fn find(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Looks at `subject`. What is found is nothing but a change if it is gone by then.
    pub(super) fn within(
        &mut self,
        subject: &Subject,
        look: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        let before = self.findings.len();
        look(self)?;
        let mut found = self.findings[before..].iter();
        if found.any(|finding| finding.what.grade() > Grade::Note) && subject.has_changed() {
            self.findings.truncate(before);
            self.find(subject.changed());
        }
        Ok(())
    }
}

/// One store: as its manifest names it, or, without one, by its own name.
fn survey_store(path: &Path, mut survey: Survey) -> io::Result<Survey> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let dir = parent.unwrap_or(Path::new(".")).to_owned();
    let file = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let entries = list(&dir, &mut survey).unwrap_or_default();
    if entries.iter().any(|entry| entry.name == manifest::NAME) {
        partition::alone(&dir, &mut survey)?;
        survey.stores.retain(|store| store.name == file);
        let mine = [
            path.to_owned(),
            dir.join(manifest::NAME),
            dir.join(mark::NAME),
        ];
        survey
            .findings
            .retain(|finding| mine.contains(&finding.file));
    }
    if survey.stores.is_empty() {
        let bytes = entries.iter().find(|entry| entry.name == file);
        let store = alone(dir, file, bytes.map_or(0, |entry| entry.bytes));
        survey.stores.extend(store);
    }
    Ok(survey)
}

/// The check of a store of which only the name is known.
pub(super) fn alone(dir: PathBuf, file: String, bytes: u64) -> Option<StoreCheck> {
    let base = name::base(&file)?;
    let nobody = Chain::seed(HistoryId::from_bytes([0; 16]));
    let index = file
        .strip_suffix(".log")
        .map(|stem| format!("{stem}.index"));
    Some(StoreCheck {
        index: index.map(|name| Index {
            name,
            history: None,
            is_due: false,
        }),
        base: Point {
            offset: base,
            ..Point::origin(nobody)
        },
        end: End::Unknown,
        epochs: Vec::new(),
        named: None,
        subject: None,
        dir,
        name: file,
        bytes,
    })
}

/// What was wrong with a file or a directory was told.
pub(super) struct Told;

/// The entries of a directory; none if it is not there. One that cannot be listed is a finding.
pub(super) fn list(dir: &Path, survey: &mut Survey) -> Result<Vec<Entry>, Told> {
    let error = match block_on(StdDir::new(dir).list()) {
        Ok(entries) => return Ok(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => error.to_string(),
    };
    survey.find(Finding::of(What::Unreadable, dir, "a directory", error));
    Err(Told)
}

/// A whole small file; `None` if it is not there. One that cannot be read is a finding: of `what` if it
/// is no file of ours.
pub(super) fn read(
    dir: &Path,
    name: &str,
    bytes_max: u64,
    what: What,
    survey: &mut Survey,
) -> Result<Option<Vec<u8>>, Told> {
    let error = match block_on(StdDir::new(dir).read(name, bytes_max)) {
        Ok(bytes) => return Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => error,
    };
    let what = if is_refused(&error) {
        What::Unreadable
    } else {
        what
    };
    survey.find(Finding::of(
        what,
        dir.join(name),
        "a file",
        error.to_string(),
    ));
    Err(Told)
}

/// Whether the disk or the system does not give what may be there.
pub(super) fn is_refused(error: &io::Error) -> bool {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    let is_something_else = matches!(error.kind(), NotFound | IsADirectory | NotADirectory);
    error.raw_os_error().is_some() && !is_something_else
}
