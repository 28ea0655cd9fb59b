//! What a newcomer can do wrong on the README's tour, and that each error says what to do next: a
//! command, or an option.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use crate::support::corelog::Corelog;
use crate::support::deadline::{Watch, output_of};
use crate::support::folder::Folder;
use crate::support::server::{Server, Start};

/// Runs `args`, which must fail with `code` and say each of `words`.
fn says(corelog: &Corelog, args: &[&str], code: i32, words: &[&str]) {
    let (_, said, ended) = corelog.run(args).parts();
    assert_eq!(ended, Some(code), "{args:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{args:?} does not say {word}: {said}");
    }
}

/// The same for a server that does not start.
fn refuses(start: &Start, code: i32, words: &[&str]) {
    let (ended, said) = start.refused();
    assert_eq!(ended, Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "it does not say {word}: {said}");
    }
}

#[test]
fn a_server_that_cannot_start_says_what_to_do() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let start = |args: &[&str]| {
        args.iter()
            .fold(Start::on(&data), |start, arg| start.arg(*arg))
    };
    refuses(
        &start(&["--listen", &address]),
        1,
        &["--listen", "stop what"],
    );
    refuses(&start(&["--admin", &address]), 1, &["--admin", "stop what"]);
    let elsewhere = ["192.0.2.1:0", "--insecure"];
    for option in ["--listen", "--admin"] {
        let start = start(&[&[option][..], &elsewhere].concat());
        refuses(&start, 1, &["no address of this machine", option]);
    }
    refuses(&start(&["--listen", "0.0.0.0:0"]), 2, &["--insecure"]);
    refuses(
        &start(&["--listen", "0.0.0.0:0", "--insecure"]),
        2,
        &["--advertise"],
    );
    refuses(
        &start(&["--listen", "here"]),
        2,
        &["127.0.0.1:7400", "--help"],
    );
    refuses(&start(&["--cores", "many"]), 2, &["--cores", "--help"]);
    refuses(&start(&["--coers", "2"]), 2, &["'--cores'"]);
    refuses(&start(&["--config", "none.toml"]), 2, &["--config"]);
    let config = folder.file("wrong.toml", b"coers = 2\n");
    let config = config.to_str().unwrap();
    refuses(&start(&["--config", config]), 2, &["coers", "cores"]);
    refuses(&Start::on("/proc".as_ref()), 6, &["--data-dir"]);
    let file = folder.file("file", b"");
    refuses(&Start::on(&file), 1, &["something else is there", "--help"]);

    let server = Server::start(&data);
    refuses(&Start::on(&data), 1, &["in use", "--data-dir"]);
    drop(server);
}

