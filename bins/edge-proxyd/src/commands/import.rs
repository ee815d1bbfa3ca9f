//! The command `import`: converts an nginx configuration into one of edge-proxyd.

use super::fail;
use crate::cli::{Exit, ImportArgs};
use crate::import::{Directive, Impact, Import, Note, Options, ParseError, import, parse, whole};
use crate::prove;
use cli_support::finding::{Finding, Findings, Place, Severity};
use cli_support::outcome::Failure;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Runs the command: prints the converted configuration to standard output, and the differences to standard error; with
/// `--json`, both to standard output; with `--prove`, the comparison with nginx instead. Returns [`Exit::Differs`] if a
/// difference is not harmless, otherwise [`Exit::Done`]; and a failure if the file cannot be read or parsed.
pub(crate) fn run(args: &ImportArgs) -> Exit {
    if args.side {
        return prove::side(&args.file);
    }
    let directives = match read(args) {
        Ok(directives) => directives,
        Err(why) => return fail("import", args.json, &Failure::Unusable(why)),
    };
    let options = Options {
        domain: args.domain.clone(),
        folder: folder(args).display().to_string(),
        root: args.root.clone(),
    };
    if args.prove {
        return prove::prove(&whole(&directives, &options), &options, args);
    }
    let import = import(&directives, &options);
    let mut out = std::io::stdout();
    // The reader may have closed its end of the pipe.
    let _ = if args.json {
        writeln!(out, "{}", as_json(&import))
    } else {
        report(&import.notes, args.all);
        out.write_all(import.text.as_bytes())
    };
    if import.notes.iter().all(|note| note.impact == Impact::Harmless) { Exit::Done } else { Exit::Differs }
}

/// Parses the file and the files that it includes.
///
/// # Errors
/// The fault, with the file, and with the line if it is one of syntax or of an included file.
fn read(args: &ImportArgs) -> Result<Vec<Directive>, Findings> {
    let file = args.file.display().to_string();
    let text = text_of(&args.file).map_err(|why| Findings::unreadable(&file, &why))?;
    let folder = folder(args);
    let mut loader = |pattern: &str| read_included(&folder, args.root.as_deref(), pattern);
    parse(&file, &text, &mut loader).map_err(|why: ParseError| {
        let place =
            Place { file: why.file.to_string(), line: why.line, column: why.line.min(1), key: String::new() };
        Findings::new(vec![Finding::error("syntax", place, why.what)])
    })
}

/// Returns the folder against which relative paths are resolved, made absolute: `--prefix`, or that of the main file,
/// as in nginx.
fn folder(args: &ImportArgs) -> PathBuf {
    let folder = args.prefix.clone().or_else(|| args.file.parent().map(Path::to_owned)).unwrap_or_default();
    std::path::absolute(&folder).unwrap_or(folder)
}

/// Reads a file as UTF-8. Invalid bytes are replaced by U+FFFD, since they are mostly in comments; the parser rejects
/// them elsewhere.
///
/// # Errors
/// The file could not be read.
fn text_of(path: &Path) -> std::io::Result<String> {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the result as JSON: the notes as findings and in their own form, the converted configuration as text, and
/// the number of its sites that forward.
fn as_json(import: &Import) -> serde_json::Value {
    let note = |note: &Note| {
        json!({
            "harm": note.impact.word(),
            "file": note.file,
            "line": note.line,
            "directive": note.directive,
            "what": note.what,
        })
    };
    let findings = Findings::new(import.notes.iter().map(finding).collect());
    json!({
        "findings": findings.json(),
        "config": import.text,
        "sites": import.sites,
        "not_taken_over": import.notes.iter().map(note).collect::<Vec<_>>(),
    })
}

/// Converts a note into a finding, the form that the programs of the workspace share: of the severity note if it is
/// harmless, otherwise warning. Its key is the directive.
fn finding(note: &Note) -> Finding {
    let place = Place {
        file: note.file.clone(),
        line: note.line,
        column: note.line.min(1),
        key: note.directive.clone(),
    };
    let severity = if note.impact == Impact::Harmless { Severity::Note } else { Severity::Warning };
    Finding::error(note.impact.word(), place, &note.what).severity(severity)
}

/// Prints the notes to standard error, grouped by impact, the worst first. Harmless notes are only counted, unless
/// `all` is true.
fn report(notes: &[Note], all: bool) {
    for impact in Impact::ALL {
        let of: Vec<&Note> = notes.iter().filter(|note| note.impact == impact).collect();
        if of.is_empty() {
            continue;
        }
        if impact == Impact::Harmless && !all {
            let plural = if of.len() == 1 { "" } else { "s" };
            eprintln!("Harmless: {} directive{plural} without a counterpart (--all lists them)", of.len());
            continue;
        }
        eprintln!("{}:", impact.heading());
        for note in of {
            eprintln!("{}:{}: {}: {}", note.file, note.line, note.directive, note.what);
        }
    }
}

/// Reads the files of an `include`: one, or all that match a pattern with `*` in the file name, sorted by name. Returns
/// the path and text of each. Relative patterns are below `folder`, absolute ones below `root` if it is given. A
/// pattern in a folder that does not exist matches nothing.
///
/// # Errors
/// A file cannot be read, or the pattern has `?` or `[`, or `*` in a folder name, which is not supported.
fn read_included(folder: &Path, root: Option<&Path>, pattern: &str) -> Result<Vec<(String, String)>, String> {
    let path = match (root, pattern.strip_prefix('/')) {
        (Some(root), Some(below)) => root.join(below),
        _ => folder.join(pattern),
    };
    let read = |path: &Path| {
        text_of(path).map(|text| (path.display().to_string(), text)).map_err(|why| match why.kind() {
            std::io::ErrorKind::NotFound if pattern.starts_with('/') => {
                format!("{why}: with files of another machine, --root names the folder that stands for /")
            }
            std::io::ErrorKind::NotFound => {
                format!("{why} in {}: --prefix names the folder of nginx.conf", folder.display())
            }
            _ => why.to_string(),
        })
    };
    let name = path.file_name().and_then(|name| name.to_str()).ok_or("not a file name")?;
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![read(&path)?]);
    }
    let parent = path.parent().unwrap_or(folder);
    if parent.to_string_lossy().contains(['*', '?', '[']) || name.contains(['?', '[']) {
        return Err(
            "unsupported pattern: only * in the file name is supported; list the files instead".into()
        );
    }
    // A missing folder has no files, which nginx accepts too.
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|found| matches_pattern(name, found))
        })
        .collect();
    found.sort();
    found.iter().map(|path| read(path)).collect()
}

/// Returns true if a file name matches a pattern in which each `*` stands for any text, including none. A name that
/// begins with a dot matches only a pattern that does too.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches_pattern;

    #[test]
    fn patterns() {
        for (pattern, name, wanted) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", false),
            ("a*b*c", "aXbYbc", true),
            ("a*b*c", "ac", false),
            ("*", "x", true),
            ("*", ".x", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches_pattern(pattern, name), wanted, "{pattern} {name}");
        }
    }
}
