//! Secrets by reference: what a configuration names, and a program reads once.

mod open;
mod sealed;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use thiserror::Error;
use zeroize::Zeroizing;

/// More than any password or key has, in bytes.
pub const LONGEST: u64 = 64 * 1024;

/// Where a secret is. Shown and serialized it is the reference, never the secret.
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
    /// `env:NAME`: a variable of the environment.
    Environment(String),
    /// `file:/PATH`: a file.
    File(PathBuf),
}

/// A text that is no reference. It is not repeated, since it may be the secret itself.
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
        // It may be a secret in the wrong place.
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

/// Why a secret could not be had. No part of the secret is in it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SecretError {
    /// age could not open it.
    #[error("{file}: {why}")]
    Age {
        /// The encrypted file, or the identity.
        file: String,
        /// What is wrong and what to change.
        why: String,
    },
    /// The environment does not have it.
    #[error("there is no {0} in the environment")]
    Environment(String),
    /// It cannot be read.
    #[error("{file}: cannot be read")]
    Read {
        /// The file.
        file: String,
        /// The system's reason.
        #[source]
        why: std::io::Error,
    },
    /// It was found, and is not what a secret must be.
    #[error("{place}: {why}")]
    Refused {
        /// The file or the variable.
        place: String,
        /// What is wrong and what to change.
        why: &'static str,
    },
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
    /// The file that the secret is in as it stands, where there is one. Another program could be pointed at it.
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Credential(name) => open::credentials().ok().map(|folder| folder.join(name)),
            Self::File(path) => Some(path.clone()),
            Self::Age { .. } | Self::Environment(_) => None,
        }
    }

    /// Reads a secret of one line, such as a password: UTF-8, one LF or CRLF at its end taken off, neither empty nor
    /// with a NUL or another line break in it.
    ///
    /// # Errors
    /// [`SecretError`]: it cannot be read, others may read it too, or it is no such line.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        let bytes = self.read_bytes()?;
        let refused = |why| SecretError::Refused { place: self.place(), why };
        let text = std::str::from_utf8(&bytes).map_err(|_| refused("not UTF-8"))?;
        let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        if line.contains(['\0', '\n', '\r']) {
            return Err(refused("it has a NUL byte or more than one line"));
        }
        if line.is_empty() {
            return Err(refused("it is empty"));
        }
        Ok(SecretString::from(line))
    }

    /// Reads a secret as it is, such as a private key.
    ///
    /// # Errors
    /// [`SecretError`]: it cannot be read, or others may read it too.
    pub fn read_bytes(&self) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        match self {
            Self::Age { file, identity } => sealed::read(file, identity),
            Self::Credential(name) => open::read(&open::credentials()?.join(name), open::Kept::BySystemd),
            Self::Environment(name) => {
                let value = std::env::var_os(name).ok_or_else(|| SecretError::Environment(name.clone()))?;
                let bytes = Zeroizing::new(value.into_encoded_bytes());
                if bytes.len() as u64 > LONGEST {
                    return Err(SecretError::Refused { place: self.place(), why: "longer than 64 KiB" });
                }
                Ok(bytes)
            }
            Self::File(path) => open::read(path, open::Kept::Privately),
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
