//! What the runtime adds to the suite that every directory passes: alignment, descriptors, errors.

use std::path::Path;
use std::pin::pin;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, io, thread};

use corelog_storage::disk::{BLOCK_BYTES, Buf, Dir, File, Open, Space, is_full};
use futures_lite::future::poll_once;

use super::{UringBuf, UringDir};
use crate::rt::blocking::POOL;
use crate::rt::tests::on_core;
use crate::rt::{next_turn, spawn, timeout};

const BLOCK: u64 = BLOCK_BYTES as u64;

fn filled(dir: &UringDir, blocks: usize, seed: usize) -> Rc<UringBuf> {
    let mut buf = dir.alloc(blocks * BLOCK_BYTES);
    for (index, byte) in buf.as_mut_slice().iter_mut().enumerate() {
        *byte = (index.wrapping_mul(31).wrapping_add(seed)).to_le_bytes()[0];
    }
    Rc::new(buf)
}

/// Runs `test` in a directory on a disk, and in one in memory.
fn in_directories<F: Future<Output = ()> + 'static>(
    test: impl Fn(UringDir) -> F + Send + Copy + 'static,
) {
    for root in [std::env::temp_dir(), "/dev/shm".into()] {
        let dir = tempfile::tempdir_in(root).unwrap();
        let path = dir.path().to_owned();
        on_core(move || test(UringDir::new(path)));
    }
}

#[test]
fn a_durable_write_takes_a_descriptor_that_waits_for_the_disk_and_does_without_one() {
    // No other test's.
    const NAME: &str = "written-durably";
    in_directories(|dir| async move {
        let file = Rc::new(dir.open(NAME, Open::Create).await.unwrap());
        let of_file = |link: &Path| link.ends_with(NAME);
        assert_eq!(descriptors(of_file), [false]);
        file.write_durably_at(filled(&dir, 2, 1), 0).await.unwrap();
        file.write_durably_at(filled(&dir, 1, 2), BLOCK)
            .await
            .unwrap();
        assert_eq!(descriptors(of_file), [false, true], "one, however often");
        assert_eq!(descriptors(of_file).len(), UringDir::DURABLE_DESCRIPTORS);
        file.close().await.unwrap();
        assert_eq!(descriptors(of_file), []);
        let file = Rc::new(dir.open(NAME, Open::Write).await.unwrap());
        let reader = dir.open(NAME, Open::Read).await.unwrap();
        let refused = reader.write_durably_at(filled(&dir, 1, 1), 0).await;
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(nix::libc::EBADF));
        Rc::new(reader).close().await.unwrap();
        file.find_no_descriptor();
        file.write_durably_at(filled(&dir, 1, 3), 2 * BLOCK)
            .await
            .unwrap();
        assert_eq!(descriptors(of_file), [false]);
        let read = file.read_at(0, 3 * BLOCK_BYTES).await.unwrap();
        let parts = [1, 2, 3].map(|seed| filled(&dir, 1, seed));
        let expected = parts.iter().flat_map(|buf| buf.as_slice()).copied();
        assert!(read.as_ref().iter().copied().eq(expected));
        file.close().await.unwrap();
    });
}

/// Which descriptors of this process lead to such files; of each whether its writes are durable.
fn descriptors(is_meant: impl Fn(&Path) -> bool) -> Vec<bool> {
    let mut durable = Vec::new();
    for entry in fs::read_dir("/proc/self/fd").unwrap().flatten() {
        let link = fs::read_link(entry.path());
        if link.is_ok_and(|link| is_meant(&link)) {
            let name = entry.file_name();
            let info = fs::read_to_string(Path::new("/proc/self/fdinfo").join(name)).unwrap();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
            let flags = i32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
            durable.push(flags & nix::libc::O_DSYNC != 0);
        }
    }
    durable.sort_unstable();
    durable
}

