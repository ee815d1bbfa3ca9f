//! Analysis of a file: errors of the server, and problems and risks in the rules that it accepts.

mod finding;

pub use finding::{Code, Finding, Severity, Waiver, WaiverError};

use crate::address::{Network, is_private};
use crate::attempt::{Attempt, StaticEnvironment, Transport};
use crate::connection::ConnectionType;
use crate::diff::{Diff, diff};
use crate::document::{Content, Document, RejectedFile};
use crate::index::Index;
use crate::method::Method;
use crate::regex::Pattern;
use crate::rule::{Address, Database, Rule, User};
use crate::server::Server;
use crate::shadow::shadowed_rules;
use std::collections::{BTreeSet, HashMap};

/// Inputs of an analysis, other than the file. By default, no roles, next version, waivers and policy.
#[derive(Clone, Debug, Default)]
pub struct Analysis {
    /// Superuser that must be admitted, and for which `trust` is reported. `None` selects `postgres`.
    pub superuser: Option<String>,
    /// All existing roles. `None` if they are not known; unknown roles are then not reported.
    pub roles: Option<BTreeSet<String>>,
    /// Server that will read the file in future, for findings about lines whose meaning changes. `None` disables these
    /// findings.
    pub next: Option<Server>,
    /// Waivers, which mark findings as accepted. Of several that apply, the first is used.
    pub waivers: Vec<Waiver>,
    /// Rules of the policy that the file is generated from. Findings about the extent of `trust` (HBA017 to HBA020) in
    /// a rule that equals one of them count as waived.
    pub policy: Vec<Rule>,
}

/// Returns the findings about a file, including waived ones, sorted by file, line and code. For a file that the server
/// rejects, only the rejected lines and differences to the next version are reported.
///
/// ```
/// use pg_hba::{Analysis, Code, Document, Server, Version, analyze};
/// let server = Server::new(Version::V18);
/// let text = "local all postgres peer\nhost all all 0.0.0.0/0 trust\nhost app app 10.0.0.1/32 md5\n";
/// let findings = analyze(&Document::parse(text, &server), &server, &Analysis::default());
/// let codes: Vec<Code> = findings.iter().map(|finding| finding.code).collect();
/// assert_eq!(codes, [Code::PublicTrust, Code::SuperuserTrust, Code::Shadowed, Code::Md5]);
/// ```
#[must_use]
pub fn analyze(document: &Document, server: &Server, analysis: &Analysis) -> Vec<Finding> {
    let mut found = Findings { found: Vec::new() };
    match document.rules() {
        Err(RejectedFile(errors)) => {
            for error in errors {
                let fix = error.fix().unwrap_or_else(|| "correct the line".to_owned());
                let reason = format!("the server refuses it: {}", error.reason);
                found.push(Code::Refused, error.line, error.file, reason, fix);
                if let Some(finding) = found.found.last_mut() {
                    finding.column = error.column;
                }
            }
        }
        Ok(rules) => {
            rules.iter().for_each(|rule| found.rule(rule, analysis));
            found.trust(&rules, analysis);
            found.forms(document);
            found.reach(&rules);
            found.check_lockout(&rules, analysis.superuser.as_deref().unwrap_or("postgres"));
        }
    }
    if let Some(next) = &analysis.next {
        found.versions(document, server, next);
    }
    let mut found = found.found;
    for finding in &mut found {
        let waived = analysis.waivers.iter().find_map(|waiver| waiver.covers(finding));
        finding.waived = waived.map(str::to_owned).or(finding.waived.take());
    }
    found.sort_by_key(|finding| (finding.file.clone(), finding.line, finding.code));
    found
}

/// Findings in the order in which they were made.
struct Findings {
    found: Vec<Finding>,
}

impl Findings {
    /// Appends a finding that is not waived.
    fn push(&mut self, code: Code, line: u32, file: Option<String>, reason: String, fix: impl Into<String>) {
        self.found.push(Finding { code, line, column: 0, file, reason, fix: fix.into(), waived: None });
    }

