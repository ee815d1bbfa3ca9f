//! Conversion of the rewriting of `Location` and of cookies in responses.

use super::notes::Notes;
use super::parse::Directive;
use super::quote::quoted;
use super::scope::Scope;
use super::variables::Variables;

impl Scope {
    /// Reads a `proxy_redirect`: `off` removes the rules so far, `default` restores nginx's default, and a pair of
    /// prefix and replacement adds a rule. Notes expressions and unknown variables, which are left out, and redirects
    /// from `http://` to HTTPS, which need no rule.
    pub(super) fn proxy_redirect(&mut self, directive: &Directive, variables: &Variables, notes: &mut Notes) {
        let rules = self.rewrites_location.get_or_insert_default();
        let arguments: Vec<String> = directive.arguments.iter().map(|text| variables.expand(text)).collect();
        match arguments.as_slice() {
            [one] if one == "off" => rules.clear(),
            [one] if one == "default" => self.rewrites_location = None,
            [from, to] if from == "http://" && (to.starts_with("$scheme") || to == "https://") => {
                notes.harmless(directive, "Location is forwarded unchanged: the service knows from X-Forwarded-Proto that clients use https");
            }
            [from, to] if !from.starts_with('~') && !from.contains('$') => {
                let to = ["$scheme://$host:$server_port", "$scheme://$http_host", "$scheme://$host"]
                    .iter()
                    .find_map(|begin| to.strip_prefix(begin))
                    .unwrap_or(to);
                if to.contains('$') || to.is_empty() {
                    notes.different(
                        directive,
                        "its variable is not known here: Location is forwarded unchanged",
                    );
                } else {
                    rules.push((from.clone(), to.to_owned()));
                }
            }
            _ => notes.different(directive, "Location is not rewritten by expressions and variables"),
        }
    }

    /// Reads a `proxy_cookie_path` or `proxy_cookie_domain`: `off` removes all rules for cookies, and a pair of literal
    /// texts adds one unless the first text has a rule already. Notes everything else, which is left out.
    pub(super) fn cookie(&mut self, directive: &Directive, notes: &mut Notes) {
        let path = directive.name == "proxy_cookie_path";
        let fine = |text: &String| {
            !text.contains(['$', ';', ',', '~', '"']) && text.is_ascii() && text.trim() == text
        };
        match directive.arguments.as_slice() {
            [one] if one == "off" => self.cookies.clear(),
            [from, to] if fine(from) && fine(to) && !from.is_empty() && (!path || to.starts_with('/')) => {
                let key = if path { "path" } else { "domain" };
                if !self.cookies.iter().any(|(known, begin, _)| *known == key && begin == from) {
                    self.cookies.push((key, from.clone(), to.clone()));
                }
            }
            _ => notes.different(
                directive,
                "cookies are rewritten by beginnings of their path and by whole domains only",
            ),
        }
    }

    /// Returns the key `cookies`. `None` if no cookies are rewritten.
    pub(super) fn cookies(&self) -> Option<String> {
        let of = |key: &str| {
            let pairs: Vec<String> = self
                .cookies
                .iter()
                .filter(|(known, ..)| *known == key)
                .map(|(_, from, to)| format!("{} = {}", quoted(from), quoted(to)))
                .collect();
            (!pairs.is_empty()).then(|| format!("{key} = {{ {} }}", pairs.join(", ")))
        };
        let parts: Vec<String> = ["path", "domain"].into_iter().filter_map(of).collect();
        (!parts.is_empty()).then(|| format!("cookies = {{ {} }}", parts.join(", ")))
    }

    /// Sets the rewriting of `Location` for a `proxy_pass` or `grpc_pass`: the rules of `proxy_redirect`; or without
    /// any, and if `default`, the replacement of the address of the upstream as nginx does by default. `url` is the
    /// address, `to` its path, and `path` that of the location, empty for a regular expression. Rules that are empty or
    /// not printable ASCII are noted and left out.
    pub(super) fn redirects(
        &mut self,
        pass: &Directive,
        url: &str,
        to: Option<&str>,
        path: &str,
        default: bool,
        notes: &mut Notes,
    ) {
        self.location = match &self.rewrites_location {
            Some(rules) => rules.clone(),
            None if !default || path.is_empty() || pass.name == "grpc_pass" || !url.is_ascii() => Vec::new(),
            // Without a path in the address, nginx leaves a location's prefix out of it too.
            None => match to {
                None => vec![(format!("{url}/"), "/".to_owned())],
                Some(_) => vec![(url.to_owned(), path.to_owned())],
            },
        };
        self.location.retain(|(from, to)| {
            let fine = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
            let kept = !from.is_empty() && fine(from) && fine(to);
            if !kept {
                notes.different(pass, "Location is forwarded unchanged");
            }
            kept
        });
        self.location.sort();
        self.location.dedup_by(|a, b| a.0 == b.0);
    }
}
