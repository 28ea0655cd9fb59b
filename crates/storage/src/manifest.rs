//! The manifest's file: edits appended one by one, each durable before the next.
//!
//! An edit goes into space that is already there and already zero, so it needs one write and one
//! `fdatasync`, and never fails for want of space. When the space is used up, the file is written
//! anew with the fewest edits that say the same, and renamed into place.

mod image;

use std::ops::Range;
use std::rc::Rc;

use crate::disk::unread::read_file_twice;
use crate::disk::{BLOCK_BYTES, Buf, Dir, File, Open, round_up};
use crate::error::{At, Error};
use crate::format::edit::Edit;
use crate::format::manifest::{self as format, Header};
use crate::format::state::{Segment, State};
use crate::format::{self as formats};
use crate::open_files::Handle;
use crate::steps;

use self::image::{Image, put_in_place};

/// The name of the file.
pub const NAME: &str = "manifest";

/// An open manifest. It is owned by one task at a time; after an error for which
/// [`Manifest::is_in_doubt`] holds, only opening it anew tells what it says.
#[derive(Debug)]
pub struct Manifest<D: Dir> {
    dir: D,
    file: Rc<Handle<D>>,
    header: Header,
    state: State,
    /// The bytes before `end` that the next write repeats, from the start of a block.
    tail: Vec<u8>,
    /// Where the next edit goes.
    end: u64,
    /// How far the space is prepared.
    space_end: u64,
    next_sequence: u32,
    /// Where the remains lie of an edit whose write was interrupted, in bytes from the start of the file.
    torn: Option<Range<u64>>,
    /// Whether the file's entry is known to be durable.
    is_in_place: bool,
    is_in_doubt: bool,
    /// Whether the file is written anew where it cannot be written in place: so it is by who opens a log, which a block that
    /// takes nothing would else keep closed for good. Later, that fences.
    is_mending: bool,
}

impl<D: Dir> Manifest<D> {
    /// Makes the manifest of `dir`, durably, replacing any there is.
    ///
    /// # Errors
    /// `StorageFull`, or any error of the disk; then there is no new manifest, or all of it.
    ///
    /// # Panics
    /// If an edit does not follow from those before it.
    pub async fn create(dir: D, header: Header, edits: &[Edit]) -> Result<Self, Error> {
        let mut state = State::new(header.history);
        for edit in edits {
            follow(&mut state, edit);
        }
        let image = Box::pin(Image::stage(&dir, &header, state.each_edit())).await?;
        put_in_place(&dir).await?;
        Ok(image.into_manifest(dir, header, state))
    }

    /// Opens the manifest of `dir`. What an interrupted write left of an edit is reported by
    /// [`Manifest::torn`], and must be cut before anything is appended.
    ///
    /// # Errors
    /// `Io` of kind `NotFound` without a manifest; `Format` for one that is damaged or that this
    /// program must not understand; any error of the disk.
    pub async fn open(dir: D) -> Result<Self, Error> {
        let (bytes, read) = read_surely(&dir).await?;
        let next_sequence = read.next_sequence();
        // The last edit may have been left by a write whose sync failed, and the file by a rename
        // whose sync failed: the first write from here on repeats both.
        let tail_start = read.last - read.last % BLOCK_BYTES;
        Ok(Self {
            file: Handle::closed(&dir, NAME.to_owned(), Open::Write),
            header: read.header,
            state: read.state,
            tail: bytes[tail_start..read.end].to_vec(),
            end: read.end as u64,
            // Where something else has cut the file, its last block is none to write an edit into.
            space_end: (bytes.len() - bytes.len() % BLOCK_BYTES) as u64,
            next_sequence,
            torn: read.torn.map(|torn| torn.start as u64..torn.end as u64),
            is_in_place: false,
            is_in_doubt: false,
            is_mending: false,
            dir,
        })
    }

    /// The same for who opens a log, until it is [`Manifest::mended`]: where the file cannot be written in place, it is
    /// written anew.
    ///
    /// # Errors
    /// As for [`Manifest::open`].
    pub(crate) async fn open_mending(dir: D) -> Result<Self, Error> {
        let opened = Self::open(dir).await?;
        Ok(Self {
            is_mending: true,
            ..opened
        })
    }

    /// The manifest of a log that is open.
    pub(crate) fn mended(self) -> Self {
        Self {
            is_mending: false,
            ..self
        }
    }

    /// Whose manifest it is.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What it says. In doubt, what it may say.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Where what an interrupted write left behind the last edit lies in the file, in bytes.
    #[must_use]
    pub fn torn(&self) -> Option<Range<u64>> {
        self.torn.clone()
    }

