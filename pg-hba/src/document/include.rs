//! Included files (`include`, `include_if_exists`, `include_dir` and `@file`), from version 16 except for `@file`.

use super::RawLine;
use crate::error::Refusal;
use crate::rule::Origin;
use crate::server::Server;
use crate::token::{Field, LogicalLine, Token, lines, next_token};

/// Source of included files. Paths are resolved against the folder of the including file before they are passed in.
pub trait Include {
    /// Returns the content of a file.
    ///
    /// # Errors
    /// Returns [`IncludeError::Missing`] if the file does not exist, which `include_if_exists` ignores, or
    /// [`IncludeError::Other`] with the message of the operating system.
    fn read(&mut self, path: &str) -> Result<String, IncludeError>;

    /// Returns the names, without a path, of the files in a folder, in any order. The parser sorts them, and drops
    /// those that do not end in `.conf` or begin with a dot.
    ///
    /// # Errors
    /// Returns an [`IncludeError`] if the folder cannot be read.
    fn list(&mut self, path: &str) -> Result<Vec<String>, IncludeError>;
}

/// Error of an [`Include`]: a file or folder that cannot be read.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum IncludeError {
    /// The file or folder does not exist.
    #[error("No such file or directory")]
    Missing,
    /// Another error, with the message of the operating system.
    #[error("{0}")]
    Other(String),
}

/// An [`Include`] without files: every file and folder is missing.
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

/// Reader of files and of what they include, for the grammar of one server.
pub(crate) struct Reader<'a> {
    pub(crate) server: &'a Server,
    pub(crate) includes: &'a mut dyn Include,
}

/// Maximum nesting depth of included files (`CONF_FILE_MAX_DEPTH`). The given file has depth 0.
const MAX_DEPTH: usize = 10;

impl Reader<'_> {
    /// Reads the lines of a file at a nesting depth and, after each include directive, those of the included files, in
    /// the order in which the server reads them. Errors are kept in the lines.
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
            if line.is_too_long(self.server.version()) {
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

    /// Splits a line into fields, and replaces each unquoted token `@file` by the tokens of that file. Returns the
    /// fields up to the first error, and that error, if any: of `@file`, or of a token that is too long for the
    /// version.
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

    /// Appends the tokens of the file that a token `@file` names to a field, with the span of that token. `path` is the
    /// file that contains the token, `depth` the nesting depth of the named file.
    ///
    /// # Errors
    /// Returns a [`Refusal`] if the file cannot be read, contains an error, or is nested deeper than [`MAX_DEPTH`].
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
        if depth > MAX_DEPTH {
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

    /// Reads the file that an include directive names.
    ///
    /// # Errors
    /// Returns the error and the server's message if the file cannot be read or is nested deeper than [`MAX_DEPTH`].
    fn include(
        &mut self,
        path: &str,
        name: &str,
        depth: usize,
    ) -> Result<Vec<RawLine>, (IncludeError, Refusal)> {
        let full = resolve(path, name);
        let words = |error: &str| Refusal::Include(format!("could not open file \"{full}\": {error}"));
        if depth > MAX_DEPTH {
            let error = "maximum nesting depth exceeded";
            return Err((IncludeError::Other(error.to_owned()), words(error)));
        }
        let text = self.includes.read(&full).map_err(|error| {
            let refusal = words(&error.to_string());
            (error, refusal)
        })?;
        Ok(self.file(&full, &text, depth))
    }

    /// Reads the files of a folder whose names end in `.conf` and do not begin with a dot, in byte order.
    ///
    /// # Errors
    /// Returns the server's message if the name is blank or the folder cannot be read, and those of all files that
    /// cannot be read, joined by line feeds.
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

/// Returns the source offset of the start of each physical line of a logical one, with its number.
fn physical_lines(text: &str, line: &LogicalLine) -> Vec<(usize, u32)> {
    let mut starts = vec![(line.span.start, line.number)];
    for (at, _) in text[line.span.start..line.span.end].match_indices('\n') {
        let number = line.number + u32::try_from(starts.len()).unwrap_or(0);
        starts.push((line.span.start + at + 1, number));
    }
    starts
}

/// Resolves a file name relative to the folder of the file `from` that names it, as `AbsoluteConfigLocation` does. `.`,
/// `..` and repeated slashes are removed from the result.
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
