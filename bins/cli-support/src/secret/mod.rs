//! Secrets by reference: a configuration names the source of a secret, and the program reads it once.

mod open;
mod sealed;

use crate::account::Account;
use crate::outcome::chain;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::str::FromStr;
use thiserror::Error;
use zeroize::Zeroizing;

/// Environment variable that systemd sets to the folder of a unit's credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Maximum length of a secret in bytes, 64 KiB, which is more than any password or key has.
pub const MAX_SECRET_SIZE: u64 = 64 * 1024;

/// Source of a secret. Displayed and serialized as the reference, never as the secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Reference {
    /// `age:PATH?identity=PATH`: a file encrypted with age, and the X25519 or SSH identity that decrypts it. Both paths
    /// are absolute.
    Age {
        /// Path of the encrypted file.
        file: PathBuf,
        /// Path of the identity file.
        identity: PathBuf,
    },
    /// `credential:NAME`: the file NAME in `$CREDENTIALS_DIRECTORY`, which systemd sets.
    Credential(String),
    /// `env:NAME`: an environment variable.
    Environment(String),
    /// `file:/PATH`: an unencrypted file, by its absolute path.
    File(PathBuf),
}

/// Error of a text that is not a reference. The text is not repeated, since it may be the secret itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The text has none of the forms.
    #[error(
        "not a reference to a secret: write file:/path, credential:name, env:NAME or age:/path?identity=/path, never the secret itself"
    )]
    Form,
    /// The text has the form of a shell's variable, `$NAME` or `${NAME}`.
    #[error(
        "not a reference to a secret, and variables are not expanded: write env:NAME in place of $NAME or ${{NAME}}"
    )]
    Variable,
}

impl ReferenceError {
    /// Returns the error of a text that is not a reference.
    fn of(text: &str) -> Self {
        let name = text
            .strip_prefix('$')
            .map(|name| name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name));
        let is_variable = name.is_some_and(|name| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
        if is_variable { Self::Variable } else { Self::Form }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("age", rest)) => {
                let (file, identity) = rest.split_once("?identity=").ok_or(ReferenceError::Form)?;
                let absolute = file.starts_with('/') && identity.starts_with('/');
                absolute
                    .then(|| Self::Age { file: file.into(), identity: identity.into() })
                    .ok_or(ReferenceError::Form)
            }
            Some(("credential", name))
                if !name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != ".." =>
            {
                Ok(Self::Credential(name.to_owned()))
            }
            Some(("env", name)) if !name.is_empty() && !name.contains(['=', '\0']) => {
                Ok(Self::Environment(name.to_owned()))
            }
            Some(("file", path)) if path.starts_with('/') && !path.contains('\0') => {
                Ok(Self::File(path.into()))
            }
            _ => Err(ReferenceError::of(text)),
        }
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // The text may be a misplaced secret.
        Zeroizing::new(text).parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Age { file, identity } => {
                write!(f, "age:{}?identity={}", file.display(), identity.display())
            }
            Self::Credential(name) => write!(f, "credential:{name}"),
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// Error of reading a secret. It contains no part of the secret.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Decryption by age failed.
    #[error("{file}: {why}")]
    Age {
        /// Path of the encrypted file or of the identity.
        file: String,
        /// Description of the error, with its fix.
        why: String,
    },
    /// The environment variable with this name is not set.
    #[error("the environment variable {0} is not set{how}", how = how(.0))]
    Environment(String),
    /// The file could not be opened or read.
    #[error("{file}: cannot be read")]
    Read {
        /// Path of the file.
        file: String,
        /// Error of the operating system.
        #[source]
        why: std::io::Error,
    },
    /// The source exists, but its type, owner, mode or content is not acceptable.
    #[error("{place}: {why}")]
    Refused {
        /// Path of the file, or name of the variable.
        place: String,
        /// Description of the error, with its fix.
        why: &'static str,
    },
}

/// Returns the part of an error message that says how to set `CREDENTIALS_DIRECTORY`. Empty for other variables.
fn how(variable: &str) -> &'static str {
    if variable != CREDENTIALS {
        return "";
    }
    ", which systemd does for a unit with LoadCredential=: call the program as the unit does, with \
     systemd-run --pipe --wait --uid=ACCOUNT -p LoadCredential=NAME:/PATH PROGRAM …"
}

