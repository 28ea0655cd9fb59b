//! Damage in the files of a partition that another node has as well: no wrong byte is served, and it
//! heals without a person.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::{describe_topic, fetch, ping};
use corelog_record::Offset;
use corelog_record::batch::Codec;
use nix::sys::signal::Signal;

use super::copies::{
    assert_equal, bytes, level_pair, remembered, segments, status, wait_until_level,
};
use super::node::Node;
use super::repairs::{repair_from, repaired};
use crate::support::chance;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::http::metric_if_any;
use crate::support::over::Over;
use crate::support::stores;
use crate::support::wire::{Target, Wire, batch};

/// What happens to a file.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Flip,
    Zero,
    Cut,
    Remove,
    /// It changes places with the file of another segment.
    Swap,
}

impl Harm {
    const ALL: [Self; 5] = [Self::Flip, Self::Zero, Self::Cut, Self::Remove, Self::Swap];

    /// Makes no file: one that is not found was healed meanwhile, or is about to be.
    fn do_to(self, stores: &[PathBuf], random: &mut fastrand::Rng) -> io::Result<()> {
        let victim = &stores[random.usize(..stores.len())];
        let file = OpenOptions::new().read(true).write(true).open(victim)?;
        let length = file.metadata()?.len();
        if length == 0 {
            return Err(ErrorKind::NotFound.into());
        }
        let at = random.u64(..length);
        match self {
            Self::Flip => {
                let mut byte = [0];
                file.read_exact_at(&mut byte, at)?;
                byte[0] ^= 1 << random.u32(..8);
                file.write_all_at(&byte, at)
            }
            Self::Zero => {
                let mut zeros = vec![0; random.usize(1..5_000)];
                zeros.truncate(usize::try_from(length - at).unwrap());
                file.write_all_at(&zeros, at)
            }
            Self::Cut => file.set_len(at),
            Self::Remove => std::fs::remove_file(victim),
            Self::Swap => {
                let other = &stores[random.usize(..stores.len())];
                let aside = victim.with_extension("aside");
                std::fs::rename(victim, &aside)?;
                if other != victim
                    && let Err(error) = std::fs::rename(other, victim)
                {
                    std::fs::rename(&aside, victim)?;
                    return Err(error);
                }
                std::fs::rename(&aside, other)
            }
        }
    }
}

/// `CORELOG_HEALED_DAMAGES` sets how many.
#[test]
fn damage_to_sealed_segments_of_either_copy_heals_under_load_and_shows_no_wrong_byte() {
    let mut random = chance::random("replicas::heal");
    let damages = chance::number("CORELOG_HEALED_DAMAGES", 25_usize);
    let folder = Folder::new();
    let nodes = [Node::start(&folder, "one"), Node::start(&folder, "two")];
    let topic = nodes[0].topic("t", 1);
    let end = nodes[0].fill(&topic, 0, 400);
    nodes[1].follow(&topic, &[&nodes[0]]);
    wait_until_level(&nodes[0], &nodes[1], &topic, 0);
    let expected = bytes(&nodes[0], &topic, 0, end);
    let bases = sealed_stores(&nodes[1]);
    let harmed = [0, 1].map(|which| {
        let its = bases.iter().skip(which).step_by(2);
        its.map(|store| base_of(store)).collect::<Vec<_>>()
    });
    let is_over = AtomicBool::new(false);
    let mut took = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| produce_until(&is_over, &nodes[0], &topic));
        let _over = Over(&is_over);
        for number in 0..damages {
            let mut harm = Harm::ALL[number % Harm::ALL.len()];
            let which = random.usize(..2);
            // A file that is open is read on although its name is gone: each node is harmed in segments
            // of its own, so that the other has them.
            let is_its = |store: &PathBuf| harmed[which].contains(&base_of(store));
            until("a file was harmed", || {
                let mut stores = sealed_stores(&nodes[which]);
                stores.retain(is_its);
                // What is removed while it is open is read on, and missed at the next start: some must stay.
                if stores.len() <= harmed[which].len() / 2 {
                    harm = Harm::Flip;
                }
                match harm.do_to(&stores, &mut random) {
                    // Damage that no reader had met was healed since they were listed.
                    Err(error) if error.kind() == ErrorKind::NotFound => false,
                    done => {
                        done.unwrap();
                        true
                    }
                }
            });
            println!("{number}: {harm:?} at node {which}");
            let begun = Instant::now();
            read_until_whole(&nodes[which], &topic, &expected, end);
            took.push(begun.elapsed());
        }
    });
    took.sort_unstable();
    let (median, slowest) = (took[took.len() / 2], took[took.len() - 1]);
    println!("{damages} damages; all there again after {median:?} (median), {slowest:?} (slowest)");
    check_files(nodes, &topic);
}

