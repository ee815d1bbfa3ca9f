//! The public items of the last release of each library, recorded in the tree: a change that breaks its users needs a new
//! series of versions. Tags are not needed, so that a copy of the tree without its history is checked too.

use crate::registry;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// Name of the record in the folder of each library.
const FILE: &str = "public-items.released.txt";

/// Beginning of the line of a record that has the version.
const VERSION: &str = "# Version: ";

/// A release: its version and its public items.
#[derive(Debug, PartialEq, Eq)]
struct Release {
    version: String,
    items: BTreeSet<String>,
}

impl Release {
    /// Parses a record. `None` if it has no version.
    fn parse(text: &str) -> Option<Self> {
        let version = text.lines().find_map(|line| line.strip_prefix(VERSION))?.to_owned();
        Some(Self { version, items: items(text) })
    }

    /// Returns a line for each item of the release that `listing` lacks, and for each variant that it adds to an
    /// exhaustive enumeration, if `version` is of the series of the release. Empty for a later series.
    fn breaks(&self, version: &str, listing: &str) -> Vec<String> {
        if series(version) != series(&self.version) {
            return Vec::new();
        }
        let now = items(listing);
        let removed = self.items.difference(&now).map(|item| format!("`{item}` is removed"));
        let is_exhaustive = |owner: &str| self.items.contains(&format!("pub enum {owner}"));
        let added = now.difference(&self.items).filter(|item| {
            let path = item.strip_prefix("pub ").and_then(|item| item.split('(').next());
            path.and_then(|path| path.rsplit_once("::")).is_some_and(|(owner, _)| is_exhaustive(owner))
        });
        let added = added.map(|item| format!("`{item}` is added to an exhaustive enumeration"));
        removed.chain(added).collect()
    }
}

/// Returns the items of a list, without its comments.
fn items(listing: &str) -> BTreeSet<String> {
    listing.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// Returns the numbers of a version that compatible versions have in common: the first two before 1.0, and the first one
/// after it.
fn series(version: &str) -> String {
    let mut parts = version.split('.');
    match (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) {
        ("0", minor) => format!("0.{minor}"),
        (major, _) => major.to_owned(),
    }
}

/// Returns a line for each public item by which a library breaks users of its last release, although its version is
/// compatible with it by its number. Empty if there are none.
///
/// # Errors
/// Returns a description if the manifest or the record cannot be read.
pub(crate) fn breaks(library: &str, listing: &str) -> Result<String, String> {
    let release = recorded(library)?.ok_or_else(|| {
        format!("{library}: there is no {FILE}: write it by `cargo xtask surface --release`")
    })?;
    let version = version(library)?;
    let breaks = release.breaks(&version, listing);
    let line = |what: String| {
        format!(
            "{library}: {what} since {}: {version} is compatible with it by its number\n",
            release.version
        )
    };
    Ok(breaks.into_iter().map(line).collect())
}

/// Records the public items of a library as those of a release of its version.
///
/// # Errors
/// Returns a description if the version is recorded already with other items, if it is compatible by its number with the
/// recorded one and breaks its users, or if a file cannot be read or written.
pub(crate) fn record(library: &str, listing: &str) -> Result<(), String> {
    let version = version(library)?;
    if let Some(release) = recorded(library)? {
        if release.version == version && release.items != items(listing) {
            return Err(format!("{library}: {version} is released already: raise `version` in Cargo.toml"));
        }
        let breaks = release.breaks(&version, listing);
        if !breaks.is_empty() {
            return Err(format!(
                "{library}: {version} breaks users of {}: {}",
                release.version,
                breaks.join("; ")
            ));
        }
    }
    let listed: String = items(listing).into_iter().map(|item| item + "\n").collect();
    let text = format!(
        "# Public items of the last release of {library}: `cargo xtask surface --release`.\n{VERSION}{version}\n\n{listed}"
    );
    let path = path(library);
    fs::write(&path, text).map_err(|why| format!("{}: {why}", path.display()))
}

/// Returns the recorded release of a library. `None` without a record.
///
/// # Errors
/// Returns a description if the record has no version.
fn recorded(library: &str) -> Result<Option<Release>, String> {
    let path = path(library);
    let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
    let release = Release::parse(&text).ok_or_else(|| format!("{}: no line {VERSION}…", path.display()))?;
    Ok(Some(release))
}

/// Returns the path of the record of a library.
fn path(library: &str) -> PathBuf {
    crate::process::root().join(registry::folder(library)).join(FILE)
}

/// Returns the version in the manifest of a library.
///
/// # Errors
/// Returns a description if the manifest cannot be read or has no version.
fn version(library: &str) -> Result<String, String> {
    let path = crate::process::root().join(registry::folder(library)).join("Cargo.toml");
    let manifest = fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()))?;
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = "));
    let version = version.map(|version| version.trim_matches('"').to_owned());
    version.ok_or_else(|| format!("{}: no version", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASED: &str = "# Public items of a.\n# Version: 0.3.1\n\npub mod a\npub enum a::E\npub a::E::One\n\
                            #[non_exhaustive] pub enum a::F\npub a::F::One(u8)\npub fn a::f(u8) -> u8\n";

    fn breaks(version: &str, edit: impl Fn(&str) -> String) -> Vec<String> {
        Release::parse(RELEASED).expect("a release").breaks(version, &edit(RELEASED))
    }

    #[test]
    fn a_removal_without_a_new_series_fails() {
        let without = |text: &str| text.replace("pub fn a::f(u8) -> u8\n", "");
        for version in ["0.3.1", "0.3.2", "0.3.99"] {
            assert_eq!(breaks(version, without), ["`pub fn a::f(u8) -> u8` is removed"], "{version}");
        }
        for version in ["0.4.0", "1.0.0"] {
            assert_eq!(breaks(version, without), Vec::<String>::new(), "{version}");
        }
        let changed = breaks("0.3.1", |text| text.replace("f(u8)", "f(u16)"));
        assert_eq!(changed, ["`pub fn a::f(u8) -> u8` is removed"]);
    }

    #[test]
    fn additions_break_only_exhaustive_enumerations() {
        let with = |line: &'static str| move |text: &str| format!("{text}{line}\n");
        for line in
            ["pub struct a::New", "pub fn a::E::new() -> Self", "pub a::F::Two", "pub a::F::Two::x: u8"]
        {
            assert_eq!(breaks("0.3.2", with(line)), Vec::<String>::new(), "{line}");
        }
        let two = breaks("0.3.2", with("pub a::E::Two(alloc::string::String)"));
        assert_eq!(two, ["`pub a::E::Two(alloc::string::String)` is added to an exhaustive enumeration"]);
        assert_eq!(breaks("0.4.0", with("pub a::E::Two")), Vec::<String>::new());
    }

    #[test]
    fn series_of_versions() {
        assert_eq!((series("0.3.2").as_str(), series("2.1.0").as_str()), ("0.3", "2"));
        assert_eq!(Release::parse("pub mod a\n"), None);
    }
}
