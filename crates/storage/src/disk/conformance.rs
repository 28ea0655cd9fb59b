//! What every directory must do, as a suite that runs on each implementation.
//!
//! The checks panic with what they found. What a power cut leaves is not checked here: only the
//! disk in memory can tell.

mod naming;

use ::std::io::{self, ErrorKind};
use ::std::rc::Rc;

use super::{ASIDE_SUFFIX, BLOCK_BYTES, Buf, Dir, Entry, File, Open, Space};

/// Runs all checks under `dir`, which need not exist; it is gone afterwards.
///
/// # Errors
/// Any error of an operation that should have succeeded.
///
/// # Panics
/// If an operation succeeded that should not have, or did something else.
pub async fn suite<D: Dir>(dir: D) -> io::Result<()> {
    directories_are_made_with_those_above_them(&dir.child("made")).await?;
    listings_are_sorted_and_tell_files_from_directories(&dir.child("listed")).await?;
    files_open_only_as_asked(&dir.child("opened")).await?;
    bytes_read_back_at_any_alignment(&dir.child("read")).await?;
    blocks_are_overwritten_in_place(&dir.child("overwritten")).await?;
    durable_writes_read_back_whatever_became_of_the_name(&dir.child("durable")).await?;
    a_large_write_is_one(&dir.child("large")).await?;
    prepared_space_reads_as_zeros(&dir.child("reserved"), &[Space::Reserved]).await?;
    prepared_space_reads_as_zeros(&dir.child("zeroed"), &[Space::Reserved, Space::Zeroed]).await?;
    a_file_is_cut_and_extended(&dir.child("cut")).await?;
    naming::renames_replace_and_move(&dir.child("renamed")).await?;
    naming::links_are_names_of_one_file(&dir.child("linked")).await?;
    naming::what_is_removed_is_gone_but_stays_open(&dir.child("removed")).await?;
    naming::what_is_used_again_is_zeros_and_nobody_else_s(&dir.child("reused")).await?;
    a_map_shows_a_file(&dir.child("mapped")).await?;
    small_files_are_replaced_whole(&dir.child("aside")).await?;
    many_operations_at_once_do_not_mix(&dir.child("many")).await?;
    dir.remove_tree().await?;
    assert!(!dir.exists().await?, "a removed tree is gone");
    Ok(())
}

async fn directories_are_made_with_those_above_them<D: Dir>(dir: &D) -> io::Result<()> {
    let deep = dir.child("a").child("b");
    assert!(!deep.exists().await?);
    expect_error(deep.list().await, ErrorKind::NotFound);
    expect_error(deep.create().await, ErrorKind::NotFound);
    assert!(!dir.child("a").exists().await?);
    deep.create_all().await?;
    deep.create_all().await?;
    deep.create().await?;
    assert!(deep.exists().await?);
    assert!(dir.child("a").exists().await?);
    assert_eq!(deep.list().await?, []);
    deep.sync().await?;
    dir.child("a").remove_tree().await?;
    dir.child("a").remove_tree().await?;
    assert!(!deep.exists().await?);
    assert!(dir.exists().await?);
    Ok(())
}

async fn listings_are_sorted_and_tell_files_from_directories<D: Dir>(dir: &D) -> io::Result<()> {
    dir.create().await?;
    put(dir, "b", 2 * BLOCK_BYTES).await?;
    put(dir, "a", 0).await?;
    dir.child("c").create().await?;
    let entry = |name: &str, is_dir, bytes| Entry {
        name: name.to_owned(),
        is_dir,
        bytes,
    };
    let bytes = 2 * BLOCK_BYTES as u64;
    let expected = [
        entry("a", false, 0),
        entry("b", false, bytes),
        entry("c", true, 0),
    ];
    assert_eq!(dir.list().await?, expected);
    Ok(())
}

