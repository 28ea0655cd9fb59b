//! What a repair would do, and doing it.

use std::io::ErrorKind;
use std::rc::Rc;

use corelog_record::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicId};

use super::choice::choose;
use super::evidence::Evidence;
use super::mark::Marks;
use super::rebuilt::rebuilt;
use super::refusal::Refusal;
use super::walk::{From, Walked};
use crate::Error;
use crate::disk::{Dir, Entry, File, Open};
use crate::error::At;
use crate::format::manifest::Header;
use crate::format::mark::Slot;
use crate::format::state::State;
use crate::manifest::{self, Manifest};
use crate::mark::{self, Mark};
use crate::segment::{Point, name};
use crate::steps;

/// What is known beforehand.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// The topic, by the file above the partition.
    pub topic: Option<TopicId>,
    /// The partition, by the name of its directory.
    pub partition: Option<PartitionId>,
    /// Now.
    pub now: Timestamp,
    /// Feeds the ids that are drawn anew.
    pub seed: u64,
    /// Bytes of store for each index row.
    pub interval_bytes: u32,
}

/// One thing that a repair does, or that follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// A manifest is written that names these segments.
    Manifest {
        /// How many.
        segments: usize,
        /// The log start that it tells.
        log_start: Offset,
        /// The end of the last store.
        end: Offset,
    },
    /// An index is written.
    Index {
        /// Its file.
        file: String,
    },
    /// A file gets another name.
    Displace {
        /// The file.
        file: String,
        /// Its new name.
        to: String,
        /// Why it is not the log's.
        reason: &'static str,
    },
    /// A mark is written: no epoch up to this one is begun again.
    Mark {
        /// The epoch.
        epoch: LeaderEpoch,
    },
    /// What the disk does not give counts as bytes that are wrong.
    Unreadable {
        /// The file.
        file: String,
        /// Where in it, in bytes: of a store, where the batch begins.
        position: u64,
        /// What the disk said.
        error: String,
    },
    /// Something that the files do not tell, and what that means.
    Unknown(&'static str),
}

/// A repair that is thought through. Nothing has changed yet.
#[derive(Debug)]
pub struct Plan<D: Dir> {
    dir: D,
    now: Timestamp,
    header: Header,
    /// What the new manifest says; `None` if the old one stays.
    state: Option<State>,
    has_manifest: bool,
    /// The last store, if it is sealed: nothing tells of a sync of it.
    sealed: Option<String>,
    has_mark: bool,
    marks: Marks,
    indexes: Vec<(String, Vec<u8>, bool)>,
    steps: Vec<Step>,
}

/// Thinks a repair of the partition in `dir` through; `progress` is told the bytes of each store that
/// was read.
///
/// # Errors
/// Why there is none.
pub async fn plan<D: Dir>(
    dir: D,
    known: Known,
    progress: &mut dyn FnMut(u64),
) -> Result<Plan<D>, Refusal> {
    let entries = dir.list().await.map_err(|e| At::dir(&dir).io("list", e))?;
    let evidence = Evidence::gather(&dir, &entries, &known).await?;
    if evidence.is_sound {
        return indexes_only(dir, &entries, &evidence, known, progress).await;
    }
    let choice = choose(&dir, &entries, &evidence, known.interval_bytes, progress).await?;
    let last = choice.chosen.last().ok_or(Refusal::NoStores)?;
    let state = rebuilt(&choice.chosen, &evidence, known)?;
    let unread = choice
        .chosen
        .iter()
        .filter_map(|walked| walked.unread.clone());
    let mut plan = Plan::of(dir, known.now, &evidence);
    plan.steps.extend(unread);
    for (file, reason) in &choice.displaced {
        plan.displace(file, reason);
    }
    for walked in &choice.chosen {
        let is_sealed = state
            .segments()
            .iter()
            .any(|segment| segment.base == walked.base && segment.seal.is_some());
        if is_sealed && !walked.is_index_right {
            plan.index(walked, &entries);
        }
    }
    plan.sealed = state.end().map(|_| last.name());
    plan.steps.push(Step::Manifest {
        segments: state.segments().len(),
        log_start: state.log_start(),
        end: last.end.offset,
    });
    plan.marks = Marks::of(&evidence, &state, last);
    plan.has_mark = entries.iter().any(|entry| entry.name == mark::NAME);
    let unknown = unknown(&evidence, plan.marks.behind.is_some());
    if plan.marks.behind.is_some() {
        // A log that ends before what its mark tells of is not opened.
        plan.displace(mark::NAME, "it tells of records that no store holds");
    }
    plan.steps
        .extend(plan.marks.epoch().map(|epoch| Step::Mark { epoch }));
    plan.steps.extend(unknown.into_iter().map(Step::Unknown));
    plan.state = Some(state);
    Ok(plan)
}

/// That the disk does not give what `file` has at `position`.
pub(super) fn unreadable(file: &str, position: u64, why: &(impl ToString + ?Sized)) -> Step {
    Step::Unreadable {
        file: file.to_owned(),
        position,
        error: why.to_string(),
    }
}