#[test]
fn any_range_of_what_was_written_is_read() {
    in_directories(|dir| async move {
        let file = Rc::new(dir.open("file", Open::Create).await.unwrap());
        let buf = filled(&dir, 4, 3);
        file.write_at(Rc::clone(&buf), 0).await.unwrap();
        file.set_len(3 * BLOCK + 100).await.unwrap();
        file.fdatasync().await.unwrap();
        let end = 3 * BLOCK_BYTES + 100;
        for (position, len) in [
            (0, 0),
            (0, 1),
            (1, 4095),
            (4095, 2),
            (511, 8000),
            (0, end),
            (100, end),
            (end - 1, 1),
            (end - 1, 4096),
            (end, 10),
            (end + 5, 10),
            (10 * BLOCK_BYTES, 10),
        ] {
            let read = file.read_at(position as u64, len).await.unwrap();
            let expected = &buf.as_slice()
                [position.min(end)..(position + len).min(end).max(position.min(end))];
            assert!(read.as_ref() == expected, "{len} bytes at {position}");
        }
        assert_eq!(file.len().await.unwrap(), end as u64);
        file.close().await.unwrap();
    });
}

/// Who goes on with something long behind it would have kept it from the disk for as long.
#[test]
fn what_is_asked_of_a_disk_is_on_its_way_a_turn_later() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    on_core(move || async move {
        let dir = UringDir::new(path);
        let file = dir.open("asked", Open::Create).await.unwrap();
        file.write_at(filled(&dir, 64, 1), 0).await.unwrap();
        let before = asked_of_the_disk();
        let mut read = pin!(file.read_at(0, 64 * BLOCK_BYTES));
        assert!(poll_once(&mut read).await.is_none());
        // A page of the program may be read meanwhile as well.
        let is_asked = || before + 64 * BLOCK <= asked_of_the_disk();
        assert!(!is_asked(), "the ring has it");
        next_turn().await;
        let was_asked = is_asked();
        read.await.unwrap();
        // Never of one that is memory.
        assert_eq!(is_asked(), was_asked);
    });
}

/// Bytes that this thread has had a disk read so far (proc(5)).
fn asked_of_the_disk() -> u64 {
    let io = fs::read_to_string("/proc/thread-self/io").unwrap();
    let told = io
        .lines()
        .find_map(|line| line.strip_prefix("read_bytes: "));
    told.unwrap().parse().unwrap()
}

#[test]
fn prepared_space_is_zeros_and_keeps_what_is_before() {
    in_directories(|dir| async move {
        for (index, how) in [Space::Zeroed, Space::Reserved].into_iter().enumerate() {
            let file = dir
                .open(&format!("file-{index}"), Open::Create)
                .await
                .unwrap();
            let buf = filled(&dir, 1, 9);
            file.write_at(Rc::clone(&buf), 0).await.unwrap();
            // Odd numbers of pieces, halves and blocks.
            let end = BLOCK + (3 << 19) + 5 * BLOCK;
            file.allocate(BLOCK..end, how).await.unwrap();
            file.allocate(end..end, how).await.unwrap();
            assert_eq!(file.len().await.unwrap(), end);
            let read = file
                .read_at(0, usize::try_from(end).unwrap())
                .await
                .unwrap();
            assert!(read.as_ref()[..BLOCK_BYTES] == *buf.as_slice());
            assert!(read.as_ref()[BLOCK_BYTES..].iter().all(|byte| *byte == 0));
        }
    });
}

