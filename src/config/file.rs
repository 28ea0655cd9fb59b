//! The configuration file: TOML, one key per setting.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::key::Key;
use super::origin::Origin;
use super::{Value, Wrong};

/// What a file says, and what is wrong with it: all of its lines that are.
pub(super) fn read(path: &Path) -> (Vec<(Key, Value)>, Option<Wrong>) {
    let wrong = |keys, why: String| Wrong {
        keys,
        why: format!("cannot use the configuration {}: {why}", path.display()),
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let why = format!("{error}; name another (--config)");
            return (Vec::new(), Some(wrong(Key::all().collect(), why)));
        }
    };
    let told = Told::of(&text);
    let why = (!told.wrong.is_empty()).then(|| wrong(told.doubtful, told.wrong.join("; ")));
    (told.settings, why)
}

/// What a text says.
struct Told {
    settings: Vec<(Key, Value)>,
    /// Why lines are wrong, from the first on.
    wrong: Vec<String>,
    /// What they may be about.
    doubtful: Vec<Key>,
}

impl Told {
    fn of(text: &str) -> Self {
        let line = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        let mut told = Self {
            settings: Vec::new(),
            wrong: Vec::new(),
            doubtful: Vec::new(),
        };
        let table = match DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => {
                let place = line(error.span().map_or(0, |span| span.start));
                let next = "a line is written KEY = VALUE, `corelog config show` lists the keys";
                let why = format!("line {place}: {}; {next}", error.message());
                told.wrong.push(why);
                told.doubtful.extend(Key::all());
                return told;
            }
        };
        let mut wrong = Vec::new();
        for (name, value) in table.get_ref() {
            let line = line(name.span().start);
            match setting(name.get_ref(), value.get_ref()) {
                Ok((key, text)) => {
                    let origin = Origin::File { line };
                    told.settings.push((key, Value { text, origin }));
                }
                Err(why) => {
                    wrong.push((line, why));
                    told.doubtful.extend(Key::nearest(name.get_ref()));
                }
            }
        }
        wrong.sort();
        let tell = |(line, why)| format!("line {line}: {why}");
        told.wrong.extend(wrong.into_iter().map(tell));
        told
    }
}

fn setting(name: &str, value: &DeValue<'_>) -> Result<(Key, String), String> {
    let key = Key::named(name).ok_or_else(|| unknown(name))?;
    let text = match value {
        DeValue::String(text) => text.clone().into_owned(),
        DeValue::Boolean(is_so) => is_so.to_string(),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => number.to_string(),
            Err(_) => number.to_string(),
        },
        other => {
            let kind = other.type_str();
            return Err(format!("{name}: a text or a number is wanted, not: {kind}"));
        }
    };
    let read = key.form().read(&text);
    read.map(|text| (key, text))
        .map_err(|why| format!("{name}: {why}"))
}

fn unknown(name: &str) -> String {
    match Key::nearest(name) {
        Some(key) => format!("there is no key `{name}`, did you mean `{}`?", key.name()),
        None => {
            let keys: Vec<String> = Key::all().map(Key::name).collect();
            format!("there is no key `{name}`, only {}", keys.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        Told::of(text).wrong.join("; ")
    }

    #[test]
    fn a_key_that_is_none_is_named_with_its_line_and_the_nearest_one() {
        let said = wrong("cores = 1\n\n# a comment\ndata_dir = '/x'\n");
        assert_eq!(
            said,
            "line 4: there is no key `data_dir`, did you mean `data-dir`?"
        );
        let said = wrong("[retention]\nage = '7d'\n");
        assert!(said.starts_with("line 1: there is no key `retention`, only data-dir,"));
    }

    #[test]
    fn every_wrong_line_is_told_at_once() {
        let said = wrong("listen = 7400\ncores = 'two'\nadmin = [1]\nadvertize = 'x'\n");
        for place in ["line 1: listen", "line 2: cores", "line 3: admin", "line 4"] {
            assert!(said.contains(place), "{said}");
        }
        assert!(said.contains("did you mean `advertise`?"), "{said}");
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        for text in ["cores = 1\ncores = 2\n", "cores = 1\nlisten = \n"] {
            let said = wrong(text);
            assert!(said.starts_with("line 2: "), "{said}");
        }
    }

    #[test]
    fn numbers_may_be_written_as_toml_has_them() {
        let told = Told::of("cores = 0x10\nconnections-max = 1_000\ntail-memory = 1024\n");
        let settings = told.settings.iter();
        let texts: Vec<&str> = settings.map(|(_, value)| value.text.as_str()).collect();
        assert!(texts.contains(&"16"), "{texts:?}");
        assert!(texts.contains(&"1000"), "{texts:?}");
        assert!(texts.contains(&"1KiB"), "{texts:?}");
    }
}
