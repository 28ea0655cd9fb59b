//! `corelog compare`.

use std::fs::File;
use std::path::Path;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::kind::Kind;
use serde_json::{Value, json};

use super::{Pair, compare, lines, produce};
use crate::support::corelog::Corelog;
use crate::support::deadline::{output_of, until};
use crate::support::folder::Folder;
use crate::support::proxy::{Odds, Proxy};
use crate::support::server::{Server, Start};

#[test]
fn copies_of_one_log_are_equal_and_the_first_batch_that_differs_is_named() {
    let (folder, copy) = (Folder::new(), Folder::new());
    let copy = copy.path().join("data");
    let server = Server::start(folder.path());
    let here = Corelog::to(&server);
    here.run([
        "topic",
        "create",
        "t",
        "--partitions",
        "2",
        "--segment-bytes",
        "1MiB",
    ])
    .done();
    produce(&here, "0", &lines("shared", 3 << 20));
    produce(&here, "1", b"a\nb\nc\n");
    copy_stopped(server, folder.path(), &copy);

    let (server, other) = (Server::start(folder.path()), Server::start(&copy));
    let (here, there) = (Corelog::to(&server), Corelog::to(&other));
    let (rows, code) = compare(&here, &other);
    assert_eq!(words(&rows), ["equal", "equal"]);
    assert_eq!(code, Some(0));
    // One that has more is equal as far as both go.
    produce(&here, "1", b"d\ne\n");
    let (rows, code) = compare(&here, &other);
    assert_eq!(words(&rows), ["equal", "equal"]);
    assert_eq!(code, Some(0));

    produce(&there, "1", b"another\nand another\n");
    let (rows, code) = compare(&here, &other);
    assert_eq!(words(&rows), ["equal", "differs"]);
    assert_eq!(rows[1]["first_difference"]["offset"], 3);
    assert_eq!(code, Some(3));
    let with = other.address();
    let (_, said, _) = here.run(["compare", "t", "--with", &with]).parts();
    assert!(
        said.contains("t/1: the first batch that differs begins at offset 3"),
        "{said}"
    );

    // Deep in a sealed segment it is found as well.
    produce(&here, "0", b"mine\n");
    produce(&there, "0", b"theirs\n");
    produce(&here, "0", &lines("mine", 3 << 20));
    produce(&there, "0", &lines("theirs", 3 << 20));
    let (rows, _) = compare(&here, &other);
    let shared = lines("shared", 3 << 20)
        .iter()
        .filter(|byte| **byte == b'\n')
        .count();
    assert_eq!(rows[0]["first_difference"]["offset"], json!(shared));
}

/// It ended with the first that could not be compared, and what was found of the others was told to nobody.
#[test]
fn a_partition_that_cannot_be_compared_hides_none_that_differs() {
    let (folder, copy) = (Folder::new(), Folder::new());
    let copy = copy.path().join("data");
    let server = Server::start(folder.path());
    let here = Corelog::to(&server);
    let create = ["topic", "create", "t", "--partitions", "2"];
    here.run(create).done();
    produce(&here, "0", b"shared\n");
    copy_stopped(server, folder.path(), &copy);

    let server = Server::start(folder.path());
    let here = Corelog::to(&server);
    produce(&here, "1", b"mine\n");
    let other = Server::start(&copy);
    produce(&Corelog::to(&other), "1", b"theirs\n");
    assert_eq!(other.stop().status.code(), Some(0));
    std::fs::write(copy.join("topics/t/0/manifest"), b"rotten").unwrap();
    let other = Server::start(&copy);
    let with = other.address();
    let (out, said, code) = here.run(["compare", "t", "--with", &with]).parts();
    assert_eq!(code, Some(3), "{said}");
    let out = String::from_utf8(out).unwrap();
    let rows: Vec<_> = out.lines().skip(1).collect();
    assert!(
        matches!(rows[..], [row] if row.starts_with('1') && row.contains("differs")),
        "{out}"
    );
    let closed = format!("{with}: t/0 could not be opened");
    assert!(said.contains(&closed), "{said}");
    // That stdout took nothing was all that was told then, with the exit code of a mere failure.
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = here.command(["compare", "t", "--with", &with]);
    let child = command.stdout(full).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(&closed), "{said}");
}

