//! Man pages of section 5, generated from references in Markdown, and checks of these references.

use crate::generate::escape;

/// Returns the man page of a file format in roff. `name` is the title of the page, `program` the program whose file it
/// is, to which SEE ALSO refers. The Markdown may contain headings of levels 1 to 3, paragraphs, lists with `-`, tables
/// whose first column is a key, and fenced code. Its first heading is the one-line description; text before it is
/// omitted.
pub fn page(name: &str, program: &str, markdown: &str) -> String {
    let mut out = format!(".TH \"{name}\" 5 \"\" \"{program}\" \"File formats\"\n.SH NAME\n{name} \\- ");
    let mut title = true;
    let mut code = false;
    let mut headings: Vec<String> = Vec::new();
    let mut lines = markdown.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            code = !code;
            out.push_str(if code { ".PP\n.nf\n.RS\n" } else { ".RE\n.fi\n" });
            continue;
        }
        if code {
            out.push_str(&escape(line));
            out.push('\n');
            continue;
        }
        if let Some(text) = line.strip_prefix("# ") {
            out.push_str(&format!("{}\n.SH DESCRIPTION\n", inline(text)));
            title = false;
        } else if let Some(text) = line.strip_prefix("## ") {
            out.push_str(&format!(".SH \"{}\"\n", escape(&text.replace('`', "")).to_uppercase()));
        } else if let Some(text) = line.strip_prefix("### ") {
            out.push_str(&format!(".SS \"{}\"\n", inline(text)));
        } else if line.starts_with('|') {
            let row = cells(line);
            if lines.peek().is_some_and(|next| next.starts_with("|-")) {
                headings = row;
                lines.next();
                continue;
            }
            let (key, rest) = row.split_first().map_or(("", &[][..]), |(key, rest)| (key.as_str(), rest));
            out.push_str(&format!(".TP\n{}\n", inline(key)));
            for (number, cell) in rest.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
                let heading = headings.get(number + 1).map_or("", String::as_str);
                match number {
                    0 => out.push_str(&format!("{}\n", inline(cell))),
                    _ => out.push_str(&format!(".br\n{}: {}\n", capital(heading), inline(cell))),
                }
            }
        } else if let Some(item) = line.strip_prefix("- ") {
            out.push_str(&format!(".IP \\(bu 2\n{}\n", inline(item)));
        } else if line.is_empty() {
            if !title {
                out.push_str(".PP\n");
            }
        } else if !title {
            out.push_str(&format!("{}\n", inline(line)));
        }
    }
    out.push_str(&format!(".SH SEE ALSO\n\\fB{}\\fR(1)\n", escape(program)));
    out
}

/// Returns the keys in the tables below a heading of a Markdown reference, sorted. The heading, such as `[[role]]`, is
/// given without `#`; backticks do not matter. A cell may contain several keys, separated by commas.
pub fn keys(markdown: &str, heading: &str) -> Vec<String> {
    let firsts = rows(markdown, heading).into_iter().filter_map(|row| row.into_iter().next());
    let mut keys: Vec<String> = firsts
        .flat_map(|first| first.split(", ").map(|key| key.replace('`', "")).collect::<Vec<_>>())
        .collect();
    keys.sort();
    keys
}

/// Returns the cells of each table row below a heading, up to the next heading of any level. Only rows whose first cell
/// begins with code count.
fn rows(markdown: &str, heading: &str) -> Vec<Vec<String>> {
    let wanted = heading.replace('`', "");
    let mut inside = false;
    let mut rows = Vec::new();
    for line in markdown.lines() {
        if line.starts_with('#') {
            inside = line.trim_start_matches('#').trim().replace('`', "") == wanted;
        } else if inside && line.starts_with("| `") {
            rows.push(cells(line));
        }
    }
    rows
}

/// Result of comparing documented defaults with those of a parser.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Keys whose documented default, a value in code or `none`, has the meaning of the key's absence.
    pub same: Vec<String>,
    /// Keys that are documented as required, and whose absence the parser rejects by name.
    pub required: Vec<String>,
    /// Descriptions of the defaults that differ from the documentation.
    pub faults: Vec<String>,
}

/// Compares the defaults documented in the third column of the tables below a heading with those of a parser. `before`
/// is the text of the file up to the keys of the table, `required` are lines without which the table is not valid, and
/// `read` parses a file. The absence of a key whose default is `required` must be an error that contains the key. A
/// default that is written in code must have the meaning of the key's absence in one of the forms of TOML; so must an
/// empty list or table for `none`, if the parser accepts one. Defaults described in words are not compared. If the file
/// with only `required` is not valid, that is the only fault.
pub fn defaults<T: PartialEq>(
    markdown: &str,
    heading: &str,
    (before, required): (&str, &[&str]),
    read: impl Fn(&str) -> Result<T, String>,
) -> Defaults {
    let mut found = Defaults::default();
    let base = format!("{before}{}\n", required.join("\n"));
    let absent = match read(&base) {
        Ok(absent) => absent,
        Err(why) => {
            found.faults.push(format!("{heading}: {base}: {why}"));
            return found;
        }
    };
    for row in rows(markdown, heading) {
        let (key, default) = (row[0].replace('`', ""), row.get(2).map_or("", String::as_str));
        if default == "required" {
            let others: Vec<&str> = required
                .iter()
                .copied()
                .filter(|line| line.split(' ').next() != Some(key.as_str()))
                .collect();
            match read(&format!("{before}{}\n", others.join("\n"))) {
                Err(why) if why.contains(&key) && others.len() < required.len() => found.required.push(key),
                Err(why) => {
                    found.faults.push(format!("{heading}: {key} is required, but its absence says: {why}"));
                }
                Ok(_) => found.faults.push(format!("{heading}: {key} is not required")),
            }
            continue;
        }
        let values = written(default);
        let meant: Vec<Result<T, String>> =
            values.iter().map(|value| read(&format!("{base}{key} = {value}\n"))).collect();
        if meant.iter().any(|value| value.as_ref().is_ok_and(|value| *value == absent)) {
            found.same.push(key);
        } else if meant.iter().any(Result::is_ok) || (default != "none" && !values.is_empty()) {
            found.faults.push(format!("{heading}: {key}: its absence does not mean {default}"));
        }
    }
    found
}