    /// Appends a finding about a rule, at the line from which the rule was read.
    fn at(&mut self, code: Code, rule: &Rule, reason: impl Into<String>, fix: impl Into<String>) {
        self.push(code, rule.origin.line, rule.origin.file.clone(), reason.into(), fix);
    }

    /// Appends the findings that follow from one rule alone: by its method HBA004 to HBA007, HBA014 and HBA015; by its
    /// address HBA008 to HBA010 (HBA009 for host bits only); HBA013; and, if the roles are known, HBA012 for each
    /// unknown role.
    fn rule(&mut self, rule: &Rule, analysis: &Analysis) {
        let public = rule.connection != ConnectionType::Local && is_public(&rule.address);
        match rule.method {
            Method::Trust if public => self.at(
                Code::PublicTrust,
                rule,
                format!(
                    "anybody at {} may be any of these users",
                    crate::rule::address_text(&rule.address)
                ),
                "narrow the address, or use scram-sha-256",
            ),
            Method::Md5 => self.at(
                Code::Md5,
                rule,
                "with a stored MD5 hash the client can answer with the hash itself; with a stored SCRAM verifier the \
                 server uses SCRAM-SHA-256 all the same",
                "store SCRAM verifiers and write scram-sha-256; PostgreSQL 18 warns of MD5 hashes",
            ),
            Method::Password | Method::Ldap | Method::Pam | Method::Radius | Method::Bsd => {
                let clear =
                    rule.connection != ConnectionType::Local && rule.connection != ConnectionType::HostSsl;
                if clear && public {
                    let reason = format!("{} sends the password as it is, over TCP without TLS", rule.method);
                    self.at(Code::PublicCleartext, rule, reason, "make it a hostssl record");
                }
                if rule.method == Method::Password {
                    self.at(
                        Code::Password,
                        rule,
                        "the server sees the password itself",
                        "write scram-sha-256",
                    );
                }
                if rule.method == Method::Radius {
                    self.at(
                        Code::Radius,
                        rule,
                        "versions after 18 have no radius",
                        "plan for another method",
                    );
                }
            }
            Method::Ident if rule.connection != ConnectionType::Local => self.at(
                Code::Ident,
                rule,
                "ident believes whatever the client's machine says",
                "use scram-sha-256 or cert",
            ),
            _ => {}
        }
        match &rule.address {
            Address::Host(name) => {
                let reason = format!("{name:?} takes a reverse and a forward look-up at each connection");
                self.at(Code::HostName, rule, reason, "write the address, or hold DNS to be trustworthy");
            }
            Address::Network(network) => match network.to_net() {
                None => self.at(
                    Code::HoledMask,
                    rule,
                    format!("the mask {} has holes: it takes addresses from many ranges", network.mask()),
                    "write a prefix length",
                ),
                Some(net) if net.network() != network.address() => self.at(
                    Code::AddressForm,
                    rule,
                    format!("{network} has host bits; the server ignores them and takes {net}"),
                    format!("write {net}"),
                ),
                Some(_) => {}
            },
            _ => {}
        }
        if !rule.possible {
            self.at(
                Code::Impossible,
                rule,
                "it cannot match on this server",
                "turn the encryption on, or drop it",
            );
        }
        if let Some(roles) = &analysis.roles {
            for user in &rule.users {
                if let User::Name(name) | User::Member(name) = user
                    && !roles.contains(name)
                {
                    self.at(
                        Code::UnknownRole,
                        rule,
                        format!("no role is named {name:?}"),
                        "correct the name, or drop it",
                    );
                }
            }
        }
    }

