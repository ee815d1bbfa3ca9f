//! Connection attempts, and the facts on which a decision about them depends.

use crate::address::Network;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

/// Transport of a connection, with its encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Unix-domain socket, which `local` records match.
    Socket,
    /// TCP without encryption.
    Plain,
    /// TCP with TLS.
    Tls,
    /// TCP with GSSAPI encryption.
    Gss,
}

/// Kind of replication that a connection requests by the startup parameter `replication`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Replication {
    /// No replication: an ordinary connection.
    #[default]
    None,
    /// Logical replication (`replication=database`). It names a database, and is matched like an ordinary connection.
    Logical,
    /// Physical replication (`replication=true`). It names no database, and is matched only by records with the
    /// database `replication`.
    Physical,
}

/// A connection attempt, as far as rules distinguish attempts. Displayed as a phrase in English.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// Name of the requested database. The server truncates it to 63 bytes; the constructors do so too. Ignored for
    /// physical replication.
    pub database: String,
    /// Name of the requested role, truncated to 63 bytes like the database.
    pub user: String,
    /// Transport of the connection.
    pub transport: Transport,
    /// Client address. `None` over the Unix-domain socket; over TCP, no rule matches without it.
    pub address: Option<IpAddr>,
    /// Kind of replication that is requested.
    pub replication: Replication,
}

impl Attempt {
    /// Creates an attempt over the Unix-domain socket, without replication. Both names are truncated to 63 bytes, at a
    /// character boundary.
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

    /// Creates an attempt over TCP without encryption and without replication. Both names are truncated to 63 bytes.
    #[must_use]
    pub fn tcp(database: &str, user: &str, address: IpAddr) -> Self {
        Self { transport: Transport::Plain, address: Some(address), ..Self::local(database, user) }
    }

    /// Creates an attempt over TCP with TLS and without replication. Both names are truncated to 63 bytes.
    #[must_use]
    pub fn tls(database: &str, user: &str, address: IpAddr) -> Self {
        Self { transport: Transport::Tls, ..Self::tcp(database, user, address) }
    }

    /// Sets the kind of replication. Default: [`Replication::None`].
    #[must_use]
    pub fn replicating(mut self, replication: Replication) -> Self {
        self.replication = replication;
        self
    }
}

impl fmt::Display for Attempt {
    /// Formats as a phrase such as `database "app" as "app" from 192.0.2.7 with TLS`.
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

/// Writes the client address, if there is one, and `how`.
fn from(out: &mut fmt::Formatter<'_>, address: Option<IpAddr>, how: &str) -> fmt::Result {
    match address {
        Some(address) => write!(out, " from {address} {how}"),
        None => write!(out, " {how}"),
    }
}

/// Truncates a name to at most 63 bytes (`NAMEDATALEN - 1`), at a character boundary, as the server does before it
/// compares names with the rules.
fn cut(name: &str) -> String {
    let end = (0..=name.len().min(63)).rev().find(|&end| name.is_char_boundary(end)).unwrap_or(0);
    name[..end].to_owned()
}

/// Facts on which a decision depends beyond the attempt. They are queried only if a rule depends on them. The default
/// implementations describe a server without memberships, interfaces and host names.
pub trait Environment {
    /// Returns `true` if the role `user` is a direct or indirect member of `role`. A role is a member of itself. The
    /// attribute SUPERUSER does not count. A role that does not exist is a member of nothing. By default, `true` only
    /// for the role itself.
    fn is_member(&self, user: &str, role: &str) -> bool {
        user == role
    }

    /// Returns `true` if an address is that of one of the server's interfaces (`samehost`). By default, `false`.
    fn is_own_address(&self, _: IpAddr) -> bool {
        false
    }

    /// Returns `true` if an address is in the subnet of one of the server's interfaces (`samenet`). By default,
    /// `false`.
    fn is_own_network(&self, _: IpAddr) -> bool {
        false
    }

    /// Returns the host name of a client address, from a reverse lookup that a forward lookup confirms. `None` if there
    /// is none, which is the default.
    fn host_name(&self, _: IpAddr) -> Option<String> {
        None
    }
}

/// An [`Environment`] with the default implementations: no memberships, interfaces and host names.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmptyEnvironment;

impl Environment for EmptyEnvironment {}

/// An [`Environment`] with given memberships, interfaces and host names. Empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticEnvironment {
    /// Direct memberships, as pairs of member and role. Indirect ones follow from them.
    pub memberships: BTreeSet<(String, String)>,
    /// Addresses of the server's interfaces, each with its netmask. Loopback is not added by itself.
    pub interfaces: Vec<Network>,
    /// Confirmed host names by client address.
    pub host_names: BTreeMap<IpAddr, String>,
}

impl Environment for StaticEnvironment {
    /// Returns `true` if a chain of memberships leads from `user` to `role`. Cycles are permitted.
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
