//! Connection attempts, and the facts on which a decision about them depends.

use crate::address::Network;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

/// Transport of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Unix-domain socket (`local`).
    Socket,
    /// TCP without encryption.
    Plain,
    /// TCP with TLS.
    Tls,
    /// TCP with GSSAPI encryption.
    Gss,
}

/// Kind of replication that a connection requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Replication {
    /// No replication: an ordinary connection.
    #[default]
    None,
    /// Logical replication. It names a database, and is matched like an ordinary connection.
    Logical,
    /// Physical replication. It names no database, and is matched by `replication` only.
    Physical,
}

/// A connection attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// Database name. The server truncates it to 63 bytes; [`Attempt::local`] and the other constructors do so too.
    pub database: String,
    /// Role name, truncated to 63 bytes like the database.
    pub user: String,
    /// Transport of the connection.
    pub transport: Transport,
    /// Client address. `None` over the Unix-domain socket.
    pub address: Option<IpAddr>,
    /// Kind of replication.
    pub replication: Replication,
}

impl Attempt {
    /// Creates an attempt over the Unix-domain socket.
    #[must_use]
    pub fn local(database: &str, user: &str) -> Self {
        Self {
            database: cut(database),
            user: cut(user),
            transport: Transport::Socket,
            address: None,
            replication: Replication::None,
        }
    }

    /// Creates an attempt over TCP without encryption.
    #[must_use]
    pub fn tcp(database: &str, user: &str, address: IpAddr) -> Self {
        Self { transport: Transport::Plain, address: Some(address), ..Self::local(database, user) }
    }

    /// Creates an attempt over TCP with TLS.
    #[must_use]
    pub fn tls(database: &str, user: &str, address: IpAddr) -> Self {
        Self { transport: Transport::Tls, ..Self::tcp(database, user, address) }
    }

    /// Sets the kind of replication.
    #[must_use]
    pub fn replicating(mut self, replication: Replication) -> Self {
        self.replication = replication;
        self
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.replication {
            Replication::Physical => write!(out, "physical replication as {:?}", self.user)?,
            Replication::Logical => {
                write!(out, "logical replication of {:?} as {:?}", self.database, self.user)?;
            }
            Replication::None => write!(out, "database {:?} as {:?}", self.database, self.user)?,
        }
        match self.transport {
            Transport::Socket => out.write_str(" over the socket"),
            Transport::Plain => from(out, self.address, "in the clear"),
            Transport::Tls => from(out, self.address, "with TLS"),
            Transport::Gss => from(out, self.address, "with GSSAPI encryption"),
        }
    }
}

fn from(out: &mut fmt::Formatter<'_>, address: Option<IpAddr>, how: &str) -> fmt::Result {
    match address {
        Some(address) => write!(out, " from {address} {how}"),
        None => write!(out, " {how}"),
    }
}

/// Truncates a name to 63 bytes (`NAMEDATALEN - 1`), as the server does before it looks at the rules.
fn cut(name: &str) -> String {
    let end = (0..=name.len().min(63)).rev().find(|&end| name.is_char_boundary(end)).unwrap_or(0);
    name[..end].to_owned()
}

/// Facts on which a decision depends beyond the attempt. Queried only if a rule depends on them. The default
/// implementations describe a server without memberships, interfaces and host names.
pub trait Environment {
    /// Returns `true` if a role is a direct or indirect member of another. A role is a member of itself. The
    /// attribute SUPERUSER does not count. A role that does not exist is a member of nothing.
    fn is_member(&self, user: &str, role: &str) -> bool {
        user == role
    }

    /// Returns `true` if an address is one of the server's own (`samehost`).
    fn is_own_address(&self, _: IpAddr) -> bool {
        false
    }

    /// Returns `true` if an address is in the subnet of one of the server's interfaces (`samenet`).
    fn is_own_network(&self, _: IpAddr) -> bool {
        false
    }

    /// Returns the host name of an address, from a reverse lookup that a forward lookup confirms. `None` if there is none.
    fn host_name(&self, _: IpAddr) -> Option<String> {
        None
    }
}

/// A [`Environment`] with the default implementations: no memberships, interfaces and host names.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmptyEnvironment;

impl Environment for EmptyEnvironment {}

/// A [`Environment`] with given memberships, interfaces and host names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticEnvironment {
    /// Direct memberships, as pairs of member and role.
    pub memberships: BTreeSet<(String, String)>,
    /// Addresses of the server's interfaces, each with its netmask.
    pub interfaces: Vec<Network>,
    /// Host names by client address.
    pub host_names: BTreeMap<IpAddr, String>,
}

impl Environment for StaticEnvironment {
    fn is_member(&self, user: &str, role: &str) -> bool {
        let mut seen = BTreeSet::from([user]);
        let mut pending = vec![user];
        while let Some(next) = pending.pop() {
            if next == role {
                return true;
            }
            let groups = self.memberships.iter().filter(|(member, _)| member == next);
            pending.extend(groups.map(|(_, group)| group.as_str()).filter(|group| seen.insert(group)));
        }
        false
    }

    fn is_own_address(&self, address: IpAddr) -> bool {
        self.interfaces.iter().any(|interface| interface.address() == address)
    }

    fn is_own_network(&self, address: IpAddr) -> bool {
        self.interfaces.iter().any(|interface| interface.contains(address))
    }

    fn host_name(&self, address: IpAddr) -> Option<String> {
        self.host_names.get(&address).cloned()
    }
}