#[test]
fn a_client_without_a_server_says_how_to_get_one() {
    let nobody = Corelog::at("127.0.0.1:1");
    for args in [
        &["topic", "list"][..],
        &["produce", "events"],
        &["consume", "events"],
        &["bench", "produce"],
        &["snapshot", "list"],
    ] {
        says(&nobody, args, 4, &["`corelog serve`", "--server"]);
    }
    for server in ["localhost", "http://127.0.0.1:7400"] {
        let wrong = ["topic", "list", "--server", server];
        says(&nobody, &wrong, 2, &["HOST:PORT", "127.0.0.1:7400"]);
    }
    let offsets = ["offsets", "events"];
    says(&nobody, &offsets, 4, &["if it still runs", "--server"]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let late = ["topic", "list", "--server", &address, "--timeout", "200ms"];
    says(&nobody, &late, 4, &["--server"]);
}

/// Whoever wanted to see more saw nothing more, and no reason.
#[test]
fn a_slip_in_what_a_client_is_to_log_is_told_and_is_no_reason_to_fail() {
    let offline = Corelog::at("127.0.0.1:1");
    for (wanted, is_told) in [("deubg", true), ("", false), ("warn", false)] {
        let mut command = offline.command(["topic", "list"]);
        command.env("CORELOG_LOG", wanted);
        let ended = output_of(command.spawn().unwrap(), "a client");
        assert_eq!(ended.status.code(), Some(4), "{ended:?}");
        let said = String::from_utf8_lossy(&ended.stderr);
        let told = said.contains("CORELOG_LOG: `deubg` says no level");
        assert_eq!(told, is_told, "{said}");
    }
}

/// It tried again and again, and did not say so either where it was asked to.
#[test]
fn a_client_that_is_to_log_says_what_it_tries() {
    let folder = Folder::new();
    let server = Server::start(&folder.path().join("data"));
    let (corelog, address) = (Corelog::to(&server), server.address());
    corelog.run(["topic", "create", "events"]).done();
    let args = ["produce", "events", "--timeout", "2s", "--output", "json"];
    let mut command = corelog.command(args);
    let mut client = command.env("CORELOG_LOG", "debug").spawn().unwrap();
    let _watch = Watch::over(client.id(), "a client whose server is gone");
    let mut input = client.stdin.take().unwrap();
    let mut acks = BufReader::new(client.stdout.take().unwrap()).lines();
    let mut log = BufReader::new(client.stderr.take().unwrap()).lines();
    input.write_all(b"one\n").unwrap();
    acks.next().unwrap().unwrap();
    server.kill();
    // To the server, and to the core.
    for words in ["connected", "connection ended"].map(|one| format!(" {one} address=")) {
        let told = log.by_ref().map(Result::unwrap);
        let told: Vec<_> = told.filter(|line| line.contains(&words)).take(2).collect();
        assert!(told.iter().any(|line| line.contains(&address)), "{told:?}");
    }
    input.write_all(b"two\n").unwrap();
    drop(input);
    let said: Vec<_> = log.map(Result::unwrap).collect();
    assert_eq!(client.wait().unwrap().code(), Some(4), "{said:?}");
    for words in [" not connected ", " sends again topic=events partition=0 "] {
        let tells = |line: &String| line.contains(words) && line.contains(" attempt=2 ");
        assert!(said.iter().any(tells), "{words}: {said:?}");
    }
}

/// An exit code, a command, and what its error says: in words what is wrong, then what to do next. LARGE is
/// a file of 2 MiB, DATA the data directory; topic `events` has two records, `empty` has none, and the
/// snapshot `first` holds both.
const REFUSED: &str = "\
    1 | topic create events | exists already | --if-not-exists
    2 | topic create a/b | found '/' | --help
    1 | topic create t --partitions 0 | between 1 and 4096 | --partitions
    2 | topic create t --partitions two | 'two' | --help
    2 | topic create t --ack never | 'never' | durable, accepted
    2 | topic create t --retention-age 7 | no duration | 7d
    2 | topic create t --retention-bytes 7MB | no size | MiB
    1 | topic create t --segment-bytes 7 | between 1048576 and | `corelog topic create --help`
    2 | topic create t --partition 2 | '--partition' | '--partitions'
    2 | topic create | <NAME> | --help
    2 | topci list | 'topci' | 'topic'
    2 | topic list --output xml | 'xml' | table, json
    2 | topic list --timeout 5 | no duration | 30s
    1 | topic describe evnets | no topic evnets | `corelog topic list`
    1 | topic add-partitions empty --partitions 1 | between 2 and 4096 | --partitions
    2 | topic alter events | nothing to change | `corelog topic alter --help`
    6 | topic delete events | topic events with 1 | --yes | --dry-run
    1 | topic delete evnets --yes | no topic evnets | `corelog topic list`
    1 | produce evnets | no topic evnets | `corelog topic create`
    1 | produce events --partition 7 | 7 is none of them | `corelog topic describe`
    2 | produce events --compression rar | no codec | choose none, gzip
    2 | produce events --ack all | 'all' | durable, accepted
    2 | produce events --key-separator '' | must not be empty | --help
    2 | produce events --delimiter \\q | unknown | \\xHH
    1 | produce events /no/such/file | No such file | --help
    1 | produce events /proc | directory | --help
    1 | produce events LARGE | longer than 1048576 | --delimiter
    1 | produce events LARGE --whole-file | larger than a record | split it
    1 | consume evnets | no topic evnets | `corelog topic list`
    1 | consume events --partition 7 | 7 is none of them | `corelog topic describe`
    1 | consume events --from 99 | not in [0, 2] | `corelog offsets`
    2 | consume events --from yesterday | no place | @-2h
    2 | consume events --from @yesterday | no time | 2026-01-31T12:00:00Z
    2 | consume events --from @-5 | no time | -2h for two hours
    2 | consume events --follow --until latest | --until | --help
    2 | consume events --format %x | no part of a record | %T %p
    1 | consume events --state LARGE | cannot use | remove it
    1 | consume events --state /proc | directory | --help
    1 | consume events --state /no/such/state | cannot write | --help
    1 | offsets evnets | no topic evnets | `corelog topic list`
    1 | inspect /no/such | No such file | --help
    1 | inspect /proc | no file or directory of a node | `corelog inspect --help`
    1 | verify /no/such | No such file | --help
    1 | verify LARGE | no file or directory of a node | `corelog verify --help`
    6 | truncate events --partition 0 --before 1 | from 0 to before 1 | --yes
    2 | truncate events --before 1 | --partition | --help
    1 | truncate events --partition 0 --before 9 --yes | ends at 2 | --before latest
    1 | truncate events --partition 7 --before 1 --yes | 7 is none | `corelog topic describe`
    2 | bench produce --total 64 | needs records | --record-bytes
    2 | bench latency --rate 0 | needs records | --rate
    1 | bench consume --topic evnets | no topic evnets | `corelog topic list`
    1 | bench seek --topic empty | no record | `corelog bench produce --topic empty`
    1 | snapshot create first | already | `corelog snapshot delete`
    2 | snapshot create a/b | found '/' | --help
    1 | snapshot create second --topic evnets | no topic evnets | `corelog topic list`
    1 | snapshot delete none --yes | no snapshot none | `corelog snapshot list`
    6 | snapshot delete first | 2 topics | --yes
    1 | snapshot export none copy --data-dir DATA | no snapshot | `corelog snapshot list` | --data-dir
    2 | snapshot export first DATA --data-dir DATA | data directory | name a place outside
    1 | snapshot export first LARGE --data-dir DATA | not a directory | --help
    1 | restore none --topic t | no snapshot none | `corelog snapshot list`
    1 | restore src --topic t | no snapshot src | ./src
    1 | restore ./none --topic t | no snapshot | `corelog snapshot export`
    1 | restore LARGE --topic t | cannot read snapshot | `corelog snapshot export`
    1 | restore first --topic t | holds 2 topics | --from-topic
    1 | restore first --topic t --from-topic none | no topic none | --from-topic
    1 | restore first --topic events --from-topic events | exists already | --topic
    2 | restore first | --topic | --help
    1 | scrub evnets | no topic evnets | `corelog topic list`
    1 | scrub events --partition 7 | numbered from 0 | `corelog topic describe`
    2 | config check /no/such | No such file | --config
    2 | config check LARGE | line 1 | KEY = VALUE | `corelog config show`";

#[test]
fn a_refused_command_says_what_is_wrong_and_what_to_do_next() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Server::start(&data);
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "events"]).done();
    corelog
        .run(["topic", "create", "empty", "--partitions", "2"])
        .done();
    corelog.feed(["produce", "events"], b"one\ntwo\n").done();
    corelog.run(["snapshot", "create", "first"]).done();
    let large = folder.file("large", &[b'x'; 2 << 20]);
    let meant = |word| match word {
        "LARGE" => large.to_str().unwrap(),
        "DATA" => data.to_str().unwrap(),
        "''" => "",
        word => word,
    };
    for line in REFUSED.lines() {
        let mut cells = line.trim().split(" | ");
        let code = cells.next().unwrap().parse().unwrap();
        let args = cells.next().unwrap().split(' ').map(meant);
        let words: Vec<_> = cells.collect();
        assert!(words.len() > 1, "what is wrong, and what next: {line}");
        says(&corelog, &args.collect::<Vec<_>>(), code, &words);
    }
}

