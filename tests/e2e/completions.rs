//! `corelog completions`, help, and what is no command.

use crate::support::corelog::Corelog;

#[test]
fn every_shell_gets_its_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Corelog::offline().run(["completions", shell]).text();
        assert!(script.contains("corelog"), "{shell}");
        assert!(script.contains("add-partitions"), "{shell}");
    }
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
