//! Rust sources of the workspace, for checks that read them as text.

pub(crate) mod imports;
mod strip;

pub(crate) use strip::code;

use std::path::{Path, PathBuf};

/// Folders that contain no sources of a crate.
const SKIPPED: &[&str] = &["target", ".git"];

/// Returns the paths of all Rust files below a folder, relative to it, sorted. Symbolic links are skipped.
///
/// # Errors
/// Returns an error if a folder cannot be read.
pub(crate) fn files(top: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |why: std::io::Error| format!("{}: {why}", folder.display());
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_symlink() || SKIPPED.contains(&name) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(top).map_or_else(|_| path.clone(), Path::to_owned));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Reads a file, whose path is relative to the folder `top`.
///
/// # Errors
/// Returns an error if the file cannot be read.
pub(crate) fn read(top: &Path, file: &Path) -> Result<String, String> {
    std::fs::read_to_string(top.join(file)).map_err(|why| format!("{}: {why}", file.display()))
}

/// Returns `true` if a file contains tests, by its path: it is in a folder `test` or `tests`, or its name is `test.rs`,
/// `tests.rs` or ends in `_tests.rs`.
pub(crate) fn is_test(inside: &Path) -> bool {
    inside
        .iter()
        .filter_map(|part| part.to_str())
        .any(|part| matches!(part, "test" | "tests" | "test.rs" | "tests.rs") || part.ends_with("_tests.rs"))
}
