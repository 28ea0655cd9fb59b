//! Directory entries: those in force, and those that a power cut cannot take back.

use ::std::collections::BTreeMap;
use ::std::io;
use ::std::rc::Rc;

/// A directory, by the order in which it was made. The root is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DirId(u64);

/// A file, by the order in which it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FileId(pub(super) u64);

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    File(FileId),
    Dir(DirId),
}

impl Node {
    fn file(self) -> Option<FileId> {
        match self {
            Self::File(file) => Some(file),
            Self::Dir(_) => None,
        }
    }
}

/// A path of a directory and a name in it.
pub(super) type At<'a> = (&'a [String], &'a str);

/// The entries of a directory.
pub(super) type Entries = BTreeMap<Rc<str>, Node>;

/// The entries of every directory that has some; copies share what does not change.
type Dirs = BTreeMap<DirId, Rc<Entries>>;

/// One atomic change of entries.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// The number of the operation.
    pub(super) step: u64,
    /// Each place gets a node, or loses the one it has.
    pub(super) places: Vec<(DirId, Rc<str>, Option<Node>)>,
}

/// All directories of a disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    dirs: Dirs,
    durable: Dirs,
    /// Changes not yet durable, oldest first.
    journal: Vec<Change>,
    made: u64,
}

pub(super) const ROOT: DirId = DirId(0);

impl Tree {
    /// The directory at `path`.
    pub(super) fn dir(&self, path: &[String]) -> io::Result<DirId> {
        path.iter()
            .try_fold(ROOT, |dir, name| match self.node(dir, name)? {
                Node::Dir(child) => Ok(child),
                Node::File(_) => Err(failure(io::ErrorKind::NotADirectory, name)),
            })
    }

    /// The file of this name.
    pub(super) fn file(&self, (path, name): At<'_>) -> io::Result<FileId> {
        match self.node(self.dir(path)?, name)? {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(failure(io::ErrorKind::IsADirectory, name)),
        }
    }

    /// The entries of `dir`, sorted by name.
    pub(super) fn entries(&self, dir: DirId) -> impl Iterator<Item = (&Rc<str>, &Node)> {
        self.dirs.get(&dir).into_iter().flat_map(|all| all.iter())
    }

    /// Makes the directory at `path` and those above it, durably.
    pub(super) fn create_all(&mut self, step: u64, path: &[String]) -> io::Result<()> {
        if let Some((_, above)) = path.split_last()
            && self.dir(path).is_err()
        {
            self.create_all(step, above)?;
        }
        self.create(step, path)
    }

    /// Makes the directory at `path` in the one above it, durably.
    pub(super) fn create(&mut self, step: u64, path: &[String]) -> io::Result<()> {
        let Some((name, above)) = path.split_last() else {
            return Ok(());
        };
        let parent = self.dir(above)?;
        match self.find(parent, name) {
            Some(Node::Dir(_)) => {}
            Some(Node::File(_)) => return Err(failure(io::ErrorKind::NotADirectory, name)),
            None => {
                self.made += 1;
                let child = Node::Dir(DirId(self.made));
                self.change(step, vec![(parent, name.as_str().into(), Some(child))]);
            }
        }
        self.sync(above)
    }

    /// Makes a name for the new file `file`.
    pub(super) fn create_file(&mut self, step: u64, at: At<'_>, file: FileId) -> io::Result<()> {
        let dir = self.dir(at.0)?;
        if self.find(dir, at.1).is_some() {
            return Err(failure(io::ErrorKind::AlreadyExists, at.1));
        }
        self.change(step, vec![(dir, at.1.into(), Some(Node::File(file)))]);
        Ok(())
    }

    /// Makes `to` a second name of the file `from`.
    pub(super) fn link(&mut self, step: u64, from: At<'_>, to: At<'_>) -> io::Result<()> {
        let file = self.file(from)?;
        self.create_file(step, to, file)
    }

