//! A file as written: every byte of it, and what each line means.

use crate::address::{Network, cidr_mask, numeric};
use crate::error::{ParseError, Refusal};
use crate::method::{self, Method};
use crate::regex::Pattern;
use crate::rule::{Address, ConnectionType, Database, Origin, Rule, User};
use crate::server::{Capability, Server};
use crate::token::{Field, LogicalLine, Span, Token, lines, next_token};

/// Where included files come from. Paths are resolved the way the server resolves them before they are asked for.
pub trait Include {
    /// The text of a file, or the system's words for why not (`No such file or directory`).
    ///
    /// # Errors
    /// [`IncludeError::Missing`] is what `include_if_exists` passes over.
    fn read(&mut self, path: &str) -> Result<String, IncludeError>;

    /// The names of the files of a folder, in any order.
    ///
    /// # Errors
    /// When it cannot be read.
    fn list(&mut self, path: &str) -> Result<Vec<String>, IncludeError>;
}

/// Why a file could not be included.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum IncludeError {
    /// It does not exist.
    #[error("No such file or directory")]
    Missing,
    /// Anything else, in the system's words.
    #[error("{0}")]
    Other(String),
}

/// No file is ever found.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoIncludes;

impl Include for NoIncludes {
    fn read(&mut self, _: &str) -> Result<String, IncludeError> {
        Err(IncludeError::Missing)
    }

    fn list(&mut self, _: &str) -> Result<Vec<String>, IncludeError> {
        Err(IncludeError::Missing)
    }
}

/// What a line holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Blanks and comments only.
    Blank,
    /// A rule that the server loads.
    Rule(Rule),
    /// A line that the server refuses, and the whole file with it.
    Refused(ParseError),
    /// An include directive; the lines it brought follow it.
    Include,
}

/// One logical line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its first line number and, for an included one, its file.
    pub origin: Origin,
    /// Where it stands in its own file, line ends included.
    pub span: Span,
    /// Its fields; empty when blank.
    pub fields: Vec<Field>,
    /// What it means.
    pub content: Content,
    /// What the server notes about the record type, whether it loads the rule or not.
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
        let mut notice = None;
        let content = if let Some(reason) = self.error.clone() {
            Content::Refused(self.refused(reason, None))
        } else if self.included {
            Content::Include
        } else if self.fields.is_empty() {
            Content::Blank
        } else {
            match rule(&self.fields, server) {
                Ok((mut rule, noted)) => {
                    rule.origin = self.origin.clone();
                    notice = noted;
                    Content::Rule(rule)
                }
                Err((token, reason)) => {
                    // A note of the record type stays in the error column where the refusal itself says nothing.
                    let kind = self.fields[0].first().and_then(|kind| ConnectionType::from_word(&kind.text));
                    notice = kind.and_then(|kind| crate::document::notice(kind, server));
                    Content::Refused(self.refused(reason, token.as_ref()))
                }
            }
        };
        Line { origin: self.origin, span: self.span, fields: self.fields, content, notice }
    }

    /// Whether it is neither blank nor an include that worked.
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

/// Reads files and what they include.
pub(crate) struct Reader<'a> {
    pub(crate) server: &'a Server,
    pub(crate) includes: &'a mut dyn Include,
}

/// How deep files may include each other (`CONF_FILE_MAX_DEPTH`).
const DEPTH: usize = 10;