#[test]
fn a_server_that_answers_no_more_is_not_asked_about_each_partition() {
    let (pair, proxy) = behind_a_proxy(&["--partitions", "4"]);
    (0..2).for_each(|port| proxy.hold(port, Kind::Segments));
    let with = proxy.address.to_string();
    let said = pair.at_source().run(hasty(&with)).failed(4);
    assert!(said.contains("t/0, and those behind it, are not"), "{said}");
    assert!(said.contains(&with) && !said.contains("t/1"), "{said}");
}

/// Both servers described the topic first, with the answers of all of their cores: nothing was compared without.
#[test]
fn a_core_that_says_nothing_from_the_start_on_keeps_nothing_of_others_from_being_compared() {
    let (apart, proxy) = apart_behind_a_proxy();
    proxy.silence(0);
    let with = proxy.address.to_string();
    let (out, said, code) = apart.at_source().run(hasty(&with)).parts();
    assert_eq!(code, Some(3), "{said}");
    let out = String::from_utf8(out).unwrap();
    let row = |number: char| out.lines().find(|row| row.starts_with(number));
    assert!(row('1').unwrap().contains("differs"), "{out}");
    assert!(row('3').unwrap().contains("equal"), "{out}");
    assert_eq!((row('0'), row('2')), (None, None), "{said}");
    assert!(
        said.contains("t/0, and those behind it, are not") && said.contains("(partitions 2)"),
        "{said}"
    );
}

/// Each was asked for until the time was over, and kept all that its core has from being compared.
#[test]
fn a_partition_that_is_not_open_yet_is_told_at_once_and_hides_none_of_its_core() {
    let (apart, proxy) = apart_behind_a_proxy();
    let with = proxy.address.to_string();
    for why in [ErrorCode::Busy, ErrorCode::StorageFull] {
        proxy.close(0, why);
        let asked = proxy.asked(Kind::Segments);
        let (out, said, code) = apart
            .at_source()
            .run(["compare", "t", "--with", &with])
            .parts();
        assert_eq!(code, Some(3), "{said}");
        let out = String::from_utf8(out).unwrap();
        let words = ["1  ", "2  ", "3  "].map(|row| out.contains(row));
        assert_eq!(words, [true; 3], "{out}");
        assert!(
            said.contains(&format!("{with}: t/0 is not open yet")),
            "{said}"
        );
        assert_eq!(
            proxy.asked(Kind::Segments) - asked,
            3,
            "it is not asked in vain"
        );
        let plan = ["clone", "t", "--from", &with, "--dry-run"];
        let plan = [&plan[..], &["--partition", "0"]].concat();
        let said = apart.at_source().run(plan).failed(4);
        assert!(said.contains("t/0 is not open yet"), "{said}");
    }
}

/// What the server had said at the start was believed when its turn came, perhaps minutes later.
#[test]
fn a_partition_that_opens_while_others_of_its_core_are_compared_is_compared_too() {
    let (apart, proxy) = apart_behind_a_proxy();
    let with = proxy.address.to_string();
    proxy.close(0, ErrorCode::Busy);
    (0..3).for_each(|port| proxy.hold(port, Kind::Segments));
    let mut command = apart.at_source().command(["compare", "t", "--with", &with]);
    let comparing = command.spawn().unwrap();
    // One of each core.
    until("it compares", || 2 <= proxy.asked(Kind::Segments));
    proxy.open(0);
    (0..3).for_each(|port| proxy.release(port, Kind::Segments));
    let output = output_of(comparing, "compare");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    let out = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<_> = out.lines().skip(1).collect();
    assert!(
        rows.len() == 4 && rows[0].starts_with("0  ") && rows[0].contains("equal"),
        "{out}{said}"
    );
}

/// That a question was not answered was all that was said.
#[test]
fn where_a_server_tells_nothing_of_the_topic_it_is_said_that_nothing_was_compared() {
    let (pair, proxy) = behind_a_proxy(&[]);
    (0..2).for_each(|port| proxy.hold(port, Kind::Metadata));
    let with = proxy.address.to_string();
    let said = pair.at_source().run(hasty(&with)).failed(4);
    assert!(said.contains("nothing was compared: "), "{said}");
    assert!(said.contains(&with), "{said}");
}

