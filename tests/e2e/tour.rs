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

/// What the README shows of the client is what the client's own documents show, which are compiled.
#[test]
fn the_readme_s_program_is_that_of_the_client_s_documents() {
    let root = env!("CARGO_MANIFEST_DIR");
    let client = std::fs::read_to_string(format!("{root}/crates/client/src/lib.rs")).unwrap();
    let shown = blocks("rust client");
    assert_eq!(shown.len(), 1);
    for part in shown[0].split("\n\n") {
        let lines = part.trim_end().lines();
        let lines: Vec<_> = lines.map(|line| format!("//! {line}\n")).collect();
        assert!(client.contains(&lines.concat()), "{part}");
    }
}

/// The lines of the blocks marked `sh tour`.
fn tour() -> Vec<String> {
    let blocks = blocks("sh tour");
    blocks
        .iter()
        .flat_map(|block| block.lines().map(str::to_owned))
        .collect()
}

/// What the README's blocks with this mark hold.
fn blocks(mark: &str) -> Vec<String> {
    let begin = format!("```{mark}\n");
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
    let readme = readme.unwrap();
    let blocks = readme.split(&begin).skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}
