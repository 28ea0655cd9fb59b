//! `corelog debug bundle`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use serde_json::Value;

use crate::support::corelog::Corelog;
use crate::support::deadline::output_of;
use crate::support::folder::Folder;
use crate::support::server::{Server, Start};

const SECRETS: [&str; 3] = ["secret-key-7f3a", "secret-value-91bc", "secret-header-d05e"];

/// The members of a bundle, by their names below its folder.
fn unpacked(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let file = std::fs::File::open(path).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let mut members = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let (_, name) = name.split_once('/').unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        members.insert(name.to_owned(), bytes);
    }
    members
}

fn json(members: &BTreeMap<String, Vec<u8>>, name: &str) -> Value {
    let names: Vec<_> = members.keys().collect();
    let bytes = members.get(name);
    let bytes = bytes.unwrap_or_else(|| panic!("no {name} in {names:?}"));
    serde_json::from_slice(bytes).unwrap()
}

/// A topic with records that nobody else may see.
fn produce_secrets(server: &Server) {
    let corelog = Corelog::to(server);
    corelog
        .run(["topic", "create", "orders", "--partitions", "2"])
        .done();
    let [key, value, header] = SECRETS;
    let line = format!("{key}:{value}\n").repeat(200);
    let header = format!("name={header}");
    let args = ["produce", "orders", "--key-separator", ":", "-H", &header];
    corelog
        .feed(
            [&args[..], &["--compression", "none"]].concat(),
            line.as_bytes(),
        )
        .done();
}

fn assert_holds_no_secret(path: &Path, members: &BTreeMap<String, Vec<u8>>) {
    let has = |bytes: &[u8], word: &[u8]| bytes.windows(word.len()).any(|part| part == word);
    for (name, bytes) in members {
        for secret in SECRETS {
            let coded = base64::prelude::BASE64_STANDARD_NO_PAD.encode(secret);
            // The last sign depends on what follows.
            let coded = &coded[..coded.len() - 1];
            assert!(!has(bytes, secret.as_bytes()), "{name} holds {secret}");
            assert!(!has(bytes, coded.as_bytes()), "{name} holds {secret} coded");
        }
    }
    assert!(path.exists());
}

fn bundle(path: &Path, args: &[&str]) -> (Value, String) {
    let args = [
        &["debug", "bundle", "--output", "json", "--out"][..],
        &[path.to_str().unwrap()],
        args,
    ];
    let (out, said, code) = Corelog::offline().run(args.concat()).parts();
    assert_eq!(code, Some(0), "{said}");
    (serde_json::from_slice(&out).unwrap(), said)
}

#[test]
fn a_bundle_of_a_running_server_has_everything_but_its_records() {
    let folder = Folder::new();
    let server = Start::on(&folder.path().join("data")).start();
    produce_secrets(&server);
    let log = folder.file("server.log", b"first line\nlast line\n");
    let path = folder.path().join("b.tar.gz");
    let admin = server.ready.admin.to_string();
    let args = ["--admin", &admin, "--log", log.to_str().unwrap()];
    let (made, said) = bundle(&path, &args);
    let members = unpacked(&path);
    assert_holds_no_secret(&path, &members);

    let manifest = json(&members, "MANIFEST.json");
    assert_eq!(manifest["members"], made["members"]);
    assert_eq!(manifest["missed"], made["missed"]);
    for member in made["members"].as_array().unwrap() {
        let bytes = &members[member["name"].as_str().unwrap()];
        assert_eq!(member["bytes"], bytes.len());
    }
    assert!(manifest["holds"].as_str().unwrap().contains("topics"));
    // A kernel may be built without pressure stall information; nothing else may be missed.
    for missed in made["missed"].as_array().unwrap() {
        let name = missed["name"].as_str().unwrap();
        assert!(name.starts_with("machine/"), "{missed}");
        assert!(said.contains(name), "{said}");
    }
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!(made["file_bytes"], metadata.len());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);

    assert_eq!(
        json(&members, "version.json")["version"],
        env!("CARGO_PKG_VERSION")
    );
    assert!(json(&members, "config.json")["settings"].is_array());
    assert!(json(&members, "doctor.json").as_array().unwrap().len() > 10);
    assert_eq!(json(&members, "server/v1-node.json")["pid"], server.pid());
    assert_eq!(
        json(&members, "server/v1-topics.json")["topics"][0]["name"],
        "orders"
    );
    let text = |name: &str| String::from_utf8(members[name].clone()).unwrap();
    assert!(text("server/metrics.txt").contains("corelog_appended_records_total"));
    assert_eq!(text("log.txt"), "first line\nlast line\n");
    assert!(text("server-process/status").contains(&format!("Pid:\t{}\n", server.pid())));
    assert!(text("server-process/limits").contains("Max open files"));
    assert!(text("server-process/mountinfo").contains(" - "));
    assert!(text("machine/meminfo").contains("MemTotal"));
    tells_the_directory(&members);
}

