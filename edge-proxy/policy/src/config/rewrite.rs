//! Rewriting of paths, fields and cookies between the names that clients see and those of a service.

/// A prefix of a value, and the text that takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixRule {
    /// The beginning of a value that the rule is for.
    pub from: String,
    /// The text that replaces it.
    pub to: String,
}

impl PrefixRule {
    /// Returns a rule that replaces one beginning by another.
    pub fn new(from: impl Into<String>, to: impl Into<String>) -> Self {
        Self { from: from.into(), to: to.into() }
    }
}

/// Rewriting of the cookies that a service sets (RFC 6265 §4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CookieRules {
    /// Replacements at the beginning of `Path`, as nginx's `proxy_cookie_path`. The longest that matches is applied.
    pub path: Vec<PrefixRule>,
    /// Replacements of a whole `Domain`, with or without its leading dot, as nginx's `proxy_cookie_domain`. An empty one
    /// removes the attribute.
    pub domain: Vec<PrefixRule>,
}

impl CookieRules {
    /// Returns whether there are no rules.
    pub const fn is_empty(&self) -> bool {
        self.path.is_empty() && self.domain.is_empty()
    }
}
