//! What stands between a client and a service: who may, how often, and in what form the answer goes back.

use crate::auth::basic::User;
use crate::rate::Rate;
use std::fmt;

/// Who a request must be from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Anybody. On a route it lifts what the site asks for.
    Open,
    /// Somebody with a password.
    Basic(BasicAuth),
    /// Whoever another service says.
    Forward(ForwardAuth),
}

/// Basic authentication (RFC 7617). The service does not get the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// What browsers show when they ask.
    pub realm: String,
    /// Who may.
    pub users: Vec<User>,
    /// The field in which the service is told the name, such as `Remote-User`. `None` does not tell it.
    pub user_field: Option<String>,
}

/// A service that is asked about each request, such as Authelia or authentik. If it cannot be reached the answer is 503.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardAuth {
    /// The upstream of this name is asked.
    pub upstream: String,
    /// For this path, such as `/api/authz/forward-auth` (Authelia) or `/outpost.goauthentik.io/auth/caddy` (authentik).
    pub path: String,
    /// Fields of its answer that the request gets. Nobody else can say them.
    pub copy: Vec<String>,
}

/// How often a site may be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// By one client: an IPv4 address, or a /64 of IPv6. More is answered 429.
    pub client: Option<Rate>,
    /// By all of them together. More is answered 503.
    pub site: Option<Rate>,
    /// Requests under way at once. More are answered 503.
    pub concurrent: Option<u32>,
}

/// Strict-Transport-Security (RFC 6797): browsers use https from now on. Sent over TLS only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hsts {
    /// For how long, in seconds.
    pub max_age: u64,
    /// For all names below too.
    pub include_subdomains: bool,
    /// The owner agrees to be built into browsers.
    pub preload: bool,
}

/// The value of the field: `max-age=31536000; includeSubDomains; preload`
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

/// Whether and how content is compressed on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// In the order in which they are preferred among what the client takes.
    pub codings: Vec<Coding>,
    /// Content shorter than this stays as it is, in bytes (1024).
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
    /// `br` (RFC 7932)
    Brotli,
    /// `gzip` (RFC 1952)
    Gzip,
    /// `zstd` (RFC 8878)
    Zstd,
}

impl Coding {
    /// As in Accept-Encoding and Content-Encoding.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}