/// What keeps blocks by number and not by extent, as ext2 and ext3 do whose magic is ext4's, can reserve nothing:
/// every partition was fenced by its first group.
#[test]
fn where_no_space_can_be_reserved_zeros_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    on_core(move || async move {
        let path = path.join("file");
        fs::write(&path, []).unwrap();
        let made = Command::new("chattr").arg("-e").arg(&path).status();
        if !made.is_ok_and(|made| made.success()) {
            // Another file system than ext4, which has no such files.
            return;
        }
        let dir = UringDir::new(path.parent().unwrap());
        let file = dir.open("file", Open::Write).await.unwrap();
        let buf = filled(&dir, 1, 9);
        file.write_at(Rc::clone(&buf), 0).await.unwrap();
        let end = 40 * BLOCK;
        file.allocate(BLOCK..end, Space::Reserved).await.unwrap();
        assert_eq!(file.len().await.unwrap(), end);
        let read = file.read_at(0, 40 * BLOCK_BYTES).await.unwrap();
        assert!(read.as_ref()[..BLOCK_BYTES] == *buf.as_slice());
        assert!(read.as_ref()[BLOCK_BYTES..].iter().all(|byte| *byte == 0));
    });
}

#[test]
fn errors_keep_the_kernels_number() {
    in_directories(|dir| async move {
        let missing = dir.open("none", Open::Read).await.unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(nix::libc::ENOENT));
        drop(dir.open("some", Open::Create).await.unwrap());
        let taken = dir.open("some", Open::Create).await.unwrap_err();
        assert_eq!(taken.raw_os_error(), Some(nix::libc::EEXIST));
        let reader = dir.open("some", Open::Read).await.unwrap();
        let refused = reader.write_at(filled(&dir, 1, 0), 0).await.unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(nix::libc::EBADF));
        let file = dir.open("some", Open::Write).await.unwrap();
        let full = file
            .allocate(0..1 << 60, Space::Reserved)
            .await
            .unwrap_err();
        assert!(
            is_full(&full) || full.kind() == io::ErrorKind::FileTooLarge,
            "{full:?}"
        );
        let absent = dir.child("absent").list().await.unwrap_err();
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
    });
}

#[test]
fn a_full_disk_is_told_as_such() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = dir.path().to_owned();
    on_core(move || async move {
        let dir = UringDir::new(path);
        let file = dir.open("file", Open::Create).await.unwrap();
        // More than any machine has memory for, and less than a file may be.
        let full = file
            .allocate(0..1 << 45, Space::Reserved)
            .await
            .unwrap_err();
        assert!(is_full(&full), "{full:?}");
    });
}

#[test]
fn closed_and_dropped_files_leave_no_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let (checked, inner) = (path.clone(), path.clone());
    on_core(move || async move {
        let dir = UringDir::new(inner);
        for index in 0..20 {
            let file = dir
                .open(&format!("file-{index}"), Open::Create)
                .await
                .unwrap();
            file.write_at(filled(&dir, 1, index), 0).await.unwrap();
            match index % 3 {
                0 => Rc::new(file).close().await.unwrap(),
                1 => drop(file),
                _ => {
                    let file = Rc::new(file);
                    let other = Rc::clone(&file);
                    file.close().await.unwrap();
                    assert_eq!(other.read_at(0, 1).await.unwrap().as_ref().len(), 1);
                }
            }
        }
    });
    while open_below(&checked) > 0 {
        thread::yield_now();
    }
}

/// Of a removed file the core gave back the space, and stood still as long as the disk took for that.
#[test]
fn a_file_is_closed_by_the_pool() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    on_core(move || async move {
        let dir = UringDir::new(path);
        let file = Rc::new(dir.open("file", Open::Create).await.unwrap());
        let (go_on, held) = flume::bounded::<()>(0);
        let (begin, begun) = flume::unbounded();
        for _ in 0..POOL.count() {
            let (begin, held) = (begin.clone(), held.clone());
            POOL.run_detached(move || {
                begin.send(()).unwrap();
                let _ = held.recv();
            });
        }
        for _ in 0..POOL.count() {
            begun.recv_async().await.unwrap();
        }
        let mut closing = pin!(file.close());
        for _ in 0..200 {
            assert!(poll_once(&mut closing).await.is_none());
            next_turn().await;
        }
        drop(go_on);
        closing.await.unwrap();
    });
}

