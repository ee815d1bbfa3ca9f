//! Authentication, rate limits and compression of a site.

use crate::auth::basic::User;
use crate::rate::Rate;

/// The authentication required of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// No authentication. On a route, removes the requirement of the site.
    Open,
    /// A user name and a password (RFC 7617).
    Basic(BasicAuth),
    /// An authorization subrequest to an external service, which decides.
    Forward(ForwardAuth),
}

/// Basic authentication (RFC 7617). The proxy verifies the credentials and does not forward them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// The realm, which browsers show in the password prompt. Printable ASCII without `"` and `\`, not empty.
    pub realm: String,
    /// The users that may authenticate. Must not be empty.
    pub users: Vec<User>,
    /// The field that carries the authenticated user name to the upstream, such as `Remote-User`. A client's own field
    /// of this name is removed. `None` sends no such field.
    pub user_field: Option<String>,
}

/// Forward authentication: each request is authorized by a subrequest to a service such as Authelia or authentik. If
/// the service cannot be reached, the client gets 503.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardAuth {
    /// The name of the upstream that receives the subrequest. Must exist and must not have
    /// [`Protocol::Tcp`](crate::config::Protocol::Tcp).
    pub upstream: String,
    /// The request target of the subrequest in origin form, such as `/api/authz/forward-auth` (Authelia) or
    /// `/outpost.goauthentik.io/auth/caddy` (authentik).
    pub path: String,
    /// The names of the fields that are copied from the subrequest's response to the forwarded request. A client's own
    /// fields of these names are removed.
    pub copy: Vec<String>,
}

/// The rate and concurrency limits of a site. `None`, the default of each, sets no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// The rate of requests per client: an IPv4 address or a /64 of IPv6. A request above it gets 429 with Retry-After.
    /// `None` for no limit.
    pub client: Option<Rate>,
    /// The rate of requests of all clients together. A request above it gets 503 with Retry-After. `None` for no limit.
    pub site: Option<Rate>,
    /// The highest number of requests in flight, at least 1. A request above it gets 503. `None` for no limit.
    pub concurrent: Option<u32>,
}

/// Compression of response content on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// The codings offered, in order of preference. Among codings of equal weight in Accept-Encoding the first is used.
    /// Must not be empty or contain duplicates. Default: zstd, br, gzip.
    pub codings: Vec<Coding>,
    /// The minimum length of content to compress, in bytes. Default: 1024. Content of unknown length is compressed as
    /// well.
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
