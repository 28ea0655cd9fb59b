//! The disk against a model of it: what reads show, and what a power cut may leave at most.

use super::*;

/// A file: its bytes, and everything that was there since its last sync.
#[derive(Debug, Clone, Default)]
struct Model {
    bytes: Vec<u8>,
    /// Of each sector, whole and with zeros behind the end, what it held.
    sectors: BTreeMap<usize, BTreeSet<Vec<u8>>>,
    lens: BTreeSet<usize>,
}

/// A directory of files: its names, and all that it had since its last sync.
#[derive(Debug, Default)]
struct Dirs {
    names: Vec<BTreeMap<String, usize>>,
    files: Vec<Model>,
}

impl Model {
    fn sector(&self, index: usize) -> Vec<u8> {
        let mut sector = vec![0; 512];
        for (at, byte) in sector.iter_mut().enumerate() {
            *byte = self.bytes.get(index * 512 + at).copied().unwrap_or(0);
        }
        sector
    }

    /// Notes how things are now.
    fn note(&mut self) {
        self.lens.insert(self.bytes.len());
        for index in 0..SECTORS_MAX {
            let sector = self.sector(index);
            self.sectors.entry(index).or_default().insert(sector);
        }
    }

    fn sync(&mut self) {
        self.lens.clear();
        self.sectors.clear();
        self.note();
    }

    /// Whether a power cut may have left `image`.
    fn may_be(&self, image: &[u8]) -> bool {
        let is_sector = |(index, part): (usize, &[u8])| {
            // A length may end a sector early.
            self.sectors[&index].iter().any(|was| was.starts_with(part))
        };
        self.lens.contains(&image.len()) && image.chunks(512).enumerate().all(is_sector)
    }
}

impl Dirs {
    fn now(&mut self) -> &mut BTreeMap<String, usize> {
        let now = self.names.last().cloned().unwrap();
        self.names.push(now);
        self.names.last_mut().unwrap()
    }
}

/// Does something at random to the disk and to the model.
fn step(dir: &MemoryDir, model: &mut Dirs, random: &mut fastrand::Rng) {
    let name = random.u8(0..4).to_string();
    let other = random.u8(0..4).to_string();
    let known = model.names.last().unwrap().get(&name).copied();
    let target = model.names.last().unwrap().get(&other).copied();
    match random.u32(0..12) {
        0 => {
            let made = block_on(dir.open(&name, Open::Create));
            assert_eq!(made.is_ok(), known.is_none());
            if known.is_none() {
                let mut file = Model::default();
                file.sync();
                model.files.push(file);
                let file = model.files.len() - 1;
                model.now().insert(name, file);
            }
        }
        1 => {
            let removed = block_on(dir.remove(&name));
            assert_eq!(removed.is_ok(), known.is_some());
            model.now().remove(&name);
        }
        2 => {
            let linked = block_on(dir.link(&name, dir, &other));
            assert_eq!(linked.is_ok(), known.is_some() && target.is_none());
            if let (Some(file), None) = (known, target) {
                model.now().insert(other, file);
            }
        }
        3 => {
            let renamed = block_on(dir.rename(&name, dir, &other));
            assert_eq!(renamed.is_ok(), known.is_some());
            if known.is_some() && known != target {
                let file = model.now().remove(&name).unwrap();
                let now = model.names.last_mut().unwrap();
                now.insert(other, file);
            }
        }
        4 => {
            block_on(dir.sync()).unwrap();
            let now = model.names.pop().unwrap();
            model.names = vec![now];
        }
        kind => {
            let Some(index) = known else { return };
            let file = block_on(dir.open(&name, Open::Write)).unwrap();
            change(kind, &file, &mut model.files[index], random);
        }
    }
}

/// Does something to a file and to its model.
fn change(kind: u32, file: &MemoryFile, model: &mut Model, random: &mut fastrand::Rng) {
    match kind {
        5 => {
            block_on(file.fdatasync()).unwrap();
            model.sync();
        }
        6 => {
            block_on(file.sync_all()).unwrap();
            model.sync();
        }
        7 => {
            let len = random.usize(0..SECTORS_MAX * 512);
            block_on(file.set_len(len as u64)).unwrap();
            model.bytes.resize(len, 0);
            model.note();
        }
        8 => {
            let end = model.bytes.len().next_multiple_of(4096);
            let more = end + 4096 * random.usize(0..3);
            let more = more.min(SECTORS_MAX * 512);
            let (start, how) = if random.bool() {
                (end.min(more), Space::Zeroed)
            } else {
                (end.min(more), Space::Reserved)
            };
            block_on(file.allocate(start as u64..more as u64, how)).unwrap();
            // An empty range prepares nothing.
            if start < more {
                model.bytes.resize(more, 0);
            }
            model.note();
        }
        _ => {
            let (position, bytes) = (4096 * random.usize(0..3), 4096 * random.usize(1..=2));
            let byte = random.u8(0..3);
            write(file, position as u64, bytes, byte);
            let len = model.bytes.len().max(position + bytes);
            model.bytes.resize(len, 0);
            model.bytes[position..position + bytes].fill(byte);
            model.note();
        }
    }
}

