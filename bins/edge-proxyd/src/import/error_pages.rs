//! Conversion of `error_page`, as far as the pages are files.

use super::notes::Notes;
use super::parse::Directive;
use super::passwords::local_path;
use super::quote::quoted;
use std::path::{Path, PathBuf};

/// The directives and folders that determine the error pages of a server.
pub(super) struct ErrorPageScope<'a> {
    /// The directives of `http`. Those of a name apply if the server has none of this name.
    pub(super) http: &'a [&'a Directive],
    /// The directives of the server.
    pub(super) server: &'a [Directive],
    /// The absolute folder against which relative paths are resolved.
    pub(super) folder: &'a str,
    /// The folder on this machine in which absolute paths are looked up. `None` for `/`.
    pub(super) root: Option<&'a Path>,
}

impl ErrorPageScope<'_> {
    /// Returns the key `error_page`, with `intercept` if `proxy_intercept_errors` is on. `None` if there is no page. Of
    /// several pages for a status the first counts. Notes pages that cannot be converted.
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
                    if directive.arguments.iter().any(|code| code.starts_with('=')) {
                        notes.different(directive, "the page is sent, and the status of the error stays");
                    }
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

    /// Returns the statuses from 400 to 599 of an `error_page`, and the path of its file, which exists here and is not
    /// empty.
    ///
    /// # Errors
    /// The reason for which the directive is not converted, to be noted. `None` for a named location, for 401 alone,
    /// and without arguments: other parts of the import handle these.
    fn page(&self, directive: &Directive) -> Result<(Vec<u16>, PathBuf), Option<&'static str>> {
        let Some((uri, all)) = directive.arguments.split_last() else { return Err(None) };
        let (changes, codes): (Vec<&String>, Vec<&String>) =
            all.iter().partition(|code| code.starts_with('='));
        if uri.starts_with('@') || changes.is_empty() && codes.iter().all(|code| *code == "401") {
            return Err(None);
        }
        // Plain HTTP at a port with TLS.
        if codes.iter().all(|code| *code == "497") {
            return Err(Some("plain HTTP at a port with TLS is closed"));
        }
        if !changes.is_empty() && !uri.starts_with('/') {
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

    /// Returns the folder in which nginx looks for a page: the `root` of the location that matches its URI, or else of
    /// the server, or of `http`. `None` if there is none, if it has variables, or if the location has a `…_pass`,
    /// `alias` or `return`. Of locations with a modifier, only `=` and `^~` with exactly this URI count.
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
