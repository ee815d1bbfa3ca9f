//! Protocols of the connection to an SMTP server.

use std::fmt;

/// Protocol of the connection to an SMTP server. Displayed as the value of `PROTOCOL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `smtp`: SMTP without TLS.
    Smtp,
    /// `smtps`: SMTP with implicit TLS (RFC 8314).
    Smtps,
    /// `smtp+starttls`: SMTP with STARTTLS (RFC 3207). Forgejo continues without TLS if the server does not offer it.
    StartTls,
}

impl Protocol {
    /// Returns the protocol that Forgejo infers from a port: SMTP without TLS for 25, STARTTLS for 587, and implicit
    /// TLS for any other.
    #[must_use]
    pub fn of_port(port: u16) -> Self {
        match port {
            25 => Self::Smtp,
            587 => Self::StartTls,
            _ => Self::Smtps,
        }
    }

    /// Returns the port that Forgejo infers from the protocol: 25, 465 or 587.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Smtp => 25,
            Self::Smtps => 465,
            Self::StartTls => 587,
        }
    }

    /// Returns the value of `PROTOCOL`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Smtps => "smtps",
            Self::StartTls => "smtp+starttls",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}
