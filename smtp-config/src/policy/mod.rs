//! SPF, DKIM and DMARC as pure functions of DNS answers. A missing answer is returned as a question, after whose answer
//! the function is called again.

mod dkim;
mod dmarc;
mod spf;

pub use dkim::{Dkim, DkimError, dkim};
pub use dmarc::{Alignment, Dmarc, DmarcError, Policy, discover, dmarc};
pub use spf::{Spf, Term, TermError, record, spf, terms};

use std::collections::BTreeMap;
use std::net::IpAddr;

/// A DNS question on which an evaluation depends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// A and AAAA records of a name.
    Addresses(String),
    /// MX records of a domain.
    Exchanges(String),
    /// TXT records of a name.
    Texts(String),
}

/// Answer to a question. Empty for a name that does not exist or has no such records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// IPv4 and IPv6 addresses.
    Addresses(Vec<IpAddr>),
    /// Host names of the MX records.
    Exchanges(Vec<String>),
    /// The lookup failed temporarily.
    Failed,
    /// TXT records, each with its strings concatenated.
    Texts(Vec<String>),
}

/// DNS answers that are known so far. By default none.
#[derive(Clone, Debug, Default)]
pub struct Answers(BTreeMap<Question, Answer>);

impl Answers {
    /// Adds or replaces the answer to a question.
    pub fn insert(&mut self, question: Question, answer: Answer) {
        self.0.insert(question, answer);
    }

    /// Returns the answer.
    ///
    /// # Errors
    /// Returns the question if its answer is not known.
    fn get(&self, question: Question) -> Result<&Answer, Question> {
        self.0.get(&question).ok_or(question)
    }

    /// Returns the TXT records of a name, empty if there are none.
    ///
    /// # Errors
    /// Returns the question if its answer is not known, or `None` if the lookup failed.
    fn texts(&self, name: &str) -> Result<&[String], Option<Question>> {
        match self.get(Question::Texts(name.to_owned())).map_err(Some)? {
            Answer::Texts(texts) => Ok(texts),
            Answer::Failed => Err(None),
            Answer::Addresses(_) | Answer::Exchanges(_) => Ok(&[]),
        }
    }
}

/// Returns a domain in lower case, without trailing dots.
fn normal(domain: &str) -> String {
    domain.trim_end_matches('.').to_ascii_lowercase()
}
