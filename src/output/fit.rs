//! Tables and text that are wider than a terminal.

use std::collections::HashSet;

/// Between two columns.
pub(super) const GAP: &str = "  ";

/// A last column that is narrower than this is not worth reading in several lines.
const LAST_MIN: usize = 32;

/// A name that is cut to less than this is not worth telling from others.
const NAME_MIN: usize = 24;

/// How wide each column is.
pub(super) fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &Vec<String>, column: usize| row.get(column).map_or(0, |c| c.chars().count());
    let width = |column| rows.iter().map(|row| cell(row, column)).max().unwrap_or(0);
    (0..columns).map(width).collect()
}

/// The rows, as one table or several below each other, no wider than `room` if that can be had.
pub(super) fn fit(rows: Vec<Vec<String>>, room: usize) -> Vec<Vec<Vec<String>>> {
    let names = names(&rows);
    let rows = cut(rows, names, room);
    let widths = widths(&rows);
    let up_to = |end: usize| {
        widths[..end]
            .iter()
            .map(|width| width + GAP.len())
            .sum::<usize>()
    };
    let Some(last) = widths.len().checked_sub(1) else {
        return vec![rows];
    };
    if up_to(last) + widths[last] <= room {
        return vec![rows];
    }
    if LAST_MIN < widths[last] && up_to(last) + LAST_MIN <= room {
        return vec![wrapped(&rows, last, room - up_to(last))];
    }
    let groups = groups(&widths, names, room);
    let of_group = |columns: &Vec<usize>| {
        let cells = |row: &Vec<String>| {
            let cell = |column: &usize| row.get(*column).cloned().unwrap_or_default();
            columns.iter().map(cell).collect()
        };
        rows.iter().map(cells).collect()
    };
    groups.iter().map(of_group).collect()
}

/// The rows with their long names cut, if even below each other no columns would fit beside the first `names`: as little as
/// leaves room for all of them side by side, if that can be had. A last column is not cut: it may be an id.
fn cut(rows: Vec<Vec<String>>, names: usize, room: usize) -> Vec<Vec<String>> {
    let widths = widths(&rows);
    let Some((&last, others)) = widths.split_last() else {
        return rows;
    };
    let last = last.min(LAST_MIN);
    let (named, beside) = others.split_at(names.min(others.len()));
    let named: usize = named.iter().map(|width| width + GAP.len()).sum();
    let widest = beside.iter().fold(last, |widest, width| widest.max(*width));
    if named + widest <= room {
        return rows;
    }
    let up_to_last = |cap: usize| {
        let widths = others.iter().map(|width| width.min(&cap) + GAP.len());
        widths.sum::<usize>()
    };
    let mut caps = (NAME_MIN..room).rev();
    let cap = caps.find(|cap| up_to_last(*cap) + last <= room);
    let cap = cap.unwrap_or(NAME_MIN);
    let cells = |row: Vec<String>| {
        let cells = row.into_iter().enumerate();
        cells
            .map(|(column, cell)| match column < others.len() {
                true => shortened(cell, cap),
                false => cell,
            })
            .collect()
    };
    rows.into_iter().map(cells).collect()
}

/// The text, or its begin and its end if it has more than `width` characters: names often begin alike.
fn shortened(text: String, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text;
    }
    let tail = width.saturating_sub(1) / 2;
    let head = width.saturating_sub(1) - tail;
    let begin = text.chars().take(head);
    let end = text.chars().skip(count - tail);
    begin.chain(['…']).chain(end).collect()
}

/// The rows with the column `last` in lines of at most `width`, each below the other.
fn wrapped(rows: &[Vec<String>], last: usize, width: usize) -> Vec<Vec<String>> {
    let mut wrapped = Vec::new();
    for row in rows {
        let Some(text) = row.get(last) else {
            wrapped.push(row.clone());
            continue;
        };
        let mut start = row[..last].to_vec();
        for line in lines(text, width) {
            wrapped.push([&start[..], &[line]].concat());
            start.fill(String::new());
        }
    }
    wrapped
}

