//! The command `import`: converts an nginx configuration.

use crate::cli::{Exit, ImportArgs};
use crate::import::{import, parse};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};

pub(crate) fn run(args: &ImportArgs) -> Exit {
    let text = match std::fs::read_to_string(&args.file) {
        Ok(text) => text,
        Err(why) => {
            eprintln!("edge-proxyd import: {}: {why}", args.file.display());
            return Exit::Wrong;
        }
    };
    // nginx resolves includes relative to the folder of its main file.
    let folder = args.file.parent().unwrap_or(Path::new(".")).to_owned();
    let directives =
        match parse(&args.file.display().to_string(), &text, &mut |pattern| included(&folder, pattern)) {
            Ok(directives) => directives,
            Err(why) => {
                eprintln!("edge-proxyd import: {why}");
                return Exit::Wrong;
            }
        };
    let import = import(&directives);
    let mut out = std::io::stdout();
    // The reader may have closed its end of the pipe.
    let _ = if args.json {
        let notes = import.notes.iter().map(|note| {
            json!({ "file": note.file, "line": note.line, "directive": note.directive, "what": note.what })
        });
        writeln!(out, "{}", json!({ "config": import.text, "not_taken_over": notes.collect::<Vec<_>>() }))
    } else {
        for note in &import.notes {
            eprintln!("{}:{}: {}: {}", note.file, note.line, note.directive, note.what);
        }
        out.write_all(import.text.as_bytes())
    };
    if import.notes.is_empty() { Exit::Done } else { Exit::Differs }
}

/// Reads the files that an include names: one, or all that match a pattern with `*` in its last part.
fn included(folder: &Path, pattern: &str) -> Result<Vec<(String, String)>, String> {
    let path = folder.join(pattern);
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .map(|text| (path.display().to_string(), text))
            .map_err(|why| why.to_string())
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
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|found| fits(name, found)))
        .collect();
    found.sort();
    found.iter().map(|path| read(path)).collect()
}

/// Returns whether a pattern with `*` matches a name. Hidden files do not match.
fn fits(pattern: &str, name: &str) -> bool {
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
    use super::fits;

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
            assert_eq!(fits(pattern, name), wanted, "{pattern} {name}");
        }
    }
}
