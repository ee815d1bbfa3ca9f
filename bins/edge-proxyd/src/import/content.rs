//! The directives of a location that determine the content of responses.

use super::parse::Directive;
use super::variables::Variables;

/// The directives of a location that determine the content of responses.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// The last `proxy_pass` or `grpc_pass`, and its address after the expansion of variables. `None` without one.
    pub(super) pass: Option<(Directive, String)>,
    /// The named location (`@NAME`) of `try_files`, or of `error_page` for 404, which serves requests for which there
    /// is no file. `None` without one.
    pub(super) fallback: Option<String>,
    /// A directive whose content is not converted, such as `alias`, and the reason; of several, the last one that
    /// passes to another protocol, or else the first. `None` without one.
    pub(super) unsupported: Option<(Directive, &'static str)>,
}

impl Content {
    /// Records a directive that determines content: a `…_pass`, `try_files`, `error_page`, or one that serves files or
    /// a page of a module. Returns true for those and for `location`, so that nothing else reads them; for `error_page`
    /// only if its last argument is a named location.
    pub(super) fn take(&mut self, directive: &Directive, variables: &Variables) -> bool {
        match directive.name.as_str() {
            "proxy_pass" | "grpc_pass" => {
                // Whether the address had variables changes what its path means.
                self.pass = Some((directive.clone(), variables.expand(directive.first())));
            }
            "location" => {}
            "try_files" => {
                let last = directive.arguments.last().filter(|last| last.starts_with('@'));
                self.fallback = last.cloned();
                self.unsupported.get_or_insert((directive.clone(), "files are not served"));
            }
            "error_page" => {
                let last = directive.arguments.last().filter(|last| last.starts_with('@'));
                if directive.arguments.iter().any(|code| code == "404") && self.fallback.is_none() {
                    self.fallback = last.cloned();
                }
                return last.is_some();
            }
            "fastcgi_pass" | "uwsgi_pass" | "scgi_pass" | "memcached_pass" => {
                self.unsupported = Some((directive.clone(), "only HTTP is forwarded"));
            }
            "alias" | "autoindex" | "stub_status" | "empty_gif" | "mp4" | "flv" | "dav_methods"
            | "random_index" => {
                self.unsupported.get_or_insert((directive.clone(), "files are not served"));
            }
            _ => return false,
        }
        true
    }
}
