//! The files of the repository, and their code without comments, strings and unit tests.

use std::path::{Path, PathBuf};

/// A text file of the repository.
pub(crate) struct Source {
    /// Its path from the root, with `/`.
    pub(crate) path: String,
    /// What it says.
    pub(crate) text: String,
}

/// A place in a file, for messages: `path:line`.
pub(crate) fn place(source: &Source, line_index: usize) -> String {
    format!("{}:{}", source.path, line_index + 1)
}

/// True for files that hold nothing but tests.
pub(crate) fn is_test(source: &Source) -> bool {
    source
        .path
        .split('/')
        .any(|part| part == "tests" || part == "tests.rs")
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file, in the order of their paths.
pub(crate) fn rust_files() -> Vec<Source> {
    let mut files = text_files();
    files.retain(|file| file.path.ends_with(".rs"));
    assert!(
        files.len() > 10,
        "the walk over the repository finds its files"
    );
    files
}

/// Every text file of ours, in the order of their paths.
pub(crate) fn text_files() -> Vec<Source> {
    let mut files = Vec::new();
    walk(&root(), &root(), &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn walk(root: &Path, dir: &Path, files: &mut Vec<Source>) {
    const NOT_OURS: [&str; 6] = [
        "target",
        ".git",
        "corelog-data",
        "__pycache__",
        "Cargo.lock",
        "LICENSE",
    ];
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if NOT_OURS.contains(&name.as_str()) || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, files);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            let path = path.strip_prefix(root).unwrap();
            files.push(Source {
                path: path.to_string_lossy().into_owned(),
                text,
            });
        }
    }
}

/// The lines of `source` as code: comments and the insides of string literals are blanked, and
/// the file ends where its unit tests begin. Where it only says that they are a file of their own,
/// that is blanked, and it goes on.
pub(crate) fn code_lines(source: &Source) -> Vec<String> {
    let blanked = blank(&source.text);
    let mut lines: Vec<String> = blanked.lines().map(str::to_owned).collect();
    let is_tests = |pair: &[String], start: &str| {
        pair[0].trim() == "#[cfg(test)]" && without_visibility(&pair[1]).starts_with(start)
    };
    let here = |pair: &[String]| is_tests(pair, "mod tests {");
    if let Some(end) = lines.windows(2).position(here) {
        lines.truncate(end);
    }
    let elsewhere = |pair: &[String]| is_tests(pair, "mod tests;");
    if let Some(at) = lines.windows(2).position(elsewhere) {
        lines[at..at + 2].fill(String::new());
    }
    lines
}

/// What a line declares, to whomever.
fn without_visibility(line: &str) -> &str {
    let line = line.trim_start();
    let of = |visibility| line.strip_prefix(visibility);
    of("pub(crate) ").or(of("pub(super) ")).unwrap_or(line)
}

/// Blanks comments and string insides, keeping line breaks. It knows line and (nested) block
/// comments, plain, byte and raw strings, and character literals; that is all the rules need.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match (chars[at], chars.get(at + 1)) {
            ('/', Some('/')) => line_end(&chars, at),
            ('/', Some('*')) => block_comment_end(&chars, at),
            ('r', Some('"' | '#')) if !is_word_before(&chars, at) => raw_string_end(&chars, at),
            ('"', _) => string_end(&chars, at),
            ('\'', Some(_)) => char_end(&chars, at),
            _ => at,
        };
        if end == at {
            code.push(chars[at]);
            at += 1;
            continue;
        }
        code.extend(
            chars[at..end]
                .iter()
                .map(|c| if *c == '\n' { '\n' } else { ' ' }),
        );
        at = end;
    }
    code
}

fn line_end(chars: &[char], at: usize) -> usize {
    (at..chars.len())
        .find(|&i| chars[i] == '\n')
        .unwrap_or(chars.len())
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut i = at;
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn is_word_before(chars: &[char], at: usize) -> bool {
    // `br"…"` is a raw string too; any other letter before makes `r` the end of a word.
    at > 0 && chars[at - 1] != 'b' && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn raw_string_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return at; // a raw identifier
    }
    let is_end = |i: usize| {
        chars[i] == '"'
            && chars.len() > i + hashes
            && chars[i + 1..=i + hashes].iter().all(|c| *c == '#')
    };
    let first = at + 2 + hashes;
    (first..chars.len())
        .find(|&i| is_end(i))
        .map_or(chars.len(), |i| i + 1 + hashes)
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut i = at + 1;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

fn char_end(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => (at + 3..chars.len())
            .find(|&i| chars[i] == '\'')
            .map_or(chars.len(), |i| i + 1),
        (Some(_), Some('\'')) => at + 3,
        _ => at, // a lifetime
    }
}

/// Every path in `line` that begins with `root` and `::`, as its following names:
/// `use crate::disk::{self, map}` under root `crate` gives `disk`.
pub(crate) fn names_after(line: &str, root: &str) -> Vec<String> {
    let mut names = Vec::new();
    let needle = format!("{root}::");
    for (at, _) in line.match_indices(&needle) {
        let is_word = line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        if is_word {
            continue;
        }
        let rest = &line[at + needle.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            names.extend(group_heads(group));
        } else {
            names.push(word(rest));
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The first name of each member of `a, b::{c, d}, e}…`.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = vec![String::new()];
    let mut depth = 0;
    let mut is_head = true;
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.push(String::new());
                is_head = true;
            }
            c if is_head && (c.is_alphanumeric() || c == '_') => {
                heads.last_mut().unwrap().push(c);
            }
            c if c.is_whitespace() => {}
            _ => is_head = false,
        }
    }
    heads
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// True where `word` stands in `line` as a word of its own.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[test]
fn comments_strings_and_tests_are_no_code() {
    let text = "a // b\n/* c /* d */ e */ f \"g \\\" h\" r#\"i \"j\"# 'k' '\\'' &'l m\n\
                #[cfg(test)]\nmod tests {\n n }";
    let source = Source {
        path: "x.rs".to_owned(),
        text: text.to_owned(),
    };
    let words: Vec<String> = code_lines(&source)
        .iter()
        .flat_map(|l| l.split_whitespace())
        .map(Into::into)
        .collect();
    assert_eq!(words, ["a", "f", "&'l", "m"]);
}

/// All that stood behind the words in the map of a room was beyond every rule.
#[test]
fn a_file_goes_on_where_it_says_that_its_tests_are_in_another_one() {
    let source = Source {
        path: "x.rs".to_owned(),
        text: "mod a;\n#[cfg(test)]\nmod tests;\nuse b;\n#[cfg(test)]\nmod tests {\n c }"
            .to_owned(),
    };
    assert_eq!(code_lines(&source), ["mod a;", "", "", "use b;"]);
}

/// Helpers that other tests take counted as code, with all tests beside them.
#[test]
fn tests_that_others_take_helpers_from_are_no_code() {
    for visibility in ["", "pub(super) ", "pub(crate) "] {
        let source = Source {
            path: "x.rs".to_owned(),
            text: format!("use a;\n#[cfg(test)]\n{visibility}mod tests {{\n b }}"),
        };
        assert_eq!(code_lines(&source), ["use a;"]);
    }
}

#[test]
fn paths_are_found_in_uses_and_groups() {
    assert_eq!(
        names_after("use crate::{disk::{a, b}, log, self};", "crate"),
        ["disk", "log", "self"]
    );
    assert_eq!(
        names_after("let x = crate::format::mark(my_crate::y);", "crate"),
        ["format"]
    );
    assert!(has_word("let x = unsafe { y };", "unsafe"));
    assert!(!has_word("#![deny(unsafe_code)]", "unsafe"));
}