impl Reader<'_> {
    pub(crate) fn file(&mut self, path: &str, text: &str, depth: usize) -> Vec<RawLine> {
        let mut out = Vec::new();
        let file = (depth > 0).then(|| path.to_owned());
        for line in lines(text, self.server.version()) {
            let mut raw = RawLine {
                origin: Origin { file: file.clone(), line: line.number },
                span: line.span,
                fields: Vec::new(),
                error: None,
                included: false,
                start_column: physical_lines(text, &line),
            };
            if line.text.contains('\0') {
                raw.error = Some(Refusal::Nul);
            } else if line.is_too_long(self.server.version()) {
                raw.error = Some(Refusal::LineTooLong);
            } else {
                let (fields, error) = self.fields(path, &line, depth);
                (raw.fields, raw.error) = (fields, error);
            }
            let mut included = Vec::new();
            if raw.error.is_none() && raw.fields.len() == 2 && self.server.version().has_includes() {
                let (first, second) = (raw.fields[0][0].text.clone(), raw.fields[1][0].text.clone());
                match first.as_str() {
                    "include" | "include_if_exists" => {
                        raw.included = true;
                        match self.include(path, &second, depth + 1) {
                            Ok(lines) => included = lines,
                            Err((IncludeError::Missing, _)) if first == "include_if_exists" => {}
                            Err((_, reason)) => raw.error = Some(reason),
                        }
                    }
                    "include_dir" => {
                        raw.included = true;
                        match self.include_dir(path, &second, depth + 1) {
                            Ok(lines) => included = lines,
                            Err(reason) => raw.error = Some(reason),
                        }
                    }
                    _ => {}
                }
            }
            out.push(raw);
            out.append(&mut included);
        }
        out
    }

    fn fields(&mut self, path: &str, line: &LogicalLine, depth: usize) -> (Vec<Field>, Option<Refusal>) {
        let mut fields = Vec::new();
        let mut at = 0;
        while at < line.text.len() {
            let mut field = Field::new();
            let mut error = None;
            while let Some(lexed) = next_token(line, &mut at) {
                if self.server.version().longest_token().is_some_and(|most| lexed.token.text.len() > most) {
                    return (fields, Some(Refusal::TokenTooLong));
                }
                let token = lexed.token;
                if !token.quoted && token.text.len() > 1 && token.text.starts_with('@') {
                    error = self.expand(path, &token, depth + 1, &mut field).err();
                } else {
                    field.push(token);
                }
                if !lexed.comma || error.is_some() {
                    break;
                }
            }
            if !field.is_empty() {
                fields.push(field);
            }
            if error.is_some() {
                return (fields, error);
            }
        }
        (fields, None)
    }

    /// `@file`: its tokens stand where its name stood.
    fn expand(&mut self, path: &str, token: &Token, depth: usize, field: &mut Field) -> Result<(), Refusal> {
        let name = &token.text[1..];
        let full = resolve(path, name);
        let words = |error: &str| {
            Refusal::Include(if self.server.version().has_includes() {
                format!("could not open file \"{full}\": {error}")
            } else {
                format!("could not open secondary authentication file \"@{name}\" as \"{full}\": {error}")
            })
        };
        if depth > DEPTH {
            return Err(words("maximum nesting depth exceeded"));
        }
        let text = self.includes.read(&full).map_err(|error| words(&error.to_string()))?;
        for line in self.file(&full, &text, depth) {
            if let Some(error) = line.error {
                return Err(error);
            }
            if !line.included {
                let tokens = line.fields.into_iter().flatten();
                field.extend(tokens.map(|inner| Token { span: token.span, ..inner }));
            }
        }
        Ok(())
    }

    fn include(
        &mut self,
        path: &str,
        name: &str,
        depth: usize,
    ) -> Result<Vec<RawLine>, (IncludeError, Refusal)> {
        let full = resolve(path, name);
        let words = |error: &str| Refusal::Include(format!("could not open file \"{full}\": {error}"));
        if depth > DEPTH {
            let error = "maximum nesting depth exceeded";
            return Err((IncludeError::Other(error.to_owned()), words(error)));
        }
        let text = self.includes.read(&full).map_err(|error| {
            let refusal = words(&error.to_string());
            (error, refusal)
        })?;
        Ok(self.file(&full, &text, depth))
    }

    fn include_dir(&mut self, path: &str, name: &str, depth: usize) -> Result<Vec<RawLine>, Refusal> {
        if name.trim_matches([' ', '\t', '\r', '\n']).is_empty() {
            return Err(Refusal::Include("empty configuration directory name".to_owned()));
        }
        let full = resolve(path, name);
        let words = |_| Refusal::Include(format!("could not open directory \"{full}\""));
        let mut names = self.includes.list(&full).map_err(words)?;
        names.retain(|name| name.len() > 5 && !name.starts_with('.') && name.ends_with(".conf"));
        names.sort_unstable();
        let mut lines = Vec::new();
        let mut errors = Vec::new();
        for name in names {
            match self.include(path, &format!("{full}/{name}"), depth) {
                Ok(mut found) => lines.append(&mut found),
                Err((_, refusal)) => errors.push(refusal.to_string()),
            }
        }
        if errors.is_empty() { Ok(lines) } else { Err(Refusal::Include(errors.join("\n"))) }
    }
}

/// Where each physical line of a logical one starts, with its number.
fn physical_lines(text: &str, line: &LogicalLine) -> Vec<(usize, u32)> {
    let mut starts = vec![(line.span.start, line.number)];
    for (at, _) in text[line.span.start..line.span.end].match_indices('\n') {
        let number = line.number + u32::try_from(starts.len()).unwrap_or(0);
        starts.push((line.span.start + at + 1, number));
    }
    starts
}

/// `AbsoluteConfigLocation`: relative to the folder of the file that names it.
fn resolve(from: &str, name: &str) -> String {
    let joined = match (name.starts_with('/'), from.rfind('/')) {
        (true, _) | (false, None) => name.to_owned(),
        (false, Some(slash)) => format!("{}/{name}", &from[..slash]),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    format!("{}{}", if joined.starts_with('/') { "/" } else { "" }, parts.join("/"))
}

type Fault = (Option<Token>, Refusal);

/// What the server notes about a record type that it has no use for.
fn notice(connection: ConnectionType, server: &Server) -> Option<&'static str> {
    match connection {
        ConnectionType::HostSsl if !server.has(Capability::Tls) => {
            Some("hostssl record cannot match because SSL is not supported by this build")
        }
        ConnectionType::HostSsl if !server.tls_is_on() => {
            Some("hostssl record cannot match because SSL is disabled")
        }
        ConnectionType::HostGssEnc if !server.has(Capability::Gss) => {
            Some("hostgssenc record cannot match because GSSAPI is not supported by this build")
        }
        _ => None,
    }
}

