//! What tells of a log's files where these are gone.

use std::io::{self, ErrorKind};
use std::rc::Rc;

use crate::Error;
use crate::disk::{Dir, File, Open};
use crate::error::At;
use crate::format::node;
use crate::steps;

/// An empty file beside a log's directory, from its first files on: a log of which these are gone is no new one.
///
/// It is made behind the manifest, and behind each opening it is made durable before anything is acknowledged. So whatever a
/// crash leaves, where it is the manifest was.
#[derive(Debug, Clone)]
pub struct Begun<D> {
    dir: D,
    name: String,
}

impl<D: Dir> Begun<D> {
    /// That of the log in the directory `of` of `dir`.
    #[must_use]
    pub fn beside(dir: D, of: &str) -> Self {
        let name = node::begun(of);
        Self { dir, name }
    }

    /// Makes it, unless it is there. It is durable once [`Begun::sync`] is done.
    pub(crate) async fn create(&self) -> Result<(), Error> {
        match self.open(Open::Create).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(At::new(&self.dir, &self.name).space("create", error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Makes durable that it is there.
    pub(crate) async fn sync(&self) -> Result<(), Error> {
        steps::sync(&self.dir).await
    }

    /// Whether it is there.
    pub(crate) async fn is_there(&self) -> Result<bool, Error> {
        match self.open(Open::Read).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(At::new(&self.dir, &self.name).io("open", error)),
        }
    }

    /// Names it in messages.
    pub(crate) fn describe(&self) -> String {
        format!("{}/{}", self.dir.describe(), self.name)
    }

    async fn open(&self, mode: Open) -> io::Result<()> {
        let file = Rc::new(self.dir.open(&self.name, mode).await?);
        file.close().await
    }
}

/// Makes what is to tell of a log, durably, if it may be missing. Once that is done there is nothing left to do.
pub(crate) async fn tell<D: Dir>(untold: &mut Option<Begun<D>>) -> Result<(), Error> {
    if let Some(begun) = untold {
        begun.create().await?;
        begun.sync().await?;
        *untold = None;
    }
    Ok(())
}
