//! Man pages of section 5, made of the reference in Markdown, so that there is one source of both.

use crate::generate::escape;

/// Returns the man page of a file's format, in the language of man pages. The Markdown may have headings, paragraphs, lists,
/// tables whose first column is a key, and fenced code.
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

/// Returns the keys in the tables below a heading of a Markdown reference, such as `## [[role]]`, sorted.
pub fn keys(markdown: &str, heading: &str) -> Vec<String> {
    let wanted = heading.replace('`', "");
    let mut inside = false;
    let mut keys = Vec::new();
    for line in markdown.lines() {
        if line.starts_with('#') {
            inside = line.trim_start_matches('#').trim().replace('`', "") == wanted;
        } else if inside && line.starts_with("| `") {
            let first = cells(line).into_iter().next().unwrap_or_default();
            keys.extend(first.split(", ").map(|key| key.replace('`', "")));
        }
    }
    keys.sort();
    keys
}

/// Returns the keys that a reader knows for a table, from its answer to one that no table has. The text is the file up to the
/// header of the table.
pub fn known_keys<T: serde::de::DeserializeOwned>(before: &str) -> Vec<String> {
    let text = format!("{before}zzzzzzzz = 1\n");
    let found = crate::document::read::<T>("", &text, crate::words::Words::default());
    let found = found.err().unwrap_or_default();
    let known =
        found.list().iter().find_map(|finding| finding.message.strip_prefix("unknown key: known keys are "));
    known.unwrap_or_default().split(", ").map(str::to_owned).collect()
}

fn cells(line: &str) -> Vec<String> {
    // A bar in code is written as an escape, as Markdown demands.
    let line = line.trim().trim_matches('|').replace("\\|", "\u{1}");
    line.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect()
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Converts a line of Markdown for a man page: code becomes bold, and links become their text.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for (number, part) in text.split('`').enumerate() {
        if number % 2 == 1 {
            out.push_str(&format!("\\fB{}\\fR", escape(part)));
        } else {
            out.push_str(escape(&without_links(part)).trim_start_matches("\\&"));
        }
    }
    // A full stop or a quote is a command at the beginning of a line only.
    if out.starts_with(['.', '\'']) { format!("\\&{out}") } else { out }
}

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
}
