//! Policies for browsers that the responses of a site carry as fields, a type for each: its settings, the field that it
//! sets, and the errors of its settings.

use edge_http::Fields;
use edge_http::host::split_authority;
use std::fmt;

/// The policies for browsers of a site. Each replaces the upstream's field of the same name in final responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponsePolicies {
    /// The Strict-Transport-Security policy. `None` sends no such field.
    pub hsts: Option<Hsts>,
    /// The Permissions-Policy. `None` sends no such field.
    pub permissions: Option<PermissionsPolicy>,
}

impl ResponsePolicies {
    /// Returns the policies that are set.
    fn set(&self) -> impl Iterator<Item = &dyn ResponsePolicy> {
        let hsts = self.hsts.as_ref().map(|policy| policy as &dyn ResponsePolicy);
        let permissions = self.permissions.as_ref().map(|policy| policy as &dyn ResponsePolicy);
        [hsts, permissions].into_iter().flatten()
    }

    /// Returns the keys of the policies that are set.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.set().map(ResponsePolicy::key)
    }

    /// Returns the errors of the settings, in no particular order.
    pub(crate) fn errors(&self) -> impl Iterator<Item = PolicyError> {
        self.set().filter_map(ResponsePolicy::error)
    }

    /// Sets the fields of the policies in a final response. `secure` is true for a response over TLS.
    pub(crate) fn apply(&self, secure: bool, fields: &mut Fields) {
        for policy in self.set().filter(|policy| secure || !policy.requires_tls()) {
            fields.remove_named(policy.field().as_bytes());
            fields.push(policy.field().as_bytes(), policy.value().as_bytes());
        }
    }
}

/// A policy for browsers that responses carry as a field.
trait ResponsePolicy {
    /// Returns the key of the policy in the configuration.
    fn key(&self) -> &'static str;
    /// Returns the name of the field.
    fn field(&self) -> &'static str;
    /// Returns the value of the field.
    fn value(&self) -> String;
    /// Returns true if the field is sent over TLS only.
    fn requires_tls(&self) -> bool {
        false
    }
    /// Returns the error of the settings. `None` if they are valid.
    fn error(&self) -> Option<PolicyError> {
        None
    }
}

/// An error of the settings of a policy: the key, its value, and the description.
pub(crate) struct PolicyError {
    pub(crate) key: &'static str,
    pub(crate) value: String,
    pub(crate) why: String,
}

/// A year in seconds: the lowest `max-age` that the preload list accepts.
const YEAR: u64 = 31_536_000;

/// The Strict-Transport-Security policy (RFC 6797), which makes browsers use HTTPS only. The field is sent on secure
/// transports only and replaces the upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hsts {
    /// The `max-age` directive, in seconds.
    pub max_age: u64,
    /// The `includeSubDomains` directive.
    pub include_subdomains: bool,
    /// The `preload` directive, by which the owner consents to the preload lists of browsers. Requires
    /// `include_subdomains` and a `max_age` of at least 31536000.
    pub preload: bool,
}

/// Formats the field value, such as `max-age=31536000; includeSubDomains; preload`.
impl fmt::Display for Hsts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "max-age={}", self.max_age)?;
        if self.include_subdomains {
            f.write_str("; includeSubDomains")?;
        }
        if self.preload {
            f.write_str("; preload")?;
        }
        Ok(())
    }
}

impl ResponsePolicy for Hsts {
    fn key(&self) -> &'static str {
        "hsts"
    }

    fn field(&self) -> &'static str {
        "Strict-Transport-Security"
    }

    fn value(&self) -> String {
        self.to_string()
    }

    fn requires_tls(&self) -> bool {
        true
    }

    fn error(&self) -> Option<PolicyError> {
        let why = "needs include_subdomains = true and a max_age of at least a year, or the preload list refuses it";
        let refused = self.preload && (!self.include_subdomains || self.max_age < YEAR);
        refused.then(|| PolicyError { key: "hsts.preload", value: "true".into(), why: why.into() })
    }
}

/// The Permissions-Policy (W3C, Permissions Policy Level 1): the origins whose documents may use features of the
/// browser, such as the camera, in pages of the site. A feature that is not listed keeps the browser's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PermissionsPolicy {
    features: Vec<(String, Vec<AllowedOrigin>)>,
}

/// A member of a feature's list in Permissions-Policy: the origins whose documents may use the feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// `*`: any origin.
    Any,
    /// `self`: the origin of the page.
    Own,
    /// An origin, such as `https://maps.example.org` or `https://*.example.org`. [`PermissionsPolicy::allow`] accepts
    /// only what parses.
    Origin(String),
}

/// The reason why an entry of a Permissions-Policy is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPermission {
    /// The name of the feature does not begin with a lower-case letter, or has other characters than lower-case
    /// letters, digits and `-`.
    #[error("not a valid feature: expected lower-case letters, digits and -, such as camera or geolocation")]
    Feature,
    /// The origin is neither `self` nor `*`, nor a scheme, `://`, and a host with an optional `*.` before it and an
    /// optional port.
    #[error("not a valid origin: expected self, *, or a scheme and a host, such as https://maps.example.org")]
    Origin,
    /// Other origins are listed beside `*`.
    #[error("* allows every origin: leave the others out")]
    BesideAny,
}

