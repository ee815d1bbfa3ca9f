//! Names for which a certificate can be issued.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A DNS name in lowercase A-labels without a trailing dot, possibly a wildcard (`*.example.org`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(into = "String", try_from = "String"))]
pub struct Name(String);

/// Error of parsing a certificate name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("not a valid name: `{name}` {why}")]
pub struct NameError {
    /// The rejected text, at most 300 characters.
    pub name: String,
    /// Description of the error, which begins with a verb ("is empty…") and mostly ends with the fix.
    pub why: Cow<'static, str>,
}

impl Name {
    /// Returns `true` for a wildcard name.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// Returns the name without `*.`, the identifier of the ACME authorization.
    #[must_use]
    pub fn base(&self) -> &str {
        self.0.strip_prefix("*.").unwrap_or(&self.0)
    }

    /// Returns the name of the challenge's TXT record (RFC 8555 §8.4), before CNAME records are followed.
    #[must_use]
    pub fn challenge(&self) -> String {
        format!("_acme-challenge.{}", self.base())
    }

    /// Returns the registered domain (public suffix and one label, by the public suffix list), by which Let's Encrypt
    /// counts certificates. A name without a registered domain, such as a public suffix, is returned without `*.`.
    #[must_use]
    pub fn registered_domain(&self) -> &str {
        psl::domain_str(self.base()).unwrap_or_else(|| self.base())
    }

    /// Returns `true` if the name, without `*.`, ends in an entry of the public suffix list or is one, in either of its
    /// sections (ICANN and private). Public CAs issue no certificates for other names, such as `host.internal`.
    #[must_use]
    pub fn has_public_suffix(&self) -> bool {
        psl::suffix(self.base().as_bytes()).is_some_and(|suffix| suffix.is_known())
    }

    /// Returns the name as a string slice, including `*.`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name in the form used for folders: `*` becomes `_`, so that `*.example.org` is `_.example.org`.
    #[must_use]
    pub fn folder(&self) -> String {
        self.0.replacen('*', "_", 1)
    }
}

/// Returns the names at which the zone of `name` may begin: the name itself, then its parents up to the registered
/// domain, which is the last.
///
/// For a name without a registered domain, such as a public suffix, the last is that of two labels. Empty for a single
/// label. A trailing dot is ignored.
pub fn zone_candidates(name: &str) -> impl Iterator<Item = &str> {
    let name = name.trim_end_matches('.');
    let last = psl::domain_str(name).map_or(0, str::len);
    std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, rest)| rest))
        .take_while(move |name| name.contains('.') && name.len() >= last)
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong =
            |why: &'static str| Err(NameError { name: text.chars().take(300).collect(), why: why.into() });
        let lower = text.to_ascii_lowercase();
        let lower = lower.strip_suffix('.').unwrap_or(&lower);
        let base = lower.strip_prefix("*.").unwrap_or(lower);
        if base.is_empty() {
            return wrong("is empty: write a name such as www.example.org");
        }
        if base.parse::<std::net::IpAddr>().is_ok() {
            return wrong("is an address: DNS-01 proves names only");
        }
        if base.contains('*') {
            return wrong("has a `*` that is not its first label: write `*.example.org`");
        }
        if !base.is_ascii() {
            return Err(NameError { name: text.chars().take(300).collect(), why: not_ascii(lower) });
        }
        if lower.len() > 253 {
            return wrong("is longer than 253 bytes");
        }
        if !base.contains('.') {
            return wrong("is a single label: write the whole name, such as www.example.org");
        }
        for label in base.split('.') {
            if label.is_empty() {
                return wrong("has an empty label: two dots in a row, or one at the beginning");
            }
            if label.len() > 63 {
                return wrong("has a label longer than 63 bytes");
            }
            if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                return wrong(
                    "has a character other than letters, digits and hyphens (write the name without scheme, port or path)",
                );
            }
            if label.starts_with('-') || label.ends_with('-') {
                return wrong("has a label that begins or ends with a hyphen");
            }
        }
        if base.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
            return wrong("ends in a number, as no top-level domain does");
        }
        Ok(Self(lower.to_owned()))
    }
}

/// Returns the description of a name that is not ASCII, with its A-label form if it can be converted.
#[cfg(feature = "client")]
fn not_ascii(name: &str) -> Cow<'static, str> {
    let (star, base) = name.strip_prefix("*.").map_or(("", name), |base| ("*.", base));
    match idna::domain_to_ascii(base) {
        Ok(label) if label.is_ascii() => format!("is not ASCII: write `{star}{label}`").into(),
        _ => "is not ASCII: write its A-label, which begins with xn--".into(),
    }
}

/// Returns the description of a name that is not ASCII.
#[cfg(not(feature = "client"))]
const fn not_ascii(_: &str) -> Cow<'static, str> {
    Cow::Borrowed("is not ASCII: write its A-label, which begins with xn--")
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names() {
        let name: Name = "*.Example.ORG.".parse().expect("a name");
        assert_eq!((name.as_str(), name.base()), ("*.example.org", "example.org"));
        assert_eq!(name.challenge(), "_acme-challenge.example.org");
        assert_eq!("a.b.example.co.uk".parse::<Name>().expect("a name").registered_domain(), "example.co.uk");
        for wrong in [
            "",
            ".",
            "a",
            "*.a",
            "a..b",
            "-a.b",
            "a-.b",
            "a b.c",
            "https://a.b",
            "a.b:443",
            "1.2.3.4",
            "::1",
            "a.*.b",
            "*a.b",
            "ä.example",
            "a.123",
            "**.a.b",
        ] {
            assert!(wrong.parse::<Name>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn zones_never_reach_the_public_suffix() {
        let all: Vec<_> = zone_candidates("_acme-challenge.a.example.co.uk").collect();
        assert_eq!(all, ["_acme-challenge.a.example.co.uk", "a.example.co.uk", "example.co.uk"]);
        let unknown: Vec<_> = zone_candidates("_acme-challenge.host.lab").collect();
        assert_eq!(unknown, ["_acme-challenge.host.lab", "host.lab"]);
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_is_stable(text in "\\PC{0,60}") {
            if let Ok(name) = text.parse::<Name>() {
                prop_assert_eq!(name.as_str().parse::<Name>(), Ok(name.clone()));
            }
        }
    }
}
