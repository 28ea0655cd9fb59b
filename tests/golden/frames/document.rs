//! Reads the examples out of PROTOCOL.md.

use std::collections::BTreeMap;

/// The blocks fenced as `hex NAME`, as bytes; what follows a `;` on a line is for people.
pub(super) fn examples(page: &str) -> BTreeMap<String, Vec<u8>> {
    let mut examples = BTreeMap::new();
    for (name, lines) in blocks(page, "```hex ") {
        let digits: String = lines
            .iter()
            .flat_map(|line| line.split(';').next())
            .flat_map(|hex| hex.chars().filter(|c| !c.is_whitespace()))
            .collect();
        assert!(
            examples.insert(name.clone(), bytes(&digits)).is_none(),
            "{name} stands twice"
        );
    }
    examples
}

/// The lines `name = value` of the blocks fenced as `facts`.
pub(super) fn facts(page: &str) -> BTreeMap<String, String> {
    blocks(page, "```facts")
        .into_iter()
        .flat_map(|(_, lines)| lines)
        .map(|line| line.split_once('=').expect("a fact has a value"))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

fn blocks<'a>(page: &'a str, fence: &str) -> Vec<(String, Vec<&'a str>)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix(fence) {
            let inside = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((name.to_owned(), inside));
        }
    }
    blocks
}

fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