    /// Whether an append or a compaction failed, or was dropped, in a way that leaves unknown what
    /// the file says.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    /// Zeroes what an interrupted write left, durably. The caller has put it into quarantine.
    ///
    /// # Errors
    /// Any error of the disk; the manifest is then in doubt.
    pub async fn cut_torn(&mut self) -> Result<(), Error> {
        let Some(torn) = &self.torn else {
            return Ok(());
        };
        let end = torn.end;
        let file = self.ready().await?;
        let written = self.write(&file, &[], end).await;
        self.or_anew(written).await?;
        self.torn = None;
        Ok(())
    }

    /// Appends `edit`, durably, and returns the segments whose files are not named any more.
    ///
    /// # Errors
    /// `StorageFull` when the file must be written anew and there is no space: nothing has
    /// changed, and a later try may succeed. `Fenced` when the manifest is in doubt already. Any
    /// other error of the disk puts it in doubt.
    ///
    /// # Panics
    /// If `edit` does not follow from those before it, or torn bytes were not cut.
    pub async fn append(&mut self, edit: &Edit) -> Result<Vec<Segment>, Error> {
        self.check_writable()?;
        let frame = edit.encode(self.next_sequence);
        let end = self.end + frame.len() as u64;
        if self.space_end < end {
            let mut state = self.state.clone();
            let gone = follow(&mut state, edit);
            self.replace(Some(state)).await?;
            return Ok(gone);
        }
        let file = self.ready().await?;
        // In place, as a copy takes long where there are many segments: what fails from here on leaves a doubt.
        let gone = follow(&mut self.state, edit);
        let written = self.write(&file, &frame, end).await;
        let is_written = written.is_ok();
        self.or_anew(written).await?;
        if is_written {
            self.next_sequence += 1;
        }
        Ok(gone)
    }

    /// Appends `edits`, durably, all of them or none. Several are one write only if the file is written
    /// anew.
    ///
    /// # Errors
    /// As for [`Manifest::append`].
    ///
    /// # Panics
    /// As for [`Manifest::append`].
    pub async fn append_all(&mut self, edits: &[Edit]) -> Result<(), Error> {
        self.check_writable()?;
        let mut state = self.state.clone();
        for edit in edits {
            follow(&mut state, edit);
        }
        self.replace(Some(state)).await
    }

    /// Writes the file anew, with the fewest edits that say the same.
    ///
    /// # Errors
    /// As for [`Manifest::append`].
    pub async fn compact(&mut self) -> Result<(), Error> {
        self.check_writable()?;
        self.replace(None).await
    }

    /// Writes the file anew if there is little room left in it, so that an edit which somebody waits
    /// for, as a group does for that of its store, is one write. Without space or a descriptor all
    /// stays as it is.
    ///
    /// # Errors
    /// Any error of the disk but such a shortage; as for [`Manifest::append`].
    pub async fn make_room(&mut self) -> Result<(), Error> {
        if self.end + ROOM_BYTES <= self.space_end {
            return Ok(());
        }
        match self.compact().await {
            Err(error) if error.is_shortage() && !self.is_in_doubt => Ok(()),
            other => other,
        }
    }

    /// Makes what the file says durable, if it was just opened: the last edit may have been left by
    /// a write whose sync failed or never came, the file by such a rename. Nothing may be done that
    /// only follows from an edit before that.
    ///
    /// # Errors
    /// Any error of the disk; the manifest is then in doubt.
    pub async fn confirm(&mut self) -> Result<(), Error> {
        match self.is_in_place {
            true => Ok(()),
            false => {
                let file = self.ready().await?;
                let written = self.write(&file, &[], self.end).await;
                self.or_anew(written).await
            }
        }
    }

    /// What came of a write in place, or of the whole file written anew.
    async fn or_anew(&mut self, written: Result<(), Error>) -> Result<(), Error> {
        match written {
            // What the old file holds then does not matter: another takes its place, or nothing goes on.
            Err(_) if self.is_mending && self.is_in_doubt => self.replace(None).await,
            written => written,
        }
    }

    /// What holds before any edit is written: the file ends with a whole edit, and is known.
    fn check_writable(&self) -> Result<(), Error> {
        assert!(
            self.torn.is_none(),
            "torn bytes are cut before anything is written"
        );
        match self.is_in_doubt {
            true => Err(Error::Fenced),
            false => Ok(()),
        }
    }

    /// The file, to be written in place: without a descriptor for it, or while its entry may be lost, nothing is
    /// written that has to be written again.
    async fn ready(&mut self) -> Result<Rc<D::File>, Error> {
        let file = self.file.file().await?;
        if !self.is_in_place {
            steps::sync(&self.dir).await?;
            self.is_in_place = true;
        }
        Ok(file)
    }

