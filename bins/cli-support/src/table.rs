//! Tables with aligned columns, for a terminal.

use std::fmt;
use unicode_width::UnicodeWidthStr;

/// Width, in columns, of output that does not go to a terminal.
const DEFAULT_WIDTH: usize = 120;

/// Width in columns that must remain for the last column; a narrower one is not wrapped.
const MIN_WRAP_WIDTH: usize = 24;

/// A table of rows under headings, aligned when displayed. The last column is wrapped at the width of the terminal.
///
/// ```
/// use cli_support::table::Table;
///
/// let mut table = Table::new(["NAME", "OWNER"]);
/// table.row(["vaultwarden", "vaultwarden"]);
/// table.row(["forgejo", "git"]);
/// assert_eq!(table.to_string(), "NAME         OWNER\nvaultwarden  vaultwarden\nforgejo      git\n");
/// ```
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
    width: usize,
}

impl Table {
    /// Creates a table with headings, as wide as the terminal on standard output, or 120 columns if it is not a
    /// terminal.
    pub fn new<I>(headings: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let width = terminal_size::terminal_size_of(std::io::stdout())
            .map_or(DEFAULT_WIDTH, |(terminal_size::Width(width), _)| width.into());
        Self { rows: vec![headings.into_iter().map(Into::into).collect()], width }
    }

    /// Sets the width of the whole table, in columns.
    #[must_use]
    pub fn width(mut self, columns: usize) -> Self {
        self.width = columns;
        self
    }

    /// Adds a row. Missing cells are empty; a row with more cells than the headings adds columns.
    pub fn row<I>(&mut self, cells: I)
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Returns `true` if the table has no rows besides the headings.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// Returns the width of each column in terminal columns, that of its widest cell, headings included.
    fn columns(&self) -> Vec<usize> {
        let count = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        (0..count)
            .map(|at| {
                self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.width()).max().unwrap_or(0)
            })
            .collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.columns();
        let Some((_, before)) = columns.split_last() else { return Ok(()) };
        let indent: usize = before.iter().map(|width| width + 2).sum();
        let room = self.width.saturating_sub(indent);
        for row in &self.rows {
            let mut line = String::new();
            for (at, width) in before.iter().enumerate() {
                let cell = row.get(at).map_or("", String::as_str);
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width - cell.width() + 2));
            }
            let last = row.get(before.len()).map_or("", String::as_str);
            for (number, part) in wrap(last, room).iter().enumerate() {
                if number > 0 {
                    line.clear();
                    line.extend(std::iter::repeat_n(' ', indent));
                }
                line.push_str(part);
                writeln!(f, "{}", line.trim_end())?;
            }
        }
        Ok(())
    }
}

/// Splits text at line feeds, and wraps each line to at most `room` columns at spaces only: a longer word, such as a
/// path, is not broken, so that it can be copied. Lines are not wrapped if `room` is below [`MIN_WRAP_WIDTH`].
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        if room < MIN_WRAP_WIDTH || paragraph.width() <= room {
            lines.push(paragraph.to_owned());
            continue;
        }
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.width() + 1 + word.width() > room {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_column_is_wrapped_under_itself() {
        let mut table = Table::new(["A", "WHAT"]).width(30);
        table.row(["x", "one two three four five six seven"]);
        assert_eq!(table.to_string(), "A  WHAT\nx  one two three four five six\n   seven\n");
    }

    proptest! {
        #[test]
        fn nothing_is_lost(cells in proptest::collection::vec("[a-zé ]{0,40}", 2..10), width in 0usize..100) {
            let mut table = Table::new(["A", "B"]).width(width);
            for pair in cells.chunks(2) {
                table.row(pair.iter().cloned());
            }
            let shown: String = table.to_string().chars().filter(|c| !c.is_whitespace()).collect();
            let given: String =
                cells.iter().flat_map(|cell| cell.chars()).filter(|c| !c.is_whitespace()).collect();
            // Wrapping moves words of the last column down, never out of order, so comparing the joined text is enough.
            let count = |text: &str| { let mut all: Vec<char> = text.chars().collect(); all.sort_unstable(); all };
            prop_assert_eq!(count(&shown), count(&format!("AB{given}")));
        }
    }
}
