//! What an opening could not make sure of counts as damage. The open log tries again: a disk that takes nothing, or is full, may
//! take it a minute later.

use std::collections::VecDeque;
use std::rc::Rc;
use std::slice;

use corelog_record::{Offset, Timestamp};

use super::outcome::Chore;
use super::work::{Garbage, Work};
use super::{Damage, Event, Log};
use crate::Error;
use crate::disk::{Dir, round_up};
use crate::format::edit::Generation;
use crate::format::quarantine::Reason;
use crate::manifest::Manifest;
use crate::quarantine::Way;
use crate::recovery;
use crate::segment::{Finishing, Stage, finish_all, name};
use crate::store::Store;

/// What is not sure, and when it is tried again.
pub(super) struct Unsure {
    /// The next one first.
    stores: VecDeque<recovery::Unsure>,
    retry_at: Timestamp,
    /// How long all rest after the next try in vain, in milliseconds.
    rest_ms: i64,
    /// Whether the next one could not be written in place just now: a copy of it is made, if it may have one.
    is_copied: bool,
    /// The first segment that was made sure of and may not be sealed yet.
    pub(super) unsealed: Option<Offset>,
}

impl Unsure {
    /// What an opening left at `now`.
    pub(super) fn new(stores: Vec<recovery::Unsure>, now: Timestamp) -> Self {
        Self {
            stores: stores.into(),
            retry_at: now.saturating_add_millis(REST_MIN_MS),
            rest_ms: 2 * REST_MIN_MS,
            is_copied: false,
            unsealed: None,
        }
    }

    /// Notes a try in vain. A copy is tried next, at once; behind that, or without one, the next store is, later.
    fn put_off(&mut self, now: Timestamp) {
        let may_be_copied = self.stores.front().is_some_and(|it| it.copied.is_some());
        self.is_copied = may_be_copied && !self.is_copied;
        if !self.is_copied {
            let tried = self.stores.pop_front();
            self.stores.extend(tried);
            self.retry_at = now.saturating_add_millis(self.rest_ms);
            self.rest_ms = (2 * self.rest_ms).min(REST_MAX_MS);
        }
    }
}

/// Making sure of a store.
pub(super) struct MakeSure<D: Dir> {
    unsure: recovery::Unsure,
    way: Way<D>,
    store: Rc<Store<D>>,
    /// What gives the segment its final files, if it can be sealed then.
    finishing: Option<Finishing<D>>,
    /// If a copy is made: what names it.
    manifest: Option<Manifest<D>>,
    next: Generation,
    /// The copy, once the manifest names it.
    made: Option<Rc<Store<D>>>,
    /// What is read while it is moved away stays open until the log knows of it.
    open: Option<Rc<D::File>>,
    is_sure: bool,
}

impl<D: Dir> MakeSure<D> {
    /// Tries. It is no error of the log if that fails, unless nobody knows then what the manifest says.
    pub(super) async fn run(&mut self) -> Result<(), Error> {
        let tried = self.attempt().await;
        self.is_sure = tried.is_ok();
        let is_in_doubt = self.manifest.as_ref().is_some_and(Manifest::is_in_doubt);
        if is_in_doubt { tried } else { Ok(()) }
    }

    async fn attempt(&mut self) -> Result<(), Error> {
        let (unsure, dir, store) = (&self.unsure, &self.way.dir, &self.store);
        match (&mut self.manifest, unsure.copied) {
            (Some(manifest), Some(bytes)) => {
                let made = unsure.renew(dir, store, bytes, self.next, manifest);
                self.made = Some(made.await?);
                // What cannot be moved away now, opening does: the manifest does not name it.
                let _is_away = self.move_away().await;
            }
            _ => unsure.rewrite(dir, store).await?,
        }
        let Some(finishing) = &mut self.finishing else {
            return Ok(());
        };
        if let Some(made) = &self.made {
            finishing.store = made.clone();
            finishing.index_name = name::index(self.next.base, self.next.generation);
        }
        finish_all(slice::from_mut(finishing)).await
    }