/// Which server had said so was left to whoever had named several, or had one named by the environment.
#[test]
fn a_refusal_names_the_server_that_it_is_of() {
    let folder = Folder::new();
    let [here, there] = ["here", "there"].map(|name| Server::start(&folder.path().join(name)));
    let (corelog, address, other) = (Corelog::to(&here), here.address(), there.address());
    corelog.run(["topic", "create", "t"]).done();
    corelog.feed(["produce", "t"], b"one\n").done();
    for line in [
        "topic create t",
        "topic describe nope",
        "topic alter nope --ack durable",
        "topic add-partitions nope --partitions 2",
        "topic add-partitions t --partitions 5000",
        "topic delete nope --yes",
        "topic forget-follower nope a:1 --yes",
        "topic forget-follower t a:1 --yes",
        "topic forget-follower t a:1 --dry-run",
        "produce nope",
        "consume nope",
        "truncate nope --partition 0 --before 1 --yes",
        "partition reopen nope 0",
        "snapshot create s --topic nope",
        "snapshot list nope",
        "snapshot delete nope --yes",
        "restore nope --topic new",
        "scrub nope",
        "scrub t --partition 7",
        "promote t",
        "handover nope --to OTHER",
        "rejoin nope --to OTHER",
        "repair nope",
        "repair nope --dry-run",
        "repair t --dry-run --partition 7",
        "bench consume --topic nope",
        "bench seek --topic nope",
        "compare nope --with OTHER",
    ] {
        let line = line.replace("OTHER", &other);
        let said = corelog.run(line.split(' ')).failed(1);
        let begin = format!("corelog: {address}: ");
        assert!(said.starts_with(&begin), "{line}: {said}");
    }
    // What it says by another one's word names that one, too, or alone.
    for (line, code, begin) in [
        (
            "clone t --from OTHER",
            1,
            format!("{address}: UnknownTopic: {other}: "),
        ),
        (
            "rejoin t --to OTHER",
            1,
            format!("{address}: UnknownTopic: t/0: {other}: "),
        ),
        (
            "compare t --with OTHER",
            3,
            format!("{other}: UnknownTopic: "),
        ),
        (
            "clone t --from OTHER --dry-run",
            1,
            format!("{other}: UnknownTopic: "),
        ),
    ] {
        let line = line.replace("OTHER", &other);
        let said = corelog.run(line.split(' ')).failed(code);
        assert!(
            said.starts_with(&format!("corelog: {begin}")),
            "{line}: {said}"
        );
    }
    let both = Corelog::at(&format!("{other},{address}"));
    for line in [
        "topic describe nope",
        "topic delete nope --yes",
        "consume nope",
    ] {
        let said = both.run(line.split(' ')).failed(1);
        assert!(
            said.contains(&format!("{other},{address}: ")),
            "{line}: {said}"
        );
    }
    for server in [&here, &there] {
        Corelog::to(server).run(["topic", "create", "u"]).done();
    }
    let next = "`corelog topic describe u";
    let nine = ["--partition", "9"];
    let compare = [&["compare", "u", "--with", &other][..], &nine].concat();
    says(&corelog, &compare, 1, &["neither server", next]);
    let clone = [&["clone", "u", "--dry-run", "--from", &other][..], &nine].concat();
    says(&corelog, &clone, 1, &[&other, next]);
    // Whoever asked for what nobody has was told of the one that is away, which it then tried "again in 5ms".
    let some = Corelog::at(&format!("127.0.0.1:1,{address}"));
    for line in [
        "topic describe nope",
        "consume nope",
        "bench produce --topic nope",
    ] {
        let line: Vec<_> = line.split(' ').collect();
        says(&some, &line, 4, &["those that do have none", "--server"]);
    }
    // It is not what was looked for that this one is asked of.
    let compare = ["compare", "t", "--with", "127.0.0.1:1"];
    let said = some.run(compare).failed(4);
    assert!(!said.contains("none of"), "{said}");
    let repair = ["repair", "t", "--dry-run", "--partition", "0"];
    let (_, said, code) = corelog.run(repair).parts();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains(&format!("no damage of t/0 is known at {address}")),
        "{said}"
    );
    let said = both.run(["scrub", "t", "--partition", "7"]).failed(1);
    assert!(said.starts_with(&format!("corelog: {address}: ")), "{said}");
}

