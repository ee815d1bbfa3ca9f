//! One address for each set of networks that contain an address together.

use super::Undecidable;
use crate::address::Network;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Maximum number of tree nodes of one address family. Only masks that are not contiguous come near it.
const MAX_NODES: usize = 2_000_000;

/// A network: whether it is IPv4, then base without host bits, and mask, both left-aligned in 128 bits.
pub(super) type NetworkKey = (bool, u128, u128);

/// An address, and all of the given networks that contain it.
pub(super) struct SampleAddress {
    pub(super) address: IpAddr,
    pub(super) inside: Vec<NetworkKey>,
}

/// Returns the key of a network: family, base and mask.
pub(super) fn side(network: &Network) -> NetworkKey {
    let (base, mask) = network.left();
    (network.is_v4(), base & mask, mask)
}

/// Returns addresses of both families, one for each combination of networks that contains an address.
///
/// # Errors
/// Returns [`Undecidable::TooComplex`] if the networks combine in too many ways.
pub(super) fn sample_addresses(networks: &[Network]) -> Result<Vec<SampleAddress>, Undecidable> {
    let mut found = Vec::new();
    for v4 in [true, false] {
        let mut sides: Vec<(u128, u128)> = networks
            .iter()
            .map(side)
            .filter(|(four, ..)| *four == v4)
            .map(|(_, base, mask)| (base, mask))
            .collect();
        sides.sort_unstable();
        sides.dedup();
        let mut tree = AddressTree {
            sides: &sides,
            width: if v4 { 32 } else { 128 },
            seen: HashSet::new(),
            nodes: 0,
            found: Vec::new(),
        };
        tree.cut(0, 0, &(0..sides.len()).collect::<Vec<_>>(), &mut Vec::new())?;
        found.extend(tree.found.into_iter().map(|(bits, inside)| SampleAddress {
            address: match v4 {
                true => IpAddr::V4(Ipv4Addr::from(u32::try_from(bits >> 96).unwrap_or(0))),
                false => IpAddr::V6(Ipv6Addr::from(bits)),
            },
            inside: inside.into_iter().map(|at| (v4, sides[at].0, sides[at].1)).collect(),
        }));
    }
    Ok(found)
}

/// Returns an interface whose network contains the client, with an address that is not the client's. `None` never
/// occurs.
pub(super) fn neighbour(client: IpAddr) -> Option<Network> {
    let (address, len): (IpAddr, u8) = match client {
        IpAddr::V4(client) => (Ipv4Addr::from(u32::from(client) ^ 2).into(), 30),
        IpAddr::V6(client) => (Ipv6Addr::from(u128::from(client) ^ 2).into(), 126),
    };
    let net = ipnet::IpNet::new(address, len).ok()?;
    Network::new(address, net.netmask())
}

/// Binary tree of the addresses of one family, cut at the bits that networks distinguish.
struct AddressTree<'t> {
    sides: &'t [(u128, u128)],
    width: u32,
    seen: HashSet<Vec<usize>>,
    nodes: usize,
    found: Vec<(u128, Vec<usize>)>,
}

impl AddressTree<'_> {
    /// Splits the addresses at the next bit that matters: `path` has the first `bit` bits decided, the networks `open`
    /// may contain such an address, the networks `inside` contain all of them.
    ///
    /// # Errors
    /// Returns [`Undecidable::TooComplex`] above [`MAX_NODES`].
    fn cut(
        &mut self,
        bit: u32,
        path: u128,
        open: &[usize],
        inside: &mut Vec<usize>,
    ) -> Result<(), Undecidable> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Undecidable::TooComplex);
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
                // A host address rather than that of a network, if no network depends on the last bit.
                let last = 1_u128 << (128 - self.width);
                self.found.push((if bit < self.width { path | last } else { path }, inside.clone()));
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
