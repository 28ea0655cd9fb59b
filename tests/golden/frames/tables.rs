//! The tables of PROTOCOL.md say what the code says.

use std::collections::BTreeSet;
use std::path::PathBuf;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::kind::Kind;
use corelog_protocol::limits;
use corelog_protocol::message::hello;

use super::PAGE;

#[test]
fn the_page_s_error_codes_are_ours() {
    let ours: Vec<String> = ErrorCode::ALL
        .iter()
        .map(|code| {
            let (number, name, meaning) = (code.number(), code.name(), code.meaning());
            let (applied, retry) = (code.applied().name(), code.retry().name());
            format!("| {number} | `{name}` | {applied} | {retry} | {meaning} |")
        })
        .collect();
    assert_eq!(rows("| code | name | applied | retry | meaning |"), ours);
}

#[test]
fn the_page_s_limits_are_ours() {
    let ours: Vec<String> = limits::TABLE
        .iter()
        .map(|limit| {
            let limits::Limit {
                name,
                value,
                reason,
                beyond,
            } = limit;
            format!("| `{name}` | {value} | {reason} | {beyond} |")
        })
        .collect();
    assert_eq!(rows("| limit | value | reason | beyond it |"), ours);
}

#[test]
fn the_limits_of_hello_have_the_page_s_defaults() {
    let rows = rows("| key of `limits` | type | default | meaning |");
    let limits = hello::Limits::default();
    let ours = [
        ("frame_bytes_max", limits.frame_bytes_max),
        ("batch_bytes_max", limits.batch_bytes_max),
        ("record_bytes_max", limits.record_bytes_max),
        ("in_flight_requests_max", limits.in_flight_requests_max),
        ("in_flight_bytes_max", limits.in_flight_bytes_max),
    ];
    assert_eq!(rows.len(), ours.len());
    for (row, (key, default)) in rows.iter().zip(ours) {
        assert!(
            row.starts_with(&format!("| `{key}` | u32 | {default} | ")),
            "{row}"
        );
    }
}

#[test]
fn the_page_s_kinds_are_ours() {
    let rows = rows("| kind | name | asks for | request body | answer body |");
    assert_eq!(rows.len(), Kind::ALL.len());
    for (row, kind) in rows.iter().zip(Kind::ALL) {
        assert!(
            row.starts_with(&format!("| {} | [{kind}](#", kind.number())),
            "{row}"
        );
    }
}

#[test]
fn every_key_of_a_kind_is_drawn_in_its_section_and_no_other() {
    for kind in Kind::ALL {
        let mut ours = fields(&format!("message/{}.rs", snake(kind.name())));
        if kind == Kind::Fetch {
            ours.extend(fields("message/epoch.rs"));
        }
        if kind == Kind::CreateSnapshot {
            ours.extend(fields("message/snapshot.rs"));
        }
        if kind == Kind::ScrubTopic {
            ours.extend(["from", "to", "segment"].map(str::to_owned));
        }
        let section = section(&format!("### {} {kind}\n", kind.number()));
        assert_eq!(keys(section), ours, "{kind}");
    }
}

#[test]
fn every_key_of_settings_and_errors_is_drawn() {
    let settings = section("**Topic settings**");
    let settings = &settings[..settings.find("\n### ").unwrap()];
    assert_eq!(keys(settings), fields("message/settings.rs"));
    let mut errors = fields("error/body.rs");
    errors.insert("error".to_owned());
    assert_eq!(keys(section("## Errors\n")), errors);
}

/// The rows of the table under this header.
fn rows(header: &str) -> Vec<String> {
    let (_, below) = PAGE.split_once(header).expect("the page has the table");
    below
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(str::to_owned)
        .collect()
}

/// From this beginning to the next heading of its rank.
fn section(begin: &str) -> &'static str {
    let (_, below) = PAGE.split_once(begin).expect("the page has the section");
    let ends = ["\n### ", "\n## "].into_iter().filter(|end| {
        // A section of the second rank goes on over headings of the third.
        begin.starts_with("### ") || *end != "\n### "
    });
    let end = ends
        .filter_map(|end| below.find(end))
        .min()
        .unwrap_or(below.len());
    &below[..end]
}

/// The keys in the first column of a section's tables.
fn keys(section: &str) -> BTreeSet<String> {
    let first_columns = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let keys = first_columns
        .filter_map(|row| row.split_once("` |"))
        .map(|(key, _)| key);
    keys.filter(|key| !key.contains('`'))
        .map(str::to_owned)
        .collect()
}

/// The keys of a source file's messages: the names of their fields, or what they are renamed to.
fn fields(file: &str) -> BTreeSet<String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("crates/protocol/src");
    let source = std::fs::read_to_string(root.join(file)).unwrap();
    let mut renamed = None;
    let mut fields = BTreeSet::new();
    for line in source.lines() {
        if let Some((_, name)) = line.split_once("rename = \"") {
            renamed = name.split('"').next();
        }
        let field = line
            .strip_prefix("    pub ")
            .and_then(|line| line.split_once(": "));
        if let Some((name, _)) = field.filter(|(name, _)| !name.contains(' ')) {
            fields.insert(renamed.take().unwrap_or(name).to_owned());
        }
    }
    fields
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
