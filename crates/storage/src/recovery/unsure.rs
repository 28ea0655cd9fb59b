//! What an opening cannot make sure of: nobody is shown it before that is done.

use std::error::Error as _;
use std::rc::Rc;

use corelog_record::Offset;

use super::Recovery;
use super::copy::renewed;
use super::settle::{self, Kept};
use crate::Error;
use crate::disk::Dir;
use crate::format::damage::Damage;
use crate::format::edit::Generation;
use crate::log::Event;
use crate::manifest::Manifest;
use crate::segment::{Segment, Stage};
use crate::store::Store;

/// What a read shows of a store, and a power cut may take.
#[derive(Clone)]
pub(crate) struct Unsure {
    /// Its offsets: they count as damage until it is sure.
    pub(crate) hidden: Damage,
    /// Whether all of the store is right: it is sealed then.
    pub(crate) is_whole: bool,
    /// How many bytes a copy of the store has that may take its place; `None` if none may.
    pub(crate) copied: Option<u64>,
    kept: Kept,
}

impl Unsure {
    /// Writes it again as it is, and syncs it.
    ///
    /// # Errors
    /// Any error of the disk; [`Error::Damaged`] if it is not read as it was; [`Error::CalledOff`].
    pub(crate) async fn rewrite<D: Dir>(
        &self,
        dir: &D,
        store: &Rc<Store<D>>,
    ) -> Result<(), Error> {
        settle::rewrite(dir, store, &self.kept, 0).await
    }

    /// Copies the first `bytes` bytes of the store to its `next` generation, which the manifest then names.
    ///
    /// # Errors
    /// As for [`renewed`].
    pub(crate) async fn renew<D: Dir>(
        &self,
        dir: &D,
        store: &Store<D>,
        bytes: u64,
        next: Generation,
        manifest: &mut Manifest<D>,
    ) -> Result<Rc<Store<D>>, Error> {
        renewed(dir, store, bytes, next, manifest, &self.kept.call_off).await
    }
}

impl<D: Dir> Recovery<D> {
    /// What is `kept` of a segment, as long as it is not sure.
    pub(super) fn unsure(&self, segment: &Segment<D>, kept: Kept, copied: Option<u64>) -> Unsure {
        let end = self.findings.read_only_from.unwrap_or(Offset::MAX);
        Unsure {
            hidden: Damage {
                from: kept.start.offset,
                to: segment.end.offset.min(end),
                segment: segment.base.offset,
            },
            is_whole: segment.stage == Stage::Rolled,
            copied,
            kept,
        }
    }

    /// Makes sure of what is served of a store, or has it count as damage: the log goes on without it, and tries again once it
    /// is open. Returns whether it is sure.
    pub(super) async fn settle_or_hide(
        &mut self,
        segment: &mut Segment<D>,
        store: &Rc<Store<D>>,
        unsure: Unsure,
    ) -> Result<bool, Error> {
        let hidden = unsure.hidden;
        let is_known = self.findings.damage.iter().any(|it| it.holds(&hidden));
        // Nobody is shown what is damaged, nor is there a file to write to where a store is gone.
        if hidden.to <= hidden.from || (is_known && !unsure.is_whole) {
            return Ok(true);
        }
        let mut settled = self.settle_unsure(segment, store, &unsure).await;
        if matches!(settled, Err(Error::Damaged { .. })) {
            settled = self.settle_unsure(segment, store, &unsure).await;
        }
        let Err(error) = settled else {
            return Ok(true);
        };
        let is_to_pass = matches!(error, Error::CalledOff | Error::OutOfFiles { .. });
        if is_to_pass || self.manifest.is_in_doubt() {
            return Err(error);
        }
        // Read right once, and twice not, or it takes no write, and there is no copy.
        if !is_known {
            self.hide(unsure, &error);
        }
        Ok(false)
    }

    async fn settle_unsure(
        &mut self,
        segment: &mut Segment<D>,
        store: &Rc<Store<D>>,
        unsure: &Unsure,
    ) -> Result<(), Error> {
        match unsure.copied {
            Some(bytes) => {
                let ends = (0, bytes);
                self.make_sure(segment, store, &unsure.kept, ends).await
            }
            None => unsure.rewrite(&self.context.way.dir, store).await,
        }
    }

    fn hide(&mut self, unsure: Unsure, error: &Error) {
        let damage = unsure.hidden;
        // It goes again by itself: what else is damaged stays apart.
        damage.join(&mut self.findings.damage, |_| true);
        self.findings.unread.push(damage);
        self.findings.unsure.push(unsure);
        let cause = error.source().map(|cause| format!(": {cause}"));
        let why = format!("{error}{}", cause.unwrap_or_default());
        self.findings.events.note(Event::Unsure { damage, why });
    }
}