/// Stops a server, and copies its directory. The copy is meant.
fn copy_stopped(server: Server, from: &Path, to: &Path) {
    assert_eq!(server.stop().status.code(), Some(0));
    copy_files(from, to);
    std::fs::remove_file(to.join("place")).unwrap();
}

/// A topic `t` and its copy, and a proxy before that.
fn behind_a_proxy(create: &[&str]) -> (Pair, Proxy) {
    let pair = Pair::start();
    let args = [&["topic", "create", "t"], create].concat();
    pair.at_source().run(args).done();
    pair.clone(&[]);
    let proxy = Proxy::listen(2, Odds::default(), fastrand::Rng::new());
    let ready = &pair.other.ready;
    proxy.lead_to(ready.doors());
    (pair, proxy)
}

/// The same of two cores and four partitions, of which the second differs.
fn apart_behind_a_proxy() -> (Pair, Proxy) {
    let folders = [Folder::new(), Folder::new()];
    let copy = folders[1].path().join("data");
    let start = |path: &Path| Start::on(path).cores(2).start();
    let source = start(folders[0].path());
    let create = ["topic", "create", "t", "--partitions", "4"];
    Corelog::to(&source).run(create).done();
    copy_stopped(source, folders[0].path(), &copy);
    let (source, other) = (start(folders[0].path()), start(&copy));
    for (server, line) in [(&source, b"mine\n" as &[u8]), (&other, b"theirs\n")] {
        produce(&Corelog::to(server), "1", line);
    }
    let proxy = Proxy::listen(3, Odds::default(), fastrand::Rng::new());
    proxy.lead_to(other.ready.doors());
    let pair = Pair {
        source,
        other,
        folders,
    };
    (pair, proxy)
}

/// A comparison with that one, which waits for a short time: enough for whoever answers.
fn hasty(with: &str) -> [&str; 6] {
    ["compare", "t", "--with", with, "--timeout", "6s"]
}

#[test]
fn what_cannot_be_compared_is_told_apart_from_what_differs() {
    let pair = Pair::start();
    for corelog in [pair.at_source(), pair.at_other()] {
        corelog.run(["topic", "create", "t"]).done();
        produce(&corelog, "0", b"a\nb\n");
    }
    let (rows, code) = pair.compare();
    assert_eq!(words(&rows), ["other_history"]);
    assert_eq!(code, Some(3));

    let with = pair.other.address();
    let here = pair.at_source();
    here.run(["compare", "none", "--with", &with]).failed(1);
    // It ended with 1, as where neither has it, though all of its partitions are missing there.
    here.run(["topic", "create", "mine"]).done();
    let source = pair.source.address();
    for (corelog, with) in [(&here, &with), (&pair.at_other(), &source)] {
        let said = corelog.run(["compare", "mine", "--with", with]).failed(3);
        assert!(said.contains("only the other server has it"), "{said}");
    }
    here.run(["compare", "t", "--with", &with, "--partition", "7"])
        .failed(1);
    // A server is not its own copy, however it came to be asked.
    here.run(["compare", "t", "--with", &pair.source.address()])
        .failed(1);
    let either = format!("127.0.0.1:1,{with}");
    let said = here
        .run(["compare", "t", "--server", &either, "--with", &with])
        .failed(1);
    assert!(said.contains("one server"), "{said}");
    here.run(["compare", "t"]).failed(2);
    here.run(["compare", "t", "--with", "nowhere"]).failed(2);
    let nobody = ["compare", "t", "--with", "127.0.0.1:1", "--timeout", "2s"];
    let said = here.run(nobody).failed(4);
    assert!(said.contains("127.0.0.1:1"), "{said}");
}

fn words(rows: &[Value]) -> Vec<&str> {
    rows.iter()
        .map(|row| row["verdict"].as_str().unwrap())
        .collect()
}

/// Copies a stopped server's data directory.
fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_files(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
