//! Parsed files: the unchanged text, and the meaning of each line.

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

/// Meaning of a logical line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The line contains only white space and comments.
    Blank,
    /// A rule that the server loads.
    Rule(Rule),
    /// A line that the server rejects; it then does not load the file. Contains the error.
    Refused(ParseError),
    /// An include directive whose file or folder was read, or whose file is missing under `include_if_exists`. The
    /// included lines follow it.
    Include,
}

/// A logical line: physical lines joined by continuation backslashes (from version 14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Number of the first physical line, with the path of the file if it is an included one.
    pub origin: Origin,
    /// Byte range in the text of its own file, including line endings.
    pub span: Span,
    /// Fields of the line. Empty if it is blank; incomplete after an error in a token.
    pub fields: Vec<Field>,
    /// Meaning of the line.
    pub content: Content,
    /// Server's notice (in the `error` column of `pg_hba_file_rules`) that a record of this type cannot match. `None`
    /// if it can, and for `oauth`, which clears the notice.
    pub notice: Option<&'static str>,
}

/// A parsed file with its lines. [`Document::text`] is the text that was parsed, byte for byte.
///
/// ```
/// use pg_hba::{Document, Server, Version};
/// let text = "# mine\nlocal  all all   peer   # keep\n";
/// let document = Document::parse(text, &Server::new(Version::V17));
/// assert_eq!(document.text(), text);
/// assert_eq!(document.rules()?.len(), 1);
/// # Ok::<(), pg_hba::RejectedFile>(())
/// ```
#[derive(Clone, Debug)]
pub struct Document {
    text: String,
    lines: Vec<Line>,
}

/// Error of a file that the server rejects, with every reason in order; never empty. Displayed with one line for each
/// reason.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct RejectedFile(pub Vec<ParseError>);

impl Document {
    /// Parses a file without access to included files: an include directive is handled as if its file did not exist.
    /// Errors are kept in the lines.
    #[must_use]
    pub fn parse(text: &str, server: &Server) -> Self {
        Self::load("pg_hba.conf", text, server, &mut NoIncludes)
    }

    /// Parses a file with the files that it includes. Relative names are resolved against the folder of `path`, which
    /// is not read. Errors are kept in the lines.
    #[must_use]
    pub fn load(path: &str, text: &str, server: &Server, includes: &mut dyn Include) -> Self {
        let mut reader = Reader { server, includes };
        let raw = reader.file(path, text, 0);
        let lines = raw.into_iter().map(|raw| raw.finish(server)).collect();
        Self { text: text.to_owned(), lines }
    }

    /// Returns the parsed text, unchanged. Included files are not part of it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the lines in the order in which the server reads them. Included lines follow their directive.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Returns the rules, including those of included files, in order. Never empty.
    ///
    /// # Errors
    /// Returns [`RejectedFile`] with every reason for which the server rejects the file. A file without any rule is
    /// rejected too ([`Refusal::NoEntries`]).
    pub fn rules(&self) -> Result<Vec<Rule>, RejectedFile> {
        let errors: Vec<ParseError> = self.errors().cloned().collect();
        if !errors.is_empty() {
            return Err(RejectedFile(errors));
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
            return Err(RejectedFile(vec![ParseError {
                file: None,
                line: 1,
                column: 1,
                token: String::new(),
                reason,
            }]));
        }
        Ok(rules)
    }

    /// Returns the errors of the lines that the server rejects, in order. The error of a file without rules is not
    /// among them.
    pub fn errors(&self) -> impl Iterator<Item = &ParseError> {
        self.lines.iter().filter_map(|line| match &line.content {
            Content::Refused(error) => Some(error),
            _ => None,
        })
    }
}

/// A tokenized line, before it is interpreted as a record of `pg_hba.conf`, `pg_ident.conf` or `pg_hosts.conf`.
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
    /// Interprets the line as a record of `pg_hba.conf`: an error, an include directive, a blank line or a rule.
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
                    // A notice about the record type stays in the `error` column if the rejection itself has no
                    // message there.
                    let kind = self.fields[0].first().and_then(|kind| ConnectionType::from_word(&kind.text));
                    noted = kind.and_then(|kind| notice(kind, server));
                    Content::Refused(self.refused(reason, token.as_ref()))
                }
            }
        };
        Line { origin: self.origin, span: self.span, fields: self.fields, content, notice: noted }
    }

    /// Returns `true` if the line is a record or has an error; `false` for a blank line and a successful include
    /// directive.
    pub(crate) fn is_record(&self) -> bool {
        self.error.is_some() || (!self.fields.is_empty() && !self.included)
    }

    /// Returns the error of the line, positioned at `token`; without a token, at the end of the last token of the line,
    /// or at the start of a line without tokens.
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
