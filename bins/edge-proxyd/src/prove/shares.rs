//! The distribution of requests over the targets of an upstream.

use super::job::Reply;
use crate::import::Outline;
use std::collections::BTreeMap;

/// The smallest number of requests that reached an upstream on both sides for which shares are compared.
const ENOUGH: usize = 24;

/// Returns the host, without brackets, and the port of a target. Without a valid port, it is 443 for `https` and `h2`,
/// and 80 for other schemes. `None` if the target has no scheme, as a Unix socket.
pub(super) fn host_and_port(target: &str) -> Option<(&str, u16)> {
    let (scheme, authority) = target.split_once("://")?;
    let usual = if matches!(scheme, "https" | "h2") { 443 } else { 80 };
    let bare = authority.trim_end_matches(|c: char| c.is_ascii_digit());
    let (host, port) = match bare.strip_suffix(':') {
        Some(host) if !host.ends_with(':') => (host, authority[bare.len()..].parse().unwrap_or(usual)),
        _ => (authority, usual),
    };
    Some((host.trim_matches(['[', ']']), port))
}

/// The upstreams with several targets: of each the names of the recorders for its targets.
pub(super) struct Groups(Vec<Vec<String>>);

impl Groups {
    /// Reads the upstreams of an outline.
    pub(super) fn of(outline: &Outline) -> Self {
        let name = |target: &String| host_and_port(target).map(|(host, port)| format!("{host}:{port}"));
        Self(outline.groups.iter().map(|targets| targets.iter().filter_map(name).collect()).collect())
    }

    /// Returns the index of the upstream that has the target of a recorder with this name. `None` if no upstream with
    /// several targets has it.
    fn at(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|group| group.iter().any(|one| one == name))
    }

    /// Returns true if a recorder stands for a target of an upstream with several targets.
    pub(super) fn has(&self, name: &str) -> bool {
        self.at(name).is_some()
    }

    /// Returns true if two recorders have the same name, or stand for targets of the same upstream.
    pub(super) fn are_one(&self, name: &str, other: &str) -> bool {
        name == other || self.at(name).is_some_and(|group| Some(group) == self.at(other))
    }

    /// Returns, for each upstream over whose targets the servers distribute requests differently, the numbers of nginx
    /// and of edge-proxyd as text. The share of each target may differ by up to 0.1. Upstreams with fewer than
    /// [`ENOUGH`] requests on a side are left out.
    pub(super) fn differences(&self, theirs: &[Reply], ours: &[Reply]) -> Vec<(String, String)> {
        let counted = |group: &[String], replies: &[Reply]| {
            let mut counts: BTreeMap<String, usize> = group.iter().map(|name| (name.clone(), 0)).collect();
            for service in replies.iter().filter_map(|reply| reply.service.as_ref()) {
                if let Some(count) = counts.get_mut(&service.name) {
                    *count += 1;
                }
            }
            counts
        };
        let mut found = Vec::new();
        for group in &self.0 {
            let (nginx, edge) = (counted(group, theirs), counted(group, ours));
            let (all, ours): (usize, usize) = (nginx.values().sum(), edge.values().sum());
            let alike = nginx.values().zip(edge.values()).all(|(one, other)| {
                let share = |count: usize, all: usize| count as f64 / all.max(1) as f64;
                (share(*one, all) - share(*other, ours)).abs() <= 0.1
            });
            if all.min(ours) >= ENOUGH && !alike {
                found.push((shown(&nginx), shown(&edge)));
            }
        }
        found
    }
}

/// Returns the numbers of requests to each target, as text such as `12 to a:80, 12 to b:80`.
fn shown(counts: &BTreeMap<String, usize>) -> String {
    let all: Vec<String> = counts.iter().map(|(name, count)| format!("{count} to {name}")).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::job::ReceivedRequest;
    use super::*;

    fn replies(names: &[(&str, usize)]) -> Vec<Reply> {
        let one = |name: &str| ReceivedRequest { name: name.into(), ..ReceivedRequest::default() };
        let all = names.iter().flat_map(|(name, count)| std::iter::repeat_n(one(name), *count));
        all.map(|service| Reply { service: Some(service), ..Reply::default() }).collect()
    }

    #[test]
    fn shares_are_those_of_one_upstream() {
        let groups = Groups(vec![vec!["a:1".into(), "b:1".into()]]);
        assert!(
            groups.are_one("a:1", "b:1") && groups.are_one("c:1", "c:1") && !groups.are_one("a:1", "c:1")
        );
        let nginx = replies(&[("a:1", 75), ("b:1", 25), ("c:1", 9)]);
        assert!(groups.differences(&nginx, &replies(&[("a:1", 30), ("b:1", 11)])).is_empty());
        let found = groups.differences(&nginx, &replies(&[("a:1", 50), ("b:1", 50)]));
        assert_eq!(found, [("75 to a:1, 25 to b:1".to_owned(), "50 to a:1, 50 to b:1".to_owned())]);
        // Of a few requests there are no shares.
        assert!(groups.differences(&nginx, &replies(&[("b:1", 3)])).is_empty());
    }
}
