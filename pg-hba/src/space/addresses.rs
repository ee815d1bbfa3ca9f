//! One address for each set of networks that hold an address together.

use super::Undecided;
use crate::address::Network;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Nodes of the tree that are looked at before giving up; only masks with holes come near.
const NODES: usize = 2_000_000;

/// Addresses of both families, one for each combination of networks.
pub(super) fn leaves(networks: &[Network]) -> Result<Vec<IpAddr>, Undecided> {
    let mut found = Vec::new();
    for v4 in [true, false] {
        let mut sides: Vec<(u128, u128)> = networks
            .iter()
            .filter(|network| network.is_v4() == v4)
            .map(Network::left)
            .map(|(b, m)| (b & m, m))
            .collect();
        sides.sort_unstable();
        sides.dedup();
        let mut tree = Tree {
            sides: &sides,
            width: if v4 { 32 } else { 128 },
            seen: HashSet::new(),
            nodes: 0,
            found: Vec::new(),
        };
        tree.cut(0, 0, &(0..sides.len()).collect::<Vec<_>>(), &mut Vec::new())?;
        found.extend(tree.found.into_iter().map(|bits| match v4 {
            true => IpAddr::V4(Ipv4Addr::from(u32::try_from(bits >> 96).unwrap_or(0))),
            false => IpAddr::V6(Ipv6Addr::from(bits)),
        }));
    }
    Ok(found)
}

/// An interface whose network holds the client without being the client.
pub(super) fn neighbour(client: IpAddr) -> Option<Network> {
    let (address, len): (IpAddr, u8) = match client {
        IpAddr::V4(client) => (Ipv4Addr::from(u32::from(client) ^ 2).into(), 30),
        IpAddr::V6(client) => (Ipv6Addr::from(u128::from(client) ^ 2).into(), 126),
    };
    let net = ipnet::IpNet::new(address, len).ok()?;
    Network::new(address, net.netmask())
}

struct Tree<'t> {
    sides: &'t [(u128, u128)],
    width: u32,
    seen: HashSet<Vec<usize>>,
    nodes: usize,
    found: Vec<u128>,
}

impl Tree<'_> {
    /// `path` has its first `bit` bits decided; `open` may hold it still, `inside` do.
    fn cut(
        &mut self,
        bit: u32,
        path: u128,
        open: &[usize],
        inside: &mut Vec<usize>,
    ) -> Result<(), Undecided> {
        self.nodes += 1;
        if self.nodes > NODES {
            return Err(Undecided::TooComplex);
        }
        let below = u128::MAX.checked_shr(bit).unwrap_or(0);
        let before = inside.len();
        let mut left = Vec::new();
        let mut cares = 0;
        for &side in open {
            let mask = self.sides[side].1 & below;
            if mask == 0 {
                inside.push(side);
            } else {
                cares |= mask;
                left.push(side);
            }
        }
        if left.is_empty() {
            let mut key = inside.clone();
            key.sort_unstable();
            if self.seen.insert(key) {
                // A host rather than a network, where nothing depends on it.
                let last = 1_u128 << (128 - self.width);
                self.found.push(if bit < self.width { path | last } else { path });
            }
        } else {
            let bit = cares.leading_zeros();
            let at = 1_u128 << (127 - bit);
            for value in [0, at] {
                let open: Vec<usize> = left
                    .iter()
                    .copied()
                    .filter(|&side| self.sides[side].1 & at == 0 || self.sides[side].0 & at == value)
                    .collect();
                self.cut(bit + 1, path | value, &open, inside)?;
            }
        }
        inside.truncate(before);
        Ok(())
    }
}