    /// Appends HBA017 to HBA020 for rules with `trust` that can match and are not restricted to loopback. HBA017 is
    /// appended only if the rule decides some connection of the superuser; the others without regard to earlier rules.
    /// Those of a rule that equals one of `analysis.policy` are marked as waived.
    fn trust(&mut self, rules: &[Rule], analysis: &Analysis) {
        let superuser = analysis.superuser.as_deref().unwrap_or("postgres");
        let index = Index::new(rules.to_vec());
        for (at, rule) in rules.iter().enumerate() {
            if rule.method != Method::Trust || !rule.possible || is_loopback(rule) {
                continue;
            }
            let before = self.found.len();
            let local = rule.connection == ConnectionType::Local;
            let place = crate::rule::address_text(&rule.address);
            let everybody = rule.users.contains(&User::All) && rule.databases.contains(&Database::All);
            if reaches(&index, rules, at, superuser) {
                let from = if local {
                    "any account of this machine".to_owned()
                } else {
                    format!("anybody at {place}")
                };
                let reason = format!("{from} can be the superuser {superuser:?} without a password");
                self.at(
                    Code::SuperuserTrust,
                    rule,
                    reason,
                    "reject the superuser before, or use peer or scram-sha-256",
                );
            }
            if everybody && local {
                let reason = "any account of this machine can be any user without a password";
                self.at(Code::LocalTrust, rule, reason, "use peer, or name the users");
            } else if everybody && !is_public(&rule.address) {
                let reason = format!("anybody at {place} can be any user without a password");
                self.at(Code::EverybodyTrust, rule, reason, "use scram-sha-256, or name the users");
            }
            if !local && matches!(rule.address, Address::SameHost | Address::SameNet | Address::Host(_)) {
                let reason =
                    format!("who is trusted depends on {place}: on the networks of the server, or on DNS");
                self.at(Code::IndirectTrust, rule, reason, "write the address");
            }
            if analysis.policy.contains(rule) {
                for finding in &mut self.found[before..] {
                    finding.waived = Some("stated by the policy".to_owned());
                }
            }
        }
    }

    /// Appends [`Code::AddressForm`] for each network whose address is not written in its usual notation, such as with
    /// octal or shortened numbers, so that the server reads it as another text than the one written.
    fn forms(&mut self, document: &Document) {
        for line in document.lines() {
            let Content::Rule(rule) = &line.content else { continue };
            let (Address::Network(network), Some(field)) = (&rule.address, line.fields.get(3)) else {
                continue;
            };
            let written = field[0].text.split('/').next().unwrap_or_default();
            if written.parse() != Ok(network.address()) {
                let reason = format!(
                    "{written:?} is read as {}: numbers may be octal, hexadecimal or short",
                    network.address()
                );
                self.at(Code::AddressForm, rule, reason, format!("write {network}"));
            }
        }
    }

    /// Appends [`Code::Shadowed`] for each rule that can match on this server and never decides, or [`Code::Undecided`]
    /// once for the file.
    fn reach(&mut self, rules: &[Rule]) {
        match shadowed_rules(rules) {
            Ok(dead) => {
                for dead in dead.iter().filter(|dead| rules[dead.rule].possible) {
                    let lines: Vec<String> =
                        dead.by.iter().map(|&by| rules[by].origin.line.to_string()).collect();
                    let reason = if lines.is_empty() {
                        "no connection can match it".to_owned()
                    } else {
                        format!("every connection it is for is decided before, by line {}", lines.join(", "))
                    };
                    self.at(
                        Code::Shadowed,
                        &rules[dead.rule],
                        reason,
                        "move it up, or drop it: nothing changes",
                    );
                }
            }
            Err(why) => {
                self.push(Code::Undecided, 0, None, format!("shadowed rules: {why}"), "simplify the rules");
            }
        }
    }

    /// Appends [`Code::Lockout`] if [`crate::admits`] is `false` for the superuser.
    fn check_lockout(&mut self, rules: &[Rule], superuser: &str) {
        if !crate::guard::admits(rules, superuser) {
            let reason = format!("no rule lets {superuser:?} in, from anywhere");
            self.push(Code::Lockout, 0, None, reason, format!("write first: local all {superuser} peer"));
        }
    }

