//! Judging the bytes of one store, batch by batch from a point that is known to be true.

use std::rc::Rc;

use corelog_record::Offset;

use crate::Error;
use crate::disk::Dir;
use crate::epochs::is_of_its_epoch;
use crate::format::damage::Damage;
use crate::format::edit::Epoch;
use crate::format::index::Row;
use crate::index::{self, Builder, Rows, Sealed};
use crate::scan::{Scanner, Step, Unread};
use crate::segment::Point;
use crate::store::Store;

/// What a survey is told.
pub(super) struct Of<D: Dir> {
    pub(super) store: Rc<Store<D>>,
    pub(super) base: Point,
    /// The length of the store. A valid batch may end in zeros, so the last byte that is not zero
    /// does not bound it.
    pub(super) bytes: u64,
    /// Where to begin: the base, or a point below which all is durable.
    pub(super) start: Point,
    /// A point further on that is known to be true.
    pub(super) known: Option<Point>,
    pub(super) interval_bytes: u32,
    /// The epochs of the manifest, oldest first.
    pub(super) epochs: Vec<Epoch>,
    /// The index that an earlier closing or opening may have left.
    pub(super) index: Rc<Sealed<D>>,
}

/// A survey of one store.
pub(super) struct Survey<D: Dir> {
    of: Of<D>,
    scanner: Option<Scanner<D>>,
    rows: Builder,
    damage: Vec<Damage>,
    /// Those of the damage that the disk did not give, or in doubt: it may be none the next time.
    unread_damage: Vec<Damage>,
    /// Whether nothing that is bad is known to be torn or damaged.
    is_in_doubt: bool,
    /// Where bytes were stepped over, and where that led to.
    bad: Vec<(Point, Point)>,
    /// Its rows, once they were asked for.
    left: Option<Builder>,
    /// Whether the disk did not give all of these.
    lacks_rows: bool,
    /// What the disk did not give where the survey stopped, if that is why, or on the way over it.
    unread: Option<Unread>,
}

impl<D: Dir> Survey<D> {
    pub(super) async fn new(of: Of<D>) -> Result<Self, Error> {
        let scanner = match of.bytes {
            0 => None,
            bytes => {
                let file = of.store.file().await?;
                Some(Scanner::new(&of.store, file, of.start, bytes))
            }
        };
        let rows = match of.start == of.base {
            true => Builder::default(),
            false => Builder::beginning_at(&of.base, &of.start),
        };
        Ok(Self {
            of,
            scanner,
            rows,
            damage: Vec::new(),
            unread_damage: Vec::new(),
            is_in_doubt: false,
            bad: Vec::new(),
            left: None,
            lacks_rows: false,
            unread: None,
        })
    }

    /// Where the survey is.
    pub(super) fn point(&self) -> Point {
        self.scanner.as_ref().map_or(self.of.start, Scanner::point)
    }

    /// The damage found.
    pub(super) fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Where in the store bytes were stepped over, and where that led to.
    pub(super) fn bad(&self) -> Vec<(Point, Point)> {
        self.bad.clone()
    }

    /// What the disk did not give where the survey stopped, if that is why it did, or on the way over what is bad there.
    pub(super) fn unread(&self) -> Option<&Unread> {
        self.unread.as_ref()
    }

    /// Gives away what the disk did not give where the survey stopped, if that is why it did.
    pub(super) fn take_unread(&mut self) -> Option<Unread> {
        self.unread.take()
    }

    /// The damage of which the disk gave no bytes, or that may be none once it gives others.
    pub(super) fn unread_damage(&self) -> &[Damage] {
        &self.unread_damage
    }

    /// The index rows, and the damage.
    pub(super) fn into_parts(self) -> (Builder, Vec<Damage>) {
        (self.rows, self.damage)
    }

    /// Notes damage where the survey stopped.
    pub(super) fn damaged(&mut self, from: Offset, to: Offset) {
        let segment = self.of.base.offset;
        let damage = Damage { from, to, segment };
        self.damage.push(damage);
        if self.unread.is_some() || self.lacks_rows || self.is_in_doubt {
            self.unread_damage.push(damage);
        }
    }

    /// Has what is bad from here on be neither torn nor known to be damaged: it may be none once the disk gives all.
    pub(super) fn doubt(&mut self) {
        self.is_in_doubt = true;
    }