    /// Moves the old store to quarantine.
    async fn move_away(&mut self) -> Result<(), Error> {
        self.open = Some(self.store.file().await?);
        let taken = self.way.open().await?;
        let (name, reason) = (self.store.name(), Reason::Unnamed);
        self.way.take(name, reason, &taken).await?;
        self.way.sync().await
    }
}

impl<D: Dir> Log<D> {
    /// When it is tried again to make sure of what the opening could not; `None` if there is nothing.
    pub fn unsure_at(&self) -> Option<Timestamp> {
        let is_any = !self.unsure.stores.is_empty();
        is_any.then_some(self.unsure.retry_at)
    }

    /// The next try to make sure of what the opening could not.
    pub(super) fn plan_unsure(&mut self, now: Timestamp) -> Option<Work<D>> {
        // Not of what was replaced, cut off or let go since.
        let is_left = |it: &recovery::Unsure| self.unread.contains(&it.hidden);
        self.unsure.stores.retain(is_left);
        let is_in_way = self.unsure.is_copied && self.is_add_waiting();
        if now < self.unsure.retry_at || is_in_way {
            return None;
        }
        let unsure = self.unsure.stores.front()?.clone();
        let segment = self.segment_at(unsure.hidden.segment);
        let store = segment.store.clone()?;
        let next = Generation {
            base: segment.base.offset,
            generation: segment.generation + 1,
        };
        let finishing = segment.finishing(&self.dir, self.identity.history);
        let finishing = finishing.filter(|_| unsure.is_whole);
        let way = self.way(now);
        // No mark is clean beside what is not sure: an edit needs nothing else.
        let manifest = match self.unsure.is_copied {
            true => Some(self.manifest.take()?),
            false => None,
        };
        Some(Work::MakeSure(Box::new(MakeSure {
            unsure,
            way,
            store,
            finishing,
            manifest,
            next,
            made: None,
            open: None,
            is_sure: false,
        })))
    }

    /// Takes a try in.
    pub(super) fn take_in_sure(
        &mut self,
        make: MakeSure<D>,
        is_done: bool,
        now: Timestamp,
    ) -> Chore {
        let (hidden, is_sure) = (make.unsure.hidden, is_done && make.is_sure);
        self.give_back(make.manifest, None);
        if let Some(made) = make.made {
            self.go_on_in(made, make.next, make.unsure.copied);
        }
        match is_sure {
            true => self.show(hidden, make.finishing),
            false => self.unsure.put_off(now),
        }
        Chore::MadeSure {
            segment: hidden.segment,
            is_sure,
        }
    }

    /// Has a segment be in a copy, which the manifest names.
    fn go_on_in(&mut self, made: Rc<Store<D>>, next: Generation, bytes: Option<u64>) {
        let Generation { base, generation } = next;
        let segment = self.segment_at_mut(base);
        segment.generation = generation;
        segment.space_bytes = round_up(bytes.unwrap_or(0));
        if let Some(store) = segment.store.replace(made) {
            store.retire();
            self.garbage.push(Garbage {
                store,
                names: Vec::new(),
                is_reusable: false,
            });
        }
        self.events.note(Event::StoreReplaced {
            segment: base,
            generation,
        });
    }

    /// Shows what is sure now, and has the segment be sealed if it was given its final files.
    fn show(&mut self, hidden: Damage, finishing: Option<Finishing<D>>) {
        self.keep_damage(|known| *known != hidden);
        if let Some(finishing) = finishing {
            let segment = self.segment_at_mut(hidden.segment);
            segment.stage = Stage::Finished;
            segment.is_index_written = finishing.is_index_written;
            let first = self.unsure.unsealed.unwrap_or(hidden.segment);
            self.unsure.unsealed = Some(first.min(hidden.segment));
        }
        self.unsure.stores.retain(|it| it.hidden != hidden);
        self.unsure.is_copied = false;
        self.events.note(Event::Sure { damage: hidden });
    }
}

/// How long what is not sure rests before the first try, in milliseconds; each further one waits twice as long, …
const REST_MIN_MS: i64 = 5_000;

/// … but no longer than this: so often it is tried for ever.
const REST_MAX_MS: i64 = 60_000;
