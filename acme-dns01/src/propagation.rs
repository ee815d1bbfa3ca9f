//! Does the world see the record yet? Verdicts over what name servers answer.

use std::fmt;
use std::net::SocketAddr;

/// What a name server answered when it was asked for the TXT records of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The server's name, or how it was configured.
    pub server: String,
    /// Which of its addresses was asked.
    pub address: SocketAddr,
    /// What came.
    pub reply: Reply,
}

/// What came from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A response.
    Response {
        /// It says it is an authority (AA).
        authoritative: bool,
        /// It offers recursion (RA), as no authority does.
        recursive: bool,
        /// The response code: 0 NOERROR, 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
        code: u16,
        /// The TXT values, each joined from its parts.
        values: Vec<String>,
    },
    /// Nothing, and why.
    Silence(String),
}

/// How the servers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Every address of every name server of the zone, without recursion.
    Authorities,
    /// Recursive resolvers, because authorities cannot be reached from here.
    Resolvers,
}

/// What is to be made of one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything that is wanted is there.
    Complete,
    /// Values are missing.
    Missing(Vec<String>),
    /// The server is no authority for the name: a lame delegation.
    Lame,
    /// Something between us and the server answers in its place.
    Hijacked,
    /// It answered with an error.
    Failed(u16),
    /// It did not answer.
    Silent(String),
}

/// What is to be made of all answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Every server has every value.
    Complete,
    /// Not yet; and which server says what.
    Incomplete(Vec<(String, Verdict)>),
    /// Port 53 is hijacked: authorities cannot be asked from here.
    Hijacked,
}

/// Judges one answer.
#[must_use]
pub fn judge(answer: &Answer, wanted: &[String], way: Way) -> Verdict {
    let (authoritative, recursive, code, values) = match &answer.reply {
        Reply::Response { authoritative, recursive, code, values } => {
            (authoritative, recursive, code, values)
        }
        Reply::Silence(why) => return Verdict::Silent(why.clone()),
    };
    if way == Way::Authorities && !authoritative && *recursive {
        return Verdict::Hijacked;
    }
    match code {
        0 | 3 => {}
        code => return Verdict::Failed(*code),
    }
    if way == Way::Authorities && !authoritative {
        return Verdict::Lame;
    }
    let missing: Vec<String> = wanted.iter().filter(|value| !values.contains(value)).cloned().collect();
    if missing.is_empty() { Verdict::Complete } else { Verdict::Missing(missing) }
}

/// Judges all answers for one name: complete only if every address has every value.
#[must_use]
pub fn propagation(answers: &[Answer], wanted: &[String], way: Way) -> Propagation {
    let verdicts: Vec<(String, Verdict)> = answers
        .iter()
        .map(|answer| (format!("{} ({})", answer.server, answer.address.ip()), judge(answer, wanted, way)))
        .collect();
    let answered = verdicts.iter().filter(|(_, verdict)| !matches!(verdict, Verdict::Silent(_))).count();
    let hijacked = verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Hijacked).count();
    if hijacked > 0 && hijacked == answered {
        return Propagation::Hijacked;
    }
    if !verdicts.is_empty() && verdicts.iter().all(|(_, verdict)| *verdict == Verdict::Complete) {
        return Propagation::Complete;
    }
    Propagation::Incomplete(
        verdicts.into_iter().filter(|(_, verdict)| *verdict != Verdict::Complete).collect(),
    )
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("has every value"),
            Self::Missing(values) => write!(f, "does not have {} yet", values.join(", ")),
            Self::Lame => f.write_str("is lame: it is delegated to, but is no authority for the name"),
            Self::Hijacked => f.write_str("is answered for by a recursive resolver on the way"),
            Self::Failed(2) => f.write_str("answered SERVFAIL"),
            Self::Failed(5) => {
                f.write_str("answered REFUSED: it is delegated to, but does not serve the zone")
            }
            Self::Failed(code) => write!(f, "answered with code {code}"),
            Self::Silent(why) => write!(f, "did not answer: {why}"),
        }
    }
}

/// One line for people: every server that is not complete, and why.
#[must_use]
pub fn report(verdicts: &[(String, Verdict)]) -> String {
    if verdicts.is_empty() {
        return "no name server is known".to_owned();
    }
    verdicts.iter().map(|(server, verdict)| format!("{server} {verdict}")).collect::<Vec<_>>().join("; ")
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
        let judge = |answer: &Answer| judge(answer, &wanted, Way::Authorities);
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
        assert_eq!(propagation(&all, &wanted, Way::Authorities), Propagation::Hijacked);
        assert_eq!(propagation(&all[..1], &wanted, Way::Resolvers), Propagation::Complete);
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
            let found = propagation(&all, &wanted, Way::Authorities);
            prop_assert!(matches!(found, Propagation::Incomplete(list) if list.len() == 1));
        }
    }
}
