//! A file holds one noun and is read in one sitting.

use crate::source;

/// Lines up to the unit tests.
const LINES_MAX: usize = 400;
/// Lines with the unit tests: what proves a noun may be longer than the noun, not much longer.
const LINES_WITH_TESTS_MAX: usize = 600;

#[test]
fn files_are_read_in_one_sitting() {
    let mut wrong = Vec::new();
    for file in source::rust_files() {
        let (lines, with_tests) = lengths(&file);
        let lines_max = if source::is_test(&file) {
            LINES_WITH_TESTS_MAX
        } else {
            LINES_MAX
        };
        if lines > lines_max {
            wrong.push(format!(
                "{}: {lines} lines, but {lines_max} is the most",
                file.path
            ));
        } else if with_tests > LINES_WITH_TESTS_MAX {
            wrong.push(format!("{}: {with_tests} lines with its tests", file.path));
        }
    }
    assert!(
        wrong.is_empty(),
        "a file with two heroes is two files:\n{}",
        wrong.join("\n")
    );
}

/// Lines without and with the unit tests.
fn lengths(file: &source::Source) -> (usize, usize) {
    (source::code_lines(file).len(), file.text.lines().count())
}
