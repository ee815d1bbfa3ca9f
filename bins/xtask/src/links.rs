//! Links of Markdown documents: every relative one has to exist.

use std::path::{Path, PathBuf};

/// Returns the relative links of a document, without their anchors, outside of code.
pub(crate) fn relative(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            code = !code;
        }
        if code || line.starts_with("    ") {
            continue;
        }
        for rest in line.split("](").skip(1) {
            let link = rest.split(')').next().unwrap_or_default();
            let link = link.split('#').next().unwrap_or_default();
            if !link.is_empty() && !link.contains("://") && !link.starts_with("mailto:") {
                found.push(link.to_owned());
            }
        }
    }
    found
}

/// Returns the links of a document that lead nowhere.
pub(crate) fn broken(document: &Path) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(document).map_err(|why| format!("{}: {why}", document.display()))?;
    let folder = document.parent().unwrap_or(Path::new("."));
    let links = relative(&text).into_iter().filter(|link| !folder.join(link).exists());
    Ok(links.map(|link| format!("{}: {link} does not exist", document.display())).collect())
}

/// Returns the Markdown documents of a folder, without folders below it.
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
    }
}
