//! Table of roles, databases, client addresses and methods.

use pg_hba::{Address, ConnectionType, Database, Rule, User};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A table of access: rows are pairs of role and database, columns are connection type and client address, and a cell
/// has the methods of the rules, each with its line, in the order of the rules.
pub(crate) struct Matrix {
    columns: Vec<String>,
    rows: Vec<(String, String)>,
    cells: BTreeMap<(usize, usize), Vec<(String, u32)>>,
}

impl Matrix {
    /// Creates the table of some rules. Rows and columns are in the order of their first occurrence.
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let mut matrix = Self { columns: Vec::new(), rows: Vec::new(), cells: BTreeMap::new() };
        for rule in rules {
            let column = match (rule.connection, &rule.address) {
                (ConnectionType::Local, _) => "local".to_owned(),
                (kind, address) => format!("{kind} {}", place(address)),
            };
            let column = position(&mut matrix.columns, column);
            for user in &rule.users {
                for database in &rule.databases {
                    let row = position(&mut matrix.rows, (who(user), what(database)));
                    let cell = matrix.cells.entry((row, column)).or_default();
                    cell.push((rule.method.to_string(), rule.origin.line));
                }
            }
        }
        matrix
    }

    /// Returns the methods of a cell in the order of their rules, separated by commas. Empty if no rule is about it.
    fn cell(&self, row: usize, column: usize) -> String {
        let methods = self.cells.get(&(row, column)).map(Vec::as_slice).unwrap_or_default();
        methods.iter().map(|(method, _)| method.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Returns the cells as JSON, one object for each method.
    pub(crate) fn json(&self) -> serde_json::Value {
        let cells: Vec<_> = self
            .cells
            .iter()
            .flat_map(|((row, column), methods)| methods.iter().map(move |found| (row, column, found)))
            .map(|(row, column, (method, line))| {
                json!({"user": self.rows[*row].0, "database": self.rows[*row].1, "from": self.columns[*column],
                    "method": method, "line": line})
            })
            .collect();
        json!({ "cells": cells })
    }

    /// Returns the table as text with aligned columns: the headings `user`, `database` and the addresses, then a line
    /// for each row.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![vec!["user".to_owned(), "database".to_owned()]];
        lines[0].extend(self.columns.iter().cloned());
        for (row, (user, database)) in self.rows.iter().enumerate() {
            let mut line = vec![user.clone(), database.clone()];
            line.extend((0..self.columns.len()).map(|column| self.cell(row, column)));
            lines.push(line);
        }
        let widths: Vec<usize> = (0..lines[0].len())
            .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for line in &lines {
            let cells: Vec<String> =
                line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        text
    }

    /// Returns the table as an HTML page. A cell has the class of its first method.
    pub(crate) fn html(&self) -> String {
        let mut out = String::from(
            "<!doctype html>\n<meta charset=\"utf-8\">\n<title>Who may connect</title>\n<style>\n\
             body{font:14px/1.4 system-ui,sans-serif;margin:2rem}table{border-collapse:collapse}\n\
             th,td{border:1px solid #ccc;padding:.3rem .6rem;text-align:left}\n\
             .trust{background:#fde2cf}.reject{background:#e8e8e8}.strong{background:#d9f0dd}.weak{background:#fff3c4}\n\
             </style>\n<table>\n<tr><th>user<th>database",
        );
        self.columns
            .iter()
            .for_each(|column| write!(out, "<th>{}", escape(column)).expect("a string takes it"));
        out.push('\n');
        for (row, (user, database)) in self.rows.iter().enumerate() {
            write!(out, "<tr><td>{}<td>{}", escape(user), escape(database)).expect("a string takes it");
            for column in 0..self.columns.len() {
                let cell = self.cell(row, column);
                write!(out, "<td class=\"{}\">{}", css_class(&cell), escape(&cell))
                    .expect("a string takes it");
            }
            out.push('\n');
        }
        out.push_str("</table>\n");
        out
    }

    /// Returns the table as an SVG image. A cell has the colour of its first method.
    pub(crate) fn svg(&self) -> String {
        let (wide, high) = (150, 28);
        let columns: Vec<String> =
            ["user", "database"].into_iter().map(str::to_owned).chain(self.columns.iter().cloned()).collect();
        let (width, height) = (columns.len() * wide + 20, (self.rows.len() + 1) * high + 20);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"system-ui,sans-serif\" font-size=\"12\">\n\
             <title>Who may connect</title>\n"
        );
        let mut cell = |row: usize, column: usize, text: &str, bold: bool| {
            let (x, y) = (10 + column * wide, 10 + row * high);
            let fill = match css_class(text) {
                _ if bold => "#f4f4f4",
                "trust" => "#fde2cf",
                "reject" => "#e8e8e8",
                "strong" => "#d9f0dd",
                "weak" => "#fff3c4",
                _ => "#ffffff",
            };
            let weight = if bold { "bold" } else { "normal" };
            writeln!(
                out,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{high}\" fill=\"{fill}\" stroke=\"#ccc\"/>\
                 <text x=\"{}\" y=\"{}\" font-weight=\"{weight}\">{}</text>",
                x + 6,
                y + 18,
                escape(text)
            )
            .expect("a string takes it");
        };
        columns.iter().enumerate().for_each(|(column, text)| cell(0, column, text, true));
        for (row, (user, database)) in self.rows.iter().enumerate() {
            cell(row + 1, 0, user, true);
            cell(row + 1, 1, database, true);
            (0..self.columns.len())
                .for_each(|column| cell(row + 1, column + 2, &self.cell(row, column), false));
        }
        out.push_str("</svg>\n");
        out
    }
}

/// Returns the index of an item in a list, to which it is appended if it is missing.
fn position<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|known| *known == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

/// Returns the CSS class of a cell by its first method: `none` without one, `trust`, `reject`, `weak` for md5, password
/// and ident, else `strong`.
fn css_class(cell: &str) -> &'static str {
    match cell.split(',').next().unwrap_or_default() {
        "" => "none",
        "trust" => "trust",
        "reject" => "reject",
        "md5" | "password" | "ident" => "weak",
        _ => "strong",
    }
}

/// Returns the address field of a rule without quotes.
fn place(address: &Address) -> String {
    match address {
        Address::All => "all".to_owned(),
        Address::Host(name) => name.clone(),
        Address::Network(network) => network.to_string(),
        Address::SameHost => "samehost".to_owned(),
        Address::SameNet => "samenet".to_owned(),
    }
}

/// Returns a value of the user field without quotes.
fn who(user: &User) -> String {
    match user {
        User::All => "all".to_owned(),
        User::Member(role) => format!("+{role}"),
        User::Name(name) => name.clone(),
        User::Pattern(pattern) => format!("/{pattern}"),
    }
}

/// Returns a value of the database field without quotes.
fn what(database: &Database) -> String {
    match database {
        Database::All => "all".to_owned(),
        Database::Name(name) => name.clone(),
        Database::Pattern(pattern) => format!("/{pattern}"),
        Database::Replication => "replication".to_owned(),
        Database::SameRole => "samerole".to_owned(),
        Database::SameUser => "sameuser".to_owned(),
    }
}

/// Escapes text for HTML and SVG, also within attributes in double quotes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