/// What was removed under a file that is open shows at the next start: that heals, too, and then all
/// files are as they are to be.
fn check_files(mut nodes: [Node; 2], topic: &Target) {
    for node in &mut nodes {
        node.stop();
        node.up();
    }
    wait_until_level(&nodes[0], &nodes[1], topic, 0);
    let [one, two] = &mut nodes;
    for (node, peer) in [(one as &Node, two as &Node), (two, one)] {
        until("all damage that is known is healed", || {
            let scrub = ["scrub", "t", "--wait"];
            let (_, said, code) = node.corelog().run(scrub).parts();
            println!("scrub: {code:?} {said}");
            code == Some(0)
        });
        let repairs = |node| status(node, topic, 0).repairs;
        println!("repairs: {} and {}", repairs(node), repairs(peer));
    }
    for node in &mut nodes {
        let data = node.server().ready.data.clone();
        node.stop();
        let (out, said, code) = crate::support::corelog::Corelog::offline()
            .run(["verify", data.to_str().unwrap()])
            .parts();
        let out = String::from_utf8_lossy(&out);
        assert_eq!(code, Some(0), "{out}{said}");
    }
}

/// Damage of the segment that is appended to was known and stayed until that was full. Its owner ends
/// it, and the two have it sealed as soon as more is appended.
#[test]
fn damage_to_the_active_segment_of_either_copy_heals_once_both_have_sealed_it() {
    let folder = Folder::new();
    for harmed in [0, 1] {
        let name = |node| format!("{node}-{harmed}");
        let mut nodes = ["one", "two"].map(|node| Node::start(&folder, &name(node)));
        let topic = nodes[0].topic("t", 1);
        let end = nodes[0].fill(&topic, 0, 12);
        nodes[1].follow(&topic, &[&nodes[0]]);
        wait_until_level(&nodes[0], &nodes[1], &topic, 0);
        until("the owner remembers its follower", || {
            remembered(&nodes[0], &topic) == 1
        });
        let expected = bytes(&nodes[0], &topic, 0, end);
        let data = nodes[harmed].server().ready.data.clone();
        nodes[harmed].stop();
        stores::flip(&first_store(&data), expected.len() as u64 / 2);
        nodes[harmed].up();
        meet_damage(&nodes[harmed], &topic);
        if harmed == 0 {
            until("the owner has ended and sealed it", || {
                !segments(&nodes[0], &topic, 0).sealed.is_empty()
            });
        }
        // A follower's ends where its owner's does, which is full only now.
        let more = [1, 40][harmed];
        nodes[0].fill(&topic, 0, more);
        read_until_whole(&nodes[harmed], &topic, &expected, end);
        until("a peer's took its place", || {
            status(&nodes[harmed], &topic, 0).repairs > 0
        });
        wait_until_level(&nodes[0], &nodes[1], &topic, 0);
        assert_equal(&nodes[0], &nodes[1], &topic, 0);
        check_files(nodes, &topic);
    }
}

/// What it ends with was to be compared each time it came, and cannot be told behind damage: it got nothing any more, and the
/// owner's segment was in no other log for good.
#[test]
fn a_follower_that_ends_behind_damage_of_its_source_goes_on_and_heals_that() {
    let folder = Folder::new();
    let (mut a, mut b, topic) = level_pair(&folder, 6);
    until("the owner remembers its follower", || {
        remembered(&a, &topic) == 1
    });
    b.stop();
    let end = a.fill(&topic, 0, 6);
    let expected = bytes(&a, &topic, 0, end);
    let data = a.server().ready.data.clone();
    a.stop();
    stores::flip(&first_store(&data), 100);
    a.up();
    meet_damage(&a, &topic);
    until("the owner has ended and sealed it", || {
        !segments(&a, &topic, 0).sealed.is_empty()
    });
    a.fill(&topic, 0, 1);
    b.up();
    wait_until_level(&a, &b, &topic, 0);
    read_until_whole(&a, &topic, &expected, end);
    assert_equal(&a, &b, &topic, 0);
}

