//! The vocabulary on real executors. Few are made per process: each leaks descriptors when it
//! ends.

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use corelog_storage::disk::{Dir, File, Open};
use futures_lite::future::{poll_once, zip};
use nix::libc::linger;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use super::*;

/// Runs `test` on a core of its own.
pub(crate) fn on_core<F: Future<Output = ()> + 'static>(test: impl FnOnce() -> F + Send + 'static) {
    let mut config = CoreConfig::new(0, "test");
    config.io_memory_bytes = 64 << 10;
    spawn_core(&config, test)
        .expect("a core starts")
        .join()
        .expect("the test passes");
}

/// How often what is done gives others the core, where a slice is over each time.
pub(crate) async fn ways_given(done: impl Future) -> usize {
    slice_over().await;
    let (mut done, mut count) = (pin!(done), 0);
    while poll_once(done.as_mut()).await.is_none() {
        count += 1;
    }
    count
}

/// Waits until a slice is over: it stays so until the core looks, which whoever polls by hand does not let it.
pub(crate) async fn slice_over() {
    while poll_once(yield_if_needed()).await.is_some() {}
}

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

const PATIENCE: Duration = Duration::from_secs(10);

async fn pair() -> (Conn, Conn, Rc<Listener>) {
    let listener = Rc::new(Port::claim(LOOPBACK).unwrap().listen().unwrap());
    let (client, server) = zip(
        Conn::connect(listener.address(), PATIENCE),
        listener.accept(),
    )
    .await;
    (client.unwrap(), server.unwrap().unwrap(), listener)
}

#[test]
fn waiting_is_timed_from_when_there_is_something_to_wait_for() {
    on_core(|| async {
        assert_eq!(waited(async { 7 }).await, (7, Duration::ZERO));
        let nap = Duration::from_millis(20);
        let ((), took) = waited(sleep(nap)).await;
        assert!(took >= nap / 2, "{took:?}");
    });
}

#[test]
fn who_waits_for_a_task_has_no_room_for_what_that_has() {
    on_core(|| async {
        let large = async {
            let bytes = [1_u8; 1_024];
            sleep(Duration::ZERO).await;
            bytes[7]
        };
        let waiting = run_on(large);
        assert!(size_of_val(&waiting) <= 64);
        assert_eq!(waiting.await, 1);
    });
}

#[test]
fn a_core_runs_tasks_sleeps_and_leaves_blocking_work_to_the_pool() {
    on_core(|| async {
        let here = std::thread::current().id();
        let there = blocking(|| std::thread::current().id()).await;
        assert_ne!(here, there);
        let started = now();
        let seen = Rc::new(Cell::new(0));
        let task = spawn({
            let seen = Rc::clone(&seen);
            async move {
                sleep(Duration::from_millis(5)).await;
                seen.set(1);
                7
            }
        });
        let background = spawn_background(async { 8 });
        assert_eq!((task.await, background.await, seen.get()), (7, 8, 1));
        assert!(started.elapsed() >= Duration::from_millis(5));
        assert!(
            timeout(Duration::from_millis(1), sleep(PATIENCE))
                .await
                .is_none()
        );
        assert_eq!(timeout(PATIENCE, async { 3 }).await, Some(3));
    });
}

#[test]
fn more_cores_than_processors_are_started_and_talk_over_channels() {
    let (to_b, at_b) = flume::bounded::<u64>(4);
    let (to_a, at_a) = flume::bounded::<u64>(4);
    let a = spawn_core(&CoreConfig::new(0, "a"), move || async move {
        for round in 0..1000 {
            to_b.send_async(round).await.unwrap();
            assert_eq!(at_a.recv_async().await, Ok(round + 1));
        }
    });
    let b = spawn_core(&CoreConfig::new(17, "b"), move || async move {
        while let Ok(round) = at_b.recv_async().await {
            to_a.send_async(round + 1).await.unwrap();
        }
    });
    let (a, b) = (a.unwrap(), b.unwrap());
    a.join().unwrap();
    b.join().unwrap();
}

