//! A parser for the grammar of nginx configuration files (`ngx_conf_read_token` in `src/core/ngx_conf_file.c`): words,
//! quotes, escapes, comments and blocks.

use super::other_format::other_format;
use std::fmt;
use std::rc::Rc;

/// The greatest nesting of blocks and included files; the main file has depth 0.
const MAX_DEPTH: usize = 32;
/// The largest number of directives, including those of included files.
const MAX_DIRECTIVES: usize = 100_000;

/// A directive, with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directive {
    /// The name of the file that contains the directive.
    pub(crate) file: Rc<str>,
    /// The line on which the name ends, from 1.
    pub(crate) line: usize,
    /// The name: the first word.
    pub(crate) name: String,
    /// The other words, without quotes and escapes.
    pub(crate) arguments: Vec<String>,
    /// The directives in braces. `None` if the directive ends in a semicolon, and for blocks of Lua (`…_by_lua_block`),
    /// which are skipped.
    pub(crate) block: Option<Vec<Self>>,
}

/// An error in a configuration file, with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParseError {
    /// The name of the file.
    pub(crate) file: Rc<str>,
    /// The line, from 1.
    pub(crate) line: usize,
    /// The description of the error.
    pub(crate) what: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// A function that reads the files of an `include`, given its argument, which may be a pattern. Returns the names and
/// texts of the files, in the order of inclusion, or an error message.
pub(crate) type Loader<'l> = dyn FnMut(&str) -> Result<Vec<(String, String)>, String> + 'l;

/// Parses the text of a file, and the files that it includes, which `loader` reads; their directives take the place of
/// the `include`. `file` is its name in errors.
///
/// # Errors
/// The first error, with the format that the text seems to have if it is not nginx's: a violation of the grammar, a word that is not valid UTF-8, a file that cannot be read, more than
/// [`MAX_DIRECTIVES`] directives, or nesting deeper than [`MAX_DEPTH`].
pub(crate) fn parse(file: &str, text: &str, loader: &mut Loader<'_>) -> Result<Vec<Directive>, ParseError> {
    let mut count = 0;
    let mut parser =
        Parser { file: file.into(), text: text.as_bytes(), at: 0, line: 1, loader, count: &mut count };
    parser.block(0, false).map_err(|mut why| {
        if let Some(format) = other_format(text) {
            let what = why.what;
            why.what =
                format!("looks like {format}, and only configurations of nginx can be imported: {what}");
        }
        why
    })
}

/// A token of a configuration file.
enum Token {
    /// A word, without quotes and escapes.
    Word(String),
    /// A semicolon, which ends a directive.
    End,
    /// An opening brace.
    Open,
    /// A closing brace.
    Close,
    /// The end of the file.
    Over,
}

/// The state of the parser in a file.
struct Parser<'p, 'l> {
    /// The name of the file.
    file: Rc<str>,
    /// The text of the file.
    text: &'p [u8],
    /// The byte offset of the next character.
    at: usize,
    /// The line of the next character, from 1.
    line: usize,
    /// The function that reads included files.
    loader: &'p mut Loader<'l>,
    /// The number of directives so far, in all files.
    count: &'p mut usize,
}

