//! Conversion of `set_real_ip_from`, `real_ip_header` and `real_ip_recursive`: in nginx they are settings of a server,
//! in edge-proxyd of all sites.

use super::notes::Notes;
use super::parse::Directive;
use super::ranges::net_of;
use ipnet::IpNet;

/// The trusted proxies of a block, and the header with the client's address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RealIp {
    /// The ranges of addresses of trusted proxies. Empty if none is trusted.
    pub(super) ranges: Vec<IpNet>,
    /// The name of the header: in lower case for `X-Forwarded-For`, `X-Real-IP`, `Forwarded` and `proxy_protocol`,
    /// otherwise as written. `None` for nginx's default, `X-Real-IP`.
    pub(super) header: Option<String>,
    /// True with `real_ip_recursive on`: trusted addresses at the end of the header are skipped.
    pub(super) recursive: bool,
    /// True if a range cannot be converted, or trusts everyone.
    unknown: bool,
}

impl RealIp {
    /// Returns the settings with which a block inside this one begins: without the inherited ranges if the block has a
    /// `set_real_ip_from`. The directives of the block are read by [`take`](Self::take).
    pub(super) fn enter(&self, block: &[Directive]) -> Self {
        let mut inner = self.clone();
        if block.iter().any(|directive| directive.name == "set_real_ip_from") {
            inner.ranges.clear();
            inner.unknown = false;
        }
        inner
    }

    /// Reads `set_real_ip_from`, `real_ip_header` or `real_ip_recursive`. Returns true for these, false for any other
    /// directive. A range that cannot be converted, or trusts everyone, is noted and left out.
    pub(super) fn take(&mut self, directive: &Directive, notes: &mut Notes) -> bool {
        let first = directive.first();
        match directive.name.as_str() {
            "set_real_ip_from" => match net_of(first) {
                Some(range) if range.prefix_len() == 0 => {
                    self.unknown = true;
                    notes.closed(directive, "would let any client forge its address, so no proxy is trusted: list the proxies in [trust] ranges");
                }
                Some(range) if !self.ranges.contains(&range) => self.ranges.push(range),
                Some(_) => {}
                None => {
                    self.unknown = true;
                    notes.closed(
                        directive,
                        "not a range of addresses, so it is not trusted: write [trust] ranges by hand",
                    );
                }
            },
            "real_ip_header" => {
                let lower = first.to_ascii_lowercase();
                let usual = ["x-forwarded-for", "x-real-ip", "forwarded", "proxy_protocol"];
                self.header = Some(if usual.contains(&lower.as_str()) { lower } else { first.to_owned() });
            }
            "real_ip_recursive" => self.recursive = first == "on",
            _ => return false,
        }
        true
    }

    /// Returns true if a proxy is trusted, or would be if its range could be converted.
    pub(super) fn is_set(&self) -> bool {
        !self.ranges.is_empty() || self.unknown
    }

    /// Returns the name of the header with the client's address; `x-real-ip` by default.
    pub(super) fn header(&self) -> &str {
        self.header.as_deref().unwrap_or("x-real-ip")
    }

    /// Returns true if these settings give every request the same client address as `written`, those of the converted
    /// configuration: neither trusts a proxy; or all ranges could be converted, ranges and header are equal, and
    /// trusted addresses in `X-Forwarded-For` and `Forwarded` are skipped, as edge-proxyd always does.
    pub(super) fn is_equivalent(&self, written: &Self) -> bool {
        if !self.is_set() && !written.is_set() {
            return true;
        }
        let mut ours = self.ranges.clone();
        let mut theirs = written.ranges.clone();
        ours.sort_unstable();
        theirs.sort_unstable();
        // edge-proxyd passes over every trusted hop, as nginx does with `real_ip_recursive on`.
        let hops = self.header() != "x-forwarded-for" && self.header() != "forwarded" || self.recursive;
        !self.unknown && ours == theirs && self.header() == written.header() && hops
    }
}

/// Notes a location that itself sets another source of the client's address than `written`, the trusted proxies of the
/// converted configuration. `own` are its settings; `by_address` tells whether it has address rules, which are closed
/// then.
pub(super) fn note_of_location(
    location: &Directive,
    by_address: bool,
    own: &RealIp,
    written: &RealIp,
    notes: &mut Notes,
) {
    let sets = location.inner().iter().any(|one| own.clone().take(one, &mut Notes::default()));
    match (sets && !own.is_equivalent(written), by_address) {
        (true, true) => notes.closed(location, "takes the client's address from elsewhere than [trust], which is of all sites: `deny` keeps everyone out where addresses decide"),
        (true, false) => notes.different(
            location,
            "takes the client's address from elsewhere than [trust], which is of all sites",
        ),
        (false, _) => {}
    }
}

/// Returns the settings that most servers have; of equally frequent ones, the first. Servers without trusted proxies,
/// or with ranges that cannot be converted, do not count. Default settings if no server is left.
pub(super) fn most_common(all: &[RealIp]) -> RealIp {
    let mut best: (usize, RealIp) = (0, RealIp::default());
    for one in all.iter().filter(|one| one.is_set() && !one.unknown) {
        let count = all.iter().filter(|other| *other == one).count();
        if count > best.0 {
            best = (count, one.clone());
        }
    }
    best.1
}