impl PermissionsPolicy {
    /// Sets the origins that may use a feature. An empty list denies it to all. Replaces earlier origins of the
    /// feature.
    ///
    /// # Errors
    /// [`InvalidPermission`] if the name of the feature is not valid, an [`AllowedOrigin::Origin`] is not what
    /// its text parses to, or other origins are listed beside [`AllowedOrigin::Any`].
    pub fn allow(&mut self, feature: &str, origins: Vec<AllowedOrigin>) -> Result<(), InvalidPermission> {
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !feature.starts_with(|first: char| first.is_ascii_lowercase()) || !feature.bytes().all(letters) {
            return Err(InvalidPermission::Feature);
        }
        let parsed = |text: &str| text.parse::<AllowedOrigin>();
        if origins.iter().any(
            |origin| matches!(origin, AllowedOrigin::Origin(text) if parsed(text).as_ref() != Ok(origin)),
        ) {
            return Err(InvalidPermission::Origin);
        }
        if origins.len() > 1 && origins.contains(&AllowedOrigin::Any) {
            return Err(InvalidPermission::BesideAny);
        }
        self.features.retain(|(name, _)| name != feature);
        self.features.push((feature.to_owned(), origins));
        Ok(())
    }

    /// Returns true if no feature is listed.
    pub fn is_empty(&self) -> bool {
        self.features.is_empty()
    }
}

impl std::str::FromStr for AllowedOrigin {
    type Err = InvalidPermission;

    /// Parses `self`, `*`, or an origin: a scheme, a host with an optional `*.` before it, and an optional port.
    fn from_str(text: &str) -> Result<Self, InvalidPermission> {
        match text {
            "*" => return Ok(Self::Any),
            "self" => return Ok(Self::Own),
            _ => {}
        }
        let (scheme, authority) = text.split_once("://").ok_or(InvalidPermission::Origin)?;
        let host = authority.strip_prefix("*.").unwrap_or(authority);
        let scheme_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let host_letter =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'[' | b']' | b':');
        let valid = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(scheme_letter)
            && host.bytes().all(host_letter)
            && split_authority(host).is_some_and(|(name, ..)| !name.is_empty());
        if valid { Ok(Self::Origin(text.to_owned())) } else { Err(InvalidPermission::Origin) }
    }
}

/// Formats the field value, a dictionary of RFC 9651, such as `camera=(), geolocation=(self
/// "https://maps.example.org")`.
impl fmt::Display for PermissionsPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (feature, origins)) in self.features.iter().enumerate() {
            f.write_str(if at > 0 { ", " } else { "" })?;
            write!(f, "{feature}=(")?;
            for (at, origin) in origins.iter().enumerate() {
                f.write_str(if at > 0 { " " } else { "" })?;
                match origin {
                    AllowedOrigin::Any => f.write_str("*")?,
                    AllowedOrigin::Own => f.write_str("self")?,
                    AllowedOrigin::Origin(origin) => write!(f, "\"{origin}\"")?,
                }
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl ResponsePolicy for PermissionsPolicy {
    fn key(&self) -> &'static str {
        "permissions"
    }

    fn field(&self) -> &'static str {
        "Permissions-Policy"
    }

    fn value(&self) -> String {
        self.to_string()
    }

    fn error(&self) -> Option<PolicyError> {
        let why = "empty: list features, such as camera = [], or leave permissions out";
        self.is_empty().then(|| PolicyError { key: "permissions", value: String::new(), why: why.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(texts: &[&str]) -> Result<Vec<AllowedOrigin>, InvalidPermission> {
        texts.iter().map(|text| text.parse()).collect()
    }

    #[test]
    fn permissions_are_a_dictionary_of_lists() {
        let mut policy = PermissionsPolicy::default();
        for (feature, list) in [
            ("camera", &[][..]),
            ("fullscreen", &["*"]),
            ("geolocation", &["self", "https://*.example.org:8443"]),
            ("camera", &["self"]),
        ] {
            policy.allow(feature, origins(list).expect(feature)).expect(feature);
        }
        let expected = r#"fullscreen=(*), geolocation=(self "https://*.example.org:8443"), camera=(self)"#;
        assert_eq!(policy.to_string(), expected);
    }

    #[test]
    fn permissions_that_a_browser_would_ignore_are_errors() {
        for text in [
            "",
            "'self'",
            "example.org",
            "https://",
            "https://a b",
            "https://a/path",
            "https://a\"",
            "://a",
            "1:a",
        ] {
            assert_eq!(text.parse::<AllowedOrigin>(), Err(InvalidPermission::Origin), "{text:?}");
        }
        let mut policy = PermissionsPolicy::default();
        for feature in ["", "Camera", "-camera", "cam era", "camera=(self), usb"] {
            assert_eq!(policy.allow(feature, Vec::new()), Err(InvalidPermission::Feature), "{feature:?}");
        }
        for text in ["a\"\r\nSet-Cookie: x", "https://a\"", "self", "*", ""] {
            let unchecked = vec![AllowedOrigin::Origin(text.into())];
            assert_eq!(policy.allow("camera", unchecked), Err(InvalidPermission::Origin), "{text:?}");
        }
        let both = vec![AllowedOrigin::Any, AllowedOrigin::Own];
        assert_eq!(policy.allow("camera", both), Err(InvalidPermission::BesideAny));
        assert!(policy.is_empty());
    }
}
