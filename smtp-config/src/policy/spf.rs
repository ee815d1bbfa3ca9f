//! SPF (RFC 7208): the terms of a record, and the evaluation of an address.

use super::{Answer, Answers, Question, normal};
use std::net::IpAddr;
use thiserror::Error;

/// Maximum number of terms that cause DNS lookups (RFC 7208 §4.6.4).
const MAX_LOOKUPS: u32 = 10;

/// Result of an SPF evaluation (RFC 7208 §2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spf {
    /// `fail`: the address is not authorized.
    Fail,
    /// `neutral`: the record makes no assertion about the address.
    Neutral,
    /// `none`: the domain has no record.
    None,
    /// `pass`: the address is authorized.
    Pass,
    /// `permerror`: the record is not valid, causes more than 10 lookups, or is not the only one.
    PermError,
    /// `softfail`: the address is probably not authorized.
    SoftFail,
    /// `temperror`: a DNS lookup failed temporarily.
    TempError,
}

/// A term of an SPF record: a mechanism or a modifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Result if the mechanism matches, by its qualifier. Default: [`Spf::Pass`]. Without a meaning for a modifier.
    pub result: Spf,
    /// Name in lower case: `all`, `include`, `a`, `mx`, `ptr`, `ip4`, `ip6`, `exists`, `redirect` or `exp`.
    pub name: String,
    /// Text after `:` or `=`, with macros. Empty if none.
    pub argument: String,
    /// Prefix lengths for IPv4 and IPv6 of `a` and `mx`. For `ip4` and `ip6`, both are that of the network. `None` if not
    /// written, which stands for 32 and 128.
    pub prefixes: (Option<u8>, Option<u8>),
}

/// Error of a term of an SPF record that is not valid. Contains its text.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not a valid term of SPF")]
pub struct TermError(pub String);

/// Returns the SPF record among a domain's TXT records. `None` if there is none.
///
/// # Errors
/// Returns the number of SPF records if there is more than one. Receivers then evaluate to `permerror`.
pub fn record(texts: &[String]) -> Result<Option<&str>, usize> {
    let is = |text: &&String| {
        let lower = text.to_ascii_lowercase();
        lower == "v=spf1" || lower.starts_with("v=spf1 ")
    };
    let records: Vec<&String> = texts.iter().filter(is).collect();
    match records.as_slice() {
        [] => Ok(None),
        [record] => Ok(Some(record)),
        several => Err(several.len()),
    }
}

/// Parses the terms of an SPF record, in order. Unknown modifiers are omitted.
///
/// # Errors
/// Returns the first term that is not valid, or that is a second `redirect` or `exp`.
pub fn terms(record: &str) -> Result<Vec<Term>, TermError> {
    let mut terms: Vec<Term> = Vec::new();
    for word in record.split(' ').skip(1).filter(|word| !word.is_empty()) {
        let term = term(word).ok_or_else(|| TermError(word.to_owned()))?;
        let single = matches!(term.name.as_str(), "redirect" | "exp");
        if single && terms.iter().any(|earlier| earlier.name == term.name) {
            return Err(TermError(word.to_owned()));
        }
        // RFC 7208 §6: unknown modifiers are ignored.
        if !term.name.is_empty() {
            terms.push(term);
        }
    }
    Ok(terms)
}

/// Parses a term. An unknown modifier has an empty name. `None` if it is not valid.
fn term(word: &str) -> Option<Term> {
    let (result, rest) = match word.split_at_checked(1)? {
        ("+", rest) => (Spf::Pass, rest),
        ("-", rest) => (Spf::Fail, rest),
        ("~", rest) => (Spf::SoftFail, rest),
        ("?", rest) => (Spf::Neutral, rest),
        _ => (Spf::Pass, word),
    };
    let end = rest.find([':', '=', '/']).unwrap_or(rest.len());
    let name = rest[..end].to_ascii_lowercase();
    let made = |name: &str, argument: &str, prefixes| {
        Some(Term { result, name: name.to_owned(), argument: argument.to_owned(), prefixes })
    };
    if let Some(argument) = rest[end..].strip_prefix('=') {
        let known = matches!(name.as_str(), "redirect" | "exp");
        let modifier = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !modifier || rest.len() != word.len() || known && argument.is_empty() {
            return None;
        }
        return made(if known { &name } else { "" }, argument, (None, None));
    }
    let argument = rest[end..].strip_prefix(':').unwrap_or(&rest[end..]);
    match name.as_str() {
        "all" if rest.len() == 3 => made("all", "", (None, None)),
        "include" | "exists" if !argument.is_empty() => made(&name, argument, (None, None)),
        "ip4" | "ip6" => {
            let (address, prefix) = argument.split_once('/').map_or((argument, None), |(a, p)| (a, Some(p)));
            let address: IpAddr = address.parse().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let prefix = prefix.map(|prefix| prefix_length(prefix, most));
            let prefix = match prefix {
                Some(None) => return None,
                other => other.flatten(),
            };
            (address.is_ipv4() == (name == "ip4")).then_some(())?;
            made(&name, &address.to_string(), (prefix, prefix))
        }
        "a" | "mx" | "ptr" => {
            let (domain, lengths) = argument.split_at(argument.find('/').unwrap_or(argument.len()));
            let (four, six) = lengths.split_at(lengths.find("//").unwrap_or(lengths.len()));
            let parse = |text: &str, sign: &str, most: u8| match text.strip_prefix(sign) {
                None => text.is_empty().then_some(None),
                Some(length) => prefix_length(length, most).map(Some),
            };
            let named = rest[end..].starts_with(':');
            if named && domain.is_empty() || name == "ptr" && !lengths.is_empty() {
                return None;
            }
            made(&name, domain, (parse(four, "/", 32)?, parse(six, "//", 128)?))
        }
        _ => None,
    }
}

