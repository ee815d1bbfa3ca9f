//! Who is at the other end of a connection over a tailnet: what the local tailscaled says of an address (its WhoIs).
//!
//! An address of 100.64.0.0/10 proves nothing by itself: it is shared carrier space (RFC 6598), and within a tailnet it says
//! which machine, not whose. tailscaled knows both, because a peer's address is bound to its key.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A machine of the tailnet, and whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name within the tailnet, such as `vps-pacman`.
    pub name: String,
    /// Its tags, such as `tag:edge`. A tagged machine is nobody's.
    pub tags: Vec<String>,
    /// The user whose machine it is. `None` for tagged machines.
    pub user: Option<TailnetUser>,
}

/// A user of the tailnet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TailnetUser {
    /// Such as `ann@example.org`.
    pub login: String,
    /// The name that is shown.
    pub name: String,
    /// The address of a picture; empty without.
    pub picture: String,
}

/// What is known of the other end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TailnetIdentity<'a> {
    /// This machine.
    Known(&'a Node),
    /// tailscaled knows nobody with that address.
    Nobody,
    /// It was not asked: no tailnet is configured, or the address is of none.
    #[default]
    Unasked,
    /// It could not be asked.
    Unreachable,
}

impl<'a> TailnetIdentity<'a> {
    /// The machine, if it is known.
    pub const fn node(self) -> Option<&'a Node> {
        match self {
            Self::Known(node) => Some(node),
            _ => None,
        }
    }
}

/// What is known of those that a request came by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identities<'a> {
    /// Of the connection's source.
    pub source: TailnetIdentity<'a>,
    /// Of hops that the trusted header names. Of all others nothing was asked.
    pub hops: &'a [(IpAddr, TailnetIdentity<'a>)],
}

impl<'a> Identities<'a> {
    /// What is known of a hop that the header names, if it was asked about.
    pub fn of(self, hop: IpAddr) -> Option<TailnetIdentity<'a>> {
        self.hops.iter().find(|(address, _)| *address == hop).map(|(_, identity)| *identity)
    }
}

impl<'a> From<TailnetIdentity<'a>> for Identities<'a> {
    fn from(source: TailnetIdentity<'a>) -> Self {
        Self { source, hops: &[] }
    }
}

/// Whom a rule means: `node:vps-pacman`, `tag:edge` or `login:ann@example.org`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// The machine with this name.
    Node(String),
    /// Machines with this tag, `tag:` included.
    Tag(String),
    /// Machines of this user.
    Login(String),
}

/// A text that names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("names nobody: write node:NAME, tag:NAME or login:NAME")]
pub struct WhoError;

impl Who {
    /// Whether this machine is meant. Names are compared without case.
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

impl FromStr for Who {
    type Err = WhoError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((_, "")) => Err(WhoError),
            Some(("node", name)) => Ok(Self::Node(name.to_owned())),
            Some(("tag", _)) => Ok(Self::Tag(text.to_owned())),
            Some(("login", name)) => Ok(Self::Login(name.to_owned())),
            _ => Err(WhoError),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => write!(f, "node:{name}"),
            Self::Tag(tag) => f.write_str(tag),
            Self::Login(login) => write!(f, "login:{login}"),
        }
    }
}

/// The fields in which services are told: those of `tailscale serve`, and the machine.
pub const FIELDS: [&str; 5] = [
    "Tailscale-TailnetUser-Login",
    "Tailscale-TailnetUser-Name",
    "Tailscale-TailnetUser-Profile-Pic",
    "Tailscale-Node",
    "Tailscale-Node-Tags",
];

/// The names and values that a service is told of a machine. Text that is not ASCII is an encoded word (RFC 2047), as
/// `tailscale serve` writes it.
pub fn fields(node: &Node) -> impl Iterator<Item = (&'static str, String)> {
    let user = node.user.as_ref();
    let values = [
        user.map(|user| encoded(&user.login)),
        user.map(|user| encoded(&user.name)),
        user.map(|user| encoded(&user.picture)),
        Some(encoded(&node.name)),
        Some(encoded(&node.tags.join(","))),
    ];
    FIELDS
        .into_iter()
        .zip(values)
        .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)))
}

/// Printable ASCII as it is, anything else as one encoded word in UTF-8 (RFC 2047 §4.2).
fn encoded(text: &str) -> String {
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
            let who: Who = text.parse().unwrap();
            assert_eq!(who.is(&node()), is, "{text}");
            assert_eq!(who.to_string(), text);
        }
        for text in ["", "vps-pacman", "node:", "user:x"] {
            assert_eq!(text.parse::<Who>(), Err(WhoError), "{text}");
        }
    }

    #[test]
    fn what_services_are_told() {
        let told: Vec<_> = fields(&node()).collect();
        assert_eq!(
            told,
            [
                ("Tailscale-TailnetUser-Login", "ann@a.test".to_owned()),
                ("Tailscale-TailnetUser-Name", "=?utf-8?q?=C3=84nn_=3D=3F?=".to_owned()),
                ("Tailscale-Node", "vps-pacman".to_owned()),
                ("Tailscale-Node-Tags", "tag:edge".to_owned()),
            ]
        );
    }

    proptest! {
        #[test]
        fn a_value_is_always_a_fields_value(text in any::<String>()) {
            let value = encoded(&text);
            prop_assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(value.trim(), &value);
        }
    }
}
