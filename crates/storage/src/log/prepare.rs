//! Making ready what a group needs: the partition's files, a store, space in it.
//!
//! Running out of space can arise here, and only here: each step notes what it has done, so that
//! what is left can be tried again later.

use std::io::ErrorKind;
use std::rc::Rc;

use corelog_record::Offset;

use crate::Error;
use crate::disk::{Dir, Open, round_up};
use crate::error::At;
use crate::format::edit::{Add, Edit};
use crate::manifest::Manifest;
use crate::planted::{self, Bug};
use crate::segment::Segment;
use crate::steps;
use crate::store::Store;

use super::Log;
use super::begun::{Begun, tell};
use super::birth::Birth;
use super::chore::Kind;
use super::mark::TakenMark;
use super::space::{Extent, Filled, Hurry};

/// A store to be made and added to the manifest.
pub(crate) struct NewStore<D: Dir> {
    pub(crate) add: Add,
    pub(crate) name: String,
    /// The store prepared ahead, with its space.
    pub(crate) next: Option<(Rc<Store<D>>, u64)>,
}

/// What has to be done before a group of one segment can be written. After [`Prepare::run`] the
/// fields say what is there.
pub(crate) struct Prepare<D: Dir> {
    pub(crate) dir: D,
    pub(crate) manifest: Option<Manifest<D>>,
    pub(crate) mark: TakenMark<D>,
    pub(crate) birth: Option<Birth>,
    /// What is to tell of the log, if it may be missing.
    pub(crate) untold: Option<Begun<D>>,
    pub(crate) new: Option<NewStore<D>>,
    pub(crate) store: Option<Rc<Store<D>>>,
    /// How far the store's space reaches, in bytes, …
    pub(crate) space_bytes: u64,
    /// … and of that what a sync has covered.
    pub(crate) synced_bytes: u64,
    pub(crate) extent: Option<Extent>,
    /// Whether a group waits for that.
    pub(crate) hurry: Hurry,
}

impl<D: Dir> Prepare<D> {
    /// Does what is left to do.
    ///
    /// # Errors
    /// [`Error::StorageFull`]: what was done stays done, the rest can be tried again. Any other
    /// error leaves the disk in an unknown state.
    pub(crate) async fn run(&mut self) -> Result<(), Error> {
        self.make_store().await?;
        self.add_store().await
    }

    /// The same ahead of a group, which then finds its store open: where descriptors had run out, there may be
    /// nothing else to do, and yet appends are to be refused until one is there.
    ///
    /// A store is added with zeros that are durable, as groups of the one before may be under way: if these were lost, and
    /// anything but zeros was found here, recovery would take them for durable and miss them.
    ///
    /// # Errors
    /// As for [`Prepare::run`], and [`Error::OutOfFiles`].
    pub(crate) async fn run_ahead(&mut self) -> Result<(), Error> {
        self.make_store().await?;
        if let (Some(_), Some(store)) = (&self.new, &self.store) {
            store.sync().await?;
            self.synced_bytes = self.space_bytes;
        }
        self.add_store().await?;
        if let Some(store) = &self.store {
            store.file().await?;
        }
        Ok(())
    }

    /// All but telling the manifest.
    async fn make_store(&mut self) -> Result<(), Error> {
        self.mark.say_first().await?;
        self.give_birth().await?;
        self.create().await?;
        self.extend().await
    }

    async fn give_birth(&mut self) -> Result<(), Error> {
        let untold = &mut self.untold;
        let Some(birth) = &self.birth else {
            return tell(untold).await;
        };
        let (manifest, mark) = (&mut self.manifest, &mut self.mark.mark);
        birth.make(&self.dir, manifest, untold, mark).await?;
        self.birth = None;
        Ok(())
    }

    /// The new store under its name, if there is to be one.
    async fn create(&mut self) -> Result<(), Error> {
        let (Some(new), None) = (&self.new, &self.store) else {
            return Ok(());
        };
        self.store = Some(match &new.next {
            Some((next, bytes)) => {
                self.refuse_taken(next, &new.name).await?;
                steps::rename(&self.dir, next.name(), &new.name).await?;
                self.space_bytes = *bytes;
                next.renamed(new.name.clone())
            }
            None => {
                let mut opened = self.dir.open(&new.name, Open::Create).await;
                if opened.is_err() && planted::is(Bug::UnnamedAdopted) {
                    opened = self.dir.open(&new.name, Open::Write).await;
                }
                let file =
                    Rc::new(opened.map_err(|e| At::new(&self.dir, &new.name).space("create", e))?);
                Store::opened(&self.dir, new.name.clone(), file)
            }
        });
        Ok(())
    }