    /// Moves the entry `from` to `to`.
    pub(super) fn rename(&mut self, step: u64, from: At<'_>, to: At<'_>) -> io::Result<()> {
        let (source, target) = (self.dir(from.0)?, self.dir(to.0)?);
        let node = self.node(source, from.1)?;
        match (node, self.find(target, to.1)) {
            // POSIX: nothing happens between two names of one file, and both stay.
            (_, Some(other)) if node == other => return Ok(()),
            (_, None) | (Node::File(_), Some(Node::File(_))) => {}
            (_, Some(Node::Dir(_))) => return Err(failure(io::ErrorKind::IsADirectory, to.1)),
            (Node::Dir(_), Some(_)) => return Err(failure(io::ErrorKind::NotADirectory, to.1)),
        }
        let places = vec![
            (source, from.1.into(), None),
            (target, to.1.into(), Some(node)),
        ];
        self.change(step, places);
        Ok(())
    }

    /// Removes the name of a file.
    pub(super) fn remove_file(&mut self, step: u64, at: At<'_>) -> io::Result<()> {
        self.file(at)?;
        let dir = self.dir(at.0)?;
        self.change(step, vec![(dir, at.1.into(), None)]);
        Ok(())
    }

    /// Removes the directory at `path`, which is not the root, and all that is in it.
    pub(super) fn remove_tree(&mut self, step: u64, path: &[String]) -> io::Result<()> {
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
            .map(|(name, node)| (Rc::clone(name), *node))
            .collect();
        for (name, node) in entries {
            match node {
                Node::Dir(_) => self.remove_tree(step, &[path, &[name.to_string()]].concat())?,
                Node::File(_) => self.remove_file(step, (path, &name))?,
            }
        }
        let above = self.dir(above)?;
        self.change(step, vec![(above, name.as_str().into(), None)]);
        Ok(())
    }

    /// Makes the changes that touch the directory at `path` durable.
    pub(super) fn sync(&mut self, path: &[String]) -> io::Result<()> {
        let dir = self.dir(path)?;
        let mut kept: Vec<Change> = Vec::new();
        for change in ::std::mem::take(&mut self.journal) {
            if !change.touches(dir) {
                kept.push(change);
                continue;
            }
            // The other side of a rename becomes durable with it, out of turn: what was kept back
            // for that place is superseded.
            for earlier in &mut kept {
                earlier.places.retain(|(dir, name, _)| {
                    let is_same = |(at, of, _): &(DirId, Rc<str>, _)| at == dir && of == name;
                    !change.places.iter().any(is_same)
                });
            }
            let removed = self.removed_dirs(&change);
            apply(&mut self.durable, &change);
            for dir in removed {
                self.forget(dir, &mut kept);
            }
        }
        kept.retain(|change| !change.places.is_empty());
        self.journal = kept;
        Ok(())
    }

    /// The directories that `change` removes for good.
    fn removed_dirs(&self, change: &Change) -> Vec<DirId> {
        let lost = change.places.iter().filter_map(|(dir, name, _)| {
            match self.durable.get(dir)?.get(name)? {
                Node::Dir(child) => Some(*child),
                Node::File(_) => None,
            }
        });
        let is_moved = |child: &DirId| {
            let node = Some(Node::Dir(*child));
            change.places.iter().any(|(_, _, new)| *new == node)
        };
        lost.filter(|child| !is_moved(child)).collect()
    }

    /// Drops what is known of a directory that no path leads to any more.
    fn forget(&mut self, dir: DirId, journal: &mut Vec<Change>) {
        self.dirs.remove(&dir);
        for change in journal.iter_mut() {
            change.places.retain(|(at, _, _)| *at != dir);
        }
        let Some(entries) = self.durable.remove(&dir) else {
            return;
        };
        for node in entries.values() {
            if let Node::Dir(child) = node {
                self.forget(*child, journal);
            }
        }
    }

    /// Every file that has a name.
    pub(super) fn files_in_force(&self) -> impl Iterator<Item = FileId> {
        all_nodes(&self.dirs).filter_map(Node::file)
    }