#[test]
fn an_open_that_nobody_waits_for_any_more_leaves_no_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    fs::write(path.join("file"), [1; BLOCK_BYTES]).unwrap();
    on_core(move || async move {
        let dir = UringDir::new(path.clone());
        // What is asked only once of a device is known.
        let first = dir.open("file", Open::Read).await.unwrap();
        Rc::new(first).close().await.unwrap();
        for turns in (0..8).cycle().take(1_000) {
            let mut open = pin!(dir.open("file", Open::Read));
            // What the kernel has done by then, nobody has looked at.
            drop(poll_once(&mut open).await);
            for _ in 0..turns {
                next_turn().await;
            }
        }
        // Here, since what is under way on a core when it ends is not finished.
        let all_are_closed = async {
            while open_below(&path) > 0 {
                next_turn().await;
            }
        };
        let closed = timeout(Duration::from_secs(60), all_are_closed).await;
        assert!(closed.is_some(), "{} are open", open_below(&path));
    });
}

#[test]
fn a_file_whose_directory_is_renamed_meanwhile_is_opened_or_is_not_there() {
    let root = tempfile::tempdir().unwrap();
    let (here, there) = (root.path().join("here"), root.path().join("there"));
    fs::create_dir(&here).unwrap();
    fs::write(here.join("file"), [1; BLOCK_BYTES]).unwrap();
    let is_done = Arc::new(AtomicBool::new(false));
    let renaming = {
        let (here, there, is_done) = (here.clone(), there, Arc::clone(&is_done));
        thread::spawn(move || {
            while !is_done.load(Ordering::Relaxed) {
                fs::rename(&here, &there).unwrap();
                fs::rename(&there, &here).unwrap();
            }
        })
    };
    on_core(move || async move {
        let dir = UringDir::new(here);
        for _ in 0..100 {
            let open = |dir: UringDir| spawn(async move { dir.open("file", Open::Read).await });
            let opens: Vec<_> = (0..50).map(|_| open(dir.clone())).collect();
            for opened in opens {
                match opened.await {
                    Ok(file) => Rc::new(file).close().await.unwrap(),
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
                }
            }
        }
    });
    is_done.store(true, Ordering::Relaxed);
    renaming.join().unwrap();
}

fn open_below(path: &Path) -> usize {
    let path = fs::canonicalize(path).unwrap();
    let descriptors = fs::read_dir("/proc/self/fd").unwrap();
    descriptors
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.starts_with(&path))
        .count()
}

#[test]
fn what_is_put_into_a_buffer_stands_there_however_long_it_is() {
    on_core(|| async {
        let dir = UringDir::new(std::env::temp_dir());
        for (at, bytes) in [
            (0, 1),
            (4095, 20),
            (9, 4 * BLOCK_BYTES - 1),
            (9, 4 * BLOCK_BYTES),
            (5, 3 * BLOCK_BYTES),
            (77, 9 * BLOCK_BYTES),
        ] {
            let mut buf = dir.alloc(10 * BLOCK_BYTES);
            buf.as_mut_slice().fill(7);
            let put = filled(&dir, 9, 1);
            buf.put(at, &put.as_slice()[..bytes]);
            let (before, rest) = buf.as_slice().split_at(at);
            let (there, behind) = rest.split_at(bytes);
            assert!(there == &put.as_slice()[..bytes], "{bytes} at {at}");
            assert!([before, behind].concat().iter().all(|byte| *byte == 7));
        }
    });
}

#[test]
#[should_panic(expected = "frozen")]
fn a_buffer_in_flight_cannot_be_changed() {
    let buf = glommio::LocalExecutorBuilder::default()
        .make()
        .unwrap()
        .run(async {
            let mut buf = UringBuf::alloc(BLOCK_BYTES);
            let _in_flight = Rc::clone(&buf.memory);
            buf.as_mut_slice().fill(1);
            buf
        });
    drop(buf);
}

#[test]
fn it_passes_the_suite_of_every_directory() {
    in_directories(|dir| async move {
        corelog_storage::disk::conformance::suite(dir.child("suite"))
            .await
            .unwrap();
    });
}
