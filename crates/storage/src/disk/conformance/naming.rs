//! Names that files are given and lose, and what becomes of those that lose theirs.

use ::std::io::{self, ErrorKind};
use ::std::rc::Rc;
use ::std::thread;
use ::std::time::Duration;

use super::{bytes_of, expect_error, names, pattern, put};
use crate::disk::{BLOCK_BYTES, Dir, File, Open};

pub(super) async fn renames_replace_and_move<D: Dir>(dir: &D) -> io::Result<()> {
    let other = dir.child("other");
    other.create_all().await?;
    put(dir, "old", BLOCK_BYTES).await?;
    put(dir, "new", 2 * BLOCK_BYTES).await?;
    expect_error(dir.rename("none", dir, "old").await, ErrorKind::NotFound);
    dir.rename("new", dir, "old").await?;
    assert_eq!(names(dir).await?, ["old", "other"]);
    assert_eq!(dir.read("old", u64::MAX).await?.len(), 2 * BLOCK_BYTES);
    dir.rename("old", &other, "moved").await?;
    other.sync().await?;
    dir.sync().await?;
    assert_eq!(names(&other).await?, ["moved"]);
    dir.rename("other", dir, "another").await?;
    assert_eq!(names(&dir.child("another")).await?, ["moved"]);
    assert!(!other.exists().await?);
    Ok(())
}

pub(super) async fn links_are_names_of_one_file<D: Dir>(dir: &D) -> io::Result<()> {
    let other = dir.child("other");
    expect_error(dir.link("f", dir, "g").await, ErrorKind::NotFound);
    other.create_all().await?;
    expect_error(dir.link("f", dir, "g").await, ErrorKind::NotFound);
    let file = put(dir, "f", BLOCK_BYTES).await?;
    dir.link("f", &other, "g").await?;
    other.sync().await?;
    expect_error(dir.link("f", &other, "g").await, ErrorKind::AlreadyExists);
    let nowhere = dir.child("nowhere");
    expect_error(dir.link("f", &nowhere, "g").await, ErrorKind::NotFound);
    let linked_dir = dir.link("other", dir, "h").await;
    assert!(linked_dir.is_err(), "a directory has one name");
    // What is written by one name is read by the other.
    file.write_at(Rc::new(pattern(dir, BLOCK_BYTES, 5)), BLOCK_BYTES as u64)
        .await?;
    file.sync_all().await?;
    file.close().await?;
    let both = [bytes_of(BLOCK_BYTES, 0), bytes_of(BLOCK_BYTES, 5)].concat();
    assert_eq!(other.read("g", u64::MAX).await?, both);
    // Between two names of one file a rename does nothing.
    dir.link("f", dir, "h").await?;
    dir.rename("h", dir, "f").await?;
    assert_eq!(names(dir).await?, ["f", "h", "other"]);
    dir.remove("f").await?;
    expect_error(dir.read("f", u64::MAX).await, ErrorKind::NotFound);
    assert_eq!(other.read("g", u64::MAX).await?, both);
    // The freed name is another file.
    put(dir, "f", 0).await?;
    dir.rename("f", &other, "g").await?;
    assert_eq!(other.read("g", u64::MAX).await?, []);
    assert_eq!(dir.read("h", u64::MAX).await?, both);
    Ok(())
}

pub(super) async fn what_is_removed_is_gone_but_stays_open<D: Dir>(dir: &D) -> io::Result<()> {
    dir.create().await?;
    let file = put(dir, "f", BLOCK_BYTES).await?;
    dir.remove("f").await?;
    expect_error(dir.remove("f").await, ErrorKind::NotFound);
    assert_eq!(
        file.read_at(0, BLOCK_BYTES).await?.as_ref(),
        bytes_of(BLOCK_BYTES, 0)
    );
    put(dir, "f", 0).await?;
    assert_eq!(file.len().await?, BLOCK_BYTES as u64);
    file.close().await
}

pub(super) async fn what_is_used_again_is_zeros_and_nobody_else_s<D: Dir>(
    dir: &D,
) -> io::Result<()> {
    dir.create().await?;
    expect_error(dir.reuse("f").await, ErrorKind::NotFound);
    // Whole pages, also of 64 KiB.
    let len = 16 * BLOCK_BYTES;
    let file = put(dir, "f", len).await?;
    file.set_len(len as u64 - 100).await?;
    expect_error(dir.reuse("f").await, ErrorKind::ResourceBusy);
    file.close().await?;
    dir.link("f", dir, "g").await?;
    expect_error(dir.reuse("f").await, ErrorKind::ResourceBusy);
    let bytes = bytes_of(len, 0);
    assert_eq!(dir.read("g", u64::MAX).await?, bytes[..len - 100]);
    dir.remove("g").await?;
    match reuse_alone(dir, "f").await {
        // tmpfs gives its pages back or keeps what is in them.
        Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(()),
        reused => reused?,
    }
    assert_eq!(dir.read("f", u64::MAX).await?, vec![0; len]);
    // It is a file as any other, also one that has no bytes.
    let file = Rc::new(dir.open("f", Open::Write).await?);
    file.write_at(Rc::new(pattern(dir, BLOCK_BYTES, 7)), BLOCK_BYTES as u64)
        .await?;
    let read = file.read_at(0, 3 * BLOCK_BYTES).await?;
    let expected = [
        vec![0; BLOCK_BYTES],
        bytes_of(BLOCK_BYTES, 7),
        vec![0; BLOCK_BYTES],
    ];
    assert_eq!(read.as_ref(), expected.concat());
    file.close().await?;
    put(dir, "empty", 0).await?.close().await?;
    reuse_alone(dir, "empty").await?;
    assert_eq!(dir.read("empty", u64::MAX).await?, []);
    Ok(())
}

/// Uses a file again that the suite has closed. A process that is being started has a copy of each descriptor until it
/// runs its program, also of those that are closed here meanwhile: for so long the file is still somebody's.
async fn reuse_alone<D: Dir>(dir: &D, name: &str) -> io::Result<()> {
    for _ in 0..TRIES {
        match dir.reuse(name).await {
            Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                thread::park_timeout(TRY_AFTER);
            }
            reused => return reused,
        }
    }
    dir.reuse(name).await
}

/// Starting a process takes no longer than these, however busy the machine.
const TRIES: u32 = 3_000;
const TRY_AFTER: Duration = Duration::from_millis(10);
