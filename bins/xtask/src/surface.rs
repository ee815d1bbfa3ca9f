//! `cargo xtask surface`: the public items of each library, listed in a file of the tree, so that a change of them is
//! visible in review.
//!
//! The list is created from rustdoc's JSON. Its beginning names the crates whose types are part of it; each must be
//! re-exported, since a program that passes such a type needs the same version of that crate.

use crate::links;
use crate::process::{Outcome, cargo, root, step, target};
use crate::registry::{self, LIBRARIES};
use crate::released;
use public_api::{Builder, PublicApi};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Name of the list in the folder of each library.
const FILE: &str = "public-items.txt";

/// Crates that every program has.
const STANDARD: &[&str] = &["alloc", "core", "std"];

/// Maximum number of definitions of a library, as [`is_definition`] counts them: what a reader has to survey.
const MOST: &[(&str, usize)] = &[("edge-proxy", 150)];

/// The files that [`run`] writes before it compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Update {
    /// None: the lists are only compared.
    Nothing,
    /// The lists of public items.
    Lists,
    /// The lists, and the records of a release of the versions in the manifests.
    Release,
}

/// Writes what `update` names, and compares the lists with the libraries. Features, the number of items, and compatibility
/// with the last release are checked too.
///
/// # Errors
/// Returns all differences and faults.
pub(crate) fn run(update: Update) -> Outcome {
    document()?;
    let mut wrong = String::new();
    for library in LIBRARIES {
        let listed = list(library)?;
        let path = root().join(registry::folder(library)).join(FILE);
        if update == Update::Release {
            released::record(library, &listed.text)?;
        }
        if update != Update::Nothing {
            fs::write(&path, &listed.text).map_err(|why| format!("{}: {why}", path.display()))?;
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        if kept != listed.text {
            wrong.push_str(&difference(library, &kept, &listed.text));
        }
        for foreign in &listed.missing {
            let _ = writeln!(wrong, "{library}: types of `{foreign}` are public, and it is not re-exported");
        }
        wrong.push_str(&undocumented_features(library)?);
        for item in unlinked(&front_page(library)?, &listed.text) {
            let _ = writeln!(
                wrong,
                "{library}: `{item}` is on the front page without a link to the item: write [`{item}`]"
            );
        }
        wrong.push_str(&links_to_files(library)?);
        wrong.push_str(&released::breaks(library, &listed.text)?);
        wrong.push_str(&too_many(library, listed.count));
        println!("xtask: {library}: {} public items", listed.count);
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("the public items changed; `cargo xtask surface --write` writes the lists:\n{wrong}"))
}

/// Runs rustdoc to describe the libraries as JSON.
fn document() -> Outcome {
    let folder = target().join("surface");
    let wrapper = folder.join("rustdoc");
    // Only for rustdoc, since build scripts that see the variable would build everything again.
    let script = "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n";
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&wrapper, script))
        .and_then(|()| fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)))
        .map_err(|why| format!("{}: {why}", wrapper.display()))?;
    // All libraries of the workspace, so that dependencies have the features with which the documentation is built.
    let mut command =
        cargo(&["doc", "--workspace", "--lib", "--no-deps", "--all-features", "--locked", "--quiet"]);
    command.env("RUSTDOC", &wrapper).env("RUSTDOCFLAGS", "-Z unstable-options --output-format json");
    step("surface: describing the libraries", command)
}

/// List of the public items of a library, with the number of definitions.
struct PublicItems {
    text: String,
    count: usize,
    /// Foreign crates in the list that are not re-exported.
    missing: Vec<String>,
}

/// Returns the public items of a library, and the foreign crates that they name and the library does not re-export,
/// from rustdoc's JSON.
///
/// # Errors
/// Returns an error if the JSON does not exist or cannot be read.
fn list(library: &str) -> Result<PublicItems, String> {
    let name = library.replace('-', "_");
    let path = target().join("doc").join(format!("{name}.json"));
    let api: PublicApi = Builder::from_rustdoc_json(&path)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .map_err(|why| format!("{}: {why}", path.display()))?;
    let items: Vec<String> = api.items().map(ToString::to_string).collect();
    let foreign = foreign(&name, &items);
    let exported = |other: &str| {
        // Crates that another one re-exports.
        let other = match other {
            "rustls_pki_types" => "rustls",
            "serde_spanned" => "toml",
            other => other,
        };
        items.contains(&format!("pub use {name}::{other}"))
    };
    let missing = foreign.iter().filter(|other| !exported(other)).cloned().collect();
    let named = |item: &&String| is_definition(item);
    let count = items.iter().filter(named).count();
    let mut text =
        format!("# Public items of {library}, with all features: `cargo xtask surface --write`.\n");
    let foreign: Vec<&str> = foreign.iter().map(String::as_str).collect();
    let _ = writeln!(
        text,
        "# Foreign crates: {}.\n",
        if foreign.is_empty() { "none".into() } else { foreign.join(", ") }
    );
    items.iter().for_each(|item| text.push_str(&format!("{item}\n")));
    Ok(PublicItems { text, count, missing })
}