/// What is known to be damaged at a start is not sealed: nothing here says what it held, but for where it
/// begins and ends.
#[test]
fn a_segment_that_damage_kept_from_being_sealed_heals_by_what_its_source_sealed() {
    let folder = Folder::new();
    let (a, mut b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 1);
    let end = a.fill(&topic, 0, 12);
    b.follow(&topic, &[&a]);
    wait_until_level(&a, &b, &topic, 0);
    let expected = bytes(&a, &topic, 0, end);
    let data = b.server().ready.data.clone();
    b.stop();
    stores::flip(&first_store(&data), expected.len() as u64 / 3);
    b.up();
    meet_damage(&b, &topic);
    let is_known = |b: &Node| {
        let name = topic.name.clone();
        let told = b.ask(&describe_topic::Request { name }).unwrap();
        !told.partitions[0].damage.is_empty()
    };
    until("it is known", || is_known(&b));
    b.stop();
    // The source ends its segment where the follower's log ends.
    a.corelog().run(["snapshot", "create", "s"]).done();
    a.fill(&topic, 0, 1);
    a.disconnect();
    b.up();
    assert!(is_known(&b), "it is remembered");
    // Nobody tells what it held: that is said, not that nobody has it.
    let repair = repair_from(&topic, Vec::new());
    until("its source is named that does not answer", || {
        let error = repaired(&b, &repair).error.unwrap();
        assert!(!error.is(ErrorCode::Damaged), "{error:?}");
        error.is(ErrorCode::SourceUnavailable)
    });
    a.connect();
    until("the source's took its place", || {
        status(&b, &topic, 0).repairs > 0
    });
    read_until_whole(&b, &topic, &expected, end);
    wait_until_level(&a, &b, &topic, 0);
    assert_equal(&a, &b, &topic, 0);
    check_files([a, b], &topic);
}

/// The copy could neither go on in it nor give it up, since its log began within it: it stood still for good.
#[test]
fn a_damaged_segment_in_which_the_log_begins_is_copied_anew_where_its_source_goes_on() {
    let folder = Folder::new();
    let (a, mut b, topic) = level_pair(&folder, 12);
    let start = Offset::ZERO.plus(3);
    a.truncate(&topic, start);
    until("the copy begins there as well", || {
        segments(&b, &topic, 0).log_start == start
    });
    let data = b.server().ready.data.clone();
    b.stop();
    let store = first_store(&data);
    let bytes = std::fs::metadata(&store).unwrap().len();
    stores::flip(&store, bytes / 2);
    b.up();
    meet_damage(&b, &topic);
    until("it is known", || {
        let name = topic.name.clone();
        let told = b.ask(&describe_topic::Request { name }).unwrap();
        !told.partitions[0].damage.is_empty()
    });
    b.stop();
    b.up();
    a.fill(&topic, 0, 1);
    wait_until_level(&a, &b, &topic, 0);
    assert_equal(&a, &b, &topic, 0);
    assert_eq!(segments(&b, &topic, 0).log_start, start);
}

/// What was received behind it was written again and again, and each time counted among what the log had.
#[test]
fn a_segment_that_nobody_gives_has_those_behind_it_written_once_at_most() {
    let folder = Folder::new();
    let (mut a, b) = (Node::start(&folder, "a"), Node::start(&folder, "b"));
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, 150);
    until("it has sealed three segments", || {
        segments(&a, &topic, 0).sealed.len() >= 3
    });
    let data = a.server().ready.data.clone();
    a.stop();
    stores::flip(&first_store(&data), 300_000);
    a.up();
    a.corelog().run(["scrub", "t", "--wait"]);
    b.follow(&topic, &[&a]);
    let admin = a.server().ready.admin;
    let requests = "corelog_requests_total{core=\"0\",kind=\"Segments\"";
    let asked = || metric_if_any(admin, requests).unwrap_or(0.0);
    until("it has tried once", || {
        let error = status(&b, &topic, 0).error;
        error.is_some_and(|error| error.detail.segment == Some(Offset::ZERO))
    });
    let dir = b.topic_dir(&topic).join("0");
    let behind = || {
        let files = std::fs::read_dir(&dir).unwrap().flatten();
        let others = files.filter(|file| is_partial_behind_first(&file.path()));
        let written =
            others.map(|file| (file.path(), file.metadata().unwrap().modified().unwrap()));
        written.collect::<BTreeMap<_, _>>()
    };
    let (before, asked_before) = (behind(), asked());
    until("it has tried again", || asked_before + 4.0 <= asked());
    assert_eq!(behind(), before);
    let told = status(&b, &topic, 0);
    assert_eq!((told.segments_done, told.bytes_done), (0, 0), "{told:?}");
}

/// Each reader on another core than the partition's held room for a whole answer while it waited for the repair: twenty of
/// them had all of that core's, and who read what is sound waited for them.
#[test]
fn readers_that_wait_for_a_repair_on_another_core_keep_nobody_from_reading_what_is_sound() {
    let is_told = (0..20).any(|_| who_reads_what_is_sound_waits_for_nobody());
    assert!(is_told, "who reads what is sound waits for who does not");
}

