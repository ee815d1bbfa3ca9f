//! A file as written: every byte of it, and what each line means.

mod include;
mod record;

pub(crate) use include::Reader;
pub use include::{Include, IncludeError, NoIncludes};
pub(crate) use record::{pattern, user};

use crate::connection::ConnectionType;
use crate::error::{ParseError, Refusal};
use crate::rule::{Origin, Rule};
use crate::server::Server;
use crate::token::{Field, Span, Token};
use record::{notice, rule};

/// The content of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Blanks and comments only.
    Blank,
    /// A rule that the server loads.
    Rule(Rule),
    /// A line that the server rejects; it then does not load the file.
    Refused(ParseError),
    /// An include directive; the lines it brought follow it.
    Include,
}

/// One logical line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its first line number and, for an included one, its file.
    pub origin: Origin,
    /// The bytes in its own file, line ends included.
    pub span: Span,
    /// Its fields; empty when blank.
    pub fields: Vec<Field>,
    /// The meaning of the line.
    pub content: Content,
    /// The server's notice about the record type, for a rule that is loaded and for one that is not.
    pub notice: Option<&'static str>,
}

/// A parsed file. [`Document::text`] is the very text it was parsed from.
///
/// ```
/// use pg_hba::{Document, Server, Version};
/// let text = "# mine\nlocal  all all   peer   # keep\n";
/// let document = Document::parse(text, &Server::new(Version::V17));
/// assert_eq!(document.text(), text);
/// assert_eq!(document.rules()?.len(), 1);
/// # Ok::<(), pg_hba::Refused>(())
/// ```
#[derive(Clone, Debug)]
pub struct Document {
    text: String,
    lines: Vec<Line>,
}

/// A file that the server refuses: every reason of it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Refused(pub Vec<ParseError>);

impl Document {
    /// Parses a file that includes nothing. An include directive is refused as one that finds no file.
    #[must_use]
    pub fn parse(text: &str, server: &Server) -> Self {
        Self::load("pg_hba.conf", text, server, &mut NoIncludes)
    }

    /// Parses a file with what it includes. `path` is what relative names are resolved against.
    #[must_use]
    pub fn load(path: &str, text: &str, server: &Server, includes: &mut dyn Include) -> Self {
        let mut reader = Reader { server, includes };
        let raw = reader.file(path, text, 0);
        let lines = raw.into_iter().map(|raw| raw.finish(server)).collect();
        Self { text: text.to_owned(), lines }
    }

    /// The text, byte for byte.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Every line in the order in which the server reads them, included ones after their directive.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The rules, in order.
    ///
    /// # Errors
    /// Every reason for which the server would refuse the file; one rule at least has to be there.
    pub fn rules(&self) -> Result<Vec<Rule>, Refused> {
        let errors: Vec<ParseError> = self.errors().cloned().collect();
        if !errors.is_empty() {
            return Err(Refused(errors));
        }
        let rules: Vec<Rule> = self
            .lines
            .iter()
            .filter_map(|line| match &line.content {
                Content::Rule(rule) => Some(rule.clone()),
                _ => None,
            })
            .collect();
        if rules.is_empty() {
            let reason = Refusal::NoEntries;
            return Err(Refused(vec![ParseError {
                file: None,
                line: 1,
                column: 1,
                token: String::new(),
                reason,
            }]));
        }
        Ok(rules)
    }

    /// The lines that are refused.
    pub fn errors(&self) -> impl Iterator<Item = &ParseError> {
        self.lines.iter().filter_map(|line| match &line.content {
            Content::Refused(error) => Some(error),
            _ => None,
        })
    }
}

/// A tokenized line, before it is known of which file format.
#[derive(Clone, Debug)]
pub(crate) struct RawLine {
    pub(crate) origin: Origin,
    span: Span,
    pub(crate) fields: Vec<Field>,
    pub(crate) error: Option<Refusal>,
    included: bool,
    start_column: Vec<(usize, u32)>,
}

impl RawLine {
    fn finish(self, server: &Server) -> Line {
        let mut noted = None;
        let content = if let Some(reason) = self.error.clone() {
            Content::Refused(self.refused(reason, None))
        } else if self.included {
            Content::Include
        } else if self.fields.is_empty() {
            Content::Blank
        } else {
            match rule(&self.fields, server) {
                Ok((mut rule, said)) => {
                    rule.origin = self.origin.clone();
                    noted = said;
                    Content::Rule(rule)
                }
                Err((token, reason)) => {
                    // A note of the record type stays in the error column where the refusal itself says nothing.
                    let kind = self.fields[0].first().and_then(|kind| ConnectionType::from_word(&kind.text));
                    noted = kind.and_then(|kind| notice(kind, server));
                    Content::Refused(self.refused(reason, token.as_ref()))
                }
            }
        };
        Line { origin: self.origin, span: self.span, fields: self.fields, content, notice: noted }
    }

    /// Tells if the line is a record: neither blank nor an include that worked.
    pub(crate) fn is_record(&self) -> bool {
        self.error.is_some() || (!self.fields.is_empty() && !self.included)
    }

    pub(crate) fn refused(&self, reason: Refusal, token: Option<&Token>) -> ParseError {
        let last = self.fields.last().and_then(|field| field.last());
        let offset =
            token.map_or_else(|| last.map_or(self.span.start, |last| last.span.end), |t| t.span.start);
        let found = self.start_column.iter().rev().find(|(start, _)| *start <= offset);
        let (line, column) = found.map_or((self.origin.line, 1), |&(start, line)| {
            (line, u32::try_from(offset - start).unwrap_or(u32::MAX).saturating_add(1))
        });
        let token = token.map(|token| token.text.clone()).unwrap_or_default();
        ParseError { file: self.origin.file.clone(), line, column, token, reason }
    }
}
