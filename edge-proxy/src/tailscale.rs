//! Queries to the local tailscaled for tailnet identities.

use super::deadline::Deadline;
use super::traces::Trace;
use super::upstream::{ConnectOptions, Pool, SharedTarget, Targets, UpstreamError, read_whole};
use crate::observe::NoopObserver;
use crate::upstream::Cause;
use edge_http::proxy_protocol::Extensions;
use edge_http::{RequestHead, Version};
use edge_policy::balance::TriedTargets;
use edge_policy::config::Limits;
use edge_policy::config::{Tailnet, Target, Upstream};
use edge_policy::tailnet::{Node, TailnetIdentity, TailnetUser};
use serde::Deserialize;
use std::cell::Cell;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time limit of a query. tailscaled responds from memory.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
/// The time for which a failed query is cached: the address counts as unreachable without another query.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The highest number of addresses in a worker's cache. Further results are not cached until entries have expired.
const MAX_CACHED: usize = 4096;
/// The highest number of bytes of a response of tailscaled that are read.
const MAX_RESPONSE: usize = 256 * 1024;

/// The result of a query to tailscaled for the identity of an address.
#[derive(Clone)]
pub(crate) enum WhoisResult {
    /// The address belongs to this node.
    Known(Rc<Node>),
    /// No node has the address.
    Nobody,
    /// tailscaled did not respond in time, or its response was an error or malformed.
    Unreachable,
}

impl WhoisResult {
    /// Returns the identity in the form that the policy decides by.
    pub(crate) fn identity(&self) -> TailnetIdentity<'_> {
        match self {
            Self::Known(node) => TailnetIdentity::Known(node),
            Self::Nobody => TailnetIdentity::Nobody,
            Self::Unreachable => TailnetIdentity::Unreachable,
        }
    }
}

/// A worker's client of the local tailscaled, with a cache by IP address.
pub(crate) struct WhoIs {
    /// The settings of the tailnet.
    tailnet: Tailnet,
    /// The connections to the socket of tailscaled.
    pool: Pool,
    /// The results by address, each with the time at which it expires.
    cache: RefCell<HashMap<IpAddr, (Instant, WhoisResult)>>,
}

impl WhoIs {
    /// Creates a client with an empty cache, without connecting.
    pub(crate) fn new(tailnet: &Tailnet) -> Self {
        let upstream = Upstream::new("tailscaled", Target::Unix(tailnet.socket.clone()));
        let shared: Vec<Arc<SharedTarget>> = Targets::new(Arc::new(NoopObserver))
            .of(std::slice::from_ref(&upstream))
            .into_iter()
            .flatten()
            .collect();
        Self {
            tailnet: tailnet.clone(),
            pool: Pool::new(upstream, &shared, None, &Limits { idle_upstream: 4, ..Limits::default() }),
            cache: RefCell::default(),
        }
    }

    /// Returns whether this client was created for equal settings, so that a reload can retain it.
    pub(crate) fn serves(&self, tailnet: &Tailnet) -> bool {
        self.tailnet == *tailnet
    }

    /// Returns the identity of an address, from the cache or by a query of at most [`QUERY_TIMEOUT`]. A result is
    /// cached for the configured time, a failure for [`PAUSE_AFTER_FAILURE`]. `None` if the address is outside the
    /// tailnet's ranges.
    pub(crate) async fn look_up(&self, who: SocketAddr, deadline: &Deadline) -> Option<WhoisResult> {
        let address = who.ip().to_canonical();
        if !self.tailnet.ranges.iter().any(|range| range.contains(&address)) {
            return None;
        }
        let now = Instant::now();
        if let Some((until, said)) = self.cache.borrow().get(&address)
            && *until > now
        {
            return Some(said.clone());
        }
        let asked =
            deadline.within(QUERY_TIMEOUT, self.ask(SocketAddr::new(address, who.port()), deadline)).await;
        let (said, remember) = match asked {
            Some(Ok(said)) => (said, self.tailnet.remember),
            _ => (WhoisResult::Unreachable, PAUSE_AFTER_FAILURE),
        };
        let mut all = self.cache.borrow_mut();
        if all.len() >= MAX_CACHED {
            all.retain(|_, (until, _)| *until > now);
        }
        if all.len() < MAX_CACHED {
            all.insert(address, (now + remember, said.clone()));
        }
        Some(said)
    }