/// Returns `true` if a line of the list defines an item: a module, type, trait, function or macro, and not a constant,
/// a field, variant, method or implementation.
fn is_definition(item: &str) -> bool {
    let words = item.strip_prefix("#[non_exhaustive] ").unwrap_or(item);
    let Some(rest) = words.strip_prefix("pub ") else { return false };
    let rest = ["const ", "unsafe ", "async "]
        .iter()
        .fold(rest, |rest, word| rest.strip_prefix(word).unwrap_or(rest));
    let kind = rest.split(' ').next().unwrap_or_default();
    match kind {
        "mod" | "struct" | "enum" | "trait" | "type" | "macro" | "union" | "static" | "proc" => true,
        // A free function is in a module, a method in a type, whose name begins with a capital letter.
        "fn" => {
            let path = rest[3..].split(['(', '<']).next().unwrap_or_default();
            path.rsplit("::").nth(1).is_some_and(|owner| !owner.starts_with(char::is_uppercase))
        }
        _ => false,
    }
}

/// Returns a line if a library has more definitions than [`MOST`] permits. Empty otherwise.
fn too_many(library: &str, count: usize) -> String {
    let most = MOST.iter().find(|(name, most)| *name == library && count > *most);
    most.map_or_else(String::new, |(_, most)| {
        format!(
            "{library}: {count} public items of at most {most}: make those private that no program needs\n"
        )
    })
}

/// Returns the crates, other than this one and the standard ones, whose items occur in the lines.
fn foreign(own: &str, items: &[String]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for item in items.iter().filter(|item| !item.starts_with("pub use ")) {
        for part in item.split(|c: char| !(c.is_alphanumeric() || "_:".contains(c))) {
            let Some((root, _)) = part.trim_start_matches(':').split_once("::") else { continue };
            let is_crate =
                !root.is_empty() && root.chars().all(|c| c.is_lowercase() || c.is_numeric() || c == '_');
            if is_crate && root != own && !STANDARD.contains(&root) {
                found.insert(root.to_owned());
            }
        }
    }
    found
}

/// Returns the lines that only one of two texts has, marked by `-` and `+`.
fn difference(library: &str, kept: &str, made: &str) -> String {
    let lines = |text: &'_ str| text.lines().map(str::to_owned).collect::<BTreeSet<String>>();
    let (kept, made) = (lines(kept), lines(made));
    let mut text = String::new();
    kept.difference(&made).for_each(|line| text.push_str(&format!("{library}: - {line}\n")));
    made.difference(&kept).for_each(|line| text.push_str(&format!("{library}: + {line}\n")));
    text
}

/// Returns a line for each feature of a library that its manifest or its front page does not describe.
///
/// # Errors
/// Returns a description if a file cannot be read.
fn undocumented_features(library: &str) -> Result<String, String> {
    let folder = root().join(registry::folder(library));
    let read = |path: PathBuf| fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()));
    let manifest = read(folder.join("Cargo.toml"))?;
    // The README is the front page of most libraries.
    let front = read(folder.join("src/lib.rs"))? + &read(folder.join("README.md"))?;
    let mut text = String::new();
    let features = manifest.split_once("[features]\n").map_or("", |(_, rest)| rest);
    let features = features.split("\n[").next().unwrap_or_default();
    let mut described = false;
    for line in features.lines() {
        let name =
            line.split_once(" = ").map(|(name, _)| name).filter(|name| !name.starts_with([' ', '#', ']']));
        match name {
            Some("default") | None => {}
            Some(name) => {
                let without_effect = manifest.contains(&format!("## `{name}`: without effect"));
                if !described || !(without_effect || front.contains(&format!("`{name}`"))) {
                    let _ = writeln!(
                        text,
                        "{library}: the feature `{name}` is not described in Cargo.toml and on the front page"
                    );
                }
            }
        }
        described = line.starts_with("##");
    }
    Ok(text)
}

/// Returns the Markdown text of a library's front page: the comment of its `lib.rs`, or the README that this includes.
///
/// # Errors
/// Returns a description if a file cannot be read.
fn front_page(library: &str) -> Result<String, String> {
    let folder = root().join(registry::folder(library));
    let read = |path: PathBuf| fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()));
    let source = read(folder.join("src/lib.rs"))?;
    if includes_readme(&source) {
        return read(folder.join("README.md"));
    }
    let comment = source.lines().map_while(|line| line.strip_prefix("//!"));
    Ok(comment.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect())
}

/// Returns `true` if the front page of a library is its README, by the text of its `lib.rs`.
fn includes_readme(source: &str) -> bool {
    source.lines().any(|line| line == "#![doc = include_str!(\"../README.md\")]")
}