    /// Every file that has a name, or may have one again after a power cut.
    pub(super) fn files(&self) -> impl Iterator<Item = FileId> {
        let named = [&self.dirs, &self.durable].into_iter().flat_map(all_nodes);
        let changed = self.journal.iter().flat_map(|change| &change.places);
        let nodes = named.chain(changed.filter_map(|(_, _, node)| *node));
        nodes.filter_map(Node::file)
    }

    fn find(&self, dir: DirId, name: &str) -> Option<Node> {
        self.dirs.get(&dir)?.get(name).copied()
    }

    fn node(&self, dir: DirId, name: &str) -> io::Result<Node> {
        let found = self.find(dir, name);
        found.ok_or_else(|| failure(io::ErrorKind::NotFound, name))
    }

    fn change(&mut self, step: u64, places: Vec<(DirId, Rc<str>, Option<Node>)>) {
        let change = Change { step, places };
        apply(&mut self.dirs, &change);
        self.journal.push(change);
    }
}

impl Change {
    pub(super) fn touches(&self, dir: DirId) -> bool {
        self.dirs().any(|touched| touched == dir)
    }

    /// The directories that it touches; one may come twice.
    fn dirs(&self) -> impl Iterator<Item = DirId> {
        self.places.iter().map(|(dir, _, _)| *dir)
    }
}

impl Tree {
    /// Changes not yet durable, oldest first.
    pub(super) fn journal(&self) -> &[Change] {
        &self.journal
    }

    /// The tree after a power cut, with the changes for which `survived` holds. It gets the index
    /// of a change. One that follows another in one of its directories that did not survive does
    /// not survive either, and is not asked for.
    pub(super) fn image(&self, mut survived: impl FnMut(usize) -> bool) -> Self {
        let mut durable = self.durable.clone();
        let mut stopped: Vec<DirId> = Vec::new();
        for (index, change) in self.journal.iter().enumerate() {
            let is_stopped = stopped.iter().any(|dir| change.touches(*dir));
            if is_stopped || !survived(index) {
                stopped.extend(change.places.iter().map(|(dir, _, _)| *dir));
            } else {
                apply(&mut durable, change);
            }
        }
        Self {
            dirs: durable.clone(),
            durable,
            journal: Vec::new(),
            made: self.made,
        }
    }

    /// For each change not yet durable, whether it survives a power cut: in each directory, those up
    /// to some point.
    pub(super) fn survivors(&self, random: &mut fastrand::Rng) -> Vec<bool> {
        let mut counts: BTreeMap<DirId, usize> = BTreeMap::new();
        for dir in self.journal.iter().flat_map(Change::dirs) {
            *counts.entry(dir).or_default() += 1;
        }
        for count in counts.values_mut() {
            *count = random.usize(0..=*count);
        }
        let mut survivors = Vec::with_capacity(self.journal.len());
        for change in &self.journal {
            survivors.push(change.dirs().all(|dir| counts[&dir] > 0));
            for dir in change.dirs() {
                let left = counts.entry(dir).or_default();
                *left = left.saturating_sub(1);
            }
        }
        survivors
    }

    /// Calls `look` with every path of a file or directory, in order.
    pub(super) fn walk(&self, dir: DirId, path: &str, look: &mut impl FnMut(&str, Node)) {
        for (name, node) in self.entries(dir) {
            let path = format!("{path}/{name}");
            look(&path, *node);
            if let Node::Dir(child) = node {
                self.walk(*child, &path, look);
            }
        }
    }
}

fn all_nodes(dirs: &Dirs) -> impl Iterator<Item = Node> {
    dirs.values().flat_map(|entries| entries.values().copied())
}

fn apply(dirs: &mut Dirs, change: &Change) {
    for (dir, name, node) in &change.places {
        let entries = Rc::make_mut(dirs.entry(*dir).or_default());
        match node {
            Some(node) => entries.insert(Rc::clone(name), *node),
            None => entries.remove(name),
        };
    }
}

fn failure(kind: io::ErrorKind, name: &str) -> io::Error {
    io::Error::new(kind, format!("{name}: {kind}"))
}
