//! Included files, each with sites and upstreams.

use super::document::{Document, Table};
use super::keys::{Key, Kind};
use super::{site, upstream};
use cli_support::finding::reading;
use std::io;
use std::path::{Path, PathBuf};

/// The keys that are valid in an included file.
pub(super) static INCLUDED: &[Key] = &[
    Key::new("site", Kind::Tables(site::SITE)),
    Key::new("upstream", Kind::Named(&Kind::Table(upstream::UPSTREAM))),
];

/// A file that the main file includes.
pub(super) struct IncludedFile {
    /// The path of the file, as it is shown in errors.
    pub(super) name: String,
    /// The text of the file.
    pub(super) text: String,
}

/// Reads the files that `include` names, in its order, and those of a pattern sorted by name. Each file is read once,
/// and the main file is left out. Relative paths are below the folder of the main file `main`. Files and folders that
/// cannot be read are reported and left out.
pub(super) fn files(document: &Document<'_>, root: &Table<'_, '_>, main: &str) -> Vec<IncludedFile> {
    let folder = Path::new(main).parent().unwrap_or(Path::new(""));
    let mut found: Vec<IncludedFile> = Vec::new();
    for value in root.get("include").map(|value| value.list()).unwrap_or_default() {
        let Some(pattern) = value.text() else { continue };
        let pattern = folder.join(pattern);
        document.name_file(pattern.clone(), &value);
        let paths = match matching_files(&pattern) {
            Ok(paths) => paths,
            Err(why) => {
                value.report_error(&format!("cannot be read: {why}: name a folder that exists"));
                continue;
            }
        };
        for path in paths {
            let name = path.display().to_string();
            match std::fs::read_to_string(&path) {
                Ok(_) if name == main || found.iter().any(|file| file.name == name) => {}
                Ok(text) => found.push(IncludedFile { name, text }),
                Err(why) => value.report_error(&format!("{name} cannot be read: {}", reading(&why))),
            }
        }
    }
    found
}

/// Returns the files that a pattern with `*` in its last part matches, sorted by name. Hidden files and folders do not
/// match. A path without `*` there is returned unchanged, whether or not it exists.
///
/// # Errors
/// The folder of the pattern cannot be read.
fn matching_files(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let last = pattern.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !last.contains('*') {
        return Ok(vec![pattern.to_owned()]);
    }
    let folder = pattern.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && matches_pattern(&last, &name) && entry.path().is_file() {
            paths.push(pattern.with_file_name(entry.file_name()));
        }
    }
    paths.sort();
    Ok(paths)
}

/// Returns true if the whole name matches a pattern in which each `*` stands for any text, including none.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(left) = name.strip_prefix(begin) else { return false };
    (0..=left.len()).filter(|at| left.is_char_boundary(*at)).any(|at| matches_pattern(rest, &left[at..]))
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;
    use std::fs;

    #[test]
    fn names_that_fit() {
        for (pattern, name, wanted) in [
            ("*.toml", "git.toml", true),
            ("*.toml", "git.toml.bak", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("*", "", true),
        ] {
            assert_eq!(matches_pattern(pattern, name), wanted, "{pattern} {name}");
        }
    }

    const MAIN: &str = "include = 'sites.d/*.toml'\nlisten = [{ address = '127.0.0.1:80' }]\n\
        [upstream.shared]\ntarget = 'http://127.0.0.1:1'\n[[site]]\nhosts = 'main.test'\nupstream = 'shared'\n";

    #[test]
    fn sites_come_from_all_files() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("edge.toml");
        let sites = folder.path().join("sites.d");
        fs::create_dir(&sites).unwrap();
        fs::write(&main, MAIN).unwrap();
        fs::write(
            sites.join("b.toml"),
            "[[site]]\nhosts = 'b.test'\nupstream = 'own'\n[upstream.own]\ntarget = 'http://127.0.0.1:2'\n",
        )
        .unwrap();
        fs::write(sites.join("a.toml"), "[[site]]\nhosts = 'a.test'\nupstream = 'shared'\n").unwrap();
        fs::write(sites.join(".hidden.toml"), "nothing").unwrap();
        fs::write(sites.join("c.toml.disabled"), "nothing").unwrap();
        let (settings, _) = load(&main).unwrap();
        let names: Vec<_> = settings.proxy.sites.iter().map(|site| site.name.as_str()).collect();
        assert_eq!(names, ["main.test", "a.test", "b.test"]);
        assert_eq!(settings.proxy.upstreams.len(), 2);
        // The sandbox has to let it read what a reload may find there.
        assert!(settings.files.iter().any(|file| file.path == sites.join("*.toml")));
    }

    #[test]
    fn errors_are_in_the_file_that_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("edge.toml");
        let sites = folder.path().join("sites.d");
        fs::create_dir(&sites).unwrap();
        fs::write(&main, MAIN).unwrap();
        let file = sites.join("a.toml");
        for (text, line, said) in [
            ("[[site]]\nhosts = 'a.test'\n\nupstrem = 'shared'\n", 4, "did you mean `upstream`?"),
            ("[[site]]\nhosts = 'a.test'\nupstream = 'shred'\n", 3, "did you mean `shared`?"),
            ("[[site]]\nhosts = 'main.test'\nupstream = 'shared'\n", 2, "duplicate host"),
            ("\n[upstream.shared]\ntarget = 'http://127.0.0.1:3'\n", 2, "duplicate upstream name"),
            ("\n[limits]\nstreams = 1\n", 2, "unknown key"),
            ("[[site\n", 1, "not valid TOML"),
        ] {
            fs::write(&file, text).unwrap();
            let problems = load(&main).unwrap_err().to_string();
            let place = format!("{}:{line}:", file.display());
            assert!(
                problems.lines().any(|problem| problem.starts_with(&place) && problem.contains(said)),
                "{text}: {problems}"
            );
        }
    }
}
