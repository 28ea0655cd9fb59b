//! The README's tour is run as it stands: what a newcomer types works.

use std::process::{Command, Stdio};

use crate::support::deadline::output_of;
use crate::support::folder::Folder;
use crate::support::server::{BINARY, Server};

#[test]
fn every_command_of_the_tour_works() {
    let folder = Folder::new();
    let server = Server::start(&folder.path().join("corelog-data"));
    let binaries = std::path::Path::new(BINARY)
        .parent()
        .unwrap()
        .display()
        .to_string();
    let path = format!("{binaries}:{}", std::env::var("PATH").unwrap());
    let commands = tour();
    assert!(commands.len() > 15, "the tour is found: {commands:?}");
    for command in commands {
        let child = Command::new("bash")
            .args(["-e", "-o", "pipefail", "-c", &command])
            .current_dir(folder.path())
            .env("PATH", &path)
            .env("CORELOG_SERVER", server.address())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = output_of(child, &command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{command}: {} {said}",
            output.status
        );
    }
}

#[test]
fn the_readme_names_the_two_commands_that_ci_runs() {
    let root = env!("CARGO_MANIFEST_DIR");
    let readme = std::fs::read_to_string(format!("{root}/README.md")).unwrap();
    assert!(readme.contains("cargo run --release -- serve"));
    let test = "cargo test --workspace";
    assert!(readme.contains(test));
    let ci = std::fs::read_to_string(format!("{root}/.ci/run")).unwrap();
    assert!(ci.contains(test), "CI runs the README's test command");
}

/// The lines of the blocks marked `sh tour`.
fn tour() -> Vec<String> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
    let readme = readme.unwrap();
    let blocks = readme.split("```sh tour\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap().to_owned());
    blocks
        .flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}