/// `parse_hba_line`.
fn rule(fields: &[Field], server: &Server) -> Result<(Rule, Option<&'static str>), Fault> {
    let mut rest = fields.iter();
    let kind = one(rest.next(), "connection type", "connection type")?;
    let connection = ConnectionType::from_word(&kind.text)
        .ok_or_else(|| (Some(kind.clone()), Refusal::ConnectionType(kind.text.clone())))?;
    let mut notice = notice(connection, server);
    let possible = notice.is_none();
    let missing = |what| (None, Refusal::Missing(what));
    let databases = rest.next().ok_or_else(|| missing("database specification"))?;
    let databases = databases.iter().map(|token| database(token, server)).collect::<Result<_, _>>()?;
    let users = rest.next().ok_or_else(|| missing("role specification"))?;
    let users = users.iter().map(|token| user(token, server)).collect::<Result<_, _>>()?;
    let address = if connection == ConnectionType::Local {
        Address::All
    } else {
        let token = one(rest.next(), "IP address specification", "host address")?;
        address(token, &mut rest)?
    };
    let word = one(rest.next(), "authentication method", "authentication type")?;
    let method =
        Method::parse(&word.text, connection, server).map_err(|refusal| (Some(word.clone()), refusal))?;
    let mut settings = Vec::new();
    for token in rest.flatten() {
        let setting = method::setting(&token.text, connection, method, server);
        settings.push(setting.map_err(|refusal| (Some(token.clone()), refusal))?);
    }
    method::check(method, &settings, server).map_err(|refusal| (Some(word.clone()), refusal))?;
    // check_oauth_validator clears the error text, and with it a notice of the record type.
    if method == Method::Oauth {
        notice = None;
    }
    let origin = Origin::default();
    Ok((Rule { connection, databases, users, address, method, settings, possible, origin }, notice))
}

fn one<'f>(
    field: Option<&'f Field>,
    missing: &'static str,
    multiple: &'static str,
) -> Result<&'f Token, Fault> {
    match field.map(Vec::as_slice) {
        None | Some([]) => Err((None, Refusal::Missing(missing))),
        Some([token]) => Ok(token),
        Some([_, second, ..]) => Err((Some(second.clone()), Refusal::Multiple(multiple))),
    }
}

pub(crate) fn pattern(token: &Token, from_version: bool) -> Result<Option<Pattern>, Fault> {
    match token.text.strip_prefix('/') {
        Some(text) if from_version => Pattern::new(text)
            .map(Some)
            .map_err(|error| (Some(token.clone()), Refusal::Pattern { pattern: text.to_owned(), error })),
        _ => Ok(None),
    }
}

fn database(token: &Token, server: &Server) -> Result<Database, Fault> {
    if let Some(pattern) = pattern(token, server.version().has_patterns())? {
        return Ok(Database::Pattern(pattern));
    }
    Ok(match token.text.as_str() {
        _ if token.quoted => Database::Name(token.text.clone()),
        "all" => Database::All,
        "sameuser" => Database::SameUser,
        "samerole" | "samegroup" => Database::SameRole,
        "replication" => Database::Replication,
        _ => Database::Name(token.text.clone()),
    })
}

pub(crate) fn user(token: &Token, server: &Server) -> Result<User, Fault> {
    if let Some(pattern) = pattern(token, server.version().has_patterns())? {
        return Ok(User::Pattern(pattern));
    }
    Ok(match token.text.strip_prefix('+') {
        _ if token.is_keyword("all") => User::All,
        Some(role) if !token.quoted => User::Member(role.to_owned()),
        _ => User::Name(token.text.clone()),
    })
}

fn address<'f>(token: &Token, rest: &mut impl Iterator<Item = &'f Field>) -> Result<Address, Fault> {
    for (word, address) in
        [("all", Address::All), ("samehost", Address::SameHost), ("samenet", Address::SameNet)]
    {
        if token.is_keyword(word) {
            return Ok(address);
        }
    }
    let fault = |reason| (Some(token.clone()), reason);
    let (text, prefix) = match token.text.split_once('/') {
        Some((text, prefix)) => (text, Some(prefix)),
        None => (token.text.as_str(), None),
    };
    match (numeric(text), prefix) {
        (None, None) => Ok(Address::Host(text.to_owned())),
        (None, Some(_)) => Err(fault(Refusal::HostWithMask(token.text.clone()))),
        (Some(base), Some(prefix)) => {
            let mask = cidr_mask(prefix, base.is_ipv4());
            let mask = mask.ok_or_else(|| fault(Refusal::CidrMask(token.text.clone())))?;
            Network::new(base, mask).map(Address::Network).ok_or_else(|| fault(Refusal::MaskFamily))
        }
        (Some(base), None) => {
            let mask = one(rest.next(), "netmask specification", "netmask")
                .map_err(|(at, reason)| (at.or_else(|| Some(token.clone())), reason))?;
            let found = numeric(&mask.text);
            let found = found.ok_or_else(|| (Some(mask.clone()), Refusal::Mask(mask.text.clone())))?;
            Network::new(base, found)
                .map(Address::Network)
                .ok_or_else(|| (Some(mask.clone()), Refusal::MaskFamily))
        }
    }
}
