//! Power cuts, one after the other.

use super::*;

/// The states after each operation, looked at, in the order in which they come.
fn states<T: Ord>(
    dir: &MemoryDir,
    choices: Choices,
    look: impl Fn(&MemoryDir) -> T,
) -> BTreeMap<usize, BTreeSet<T>> {
    let mut states: BTreeMap<_, BTreeSet<T>> = BTreeMap::new();
    for state in dir.trace().crash_states(choices) {
        states
            .entry(state.after)
            .or_default()
            .insert(look(&state.image));
    }
    states
}

#[test]
fn each_operation_adds_what_it_leaves_in_doubt_and_a_sync_takes_it_away() {
    let dir = MemoryDir::new();
    dir.record();
    file(&dir, "a");
    block_on(dir.sync()).unwrap();
    block_on(dir.rename("a", &dir, "b")).unwrap();
    file(&dir, "c");
    block_on(dir.sync()).unwrap();
    assert_eq!(dir.recorded(), 5);
    let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let expected: [BTreeSet<String>; 6] = [
        of(&[""]),
        of(&["", "a"]),
        of(&["a"]),
        of(&["a", "b"]),
        of(&["a", "b", "b c"]),
        of(&["b c"]),
    ];
    let states = states(&dir, Choices::default(), names);
    assert_eq!(states.into_values().collect::<Vec<_>>(), expected);
}

#[test]
fn changes_of_different_directories_survive_in_any_order() {
    let dir = MemoryDir::new();
    let other = dir.child("other");
    block_on(other.create()).unwrap();
    dir.record();
    file(&dir, "a");
    file(&other, "b");
    let look = |cut: &MemoryDir| format!("{} / {}", names(cut), names(&cut.child("other")));
    let last = states(&dir, Choices::default(), look).remove(&2).unwrap();
    let all = ["a other / ", "a other / b", "other / ", "other / b"].map(str::to_owned);
    assert_eq!(last, all.into());
    assert_eq!(seen(&dir, look), last, "at random just as well");
}

#[test]
fn a_write_of_several_sectors_is_torn_in_every_way() {
    let dir = MemoryDir::new();
    let f = file(&dir, "f");
    block_on(dir.sync()).unwrap();
    block_on(f.allocate(0..8192, Space::Zeroed)).unwrap();
    block_on(f.sync_all()).unwrap();
    dir.record();
    write(&f, 0, 8192, 1);
    let choices = Choices {
        mixtures: 0,
        ..Choices::default()
    };
    let sectors = |cut: &MemoryDir| {
        let bytes = read(cut, "f");
        let sectors = bytes.chunks(512).map(|sector| {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "one is whole");
            if sector[0] == 1 { '1' } else { '.' }
        });
        sectors.collect::<String>()
    };
    let torn = states(&dir, choices, sectors).remove(&1).unwrap();
    let expected = [
        "................",
        "1111111111111111",
        "1...............",
        "...............1",
        ".111111111111111",
        "111111111111111.",
        "11111111........",
        "........11111111",
        "1.1.1.1.1.1.1.1.",
        ".1.1.1.1.1.1.1.1",
    ];
    assert_eq!(torn, expected.map(str::to_owned).into());
}

#[test]
fn few_units_survive_in_every_combination_and_many_in_some() {
    let dir = MemoryDir::new();
    let f = file(&dir, "f");
    block_on(dir.sync()).unwrap();
    block_on(f.allocate(0..10 * 4096, Space::Zeroed)).unwrap();
    block_on(f.sync_all()).unwrap();
    dir.record();
    for number in 0..10 {
        write(&f, number * 4096, 4096, 1);
    }
    let choices = Choices {
        is_torn: false,
        mixtures: 0,
        subsets: 0,
        ..Choices::default()
    };
    let blocks = |cut: &MemoryDir| {
        let bytes = read(cut, "f");
        let blocks = bytes.chunks(4096).map(|block| u32::from(block[0]));
        blocks.fold(0, |bits, bit| bits << 1 | bit)
    };
    let states = states(&dir, choices, blocks);
    assert_eq!(states[&4].len(), 16);
    // None, all, nine prefixes, all but one (one of which is a prefix), one alone (so is one).
    assert_eq!(states[&10].len(), 2 + 9 + 9 + 9);
    for count in states[&10].iter().map(|bits| bits.count_ones()) {
        assert!(count <= 10);
    }
}

#[test]
fn the_states_are_those_of_the_disk_at_that_time_and_differ_by_hash() {
    let dir = MemoryDir::new();
    dir.record();
    let mut random = fastrand::Rng::with_seed(7);
    let files: Vec<_> = (0..3).map(|name| file(&dir, &name.to_string())).collect();
    let mut disks = vec![dir.fork()];
    let mut at = vec![dir.recorded()];
    for _ in 0..60 {
        let f = &files[random.usize(0..3)];
        match random.u32(0..6) {
            0 => block_on(f.fdatasync()).unwrap(),
            1 => block_on(f.set_len(random.u64(0..20_000))).unwrap(),
            2 => block_on(dir.sync()).unwrap(),
            _ => write(f, random.u64(0..4) * 4096, 8192, random.u8(..)),
        }
        disks.push(dir.fork());
        at.push(dir.recorded());
    }
    let trace = dir.trace();
    for (disk, at) in disks.iter().zip(&at) {
        assert_eq!(trace.disk_after(*at).hash(), disk.hash());
        assert_eq!(
            trace.disk_after(*at).power_cut(3).hash(),
            disk.power_cut(3).hash()
        );
    }
    let mut hashes: BTreeMap<u64, u128> = BTreeMap::new();
    let mut count = 0;
    for state in trace.crash_states(Choices::default()) {
        let mut contents = Vec::new();
        for entry in block_on(state.image.list()).unwrap() {
            contents.extend(entry.name.as_bytes());
            contents.extend(entry.bytes.to_le_bytes());
            contents.extend(read(&state.image, &entry.name));
        }
        assert_eq!(state.hash, state.image.hash());
        assert_eq!(
            state.hash,
            state.image.power_cut(1).hash(),
            "nothing is in doubt"
        );
        let contents = xxhash_rust::xxh3::xxh3_128(&contents);
        let known = *hashes.entry(state.hash).or_insert(contents);
        assert_eq!(known, contents, "{state}: another disk of this hash");
        count += 1;
    }
    assert!(hashes.len() > 500, "{} of {count}", hashes.len());
    let distinct: BTreeSet<_> = hashes.values().collect();
    assert_eq!(
        distinct.len(),
        hashes.len(),
        "equal disks have equal hashes"
    );
}

#[test]
fn states_before_a_moment_can_be_left_out() {
    let dir = MemoryDir::new();
    dir.record();
    for name in ["a", "b", "c"] {
        file(&dir, name);
    }
    let all: Vec<_> = dir
        .trace()
        .crash_states(Choices::default())
        .filter(|state| state.after >= 2)
        .map(|state| state.hash)
        .collect();
    let mut late = dir.trace().crash_states(Choices::default());
    late.skip_to(2);
    assert_eq!(late.map(|state| state.hash).collect::<Vec<_>>(), all);
    let last = dir.trace().crash_states(Choices::default()).last().unwrap();
    assert!(
        last.to_string()
            .starts_with("after 3 of 3 operations (create c), of 3 in doubt:")
    );
}
