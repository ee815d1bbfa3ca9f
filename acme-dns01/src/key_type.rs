//! Key types of certificates.

use std::fmt;
use std::str::FromStr;

/// Type of a certificate's key. The names are those of lego and NixOS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// ECDSA over P-256: `ec256`.
    #[default]
    Ec256,
    /// ECDSA over P-384: `ec384`.
    Ec384,
    /// RSA of 2048 bits: `rsa2048`.
    Rsa2048,
    /// RSA of 3072 bits: `rsa3072`.
    Rsa3072,
    /// RSA of 4096 bits: `rsa4096`.
    Rsa4096,
}

/// Error of parsing a key type, with the text that is not a known name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid key type: `{0}`: expected ec256, ec384, rsa2048, rsa3072 or rsa4096")]
pub struct KeyTypeError(pub String);

impl KeyType {
    /// All key types.
    pub const ALL: [Self; 5] = [Self::Ec256, Self::Ec384, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];

    /// Returns the name used by lego and NixOS, such as `ec256`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ec256 => "ec256",
            Self::Ec384 => "ec384",
            Self::Rsa2048 => "rsa2048",
            Self::Rsa3072 => "rsa3072",
            Self::Rsa4096 => "rsa4096",
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyType {
    type Err = KeyTypeError;

    fn from_str(text: &str) -> Result<Self, KeyTypeError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| KeyTypeError(text.to_owned()))
    }
}
