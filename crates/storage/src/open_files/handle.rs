//! A file that is opened when it is needed, and closed when other files are needed more.

use std::cell::RefCell;
use std::rc::Rc;

use super::files;
use super::table::{Holder, Place};
use crate::Error;
use crate::disk::{Dir, File, Open, is_out_of_files};
use crate::error::At;

/// A file of a directory, by name. See the [module](self).
///
/// Whoever has the open file from [`Handle::file`] keeps it open; a writer has it until its sync
/// has returned.
pub(crate) struct Handle<D: Dir> {
    dir: D,
    name: String,
    mode: Open,
    /// How many descriptors the open file takes.
    descriptors: usize,
    file: RefCell<Option<Rc<D::File>>>,
    place: Place,
}

impl<D: Dir> std::fmt::Debug for Handle<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("name", &self.name)
            .field("mode", &self.mode)
            .field("is_open", &self.file.borrow().is_some())
            .finish_non_exhaustive()
    }
}

impl<D: Dir> Handle<D> {
    /// The file `name`, not yet opened, which takes one descriptor when it is.
    ///
    /// # Panics
    /// If the mode is to create it: it is opened more than once.
    pub(crate) fn closed(dir: &D, name: String, mode: Open) -> Rc<Self> {
        Self::of(dir, name, mode, 1)
    }

    /// The file `name`, of which `file` is open for writing.
    pub(crate) fn opened(dir: &D, name: String, file: Rc<D::File>) -> Rc<Self> {
        Self::of(dir, name, Open::Write, 1).with(file)
    }

    /// The file `name`, not yet opened, for writes that are durable, too.
    pub(crate) fn durable(dir: &D, name: String) -> Rc<Self> {
        Self::of(dir, name, Open::Write, D::DURABLE_DESCRIPTORS)
    }

    /// The file `name`, of which `file` is open for writes that are durable, too.
    pub(crate) fn opened_durable(dir: &D, name: String, file: Rc<D::File>) -> Rc<Self> {
        Self::durable(dir, name).with(file)
    }

    fn of(dir: &D, name: String, mode: Open, descriptors: usize) -> Rc<Self> {
        assert!(mode != Open::Create, "a file is made once");
        Rc::new(Self {
            dir: dir.clone(),
            name,
            mode,
            descriptors,
            file: RefCell::new(None),
            place: Place::default(),
        })
    }

    /// The same with an open file, for which room is made.
    fn with(self: Rc<Self>, file: Rc<D::File>) -> Rc<Self> {
        files(|table| table.reserve(self.descriptors));
        self.keep(file);
        self
    }

    /// The name of the file.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The directory of the file.
    pub(crate) fn dir(&self) -> &D {
        &self.dir
    }

    /// What errors of this file say.
    pub(crate) fn at(&self) -> At {
        At::new(&self.dir, &self.name)
    }

    /// What the file is opened for.
    pub(crate) fn mode(&self) -> Open {
        self.mode
    }

    /// The open file; opens it if it is closed.
    ///
    /// # Errors
    /// Any error of opening it.
    pub(crate) async fn file(self: &Rc<Self>) -> Result<Rc<D::File>, Error> {
        if let Some(file) = self.open_file() {
            files(|table| table.touch(&self.place));
            return Ok(file);
        }
        let reserved = Reserved::new(self.descriptors);
        let opened = self.dir.open(&self.name, self.mode).await;
        if opened.as_ref().is_err_and(is_out_of_files) {
            files(super::Table::shed);
        }
        let file = Rc::new(opened.map_err(|e| self.at().io("open", e))?);
        // Two may have opened it at once; either file serves both.
        files(|table| table.remove(&self.place));
        reserved.keep();
        self.keep(Rc::clone(&file));
        Ok(file)
    }

    /// The file, if it is open.
    pub(crate) fn open_file(&self) -> Option<Rc<D::File>> {
        self.file.borrow().clone()
    }

    /// Lets go of the file. It is opened again when it is needed.
    ///
    /// # Errors
    /// Any error of closing it, if nobody uses it any more.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        files(|table| table.remove(&self.place));
        let file = self.file.borrow_mut().take();
        match file {
            Some(file) => file.close().await.map_err(|e| self.at().io("close", e)),
            None => Ok(()),
        }
    }

    /// Keeps an open file for which there is room.
    fn keep(self: &Rc<Self>, file: Rc<D::File>) {
        *self.file.borrow_mut() = Some(file);
        files(|table| table.insert(self, self.descriptors));
    }
}

impl<D: Dir> Holder for Handle<D> {
    fn let_go(&self) -> bool {
        let mut file = self.file.borrow_mut();
        let is_used = file.as_ref().is_some_and(|file| Rc::strong_count(file) > 1);
        if !is_used {
            *file = None;
        }
        !is_used
    }

    fn place(&self) -> &Place {
        &self.place
    }
}

impl<D: Dir> Drop for Handle<D> {
    fn drop(&mut self) {
        files(|table| table.remove(&self.place));
    }
}

/// Room for a file that is being opened; given back when this is dropped.
struct Reserved(usize);

impl Reserved {
    fn new(descriptors: usize) -> Self {
        files(|table| table.reserve(descriptors));
        Self(descriptors)
    }

    /// The room is taken.
    fn keep(mut self) {
        self.0 = 0;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        files(|table| table.cancel(self.0));
    }
}
