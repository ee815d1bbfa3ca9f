//! Connection types, the first field of a record.

use std::fmt;

/// Connection type of a record, by the encryption that it requires. Displayed as the keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionType {
    /// `local`: the Unix-domain socket.
    Local,
    /// `host`: TCP with any or no encryption.
    Host,
    /// `hostssl`: TCP with TLS.
    HostSsl,
    /// `hostnossl`: TCP without TLS, including GSSAPI encryption.
    HostNoSsl,
    /// `hostgssenc`: TCP with GSSAPI encryption.
    HostGssEnc,
    /// `hostnogssenc`: TCP without GSSAPI encryption, including TLS.
    HostNoGssEnc,
}

impl ConnectionType {
    /// All connection types, in the order of the manual.
    pub const ALL: [Self; 6] =
        [Self::Local, Self::Host, Self::HostSsl, Self::HostNoSsl, Self::HostGssEnc, Self::HostNoGssEnc];

    /// Returns the keyword in the file, in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Host => "host",
            Self::HostSsl => "hostssl",
            Self::HostNoSsl => "hostnossl",
            Self::HostGssEnc => "hostgssenc",
            Self::HostNoGssEnc => "hostnogssenc",
        }
    }

    /// Returns the connection type of a keyword, compared case-sensitively. `None` for any other text.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for ConnectionType {
    /// Formats as the keyword. Honours width and alignment.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}