impl From<SecretError> for crate::outcome::Failure {
    fn from(why: SecretError) -> Self {
        match why {
            SecretError::Read { .. } => Self::Failed(why.describe()),
            _ => Self::Configuration(why.to_string()),
        }
    }
}

impl SecretError {
    /// Returns the error with its causes, and for a file that does not exist or may not be read with the fix.
    pub fn describe(&self) -> String {
        let fix = match self {
            Self::Read { why, .. } if why.kind() == ErrorKind::NotFound => {
                ": write the secret to this file, or the path of the file that has it"
            }
            Self::Read { why, .. } if why.kind() == ErrorKind::PermissionDenied => {
                ": let the account that runs this program read it"
            }
            _ => "",
        };
        format!("{}{fix}", chain(self))
    }
}

impl Reference {
    /// Returns the path of the file that contains the secret unencrypted, so that it can be passed to another program.
    /// `None` for age files and environment variables, and for credentials if `CREDENTIALS_DIRECTORY` is not set.
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Credential(name) => open::credentials().ok().map(|folder| folder.join(name)),
            Self::File(path) => Some(path.clone()),
            Self::Age { .. } | Self::Environment(_) => None,
        }
    }

    /// Reads a secret of one line, such as a password: UTF-8, without its final LF or CRLF, not empty, and without NUL
    /// bytes or further line breaks.
    ///
    /// # Errors
    /// Returns a [`SecretError`] if the secret cannot be read, is accessible to others, or is not such a line.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        self.line(&self.read_bytes()?)
    }

    /// Reads a secret of one line that belongs to another account. A file may be owned by that account, or readable by
    /// one of its groups, beside what [`read`](Self::read) accepts. Other kinds of references are read like
    /// [`read`](Self::read).
    ///
    /// # Errors
    /// Returns the errors of [`read`](Self::read).
    pub fn read_shared(&self, with: &Account) -> Result<SecretString, SecretError> {
        match self {
            Self::File(path) => self.line(&open::read_shared(path, with)?),
            _ => self.read(),
        }
    }

    /// Returns the single line that the bytes contain, without its line end.
    ///
    /// # Errors
    /// Returns [`SecretError::Refused`] if they are not UTF-8, contain NUL, are empty, or are more than one line.
    fn line(&self, bytes: &[u8]) -> Result<SecretString, SecretError> {
        let refused = |why| SecretError::Refused { place: self.place(), why };
        let text = std::str::from_utf8(bytes).map_err(|_| refused("not UTF-8"))?;
        let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        if line.contains(['\0', '\n', '\r']) {
            return Err(refused("contains a NUL byte or more than one line"));
        }
        if line.is_empty() {
            return Err(refused("empty"));
        }
        Ok(SecretString::from(line))
    }

    /// Reads a secret of at most 64 KiB unchanged, with its line ends, such as a private key.
    ///
    /// # Errors
    /// Returns a [`SecretError`] if the secret cannot be read or decrypted, its file is not a regular one or accessible
    /// to others, or it is longer than 64 KiB.
    pub fn read_bytes(&self) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        match self {
            Self::Age { file, identity } => sealed::read(file, identity),
            Self::Credential(name) => {
                open::read(&open::credentials()?.join(name), open::FileProtection::BySystemd)
            }
            Self::Environment(name) => {
                let value = std::env::var_os(name).ok_or_else(|| SecretError::Environment(name.clone()))?;
                let bytes = Zeroizing::new(value.into_encoded_bytes());
                if bytes.len() as u64 > MAX_SECRET_SIZE {
                    return Err(SecretError::Refused { place: self.place(), why: "longer than 64 KiB" });
                }
                Ok(bytes)
            }
            Self::File(path) => open::read(path, open::FileProtection::Privately),
        }
    }

    /// Returns the path of the file or the name of the variable of the secret, for messages; the reference if a
    /// credential has no folder.
    fn place(&self) -> String {
        match self {
            Self::Environment(name) => name.clone(),
            Self::Age { file, .. } => file.display().to_string(),
            Self::Credential(_) | Self::File(_) => {
                self.file().map_or_else(|| self.to_string(), |path| path.display().to_string())
            }
        }
    }
}
