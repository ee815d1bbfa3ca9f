//! Policies for browsers that the responses of a site carry as fields, a type for each: its settings, the field that it
//! sets, and the errors of its settings.

use edge_http::Fields;
use std::fmt;

/// The policies for browsers of a site. Each replaces the upstream's field of the same name in final responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponsePolicies {
    /// The Strict-Transport-Security policy. `None` sends no such field.
    pub hsts: Option<Hsts>,
}

impl ResponsePolicies {
    /// Returns the policies that are set.
    fn set(&self) -> impl Iterator<Item = &dyn ResponsePolicy> {
        let hsts = self.hsts.as_ref().map(|policy| policy as &dyn ResponsePolicy);
        [hsts].into_iter().flatten()
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