fn tells_the_directory(members: &BTreeMap<String, Vec<u8>>) {
    let files = json(members, "data/files.json");
    assert_eq!(files["is_whole"], true);
    let files = files["files"].as_array().unwrap();
    let store = files.iter().find(|file| {
        let name = file["file"].as_str().unwrap();
        name.starts_with("topics/orders/") && name.ends_with(".log")
    });
    assert!(store.unwrap()["bytes"].as_u64().unwrap() > 0);
    assert_eq!(json(members, "data/node.json")["topics"], 1);
    assert_eq!(
        json(members, "data/topics/orders/topic.json")["partitions"],
        2
    );
    // One key: all records are in one of the two.
    let partition = members
        .keys()
        .find_map(|name| name.strip_suffix("/tail.json"));
    let partition = partition.unwrap();
    let of = |name: &str| json(members, &format!("{partition}/{name}.json"));
    assert_eq!(of("manifest")["log_start"], 0);
    let tail = of("tail");
    let batches = tail["batches"].as_array().unwrap();
    let records = batches
        .iter()
        .map(|batch| batch["records"].as_u64().unwrap());
    assert_eq!(records.sum::<u64>(), 200, "{tail}");
    // What is prepared behind them, if anything is.
    let ends = tail["ends"].as_str().unwrap();
    assert!(ends.contains("zeros") || ends.contains("the end"), "{tail}");
}

#[test]
fn a_bundle_of_a_stopped_server_has_its_directory() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Start::on(&data).start();
    produce_secrets(&server);
    let admin = server.ready.admin.to_string();
    assert!(server.stop().status.success());
    let topic = data.join("topics/orders");
    let partition = (0..2).map(|number| topic.join(number.to_string()));
    let partition = { partition }.find(|dir| dir.join("manifest").exists());
    let partition = partition.unwrap();
    std::fs::write(partition.join("mark"), "garbage").unwrap();

    let path = folder.path().join("b.tar.gz");
    let dir = data.to_str().unwrap();
    let (made, said) = bundle(&path, &["--admin", &admin, "--data-dir", dir]);
    let members = unpacked(&path);
    assert_holds_no_secret(&path, &members);
    let missed = made["missed"].as_array().unwrap();
    let why = |name: &str| {
        let missed = missed.iter().find(|missed| missed["name"] == name);
        missed.unwrap_or_else(|| panic!("{name} is there: {made}"))["why"].to_string()
    };
    assert!(why("server/livez.txt").contains("cannot ask"));
    assert!(why("server/v1-node.json").contains("did not answer before"));
    assert!(said.contains("left out server/metrics.txt"), "{said}");
    assert!(members.contains_key("own-process/limits"));
    let number = partition.file_name().unwrap().to_str().unwrap();
    let name = format!("data/topics/orders/{number}");
    let tail = json(&members, &format!("{name}/tail.json"));
    assert!(!tail["batches"].as_array().unwrap().is_empty());
    let mark = json(&members, &format!("{name}/mark.json"));
    assert!(
        mark["faults"][0].as_str().unwrap().contains("mark"),
        "{mark}"
    );
}

#[test]
fn a_bundle_keeps_to_its_size_and_its_time_and_replaces_nothing() {
    let folder = Folder::new();
    let data = folder.path().to_str().unwrap();
    let common = ["--admin", "127.0.0.1:1", "--data-dir", data];
    let small = folder.path().join("small.tar.gz");
    let (made, _) = bundle(&small, &[&common[..], &["--size-max", "3KiB"]].concat());
    let members = made["members"].as_array().unwrap();
    let bytes = members
        .iter()
        .map(|member| member["bytes"].as_u64().unwrap());
    assert!(bytes.sum::<u64>() <= 3 << 10, "{made}");
    assert!(made["missed"].to_string().contains("--size-max"), "{made}");
    let late = folder.path().join("late.tar.gz");
    let (made, _) = bundle(&late, &[&common[..], &["--within", "0s"]].concat());
    assert_eq!(made["members"].as_array().unwrap().len(), 0);
    assert!(made["missed"].to_string().contains("--within"), "{made}");

    let again = ["debug", "bundle", "--within", "0s", "--out"];
    let again = [&again[..], &[late.to_str().unwrap()]].concat();
    let (_, said, code) = Corelog::offline().run(again).parts();
    assert_eq!(code, Some(1));
    assert!(said.contains("--out"), "{said}");
    Corelog::offline()
        .run(["debug", "bundle", "--admin", "nowhere"])
        .failed(2);
}

/// All of one second but the first failed, over a file that nobody had named.
#[test]
fn bundles_of_one_second_have_names_of_their_own() {
    let folder = Folder::new();
    let words = ["debug", "bundle", "--within", "0s", "--output", "json"];
    let started = (0..8).map(|_| {
        let mut command = Corelog::offline().command(words);
        command.current_dir(folder.path()).spawn().unwrap()
    });
    let started: Vec<_> = started.collect();
    let names = started.into_iter().map(|child| {
        let output = output_of(child, "a bundle");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let made: Value = serde_json::from_slice(&output.stdout).unwrap();
        let name = made["file"].as_str().unwrap().to_owned();
        unpacked(&folder.path().join(&name));
        name
    });
    assert_eq!(names.collect::<BTreeSet<_>>().len(), 8);
}

