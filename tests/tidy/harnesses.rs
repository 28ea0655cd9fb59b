//! What the harnesses below `bench/` ask of the program.

use crate::source;

/// Two of them ended at their second turn: a topic that has records is written to only with consent, also one that they made
/// themselves.
#[test]
fn each_load_of_a_harness_consents_to_write_behind_what_is_there() {
    let (mut loads, mut wrong) = (0, Vec::new());
    for file in source::text_files() {
        if !file.path.starts_with("bench/") {
            continue;
        }
        for (index, line) in file.text.lines().enumerate() {
            for verb in ["produce", "latency", "mixed", "delivery"] {
                let ways = [
                    (format!("\"$CORELOG\" bench {verb} "), "--yes"),
                    (format!("\"bench\", \"{verb}\", "), "\"--yes\""),
                ];
                for (asked, consent) in ways {
                    let Some((_, options)) = line.split_once(&asked) else {
                        continue;
                    };
                    loads += 1;
                    if !options.starts_with(consent) {
                        let place = source::place(&file, index);
                        wrong.push(format!("{place}: begin its options with {consent}"));
                    }
                }
            }
        }
    }
    assert!(loads > 10, "the walk over the harnesses finds their loads");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