/// False if it took so long that the others may have been told: that says nothing. What is repaired anew is told of at
/// once, so that it takes nodes of its own each time.
fn who_reads_what_is_sound_waits_for_nobody() -> bool {
    const READERS: usize = 20;
    let folder = Folder::new();
    let mut owner = Node::on(folder.path().join("one"), Vec::new(), 2);
    let copy = Node::start(&folder, "two");
    let topic = owner.topic("t", 2);
    for partition in [0, 1] {
        owner.fill(&topic, partition, 60);
    }
    copy.follow(&topic, &[&owner]);
    for partition in [0, 1] {
        wait_until_level(&owner, &copy, &topic, partition);
    }
    until("the owner remembers its follower", || {
        remembered(&owner, &topic) == 2
    });
    let owners = owner.wire().owners(&topic);
    assert_ne!(owners[0], owners[1], "each core has one");
    // Who reads has nothing of it in memory.
    let data = owner.server().ready.data.clone();
    owner.stop();
    stores::flip_first(&first_store(&data));
    owner.up();
    for partition in [0, 1] {
        owner.wait_until_served(&topic, partition);
    }
    // It takes connections, and says nothing.
    copy.server().signal(Signal::SIGSTOP);
    let other_core = owner.server().ready.cores[owners[1]];
    let open = || Wire::open(other_core).unwrap();
    let mut waiting: Vec<_> = (0..READERS).map(|_| open()).collect();
    let mut sound = open();
    // They are told after two seconds: all of them ask before any of them is listened to.
    let begun = Instant::now();
    for wire in &mut waiting {
        wire.send(&topic.fetch(0, Offset::ZERO), &[]).unwrap();
        // What is behind a Fetch is taken when that is under way.
        wire.send(&ping::Request {}, &[]).unwrap();
    }
    for wire in &mut waiting {
        wire.receive().unwrap().read::<ping::Request>().unwrap();
    }
    let sound = sound.call(&topic.fetch(1, Offset::ZERO), &[]);
    assert!(sound.unwrap().is_ok());
    let are_silent = waiting.iter().all(|wire| {
        wire.stream().set_nonblocking(true).unwrap();
        let arrived = wire.stream().peek(&mut [0]);
        arrived.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    });
    let is_in_time = begun.elapsed() < Duration::from_millis(1_500);
    copy.server().signal(Signal::SIGCONT);
    assert!(
        are_silent || !is_in_time,
        "who waits for the repair is told before who reads what is sound"
    );
    is_in_time
}

/// Where a partition's first store lies on the disk.
pub(super) fn first_store(data: &Path) -> PathBuf {
    data.join("topics/t/0/00000000000000000000.log")
}

/// Whether a file is what was received so far of another segment than the first.
fn is_partial_behind_first(file: &Path) -> bool {
    let name = file.file_name().unwrap().to_string_lossy();
    name.ends_with(".partial") && !name.starts_with("00000000000000000000.")
}

/// Reads until something is damaged.
fn meet_damage(node: &Node, topic: &Target) {
    let (mut wire, mut offset) = (node.wire(), segments(node, topic, 0).log_start);
    until("a reader meets it", || {
        match wire.call(&topic.fetch(0, offset), &[]).unwrap() {
            Ok((answer, _)) => {
                offset = answer.next;
                false
            }
            Err(error) => error.is(ErrorCode::Damaged),
        }
    });
}

/// The stores of sealed segments, oldest first.
fn sealed_stores(node: &Node) -> Vec<PathBuf> {
    let mut stores = stores::of(&node.server().ready.data.join("topics/t"), 0);
    // The last one is active, and the one before it may be about to be sealed.
    stores.truncate(stores.len().saturating_sub(3));
    stores
}

/// The base offset in the name of a store, as text.
fn base_of(store: &Path) -> String {
    let name = store.file_name().unwrap().to_string_lossy();
    name.split('.').next().unwrap().to_owned()
}

/// Reads all below `end` until nothing of it is damaged any more; whatever comes is as it was.
fn read_until_whole(node: &Node, topic: &Target, expected: &[u8], end: Offset) {
    let mut wire = node.wire();
    let (mut offset, mut position) = (Offset::ZERO, 0);
    until("all is there again", || {
        let request = fetch::Request {
            max_bytes: 1 << 20,
            ..topic.fetch(0, offset)
        };
        match wire.call(&request, &[]).unwrap() {
            Ok((answer, body)) => {
                let body = &body[..body.len().min(expected.len() - position)];
                assert!(expected[position..].starts_with(body), "at {offset}");
                (offset, position) = (answer.next, position + body.len());
            }
            Err(error) => {
                let is_typed = [ErrorCode::Damaged, ErrorCode::Busy];
                assert!(is_typed.iter().any(|code| error.is(*code)), "{error:?}");
            }
        }
        end <= offset
    });
}

fn produce_until(is_over: &AtomicBool, node: &Node, topic: &Target) {
    let mut wire: Wire = node.wire();
    while !is_over.load(Ordering::Relaxed) {
        let bytes = batch(Codec::None, [[7_u8; 1_000]]);
        if let Err(error) = wire.call(&topic.produce(0), &bytes).unwrap() {
            // Behind a standstill an owner asks its followers first.
            assert!(error.is(ErrorCode::Busy), "{error:?}");
        }
    }
}
