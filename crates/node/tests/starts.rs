//! Starts under load: cores that begin with writes and syncs while others want their processors.
//!
//! This is where a runtime that parks with runnable tasks hangs, and where the heartbeats of every
//! core are seen to prevent it. Each start is a process of its own, since a core that hangs cannot
//! be taken back.
#![expect(clippy::unwrap_used, reason = "functions of a test are tests")]

use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use corelog_node::rt::{self, CoreConfig, UringDir};
use corelog_storage::disk::{BLOCK_BYTES, Buf, Dir, File, Open, Space};

#[test]
fn a_guarded_start_under_load_never_hangs() {
    assert_eq!(hung_starts(40, "guarded"), 0);
}

/// The figures that the guard is justified by: `cargo test -p corelog-node --features testing
/// --test starts -- --ignored --nocapture demonstration`.
#[test]
#[ignore = "a demonstration: without its guard a core may hang or not"]
fn demonstration_of_starts_without_a_guard() {
    println!(
        "{} of 60 starts hung without a guard",
        hung_starts(60, "bare")
    );
    println!("{} of 60 starts hung with it", hung_starts(60, "guarded"));
}

/// Runs only as a child of the tests above, which say in the environment what to do.
#[test]
#[ignore = "a child process of the other tests"]
fn child() {
    let Ok(kind) = std::env::var(KIND) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let cores: Vec<_> = (0..2)
        .map(|index| {
            let path = dir.path().join(index.to_string());
            let config = config(index, &kind);
            rt::spawn_core(&config, move || write_and_sync(path)).unwrap()
        })
        .collect();
    for core in cores {
        core.join().unwrap();
    }
}

#[cfg(feature = "testing")]
fn config(cpu: usize, kind: &str) -> CoreConfig {
    let config = CoreConfig::new(cpu, format!("core-{cpu}"));
    if kind == "bare" {
        config.without_guard()
    } else {
        config
    }
}

#[cfg(not(feature = "testing"))]
fn config(cpu: usize, kind: &str) -> CoreConfig {
    assert_ne!(
        kind, "bare",
        "only the feature `testing` can do without the guard"
    );
    CoreConfig::new(cpu, format!("core-{cpu}"))
}

/// Several files of one core, each written and synced many times, from the first moment on.
async fn write_and_sync(path: std::path::PathBuf) {
    let dir = UringDir::new(path);
    dir.create().await.unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|index| {
            let dir = dir.clone();
            rt::spawn(async move {
                let file = dir
                    .open(&format!("file-{index}"), Open::Create)
                    .await
                    .unwrap();
                file.allocate(0..64 * BLOCK_BYTES as u64, Space::Zeroed)
                    .await
                    .unwrap();
                for round in 0..64_u64 {
                    let mut buf = dir.alloc(BLOCK_BYTES);
                    buf.as_mut_slice().fill(7);
                    file.write_at(Rc::new(buf), round * BLOCK_BYTES as u64)
                        .await
                        .unwrap();
                    file.fdatasync().await.unwrap();
                    rt::yield_if_needed().await;
                }
                Rc::new(file).close().await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
}

/// Makes `starts` starts while all processors are wanted, and counts those that do not end.
fn hung_starts(starts: usize, kind: &str) -> usize {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = Over(&is_over);
        let processors = thread::available_parallelism().unwrap().get();
        for _ in 0..processors {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        (0..starts.div_ceil(TOGETHER))
            .map(|batch| {
                let count = TOGETHER.min(starts - batch * TOGETHER);
                let children: Vec<_> = (0..count).map(|_| start(kind)).collect();
                let deadline = rt::now() + PATIENCE;
                children
                    .into_iter()
                    .filter_map(|child| is_hung(child, deadline))
                    .count()
            })
            .sum()
    })
}

/// Ends the load, also when a start fails: the scope waits for its threads before it lets that out.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn start(kind: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--test-threads=1"])
        .env(KIND, kind)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// `Some` if the child does not end before `deadline`; it is killed then.
fn is_hung(mut child: Child, deadline: Instant) -> Option<()> {
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "a start failed: {status}");
            return None;
        }
        if rt::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            return Some(());
        }
        thread::park_timeout(Duration::from_millis(5));
    }
}

const KIND: &str = "CORELOG_TEST_START";

/// Starts at the same time, to have more threads than processors.
const TOGETHER: usize = 4;

/// A start takes well below a second; one that hangs, hangs for ever.
const PATIENCE: Duration = Duration::from_secs(120);
