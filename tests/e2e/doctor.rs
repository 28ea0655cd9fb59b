//! `corelog doctor`.

use crate::support::corelog::Corelog;
use crate::support::folder::Folder;

#[test]
fn a_fit_machine_has_no_bad_verdict() {
    let folder = Folder::new();
    let dir = folder.path().join("data");
    let args = [
        "doctor",
        "--data-dir",
        dir.to_str().unwrap(),
        "--output",
        "json",
    ];
    let checks = Corelog::offline().run(args).json_lines();
    for name in [
        "kernel",
        "io_uring",
        "locked memory",
        "open files",
        "file size",
        "memory",
        "cores",
        "governor",
        "file system",
        "mount options",
        "device",
        "free space",
        "durable write",
        "congestion control",
        "clock",
        "clock source",
    ] {
        let check = checks.iter().find(|check| check["name"] == name).unwrap();
        assert_ne!(check["verdict"], "bad", "{check}");
        assert!(
            check["verdict"] == "good" || check["mend"].is_string(),
            "{check}"
        );
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "it leaves nothing behind"
    );
}

#[test]
fn an_unfit_directory_is_bad_and_says_what_to_do() {
    let args = ["doctor", "--data-dir", "/proc/data", "--output", "json"];
    let (out, _, code) = Corelog::offline().run(args).parts();
    assert_eq!(code, Some(1));
    let out = String::from_utf8(out).unwrap();
    let check = out
        .lines()
        .find(|line| line.contains("file system"))
        .unwrap();
    assert!(check.contains("bad") && check.contains("ext4"), "{check}");
}

#[test]
fn wrong_options_are_wrong_usage() {
    Corelog::offline()
        .run(["doctor", "--output", "xml"])
        .failed(2);
    Corelog::offline().run(["doctor", "now"]).failed(2);
}
