//! One connection, as the server sees it before it asks for anything.

use crate::address::Network;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

/// The transport of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// The Unix-domain socket.
    Socket,
    /// TCP in the clear.
    Plain,
    /// TCP with TLS.
    Tls,
    /// TCP with GSSAPI encryption.
    Gss,
}

/// The kind of replication of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Replication {
    /// An ordinary connection.
    #[default]
    None,
    /// Logical replication: it names a database and is matched like any other.
    Logical,
    /// Physical replication: it names no database, and only `replication` matches it.
    Physical,
}

/// A connection attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The database. The server cuts it at 63 bytes, and so does [`Attempt::local`] and its like.
    pub database: String,
    /// The user, cut alike.
    pub user: String,
    /// The transport of the connection.
    pub transport: Transport,
    /// The client's address; `None` over the socket.
    pub address: Option<IpAddr>,
    /// The kind of replication.
    pub replication: Replication,
}

impl Attempt {
    /// Over the socket.
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

    /// Over TCP, in the clear.
    #[must_use]
    pub fn tcp(database: &str, user: &str, address: IpAddr) -> Self {
        Self { transport: Transport::Plain, address: Some(address), ..Self::local(database, user) }
    }

    /// Over TCP with TLS.
    #[must_use]
    pub fn tls(database: &str, user: &str, address: IpAddr) -> Self {
        Self { transport: Transport::Tls, ..Self::tcp(database, user, address) }
    }

    /// The same, replicating.
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

/// Names have at most 63 bytes (`NAMEDATALEN`); the server cuts longer ones before it looks at the rules.
fn cut(name: &str) -> String {
    let end = (0..=name.len().min(63)).rev().find(|&end| name.is_char_boundary(end)).unwrap_or(0);
    name[..end].to_owned()
}

/// Facts that a decision needs beyond the attempt. Asked only when a rule depends on them.
pub trait World {
    /// Tells if a role is a member of another, directly or not. A role is a member of itself; being superuser does
    /// not count; a role that does not exist is a member of nothing.
    fn is_member(&self, user: &str, role: &str) -> bool {
        user == role
    }

    /// Tells if an address is one of the server's own.
    fn is_own_address(&self, _: IpAddr) -> bool {
        false
    }

    /// Tells if an address is in a network of one of the server's interfaces.
    fn is_own_network(&self, _: IpAddr) -> bool {
        false
    }

    /// The name of an address, from a reverse lookup confirmed by a forward one.
    fn host_name(&self, _: IpAddr) -> Option<String> {
        None
    }
}

/// A world where nobody is a member of anything else, and addresses have no names.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

impl World for Nowhere {}

/// A world written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Pairs of a role and one it is a direct member of.
    pub memberships: BTreeSet<(String, String)>,
    /// The addresses of the server's interfaces, each with the mask of its network.
    pub interfaces: Vec<Network>,
    /// Names of clients.
    pub host_names: BTreeMap<IpAddr, String>,
}

impl World for Surroundings {
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