async fn files_open_only_as_asked<D: Dir>(dir: &D) -> io::Result<()> {
    expect_error(dir.open("f", Open::Create).await, ErrorKind::NotFound);
    dir.create().await?;
    expect_error(dir.open("f", Open::Read).await, ErrorKind::NotFound);
    expect_error(dir.open("f", Open::Scan).await, ErrorKind::NotFound);
    expect_error(dir.open("f", Open::Write).await, ErrorKind::NotFound);
    put(dir, "f", BLOCK_BYTES).await?;
    expect_error(dir.open("f", Open::Create).await, ErrorKind::AlreadyExists);
    for mode in [Open::Read, Open::Scan] {
        let reader = Rc::new(dir.open("f", mode).await?);
        let refused = reader
            .write_at(Rc::new(pattern(dir, BLOCK_BYTES, 9)), 0)
            .await;
        assert!(refused.is_err(), "a file open for reading takes no write");
        assert_eq!(
            reader.read_at(0, BLOCK_BYTES).await?.as_ref(),
            bytes_of(BLOCK_BYTES, 0)
        );
        // Who did not write the bytes may make them durable all the same.
        reader.sync_all().await?;
        reader.close().await?;
    }
    Ok(())
}

async fn bytes_read_back_at_any_alignment<D: Dir>(dir: &D) -> io::Result<()> {
    dir.create().await?;
    let len = 3 * BLOCK_BYTES;
    let file = put(dir, "f", len).await?;
    file.set_len(len as u64 - 100).await?;
    let all = &bytes_of(len, 0)[..len - 100];
    for start in [
        0,
        1,
        511,
        4095,
        4096,
        4097,
        8191,
        len - 101,
        len - 100,
        len,
        10 * len,
    ] {
        for wanted in [0, 1, 511, 4096, 5000, len, 3 * len] {
            let read = file.read_at(start as u64, wanted).await?;
            let end = (start + wanted).min(all.len());
            let expected = all.get(start..end).unwrap_or_default();
            assert_eq!(read.as_ref(), expected, "{wanted} bytes at {start}");
        }
    }
    let scan = Rc::new(dir.open("f", Open::Scan).await?);
    assert_eq!(scan.read_at(0, 3 * len).await?.as_ref(), all);
    assert_eq!(scan.read_at(5_000, len).await?.as_ref(), &all[5_000..]);
    scan.close().await?;
    let one = file.read_at(5, 10).await?;
    let other = one.clone();
    drop(one);
    assert_eq!(other.as_ref(), &all[5..15]);
    file.close().await
}

async fn blocks_are_overwritten_in_place<D: Dir>(dir: &D) -> io::Result<()> {
    dir.create().await?;
    let file = put(dir, "f", 3 * BLOCK_BYTES).await?;
    let mut buf = pattern(dir, 2 * BLOCK_BYTES, 7);
    buf.truncate(BLOCK_BYTES);
    file.write_at(Rc::new(buf), BLOCK_BYTES as u64).await?;
    file.fdatasync().await?;
    let mut expected = bytes_of(3 * BLOCK_BYTES, 0);
    expected[BLOCK_BYTES..2 * BLOCK_BYTES].copy_from_slice(&bytes_of(BLOCK_BYTES, 7));
    assert_eq!(file.read_at(0, 3 * BLOCK_BYTES).await?.as_ref(), expected);
    // A write behind the end leaves zeros in between.
    file.write_at(
        Rc::new(pattern(dir, BLOCK_BYTES, 8)),
        5 * BLOCK_BYTES as u64,
    )
    .await?;
    assert_eq!(file.len().await?, 6 * BLOCK_BYTES as u64);
    let between = file
        .read_at(3 * BLOCK_BYTES as u64, 2 * BLOCK_BYTES)
        .await?;
    assert_eq!(between.as_ref(), vec![0; 2 * BLOCK_BYTES]);
    file.close().await?;
    let again = Rc::new(dir.open("f", Open::Write).await?);
    let written = again.read_at(5 * BLOCK_BYTES as u64, BLOCK_BYTES).await?;
    assert_eq!(written.as_ref(), bytes_of(BLOCK_BYTES, 8));
    again.close().await
}

