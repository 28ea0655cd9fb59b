//! Power cuts at random.

use super::*;

#[test]
fn synced_bytes_and_entries_survive_every_power_cut() {
    let dir = MemoryDir::new();
    let file = file(&dir, "f");
    write(&file, 0, 8192, 1);
    block_on(file.fdatasync()).unwrap();
    block_on(dir.sync()).unwrap();
    assert_eq!(seen(&dir, |cut| read(cut, "f")), [vec![1; 8192]].into());
}

#[test]
fn each_unsynced_sector_survives_or_not_by_itself() {
    let dir = MemoryDir::new();
    let file = file(&dir, "f");
    write(&file, 0, 4096, 1);
    block_on(file.fdatasync()).unwrap();
    block_on(dir.sync()).unwrap();
    write(&file, 0, 4096, 2);
    let seen = seen(&dir, |cut| read(cut, "f"));
    assert!(seen.len() > 50, "many mixtures: {}", seen.len());
    for bytes in seen {
        for sector in bytes.chunks(512) {
            assert!(sector == [1; 512] || sector == [2; 512]);
        }
    }
    assert_eq!(read(&dir, "f"), [2; 4096], "the disk itself goes on");
}

#[test]
fn a_sector_written_twice_may_be_in_any_of_its_versions() {
    let dir = MemoryDir::new();
    let file = file(&dir, "f");
    block_on(dir.sync()).unwrap();
    block_on(file.allocate(0..4096, Space::Zeroed)).unwrap();
    block_on(file.fdatasync()).unwrap();
    write(&file, 0, 4096, 1);
    write(&file, 0, 4096, 2);
    assert_eq!(seen(&dir, |cut| read(cut, "f")[0]), [0, 1, 2].into());
    // Written again as they are, bytes are in no doubt.
    block_on(file.fdatasync()).unwrap();
    write(&file, 0, 4096, 2);
    assert_eq!(seen(&dir, |cut| read(cut, "f")[0]), [2].into());
}

#[test]
fn an_unsynced_length_survives_or_not() {
    let dir = MemoryDir::new();
    let file = file(&dir, "f");
    block_on(dir.sync()).unwrap();
    write(&file, 0, 4096, 1);
    block_on(file.fdatasync()).unwrap();
    block_on(file.set_len(100)).unwrap();
    assert_eq!(seen(&dir, |cut| read(cut, "f").len()), [100, 4096].into());
    // Growing again over what was cut shows zeros, or what the cut did not reach.
    block_on(file.set_len(8192)).unwrap();
    let seen = seen(&dir, |cut| read(cut, "f"));
    assert!(seen.iter().all(|bytes| bytes[..100] == [1; 100]));
    assert!(
        seen.iter()
            .any(|bytes| bytes.len() == 8192 && bytes[4000] == 1)
    );
    assert!(
        seen.iter()
            .any(|bytes| bytes.len() == 8192 && bytes[4000] == 0)
    );
}

#[test]
fn a_synced_file_without_a_synced_entry_may_vanish() {
    let dir = MemoryDir::new();
    let file = file(&dir, "f");
    write(&file, 0, 4096, 1);
    block_on(file.sync_all()).unwrap();
    assert_eq!(seen(&dir, names), [String::new(), "f".to_owned()].into());
    block_on(dir.sync()).unwrap();
    assert_eq!(seen(&dir, names), ["f".to_owned()].into());
    block_on(dir.remove("f")).unwrap();
    assert_eq!(seen(&dir, names), [String::new(), "f".to_owned()].into());
}

#[test]
fn a_rename_survives_whole_or_not_at_all() {
    let dir = MemoryDir::new();
    let other = dir.child("other");
    block_on(other.create()).unwrap();
    file(&dir, "f");
    block_on(dir.sync()).unwrap();
    block_on(dir.rename("f", &other, "g")).unwrap();
    let look = |cut: &MemoryDir| format!("{} / {}", names(cut), names(&cut.child("other")));
    assert_eq!(
        seen(&dir, look),
        ["f other / ".to_owned(), "other / g".to_owned()].into()
    );
    block_on(other.sync()).unwrap();
    assert_eq!(seen(&dir, look), ["other / g".to_owned()].into());
}

#[test]
fn an_unsynced_link_survives_or_not_and_names_the_same_file() {
    let dir = MemoryDir::new();
    let other = dir.child("other");
    block_on(other.create()).unwrap();
    let f = file(&dir, "f");
    block_on(dir.sync()).unwrap();
    write(&f, 0, 4096, 1);
    block_on(f.fdatasync()).unwrap();
    block_on(dir.link("f", &other, "g")).unwrap();
    let look = |cut: &MemoryDir| format!("{} / {}", names(cut), names(&cut.child("other")));
    assert_eq!(
        seen(&dir, look),
        ["f other / ".to_owned(), "f other / g".to_owned()].into()
    );
    block_on(other.sync()).unwrap();
    assert_eq!(seen(&dir, look), ["f other / g".to_owned()].into());
    // Unsynced bytes are in one state, whichever name they are read by.
    write(&f, 0, 4096, 2);
    for seed in 0..20 {
        let cut = dir.power_cut(seed);
        assert_eq!(read(&cut, "f"), read(&cut.child("other"), "g"));
    }
    // A removal that is not durable leaves both names, a durable one the other.
    block_on(f.fdatasync()).unwrap();
    block_on(dir.remove("f")).unwrap();
    assert_eq!(
        seen(&dir, look),
        ["f other / g".to_owned(), "other / g".to_owned()].into()
    );
    block_on(dir.sync()).unwrap();
    let g = |cut: &MemoryDir| read(&cut.child("other"), "g");
    assert_eq!(seen(&dir, g), [vec![2; 4096]].into());
}

