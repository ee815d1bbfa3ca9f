//! The classes of characters in field names.

use crate::grammar::TOKEN;

/// The classes of characters in a field name, or in several: whether there is an underscore, an upper-case letter, a
/// character that backends interpret differently, or one that is not allowed in a token. Computed when a name is
/// parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameClass(u8);

/// A table by byte value: the classes that the byte adds to a name.
static CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0usize;
    while i < 256 {
        let b = i as u8;
        table[i] = match b {
            b'_' => NameClass::UNDERSCORE,
            b'A'..=b'Z' => NameClass::CAPITAL,
            b'a'..=b'z' | b'0'..=b'9' | b'-' => 0,
            _ if TOKEN[i] => NameClass::UNPORTABLE,
            _ => NameClass::NO_TOKEN | NameClass::UNPORTABLE,
        };
        i += 1;
    }
    table
};

impl NameClass {
    /// The bit of a name with an underscore.
    const UNDERSCORE: u8 = 1;
    /// The bit of a name with characters other than letters, digits, `-` and `_`, or of an empty name.
    const UNPORTABLE: u8 = 2;
    /// The bit of a name with a capital letter.
    const CAPITAL: u8 = 4;
    /// The bit of a name that is not a token (RFC 9110 §5.6.2).
    const NO_TOKEN: u8 = 8;

    /// The class of names that consist of lower-case letters, digits and `-` only, and of an empty set of names.
    pub const EMPTY: Self = Self(0);

    /// The class of names that consist of letters, digits and `-` only, some of which may be in upper case.
    pub const PLAIN: Self = Self(Self::CAPITAL);

    /// Returns the class of a name: the union of the classes of its bytes. An empty name is not a token.
    pub fn of(name: &[u8]) -> Self {
        let empty = if name.is_empty() { Self::NO_TOKEN | Self::UNPORTABLE } else { 0 };
        Self(name.iter().fold(empty, |class, b| class | CLASSES[usize::from(*b)]))
    }

    /// Returns the length of the token at the beginning of `bytes`, and its class. The length is 0 and the class
    /// [`EMPTY`](Self::EMPTY) if there is none.
    pub fn of_token(bytes: &[u8]) -> (usize, Self) {
        let mut class = 0;
        for (at, b) in bytes.iter().enumerate() {
            let this = CLASSES[usize::from(*b)];
            if this & Self::NO_TOKEN != 0 {
                return (at, Self(class));
            }
            class |= this;
        }
        (bytes.len(), Self(class))
    }

    /// Returns the class of all names that these two classes are of.
    #[inline]
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether the name is a token without upper-case letters, as required in HTTP/2 and HTTP/3.
    pub const fn is_lower_token(self) -> bool {
        self.0 & (Self::NO_TOKEN | Self::CAPITAL) == 0
    }

    /// Returns whether the name consists of letters, digits, `-` and `_` only.
    #[inline]
    pub const fn is_portable(self) -> bool {
        self.0 & Self::UNPORTABLE == 0
    }

    /// Returns whether the name contains a `_`.
    #[inline]
    pub const fn has_underscore(self) -> bool {
        self.0 & Self::UNDERSCORE != 0
    }
}
