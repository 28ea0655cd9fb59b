//! The names of a segment's files.
//!
//! ```text
//! 00000000000000001234.log      store, generation 0, of the segment based at offset 1234
//! 00000000000000001234.2.log    its generation 2, made by a cut or a repair
//! 00000000000000001234.index    index of generation 0
//! ```

use corelog_record::Offset;

/// The name under which the next segment's store is prepared.
pub(crate) const NEXT: &str = "next";

/// The name of a store.
#[must_use]
pub fn store(base: Offset, generation: u32) -> String {
    file(base, generation, "log")
}

/// The name of an index.
pub(crate) fn index(base: Offset, generation: u32) -> String {
    file(base, generation, "index")
}

/// The names of both files of a segment.
pub(crate) fn files(base: Offset, generation: u32) -> [String; 2] {
    [store(base, generation), index(base, generation)]
}

/// Whether `name` is of the form that this program gives to stores.
#[must_use]
pub fn is_store(name: &str) -> bool {
    name.strip_suffix(".log").is_some_and(is_stem)
}

/// Whether `name` is of the form that this program gives to indexes.
pub(crate) fn is_index(name: &str) -> bool {
    name.strip_suffix(".index").is_some_and(is_stem)
}

/// The base offset in the name of a store.
pub(crate) fn base(name: &str) -> Option<Offset> {
    let base = name.get(..20).filter(|_| is_store(name))?;
    Offset::new(base.parse().ok()?)
}

/// The base offset and the generation in the name of a store.
pub(crate) fn parse(name: &str) -> Option<(Offset, u32)> {
    let stem = name.strip_suffix(".log")?;
    let generation = match stem.split_once('.') {
        None => 0,
        Some((_base, generation)) => generation.parse().ok().filter(|number| *number > 0)?,
    };
    Some((base(name)?, generation))
}

fn file(base: Offset, generation: u32, suffix: &str) -> String {
    let base = base.get();
    match generation {
        0 => format!("{base:020}.{suffix}"),
        _ => format!("{base:020}.{generation}.{suffix}"),
    }
}

fn is_stem(stem: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match stem.split_once('.') {
        None => stem.len() == 20 && is_number(stem),
        Some((base, generation)) => base.len() == 20 && is_number(base) && is_number(generation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_base_and_generation_zero_carries_no_number() {
        let base = Offset::new(1234).unwrap();
        assert_eq!(store(base, 0), "00000000000000001234.log");
        assert_eq!(store(base, 2), "00000000000000001234.2.log");
        assert_eq!(index(base, 0), "00000000000000001234.index");
    }

    #[test]
    fn only_names_of_this_form_are_ours() {
        assert!(is_store("00000000000000001234.log"));
        assert!(is_store("00000000000000001234.2.log"));
        assert!(is_index("00000000000000001234.index"));
        for name in [
            "next",
            "1234.log",
            "00000000000000001234.x.log",
            "notes.log",
            ".log",
            "+0000000000000000123.log",
            "00000000000000001234.+2.log",
            "00000000000000001234.2.2.log",
        ] {
            assert!(!is_store(name), "{name}");
        }
    }
}