/// Looks whether reads show what the model holds.
fn compare(dir: &MemoryDir, model: &Dirs) {
    let now = model.names.last().unwrap();
    let entries = block_on(dir.list()).unwrap();
    assert!(entries.iter().map(|entry| &entry.name).eq(now.keys()));
    for entry in entries {
        let bytes = &model.files[now[&entry.name]].bytes;
        assert_eq!(entry.bytes, bytes.len() as u64);
        assert!(read(dir, &entry.name) == *bytes, "{}", entry.name);
    }
}

/// Looks whether the model allows what a power cut left.
fn check(image: &MemoryDir, model: &Dirs) {
    compare_names(image, model);
    let entries = block_on(image.list()).unwrap();
    for files in model
        .names
        .iter()
        .filter(|names| names.len() == entries.len())
    {
        let is_image = entries.iter().all(|entry| {
            let file = files.get(&entry.name);
            file.is_some_and(|file| model.files[*file].may_be(&read(image, &entry.name)))
        });
        if is_image {
            return;
        }
    }
    panic!("no power cut leaves {entries:?} of {:?}", model.names);
}

fn compare_names(image: &MemoryDir, model: &Dirs) {
    let entries = block_on(image.list()).unwrap();
    let names: BTreeSet<_> = entries.into_iter().map(|entry| entry.name).collect();
    let was = |all: &BTreeMap<String, usize>| all.keys().eq(names.iter());
    assert!(model.names.iter().any(was), "{names:?} was never there");
}

#[test]
fn reads_show_what_was_written_and_power_cuts_leave_what_was_there() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let dir = MemoryDir::new();
        let mut model = Dirs {
            names: vec![BTreeMap::new()],
            files: Vec::new(),
        };
        for _ in 0..40 {
            step(&dir, &mut model, &mut random);
            compare(&dir, &model);
            check(&dir.power_cut(random.u64(..)), &model);
        }
        // What is synced is there, whatever happens.
        for name in model.names.last().unwrap().keys() {
            let file = block_on(dir.open(name, Open::Read)).unwrap();
            block_on(file.fdatasync()).unwrap();
        }
        block_on(dir.sync()).unwrap();
        compare(&dir.power_cut(seed), &model);
    }
}

#[test]
fn every_crash_state_is_one_that_the_model_allows() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let dir = MemoryDir::new();
        let mut model = Dirs {
            names: vec![BTreeMap::new()],
            files: Vec::new(),
        };
        for _ in 0..random.usize(5..30) {
            step(&dir, &mut model, &mut random);
        }
        dir.record();
        for state in dir.trace().crash_states(Choices::default()) {
            check(&state.image, &model);
        }
    }
}

#[test]
fn a_file_of_many_blocks_costs_what_is_written_of_it() {
    let dir = MemoryDir::new();
    let f = file(&dir, "f");
    block_on(f.allocate(0..1 << 40, Space::Zeroed)).unwrap();
    write(&f, (1 << 30) - 4096, 8192, 1);
    block_on(f.sync_all()).unwrap();
    block_on(dir.sync()).unwrap();
    assert_eq!(dir.bytes_in_use(), 1 << 40);
    let cut = dir.power_cut(1);
    let again = block_on(cut.open("f", Open::Write)).unwrap();
    let bytes = block_on(again.read_at((1 << 30) - 1, 3)).unwrap();
    assert_eq!(bytes.as_ref(), [1, 1, 1]);
    let bytes = block_on(again.read_at((1 << 40) - 2, 3)).unwrap();
    assert_eq!(bytes.as_ref(), [0, 0]);
    write(&again, 1 << 36, 4096, 2);
    assert_ne!(cut.hash(), dir.hash());
    block_on(again.set_len(1 << 20)).unwrap();
    assert_eq!(cut.bytes_in_use(), 1 << 20);
}

/// More than a file of the model ever has.
const SECTORS_MAX: usize = 64;
