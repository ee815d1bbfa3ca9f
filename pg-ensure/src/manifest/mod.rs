//! Manifests: a desired state in a file, in TOML or JSON. Every error is reported with its position.
//!
//! ```
//! use pg_ensure::manifest::{Format, Manifest};
//! let text = r#"
//! [[ensure]]
//! name = "vaultwarden"
//! password_file = "/run/secrets/vaultwarden"
//!
//! [[database]]
//! name = "archive"
//! owner = "vaultwarden"
//! "#;
//! let manifest = Manifest::read("hosts.toml", text, Format::Toml)?;
//! // The program reads the secrets to which references point.
//! let desired = manifest.resolve(&mut |reference| match reference {
//!     "file:/run/secrets/vaultwarden" => Ok("secret".to_owned().into()),
//!     other => Err(format!("{other} is unknown")),
//! })?;
//! assert_eq!(desired.databases.len(), 2);
//!
//! let wrong = Manifest::read("hosts.toml", "[[database]]\nname = \"a\"\nowner = \"nobody\"\n", Format::Toml)?;
//! let why = wrong.resolve(&mut |_| unreachable!()).unwrap_err().to_string();
//! assert!(why.starts_with("hosts.toml:3:9: database \"a\": the owner \"nobody\" is not declared"), "{why}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod database;
mod json;
mod resolve;
pub(crate) mod spanned;
pub mod spec;
mod write;

#[doc(hidden)]
pub use json::{JsonError, parse as parse_json};
pub use resolve::Resolver;
pub use spec::Document;
pub use write::{WriteError, write};

use serde::Deserialize;
use std::fmt;
use std::ops::Range;

/// File format of a manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The JSON format.
    Json,
    /// The TOML format.
    #[default]
    Toml,
}

/// A parsed manifest, with the positions of its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    file: String,
    /// Byte offset of the beginning of each line.
    lines: Vec<usize>,
    document: Document,
}

/// An error in a file, with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Name of the file.
    pub file: String,
    /// Line number, from 1.
    pub line: usize,
    /// Column in bytes, from 1.
    pub column: usize,
    /// Description of the error, with the fix.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

/// The errors in a file, in the order of their positions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Problems(pub Vec<Problem>);

impl Manifest {
    /// Parses a manifest. `file` is the file's name, for error messages.
    ///
    /// # Errors
    /// Returns [`Problems`] with the first error if the text is not valid in the format, or contains an unknown key.
    pub fn read(file: &str, text: &str, format: Format) -> Result<Self, Problems> {
        let mut manifest = Self { file: file.to_owned(), lines: lines(text), document: Document::default() };
        let wrong = |span: Option<Range<usize>>, message: &str| {
            Problems(vec![manifest.problem(span.unwrap_or_default(), message.to_owned())])
        };
        let table = match format {
            Format::Toml => toml::de::DeTable::parse(text).map_err(|why| wrong(why.span(), why.message()))?,
            Format::Json => json::parse(text).map_err(|(span, why)| wrong(Some(span), &why))?,
        };
        let document = Document::deserialize(toml::de::Deserializer::from(table));
        manifest.document = document.map_err(|why| wrong(why.span(), why.message()))?;
        Ok(manifest)
    }

    /// Returns the manifest in its serialized form.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Creates an error at the beginning of a byte range.
    fn problem(&self, span: Range<usize>, message: String) -> Problem {
        let line = self.lines.partition_point(|start| *start <= span.start).max(1);
        let column = span.start.saturating_sub(self.lines[line - 1]) + 1;
        Problem { file: self.file.clone(), line, column, message }
    }
}

/// Returns the byte offset of the beginning of each line.
fn lines(text: &str) -> Vec<usize> {
    let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(ends).collect()
}