impl Parser<'_, '_> {
    /// Returns a [`ParseError`] at a line of this file, always as `Err`.
    fn error<T>(&self, line: usize, what: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError { file: self.file.clone(), line, what: what.into() })
    }

    /// Parses directives up to and including the closing brace if `inside`, or else to the end of the file. `depth` is
    /// the nesting, 0 in the main file.
    ///
    /// # Errors
    /// [`ParseError`] at the first violation of nginx's grammar or of a limit, also in an included file.
    fn block(&mut self, depth: usize, inside: bool) -> Result<Vec<Directive>, ParseError> {
        if depth > MAX_DEPTH {
            return self.error(self.line, "blocks and included files are nested too deeply");
        }
        let mut all = Vec::new();
        loop {
            let mut words = Vec::new();
            let mut line = self.line;
            loop {
                match self.token()? {
                    Token::Word(word) => {
                        if words.is_empty() {
                            line = self.line;
                        }
                        words.push(word);
                    }
                    Token::Over if words.is_empty() && !inside => return Ok(all),
                    Token::Over if words.is_empty() => {
                        return self.error(self.line, "missing } at the end of the file");
                    }
                    Token::Over => return self.error(line, format!("missing ; after `{}`", words[0])),
                    Token::Close if words.is_empty() && inside => return Ok(all),
                    Token::Close if words.is_empty() => {
                        return self.error(self.line, "unexpected }");
                    }
                    Token::Close => return self.error(line, format!("missing ; after `{}`", words[0])),
                    Token::End | Token::Open if words.is_empty() => {
                        return self.error(self.line, "a directive without a name");
                    }
                    Token::End => {
                        self.directive(&mut all, line, words, None, depth)?;
                        break;
                    }
                    Token::Open => {
                        // Blocks of Lua are programs, not configuration: skipped, and noted by their name.
                        if words[0].ends_with("_by_lua_block") {
                            self.skip_program(line)?;
                            self.directive(&mut all, line, words, None, depth)?;
                            break;
                        }
                        let block = self.block(depth + 1, true)?;
                        self.directive(&mut all, line, words, Some(block), depth)?;
                        break;
                    }
                }
            }
        }
    }

    /// Appends a directive to `all`, or the directives of the included files if it is an `include` without a block.
    /// Counts the directive in either case.
    ///
    /// # Errors
    /// [`ParseError`] if there are more than [`MAX_DIRECTIVES`], an `include` does not have exactly one argument, or an
    /// included file cannot be read or parsed.
    fn directive(
        &mut self,
        all: &mut Vec<Directive>,
        line: usize,
        mut words: Vec<String>,
        block: Option<Vec<Directive>>,
        depth: usize,
    ) -> Result<(), ParseError> {
        *self.count += 1;
        if *self.count > MAX_DIRECTIVES {
            return self.error(line, "too many directives");
        }
        let name = words.remove(0);
        if name != "include" || block.is_some() {
            all.push(Directive { file: self.file.clone(), line, name, arguments: words, block });
            return Ok(());
        }
        let [pattern] = words.as_slice() else { return self.error(line, "include takes one argument") };
        let files =
            (self.loader)(pattern).or_else(|why| self.error(line, format!("include {pattern}: {why}")))?;
        for (file, text) in files {
            let mut parser = Parser {
                file: file.into(),
                text: text.as_bytes(),
                at: 0,
                line: 1,
                loader: &mut *self.loader,
                count: &mut *self.count,
            };
            all.extend(parser.block(depth + 1, false)?);
        }
        Ok(())
    }

    /// Skips a program after its opening brace, up to the matching closing brace. Braces in strings and comments count
    /// too. `line` is that of the directive, for the error.
    ///
    /// # Errors
    /// [`ParseError`] if the file ends before the matching brace.
    fn skip_program(&mut self, line: usize) -> Result<(), ParseError> {
        let mut open = 1;
        while open > 0 {
            match self.next() {
                Some(b'{') => open += 1,
                Some(b'}') => open -= 1,
                Some(_) => {}
                None => return self.error(line, "missing } at the end of the program"),
            }
        }
        Ok(())
    }

    /// Returns the next byte without consuming it. `None` at the end.
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Consumes the next byte and returns it, and counts lines. `None` at the end.
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        self.line += usize::from(byte == b'\n');
        Some(byte)
    }

    /// Parses the next token, after whitespace and comments. Returns [`Token::Over`] at the end.
    ///
    /// # Errors
    /// [`ParseError`] if a word is malformed, as for [`quoted`](Self::quoted) and [`word`](Self::word).
    fn token(&mut self) -> Result<Token, ParseError> {
        loop {
            match self.peek() {
                None => return Ok(Token::Over),
                Some(b' ' | b'\t' | b'\r' | b'\n') => drop(self.next()),
                Some(b'#') => while self.next().is_some_and(|byte| byte != b'\n') {},
                Some(b';') => {
                    self.next();
                    return Ok(Token::End);
                }
                Some(b'{') => {
                    self.next();
                    return Ok(Token::Open);
                }
                Some(b'}') => {
                    self.next();
                    return Ok(Token::Close);
                }
                Some(quote @ (b'"' | b'\'')) => return self.quoted(quote),
                Some(_) => return self.bare(),
            }
        }
    }

    /// Parses a quoted word, whose opening quote is the next byte.
    ///
    /// # Errors
    /// [`ParseError`] if the quote is not closed; not followed by whitespace, `;`, `{`, `)` or the end of the file; or
    /// the word is not valid UTF-8.
    fn quoted(&mut self, quote: u8) -> Result<Token, ParseError> {
        let line = self.line;
        self.next();
        let mut word = Vec::new();
        loop {
            match self.next() {
                None => return self.error(line, "unclosed quote"),
                Some(byte) if byte == quote => break,
                Some(b'\\') => self.push_escaped(&mut word),
                Some(byte) => word.push(byte),
            }
        }
        match self.peek() {
            None | Some(b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{' | b')') => self.word(word),
            Some(_) => self.error(self.line, "expected a space, ; or { after a quote"),
        }
    }

    /// Appends the character of an escape sequence whose backslash is consumed: `\"`, `\'`, `\\`, `\t`, `\r` or `\n`.
    /// The backslash of any other sequence is preserved.
    fn push_escaped(&mut self, word: &mut Vec<u8>) {
        match self.next() {
            Some(byte @ (b'"' | b'\'' | b'\\')) => word.push(byte),
            Some(b't') => word.push(b'\t'),
            Some(b'r') => word.push(b'\r'),
            Some(b'n') => word.push(b'\n'),
            Some(byte) => word.extend([b'\\', byte]),
            None => word.push(b'\\'),
        }
    }

    /// Parses a word without quotes, up to whitespace, `;`, or a `{` that does not follow `$`. Escape sequences are
    /// replaced.
    ///
    /// # Errors
    /// [`ParseError`] as for [`word`](Self::word).
    fn bare(&mut self) -> Result<Token, ParseError> {
        let mut word = Vec::new();
        loop {
            match self.peek() {
                None | Some(b' ' | b'\t' | b'\r' | b'\n' | b';') => break,
                // `${name}` is a variable, not a block.
                Some(b'{') if word.last() == Some(&b'$') => word.extend(self.next()),
                Some(b'{') => break,
                Some(b'\\') => {
                    self.next();
                    self.push_escaped(&mut word);
                }
                Some(byte) => {
                    self.next();
                    word.push(byte);
                }
            }
        }
        self.word(word)
    }

    /// Converts bytes into a word.
    ///
    /// # Errors
    /// [`ParseError`] if they are not valid UTF-8, or contain U+FFFD, by which the bytes of a file in another encoding
    /// were replaced when it was read.
    fn word(&self, word: Vec<u8>) -> Result<Token, ParseError> {
        // A file in Latin-1 was read with this character in place of its letters; in comments it does no harm.
        match String::from_utf8(word) {
            Ok(word) if word.contains('\u{FFFD}') => {
                self.error(self.line, format!("`{word}` is not valid UTF-8: save the file in UTF-8"))
            }
            Ok(word) => Ok(Token::Word(word)),
            Err(_) => self.error(self.line, "not valid UTF-8: save the file in UTF-8"),
        }
    }
}

#[cfg(test)]
mod tests;
