//! Rewriting of paths, fields and cookies between the names used by clients and those used by an upstream.

/// A prefix of a value and its replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixRule {
    /// The prefix to match, byte for byte. Must not be empty. For [`CookieRules::domain`], it is the whole value,
    /// compared without regard to letter case.
    pub from: String,
    /// The text that replaces the prefix, or the whole value of a domain.
    pub to: String,
}

impl PrefixRule {
    /// Returns a rule that replaces the prefix `from` by `to`.
    pub fn new(from: impl Into<String>, to: impl Into<String>) -> Self {
        Self { from: from.into(), to: to.into() }
    }
}

/// The rewriting of the Set-Cookie fields of an upstream (RFC 6265 §4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CookieRules {
    /// The replacements of a prefix of `Path`, like nginx's `proxy_cookie_path`. The longest matching prefix is
    /// replaced. Replacements begin with `/`.
    pub path: Vec<PrefixRule>,
    /// The replacements of a whole `Domain`, with or without its leading dot, like nginx's `proxy_cookie_domain`. The
    /// first match is applied. An empty replacement removes the attribute.
    pub domain: Vec<PrefixRule>,
}

impl CookieRules {
    /// Returns whether there are no rules.
    pub const fn is_empty(&self) -> bool {
        self.path.is_empty() && self.domain.is_empty()
    }
}