/// Whoever had a fresh machine in the place of a lost one was told to create the topic, which would have been another.
#[test]
fn who_has_nothing_to_rejoin_with_is_told_to_clone() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let rejoin = ["rejoin", "events", "--to", "log2:7400"];
    let next = "`corelog clone events --server";
    let corelog = Corelog::to(&server);
    says(&corelog, &rejoin, 1, &[next, "--from log2:7400 --follow`"]);
}

/// The port of the metrics answers, but in HTTP: `frame of 1347703880 bytes is too large` helped nobody.
#[test]
fn a_client_at_the_port_of_the_metrics_is_told_which_one_it_wants() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let wrong = Corelog::at(&server.ready.admin.to_string());
    says(&wrong, &["topic", "list"], 4, &["--listen, not as --admin"]);
}

#[test]
fn a_state_that_names_records_which_are_gone_says_so() {
    let folder = Folder::new();
    let server = Server::start(&folder.path().join("data"));
    let corelog = Corelog::to(&server);
    corelog.run(["topic", "create", "events"]).done();
    corelog.feed(["produce", "events"], b"one\ntwo\n").done();
    let state = folder.path().join("state");
    let state = state.to_str().unwrap();
    let consume = ["consume", "events", "--state", state];
    corelog
        .run([&consume[..], &["--count", "1"]].concat())
        .done();
    let truncate = ["truncate", "events", "--partition", "0", "--before", "2"];
    corelog.run([&truncate[..], &["--yes"]].concat()).done();
    // The file knows the places of other partitions, too, and is not to be removed.
    let next = "another --state and --partition 0 --from 2";
    says(&corelog, &consume, 1, &["[2, 2]", state, next]);
}
