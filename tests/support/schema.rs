//! JSON Schema (draft 2020-12), as far as the schemas in `tests/schemas` use it. A word that is not
//! known here fails, so that none is written there and not checked.
//!
//! The crates for it bring dozens of others, and switch on another way to read numbers in the binary
//! that is tested.

use base64::Engine as _;
use serde_json::Value;

/// What is wrong with a value, by a path to it; nothing if it is as `schema` says. `root` is what
/// references are looked up in.
pub(crate) fn faults(root: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    Check { root }.all(schema, value, "", &mut faults);
    faults
}

struct Check<'a> {
    root: &'a Value,
}

impl Check<'_> {
    fn all(&self, schema: &Value, value: &Value, path: &str, faults: &mut Vec<String>) {
        for (keyword, says) in schema.as_object().unwrap() {
            let is_right = match keyword.as_str() {
                "$schema" | "$defs" | "title" | "description" => true,
                "$ref" => {
                    let pointer = says
                        .as_str()
                        .and_then(|text| text.strip_prefix('#'))
                        .unwrap();
                    let named = self.root.pointer(pointer);
                    let named = named.unwrap_or_else(|| panic!("{says} names nothing"));
                    self.all(named, value, path, faults);
                    true
                }
                "type" => match says {
                    Value::Array(types) => types.iter().any(|one| is_of(value, one)),
                    one => is_of(value, one),
                },
                "enum" => says.as_array().unwrap().contains(value),
                "const" => says == value,
                "minimum" => value
                    .as_f64()
                    .is_none_or(|number| number >= says.as_f64().unwrap()),
                "format" => value.as_str().is_none_or(|text| is_formatted(text, says)),
                "contentEncoding" => value.as_str().is_none_or(|text| is_encoded(text, says)),
                "anyOf" => self.is_any(says, value, path),
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.all(says, item, &format!("{path}/{index}"), faults);
                    }
                    true
                }
                "properties" => {
                    for (name, schema) in says.as_object().unwrap() {
                        if let Some(value) = value.get(name) {
                            self.all(schema, value, &format!("{path}/{name}"), faults);
                        }
                    }
                    true
                }
                "required" => {
                    let names = says.as_array().unwrap().iter();
                    let mut names = names.map(|name| name.as_str().unwrap());
                    names.all(|name| !value.is_object() || value.get(name).is_some())
                }
                "additionalProperties" => {
                    assert_eq!(*says, Value::Bool(false), "{keyword}");
                    let mut fields = value.as_object().into_iter().flatten();
                    fields.all(|(name, _)| schema["properties"].get(name).is_some())
                }
                unknown => panic!("{unknown} is not checked: teach it to tests/support/schema.rs"),
            };
            if !is_right {
                faults.push(format!("{path}: not as {keyword} says ({says}): {value}"));
            }
        }
    }

    fn is_any(&self, schemas: &Value, value: &Value, path: &str) -> bool {
        schemas.as_array().unwrap().iter().any(|schema| {
            let mut faults = Vec::new();
            self.all(schema, value, path, &mut faults);
            faults.is_empty()
        })
    }
}

fn is_of(value: &Value, kind: &Value) -> bool {
    match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        unknown => panic!("{unknown} is no type"),
    }
}

/// `2026-01-31T12:00:00.000Z`, whatever its digits.
fn is_formatted(text: &str, format: &Value) -> bool {
    assert_eq!(format, "date-time");
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    shape == "0000-00-00T00:00:00.000Z"
}

fn is_encoded(text: &str, encoding: &Value) -> bool {
    assert_eq!(encoding, "base64");
    base64::prelude::BASE64_STANDARD.decode(text).is_ok()
}