async fn durable_writes_read_back_whatever_became_of_the_name<D: Dir>(dir: &D) -> io::Result<()> {
    dir.create().await?;
    let file = put(dir, "f", 2 * BLOCK_BYTES).await?;
    dir.rename("f", dir, "g").await?;
    let block = BLOCK_BYTES as u64;
    for (number, position) in [(1, block), (2, 3 * block)] {
        let buf = Rc::new(pattern(dir, BLOCK_BYTES, number));
        file.write_durably_at(buf, position).await?;
        let read = file.read_at(position, BLOCK_BYTES).await?;
        assert_eq!(read.as_ref(), bytes_of(BLOCK_BYTES, number));
    }
    dir.remove("g").await?;
    let buf = Rc::new(pattern(dir, BLOCK_BYTES, 3));
    file.write_durably_at(buf, 4 * block).await?;
    assert_eq!(file.len().await?, 5 * block);
    file.close().await
}

async fn a_large_write_is_one<D: Dir>(dir: &D) -> io::Result<()> {
    dir.create().await?;
    let bytes = (5 << 20) + BLOCK_BYTES;
    let file = put(dir, "f", 2 * bytes).await?;
    let large = Rc::new(pattern(dir, bytes, 9));
    file.write_at(large.clone(), BLOCK_BYTES as u64).await?;
    file.fdatasync().await?;
    let mut expected = bytes_of(2 * bytes, 0);
    expected[BLOCK_BYTES..BLOCK_BYTES + bytes].copy_from_slice(large.as_slice());
    let read = file.read_at(0, 2 * bytes).await?;
    assert!(read.as_ref() == expected, "whole, and nothing around it");
    file.close().await
}

async fn prepared_space_reads_as_zeros<D: Dir>(dir: &D, steps: &[Space]) -> io::Result<()> {
    dir.create().await?;
    let file = put(dir, "f", BLOCK_BYTES).await?;
    let (start, end) = (BLOCK_BYTES as u64, 300 * BLOCK_BYTES as u64);
    for how in steps {
        file.allocate(start..end, *how).await?;
        file.allocate(end..end, *how).await?;
    }
    assert_eq!(file.len().await?, end);
    let space = file.read_at(start, 299 * BLOCK_BYTES).await?;
    assert_eq!(space.as_ref(), vec![0; 299 * BLOCK_BYTES]);
    file.write_at(Rc::new(pattern(dir, BLOCK_BYTES, 3)), start)
        .await?;
    file.fdatasync().await?;
    assert_eq!(file.len().await?, end);
    let written = file.read_at(0, 2 * BLOCK_BYTES).await?;
    assert_eq!(
        written.as_ref(),
        [bytes_of(BLOCK_BYTES, 0), bytes_of(BLOCK_BYTES, 3)].concat()
    );
    file.close().await
}

async fn a_file_is_cut_and_extended<D: Dir>(dir: &D) -> io::Result<()> {
    dir.create().await?;
    let file = put(dir, "f", 2 * BLOCK_BYTES).await?;
    file.set_len(100).await?;
    file.sync_all().await?;
    assert_eq!(file.len().await?, 100);
    file.set_len(BLOCK_BYTES as u64).await?;
    let mut expected = bytes_of(BLOCK_BYTES, 0);
    expected[100..].fill(0);
    assert_eq!(file.read_at(0, 2 * BLOCK_BYTES).await?.as_ref(), expected);
    file.outwait().await?;
    assert_eq!(
        file.len().await?,
        BLOCK_BYTES as u64,
        "waiting cuts nothing"
    );
    assert_eq!(file.read_at(0, 2 * BLOCK_BYTES).await?.as_ref(), expected);
    file.close().await
}

async fn a_map_shows_a_file<D: Dir>(dir: &D) -> io::Result<()> {
    dir.create().await?;
    let file = put(dir, "f", 2 * BLOCK_BYTES).await?;
    file.set_len(5000).await?;
    file.sync_all().await?;
    file.close().await?;
    let map = dir.map("f", |bytes| bytes.len() == 5000).await?;
    assert_eq!(&map[..], &bytes_of(2 * BLOCK_BYTES, 0)[..5000]);
    let wrong = dir.map("f", |bytes| bytes.len() != 5000).await;
    expect_error(wrong, ErrorKind::InvalidData);
    dir.remove("f").await?;
    assert_eq!(map.clone()[4999], map[4999]);
    expect_error(dir.map("f", |_| true).await, ErrorKind::NotFound);
    Ok(())
}

