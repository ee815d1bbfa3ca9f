//! Tailnet identities: the answers of the local tailscaled to WhoIs queries for an address.
//!
//! An address of 100.64.0.0/10 proves nothing by itself: it is shared address space (RFC 6598), and even within a
//! tailnet it identifies a machine, not its user. tailscaled knows both, because a peer's address is bound to its key.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A machine of the tailnet and its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The name of the machine in the tailnet, such as `vps-pacman`.
    pub name: String,
    /// The tags of the machine, such as `tag:edge`. A tagged machine has no user.
    pub tags: Vec<String>,
    /// The user who owns the machine. `None` for tagged machines.
    pub user: Option<TailnetUser>,
}

/// A user of the tailnet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TailnetUser {
    /// The login name, such as `ann@example.org`.
    pub login: String,
    /// The display name of the user.
    pub name: String,
    /// The URL of the profile picture. Empty if the user has none.
    pub picture: String,
}

/// The result of looking up by tailscaled which machine of the tailnet an address belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TailnetIdentity<'a> {
    /// The address belongs to this machine of the tailnet.
    Known(&'a Node),
    /// No machine of the tailnet has this address.
    Nobody,
    /// The address was not looked up: no tailnet is configured, or the address is outside its ranges. The default.
    #[default]
    Unasked,
    /// The lookup failed: tailscaled could not be reached, or did not return a valid response.
    Unreachable,
}

impl<'a> TailnetIdentity<'a> {
    /// Returns the machine if it is known. `None` for all other results.
    pub const fn node(self) -> Option<&'a Node> {
        match self {
            Self::Known(node) => Some(node),
            _ => None,
        }
    }
}

/// The tailnet identities of the hops of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identities<'a> {
    /// The identity of the connection's source address.
    pub source: TailnetIdentity<'a>,
    /// The identities of further hops in the trusted header, by address. Only addresses in trusted ranges are looked
    /// up.
    pub hops: &'a [(IpAddr, TailnetIdentity<'a>)],
}

impl<'a> Identities<'a> {
    /// Returns the identity of a hop in the forwarding header. `None` if the hop was not looked up.
    pub fn of(self, hop: IpAddr) -> Option<TailnetIdentity<'a>> {
        self.hops.iter().find(|(address, _)| *address == hop).map(|(_, identity)| *identity)
    }
}

impl<'a> From<TailnetIdentity<'a>> for Identities<'a> {
    fn from(source: TailnetIdentity<'a>) -> Self {
        Self { source, hops: &[] }
    }
}

/// A matcher of machines of the tailnet by name, tag or owner: `node:vps-pacman`, `tag:edge` or
/// `login:ann@example.org`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IdentityMatcher {
    /// The machine of this name.
    Node(String),
    /// All machines with this tag, which includes the prefix `tag:`.
    Tag(String),
    /// All machines of the user with this login name.
    Login(String),
}

/// The error for a text that is not a valid tailnet identity: `node:NAME`, `tag:NAME` or `login:NAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid tailnet identity: expected node:NAME, tag:NAME or login:NAME")]
pub struct IdentityMatcherError;

impl IdentityMatcher {
    /// Returns whether this machine matches: by its name, one of its tags, or the login name of its user. They are
    /// compared without regard to letter case.
    pub fn is(&self, node: &Node) -> bool {
        match self {
            Self::Node(name) => node.name.eq_ignore_ascii_case(name),
            Self::Tag(tag) => node.tags.iter().any(|other| other.eq_ignore_ascii_case(tag)),
            Self::Login(login) => {
                node.user.as_ref().is_some_and(|user| user.login.eq_ignore_ascii_case(login))
            }
        }
    }
}

impl FromStr for IdentityMatcher {
    type Err = IdentityMatcherError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((_, "")) => Err(IdentityMatcherError),
            Some(("node", name)) => Ok(Self::Node(name.to_owned())),
            Some(("tag", _)) => Ok(Self::Tag(text.to_owned())),
            Some(("login", name)) => Ok(Self::Login(name.to_owned())),
            _ => Err(IdentityMatcherError),
        }
    }
}

impl fmt::Display for IdentityMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => write!(f, "node:{name}"),
            Self::Tag(tag) => f.write_str(tag),
            Self::Login(login) => write!(f, "login:{login}"),
        }
    }
}

/// The request fields that carry a tailnet identity to upstreams: those of `tailscale serve` (login, name and picture
/// of the user), then the machine's name and tags.
pub const FIELDS: [&str; 5] = [
    "Tailscale-User-Login",
    "Tailscale-User-Name",
    "Tailscale-User-Profile-Pic",
    "Tailscale-Node",
    "Tailscale-Node-Tags",
];

/// Returns the identity fields of a machine as pairs of a name of [`FIELDS`] and the value. Tags are joined by commas.
/// Fields with empty values are omitted. Non-ASCII text becomes an encoded word (RFC 2047), as `tailscale serve`
/// writes it.
pub fn fields(node: &Node) -> impl Iterator<Item = (&'static str, String)> {
    let user = node.user.as_ref();
    let values = [
        user.map(|user| encode_value(&user.login)),
        user.map(|user| encode_value(&user.name)),
        user.map(|user| encode_value(&user.picture)),
        Some(encode_value(&node.name)),
        Some(encode_value(&node.tags.join(","))),
    ];
    FIELDS
        .into_iter()
        .zip(values)
        .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)))
}

/// Encodes a field value: printable ASCII without `=?` is only trimmed; any other text becomes one encoded word in
/// UTF-8 (RFC 2047 §4.2).
fn encode_value(text: &str) -> String {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && !text.contains("=?") {
        return text.trim().to_owned();
    }
    let mut word = String::from("=?utf-8?q?");
    for byte in text.bytes() {
        match byte {
            b' ' => word.push('_'),
            b'!'..=b'~' if !matches!(byte, b'=' | b'?' | b'_') => word.push(byte as char),
            _ => word.push_str(&format!("={byte:02X}")),
        }
    }
    word.push_str("?=");
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node() -> Node {
        Node {
            name: "vps-pacman".into(),
            tags: vec!["tag:edge".into()],
            user: Some(TailnetUser {
                login: "ann@a.test".into(),
                name: "Änn =?".into(),
                picture: String::new(),
            }),
        }
    }

    #[test]
    fn who_is_meant() {
        for (text, is) in [
            ("node:VPS-pacman", true),
            ("node:other", false),
            ("tag:edge", true),
            ("tag:vps-pacman", false),
            ("login:ann@a.test", true),
            ("login:bob@a.test", false),
        ] {
            let who: IdentityMatcher = text.parse().unwrap();
            assert_eq!(who.is(&node()), is, "{text}");
            assert_eq!(who.to_string(), text);
        }
        for text in ["", "vps-pacman", "node:", "user:x"] {
            assert_eq!(text.parse::<IdentityMatcher>(), Err(IdentityMatcherError), "{text}");
        }
    }

    #[test]
    fn what_services_are_told() {
        let written: Vec<_> = fields(&node()).collect();
        assert_eq!(
            written,
            [
                ("Tailscale-User-Login", "ann@a.test".to_owned()),
                ("Tailscale-User-Name", "=?utf-8?q?=C3=84nn_=3D=3F?=".to_owned()),
                ("Tailscale-Node", "vps-pacman".to_owned()),
                ("Tailscale-Node-Tags", "tag:edge".to_owned()),
            ]
        );
    }

    proptest! {
        #[test]
        fn a_value_is_always_a_fields_value(text in any::<String>()) {
            let value = encode_value(&text);
            prop_assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(value.trim(), &value);
        }
    }
}