#[test]
fn bytes_travel_both_ways_between_halves_in_two_tasks() {
    on_core(|| async {
        let (client, server, listener) = pair().await;
        let (mut client_reads, mut client_writes) = client.split();
        let (mut server_reads, mut server_writes) = server.split();
        let echo = spawn(async move {
            let mut bytes = vec![0; 64 << 10];
            loop {
                let count = server_reads.read(&mut bytes).await.unwrap();
                if count == 0 {
                    server_writes.finish();
                    break;
                }
                server_writes.write_all(&bytes[..count]).await.unwrap();
            }
        });
        let sent: Vec<u8> = (0..1 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
        let copy = sent.clone();
        let writer = spawn(async move {
            client_writes.write_all(&copy).await.unwrap();
            client_writes.finish();
            client_writes
        });
        let mut received = Vec::new();
        while client_reads.read_onto(&mut received, 8192).await.unwrap() > 0 {}
        assert!(received == sent);
        drop(writer.await);
        echo.await;
        listener.stop();
        assert!(listener.accept().await.is_none());
    });
}

#[test]
fn a_read_that_is_given_up_loses_no_byte() {
    on_core(|| async {
        let (client, server, _listener) = pair().await;
        let (mut reads, _writes) = server.split();
        let (_client_reads, mut client_writes) = client.split();
        let mut received = Vec::new();
        let mut byte = 0_u8;
        while received.len() < 2000 {
            let mut buf = Vec::new();
            // Given up while waiting, and given up while bytes arrive.
            drop(poll_once(reads.read_onto(&mut buf, 7)).await);
            received.append(&mut buf);
            client_writes
                .write_all(&[byte, byte.wrapping_add(1)])
                .await
                .unwrap();
            byte = byte.wrapping_add(2);
            let _ = timeout(Duration::from_micros(50), reads.read_onto(&mut buf, 7)).await;
            received.append(&mut buf);
        }
        let expected: Vec<u8> = (0..received.len()).map(|n| n.to_le_bytes()[0]).collect();
        assert_eq!(received, expected);
    });
}

#[test]
fn a_silent_peer_and_one_that_never_reads_time_out() {
    on_core(|| async {
        let (client, server, _listener) = pair().await;
        let (mut reads, mut writes) = server.split();
        reads.set_timeout(Some(Duration::from_millis(20)));
        writes.set_timeout(Some(Duration::from_millis(50)));
        let silent = reads.read(&mut [0; 10]).await.unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
        let stuck = writes.write_all(&vec![0; 64 << 20]).await.unwrap_err();
        assert_eq!(stuck.kind(), io::ErrorKind::TimedOut);
        drop(client);
    });
}

#[test]
fn shutting_down_one_half_wakes_the_other() {
    on_core(|| async {
        let (client, server, _listener) = pair().await;
        let (mut reads, writes) = server.split();
        let reader = spawn(async move { reads.read(&mut [0; 10]).await });
        sleep(Duration::from_millis(5)).await;
        writes.shutdown();
        assert_eq!(timeout(PATIENCE, reader).await.unwrap().unwrap(), 0);
        drop(client);
    });
}

/// As many as the kernel keeps for a listener were passed over in one go.
#[test]
fn others_have_the_core_between_any_two_connections_that_are_gone_before_they_are_taken() {
    on_core(|| async {
        let listener = Port::claim(LOOPBACK).unwrap().listen().unwrap();
        let connect = || std::net::TcpStream::connect(listener.address()).unwrap();
        for _ in 0..3 {
            let reset = linger {
                l_onoff: 1,
                l_linger: 0,
            };
            setsockopt(&connect(), sockopt::Linger, &reset).unwrap();
        }
        let _client = connect();
        assert_eq!(ways_given(listener.accept()).await, 3);
    });
}

#[test]
fn stopping_a_listener_ends_an_accept_that_waits() {
    on_core(|| async {
        let listener = Rc::new(Port::claim(LOOPBACK).unwrap().listen().unwrap());
        let accepting = spawn({
            let listener = Rc::clone(&listener);
            async move { listener.accept().await.is_none() }
        });
        sleep(Duration::from_millis(5)).await;
        listener.stop();
        assert_eq!(timeout(PATIENCE, accepting).await, Some(true));
    });
}

#[test]
fn a_claimed_port_is_shared_by_its_cores_and_refused_to_others() {
    let first = Port::claim(LOOPBACK).unwrap();
    let second = first.join().unwrap();
    assert_eq!(first.address(), second.address());
    let address = first.address();
    on_core(move || async move {
        let first = first.listen().unwrap();
        let second = second.listen().unwrap();
        let refused = Port::claim(address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        let reached = Conn::connect(address, PATIENCE).await.unwrap();
        let accepted = futures_lite::future::or(first.accept(), second.accept()).await;
        assert!(accepted.is_some());
        drop(reached);
    });
}

#[test]
fn an_address_that_is_not_there_yet_is_asked_for_again() {
    // TEST-NET-1 of RFC 5737, which nobody has.
    let address = SocketAddr::from(([192, 0, 2, 1], 0));
    let (begun, patience) = (now(), Duration::from_millis(20));
    let refused = Port::claim_within(address, patience).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AddrNotAvailable);
    assert!(begun.elapsed() >= patience);
}

#[test]
fn what_stays_on_this_machine_is_sent_without_timers() {
    on_core(|| async {
        let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        for address in [LOOPBACK, everywhere] {
            let listener = Port::claim(address).unwrap().listen().unwrap();
            let address = (Ipv4Addr::LOCALHOST, listener.address().port()).into();
            let connecting = Conn::connect(address, PATIENCE);
            let (client, server) = zip(connecting, listener.accept()).await;
            for conn in [client.unwrap(), server.unwrap().unwrap()] {
                let socket = conn.socket().lend().unwrap();
                assert_eq!(getsockopt(&socket, sockopt::TcpCongestion).unwrap(), "reno");
            }
        }
    });
}

#[test]
fn a_busy_core_publishes_what_is_outstanding() {
    let (begin, begun) = flume::bounded(1);
    let (seen, is_seen) = flume::bounded(1);
    let core = spawn_core(&CoreConfig::new(0, "busy"), || async move {
        let request = outstanding(Work::Request);
        begin.send(()).unwrap();
        let seen = is_seen.recv_async().await;
        drop(request);
        seen
    });
    let core = core.unwrap();
    let vitals = std::sync::Arc::clone(core.vitals());
    begun.recv().unwrap();
    let turns = vitals.turns();
    while vitals.turns() < turns + 3 {
        assert_eq!(vitals.outstanding(Work::Request), 1);
        std::thread::yield_now();
    }
    seen.send(()).unwrap();
    core.join().unwrap().unwrap();
    assert_eq!(vitals.outstanding(Work::Request), 0);
    assert!(!vitals.is_loaded());
}

#[test]
fn of_many_things_a_few_are_done_at_once_and_what_came_of_them_is_told_in_order() {
    on_core(|| async {
        let (running, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let done = at_once(3, 0..10_u64, |number| {
            let (running, most) = (Rc::clone(&running), Rc::clone(&most));
            async move {
                running.set(running.get() + 1);
                most.set(most.get().max(running.get()));
                // The first ones take longest.
                sleep(Duration::from_millis(10 - number)).await;
                running.set(running.get() - 1);
                number
            }
        });
        assert_eq!(done.await, (0..10).collect::<Vec<_>>());
        assert_eq!(most.get(), 3);
    });
}

/// A partition that its disk hardly gave kept all others from being opened.
#[test]
fn a_thing_that_takes_long_keeps_none_of_those_behind_it_from_their_turn() {
    on_core(|| async {
        let (last, begun) = (Rc::new(Notify::new()), Rc::new(Cell::new(0)));
        let done = at_once(2, 0..10_u64, |number| {
            let (last, begun) = (Rc::clone(&last), Rc::clone(&begun));
            async move {
                begun.set(begun.get() + 1);
                last.notify();
                if number == 0 {
                    last.until(|| begun.get() == 10).await;
                }
                number
            }
        });
        let done = timeout(Duration::from_secs(60), done).await;
        assert_eq!(done, Some((0..10).collect()));
    });
}

/// Thousands of partitions that had nothing to write were let go of in one go.
#[test]
fn others_have_the_core_between_any_two_things_of_many_that_are_done_at_once() {
    on_core(|| async {
        let doing = at_once(2, 0..3, |_| async {});
        assert_eq!(ways_given(doing).await, 3);
    });
}

/// Of a few hundred that were dropped at once, some cancelled syncs that began behind: partitions were fenced for nothing
/// that a disk had done, and as a node stopped they were not closed cleanly.
#[test]
fn connections_that_end_in_a_crowd_cancel_no_operation_of_the_disk() {
    on_core(|| async {
        let dir = tempfile::tempdir().unwrap();
        let dir = UringDir::new(dir.path().to_owned());
        let file = Rc::new(dir.open("synced", Open::Create).await.unwrap());
        for _ in 0..5 {
            let mut crowd = Vec::new();
            for _ in 0..200 {
                let (client, server, _listener) = pair().await;
                crowd.extend([client.split(), server.split()]);
            }
            for (reads, _writes) in &mut crowd {
                assert!(poll_once(reads.read(&mut [0])).await.is_none());
            }
            for _ in 0..10 {
                next_turn().await;
            }
            for (reads, _writes) in &crowd {
                reads.shutdown();
            }
            let close = |(reads, writes): (ReadHalf, WriteHalf)| {
                drop(writes);
                spawn(reads.close())
            };
            let closing: Vec<_> = crowd.into_iter().map(close).collect();
            let mut syncs = Vec::new();
            for _ in 0..30 {
                for _ in 0..24 {
                    let file = Rc::clone(&file);
                    syncs.push(spawn(async move { file.fdatasync().await }));
                }
                next_turn().await;
            }
            for sync in syncs {
                sync.await.unwrap();
            }
            for closed in closing {
                closed.await;
            }
        }
        file.close().await.unwrap();
    });
}