async fn small_files_are_replaced_whole<D: Dir>(dir: &D) -> io::Result<()> {
    dir.create().await?;
    // Left over by an attempt that did not get far.
    put(dir, &format!("f{ASIDE_SUFFIX}"), BLOCK_BYTES).await?;
    for text in ["first", "", "a longer text than the first"] {
        dir.write_aside("f", text.as_bytes()).await?;
        assert_eq!(dir.read("f", 100).await?, text.as_bytes());
        assert_eq!(names(dir).await?, ["f"]);
    }
    expect_error(dir.read("f", 10).await, ErrorKind::FileTooLarge);
    expect_error(dir.read("none", 10).await, ErrorKind::NotFound);
    Ok(())
}

async fn many_operations_at_once_do_not_mix<D: Dir>(dir: &D) -> io::Result<()> {
    dir.create().await?;
    let mut files = Vec::new();
    for number in 0..20_u8 {
        let file = Rc::new(dir.open(&number.to_string(), Open::Create).await?);
        file.write_at(Rc::new(pattern(dir, BLOCK_BYTES, number)), 0)
            .await?;
        files.push(file);
    }
    for (file, number) in files.iter().zip(0..) {
        assert_eq!(
            file.read_at(0, BLOCK_BYTES).await?.as_ref(),
            bytes_of(BLOCK_BYTES, number)
        );
        file.fdatasync().await?;
    }
    for file in files {
        file.close().await?;
    }
    Ok(())
}

/// Makes a file of `bytes` bytes of the pattern 0.
async fn put<D: Dir>(dir: &D, name: &str, bytes: usize) -> io::Result<Rc<D::File>> {
    let file = Rc::new(dir.open(name, Open::Create).await?);
    if bytes > 0 {
        file.write_at(Rc::new(pattern(dir, bytes, 0)), 0).await?;
    }
    Ok(file)
}

async fn names<D: Dir>(dir: &D) -> io::Result<Vec<String>> {
    Ok(dir
        .list()
        .await?
        .into_iter()
        .map(|entry| entry.name)
        .collect())
}

fn pattern<D: Dir>(dir: &D, bytes: usize, seed: u8) -> D::Buf {
    let mut buf = dir.alloc(bytes);
    buf.as_mut_slice().copy_from_slice(&bytes_of(bytes, seed));
    buf
}

/// Bytes that differ by place and by seed, without a short period.
fn bytes_of(bytes: usize, seed: u8) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed.into());
    ::std::iter::repeat_with(|| random.u8(..))
        .take(bytes)
        .collect()
}

#[track_caller]
fn expect_error<T>(result: io::Result<T>, kind: ErrorKind) {
    match result {
        Ok(_) => panic!("expected {kind:?}, and it succeeded"),
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::block_on;
    use super::super::faulty::FaultyDir;
    use super::super::memory::MemoryDir;
    use super::super::std::StdDir;
    use super::*;

    #[test]
    fn plain_files_conform() {
        let place = tempfile::tempdir().unwrap();
        block_on(suite(StdDir::new(place.path().join("data")))).unwrap();
    }

    #[test]
    fn files_in_memory_conform() {
        block_on(suite(MemoryDir::new().child("data"))).unwrap();
    }

    #[test]
    fn a_faulty_directory_without_faults_conforms() {
        block_on(suite(FaultyDir::new(MemoryDir::new().child("data")))).unwrap();
        let place = tempfile::tempdir().unwrap();
        let plain = StdDir::new(place.path().join("data"));
        block_on(suite(FaultyDir::new(plain))).unwrap();
    }

    #[test]
    fn a_disk_after_a_power_cut_conforms() {
        let disk = MemoryDir::new();
        block_on(disk.child("other").create()).unwrap();
        block_on(suite(disk.power_cut(1).child("data"))).unwrap();
    }
}
