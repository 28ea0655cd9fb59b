//! Facts and lists, shown as tables to people and as one JSON object to programs.

use serde_json::{Map, Value};

use crate::output::{Format, Out};

/// What there is to show: facts by name, then lists.
#[derive(Debug, Default)]
pub(super) struct Show {
    facts: Vec<(&'static str, Value)>,
    lists: Vec<List>,
}

#[derive(Debug)]
struct List {
    name: &'static str,
    columns: &'static [&'static str],
    rows: Vec<Vec<Value>>,
}

impl Show {
    /// Adds a fact; `null` where there is none.
    pub(super) fn fact(&mut self, name: &'static str, value: impl Into<Value>) -> &mut Self {
        self.facts.push((name, value.into()));
        self
    }

    /// Adds a list; each row has a value per column.
    pub(super) fn list(
        &mut self,
        name: &'static str,
        columns: &'static [&'static str],
        rows: Vec<Vec<Value>>,
    ) -> &mut Self {
        assert!(
            rows.iter().all(|row| row.len() == columns.len()),
            "{name}: a value per column"
        );
        self.lists.push(List {
            name,
            columns,
            rows,
        });
        self
    }

    /// Prints all of it.
    pub(super) fn print(&self, format: Format, out: &mut Out) -> anyhow::Result<()> {
        match format {
            Format::Table => self.print_tables(out),
            Format::Json => out.json(&self.to_json()),
        }
    }

    fn print_tables(&self, out: &mut Out) -> anyhow::Result<()> {
        let name = |name: &str| name.replace('_', " ");
        out.table(
            &[],
            self.facts
                .iter()
                .map(|(fact, value)| vec![name(fact), plain(value)]),
        )?;
        for list in self.lists.iter().filter(|list| !list.rows.is_empty()) {
            let headers: Vec<String> = list
                .columns
                .iter()
                .map(|c| name(c).to_uppercase())
                .collect();
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            out.line("")?;
            out.table(
                &headers,
                list.rows.iter().map(|row| row.iter().map(plain).collect()),
            )?;
        }
        Ok(())
    }

    /// All of it as one object.
    pub(super) fn to_json(&self) -> Value {
        let facts = self
            .facts
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        let mut object: Map<String, Value> = facts.collect();
        for list in &self.lists {
            let row = |row: &Vec<Value>| {
                let fields = list.columns.iter().zip(row);
                fields
                    .map(|(column, value)| ((*column).to_owned(), value.clone()))
                    .collect()
            };
            let rows: Vec<Map<String, Value>> = list.rows.iter().map(row).collect();
            object.insert(list.name.to_owned(), rows.into());
        }
        Value::Object(object)
    }
}

/// A value as people read it: text without quotes, nothing as `-`.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_arrays_of_objects() {
        let mut show = Show::default();
        show.fact("log_start", 7).fact("mark", Value::Null);
        show.list(
            "segments",
            &["base", "bytes"],
            vec![vec![0.into(), 4096.into()]],
        );
        let text = show.to_json().to_string();
        assert_eq!(
            text,
            r#"{"log_start":7,"mark":null,"segments":[{"base":0,"bytes":4096}]}"#
        );
    }
}