#[test]
fn entries_survive_up_to_a_point_in_their_order() {
    let dir = MemoryDir::new();
    file(&dir, "a");
    file(&dir, "b");
    block_on(dir.rename("a", &dir, "c")).unwrap();
    let expected = ["", "a", "a b", "b c"].map(str::to_owned);
    assert_eq!(seen(&dir, names), expected.into());
}

#[test]
fn a_made_directory_is_durable_with_those_above_it() {
    let dir = MemoryDir::new().child("a").child("b");
    block_on(dir.create_all()).unwrap();
    file(&dir, "f");
    block_on(dir.sync()).unwrap();
    assert_eq!(seen(&dir, names), ["f".to_owned()].into());
}

#[test]
fn a_sync_after_a_failed_one_proves_nothing_for_bytes_not_written_again() {
    let dir = MemoryDir::new();
    let file = file(&dir, "f");
    block_on(dir.sync()).unwrap();
    block_on(file.allocate(0..8192, Space::Zeroed)).unwrap();
    block_on(file.fdatasync()).unwrap();
    write(&file, 0, 8192, 1);
    dir.lose_unsynced("f", 3).unwrap();
    assert_eq!(read(&dir, "f"), [1; 8192], "a read shows what was written");
    block_on(file.fdatasync()).unwrap();
    let left = seen(&dir, |cut| read(cut, "f"));
    assert_eq!(left.len(), 1, "what is on the disk is fixed");
    assert!(
        left.first().unwrap().contains(&0),
        "and some of it was lost"
    );
    // Writing the same bytes again and syncing them is what mends it.
    write(&file, 0, 8192, 1);
    block_on(file.fdatasync()).unwrap();
    assert_eq!(seen(&dir, |cut| read(cut, "f")), [vec![1; 8192]].into());
}

#[test]
fn the_disk_after_a_power_cut_is_another_one() {
    let dir = MemoryDir::new();
    let file = file(&dir, "f");
    write(&file, 0, 4096, 1);
    block_on(file.sync_all()).unwrap();
    block_on(dir.sync()).unwrap();
    let cut = dir.power_cut(0);
    write(&file, 0, 4096, 2);
    block_on(file.sync_all()).unwrap();
    assert_eq!(read(&cut, "f"), [1; 4096]);
    block_on(cut.remove("f")).unwrap();
    assert_eq!(names(&dir), "f");
}

#[test]
fn what_was_written_durably_survives_and_says_nothing_of_what_else_was_written() {
    let dir = MemoryDir::new();
    let file = file(&dir, "f");
    block_on(dir.sync()).unwrap();
    write(&file, 0, 8192, 1);
    block_on(file.fdatasync()).unwrap();
    let durably = |block: u64, byte| {
        block_on(file.write_durably_at(filled(4096, byte), block * 4096)).unwrap();
    };
    write(&file, 0, 4096, 2);
    durably(1, 3);
    let halves = |cut: &MemoryDir| {
        let bytes = read(cut, "f");
        (bytes[0], bytes[4096..].to_vec())
    };
    let expected = [(1, vec![3; 4096]), (2, vec![3; 4096])];
    assert_eq!(seen(&dir, halves), expected.into());
    // The length needed to read it is there, too.
    durably(3, 4);
    let ends = seen(&dir, |cut| {
        (read(cut, "f").len(), read(cut, "f")[4 * 4096 - 1])
    });
    assert_eq!(ends, [(4 * 4096, 4)].into());
}

#[test]
fn zeros_that_were_never_synced_may_be_what_a_used_disk_held_before() {
    let dir = MemoryDir::used();
    let file = file(&dir, "f");
    block_on(dir.sync()).unwrap();
    block_on(file.allocate(0..4096, Space::Reserved)).unwrap();
    let first = |cut: &MemoryDir| read(cut, "f").first().copied();
    assert_eq!(seen(&dir, first), [None, Some(0)].into());
    block_on(file.allocate(0..4096, Space::Zeroed)).unwrap();
    assert_eq!(read(&dir, "f"), [0; 4096], "readers see zeros");
    assert_eq!(seen(&dir, first), [None, Some(0), Some(0xa5)].into());
    block_on(file.fdatasync()).unwrap();
    assert_eq!(seen(&dir, first), [Some(0)].into());
    // What was there is gone for good.
    block_on(file.allocate(0..4096, Space::Zeroed)).unwrap();
    write(&file, 0, 4096, 1);
    assert_eq!(seen(&dir, first), [Some(0), Some(1)].into());
}
