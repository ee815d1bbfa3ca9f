//! Readers for header edits, cookies and error pages.

use super::document::{Table, Value};
use super::keys::{Key, Kind};
use edge_proxy::config::{CookieRules, ErrorPage, FieldEdits, PrefixRule};

pub(super) static EDITS: &[Key] = &[
    Key::new("replace", Kind::Named(&PREFIXES)),
    Key::new("remove", Kind::List(&Kind::Text)),
    Key::new("set", Kind::Named(&Kind::List(&Kind::Text))),
    Key::new("add", Kind::Named(&Kind::List(&Kind::Text))),
];

pub(super) static COOKIES: &[Key] = &[Key::new("path", PREFIXES), Key::new("domain", PREFIXES)];

pub(super) static ERROR_PAGE: &[Key] = &[
    Key::required("status", Kind::List(&Kind::Number(400, 599))),
    Key::new("content_type", Kind::Text),
    Key::new("body", Kind::Text),
    Key::new("file", Kind::Path),
    Key::new("intercept", Kind::Boolean),
];

/// Beginnings of values, and their replacements.
const PREFIXES: Kind = Kind::Named(&Kind::Text);

pub(super) fn edits(table: &Table<'_, '_>, key: &'static str) -> FieldEdits {
    let Some(table) = table.table(key) else {
        return FieldEdits::default();
    };
    let pairs = |key| {
        let pairs = table.table(key).map(|table| {
            let pair = |(name, value): (&str, Value<'_, '_>)| {
                let values: Vec<_> = value.list().iter().filter_map(Value::text).collect();
                values.into_iter().map(|value| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
            };
            table.all().flat_map(pair).collect()
        });
        pairs.unwrap_or_default()
    };
    let names = table.get("remove").map(|value| value.list()).unwrap_or_default();
    let mut edits = FieldEdits::default();
    if let Some(table) = table.table("replace") {
        edits.replace = table.all().map(|(name, value)| (name.to_owned(), prefixes(&value))).collect();
    }
    edits.remove = names.iter().filter_map(Value::text).map(String::from).collect();
    edits.set = pairs("set");
    edits.add = pairs("add");
    table.finish();
    edits
}

fn prefixes(value: &Value<'_, '_>) -> Vec<PrefixRule> {
    let Some(table) = value.table() else { return Vec::new() };
    let rule = |(from, to): (&str, Value<'_, '_>)| to.text().map(|to| PrefixRule::new(from, to));
    table.all().filter_map(rule).collect()
}

/// Reads the name of a field.
pub(super) fn field_name(value: &Value<'_, '_>) -> Option<String> {
    let name = value.text()?;
    if !edge_http::grammar::is_token(name.as_bytes()) {
        value.wrong("not a valid field name: expected letters, digits and -");
        return None;
    }
    Some(name.into())
}

/// Reads `cookies` of a route.
pub(super) fn cookies(table: &Table<'_, '_>) -> CookieRules {
    let Some(table) = table.table("cookies") else { return CookieRules::default() };
    let rules = |key| table.get(key).map(|value| prefixes(&value)).unwrap_or_default();
    let rules = CookieRules { path: rules("path"), domain: rules("domain") };
    table.finish();
    rules
}

/// Reads the error pages of a site.
pub(super) fn error_pages(table: &Table<'_, '_>) -> Vec<ErrorPage> {
    let tables = table.get("error_page").map(|value| value.tables()).unwrap_or_default();
    tables.iter().map(error_page).collect()
}

fn error_page(table: &Table<'_, '_>) -> ErrorPage {
    let statuses = table.get("status").map(|value| value.list()).unwrap_or_default();
    if statuses.is_empty() {
        table.wrong("status", "missing: write the statuses that the page is for, such as [502, 504]");
    }
    let (body, content_type) = super::content::content(table);
    if body.is_empty() {
        table.wrong("file", "missing: write the content as body = \"…\", or the path of a file");
    }
    let page = ErrorPage {
        statuses: statuses.iter().filter_map(Value::number).map(|status| status as u16).collect(),
        content_type,
        body,
        intercept: table.get("intercept").and_then(|value| value.boolean()).unwrap_or(false),
    };
    table.finish();
    page
}
