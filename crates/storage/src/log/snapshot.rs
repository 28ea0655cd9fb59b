//! Snapshots of a log that goes on: the active segment is rolled, sealed ones get second names.
//!
//! ```text
//!  begin_snapshot ─▶ flush, finish, seal (as after any roll) ─▶ plan_snapshot ─▶ links, manifest
//! ```
//!
//! Segments below the roll never change again, so hard links of their files *are* the snapshot:
//! nothing is copied, and a snapshot costs space only once retention would have freed it. The links
//! come first, then a manifest that names them: a directory without one is no part of a snapshot.
//! The log itself is not touched, so that a crash or an error at any step leaves it as it was.

use std::io;

use corelog_record::{CopyId, Offset};

use super::Log;
use super::chore::ChorePlan;
use super::options::draw;
use super::work::Work;
use crate::Error;
use crate::disk::Dir;
use crate::error::At;
use crate::format::damage;
use crate::format::edit::{Edit, Point};
use crate::format::manifest::Header;
use crate::manifest::Manifest;
use crate::segment::Stage;
use crate::steps;

/// Linking a log's sealed segments into another directory.
pub(super) struct Snapshot<D: Dir> {
    dir: D,
    target: D,
    /// The manifest to write; `None` if the log has no files, and so leaves none.
    manifest: Option<(Header, Vec<Edit>)>,
    files: Vec<Files>,
    pub(super) log_start: Offset,
    pub(super) end: Point,
    pub(super) bytes: u64,
}

/// The files of a segment to link.
struct Files {
    store: String,
    index: String,
    /// Whether damage of the segment is known. Its store may then be missing, which the manifest
    /// says as well.
    is_damaged: bool,
}

impl<D: Dir> Snapshot<D> {
    /// Links.
    pub(super) async fn run(&mut self) -> Result<(), Error> {
        let Some((header, edits)) = &self.manifest else {
            return Ok(());
        };
        steps::create_all(&self.target).await?;
        for files in &self.files {
            self.link(&files.store, files.is_damaged).await?;
            // An index is a hint: who needs it rebuilds it.
            self.link(&files.index, true).await?;
        }
        // It ends with the one sync of the directory, which makes the links durable, too.
        Manifest::create(self.target.clone(), *header, edits).await?;
        Ok(())
    }

    async fn link(&self, name: &str, may_miss: bool) -> Result<(), Error> {
        match self.dir.link(name, &self.target, name).await {
            Err(error) if may_miss && error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|e| At::new(&self.dir, name).space("link", e)),
        }
    }

    /// How many segments it links.
    pub(super) fn segments(&self) -> usize {
        self.files.len()
    }
}

impl<D: Dir> Log<D> {
    /// Begins a snapshot: rolls the active segment if it has records. Returns where the snapshot
    /// ends; what is appended from now on lies behind. A follower rolls where its source did only: of it
    /// the snapshot ends where the active segment begins.
    ///
    /// # Errors
    /// [`Error::Busy`] while the end of the log is cut off, or too much waits to be sealed; [`Error::ReadOnly`] if damage at its end
    /// could not be stepped over, [`Error::Fenced`].
    pub fn begin_snapshot(&mut self) -> Result<Offset, Error> {
        if self.is_fenced() {
            return Err(Error::Fenced);
        }
        if let Some(from) = self.read_only_from {
            return Err(Error::ReadOnly { from });
        }
        if self.is_end_held() {
            return Err(Error::Busy);
        }
        if self.is_follower() {
            return Ok(self.active().base.offset);
        }
        if !self.active().is_empty() {
            if self.is_sealing_behind() {
                return Err(Error::Busy);
            }
            self.roll();
        }
        Ok(self.log_end())
    }

    /// Plans to link every segment below `upto`, which [`Log::begin_snapshot`] returned, into the
    /// directory `target`, and to write their manifest there: with the same topic, partition and
    /// history, a copy id of its own, and the damage that is known. `None` as long as a segment below
    /// `upto` is not sealed: ask again after the next flush and chore.
    ///
    /// The target must not exist or be empty; if the plan fails, whoever asked removes it. A log
    /// without files makes no target. A failure says nothing about the log, and does not fence it.
    ///
    /// # Errors
    /// [`Error::Busy`] while a chore is under way, [`Error::Fenced`], [`Error::OutOfRange`] if the
    /// log was cut off below `upto` meanwhile.
    pub fn plan_snapshot(
        &mut self,
        upto: Offset,
        target: D,
    ) -> Result<Option<ChorePlan<D>>, Error> {
        self.ready_to_change()?;
        let behind = self.segments.iter().map(|segment| segment.base);
        let behind = behind
            .filter(|base| upto <= base.offset)
            .min_by_key(|base| base.offset);
        // Truncated beyond it meanwhile, the log begins behind what the snapshot would hold.
        let is_border = |base: Offset| base == upto || upto < self.log_start;
        let Some(end) = behind.filter(|end| is_border(end.offset)) else {
            return Err(self.not_within(upto));
        };
        let is_below = |base: Offset| base < end.offset;
        let segments = self.segments.iter().filter(|s| is_below(s.base.offset));
        let is_settled = |stage| matches!(stage, Stage::Sealed(_) | Stage::Damaged);
        if segments.clone().any(|segment| !is_settled(segment.stage)) {
            return Ok(None);
        }
        let damage = self.damage.iter().filter(|d| is_below(d.segment));
        let damage: Vec<_> = damage.copied().collect();
        let files = segments.clone().map(|segment| Files {
            store: segment.store_name(),
            index: segment.index_name(),
            is_damaged: !self.damage.of(segment.base.offset).is_empty(),
        });
        let files = files.collect();
        let bytes = segments.map(|segment| segment.bytes()).sum();
        let copy = CopyId::from_bytes(draw(&mut self.seed, &self.identity));
        let header = Header {
            copy,
            ..self.header(self.identity.history)
        };
        let front = self
            .manifest
            .get()
            .map(|manifest| manifest.state().front(end.place()));
        let log_start = front.as_ref().map_or(end.offset, |front| front.log_start());
        let edits = front.map(|front| [front.edits(), damage::edits(&damage)].concat());
        Ok(Some(self.chore(Work::Snapshot(Box::new(Snapshot {
            dir: self.dir.clone(),
            target,
            manifest: edits.map(|edits| (header, edits)),
            files,
            log_start,
            end: end.place(),
            bytes,
        })))))
    }
}
