//! The readers of header edits, cookie rewrites and error pages.

use super::document::{Table, Value};
use super::keys::{Key, Kind};
use edge_proxy::config::{CookieRules, ErrorPage, FieldEdits, PrefixRule};

/// The keys of `request_headers` and `response_headers`.
pub(super) static EDITS: &[Key] = &[
    Key::new("replace", Kind::Named(&PREFIXES)),
    Key::new("remove", Kind::List(&Kind::Text)),
    Key::new("set", Kind::Named(&Kind::List(&Kind::Text))),
    Key::new("add", Kind::Named(&Kind::List(&Kind::Text))),
];

/// The keys of `cookies` of a route.
pub(super) static COOKIES: &[Key] = &[Key::new("path", PREFIXES), Key::new("domain", PREFIXES)];

/// The keys of `[[site.error_page]]`.
pub(super) static ERROR_PAGE: &[Key] = &[
    Key::required("status", Kind::List(&Kind::Number(400, 599))),
    Key::new("content_type", Kind::Text),
    Key::new("body", Kind::Text),
    Key::new("file", Kind::Path),
    Key::new("intercept", Kind::Boolean),
];

/// The kind of a table of prefixes, each with its replacement.
const PREFIXES: Kind = Kind::Named(&Kind::Text);

/// Reads a table of header edits under `key`. There are no edits if the table is missing or not valid. Values that are
/// not valid are reported and left out.
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

/// Reads a table of prefixes with their replacements. Empty if the value is not a table, which is reported; so are
/// replacements that are not text, which are left out.
fn prefixes(value: &Value<'_, '_>) -> Vec<PrefixRule> {
    let Some(table) = value.table() else { return Vec::new() };
    let rule = |(from, to): (&str, Value<'_, '_>)| to.text().map(|to| PrefixRule::new(from, to));
    table.all().filter_map(rule).collect()
}

/// Reads the name of a header field. `None` if it is not valid, which is reported.
pub(super) fn field_name(value: &Value<'_, '_>) -> Option<String> {
    let name = value.text()?;
    if !edge_http::grammar::is_token(name.as_bytes()) {
        value.report_error("not a valid field name: expected letters, digits and -");
        return None;
    }
    Some(name.into())
}

/// Reads the table `cookies` of a route. Without the table, there are no rules.
pub(super) fn cookies(table: &Table<'_, '_>) -> CookieRules {
    let Some(table) = table.table("cookies") else { return CookieRules::default() };
    let rules = |key| table.get(key).map(|value| prefixes(&value)).unwrap_or_default();
    let rules = CookieRules { path: rules("path"), domain: rules("domain") };
    table.finish();
    rules
}

/// Returns true if an empty file is at the path. False if it is not a regular file or cannot be examined.
fn is_empty(path: &std::path::Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0)
}

/// Reads the error pages of a site. Empty if there are none.
pub(super) fn error_pages(table: &Table<'_, '_>) -> Vec<ErrorPage> {
    let tables = table.get("error_page").map(|value| value.tables()).unwrap_or_default();
    tables.iter().map(error_page).collect()
}