/// Parses a prefix length of at most `most`: digits without a leading zero (RFC 7208 §5.6). `None` if it is not valid.
fn prefix_length(text: &str, most: u8) -> Option<u8> {
    let digits = text.bytes().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    digits.then(|| text.parse().ok()).flatten().filter(|length| *length <= most)
}

/// Evaluates SPF for an address and the record of `domain`. Returns the result with the number of terms that caused
/// lookups; above 10, the result is [`Spf::PermError`]. `sender` is the envelope sender, `helo` the host name from
/// EHLO. The mechanism `ptr`, which RFC 7208 deprecates, never matches, and an `mx` with more than 10 hosts is
/// [`Spf::PermError`] (RFC 7208 §4.6.4).
///
/// # Errors
/// Returns the next DNS question if its answer is missing in `answers`.
pub fn spf(
    address: IpAddr,
    domain: &str,
    sender: &str,
    helo: &str,
    answers: &Answers,
) -> Result<(Spf, u32), Question> {
    let mut evaluation = Evaluation { address, sender, helo, answers, lookups: 0 };
    let result = evaluation.domain(&normal(domain))?;
    Ok((result, evaluation.lookups))
}

/// State of an evaluation, with the number of terms that caused lookups.
struct Evaluation<'a> {
    address: IpAddr,
    sender: &'a str,
    helo: &'a str,
    answers: &'a Answers,
    lookups: u32,
}

