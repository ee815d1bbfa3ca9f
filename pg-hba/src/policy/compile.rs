//! Compilation of a policy to rules.

use super::{Local, Policy, Tailnet, Tls};
use crate::address::Network;
use crate::connection::ConnectionType;
use crate::method::Method;
use crate::rule::{Address, Database, Rule, User};
use std::net::{IpAddr, Ipv6Addr};

/// Returns the rules of a policy, in order: those of the superuser come first; see [`Policy::compile`].
pub(super) fn compile(policy: &Policy) -> Vec<Rule> {
    let loopback = [IpAddr::from([127, 0, 0, 1]), IpAddr::from(Ipv6Addr::LOCALHOST)].map(Network::from);
    let name = |role: &str| User::Name(role.to_owned());
    // First of all, so that no other rule can lock the administrator out.
    let mut rules = vec![
        Rule::local(Database::All, name(&policy.superuser), Method::Peer),
        // `all` does not include physical replication, which base backups by the superuser need.
        Rule::local(Database::Replication, name(&policy.superuser), Method::Peer),
    ];
    rules.extend(policy.before.iter().cloned());
    for service in &policy.services {
        let (socket, tcp) = match policy.local {
            // Trust would make any account of the host a superuser, or the like.
            Local::Trust if policy.is_privileged(&service.role) => (Method::Scram, Method::Scram),
            Local::Trust => (Method::Trust, Method::Trust),
            Local::Peer => (Method::Peer, Method::Scram),
            Local::Scram => (Method::Scram, Method::Scram),
        };
        let database = || Database::Name(service.database.clone());
        rules.push(Rule::local(database(), name(&service.role), socket));
        for address in loopback {
            rules.push(Rule::host(database(), name(&service.role), Address::Network(address), tcp));
        }
    }
    for grant in &policy.replication {
        let Some(from) = grant.from else {
            rules.push(Rule::local(Database::Replication, name(&grant.role), Method::Peer));
            continue;
        };
        let mut add = |connection, network: Network| {
            rules.push(Rule::new(
                connection,
                Database::Replication,
                name(&grant.role),
                Address::Network(network),
                Method::Scram,
            ));
        };
        if policy.tls == Tls::Optional {
            add(ConnectionType::Host, from.into());
            continue;
        }
        add(ConnectionType::HostSsl, from.into());
        loopback
            .into_iter()
            .filter(|address| from.contains(&address.address()))
            .for_each(|a| add(ConnectionType::Host, a));
        if policy.tls == Tls::OutsideTailnet {
            for range in &policy.ranges {
                // Of two networks that overlap, one contains the other.
                if from.contains(range) {
                    add(ConnectionType::Host, (*range).into());
                } else if range.contains(&from) {
                    add(ConnectionType::Host, from.into());
                }
            }
        }
    }
    for range in &policy.ranges {
        let address = || Address::Network((*range).into());
        let mut privileged = vec![policy.superuser.clone()];
        privileged.extend(policy.privileged.iter().filter(|role| **role != policy.superuser).cloned());
        let method = match policy.tailnet {
            Tailnet::Trust => Method::Trust,
            Tailnet::Scram => Method::Scram,
            Tailnet::Off => {
                rules.push(Rule::host(Database::All, User::All, address(), Method::Reject));
                continue;
            }
        };
        let mut reject = Rule::host(Database::All, User::All, address(), Method::Reject);
        reject.users = privileged.into_iter().map(User::Name).collect();
        rules.push(reject);
        let all = |connection, method| Rule::new(connection, Database::All, User::All, address(), method);
        if policy.tls == Tls::Required {
            rules.push(all(ConnectionType::HostSsl, method));
            rules.push(all(ConnectionType::Host, Method::Reject));
        } else {
            rules.push(all(ConnectionType::Host, method));
        }
    }
    rules.extend(policy.after.iter().cloned());
    let everybody =
        |connection, method| Rule::new(connection, Database::All, User::All, Address::All, method);
    rules.push(everybody(ConnectionType::Local, Method::Reject));
    if policy.tls == Tls::Optional {
        rules.push(everybody(ConnectionType::Host, Method::Scram));
    } else {
        rules.push(everybody(ConnectionType::HostSsl, Method::Scram));
        for address in loopback {
            rules.push(Rule::host(Database::All, User::All, Address::Network(address), Method::Scram));
        }
        rules.push(everybody(ConnectionType::Host, Method::Reject));
    }
    rules
}
