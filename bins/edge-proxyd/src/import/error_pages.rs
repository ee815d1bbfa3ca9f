//! Conversion of `error_page`, as far as the pages are files.

use super::matching::modifier_and_path;
use super::notes::Notes;
use super::parse::Directive;
use super::passwords::local_path;
use super::pattern::{Shape, shapes};
use super::quote::quoted;
use std::path::{Path, PathBuf};

/// The address lists.
const ADDRESSES: &[&str] = &["allow", "deny"];
/// The directive of authentication by password.
const PASSWORD: &[&str] = &["auth_basic"];
/// The directive of authentication by a service.
const SERVICE: &[&str] = &["auth_request"];
/// The directive of authentication by a token.
const TOKEN: &[&str] = &["auth_jwt"];
/// The directives of each restriction. A location with one of them inherits none of them.
const RESTRICTIONS: [&[&str]; 4] = [ADDRESSES, PASSWORD, SERVICE, TOKEN];

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
        let mut statuses: Vec<u16> = codes
            .iter()
            .filter_map(|code| code.parse().ok())
            .filter(|code| (400..=599).contains(code) && *code != 497)
            .collect();
        if statuses.is_empty()
            || !uri.starts_with('/')
            || uri.contains(['$', '?'])
            || uri.split('/').any(|segment| segment == "..")
        {
            return Err(Some("only files are error pages: write [[site.error_page]] with `body` or `file`"));
        }
        const MISSING: &str =
            "its file is not found here: write [[site.error_page]] with `file`, or import where the file is";
        if !self.is_file_for_all(uri) {
            return Err(Some(
                "its file is not served to everyone, or another location may answer: write [[site.error_page]]",
            ));
        }
        if self.inherits_what_others_relax(uri) {
            return Err(Some(
                "nginx refuses the page to some clients of other locations: write [[site.error_page]]",
            ));
        }
        statuses.retain(|status| !self.refuses_page(uri, *status));
        if statuses.is_empty() {
            return Err(Some("nginx does not send it, since it refuses the page like the request"));
        }
        let file = self.root_of(uri).ok_or(Some(MISSING))?.join(uri.trim_start_matches('/'));
        let there = std::fs::read(local_path(&file, self.root)).is_ok_and(|content| !content.is_empty());
        if there { Ok((statuses, file)) } else { Err(Some(MISSING)) }
    }

    /// Returns the locations at the level of the server, each with its modifier and its path or expression.
    fn locations(&self) -> impl Iterator<Item = (&Directive, &str, &str)> {
        let locations = self.server.iter().filter(|one| one.name == "location");
        locations.filter_map(|one| modifier_and_path(one).map(|(modifier, path)| (one, modifier, path)))
    }

    /// Returns the location without an expression that nginx chooses for a URI, with its modifier: that of exactly this
    /// URI with `=`, or else the one with the longest prefix. `None` if there is none.
    fn location_of(&self, uri: &str) -> Option<(&Directive, &str)> {
        let length = |modifier: &str, path: &str| match modifier {
            "=" => (path == uri).then_some(usize::MAX),
            "" | "^~" => uri.starts_with(path).then_some(path.len()),
            _ => None,
        };
        let found = self
            .locations()
            .filter_map(|(one, modifier, path)| Some((length(modifier, path)?, one, modifier)));
        found.max_by_key(|(length, ..)| *length).map(|(_, one, modifier)| (one, modifier))
    }

    /// Returns whether nginx answers a URI with a file, to every client: false if the location that it chooses has
    /// locations within, refuses clients or leads elsewhere, or if an expression that may match does so or has a
    /// `root`. Expressions are not tried after `=` and `^~`.
    fn is_file_for_all(&self, uri: &str) -> bool {
        let has_root = |one: &Directive| one.inner().iter().any(|inner| inner.name == "root");
        self.location_of(uri).is_none_or(|(one, _)| is_plain(one))
            && self.expressions_for(uri).all(|one| is_plain(one) && !has_root(one))
    }

    /// Returns the locations with an expression that nginx may choose for a URI in place of that of
    /// [`location_of`](Self::location_of).
    fn expressions_for(&self, uri: &str) -> impl Iterator<Item = &Directive> {
        let is_final = self.location_of(uri).is_some_and(|(_, modifier)| matches!(modifier, "=" | "^~"));
        let expressions = self.locations().filter(|(_, modifier, _)| matches!(*modifier, "~" | "~*"));
        expressions
            .filter(move |(.., expression)| !is_final && may_match(expression, uri))
            .map(|(one, ..)| one)
    }

    /// Returns the directives of these names that apply to a page because its location inherits them, from the server or
    /// else from `http`. Empty if each location that nginx may choose for it has one of its own.
    fn inherited(&self, uri: &str, names: &[&str]) -> Vec<&Directive> {
        let is_named = |one: &&Directive| names.contains(&one.name.as_str());
        let has_own = |location: &Directive| location.inner().iter().any(|one| is_named(&one));
        if self.location_of(uri).is_some_and(|(location, _)| has_own(location))
            && self.expressions_for(uri).all(has_own)
        {
            return Vec::new();
        }
        let own: Vec<&Directive> = self.server.iter().filter(is_named).collect();
        if own.is_empty() { self.http.iter().copied().filter(is_named).collect() } else { own }
    }

    /// Returns whether a page inherits this restriction.
    fn inherits(&self, uri: &str, names: &[&str]) -> bool {
        let inherited = self.inherited(uri, names);
        let restricts = |one: &&Directive| match one.name.as_str() {
            "allow" => false,
            "deny" => true,
            _ => one.first() != "off",
        };
        inherited.iter().any(restricts)
    }

    /// Returns whether a page inherits a restriction that another location replaces, so that clients who may use that
    /// location are refused the page.
    fn inherits_what_others_relax(&self, uri: &str) -> bool {
        let replaces = |names: &[&str]| {
            let locations = self.server.iter().filter(|one| one.name == "location");
            locations.flat_map(Directive::inner).any(|one| has(one, names))
        };
        RESTRICTIONS.iter().any(|names| self.inherits(uri, names) && replaces(names))
    }

    /// Returns whether nginx refuses a page with the status that it is for, and then sends its own page, because the
    /// page's location inherits the authentication that the request failed.
    fn refuses_page(&self, uri: &str, status: u16) -> bool {
        match status {
            401 => self.inherits(uri, PASSWORD) || self.inherits(uri, SERVICE) || self.inherits(uri, TOKEN),
            403 => self.inherits(uri, SERVICE),
            _ => false,
        }
    }

    /// Returns the folder in which nginx looks for a page: the `root` of the location that
    /// [`location_of`](Self::location_of) returns for its URI, or else of the server, or of `http`. `None` if there is
    /// none, or if it has variables.
    fn root_of(&self, uri: &str) -> Option<PathBuf> {
        let inner = self.location_of(uri).map_or(&[][..], |(location, _)| location.inner());
        let of = |block: &mut dyn Iterator<Item = &Directive>| {
            block.filter(|one| one.name == "root").last().map(|one| one.first().to_owned())
        };
        let root = of(&mut inner.iter())
            .or_else(|| of(&mut self.server.iter()))
            .or_else(|| of(&mut self.http.iter().copied()))?;
        (!root.contains('$')).then(|| Path::new(self.folder).join(root))
    }
}

/// Returns whether a location answers every client with the file at the path of the request: it has no locations
/// within, and nothing that refuses clients or leads elsewhere.
fn is_plain(location: &Directive) -> bool {
    location.inner().iter().all(|one| match one.name.as_str() {
        "location" | "alias" | "return" | "rewrite" | "if" | "deny" | "try_files" => false,
        "auth_basic" | "auth_request" | "auth_jwt" => one.first() == "off",
        name => !name.ends_with("_pass"),
    })
}

/// Returns whether a directive, or one within it, has one of these names.
fn has(directive: &Directive, names: &[&str]) -> bool {
    names.contains(&directive.name.as_str()) || directive.inner().iter().any(|one| has(one, names))
}

/// Returns whether an expression may match a path, as far as it is analysed; letter case does not count.
fn may_match(expression: &str, path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    shapes(expression).is_none_or(|shapes| {
        shapes.into_iter().any(|shape| {
            let literal = shape.literal.to_ascii_lowercase();
            Shape { literal, ..shape }.is_match(&path) != Some(false)
        })
    })
}
