//! Directory entries: those in force, and those that a power cut cannot take back.

use ::std::cell::RefCell;
use ::std::collections::BTreeMap;
use ::std::io;
use ::std::rc::Rc;

use super::inode::Inode;

/// A directory, by the order in which it was made. The root is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DirId(u64);

/// What a name stands for.
#[derive(Debug, Clone)]
pub(super) enum Node {
    File(Rc<RefCell<Inode>>),
    Dir(DirId),
}

/// A name in a directory.
type Place = (DirId, String);

type Entries = BTreeMap<Place, Node>;

/// One atomic change: each place gets a node, or loses the one it has.
type Change = Vec<(Place, Option<Node>)>;

/// All directories of a disk.
#[derive(Debug, Default)]
pub(super) struct Tree {
    entries: Entries,
    durable: Entries,
    /// Changes not yet durable, oldest first.
    journal: Vec<Change>,
    dirs_made: u64,
}

const ROOT: DirId = DirId(0);

impl Tree {
    /// The directory at `path`.
    pub(super) fn dir(&self, path: &[String]) -> io::Result<DirId> {
        path.iter()
            .try_fold(ROOT, |dir, name| match self.node(dir, name)? {
                Node::Dir(child) => Ok(*child),
                Node::File(_) => Err(failure(io::ErrorKind::NotADirectory, name)),
            })
    }

    /// The file `name` in the directory at `path`.
    pub(super) fn file(&self, path: &[String], name: &str) -> io::Result<Rc<RefCell<Inode>>> {
        match self.node(self.dir(path)?, name)? {
            Node::File(inode) => Ok(Rc::clone(inode)),
            Node::Dir(_) => Err(failure(io::ErrorKind::IsADirectory, name)),
        }
    }

    /// The entries of `dir`, sorted by name.
    pub(super) fn entries(&self, dir: DirId) -> impl Iterator<Item = (&String, &Node)> {
        let places = self.entries.range((dir, String::new())..);
        places
            .take_while(move |((of, _), _)| *of == dir)
            .map(|((_, name), node)| (name, node))
    }

    /// Makes the directory at `path` and those above it, durably.
    pub(super) fn create(&mut self, path: &[String]) -> io::Result<()> {
        for depth in 0..path.len() {
            let (parent, name) = (self.dir(&path[..depth])?, &path[depth]);
            match self.entries.get(&(parent, name.clone())) {
                Some(Node::Dir(_)) => {}
                Some(Node::File(_)) => return Err(failure(io::ErrorKind::NotADirectory, name)),
                None => {
                    self.dirs_made += 1;
                    let child = Node::Dir(DirId(self.dirs_made));
                    self.change(vec![((parent, name.clone()), Some(child))]);
                    self.sync(&path[..depth])?;
                }
            }
        }
        path.split_last()
            .map_or(Ok(()), |(_, above)| self.sync(above))
    }

    /// Makes the empty file `name` in the directory at `path`.
    pub(super) fn create_file(
        &mut self,
        path: &[String],
        name: &str,
    ) -> io::Result<Rc<RefCell<Inode>>> {
        let place = (self.dir(path)?, name.to_owned());
        if self.entries.contains_key(&place) {
            return Err(failure(io::ErrorKind::AlreadyExists, name));
        }
        let inode = Rc::<RefCell<Inode>>::default();
        self.change(vec![(place, Some(Node::File(Rc::clone(&inode))))]);
        Ok(inode)
    }

    /// Moves the entry `from` to `to`, each a path of a directory and a name in it.
    pub(super) fn rename(
        &mut self,
        from: (&[String], &str),
        to: (&[String], &str),
    ) -> io::Result<()> {
        let source = (self.dir(from.0)?, from.1.to_owned());
        let target = (self.dir(to.0)?, to.1.to_owned());
        let node = self.node(source.0, &source.1)?.clone();
        match (&node, self.entries.get(&target)) {
            _ if source == target => return Ok(()),
            // POSIX: nothing happens between two names of one file, and both stay.
            (Node::File(file), Some(Node::File(other))) if Rc::ptr_eq(file, other) => return Ok(()),
            (_, None) | (Node::File(_), Some(Node::File(_))) => {}
            (_, Some(Node::Dir(_))) => return Err(failure(io::ErrorKind::IsADirectory, to.1)),
            (Node::Dir(_), Some(_)) => return Err(failure(io::ErrorKind::NotADirectory, to.1)),
        }
        self.change(vec![(source, None), (target, Some(node))]);
        Ok(())
    }