/// Reads an error page. Missing statuses, and missing or empty content, are reported. `intercept` is false by default.
fn error_page(table: &Table<'_, '_>) -> ErrorPage {
    let statuses = table.get("status").map(|value| value.list()).unwrap_or_default();
    if statuses.is_empty() {
        table.report_error("status", "missing: write the statuses that the page is for, such as [502, 504]");
    }
    let (body, content_type) = super::content::content(table);
    match (table.get("body"), table.get("file")) {
        (None, None) => {
            table.report_error("file", "missing: write the content as body = \"…\", or the path of a file");
        }
        (Some(written), _) if written.value.as_str() == Some("") => {
            written.report_error("is empty: write what clients are to read");
        }
        (None, Some(file)) if body.is_empty() && file.path().is_some_and(|path| is_empty(&path)) => {
            file.report_error("is empty: write what clients are to read");
        }
        _ => {}
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

#[cfg(test)]
mod tests {
    use super::super::read;
    use edge_proxy::config::ErrorPage;
    use std::path::Path;

    /// The error pages of a site with these lines in its table of one.
    fn read_pages(lines: &str) -> Result<Vec<ErrorPage>, String> {
        let text = format!(
            "listen = [{{ address = '127.0.0.1:80' }}]\n[[site]]\nhosts = 'a.test'\ndrop = true\n[[site.error_page]]\n{lines}\n"
        );
        let read = read("edge.toml", &text).map_err(|problems| problems.to_string());
        read.map(|(mut settings, _)| settings.proxy.sites.remove(0).error_pages)
    }

    fn page(lines: &str) -> ErrorPage {
        read_pages(lines).unwrap_or_else(|why| panic!("{lines}: {why}")).remove(0)
    }

    fn file(folder: &Path, name: &str) -> String {
        std::fs::write(folder.join(name), format!("<p>{name}")).expect("a file");
        folder.join(name).display().to_string()
    }

    #[test]
    fn error_pages_in_every_form() {
        let folder = tempfile::tempdir().expect("a folder");
        let one = page("status = 404\nbody = 'x'");
        assert_eq!((one.statuses, one.body, one.intercept), (vec![404], b"x".to_vec(), false));
        assert_eq!(one.content_type, "text/plain; charset=utf-8");
        let many = page("status = [500, 502, 504]\nbody = 'x'\nintercept = true");
        assert_eq!((many.statuses, many.intercept), (vec![500, 502, 504], true));
        for (name, more, wanted) in [
            ("502.html", "", "text/html; charset=utf-8"),
            ("502.txt", "", "text/plain; charset=utf-8"),
            ("502", "", "text/plain; charset=utf-8"),
            ("502.json", "content_type = 'application/json'", "application/json"),
            ("503.html", "content_type = 'application/xhtml+xml'", "application/xhtml+xml"),
        ] {
            let page = page(&format!("status = 502\nfile = '{}'\n{more}", file(folder.path(), name)));
            assert_eq!(
                (page.content_type.as_str(), page.body),
                (wanted, format!("<p>{name}").into_bytes()),
                "{name}"
            );
        }
        let both =
            read_pages("status = 404\nbody = 'a'\n[[site.error_page]]\nstatus = [401, 403]\nbody = 'b'");
        assert_eq!(both.expect("two pages").len(), 2);
    }

    #[test]
    fn each_fault_of_an_error_page_has_its_fix() {
        let folder = tempfile::tempdir().expect("a folder");
        let html = file(folder.path(), "502.html");
        let empty = folder.path().join("empty.html");
        std::fs::write(&empty, "").expect("a file");
        for (lines, line, said) in [
            ("body = 'x'".to_owned(), 5, "write the statuses that the page is for"),
            ("status = []\nbody = 'x'".to_owned(), 6, "write the statuses that the page is for"),
            ("status = [404, 404]\nbody = 'x'".to_owned(), 5, "has two pages"),
            (
                "status = 404\nbody = 'x'\n[[site.error_page]]\nstatus = 404\nbody = 'y'".to_owned(),
                5,
                "has two pages",
            ),
            ("status = '404'\nbody = 'x'".to_owned(), 6, "expected a whole number"),
            ("status = 404".to_owned(), 5, "body = "),
            ("status = 404\nbody = ''".to_owned(), 7, "is empty"),
            (format!("status = 404\nbody = 'x'\nfile = '{html}'"), 8, "excludes `body`"),
            (format!("status = 404\nfile = '{}'", empty.display()), 7, "is empty"),
            ("status = 404\nfile = '/nonexistent/404.html'".to_owned(), 7, "cannot be read"),
            (format!("status = 404\nfile = '{}'", folder.path().display()), 7, "cannot be read"),
            ("status = 404\nbody = 'x'\nintercept = 'yes'".to_owned(), 8, "expected true or false"),
            ("status = 404\nbody = 'x'\ncontent_type = ''".to_owned(), 8, "text/html"),
            ("status = 404\nbody = 'x'\nboddy = 'x'".to_owned(), 8, "did you mean `body`?"),
        ] {
            let problems = read_pages(&lines).expect_err(&lines);
            assert!(problems.contains(said), "{lines}: {problems}");
            // One fault, one line, at its place.
            let all: Vec<_> = problems.lines().collect();
            assert!(
                all.len() == 1 && all[0].starts_with(&format!("edge.toml:{line}:")),
                "{lines}: {problems}"
            );
        }
    }
}
