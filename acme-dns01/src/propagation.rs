//! Evaluation of name servers' responses to TXT queries.

use std::fmt;
use std::net::SocketAddr;

/// Outcome of a TXT query at one address of a name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Host name of the server, or `resolver`.
    pub server: String,
    /// The address that was queried.
    pub address: SocketAddr,
    /// The response of the server, or the reason why there is none.
    pub reply: Reply,
}

/// Response of a name server to a TXT query, or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A DNS response was received.
    Response {
        /// `true` if the AA flag is set: the server is authoritative for the name.
        authoritative: bool,
        /// `true` if the RA flag is set: the server offers recursion, as authoritative name servers do not.
        recursive: bool,
        /// The response code: 0 NOERROR, 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
        code: u16,
        /// Values of the TXT records, each with its strings concatenated.
        values: Vec<String>,
    },
    /// No response was received, for this reason.
    Silence(String),
}

/// The kind of servers that are queried for challenge records: authoritative name servers, or recursive resolvers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupMode {
    /// Every address of every authoritative name server of the zone, without recursion.
    Authorities,
    /// Recursive resolvers, for networks from which authoritative name servers cannot be reached.
    Resolvers,
}

/// Verdict on the response of one server to a query for TXT records: whether it has every wanted value, or why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The response has every wanted value.
    Complete,
    /// The response lacks these wanted values.
    Missing(Vec<String>),
    /// The server is not authoritative for the name, by its AA flag: a lame delegation.
    Lame,
    /// A recursive resolver on the path responds in place of the server: the RA flag is set, and AA is not.
    Hijacked,
    /// The server responded with this code, which is neither NOERROR nor NXDOMAIN.
    Failed(u16),
    /// The server did not respond, for this reason.
    Silent(String),
}

/// One address of a name server that does not return every value, with the verdict on its response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerVerdict {
    /// Host name and IP address of the server, as `server (address)`.
    pub server: String,
    /// Verdict on the server's response, never [`Verdict::Complete`].
    pub verdict: Verdict,
}

impl fmt::Display for ServerVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.server, self.verdict)
    }
}

/// Verdict on the responses of all servers: whether every one has every wanted value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Every server has every value. With [`LookupMode::Authorities`], an address without a response is ignored if
    /// another address of the same server has every value.
    Complete,
    /// At least one server does not return every value, or no server was queried, in which case the list is empty.
    Incomplete(Vec<ServerVerdict>),
    /// Every response is from a recursive resolver on the path: port 53 is intercepted, so that authoritative name
    /// servers cannot be queried.
    Hijacked,
}

/// Evaluates the response of one server to a query for TXT records. `wanted` are the values that must be present. With
/// [`LookupMode::Resolvers`] the response need not be authoritative.
#[must_use]
pub fn judge(answer: &Answer, wanted: &[String], mode: LookupMode) -> Verdict {
    let (authoritative, recursive, code, values) = match &answer.reply {
        Reply::Response { authoritative, recursive, code, values } => {
            (authoritative, recursive, code, values)
        }
        Reply::Silence(why) => return Verdict::Silent(why.clone()),
    };
    if mode == LookupMode::Authorities && !authoritative && *recursive {
        return Verdict::Hijacked;
    }
    match code {
        0 | 3 => {}
        code => return Verdict::Failed(*code),
    }
    if mode == LookupMode::Authorities && !authoritative {
        return Verdict::Lame;
    }
    let missing: Vec<String> = wanted.iter().filter(|value| !values.contains(value)).cloned().collect();
    if missing.is_empty() { Verdict::Complete } else { Verdict::Missing(missing) }
}

/// Evaluates the responses of all servers for one name, whose TXT records must include the values `wanted`. With
/// [`LookupMode::Authorities`], an address without a response does not count if another address of the same server has
/// every value. Without any server the result is `Incomplete`.
#[must_use]
pub fn propagation(answers: &[Answer], wanted: &[String], mode: LookupMode) -> Propagation {
    let verdicts: Vec<(&Answer, Verdict)> =
        answers.iter().map(|answer| (answer, judge(answer, wanted, mode))).collect();
    let answered = verdicts.iter().filter(|(_, verdict)| !matches!(verdict, Verdict::Silent(_))).count();
    let hijacked = verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Hijacked).count();
    if hijacked > 0 && hijacked == answered {
        return Propagation::Hijacked;
    }
    let works = |server: &str| {
        verdicts.iter().any(|(answer, verdict)| answer.server == server && *verdict == Verdict::Complete)
    };
    let ignored = |answer: &Answer, verdict: &Verdict| {
        mode == LookupMode::Authorities && matches!(verdict, Verdict::Silent(_)) && works(&answer.server)
    };
    let incomplete: Vec<ServerVerdict> = verdicts
        .iter()
        .filter(|(answer, verdict)| *verdict != Verdict::Complete && !ignored(answer, verdict))
        .map(|(answer, verdict)| ServerVerdict {
            server: format!("{} ({})", answer.server, answer.address.ip()),
            verdict: verdict.clone(),
        })
        .collect();
    if !verdicts.is_empty() && incomplete.is_empty() {
        return Propagation::Complete;
    }
    Propagation::Incomplete(incomplete)
}