    /// Makes `to` a second name of the file `from`, each a path of a directory and a name in it.
    pub(super) fn link(
        &mut self,
        from: (&[String], &str),
        to: (&[String], &str),
    ) -> io::Result<()> {
        let inode = self.file(from.0, from.1)?;
        let target = (self.dir(to.0)?, to.1.to_owned());
        if self.entries.contains_key(&target) {
            return Err(failure(io::ErrorKind::AlreadyExists, to.1));
        }
        self.change(vec![(target, Some(Node::File(inode)))]);
        Ok(())
    }

    /// Removes the file `name` from the directory at `path`.
    pub(super) fn remove_file(&mut self, path: &[String], name: &str) -> io::Result<()> {
        self.file(path, name)?;
        let place = (self.dir(path)?, name.to_owned());
        self.change(vec![(place, None)]);
        Ok(())
    }

    /// Removes the directory at `path`, which is not the root, and all that is in it.
    pub(super) fn remove_tree(&mut self, path: &[String]) -> io::Result<()> {
        let Some((name, above)) = path.split_last() else {
            return Err(io::Error::other("the root of a disk stays"));
        };
        let dir = match self.dir(path) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let entries: Vec<_> = self
            .entries(dir)
            .map(|(name, node)| (name.clone(), node.clone()))
            .collect();
        for (name, node) in entries {
            match node {
                Node::Dir(_) => self.remove_tree(&[path, &[name]].concat())?,
                Node::File(_) => self.remove_file(path, &name)?,
            }
        }
        let place = (self.dir(above)?, name.clone());
        self.change(vec![(place, None)]);
        Ok(())
    }

    /// Makes the changes that touch the directory at `path` durable.
    pub(super) fn sync(&mut self, path: &[String]) -> io::Result<()> {
        let dir = self.dir(path)?;
        let mut kept: Vec<Change> = Vec::new();
        for change in ::std::mem::take(&mut self.journal) {
            if !change.iter().any(|((touched, _), _)| *touched == dir) {
                kept.push(change);
                continue;
            }
            // The other side of a rename becomes durable with it, out of turn: what was kept back
            // for that place is superseded.
            for earlier in &mut kept {
                earlier.retain(|(place, _)| !change.iter().any(|(touched, _)| touched == place));
            }
            apply(&mut self.durable, &change);
        }
        self.journal = kept;
        Ok(())
    }

    fn node(&self, dir: DirId, name: &str) -> io::Result<&Node> {
        let found = self.entries.get(&(dir, name.to_owned()));
        found.ok_or_else(|| failure(io::ErrorKind::NotFound, name))
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.entries, &change);
        self.journal.push(change);
    }
}

#[cfg(any(test, feature = "testing"))]
impl Tree {
    /// What a power cut may leave: the durable entries, and pending changes up to some point.
    pub(super) fn power_cut(&self, random: &mut fastrand::Rng) -> Self {
        let mut entries = self.durable.clone();
        let survivors = random.usize(0..=self.journal.len());
        for change in &self.journal[..survivors] {
            apply(&mut entries, change);
        }
        // A file of several names is cut once.
        let mut images = BTreeMap::new();
        for node in entries.values_mut() {
            if let Node::File(inode) = node {
                let image = images.entry(Rc::as_ptr(inode)).or_insert_with(|| {
                    let image = inode.borrow().power_cut(random);
                    Rc::new(RefCell::new(image))
                });
                *inode = Rc::clone(image);
            }
        }
        Self {
            durable: entries.clone(),
            entries,
            journal: Vec::new(),
            dirs_made: self.dirs_made,
        }
    }
}

fn apply(entries: &mut Entries, change: &Change) {
    for (place, node) in change {
        match node {
            Some(node) => entries.insert(place.clone(), node.clone()),
            None => entries.remove(place),
        };
    }
}

fn failure(kind: io::ErrorKind, name: &str) -> io::Error {
    io::Error::new(kind, format!("{name}: {kind}"))
}
