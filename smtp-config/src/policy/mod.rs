//! SPF, DKIM and DMARC as functions over answers of the DNS; an open question is returned.

mod dkim;
mod dmarc;
mod spf;

pub use dkim::{Dkim, DkimError, dkim};
pub use dmarc::{Alignment, Dmarc, DmarcError, Policy, dmarc, found};
pub use spf::{Spf, Term, TermError, record, spf, terms};

use std::collections::BTreeMap;
use std::net::IpAddr;

/// A question to the DNS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// The addresses of a name, of both families.
    Addresses(String),
    /// The names of a domain's mail servers.
    Exchanges(String),
    /// The texts of a name.
    Texts(String),
}

/// The answer to a question. A name that does not exist has an empty answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The addresses of a name.
    Addresses(Vec<IpAddr>),
    /// The names of mail servers.
    Exchanges(Vec<String>),
    /// It could not be had for now.
    Failed,
    /// Texts, the parts of each joined.
    Texts(Vec<String>),
}

/// The answers so far.
#[derive(Clone, Debug, Default)]
pub struct Answers(BTreeMap<Question, Answer>);

impl Answers {
    /// Adds what a look-up gave.
    pub fn insert(&mut self, question: Question, answer: Answer) {
        self.0.insert(question, answer);
    }

    /// The answer, or the question that is still open.
    fn get(&self, question: Question) -> Result<&Answer, Question> {
        self.0.get(&question).ok_or(question)
    }

    /// The texts of a name, empty when there are none; `Err(None)` when they could not be had.
    fn texts(&self, name: &str) -> Result<&[String], Option<Question>> {
        match self.get(Question::Texts(name.to_owned())).map_err(Some)? {
            Answer::Texts(texts) => Ok(texts),
            Answer::Failed => Err(None),
            Answer::Addresses(_) | Answer::Exchanges(_) => Ok(&[]),
        }
    }
}

/// A domain in lower case, without a dot at its end.
fn normal(domain: &str) -> String {
    domain.trim_end_matches('.').to_ascii_lowercase()
}
