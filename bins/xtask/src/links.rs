//! Links of Markdown documents: every relative one must exist, none may lead to a registry's page of a package of this
//! workspace, which need not exist, and a link by its label alone must be defined in the document.

use crate::registry::{LIBRARIES, PROGRAMS, folder};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Addresses below which registries have pages of packages.
const REGISTRIES: &[&str] = &["https://docs.rs/crate/", "https://docs.rs/", "https://crates.io/crates/"];

/// Returns the relative links of a document, without their anchors, outside of fenced and indented code. Links that
/// contain `://` or `@` are omitted, as are links within the document and rustdoc's links to items.
pub(crate) fn relative(text: &str) -> Vec<String> {
    let is_relative = |link: &String| {
        !link.is_empty() && !link.contains("://") && !link.starts_with("mailto:") && !link.contains('@')
    };
    let links = all(text).into_iter().map(|link| link.split('#').next().unwrap_or_default().to_owned());
    links.filter(is_relative).collect()
}

/// Returns the links of a document to registries' pages of packages of this workspace.
fn published(text: &str) -> Vec<String> {
    let is_ours = |link: &String| {
        let rest = REGISTRIES.iter().find_map(|registry| link.strip_prefix(registry));
        let name = rest.and_then(|rest| rest.split(['/', '#']).next()).unwrap_or_default();
        LIBRARIES.iter().chain(PROGRAMS).any(|package| *package == name)
    };
    all(text).into_iter().filter(is_ours).collect()
}

/// Returns all links of a document and the targets of its link definitions, outside of code.
fn all(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        found.extend(definition(line).map(|(_, target)| target.to_owned()));
        found.extend(
            line.split("](").skip(1).map(|rest| rest.split(')').next().unwrap_or_default().to_owned()),
        );
    }
    found
}

/// Returns the lines of a document outside of fenced and indented code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence && !line.starts_with("    ")
    })
}

/// Returns label and target of a link definition, ``[`label`]: target``. `None` if the line is none of a code span.
fn definition(line: &str) -> Option<(&str, &str)> {
    let (label, target) = line.strip_prefix("[`")?.split_once("`]: ")?;
    Some((label, target.trim()))
}

/// Returns the labels of the link definitions of a document, sorted.
pub(crate) fn labels(text: &str) -> BTreeSet<&str> {
    prose(text).filter_map(definition).map(|(label, _)| label).collect()
}

/// Returns the code spans in brackets that are no links, since the document does not define their labels: they are
/// shown with the brackets.
fn undefined(text: &str) -> BTreeSet<&str> {
    let defined = labels(text);
    let mut found = BTreeSet::new();
    for line in prose(text) {
        for rest in line.split("[`").skip(1) {
            let Some((label, after)) = rest.split_once("`]") else { continue };
            if !after.starts_with(['(', '[', ':']) && !defined.contains(label) {
                found.insert(label);
            }
        }
    }
    found
}

/// Returns the Markdown documents in the folders of the packages of the workspace.
///
/// # Errors
/// Returns a description if a folder cannot be read.
pub(crate) fn of_packages(root: &Path) -> Result<Vec<PathBuf>, String> {
    let folders = LIBRARIES.iter().chain(PROGRAMS).map(|package| documents(&root.join(folder(package))));
    Ok(folders.collect::<Result<Vec<_>, _>>()?.concat())
}

/// Returns a message for each link of a document that does not exist, leads to a registry, or is not defined.
///
/// # Errors
/// Returns a description if the document cannot be read.
pub(crate) fn broken(document: &Path) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(document).map_err(|why| format!("{}: {why}", document.display()))?;
    let folder = document.parent().unwrap_or(Path::new("."));
    let links = relative(&text).into_iter().filter(|link| !folder.join(link).exists());
    let missing = links.map(|link| format!("{}: {link} does not exist", document.display()));
    let published = published(&text).into_iter();
    let published = published.map(|link| format!("{}: {link}: write a relative link", document.display()));
    let undefined = undefined(&text).into_iter();
    let undefined =
        undefined.map(|label| format!("{}: [`{label}`] has no link definition", document.display()));
    Ok(missing.chain(published).chain(undefined).collect())
}

/// Returns the Markdown documents of a folder, without its subfolders, sorted.
///
/// # Errors
/// Returns a description if the folder cannot be read.
pub(crate) fn documents(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect();
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_of_code() {
        let text = "[a](b.md#c) and [d](https://e) ![f](g.png)\n```\n[h](i.md)\n```\n    [j](k.md)\n[l](#m)";
        assert_eq!(relative(text), ["b.md", "g.png"]);
        assert_eq!(relative("[a](mod@b) [c](#d)"), Vec::<String>::new());
    }

    #[test]
    fn labels_need_definitions() {
        let text = "[`a`], [`b::C`] and [`d`](e.md), [`f`][g]\n```\n[`h`]\n```\n\n[`b::C`]: src/b.rs\n";
        assert_eq!(undefined(text), BTreeSet::from(["a"]));
        assert_eq!(labels(text), BTreeSet::from(["b::C"]));
        assert_eq!(relative(text), ["e.md", "src/b.rs"]);
    }

    #[test]
    fn pages_of_our_own_packages_are_found() {
        let text = "[a](https://docs.rs/pg-hba/latest/x) [b](https://docs.rs/crate/pg-ensure) [c](https://docs.rs/pg-hbas) \
                    [d](https://crates.io/crates/edge-proxyd#e) [f](https://crates.io/crates/http)";
        let ours = [
            "https://docs.rs/pg-hba/latest/x",
            "https://docs.rs/crate/pg-ensure",
            "https://crates.io/crates/edge-proxyd#e",
        ];
        assert_eq!(published(text), ours);
    }
}
