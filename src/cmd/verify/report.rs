//! What a check found, as lines for people or for programs.

use std::time::Duration;

use corelog_storage::verify::{Checked, Finding, Grade};
use serde_json::json;

use crate::exit::Exit;
use crate::output::{Format, Out};
use crate::quantity::Amount;

/// A report in the making.
pub(super) struct Report {
    format: Format,
    is_live: bool,
    partitions: usize,
    bytes: u64,
    batches: u64,
    records: u64,
    /// How many findings of each grade.
    damage: u64,
    unread: u64,
    differences: u64,
    notes: u64,
}

impl Report {
    /// A report on so many partitions, of a directory that a server may have in use.
    pub(super) fn new(format: Format, is_live: bool, partitions: usize) -> Self {
        Self {
            format,
            is_live,
            partitions,
            bytes: 0,
            batches: 0,
            records: 0,
            damage: 0,
            unread: 0,
            differences: 0,
            notes: 0,
        }
    }

    /// Takes in what the check of a store came to.
    pub(super) fn take(&mut self, checked: &Checked, out: &mut Out) -> anyhow::Result<()> {
        self.bytes += checked.bytes;
        self.batches += checked.batches;
        self.records += checked.records;
        for finding in &checked.findings {
            self.add(finding, out)?;
        }
        // Whoever waits for findings sees them as they come.
        if !checked.findings.is_empty() {
            out.flush()?;
        }
        Ok(())
    }

    /// Prints a finding.
    pub(super) fn add(&mut self, finding: &Finding, out: &mut Out) -> anyhow::Result<()> {
        let grade = finding.what.grade();
        match grade {
            Grade::Damage => self.damage += 1,
            Grade::Unread => self.unread += 1,
            Grade::Difference => self.differences += 1,
            Grade::Note => self.notes += 1,
        }
        let advice = finding.what.advice();
        if self.format == Format::Json {
            return out.json(&json!({
                "grade": grade.to_string(),
                "what": finding.what.as_str(),
                "file": finding.file.display().to_string(),
                "position": finding.position,
                "from": finding.offsets.as_ref().map(|offsets| offsets.start.get()),
                "to": finding.offsets.as_ref().map(|offsets| offsets.end.get()),
                "expected": finding.expected,
                "found": finding.found,
                "advice": advice,
            }));
        }
        let mut place = finding.file.display().to_string();
        if let Some(position) = finding.position {
            place.push_str(&format!(" at {position}"));
        }
        if let Some(offsets) = &finding.offsets {
            place.push_str(&format!(", offsets [{}, {})", offsets.start, offsets.end));
        }
        let (what, expected, found) = (finding.what.as_str(), &finding.expected, &finding.found);
        out.line(&format!("{grade}: {what}: {place}"))?;
        out.line(&format!("  found {found}, expected {expected}"))?;
        out.line(&format!("  {advice}"))
    }

    /// Prints the summary.
    pub(super) fn end(
        &mut self,
        stores: usize,
        took: Duration,
        out: &mut Out,
    ) -> anyhow::Result<()> {
        let Self {
            is_live,
            partitions,
            bytes,
            batches,
            records,
            damage,
            unread,
            differences,
            notes,
            ..
        } = *self;
        if self.format == Format::Json {
            return out.json(&json!({ "summary": {
                "partitions": partitions,
                "stores": stores,
                "bytes": bytes,
                "batches": batches,
                "records": records,
                "damage": damage,
                "unread": unread,
                "differences": differences,
                "notes": notes,
                "seconds": took.as_secs_f64(),
                "is_live": is_live,
            }}));
        }
        if is_live {
            out.line(
                "a server has the directory in use: active segments were checked up to their marks",
            )?;
        }
        let rate = u128::from(bytes) * 1_000_000_000 / took.as_nanos().max(1);
        let rate = Amount(u64::try_from(rate).unwrap_or(u64::MAX));
        let (read, seconds) = (Amount(bytes), took.as_secs_f64());
        out.line(&format!(
            "{partitions} partitions, {stores} stores, {batches} batches, {records} records: \
             {read} in {seconds:.2} s ({rate}/s)"
        ))?;
        out.line(&format!(
            "{damage} damage, {unread} unread, {differences} differences, {notes} notes"
        ))
    }

    /// How the command ends.
    pub(super) fn exit(&self) -> Exit {
        match (self.damage + self.differences, self.unread) {
            (0, 0) => Exit::Done,
            (0, _) => Exit::Failed,
            _ => Exit::Damage,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use corelog_storage::verify::What;

    use super::*;

    /// It ended the process, before it had told of any.
    #[test]
    fn what_is_found_below_a_path_that_is_no_text_is_told() {
        let mut report = Report::new(Format::Json, false, 1);
        let finding = Finding {
            what: What::Batch,
            file: OsStr::from_bytes(b"\xff").into(),
            position: None,
            offsets: None,
            expected: String::new(),
            found: String::new(),
        };
        report.add(&finding, &mut Out::while_read()).unwrap();
        assert_eq!(report.exit(), Exit::Damage);
    }
}
