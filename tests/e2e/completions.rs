//! `corelog completions`, `corelog man`, help, and what is no command.

use crate::support::corelog::Corelog;
use crate::support::folder::Folder;

#[test]
fn every_shell_gets_its_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Corelog::offline().run(["completions", shell]).text();
        assert!(script.contains("corelog"), "{shell}");
        assert!(script.contains("add-partitions"), "{shell}");
    }
}

#[test]
fn every_subcommand_gets_its_manual_page() {
    let folder = Folder::new();
    let dir = folder.path().to_str().unwrap();
    Corelog::offline().run(["man", dir]).done();
    for name in ["corelog", "corelog-serve", "corelog-topic-create"] {
        let page = std::fs::read_to_string(folder.path().join(format!("{name}.1"))).unwrap();
        let said = page.replace('\\', "");
        assert!(said.contains(&format!(".SH NAME\n{name} - ")), "{page}");
        assert!(page.contains("EXAMPLES"), "{page}");
    }
}

#[test]
fn manual_pages_need_a_directory_that_is_there() {
    let folder = Folder::new();
    let missing = folder.path().join("missing");
    let said = Corelog::offline().run(["man", missing.to_str().unwrap()]);
    assert!(said.failed(1).contains("is it a directory?"));
    Corelog::offline().run(["man"]).failed(2);
}

#[test]
fn unknown_shells_and_commands_are_wrong_usage() {
    Corelog::offline().run(["completions", "tcl"]).failed(2);
    Corelog::offline().run(["completions"]).failed(2);
    Corelog::offline().run(["frobnicate"]).failed(2);
}

#[test]
fn help_and_version_are_data() {
    assert!(
        Corelog::offline()
            .run(["--help"])
            .text()
            .contains("EXAMPLES")
    );
    assert!(
        Corelog::offline()
            .run(["consume", "--help"])
            .text()
            .contains("PLACES")
    );
    assert!(
        Corelog::offline()
            .run(["--version"])
            .text()
            .starts_with("corelog ")
    );
}