/// Returns a line for each label that README and `src/links.md` of a library do not both define. The README links it
/// to a source file, for where the README itself is shown; the definition before it links the front page of the
/// documentation to the item.
///
/// # Errors
/// Returns a description if a file cannot be read.
fn links_to_files(library: &str) -> Result<String, String> {
    let folder = root().join(registry::folder(library));
    let read = |path: PathBuf| fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()));
    if !includes_readme(&read(folder.join("src/lib.rs"))?) {
        return Ok(String::new());
    }
    let (readme, items) = (read(folder.join("README.md"))?, read(folder.join("src/links.md"))?);
    let differing =
        links::labels(&readme).symmetric_difference(&links::labels(&items)).copied().collect::<Vec<_>>();
    let line =
        |label| format!("{library}: [`{label}`] is defined in only one of README.md and src/links.md\n");
    Ok(differing.into_iter().map(line).collect())
}

/// Returns the items of the list `items` that a front page names in a code span and never in a link. A code span names an
/// item if it is a type's name, a path, or the beginning of an entry of a list; other words may be those of something
/// else, such as a feature.
fn unlinked(page: &str, items: &str) -> BTreeSet<String> {
    let paths: BTreeSet<&str> = items.lines().filter(|item| is_definition(item)).filter_map(path).collect();
    let is_item = |name: &str| {
        paths.iter().any(|path| path.strip_suffix(name).is_some_and(|before| before.ends_with("::")))
    };
    let mut found = BTreeSet::new();
    for line in prose(page).filter(|line| !line.starts_with('|')) {
        for (number, span) in line.split('`').enumerate().filter(|(number, _)| number % 2 == 1) {
            let name = span.trim_end_matches("()");
            let begins_entry = number == 1 && line.trim_start().strip_prefix("- `").is_some();
            let is_named = begins_entry || name.starts_with(char::is_uppercase) || name.contains("::");
            let is_linked = ["`]", "()`]", "!`]"].iter().any(|end| page.contains(&format!("[`{name}{end}")));
            if is_named && is_item(name) && !is_linked {
                found.insert(name.to_owned());
            }
        }
    }
    found
}

/// Returns the lines of a Markdown text outside of fenced and indented code.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence && !line.starts_with("    ")
    })
}

/// Returns the path of the item that a line of the list defines. `None` if the line names no path.
fn path(item: &str) -> Option<&str> {
    let begin = item.find("::")?;
    let crate_name = item[..begin].rfind(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
    item[crate_name..].split(|c: char| !(c.is_alphanumeric() || "_:".contains(c))).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions() {
        for (item, is) in [
            ("pub mod edge_proxy", true),
            ("pub struct edge_proxy::Proxy", true),
            ("#[non_exhaustive] pub enum edge_proxy::Cause", true),
            ("pub edge_proxy::Cause::Refused", false),
            ("pub fn edge_proxy::Proxy::builder() -> edge_proxy::Builder", false),
            ("pub const fn edge_policy::decide::hello(a: u8) -> bool", true),
            ("impl edge_proxy::Proxy", false),
            ("pub edge_proxy::Config::limits: edge_proxy::Limits", false),
        ] {
            assert_eq!(is_definition(item), is, "{item}");
        }
    }

    #[test]
    fn a_library_with_too_many_items_fails() {
        assert_eq!(
            (too_many("edge-proxy", 150), too_many("pg-ensure", 1_000)),
            (String::new(), String::new())
        );
        assert!(too_many("edge-proxy", 151).starts_with("edge-proxy: 151 public items of at most 150"));
    }

    #[test]
    fn items_of_a_front_page_without_a_link() {
        let items = "pub mod a\npub struct a::Policy\npub fn a::Policy::new() -> a::Policy\npub fn a::explain(a::Policy)\npub mod a::client\n\
                     pub fn a::client::ask<T>(T) -> u8\n";
        let unlinked = |page: &str| unlinked(page, items).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(
            unlinked("`Policy`, `client::ask`, and `Other`.\n\n- `explain`: why\n"),
            "Policy client::ask explain"
        );
        assert_eq!(
            unlinked(
                "[`Policy`], again `Policy`; [`client::ask()`] `client::ask`\n\n- [`explain`]: `client`\n"
            ),
            ""
        );
        assert_eq!(
            unlinked("```\n// `Policy`\n```\n    `Policy`\n| `Policy` |\nwith the command `explain`\n"),
            ""
        );
    }

    #[test]
    fn foreign_crates() {
        let items = [
            "pub use a::rustls".to_owned(),
            "pub fn a::f(ipnet::IpNet, &core::str, alloc::vec::Vec<a::B>) -> core::result::Result<rustls_pki_types::X, a::E>".to_owned(),
        ];
        assert_eq!(foreign("a", &items), BTreeSet::from(["ipnet".to_owned(), "rustls_pki_types".to_owned()]));
    }
}