/// What cannot be known any more.
fn unknown(evidence: &Evidence, is_mark_behind: bool) -> Vec<&'static str> {
    let mut unknown = Vec::new();
    unknown.push(match &evidence.state {
        None => {
            "where the log started: records that were expired or truncated, and are still in a \
             store, are readable again"
        }
        Some(_) => {
            "what the last edits of the manifest said: records that were expired or truncated \
             lately, and are still in a store, are readable again"
        }
    });
    unknown.push(
        "when segments were sealed, where the old manifest does not tell: retention by age counts \
         from now",
    );
    unknown.push("if the end of the log was cut lately: what was cut off may be there again");
    unknown
        .push("whose the epochs were, where the old manifest does not tell: they get new lineages");
    if evidence.mark.is_none() {
        unknown.push(
            "which epochs began lately and left no batch: their numbers may be given out again",
        );
    }
    if evidence.mark.is_none() || is_mark_behind {
        unknown.push(
            "how much was durable: the next start takes what cannot be read at the end of the last \
             store for torn",
        );
    }
    if evidence.is_history_assumed {
        unknown
            .push("the history: it is taken to be that of a new log of this topic and partition");
    }
    unknown
}

/// A sound manifest stays; what can be wrong beside it is an index.
async fn indexes_only<D: Dir>(
    dir: D,
    entries: &[Entry],
    evidence: &Evidence,
    known: Known,
    progress: &mut dyn FnMut(u64),
) -> Result<Plan<D>, Refusal> {
    let mut plan = Plan::of(dir, known.now, evidence);
    let segments = evidence.state.iter().flat_map(|state| state.segments());
    for segment in segments.filter(|segment| segment.seal.is_some()) {
        let store = name::store(segment.base, segment.generation);
        if !entries.iter().any(|entry| entry.name == store) {
            continue;
        }
        let from = From {
            dir: &plan.dir,
            history: evidence.header.history,
            start: Point::starting(segment.start()),
            generation: segment.generation,
            mark: None,
            interval_bytes: known.interval_bytes,
        };
        let walked = from.walk().await?;
        progress(walked.bytes);
        plan.steps.extend(walked.unread.clone());
        let is_sound = segment.seal.as_ref().is_some_and(|seal| {
            let end = seal.digest.end();
            walked.is_exact() && (walked.end.offset, walked.end.chain) == (end.offset, end.chain)
        });
        if is_sound && !walked.is_index_right {
            plan.index(&walked, entries);
        }
    }
    Ok(plan)
}

impl<D: Dir> Plan<D> {
    /// One that changes nothing yet.
    fn of(dir: D, now: Timestamp, evidence: &Evidence) -> Self {
        Self {
            dir,
            now,
            header: evidence.header,
            state: None,
            has_manifest: evidence.has_manifest,
            sealed: None,
            has_mark: false,
            marks: Marks::default(),
            indexes: Vec::new(),
            steps: evidence.unread.clone(),
        }
    }

    /// What it would do, in order, and what it cannot know.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.all(|step| matches!(step, Step::Unreadable { .. }))
    }

    /// Does it. What was there keeps its bytes under another name.
    ///
    /// # Errors
    /// Any error of the disk. A repair that was interrupted can be planned again.
    pub async fn run(self) -> Result<(), Error> {
        self.rename_displaced().await?;
        for (name, bytes, is_there) in &self.indexes {
            if *is_there {
                self.keep(name).await?;
            }
            steps::write(&self.dir, name, bytes).await?;
        }
        if let Some(store) = &self.sealed {
            self.sync(store).await?;
        }
        self.mark(self.marks.before).await?;
        if let Some(state) = &self.state {
            if self.has_manifest {
                self.keep(manifest::NAME).await?;
            }
            Manifest::create(self.dir.clone(), self.header, &state.edits()).await?;
        }
        self.mark(self.marks.behind).await?;
        steps::sync(&self.dir).await
    }

    /// Makes durable what a store holds, before the manifest says that it is.
    async fn sync(&self, store: &str) -> Result<(), Error> {
        let at = || At::new(&self.dir, store);
        let opened = self.dir.open(store, Open::Write).await;
        let file = opened.map_err(|e| at().io("open", e))?;
        file.sync_all().await.map_err(|e| at().io("sync", e))?;
        Rc::new(file).close().await.map_err(|e| at().io("close", e))
    }

    /// Gives a file that is to be replaced a second name. Its first one is never without a file, so that a repair that
    /// is begun again knows as much as this one.
    async fn keep(&self, name: &str) -> Result<(), Error> {
        match self.dir.link(name, &self.dir, &self.old(name)).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(At::new(&self.dir, name).io("link", error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Writes a mark in the place of the one that is there.
    async fn mark(&self, slot: Option<Slot>) -> Result<(), Error> {
        let Some(slot) = slot else {
            return Ok(());
        };
        if self.has_mark {
            self.keep(mark::NAME).await?;
        }
        Mark::create(self.dir.clone(), slot).await.map(drop)
    }

    async fn rename_displaced(&self) -> Result<(), Error> {
        for step in &self.steps {
            if let Step::Displace { file, to, .. } = step
                && file != mark::NAME
            {
                steps::rename(&self.dir, file, to).await?;
            }
        }
        Ok(())
    }

    fn displace(&mut self, file: &str, reason: &'static str) {
        self.steps.push(Step::Displace {
            file: file.to_owned(),
            to: self.old(file),
            reason,
        });
    }

    /// Has the index of a store written anew.
    fn index(&mut self, walked: &Walked, entries: &[Entry]) {
        let file = name::index(walked.base, walked.generation);
        let bytes = walked.rows.encode(self.header.history, &walked.start);
        let is_there = entries.iter().any(|entry| entry.name == file);
        self.indexes.push((file.clone(), bytes, is_there));
        self.steps.push(Step::Index { file });
    }

    /// The name that a displaced file gets.
    fn old(&self, file: &str) -> String {
        format!("{file}.old-{}", self.now.millis())
    }
}