    /// Queries tailscaled's local API (`/localapi/v0/whois`) for the node of an address. Repeats the query once on a
    /// new connection if a reused one was closed.
    ///
    /// # Errors
    /// [`UpstreamError`] if the query fails, the status is neither 200 nor 404, or the content is malformed.
    async fn ask(&self, who: SocketAddr, deadline: &Deadline) -> Result<WhoisResult, UpstreamError> {
        let mut head = RequestHead::new(Version::Http11);
        // tailscaled accepts requests for this name only, so that no web page can send them.
        head.authority = "local-tailscaled.sock".into();
        head.target = format!("/localapi/v0/whois?addr={}", query_value(who));
        let mut options = ConnectOptions {
            client: who,
            local: who,
            extensions: Extensions::NONE,
            deadline,
            connect: QUERY_TIMEOUT,
            fresh: false,
            shared: true,
            upgrade: None,
            sticky: None,
            missed: Cell::new(None),
            host: true,
            trace: &Trace::NONE,
        };
        loop {
            let (mut exchange, _flight) =
                match self.pool.begin(&head, &options, 0, &mut TriedTargets::default()).await {
                    Ok(begun) => begun,
                    Err(UpstreamError::Stale) if !options.fresh => {
                        options.fresh = true;
                        continue;
                    }
                    Err(why) => return Err(why),
                };
            let (answer, content) = match read_whole(&mut exchange, MAX_RESPONSE).await {
                Err(UpstreamError::Stale | UpstreamError::Refused | UpstreamError::Unprocessed)
                    if !options.fresh =>
                {
                    options.fresh = true;
                    continue;
                }
                read => read?,
            };
            exchange.finish();
            return match answer.status {
                200 => parse_whois(&content).ok_or(UpstreamError::Malformed(Cause::MalformedContent)),
                404 => Ok(WhoisResult::Nobody),
                status => Err(UpstreamError::Status(status)),
            };
        }
    }
}

/// Formats an address and port for a query string. The brackets of an IPv6 address are percent-encoded.
fn query_value(who: SocketAddr) -> String {
    who.to_string().replace('[', "%5B").replace(']', "%5D")
}

/// The response of tailscaled to a query of an address (`apitype.WhoIsResponse`).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WhoisResponse {
    /// The machine with the address. `None` if tailscaled does not know one.
    node: Option<WhoisNode>,
    /// The owner of the machine. `None` if it has none.
    user_profile: Option<WhoisUser>,
}

/// A machine of the tailnet (`tailcfg.Node`).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WhoisNode {
    /// The name with the tailnet's domain and a dot at the end.
    #[serde(default)]
    name: String,
    /// The name without the tailnet's domain.
    #[serde(default)]
    computed_name: String,
    /// The tags of the machine, such as `tag:server`. `None` if it has none.
    #[serde(default)]
    tags: Option<Vec<String>>,
}

/// A user of the tailnet (`tailcfg.UserProfile`).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WhoisUser {
    /// The login name, such as an e-mail address.
    #[serde(default)]
    login_name: String,
    /// The name for display.
    #[serde(default)]
    display_name: String,
    /// The URL of the profile picture. Empty if there is none.
    #[serde(default, rename = "ProfilePicURL")]
    picture: String,
}

/// Parses the JSON content of a whois response. `None` if it is malformed. [`WhoisResult::Nobody`] if it contains no
/// node. The node's name is the short one, without the tailnet's domain. A node with tags, or whose login name is
/// empty, has no user.
fn parse_whois(content: &[u8]) -> Option<WhoisResult> {
    let answer: WhoisResponse = serde_json::from_slice(content).ok()?;
    let Some(node) = answer.node else { return Some(WhoisResult::Nobody) };
    let short = node.name.split('.').next().unwrap_or_default();
    let name = if node.computed_name.is_empty() { short.to_owned() } else { node.computed_name };
    let tags = node.tags.unwrap_or_default();
    // A tagged machine's profile is a placeholder.
    let user = answer.user_profile.filter(|user| tags.is_empty() && !user.login_name.is_empty());
    let user = user.map(|user| TailnetUser {
        login: user.login_name,
        name: user.display_name,
        picture: user.picture,
    });
    Some(WhoisResult::Known(Rc::new(Node { name, tags, user })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(text: &str) -> Option<Node> {
        match parse_whois(text.as_bytes())? {
            WhoisResult::Known(node) => Some((*node).clone()),
            _ => None,
        }
    }

    #[test]
    fn answers() {
        let ann = node(
            r#"{"Node":{"ID":1,"Name":"laptop.tail0123.ts.net.","ComputedName":"laptop","Tags":null,"Addresses":["100.64.0.9/32"]},
                "UserProfile":{"ID":2,"LoginName":"ann@a.test","DisplayName":"Ann","ProfilePicURL":"https://p.test/a"},"CapMap":{}}"#,
        )
        .unwrap();
        assert_eq!((ann.name.as_str(), ann.tags.len()), ("laptop", 0));
        assert_eq!(ann.user.unwrap().login, "ann@a.test");
        let tagged = node(
            r#"{"Node":{"Name":"vps-pacman.tail0123.ts.net.","Tags":["tag:edge"]},
                "UserProfile":{"LoginName":"tagged-devices","DisplayName":"Tagged Devices"}}"#,
        )
        .unwrap();
        assert_eq!((tagged.name.as_str(), tagged.user), ("vps-pacman", None));
        assert!(parse_whois(b"{}").is_some_and(|said| matches!(said, WhoisResult::Nobody)));
        assert!(parse_whois(b"no match").is_none() && parse_whois(b"[]").is_none());
        assert_eq!(query_value("[fd7a::1]:9".parse().unwrap()), "%5Bfd7a::1%5D:9");
    }
}
