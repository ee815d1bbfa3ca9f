//! Secrets by reference: a configuration names the source, and the program reads it once.

mod open;
mod sealed;

use crate::account::Account;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use thiserror::Error;
use zeroize::Zeroizing;

/// The variable with the folder of a unit's credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The longest secret in bytes, more than any password or key.
pub const MAX_SECRET_SIZE: u64 = 64 * 1024;

/// The source of a secret. It is displayed and serialized as the reference, never as the secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Reference {
    /// `age:PATH?identity=PATH`: a file encrypted by age, and the X25519 or ssh identity that opens it.
    Age {
        /// The encrypted file.
        file: PathBuf,
        /// The identity file.
        identity: PathBuf,
    },
    /// `credential:NAME`: a file in `$CREDENTIALS_DIRECTORY`, which systemd provides.
    Credential(String),
    /// `env:NAME`: an environment variable.
    Environment(String),
    /// `file:/PATH`: an unencrypted file.
    File(PathBuf),
}

/// An error for a text that is not a reference. The text is not repeated, since it may be the secret itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "not a reference to a secret: write file:/path, credential:name, env:NAME or age:/path?identity=/path, never the secret itself"
)]
pub struct ReferenceError;

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("age", rest)) => {
                let (file, identity) = rest.split_once("?identity=").ok_or(ReferenceError)?;
                let absolute = file.starts_with('/') && identity.starts_with('/');
                absolute
                    .then(|| Self::Age { file: file.into(), identity: identity.into() })
                    .ok_or(ReferenceError)
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
            _ => Err(ReferenceError),
        }
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // The text may be a secret in the wrong place.
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

/// The reason a secret could not be read. No part of the secret is in it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Decryption by age failed.
    #[error("{file}: {why}")]
    Age {
        /// The encrypted file, or the identity.
        file: String,
        /// The error and its fix.
        why: String,
    },
    /// The environment variable is not set.
    #[error("the environment variable {0} is not set{how}", how = how(.0))]
    Environment(String),
    /// The file could not be read.
    #[error("{file}: cannot be read")]
    Read {
        /// The path of the file.
        file: String,
        /// The operating system's error.
        #[source]
        why: std::io::Error,
    },
    /// The source exists but is not acceptable.
    #[error("{place}: {why}")]
    Refused {
        /// The file or the variable.
        place: String,
        /// The error and its fix.
        why: &'static str,
    },
}

/// Returns how to provide a variable that systemd sets.
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
            SecretError::Read { .. } => Self::because(&why),
            _ => Self::Configuration(why.to_string()),
        }
    }
}

impl Reference {
    /// Returns the file that holds the unencrypted secret, if there is one, so that another program can be pointed at
    /// it.
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Credential(name) => open::credentials().ok().map(|folder| folder.join(name)),
            Self::File(path) => Some(path.clone()),
            Self::Age { .. } | Self::Environment(_) => None,
        }
    }

    /// Reads a secret of one line, such as a password: UTF-8, without its final LF or CRLF, not empty, and without NUL
    /// or further line breaks.
    ///
    /// # Errors
    /// [`SecretError`]: it cannot be read, is accessible to others, or is not such a line.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        self.line(&self.read_bytes()?)
    }

    /// Reads a secret of one line that belongs to another account: a file may be that account's own, or readable by one of
    /// its groups.
    ///
    /// # Errors
    /// As [`Reference::read`].
    pub fn read_shared(&self, with: &Account) -> Result<SecretString, SecretError> {
        match self {
            Self::File(path) => self.line(&open::read_shared(path, with)?),
            _ => self.read(),
        }
    }

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

    /// Reads a secret unchanged, such as a private key.
    ///
    /// # Errors
    /// [`SecretError`]: it cannot be read, or is accessible to others.
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