/// Returns the forms in which a documented default can be written as TOML. For values in code, separated by commas,
/// these are the first as it is, the first as a string, and all as a list of strings; for `none`, an empty list and an
/// empty table. Empty for a default described in words.
fn written(default: &str) -> Vec<String> {
    if default == "none" {
        return vec!["[]".to_owned(), "{}".to_owned()];
    }
    let parts: Vec<&str> = default.split('`').collect();
    // Only code and commas.
    let codes: Vec<&str> = parts.iter().skip(1).step_by(2).copied().collect();
    if codes.is_empty() || parts.iter().step_by(2).any(|words| !matches!(words.trim(), "" | ",")) {
        return Vec::new();
    }
    let texts: Vec<String> = codes.iter().map(|code| format!("\"{code}\"")).collect();
    vec![codes[0].to_owned(), texts[0].clone(), format!("[{}]", texts.join(", "))]
}

/// Returns the keys that the type `T` has for a table, taken from the error for an unknown key. Keys with upper-case
/// letters are omitted. `before` is the text of the file up to the table's keys. A single empty key if there is no such
/// error.
pub fn known_keys<T: serde::de::DeserializeOwned>(before: &str) -> Vec<String> {
    let text = format!("{before}zzzzzzzz = 1\n");
    let found = crate::document::read::<T>("", &text, crate::words::Words::default());
    let found = found.err().unwrap_or_default();
    let known =
        found.list().iter().find_map(|finding| finding.message.strip_prefix("unknown key: known keys are "));
    known.unwrap_or_default().split(", ").map(str::to_owned).collect()
}

/// Returns the trimmed cells of a row of a Markdown table. `\|` becomes a vertical bar in a cell.
fn cells(line: &str) -> Vec<String> {
    // A vertical bar in code is escaped, as Markdown requires.
    let line = line.trim().trim_matches('|').replace("\\|", "\u{1}");
    line.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect()
}

/// Returns a word with its first character in upper case.
fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Converts a line of Markdown to roff: code becomes bold, links become their text, and special characters are escaped.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for (number, part) in text.split('`').enumerate() {
        if number % 2 == 1 {
            out.push_str(&format!("\\fB{}\\fR", escape(part)));
        } else {
            out.push_str(escape(&without_links(part)).trim_start_matches("\\&"));
        }
    }
    // A full stop or an apostrophe is a request only at the beginning of a line.
    if out.starts_with(['.', '\'']) { format!("\\&{out}") } else { out }
}

/// Replaces links of the form `[text](target)` by their text. The rest of the line is left as it is.
fn without_links(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        let Some((start, end)) = before.rfind('[').zip(after.find(')')) else { break };
        out.push_str(&before[..start]);
        out.push_str(&before[start + 1..]);
        rest = &after[end + 1..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_become_entries() {
        let page = page(
            "a.toml",
            "a",
            "# The file of a\n\nOne [table](x.md).\n\n## Top level\n| key | meaning | default |\n|-|-|-|\n| `b` | A `c-d`. | `1` |\n\n```toml\nb = 1\n```\n",
        );
        for part in [
            ".SH NAME\na.toml \\- The file of a\n",
            ".SH \"TOP LEVEL\"",
            ".TP\n\\fBb\\fR\nA \\fBc\\-d\\fR.\n.br\nDefault: \\fB1\\fR\n",
            "One table.",
            ".nf\n.RS\nb = 1\n.RE",
            ".SH SEE ALSO\n\\fBa\\fR(1)",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default)]
    struct Read {
        name: String,
        kind: Option<String>,
        list: Vec<String>,
        on: bool,
    }

    #[test]
    fn defaults_are_compared_with_the_reader() {
        let read = |text: &str| {
            let mut read: Read = toml::from_str(text).map_err(|why| why.to_string())?;
            if read.name.is_empty() {
                return Err("name is missing".to_owned());
            }
            read.kind.get_or_insert("plain".to_owned());
            Ok(read)
        };
        let table = |kind: &str, on: &str, list: &str| {
            format!(
                "## T\n| `name` | A. | required |\n| `kind` | B. | {kind} |\n| `on` | C. | {on} |\n| `list` | D. | {list} |\n"
            )
        };
        let compare = |text: &str| defaults(text, "T", ("", &["name = 'a'"]), read);
        let right = compare(&table("`plain`", "`false`", "none"));
        assert_eq!((right.same.join(" "), right.required.join(" ")), ("kind on list".into(), "name".into()));
        assert_eq!(right.faults, Vec::<String>::new());
        assert_eq!(compare(&table("`other`", "`true`", "`a`, `b`")).faults.len(), 3);
        // Words are not compared.
        assert_eq!(compare(&table("as by `name`", "on", "all")).same, Vec::<String>::new());
        let wrong = compare(&table("required", "required", "none")).faults;
        assert_eq!(wrong, ["T: kind is not required", "T: on is not required"]);
    }
}
