//! Conversion of access rules by address: in nginx the first matching rule decides, in edge-proxyd `deny` precedes
//! `allow`.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::IpAddr;

/// The largest number of ranges into which one rule is divided.
const MAX_RANGES: usize = 512;

/// An access rule for a range of addresses. A rule for everyone consists of two, for IPv4 and IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// True for `allow`, false for `deny`.
    pub(super) allows: bool,
    /// The addresses to which the rule applies.
    pub(super) range: IpNet,
}

/// Address lists of edge-proxyd: an address is admitted if `deny` does not have it, and `allow` has it or is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lists {
    /// The admitted ranges. If empty, every address that is not denied is admitted.
    pub(super) allow: Vec<IpNet>,
    /// The denied ranges.
    pub(super) deny: Vec<IpNet>,
}

impl Lists {
    /// Returns lists that deny everyone.
    pub(super) fn deny_all() -> Self {
        Self { allow: Vec::new(), deny: everyone().to_vec() }
    }

    /// Returns true if `deny` has the range of all IPv4 and that of all IPv6 addresses.
    pub(super) fn denies_all(&self) -> bool {
        everyone().iter().all(|range| self.deny.contains(range))
    }
}

/// Returns the range of all IPv4 addresses and that of all IPv6 addresses.
pub(super) fn everyone() -> [IpNet; 2] {
    [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())]
}

/// Parses a CIDR range, whose host bits are cleared, or a single address. `None` if it is neither.
pub(crate) fn net_of(text: &str) -> Option<IpNet> {
    let range = text.parse::<IpNet>().map(|range| range.trunc());
    range.ok().or_else(|| text.parse::<IpAddr>().map(IpNet::from).ok())
}

/// Converts rules of nginx, of which the first that matches decides, into lists with the same effect. An address that
/// no rule matches is admitted. `None` if a `deny` would have to be divided into more than [`MAX_RANGES`] ranges.
pub(super) fn lists(rules: &[Rule]) -> Option<Lists> {
    let mut lists = Lists::default();
    let overlap = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
    for rule in rules {
        // Ranges for which an earlier rule has decided for all of them.
        if rules.iter().take_while(|one| !std::ptr::eq(*one, rule)).any(|one| one.range.contains(&rule.range))
        {
            continue;
        }
        if rule.allows {
            lists.allow.push(rule.range);
            continue;
        }
        let mut left = vec![rule.range];
        for allowed in &lists.allow {
            left = left.iter().flat_map(|range| subtract(*range, *allowed)).collect();
            if left.len() > MAX_RANGES {
                return None;
            }
        }
        lists.deny.extend(left);
    }
    // Without a rule, everyone is allowed by nginx; with `allow`, nobody else is by edge-proxyd.
    for everyone in everyone() {
        let closed = rules.iter().any(|rule| !rule.allows && rule.range == everyone);
        let opened = rules.iter().any(|rule| rule.allows && rule.range == everyone);
        if !closed && !opened && !lists.allow.is_empty() {
            lists.allow.push(everyone);
        }
    }
    if everyone().iter().all(|range| covers(&lists.allow, range)) {
        lists.allow.clear();
    }
    if !lists.allow.is_empty() {
        // Where there is an allow list, a denied range counts only within it.
        let allow = lists.allow.clone();
        lists.deny.retain(|range| allow.iter().any(|allowed| overlap(allowed, range)));
    } else if everyone().iter().all(|range| covers(&lists.deny, range)) {
        return Some(Lists::deny_all());
    }
    Some(lists)
}

/// Returns true if a single one of `ranges` contains `range`.
fn covers(ranges: &[IpNet], range: &IpNet) -> bool {
    ranges.iter().any(|one| one.contains(range))
}

/// Returns the ranges that together are `range` without `other`: none if `other` contains it, and `range` itself if
/// they are disjoint.
fn subtract(range: IpNet, other: IpNet) -> Vec<IpNet> {
    if other.contains(&range) {
        return Vec::new();
    }
    if !range.contains(&other) {
        return vec![range];
    }
    let mut left = Vec::new();
    let mut rest = range;
    while rest != other {
        let Ok(halves) = rest.subnets(rest.prefix_len() + 1) else { break };
        let halves: Vec<IpNet> = halves.collect();
        let [one, two] = halves.as_slice() else { break };
        let (inside, outside) = if one.contains(&other) { (one, two) } else { (two, one) };
        left.push(*outside);
        rest = *inside;
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nginx(rules: &[Rule], address: IpAddr) -> bool {
        rules.iter().find(|rule| rule.range.contains(&address)).is_none_or(|rule| rule.allows)
    }

    fn edge(lists: &Lists, address: IpAddr) -> bool {
        let among = |list: &[IpNet]| list.iter().any(|range| range.contains(&address));
        !among(&lists.deny) && (lists.allow.is_empty() || among(&lists.allow))
    }

    fn rule() -> impl Strategy<Value = Rule> {
        let v4 = (any::<[u8; 4]>(), 0u8..=32).prop_map(|(mut octets, length)| {
            // Few values, so that ranges overlap.
            octets.iter_mut().for_each(|octet| *octet &= 3);
            IpNet::new(IpAddr::from(octets), length).expect("a length").trunc()
        });
        let range = prop_oneof![4 => v4, 1 => Just(everyone()[0]), 1 => Just(everyone()[1])];
        (any::<bool>(), range).prop_map(|(allows, range)| Rule { allows, range })
    }

    proptest! {
        #[test]
        fn lists_decide_as_the_rules_do(rules in prop::collection::vec(rule(), 0..6), octets in any::<[u8; 4]>(), six in any::<bool>()) {
            let address = if six { "2001:db8::1".parse().expect("an address") } else { IpAddr::from(octets.map(|octet| octet & 3)) };
            let lists = lists(&rules).expect("few ranges");
            prop_assert_eq!(edge(&lists, address), nginx(&rules, address), "{:?}", lists);
        }
    }
}
