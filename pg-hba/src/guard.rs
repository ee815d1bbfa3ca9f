//! Lockout check: whether rules admit a role.

use crate::attempt::{Attempt, EmptyEnvironment, Transport};
use crate::index::Index;
use crate::rule::{Address, Rule};
use std::net::IpAddr;

/// Returns `true` if the rules admit a role, by any method but `reject`, to the database `postgres` or to that of its
/// own name: over the Unix-domain socket, or over TCP (with TLS, GSSAPI encryption or neither) from loopback, 192.0.2.1
/// or the address of a network of the rules. One such connection suffices. Memberships, interfaces and host names are not considered, and whether authentication would
/// succeed is not known.
#[must_use]
pub fn admits(rules: &[Rule], role: &str) -> bool {
    let mut clients: Vec<IpAddr> = vec![[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()];
    clients.extend([IpAddr::from([192, 0, 2, 1])]);
    clients.extend(rules.iter().filter_map(|rule| match &rule.address {
        Address::Network(network) => Some(network.address()),
        _ => None,
    }));
    let index = Index::new(rules.to_vec());
    ["postgres", role].into_iter().any(|database| {
        let admitted = |attempt: &Attempt| index.decide(attempt, &EmptyEnvironment).0.admits();
        admitted(&Attempt::local(database, role))
            || clients.iter().any(|&client| {
                [Transport::Tls, Transport::Plain, Transport::Gss]
                    .into_iter()
                    .any(|transport| admitted(&Attempt { transport, ..Attempt::tcp(database, role, client) }))
            })
    })
}
