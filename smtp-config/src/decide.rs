//! Forgejo's decisions while it speaks SMTP. They are the same in 7 to 17: versions differ in what they read.

use crate::effective::{Effective, Spoken};
use crate::protocol::Protocol;
use std::fmt;

/// A mechanism of authentication that Forgejo has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 2195: a keyed hash of the password.
    CramMd5,
    /// The password in base64, asked for by `Username:` and `Password:` exactly.
    Login,
    /// NT LAN Manager.
    Ntlm,
    /// RFC 4616: the password in base64.
    Plain,
}

impl fmt::Display for Mechanism {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::CramMd5 => "CRAM-MD5",
            Self::Login => "LOGIN",
            Self::Ntlm => "NTLM",
            Self::Plain => "PLAIN",
        })
    }
}

/// Returns the mechanism that Forgejo chooses from the text after `AUTH`: the first of its own that the text contains.
#[must_use]
pub fn mechanism(offered: &str) -> Option<Mechanism> {
    let order = [Mechanism::CramMd5, Mechanism::Plain, Mechanism::Login, Mechanism::Ntlm];
    order.into_iter().find(|mechanism| offered.contains(&mechanism.to_string()))
}

/// The step after the answer to EHLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterEhlo {
    /// The session goes on: there is TLS already, or none is wanted.
    GoOn,
    /// STARTTLS is missing from the answer: a warning is logged, and the session goes on in clear.
    GoOnInClear,
    /// The STARTTLS command is sent.
    StartTls,
}

/// Returns what Forgejo does after EHLO.
#[must_use]
pub fn after_ehlo(spoken: Spoken, offered: bool) -> AfterEhlo {
    match (spoken, offered) {
        (Spoken::Network(Protocol::StartTls), true) => AfterEhlo::StartTls,
        (Spoken::Network(Protocol::StartTls), false) => AfterEhlo::GoOnInClear,
        _ => AfterEhlo::GoOn,
    }
}

/// The part of the credentials that an eavesdropper gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// The password itself.
    Password,
    /// A hash of it, to guess at.
    Hash,
    /// Nothing: the connection is encrypted.
    Nothing,
}

/// Forgejo's decision about authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// No user is set, so it sends without.
    NoUser,
    /// The server offers no AUTH: the message is not sent.
    NotOffered,
    /// The server offers only mechanisms that Forgejo lacks: it goes on without authentication.
    NoneKnown,
    /// Go refuses PLAIN without TLS, since the server is not called localhost: as over a Unix socket.
    PlainRefused,
    /// Forgejo authenticates by this mechanism.
    Start(Mechanism, Exposure),
}

/// Returns what Forgejo does when the server offered `auth` after `AUTH`.
#[must_use]
pub fn authentication(mailer: &Effective, tls: bool, auth: Option<&str>) -> Authentication {
    if mailer.user.is_empty() {
        return Authentication::NoUser;
    }
    let Some(offered) = auth else { return Authentication::NotOffered };
    let Some(mechanism) = mechanism(offered) else { return Authentication::NoneKnown };
    let local = matches!(mailer.server_name(), "localhost" | "127.0.0.1" | "::1");
    if mechanism == Mechanism::Plain && !tls && !local {
        return Authentication::PlainRefused;
    }
    let exposure = match mechanism {
        _ if tls => Exposure::Nothing,
        Mechanism::CramMd5 | Mechanism::Ntlm => Exposure::Hash,
        Mechanism::Login | Mechanism::Plain => Exposure::Password,
    };
    Authentication::Start(mechanism, exposure)
}
