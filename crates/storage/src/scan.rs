//! Walking a store batch by batch, every byte verified.

use std::rc::Rc;

use corelog_record::Position;
use corelog_record::batch::{HEADER_BYTES, Header, View};

use crate::Error;
use crate::disk::{Dir, File};
use crate::error::At;
use crate::index::{ROW_TRIES, UNREAD_TRIES};
use crate::segment::Point;
use crate::store::Store;

/// How many bytes are read at once, unless a batch is larger.
const WINDOW_BYTES: usize = 1 << 20;

/// What a scanner found next.
pub(crate) enum Step<'a> {
    /// A whole batch, verified. The scanner is behind it.
    Batch(View<'a>),
    /// The end of the bytes to scan, exactly behind a batch.
    End,
    /// No batch that can be trusted. The scanner is before it.
    Bad,
    /// A batch that the disk does not give. The scanner is before it.
    Unread(Unread),
}

/// What the disk does not give.
#[derive(Debug)]
pub(crate) struct Unread {
    /// What it says.
    pub(crate) error: Error,
    /// Where the batch begins that it is of.
    pub(crate) position: Position,
    /// Up to where it was asked, in bytes of the store.
    pub(crate) until: u64,
}

/// A walk over the batches of a store, from a point on.
pub(crate) struct Scanner<D: Dir> {
    store: Rc<Store<D>>,
    file: Rc<D::File>,
    point: Point,
    /// Where to stop, in bytes of the store.
    end: u64,
    window: Option<D::Bytes>,
    /// Where the window begins in the store.
    window_start: u64,
    /// How many bytes are read at once, unless a batch is larger.
    window_bytes: usize,
    /// Where it was read twice.
    doubted: Option<Position>,
    /// The window of the first time, and where it begins, meanwhile.
    aside: Option<(D::Bytes, u64)>,
    /// Up to here, in bytes of the store, the disk did not give a whole window: no more than a batch is asked for.
    hard_until: u64,
}

impl<D: Dir> Scanner<D> {
    /// A scanner at `point` of the first `end` bytes of a store.
    pub(crate) fn new(store: &Rc<Store<D>>, file: Rc<D::File>, point: Point, end: u64) -> Self {
        let store = store.clone();
        Self {
            store,
            file,
            point,
            end,
            window: None,
            window_start: 0,
            window_bytes: WINDOW_BYTES,
            doubted: None,
            aside: None,
            hard_until: 0,
        }
    }

    /// The same scanner, which reads `bytes` bytes at once.
    pub(crate) fn with_window(self, bytes: usize) -> Self {
        Self {
            window_bytes: bytes,
            ..self
        }
    }

    /// Whether the next batch, good or bad, is in memory already.
    pub(crate) fn has_next(&self) -> bool {
        let available = self.available();
        Header::parse(available).is_ok_and(|header| header.total_bytes() <= available.len())
    }

    /// What errors of the store say.
    pub(crate) fn at(&self) -> At {
        self.store.at()
    }

    /// Where the scanner is.
    pub(crate) fn point(&self) -> Point {
        self.point
    }

    /// Moves on to `point`, which must be true: the scanner starts anew there.
    pub(crate) fn move_to(&mut self, point: Point) {
        self.point = point;
    }

    /// Has the one batch at the scanner's point read once more, as a byte may have turned over on its way: for who is
    /// to say for good that it is damaged. False if it was.
    pub(crate) fn read_again(&mut self) -> bool {
        let is_first = self.doubted != Some(self.point.position);
        if is_first {
            self.doubted = Some(self.point.position);
            self.aside = self.window.take().map(|window| (window, self.window_start));
        } else {
            self.read_on();
        }
        is_first
    }

    /// Goes on with what was read before a batch was read again.
    fn read_on(&mut self) {
        if let Some((window, start)) = self.aside.take() {
            (self.window, self.window_start) = (Some(window), start);
        }
    }

