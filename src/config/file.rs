//! The configuration file: TOML, one key per setting.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::Value;
use super::key::Key;
use super::origin::Origin;
use crate::exit::{Exit, stop};

/// What a file says.
///
/// # Errors
/// Exit code 2 where it cannot be read, with all lines that are wrong.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<(Key, Value)>> {
    let wrong = |why: &dyn std::fmt::Display| {
        let message = format!("cannot use the configuration {}: {why}", path.display());
        stop(Exit::Usage, message)
    };
    let unread = |error: std::io::Error| wrong(&format!("{error}; name another (--config)"));
    let text = std::fs::read_to_string(path).map_err(unread)?;
    settings(&text).map_err(|why| wrong(&why.join("; ")))
}

/// What `text` says, or every reason why it cannot be meant.
fn settings(text: &str) -> Result<Vec<(Key, Value)>, Vec<String>> {
    let line = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    let table = DeTable::parse(text).map_err(|error| {
        let place = error.span().map_or(0, |span| span.start);
        let next = "a line is written KEY = VALUE, `corelog config show` lists the keys";
        vec![format!("line {}: {}; {next}", line(place), error.message())]
    })?;
    let (mut said, mut wrong) = (Vec::new(), Vec::new());
    for (name, value) in table.get_ref() {
        let line = line(name.span().start);
        match setting(name.get_ref(), value.get_ref()) {
            Ok((key, text)) => {
                let origin = Origin::File { line };
                said.push((key, Value { text, origin }));
            }
            Err(why) => wrong.push((line, why)),
        }
    }
    if wrong.is_empty() {
        return Ok(said);
    }
    wrong.sort();
    let tell = |(line, why)| format!("line {line}: {why}");
    Err(wrong.into_iter().map(tell).collect())
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
        settings(text).unwrap_err().join("; ")
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
        let said = settings("cores = 0x10\nconnections-max = 1_000\ntail-memory = 1024\n").unwrap();
        let texts: Vec<&str> = said.iter().map(|(_, value)| value.text.as_str()).collect();
        assert!(texts.contains(&"16"), "{texts:?}");
        assert!(texts.contains(&"1000"), "{texts:?}");
        assert!(texts.contains(&"1KiB"), "{texts:?}");
    }
}