    /// Refuses to put `next` in the place of another file: it may be one that was to go to quarantine, and could not.
    async fn refuse_taken(&self, next: &Store<D>, name: &str) -> Result<(), Error> {
        if next.name() == name {
            return Ok(());
        }
        let at = || At::new(&self.dir, name);
        match self.dir.open(name, Open::Read).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(at().space("look for", error)),
            Ok(_) => Err(at().io("create", ErrorKind::AlreadyExists.into())),
        }
    }

    async fn add_store(&mut self) -> Result<(), Error> {
        let Some(new) = &self.new else {
            return Ok(());
        };
        steps::sync(&self.dir).await?;
        if let Some(manifest) = &mut self.manifest {
            manifest.append(&Edit::Add(new.add)).await?;
        }
        self.new = None;
        Ok(())
    }

    async fn extend(&mut self) -> Result<(), Error> {
        let (Some(extent), Some(store)) = (&self.extent, &self.store) else {
            return Ok(());
        };
        if self.space_bytes < extent.end {
            let file = store.file().await?;
            let reached = &mut self.space_bytes;
            let prepared = extent.prepare(&*file, reached, &self.hurry).await;
            prepared.map_err(|e| store.at().space("extend", e))?;
        }
        self.extent = None;
        Ok(())
    }
}

impl<D: Dir> Log<D> {
    /// Whether nothing that preparing the segment `base` up to the position `end` needs is with
    /// another plan.
    pub(super) fn can_prepare(&self, base: Offset, end: u64) -> bool {
        let segment = self.segment_at(base);
        let is_bare = segment.store.is_none();
        let needs_space = is_bare || segment.space_bytes < round_up(end);
        let is_taken = self.manifest.is_away() || self.mark.is_away();
        let is_in_way = is_bare && is_taken;
        let is_made = is_bare && self.chore == Some(Kind::Next);
        let is_prepared = self.is_flush_preparing || self.chore == Some(Kind::Prepare) || is_made;
        // Two that prepare the same space would write zeros over what the faster one wrote there, and of two that tell of the
        // log one may take away, as it fails, what the other has found there.
        let is_prepared_alone = needs_space || self.untold.is_some();
        let is_in_way = is_in_way || (is_prepared_alone && is_prepared);
        let needs_mark = self.marked.is_clean || !self.has_files();
        let is_in_way = is_in_way || (needs_mark && self.mark.is_away());
        !is_in_way
    }

    pub(super) fn filled(&self, segment: &Segment<D>) -> Filled {
        Filled {
            durable: self.durable_bytes(segment),
            appended: segment.bytes(),
            space: segment.space_bytes,
        }
    }

    /// What has to be done before a group of `bytes` bytes can be written to the segment `base`, up
    /// to the position `end`.
    pub(super) fn prepare(&mut self, base: Offset, end: u64, bytes: usize) -> Prepare<D> {
        let birth = (!self.has_files()).then(|| {
            let epoch = self.first_epoch();
            self.birth(epoch)
        });
        let first = self.unset_slot();
        let mark = match birth.is_some() || first.is_some() {
            true => self.mark.take(),
            false => None,
        };
        let segment = self.segment_at(base);
        let (start, name, store) = (segment.base, segment.store_name(), segment.store.clone());
        let (space_bytes, synced_bytes) = (segment.space_bytes, segment.synced_bytes);
        let (mut filled, is_bare) = (self.filled(segment), store.is_none());
        let next = if is_bare { self.next.take() } else { None };
        if let Some((_, space)) = next {
            filled.space = space;
        }
        let extent = filled.needed(end, bytes, &self.options);
        let add = Add::from(start.place());
        Prepare {
            dir: self.dir.clone(),
            manifest: if is_bare { self.manifest.take() } else { None },
            mark: TakenMark { mark, first },
            birth,
            untold: self.untold.clone(),
            new: is_bare.then_some(NewStore { add, name, next }),
            store,
            space_bytes,
            synced_bytes,
            extent,
            hurry: self.hurry.clone(),
        }
    }

    /// Takes in what was prepared for the segment `base`, also if not all could be.
    pub(super) fn absorb(&mut self, base: Offset, prepare: Prepare<D>) {
        let Prepare {
            manifest,
            mark,
            untold,
            new,
            store,
            space_bytes,
            synced_bytes,
            ..
        } = prepare;
        self.give_back(manifest, mark.mark);
        self.untold = untold;
        let is_added = new.is_none();
        if let Some(new) = new {
            // A store that exists but is not added yet is made again under its name: it waits
            // as the next one.
            self.next = match &store {
                Some(store) => Some((store.clone(), space_bytes)),
                None => new.next,
            };
        }
        let segment = self.segment_at_mut(base);
        if is_added {
            // Space of a store only grows; a chore may have extended it meanwhile.
            segment.store = store;
            segment.space_bytes = segment.space_bytes.max(space_bytes);
            segment.synced_bytes = segment.synced_bytes.max(synced_bytes);
        }
    }
}