    /// The next batch. It must begin where the one before ended: offsets are dense as appended, and
    /// the base offset is not covered by a batch's own checksum.
    ///
    /// # Errors
    /// Any error of reading the store, but for bytes that the disk does not give.
    pub(crate) async fn next(&mut self) -> Result<Step<'_>, Error> {
        if self.point.position.get() >= self.end {
            return Ok(Step::End);
        }
        if self.doubted != Some(self.point.position) {
            self.read_on();
        }
        if let Err(error) = self.fill(HEADER_BYTES).await {
            return self.unread(error, HEADER_BYTES).map(Step::Unread);
        }
        let bytes = match Header::parse(self.available()) {
            Ok(header) => header.total_bytes(),
            Err(_) => return Ok(Step::Bad),
        };
        if let Err(error) = self.fill(bytes).await {
            return self.unread(error, bytes).map(Step::Unread);
        }
        let Self {
            point,
            window,
            window_start,
            end,
            ..
        } = self;
        let available = visible(window.as_ref(), *window_start, point, *end);
        let batch = available.get(..bytes).unwrap_or(available);
        let Ok(view) = View::verify(batch) else {
            return Ok(Step::Bad);
        };
        if view.base_offset() != point.offset {
            return Ok(Step::Bad);
        }
        *point = point.after(&view);
        Ok(Step::Batch(view))
    }

    /// Where a valid batch stands behind a bad one, by the bad one's own length field, if the disk tells; the scanner
    /// stays. Nothing is ever searched for: a value may hold a batch.
    ///
    /// # Errors
    /// As for [`Scanner::next`].
    pub(crate) async fn behind_bad(&mut self) -> Result<Result<Option<Point>, Unread>, Error> {
        if let Err(error) = self.fill(HEADER_BYTES).await {
            return self.unread(error, HEADER_BYTES).map(Err);
        }
        let Some(behind) = self.point.after_header(self.available()) else {
            return Ok(Ok(None));
        };
        let stands = self.stands_at(behind).await?;
        Ok(stands.map(|stands| stands.then_some(behind)))
    }

    /// Whether a valid batch stands at `point`, or the store ends there, if the disk tells; the scanner stays.
    ///
    /// # Errors
    /// As for [`Scanner::next`].
    pub(crate) async fn stands_at(&mut self, point: Point) -> Result<Result<bool, Unread>, Error> {
        let at = std::mem::replace(&mut self.point, point);
        let is_end = point.position.get() == self.end;
        let stands = match self.next().await {
            Ok(Step::Batch(_)) => Ok(Ok(true)),
            Ok(Step::End) => Ok(Ok(is_end)),
            Ok(Step::Bad) => Ok(Ok(false)),
            Ok(Step::Unread(unread)) => Ok(Err(unread)),
            Err(error) => Err(error),
        };
        self.point = at;
        stands
    }

    /// The first of the points `known`, which are true if a valid batch stands there, that is further on than the scanner,
    /// which stays; and what the disk did not give on the way there, if something.
    ///
    /// # Errors
    /// As for [`Scanner::next`].
    pub(crate) async fn first_behind(
        &mut self,
        known: impl Iterator<Item = Point>,
    ) -> Result<(Option<Point>, Option<Unread>), Error> {
        let (at, mut tries, mut unread) = (self.point, UNREAD_TRIES, None);
        let is_behind = |point: &Point| at.position < point.position && at.offset < point.offset;
        for point in known.filter(is_behind).take(ROW_TRIES) {
            match self.stands_at(point).await? {
                Ok(true) => return Ok((Some(point), unread)),
                Ok(false) => {}
                Err(found) => {
                    unread.get_or_insert(found);
                    tries -= 1;
                }
            }
            if tries == 0 {
                break;
            }
        }
        Ok((None, unread))
    }

    /// Makes `bytes` bytes from the scanner's point on available, if the store has them.
    async fn fill(&mut self, bytes: usize) -> Result<(), Error> {
        let position = self.point.position.get();
        if self.available().len() >= bytes || position >= self.end {
            return Ok(());
        }
        let window_bytes = match self.aside {
            None if self.hard_until <= position => bytes.max(self.window_bytes),
            _ => bytes,
        };
        let mut window = self.read(window_bytes).await;
        if bytes < window_bytes && window.as_ref().is_err_and(Error::is_unreadable) {
            // What lies before a bad sector is sound.
            self.hard_until = position + window_bytes as u64;
            window = self.read(bytes).await;
        }
        (self.window, self.window_start) = (Some(window?), position);
        Ok(())
    }

    /// Reads `bytes` bytes from the scanner's point on, or as many as there are to scan.
    async fn read(&self, bytes: usize) -> Result<D::Bytes, Error> {
        let position = self.point.position.get();
        let wanted = (self.end - position).min(bytes as u64);
        let wanted = usize::try_from(wanted).unwrap_or(WINDOW_BYTES);
        let read = self.file.read_at(position, wanted).await;
        read.map_err(|source| self.store.at().io("read", source))
    }

    /// What an error of reading the next `bytes` bytes comes to.
    fn unread(&self, error: Error, bytes: usize) -> Result<Unread, Error> {
        if !error.is_unreadable() {
            return Err(error);
        }
        let position = self.point.position;
        Ok(Unread {
            error,
            position,
            until: self.end.min(position.get() + bytes as u64),
        })
    }

    /// The bytes in the window from the scanner's point on.
    fn available(&self) -> &[u8] {
        visible(
            self.window.as_ref(),
            self.window_start,
            &self.point,
            self.end,
        )
    }
}

/// The bytes of `window` from `point` on, up to the store position `end`.
fn visible<'a, B: AsRef<[u8]>>(
    window: Option<&'a B>,
    window_start: u64,
    point: &Point,
    end: u64,
) -> &'a [u8] {
    let window = window.map_or(&[][..], B::as_ref);
    let length = end.saturating_sub(window_start).min(window.len() as u64);
    let skipped = point
        .position
        .get()
        .checked_sub(window_start)
        .filter(|skip| *skip <= length);
    match (skipped.map(usize::try_from), usize::try_from(length)) {
        (Some(Ok(start)), Ok(length)) => &window[start..length],
        _ => &[],
    }
}
