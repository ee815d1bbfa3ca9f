//! Passwords of roles: desired, stored, and compared.

use crate::scram::Verifier;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::num::NonZeroU32;

/// Desired password of a role.
#[derive(Clone)]
pub enum Password {
    /// No password, so that the role cannot authenticate with one.
    None,
    /// A password in clear text. Only its SCRAM verifier is sent to the server.
    Secret(SecretString),
    /// A SCRAM verifier, such as one copied from another server.
    Verifier(Verifier),
}

impl Password {
    /// Creates a password from clear text. A trailing newline is not removed.
    #[must_use]
    pub fn secret(password: &str) -> Self {
        Self::Secret(password.to_owned().into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Secret(_) => "Secret([redacted])",
            Self::Verifier(_) => "Verifier([redacted])",
        })
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Secret(one), Self::Secret(other)) => one.expose_secret() == other.expose_secret(),
            (Self::Verifier(one), Self::Verifier(other)) => one == other,
            _ => false,
        }
    }
}

/// Stored password of a role, as far as known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredPassword {
    /// No password is stored, or the desired state declares none for the role, so that the stored one was not read.
    None,
    /// An MD5 hash. If a password is desired, a SCRAM verifier replaces it even if it is the hash of that password.
    Md5,
    /// A SCRAM verifier.
    Scram(Verifier),
    /// The stored password is the desired one, by a comparison or the record of an earlier run; its number of
    /// iterations, `None` if not visible.
    Right(Option<NonZeroU32>),
    /// The stored password is not the desired one, or cannot be parsed.
    Wrong,
    /// The session cannot read stored passwords, and neither a login nor a record shows whether it is the desired one.
    Unknown,
}

impl StoredPassword {
    /// Parses the column `rolpassword` of `pg_authid`. `None` stands for NULL. A value that is not a valid SCRAM
    /// verifier is [`StoredPassword::Md5`] if it begins with `md5`, otherwise [`StoredPassword::Wrong`].
    #[must_use]
    pub fn parse(stored: Option<&SecretString>) -> Self {
        let Some(stored) = stored else { return Self::None };
        let text = stored.expose_secret();
        match Verifier::parse(text) {
            Ok(verifier) => Self::Scram(verifier),
            Err(_) if text.starts_with("md5") => Self::Md5,
            Err(_) => Self::Wrong,
        }
    }
}

/// Result of comparing a password: nothing to do, not determinable, to be cleared, or to be set for a reason.
pub(super) enum Verdict {
    Fine,
    Unseen,
    Clear,
    Set(String),
}

/// Compares a declared password with the stored one. A verifier with fewer iterations than `least`, an MD5 hash, and a
/// password whose state is unknown are to be replaced; a declared verifier is stored whatever its iterations are.
pub(super) fn judge(wanted: &Password, stored: &StoredPassword, least: NonZeroU32) -> Verdict {
    let set = |why: &str| Verdict::Set(why.to_owned());
    let weak = |count: NonZeroU32| {
        (count < least).then(|| format!("it is hashed with {count} iterations instead of {least}"))
    };
    match (wanted, stored) {
        (Password::None, StoredPassword::None) => Verdict::Fine,
        (Password::None, StoredPassword::Unknown) => Verdict::Unseen,
        (Password::None, _) => Verdict::Clear,
        (_, StoredPassword::None) => set("it has no password"),
        (_, StoredPassword::Md5) => set("its password is hashed by MD5"),
        (_, StoredPassword::Wrong) => set("its password differs"),
        (_, StoredPassword::Unknown) => {
            set("its password cannot be read, and no record says that it was set")
        }
        (Password::Secret(secret), StoredPassword::Scram(verifier)) => match weak(verifier.iterations()) {
            Some(why) => Verdict::Set(why),
            None if verifier.matches(secret) => Verdict::Fine,
            None => set("its password differs"),
        },
        (Password::Verifier(wanted), StoredPassword::Scram(stored)) if wanted == stored => Verdict::Fine,
        (Password::Verifier(_), StoredPassword::Scram(_)) => set("its password differs"),
        (Password::Secret(_), StoredPassword::Right(Some(count))) => {
            weak(*count).map_or(Verdict::Fine, Verdict::Set)
        }
        (_, StoredPassword::Right(_)) => Verdict::Fine,
    }
}
