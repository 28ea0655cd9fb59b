//! A file holds one noun and is read in one sitting.

use crate::source;

const LINES_MAX: usize = 400;

/// Files that may be longer, up to what is said here, with the reason.
const LONGER: [(&str, usize, &str); 0] = [];

#[test]
fn files_are_read_in_one_sitting() {
    let mut wrong = Vec::new();
    for file in source::rust_files() {
        let lines = file.text.lines().count();
        let longer = LONGER.iter().find(|(path, ..)| *path == file.path);
        let lines_max = longer.map_or(LINES_MAX, |(_, lines_max, _)| *lines_max);
        if lines > lines_max {
            wrong.push(format!(
                "{}: {lines} lines, but {lines_max} is the most",
                file.path
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "a file with two heroes is two files:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_exception_is_still_needed() {
    for (path, _, reason) in LONGER {
        assert!(!reason.is_empty(), "{path}: an exception needs a reason");
        let text = std::fs::read_to_string(source::root().join(path)).unwrap();
        assert!(
            text.lines().count() > LINES_MAX,
            "{path} needs no exception any more"
        );
    }
}
