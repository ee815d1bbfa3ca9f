//! Authentication, rate limits, HSTS and compression of a site.

use crate::auth::basic::User;
use crate::rate::Rate;
use std::fmt;

/// The authentication that a request must pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// No authentication. On a route it lifts the requirement of its site.
    Open,
    /// A user name and a password.
    Basic(BasicAuth),
    /// The decision of an external authentication service.
    Forward(ForwardAuth),
}

/// Basic authentication (RFC 7617). The upstream does not receive the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// The realm, which browsers show in the password prompt.
    pub realm: String,
    /// The users who are allowed in.
    pub users: Vec<User>,
    /// The field that carries the user's name to the upstream, such as `Remote-User`. `None` sends no such field.
    pub user_field: Option<String>,
}

/// Forward authentication: a service such as Authelia or authentik is asked about each request. If it cannot be reached
/// the response is 503.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardAuth {
    /// The name of the upstream that is asked.
    pub upstream: String,
    /// The path of the authentication request, such as `/api/authz/forward-auth` (Authelia) or
    /// `/outpost.goauthentik.io/auth/caddy` (authentik).
    pub path: String,
    /// Fields that are copied from its response to the request. A client cannot set them itself.
    pub copy: Vec<String>,
}

/// The rate limits of a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests per client: per IPv4 address, or per /64 of IPv6. A request above the rate gets 429.
    pub client: Option<Rate>,
    /// Requests of all clients together. A request above the rate gets 503.
    pub site: Option<Rate>,
    /// Requests in flight at once. A request above the limit gets 503.
    pub concurrent: Option<u32>,
}

/// Strict-Transport-Security (RFC 6797), which makes browsers use HTTPS only. Sent over TLS only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hsts {
    /// The `max-age` directive, in seconds.
    pub max_age: u64,
    /// The `includeSubDomains` directive.
    pub include_subdomains: bool,
    /// The `preload` directive: the owner consents to being built into browsers.
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

/// Compression of response content on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// The codings to use, the preferred one first, among those the client accepts.
    pub codings: Vec<Coding>,
    /// The shortest content that is compressed, in bytes (1024).
    pub least: u64,
}

impl Default for Compression {
    fn default() -> Self {
        Self { codings: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip], least: 1024 }
    }
}

/// A content coding (RFC 9110 §8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// Brotli, `br` (RFC 7932).
    Brotli,
    /// Gzip, `gzip` (RFC 1952).
    Gzip,
    /// Zstandard, `zstd` (RFC 8878).
    Zstd,
}

impl Coding {
    /// Returns the name used in Accept-Encoding and Content-Encoding.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}
