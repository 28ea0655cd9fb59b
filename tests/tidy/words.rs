//! What no text of the repository says: places of someone's machine, and promises without a name.

use crate::source;

#[test]
fn no_text_names_a_workplace() {
    // Put together here so that this file does not say them itself.
    let words = [
        concat!("/wo", "rk/"),
        concat!("/ho", "me/"),
        concat!("DESIGN", ".md"),
        concat!("STYLE", ".md"),
        concat!("GLOMMIO", ".md"),
        concat!("ANCHORS", ".md"),
        concat!("CONTRACT", ".md"),
    ];
    let mut wrong = Vec::new();
    for file in source::text_files() {
        for (index, line) in file.text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                wrong.push(format!("{}: says {word}", source::place(&file, index)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_left_to_do_has_a_name_beside_it() {
    let nameless = [
        concat!("FIX", "ME"),
        concat!("X", "XX"),
        concat!("HA", "CK"),
    ];
    let todo = concat!("TO", "DO");
    for file in source::rust_files() {
        for (index, line) in file.text.lines().enumerate() {
            let place = source::place(&file, index);
            let has_nameless = nameless.iter().any(|word| source::has_word(line, word));
            assert!(
                !has_nameless,
                "{place}: write {todo}(name): with a condition for its end"
            );
            if source::has_word(line, todo) {
                assert!(
                    line.contains(&format!("{todo}(")),
                    "{place}: a {todo} names its owner"
                );
            }
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    for file in source::text_files()
        .iter()
        .filter(|file| file.path.ends_with(".md"))
    {
        let dir = source::root().join(&file.path);
        let dir = dir.parent().unwrap();
        for (index, line) in file.text.lines().enumerate() {
            for target in links(line) {
                if !dir.join(&target).exists() {
                    wrong.push(format!(
                        "{}: {target} is not there",
                        source::place(file, index)
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The relative targets of `[text](target#anchor)` in a line.
fn links(line: &str) -> Vec<String> {
    let after = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'));
    let paths = after.map(|(target, _)| target.split('#').next().unwrap_or("").to_owned());
    paths
        .filter(|path| !path.is_empty() && !path.contains("://"))
        .collect()
}