impl Evaluation<'_> {
    /// Evaluates the record of a domain.
    ///
    /// # Errors
    /// Returns the next DNS question.
    fn domain(&mut self, domain: &str) -> Result<Spf, Question> {
        let texts = match self.answers.texts(domain) {
            Ok(texts) => texts,
            Err(Some(question)) => return Err(question),
            Err(None) => return Ok(Spf::TempError),
        };
        let terms = match record(texts).map(|record| record.map(terms)) {
            Ok(None) => return Ok(Spf::None),
            Ok(Some(Ok(terms))) => terms,
            Ok(Some(Err(_))) | Err(_) => return Ok(Spf::PermError),
        };
        let modifier = |name: &str| terms.iter().find(|term| term.name == name);
        for term in terms.iter().filter(|term| !matches!(term.name.as_str(), "redirect" | "exp")) {
            let target = if term.argument.is_empty() {
                domain.to_owned()
            } else {
                match self.expand_macros(&term.argument, domain) {
                    Some(target) => target,
                    None => return Ok(Spf::PermError),
                }
            };
            if !matches!(term.name.as_str(), "all" | "ip4" | "ip6") {
                self.lookups += 1;
                if self.lookups > MAX_LOOKUPS {
                    return Ok(Spf::PermError);
                }
            }
            let matched = match term.name.as_str() {
                "all" => true,
                "include" => match self.domain(&normal(&target))? {
                    Spf::Pass => true,
                    Spf::TempError => return Ok(Spf::TempError),
                    Spf::PermError | Spf::None => return Ok(Spf::PermError),
                    Spf::Fail | Spf::SoftFail | Spf::Neutral => false,
                },
                "ip4" | "ip6" => {
                    term.argument.parse().is_ok_and(|held: IpAddr| self.within(held, term.prefixes))
                }
                "a" => match self.addresses(&target)? {
                    Some(list) => list.iter().any(|held| self.within(*held, term.prefixes)),
                    None => return Ok(Spf::TempError),
                },
                "exists" => match self.addresses(&target)? {
                    Some(list) => list.iter().any(IpAddr::is_ipv4),
                    None => return Ok(Spf::TempError),
                },
                "mx" => match self.answers.get(Question::Exchanges(normal(&target)))? {
                    Answer::Exchanges(names) if names.len() > MAX_LOOKUPS as usize => {
                        return Ok(Spf::PermError);
                    }
                    Answer::Exchanges(names) => {
                        let mut any = false;
                        for name in names {
                            match self.addresses(name)? {
                                Some(list) => {
                                    any |= list.iter().any(|held| self.within(*held, term.prefixes));
                                }
                                None => return Ok(Spf::TempError),
                            }
                        }
                        any
                    }
                    Answer::Failed => return Ok(Spf::TempError),
                    Answer::Addresses(_) | Answer::Texts(_) => false,
                },
                _ => false,
            };
            if matched {
                return Ok(term.result);
            }
        }
        match modifier("redirect") {
            Some(term) => {
                self.lookups += 1;
                let target = self.expand_macros(&term.argument, domain);
                let (Some(target), true) = (target, self.lookups <= MAX_LOOKUPS) else {
                    return Ok(Spf::PermError);
                };
                match self.domain(&normal(&target))? {
                    Spf::None => Ok(Spf::PermError),
                    other => Ok(other),
                }
            }
            None => Ok(Spf::Neutral),
        }
    }

    /// Returns the addresses of a name. `None` if the lookup failed.
    ///
    /// # Errors
    /// Returns the question if its answer is not known.
    fn addresses(&self, name: &str) -> Result<Option<&[IpAddr]>, Question> {
        match self.answers.get(Question::Addresses(normal(name)))? {
            Answer::Addresses(list) => Ok(Some(list)),
            Answer::Failed => Ok(None),
            Answer::Exchanges(_) | Answer::Texts(_) => Ok(Some(&[])),
        }
    }

    /// Returns `true` if the evaluated address is in the network of `held` by the prefix length of its family.
    fn within(&self, held: IpAddr, (four, six): (Option<u8>, Option<u8>)) -> bool {
        match (self.address, held) {
            (IpAddr::V4(ours), IpAddr::V4(held)) => {
                let free = 32 - u32::from(four.unwrap_or(32));
                (u32::from(ours) ^ u32::from(held)).checked_shr(free).unwrap_or(0) == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(held)) => {
                let free = 128 - u32::from(six.unwrap_or(128));
                (u128::from(ours) ^ u128::from(held)).checked_shr(free).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// Expands the macros `%{…}`, `%%`, `%_` and `%-` (RFC 7208 §7). Returns `None` if one is not valid.
    fn expand_macros(&self, text: &str, domain: &str) -> Option<String> {
        let (mut out, mut rest) = (String::new(), text);
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            let (sign, after) = (rest[at + 1..].chars().next()?, &rest[at + 1..]);
            rest = match sign {
                '%' => {
                    out.push('%');
                    &after[1..]
                }
                '_' => {
                    out.push(' ');
                    &after[1..]
                }
                '-' => {
                    out.push_str("%20");
                    &after[1..]
                }
                '{' => {
                    let (inner, behind) = after[1..].split_once('}')?;
                    out.push_str(&self.one(inner, domain)?);
                    behind
                }
                _ => return None,
            };
        }
        out.push_str(rest);
        Some(out)
    }

    /// Expands the content of `%{…}`: letter, number of parts, `r` and delimiters. The value of an upper-case letter is
    /// URL-encoded. `p`, the validated name of the address, is always `unknown`, as for a receiver that does not look it
    /// up (RFC 7208 §7.3). `None` if it is not valid, and for the letters `c`, `r` and `t`, which are for `exp` only.
    fn one(&self, inner: &str, domain: &str) -> Option<String> {
        let letter = inner.chars().next().filter(char::is_ascii)?;
        let (local, behind) = self.sender.rsplit_once('@').unwrap_or(("postmaster", self.sender));
        let value = match letter.to_ascii_lowercase() {
            's' => format!("{local}@{behind}"),
            'l' => local.to_owned(),
            'o' => behind.to_owned(),
            'd' => domain.to_owned(),
            'h' => self.helo.to_owned(),
            'p' => "unknown".to_owned(),
            'v' => if self.address.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            'i' => match self.address {
                IpAddr::V4(four) => four.to_string(),
                IpAddr::V6(six) => {
                    let digits = six.octets().map(|octet| format!("{:x}.{:x}", octet >> 4, octet & 15));
                    digits.join(".")
                }
            },
            _ => return None,
        };
        let rest = &inner[1..];
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let count: Option<usize> = if digits == 0 { None } else { Some(rest[..digits].parse().ok()?) };
        let rest = &rest[digits..];
        let reverse = rest.starts_with(['r', 'R']);
        let signs = if reverse { &rest[1..] } else { rest };
        if count == Some(0) || !signs.chars().all(|c| ".-+,/_=".contains(c)) {
            return None;
        }
        let signs = if signs.is_empty() { "." } else { signs };
        let mut parts: Vec<&str> = value.split(|c| signs.contains(c)).collect();
        if reverse {
            parts.reverse();
        }
        let from = parts.len().saturating_sub(count.unwrap_or(parts.len()));
        let expanded = parts[from..].join(".");
        Some(if letter.is_ascii_uppercase() { url_encoded(&expanded) } else { expanded })
    }
}

/// Percent-encodes every byte that is not in the unreserved set of RFC 3986 §2.3.
fn url_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte.into());
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