#[test]
fn without_an_option_a_bundle_is_of_what_the_configuration_names() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let text = format!("data-dir = '{}'\nadmin = '127.0.0.1:1'\n", data.display());
    let file = folder.file("corelog.toml", text.as_bytes());
    let path = folder.path().join("b.tar.gz");
    let config = ["--config", file.to_str().unwrap()];
    let (made, _) = bundle(&path, &config);
    let members = unpacked(&path);
    let files = json(&members, "data/files.json");
    assert_eq!(files["dir"], data.to_str().unwrap());
    let missed = made["missed"].to_string();
    assert!(missed.contains("http://127.0.0.1:1/livez"), "{missed}");
    let table = folder.path().join("table.tar.gz");
    let args = ["debug", "bundle", "--out", table.to_str().unwrap()];
    let said = Corelog::offline().run([&args[..], &config].concat()).text();
    assert!(
        said.contains("MEMBER") && said.contains("table.tar.gz"),
        "{said}"
    );
}

/// With the server down, whatever lay in ./corelog-data was packed as its directory.
#[test]
fn a_directory_that_nobody_named_is_not_taken_for_that_of_a_server_that_is_down() {
    let folder = Folder::new();
    let config = folder.file("corelog.toml", b"admin = '127.0.0.1:1'\n");
    let path = folder.path().join("b.tar.gz");
    let (made, _) = bundle(&path, &["--config", config.to_str().unwrap()]);
    let mut missed = made["missed"].as_array().unwrap().iter();
    let data = missed.find(|missed| missed["name"] == "data").unwrap();
    assert!(
        data["why"].as_str().unwrap().contains("--data-dir"),
        "{data}"
    );
    let members = unpacked(&path);
    assert!(!members.keys().any(|name| name.starts_with("data/")));
}

/// Asked of another machine's server, it packed this machine's directory, journal and process as that server's:
/// every node has its data at the same place.
#[test]
fn a_bundle_of_another_machines_server_has_nothing_of_the_node_here() {
    let folder = Folder::new();
    let (data, here) = (folder.path().join("data"), folder.path().join("here"));
    let node = Start::on(&here).start();
    produce_secrets(&node);
    assert!(node.stop().status.success());
    let server = Start::on(&data).start();
    let admin = format!("localhost:{}", server.ready.admin.port());
    let config = format!("data-dir = '{}'\n", data.display());
    let config = folder.file("corelog.toml", config.as_bytes());
    let config = ["--config", config.to_str().unwrap()];
    let bundle = |name: &str, more: &[&str]| {
        let path = folder.path().join(name);
        let (made, _) = bundle(&path, &[&["--admin", &*admin][..], more].concat());
        (made, unpacked(&path))
    };
    let why = |made: &Value, name: &str| {
        let mut missed = made["missed"].as_array().unwrap().iter();
        let missed = missed.find(|missed| missed["name"] == name);
        missed.map(|missed| missed["why"].to_string())
    };
    let is_of_data = |name: &&String| name.starts_with("data/");

    // As seen from a machine that has nothing where the server has its data.
    std::fs::rename(&data, folder.path().join("away")).unwrap();
    let (made, members) = bundle("none.tar.gz", &config);
    assert!(
        why(&made, "data").unwrap().contains("is not here"),
        "{made}"
    );
    assert_eq!(members.keys().find(is_of_data), None);
    // In a container a directory has another name, which the configuration knows.
    let away = format!("data-dir = '{}'\n", folder.path().join("away").display());
    let away = folder.file("away.toml", away.as_bytes());
    let (_, members) = bundle("away.tar.gz", &["--config", away.to_str().unwrap()]);
    assert_eq!(json(&members, "data/node.json")["topics"], 0);
    assert!(members.contains_key("server-process/limits"));
    // And from one that has another node's.
    std::fs::rename(&here, &data).unwrap();
    let (made, members) = bundle("other.tar.gz", &config);
    let told = why(&made, "data").unwrap();
    assert!(told.contains("is another node's here"), "{made}");
    let told = why(&made, "log.txt").unwrap();
    assert!(told.contains("the server is not here"), "{made}");
    assert_eq!(members.keys().find(is_of_data), None);
    assert!(members.contains_key("server/metrics.txt"));
    assert!(members.contains_key("own-process/limits"));
    // Whoever names a directory and a log knows whose they are.
    let log = folder.file("server.log", b"last line\n");
    let dir = ["--data-dir", data.to_str().unwrap()];
    let (_, members) = bundle(
        "named.tar.gz",
        &[&dir[..], &["--log", log.to_str().unwrap()]].concat(),
    );
    assert_eq!(json(&members, "data/node.json")["topics"], 1);
    assert_eq!(members["log.txt"], b"last line\n");
    server.kill();
}