    /// Appends [`Code::VersionDependent`] for each rule of the file itself that the server `next` rejects or reads
    /// differently. Included files are not read again.
    fn versions(&mut self, document: &Document, server: &Server, next: &Server) {
        let again = Document::parse(document.text(), next);
        let mut other = HashMap::new();
        for line in again.lines().iter().filter(|line| line.origin.file.is_none()) {
            other.entry(line.origin.line).or_insert(&line.content);
        }
        let version = next.version();
        for line in document.lines().iter().filter(|line| line.origin.file.is_none()) {
            let Content::Rule(rule) = &line.content else { continue };
            let reason = match other.get(&line.origin.line) {
                Some(Content::Rule(same)) if means_same(rule, same) => continue,
                Some(Content::Rule(_)) => format!(
                    "PostgreSQL {version} reads names with a slash as patterns, {} as names",
                    server.version()
                ),
                Some(Content::Refused(error)) => {
                    format!("PostgreSQL {version} refuses it: {}", error.reason)
                }
                _ => format!("PostgreSQL {version} does not see it as a rule"),
            };
            self.at(Code::VersionDependent, rule, reason, "write it so that both versions agree");
        }
    }
}

/// Returns `true` if two rules are equal, or decide all connections alike and have the same regular expressions.
fn means_same(one: &Rule, other: &Rule) -> bool {
    one == other
        || diff(std::slice::from_ref(one), std::slice::from_ref(other)) == Diff::Equal
            && patterns(one) == patterns(other)
}

/// Returns the regular expressions of the database and the user field, in order.
fn patterns(rule: &Rule) -> Vec<&Pattern> {
    let databases = rule.databases.iter().filter_map(|database| match database {
        Database::Pattern(pattern) => Some(pattern),
        _ => None,
    });
    let users = rule.users.iter().filter_map(|user| match user {
        User::Pattern(pattern) => Some(pattern),
        _ => None,
    });
    databases.chain(users).collect()
}

/// Returns `true` if a TCP rule applies to loopback addresses only: a network within 127.0.0.0/8, `::1/128`, or the
/// host name `localhost`. `samehost` does not count.
fn is_loopback(rule: &Rule) -> bool {
    let loopback = |network: &Network| {
        network.to_net().is_some_and(|net| net.network().is_loopback() && net.broadcast().is_loopback())
    };
    rule.connection != ConnectionType::Local
        && match &rule.address {
            Address::Network(network) => loopback(network),
            Address::Host(name) => name.eq_ignore_ascii_case("localhost"),
            Address::All | Address::SameHost | Address::SameNet => false,
        }
}

/// Returns `true` if the rule at the position `at` decides a sample connection of a role: to `postgres`, `template1`,
/// the database of the role's name or one that the rule names, over each transport, from one address that the rule
/// accepts. Physical replication is not tried.
fn reaches(index: &Index, rules: &[Rule], at: usize, role: &str) -> bool {
    let rule = &rules[at];
    let named = rule.databases.iter().filter_map(|database| match database {
        Database::Name(name) => Some(name.as_str()),
        _ => None,
    });
    let databases: Vec<&str> = ["postgres", "template1", role].into_iter().chain(named).collect();
    let client = match &rule.address {
        Address::Network(network) => network.address(),
        _ => [192, 0, 2, 1].into(),
    };
    let mut environment = StaticEnvironment::default();
    match &rule.address {
        Address::Host(name) => {
            let name = if name.starts_with('.') { format!("host{name}") } else { name.clone() };
            environment.host_names.insert(client, name);
        }
        Address::SameHost | Address::SameNet => environment.interfaces.push(client.into()),
        Address::All | Address::Network(_) => {}
    }
    let transports: &[Transport] = match rule.connection {
        ConnectionType::Local => &[Transport::Socket],
        _ => &[Transport::Plain, Transport::Tls, Transport::Gss],
    };
    databases.iter().any(|database| {
        transports.iter().any(|&transport| {
            let address = (transport != Transport::Socket).then_some(client);
            let attempt = Attempt { transport, address, ..Attempt::local(database, role) };
            index.decide(&attempt, &environment).1 == Some(at)
        })
    })
}

/// Returns `true` for `all`, and for a network that is not within private ranges or has a mask that is not contiguous.
fn is_public(address: &Address) -> bool {
    match address {
        Address::All => true,
        Address::Network(network) => network.to_net().is_none_or(|net| !is_private(&net)),
        Address::Host(_) | Address::SameHost | Address::SameNet => false,
    }
}