/// The text in lines of at most `width` characters, but for words that are longer.
pub(crate) fn lines(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().filter(|line| {
            line.is_empty() || line.chars().count() + 1 + word.chars().count() <= width
        });
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// How many of the first columns it takes to tell the rows apart; one, if all of them do not.
fn names(rows: &[Vec<String>]) -> usize {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let is_enough = |count: &usize| {
        let names: HashSet<_> = rows
            .iter()
            .map(|row| &row[..row.len().min(*count)])
            .collect();
        names.len() == rows.len()
    };
    (1..columns).find(is_enough).unwrap_or(1)
}

/// Which columns go together: each group begins with the first `names`, which name the row.
fn groups(widths: &[usize], names: usize, room: usize) -> Vec<Vec<usize>> {
    let first: Vec<usize> = (0..names).collect();
    let named: usize = widths[..names].iter().sum::<usize>() + GAP.len() * (names - 1);
    let mut groups = vec![first.clone()];
    let mut used = named;
    for (column, width) in widths.iter().enumerate().skip(names) {
        let wider = used + GAP.len() + width;
        match groups.last_mut() {
            Some(group) if wider <= room || group.len() == names => {
                group.push(column);
                used = wider;
            }
            _ => {
                groups.push([&first[..], &[column]].concat());
                used = named + GAP.len() + width;
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(of: &[&[&str]]) -> Vec<Vec<String>> {
        let row = |row: &&[&str]| row.iter().map(|cell| (*cell).to_owned()).collect();
        of.iter().map(row).collect()
    }

    #[test]
    fn what_fits_stays_one_table() {
        let table = rows(&[&["A", "B"], &["1", "22"]]);
        assert_eq!(fit(table.clone(), 5), vec![table]);
        assert_eq!(fit(rows(&[&[]]), 5), vec![rows(&[&[]])]);
    }

    #[test]
    fn columns_that_do_not_fit_go_below_beside_the_first() {
        let table = rows(&[&["PART", "END", "STATE"], &["0", "1000", "ok"], &["1"]]);
        let below = [
            rows(&[&["PART", "END"], &["0", "1000"], &["1", ""]]),
            rows(&[&["PART", "STATE"], &["0", "ok"], &["1", ""]]),
        ];
        assert_eq!(fit(table.clone(), 12), below);
        // However narrow it is.
        assert_eq!(fit(table, 1), below);
    }

    #[test]
    fn rows_of_one_topic_are_named_by_their_partition_too() {
        let table = rows(&[
            &["T", "P", "END", "STATE"],
            &["t", "0", "1000", "ok"],
            &["t", "1"],
        ]);
        let below = [
            rows(&[&["T", "P", "END"], &["t", "0", "1000"], &["t", "1", ""]]),
            rows(&[&["T", "P", "STATE"], &["t", "0", "ok"], &["t", "1", ""]]),
        ];
        assert_eq!(fit(table, 12), below);
    }

    /// They were lines of 280 characters, which a terminal broke wherever it was.
    #[test]
    fn names_that_leave_no_room_beside_them_are_cut_in_the_middle() {
        let name = |end: &str| format!("{}{end}", "n".repeat(240));
        let names = ["-one", "-two"].map(name);
        let id = "0123456789abcdef0123456789abcdef";
        let table = rows(&[
            &["NAME", "PARTITIONS", "ID"],
            &[&names[0], "1", id],
            &[&names[1], "2", id],
        ]);
        let [begin, end] = ["n".repeat(17), "n".repeat(12)];
        let cut = ["-one", "-two"].map(|last| format!("{begin}…{end}{last}"));
        let fitting = rows(&[
            &["NAME", "PARTITIONS", "ID"],
            &[&cut[0], "1", id],
            &[&cut[1], "2", id],
        ]);
        assert_eq!(widths(&fitting), [34, 10, 32]);
        assert_eq!(fit(table.clone(), 80), [fitting]);
        // Below each other where they would be too short otherwise.
        let below = fit(table.clone(), 60);
        let below: Vec<_> = below.iter().map(|rows| widths(rows)).collect();
        assert_eq!(below, [[NAME_MIN, 10], [NAME_MIN, 32]]);
        assert_eq!(fit(table.clone(), 300), [table]);
    }

    #[test]
    fn a_name_is_cut_no_further_than_what_stands_beside_it_wants() {
        let name = "n".repeat(60);
        let table = rows(&[&["NAME", "PARTITIONS"], &[&name, "1"]]);
        assert_eq!(widths(&fit(table.clone(), 72)[0]), [60, 10]);
        assert_eq!(widths(&fit(table, 71)[0]), [59, 10]);
    }

    #[test]
    fn a_long_last_column_is_broken_between_words() {
        let text = "a sentence that is longer than there is room for it";
        let table = rows(&[&["NAME", "FOUND"], &["disk", text], &["clock", "good"]]);
        let broken = [rows(&[
            &["NAME", "FOUND"],
            &["disk", "a sentence that is longer than"],
            &["", "there is room for it"],
            &["clock", "good"],
        ])];
        assert_eq!(fit(table, 39), broken);
    }
}
