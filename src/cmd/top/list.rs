//! Which rows of a view are shown, and in which order.

use std::cmp::Ordering;

use super::state::Sheet;
use super::view::{Row, Scope};

/// The rows that are meant, in the order of the sheet.
pub(super) fn list<'a, R: Row>(rows: &'a [R], sheet: &Sheet, scope: Option<&Scope>) -> Vec<&'a R> {
    let in_scope = |row: &&R| scope.is_none_or(|scope| row.is_within(scope));
    let is_meant = |row: &&R| sheet.filter.is_empty() || is_found(*row, &sheet.filter);
    let mut listed: Vec<&R> = rows.iter().filter(in_scope).filter(is_meant).collect();
    listed.sort_by(|a, b| order(*a, *b, sheet));
    listed
}

/// By the column of the sheet; what is equal there by its name, which the first two columns are.
fn order<R: Row>(a: &R, b: &R, sheet: &Sheet) -> Ordering {
    let by = |index: usize, is_reversed: bool| {
        let Some(column) = R::COLUMNS.get(index) else {
            return Ordering::Equal;
        };
        let is_reversed = is_reversed != column.is_ascending;
        (column.value)(a).order(&(column.value)(b), is_reversed)
    };
    by(sheet.sort, sheet.is_reversed)
        .then_with(|| by(0, false))
        .then_with(|| by(1, false))
}

fn is_found<R: Row>(row: &R, filter: &str) -> bool {
    let wanted = filter.as_bytes();
    let has = |words: &str| {
        let mut places = words.as_bytes().windows(wanted.len());
        places.any(|place| place.eq_ignore_ascii_case(wanted))
    };
    row.words().into_iter().any(has)
}