/// Returns the addresses that sent no response, as `server (address)`.
#[must_use]
pub fn unreachable(answers: &[Answer]) -> Vec<String> {
    let silent = answers.iter().filter(|answer| matches!(answer.reply, Reply::Silence(_)));
    silent.map(|answer| format!("{} ({})", answer.server, answer.address.ip())).collect()
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("has every value"),
            Self::Missing(values) => write!(f, "does not have {} yet", values.join(", ")),
            Self::Lame => f.write_str("is lame: the zone is delegated to it, but it is not authoritative"),
            Self::Hijacked => f.write_str("is intercepted: a recursive resolver answers in its place"),
            Self::Failed(2) => f.write_str("answered SERVFAIL"),
            Self::Failed(5) => {
                f.write_str("answered REFUSED: the zone is delegated to it, but it does not serve it")
            }
            Self::Failed(code) => write!(f, "answered with code {code}"),
            Self::Silent(why) => write!(f, "did not answer: {why}"),
        }
    }
}

/// Formats the servers of [`Propagation::Incomplete`] with their verdicts on one line, separated by semicolons;
/// `no name server is known` if the list is empty.
#[must_use]
pub fn report(verdicts: &[ServerVerdict]) -> String {
    if verdicts.is_empty() {
        return "no name server is known".to_owned();
    }
    verdicts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(authoritative: bool, recursive: bool, code: u16, values: &[&str]) -> Answer {
        let values = values.iter().map(ToString::to_string).collect();
        Answer {
            server: "ns.test".into(),
            address: "192.0.2.1:53".parse().expect("an address"),
            reply: Reply::Response { authoritative, recursive, code, values },
        }
    }

    #[test]
    fn one_answer() {
        let wanted = ["a".to_owned(), "b".to_owned()];
        let judge = |answer: &Answer| judge(answer, &wanted, LookupMode::Authorities);
        assert_eq!(judge(&answer(true, false, 0, &["b", "x", "a"])), Verdict::Complete);
        assert_eq!(judge(&answer(true, false, 0, &["a"])), Verdict::Missing(vec!["b".into()]));
        assert_eq!(judge(&answer(true, false, 3, &[])), Verdict::Missing(vec!["a".into(), "b".into()]));
        assert_eq!(judge(&answer(false, false, 0, &["a", "b"])), Verdict::Lame);
        assert_eq!(judge(&answer(false, false, 5, &[])), Verdict::Failed(5));
        assert_eq!(judge(&answer(false, true, 0, &["a", "b"])), Verdict::Hijacked);
    }

    #[test]
    fn a_router_that_answers_for_all_is_seen() {
        let wanted = ["a".to_owned()];
        let all = [answer(false, true, 0, &["a"]), answer(false, true, 3, &[])];
        assert_eq!(propagation(&all, &wanted, LookupMode::Authorities), Propagation::Hijacked);
        assert_eq!(propagation(&all[..1], &wanted, LookupMode::Resolvers), Propagation::Complete);
    }

    #[test]
    fn one_dead_address_of_a_server_that_answers_is_ignored() {
        let wanted = ["a".to_owned()];
        let good = answer(true, false, 0, &["a"]);
        let dead = |server: &str| Answer {
            server: server.into(),
            address: "[2001:db8::1]:53".parse().expect("an address"),
            reply: Reply::Silence("refused".into()),
        };
        let all = [good.clone(), dead("ns.test")];
        assert_eq!(propagation(&all, &wanted, LookupMode::Authorities), Propagation::Complete);
        assert_eq!(unreachable(&all), ["ns.test (2001:db8::1)"]);
        // A server of which no address answers is not.
        let all = [good, dead("ns2.test")];
        let found = propagation(&all, &wanted, LookupMode::Authorities);
        assert!(matches!(found, Propagation::Incomplete(list) if list.len() == 1));
        // A stale answer beside a silent one is not ignored.
        let all = [answer(true, false, 0, &["old"]), dead("ns.test")];
        let found = propagation(&all, &wanted, LookupMode::Authorities);
        assert!(matches!(found, Propagation::Incomplete(list) if list.len() == 2));
    }

    proptest! {
        /// One stale server is enough to wait, whatever the others say.
        #[test]
        fn one_stale_server_holds_everything(before in 0_usize..5, after in 0_usize..5) {
            let good = answer(true, false, 0, &["a"]);
            let mut all = vec![good.clone(); before];
            all.push(answer(true, false, 0, &["old"]));
            all.extend(vec![good; after]);
            let wanted = ["a".to_owned()];
            let found = propagation(&all, &wanted, LookupMode::Authorities);
            prop_assert!(matches!(found, Propagation::Incomplete(list) if list.len() == 1));
        }
    }
}