    /// Whether it is so.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    /// Has nothing from `end` on be of this store. Batches that say so are not those that were added.
    pub(super) fn end_damage(&mut self, end: Offset) {
        for all in [&mut self.damage, &mut self.unread_damage] {
            all.iter_mut()
                .for_each(|damage| damage.to = damage.to.min(end));
            all.retain(|damage| damage.from < damage.to);
        }
        if self.damage.is_empty() {
            self.damaged(self.of.base.offset, end);
        }
    }

    /// Goes on to the first bad position, or to the end.
    pub(super) async fn run(&mut self) -> Result<(), Error> {
        self.unread = None;
        let Some(scanner) = &mut self.scanner else {
            return Ok(());
        };
        loop {
            let at = scanner.point();
            let unread = match scanner.next().await? {
                Step::Batch(batch) if is_of_its_epoch(&batch, &self.of.epochs) => {
                    self.rows.note(&self.of.base, &at, self.of.interval_bytes);
                    continue;
                }
                Step::Batch(_) | Step::Bad => None,
                Step::Unread(unread) => Some(unread),
                Step::End => return Ok(()),
            };
            scanner.move_to(at);
            if !scanner.read_again() {
                self.unread = unread;
                return Ok(());
            }
        }
    }

    /// Steps over the bad bytes where the survey stopped, by the bad batch's own length or by index
    /// rows. Returns whether that worked; never searches, because a value may hold a batch.
    pub(super) async fn resync(&mut self) -> Result<bool, Error> {
        let Some(scanner) = &mut self.scanner else {
            return Ok(false);
        };
        let (at, is_given) = (scanner.point(), self.unread.is_none());
        let mut behind = given(scanner.behind_bad().await?, &mut self.unread);
        if behind.is_none() && is_given {
            // One that is whole, and of another epoch, leads to the next one, though that be bad.
            if let Step::Batch(batch) = scanner.next().await?
                && !is_of_its_epoch(&batch, &self.of.epochs)
            {
                behind = given(scanner.behind_bad().await?, &mut self.unread);
            }
            scanner.move_to(at);
        }
        if behind.is_none() {
            behind = self.row_behind().await?;
        }
        let known = self.of.known;
        behind = behind.or(known.filter(|known| at.position < known.position));
        let (Some(behind), Some(scanner)) = (behind, &mut self.scanner) else {
            return Ok(false);
        };
        scanner.move_to(behind);
        self.rows.note_around(&self.of.base, [&at, &behind]);
        self.note_bad(at, behind);
        Ok(true)
    }

    /// The first index row further on at which a valid batch stands. Those that the file lacks would lead nowhere that the
    /// store does not: none are made of it.
    async fn row_behind(&mut self) -> Result<Option<Point>, Error> {
        let rows = match self.left.take() {
            Some(rows) => rows,
            None => {
                let (rows, unread) = match self.of.index.sound_rows().await {
                    Err(error) if error.is_unreadable() => (Vec::new(), Some(error)),
                    rows => rows?,
                };
                self.lacks_rows = unread.is_some();
                Builder::from(rows)
            }
        };
        let (rows, of) = (&*self.left.insert(rows), &self.of);
        let Some(scanner) = &mut self.scanner else {
            return Ok(None);
        };
        let at = scanner.point().position.get();
        let is_before = |row: &Row| u64::from(row.position) <= at;
        let behind = (rows.count_before(is_before)..rows.count()).filter_map(|at| rows.row(at));
        let behind = behind.filter_map(|row| index::point(&of.base, &row));
        let behind = behind.filter(|row| row.position.get() < of.bytes);
        let (behind, unread) = scanner.first_behind(behind).await?;
        self.unread = self.unread.take().or(unread);
        Ok(behind)
    }

    fn note_bad(&mut self, at: Point, behind: Point) {
        self.damaged(at.offset, behind.offset);
        self.bad.push((at, behind));
    }
}

/// What the disk tells of; if it does not, why is put by in `unread`.
fn given(told: Result<Option<Point>, Unread>, unread: &mut Option<Unread>) -> Option<Point> {
    told.unwrap_or_else(|why| {
        unread.get_or_insert(why);
        None
    })
}
