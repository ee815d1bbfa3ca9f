//! Conversion of `error_page`, as far as the pages are files.

use super::notes::Notes;
use super::parse::Directive;
use super::passwords::local_path;
use super::quote::quoted;
use std::path::{Path, PathBuf};

/// The directives and folders that determine the error pages of a server.
pub(super) struct ErrorPageScope<'a> {
    /// The directives of `http`, which apply if the server has none.
    pub(super) http: &'a [&'a Directive],
    /// The directives of the server.
    pub(super) server: &'a [Directive],
    /// The folder of relative paths.
    pub(super) folder: &'a str,
    /// The folder on this machine that stands for `/`. `None` for `/` itself.
    pub(super) root: Option<&'a Path>,
}

impl ErrorPageScope<'_> {
    /// Returns the key `error_page` as text, and notes pages that cannot be converted. `None` if there is no page. The
    /// first page for a status counts.
    pub(super) fn key(&self, notes: &mut Notes) -> Option<String> {
        let of = |name: &str| -> Vec<&Directive> {
            let own: Vec<_> = self.server.iter().filter(|one| one.name == name).collect();
            if own.is_empty() {
                self.http.iter().copied().filter(|one| one.name == name).collect()
            } else {
                own
            }
        };
        let intercept = of("proxy_intercept_errors").iter().any(|one| one.first() == "on");
        let mut pages: Vec<String> = Vec::new();
        let mut taken: Vec<u16> = Vec::new();
        for directive in of("error_page") {
            match self.page(directive) {
                Ok((mut statuses, file)) => {
                    statuses.retain(|status| !taken.contains(status));
                    taken.extend(&statuses);
                    if statuses.is_empty() {
                        continue;
                    }
                    let also = if intercept { ", intercept = true" } else { "" };
                    let all: Vec<String> = statuses.iter().map(ToString::to_string).collect();
                    let file = quoted(&file.display().to_string());
                    pages.push(format!("{{ status = [{}], file = {file}{also} }}", all.join(", ")));
                }
                Err(Some(why)) => notes.different(directive, why),
                Err(None) => {}
            }
        }
        (!pages.is_empty()).then(|| format!("error_page = [{}]", pages.join(", ")))
    }

    /// Returns the statuses of an `error_page`, and its file.
    ///
    /// # Errors
    /// The reason for which it is not converted. `None` if another part of the import converts or notes it.
    fn page(&self, directive: &Directive) -> Result<(Vec<u16>, PathBuf), Option<&'static str>> {
        let Some((uri, codes)) = directive.arguments.split_last() else { return Err(None) };
        if uri.starts_with('@') || codes.iter().all(|code| code == "401") {
            return Err(None);
        }
        // Plain HTTP at a port with TLS.
        if codes.iter().all(|code| code == "497") {
            return Err(Some("plain HTTP at a port with TLS is closed"));
        }
        if codes.iter().any(|code| code.starts_with('=')) {
            return Err(Some("the status of an error is not changed: write [[site.error_page]]"));
        }
        let statuses: Vec<u16> = codes
            .iter()
            .filter_map(|code| code.parse().ok())
            .filter(|code| (400..=599).contains(code) && *code != 497)
            .collect();
        if statuses.is_empty() || !uri.starts_with('/') || uri.contains(['$', '?']) {
            return Err(Some("only files are error pages: write [[site.error_page]] with `body` or `file`"));
        }
        const MISSING: &str =
            "its file is not found here: write [[site.error_page]] with `file`, or import where the file is";
        let file = self.root_of(uri).ok_or(Some(MISSING))?.join(uri.trim_start_matches('/'));
        let there = std::fs::read(local_path(&file, self.root)).is_ok_and(|content| !content.is_empty());
        if there { Ok((statuses, file)) } else { Err(Some(MISSING)) }
    }

    /// Returns the folder in which nginx looks for a page: the `root` of the location that matches it, of the server,
    /// or of `http`. `None` if there is none, if it has variables, or if the location does not serve files.
    fn root_of(&self, uri: &str) -> Option<PathBuf> {
        let at = |location: &&Directive| match location.arguments.as_slice() {
            [modifier, path] if modifier == "=" || modifier == "^~" => (path == uri).then_some(usize::MAX),
            [path] if uri.starts_with(path.as_str()) => Some(path.len()),
            _ => None,
        };
        let locations = self.server.iter().filter(|one| one.name == "location");
        let location = locations.filter(|one| at(one).is_some()).max_by_key(|one| at(one));
        let inner = location.map_or(&[][..], Directive::inner);
        // A page of a service is no file.
        if inner.iter().any(|one| one.name.ends_with("_pass") || one.name == "alias" || one.name == "return")
        {
            return None;
        }
        let of = |block: &mut dyn Iterator<Item = &Directive>| {
            block.filter(|one| one.name == "root").last().map(|one| one.first().to_owned())
        };
        let root = of(&mut inner.iter())
            .or_else(|| of(&mut self.server.iter()))
            .or_else(|| of(&mut self.http.iter().copied()))?;
        (!root.contains('$')).then(|| Path::new(self.folder).join(root))
    }
}