    /// Writes `frame` at the end, and zeros behind it up to the block in which `zeros_end` lies.
    /// What is in the blocks already is written again as it is.
    async fn write(&mut self, file: &D::File, frame: &[u8], zeros_end: u64) -> Result<(), Error> {
        let start = self.end - self.tail.len() as u64;
        let end = self.end + frame.len() as u64;
        let bytes = usize::try_from(round_up(zeros_end) - start).unwrap_or(usize::MAX);
        let mut buf = self.dir.alloc(bytes);
        let (old, rest) = buf.as_mut_slice().split_at_mut(self.tail.len());
        old.copy_from_slice(&self.tail);
        let (new, zeros) = rest.split_at_mut(frame.len());
        new.copy_from_slice(frame);
        zeros.fill(0);
        let buf = Rc::new(buf);
        // Set until the outcome is known, so that a dropped future leaves the doubt behind.
        self.is_in_doubt = true;
        let written = file.write_at(Rc::clone(&buf), start).await;
        written.map_err(|e| self.file.at().io("write", e))?;
        let synced = file.fdatasync().await;
        synced.map_err(|e| self.file.at().io("sync", e))?;
        self.is_in_doubt = false;
        let tail_start = end - end % BLOCK_BYTES as u64;
        let in_buf = |position: u64| usize::try_from(position - start).unwrap_or(usize::MAX);
        self.tail = buf.as_slice()[in_buf(tail_start)..in_buf(end)].to_vec();
        self.end = end;
        Ok(())
    }

    /// Replaces the file by one that says `state`, or what is known already.
    async fn replace(&mut self, state: Option<State>) -> Result<(), Error> {
        let edits = state.as_ref().unwrap_or(&self.state).each_edit();
        // Until the rename, whatever goes wrong leaves the old file as it was. Rare, and large: each edit in place would
        // have room for it.
        let image = Box::pin(Image::stage(&self.dir, &self.header, edits)).await?;
        self.is_in_doubt = true;
        // Renamed but not made sure of: to try again is no way out.
        put_in_place(&self.dir).await.map_err(Error::for_good)?;
        let is_mending = self.is_mending;
        let known = std::mem::replace(&mut self.state, State::new(self.header.history));
        let state = state.unwrap_or(known);
        *self = image.into_manifest(self.dir.clone(), self.header, state);
        self.is_mending = is_mending;
        Ok(())
    }
}

/// The bytes of the manifest of `dir`, and what they say. One may have turned over on its way: that is no reason to refuse all of
/// a log.
async fn read_surely<D: Dir>(dir: &D) -> Result<(Vec<u8>, format::Manifest), Error> {
    match read_once(dir).await {
        Err(Error::Format { .. }) => read_once(dir).await,
        read => read,
    }
}

async fn read_once<D: Dir>(dir: &D) -> Result<(Vec<u8>, format::Manifest), Error> {
    let at = || At::new(dir, NAME);
    let bytes = read_file_twice(dir, NAME, BYTES_MAX).await;
    let bytes = bytes.map_err(|e| at().io("read", e))?;
    let read = format::Manifest::decode(&bytes).map_err(|e| at().format(e))?;
    Ok((bytes, read))
}

/// Reads the manifest of `dir` without touching it: one that nobody appends to, in a snapshot.
///
/// # Errors
/// `Io` of kind `NotFound` without a manifest; `Format` for one that is damaged, torn, or that this
/// program must not understand; any error of the disk.
pub async fn read<D: Dir>(dir: &D) -> Result<(Header, State), Error> {
    let (_, read) = read_surely(dir).await?;
    match read.torn {
        None => Ok((read.header, read.state)),
        // It was written whole before anything was to be read in it.
        Some(torn) => Err(At::new(dir, NAME).format(formats::Error::DamagedEdits {
            position: torn.start as u64,
            end: torn.end as u64,
        })),
    }
}

/// Applies an edit of our own making.
fn follow(state: &mut State, edit: &Edit) -> Vec<Segment> {
    match state.apply(edit) {
        Ok(gone) => gone,
        Err(broken) => panic!("{edit:?} does not follow: {broken}"),
    }
}

/// The longest manifest that is read, in bytes: about a million edits.
pub(crate) const BYTES_MAX: u64 = 256 << 20;

/// The room that is kept for any one edit, and for several of the usual ones: a roll need not wait for
/// a new file, and on a full disk retention still finds room for the edits that free space. In bytes.
const ROOM_BYTES: u64 = 4096;

#[cfg(test)]
mod tests;
