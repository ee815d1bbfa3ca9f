//! Forgejo's decisions during an SMTP session. They are identical in versions 7 to 17, which differ in the settings
//! that they read.

use crate::effective::{EffectiveMailer, EffectiveTransport};
use crate::protocol::Protocol;
use std::fmt;

/// An SMTP AUTH mechanism (RFC 4954) that Forgejo implements. Displayed as in the AUTH command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// CRAM-MD5 (RFC 2195): a keyed hash of the password, never the password itself.
    CramMd5,
    /// LOGIN: the password in Base64. The prompts must be exactly `Username:` and `Password:`.
    Login,
    /// NTLM (NT LAN Manager), a challenge-response mechanism.
    Ntlm,
    /// PLAIN (RFC 4616): the password in Base64.
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

/// Returns the mechanism that Forgejo selects from the parameters of the AUTH extension: the first of CRAM-MD5, PLAIN,
/// LOGIN and NTLM that occurs in the text, even as part of another word. `None` if none does.
#[must_use]
pub fn mechanism(offered: &str) -> Option<Mechanism> {
    let order = [Mechanism::CramMd5, Mechanism::Plain, Mechanism::Login, Mechanism::Ntlm];
    order.into_iter().find(|mechanism| offered.contains(&mechanism.to_string()))
}

/// Forgejo's next step after the reply to EHLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterEhlo {
    /// The session continues as it is, with TLS already active or not requested.
    GoOn,
    /// STARTTLS is configured, but the server does not offer it: Forgejo logs a warning and continues without TLS.
    GoOnInClear,
    /// Forgejo sends STARTTLS.
    StartTls,
}

/// The extension STARTTLS (RFC 3207) in a server's reply to EHLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartTlsSupport {
    /// The reply contains it.
    Offered,
    /// The reply does not contain it.
    NotOffered,
}

/// Returns Forgejo's next step after the reply to EHLO.
#[must_use]
pub fn after_ehlo(transport: EffectiveTransport, starttls: StartTlsSupport) -> AfterEhlo {
    match (transport, starttls) {
        (EffectiveTransport::Network(Protocol::StartTls), StartTlsSupport::Offered) => AfterEhlo::StartTls,
        (EffectiveTransport::Network(Protocol::StartTls), StartTlsSupport::NotOffered) => {
            AfterEhlo::GoOnInClear
        }
        _ => AfterEhlo::GoOn,
    }
}

/// The part of the credentials that an eavesdropper on the connection learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// The password, in clear text or Base64.
    Password,
    /// A hash of the password, which permits guessing it offline.
    Hash,
    /// Nothing, since the connection is encrypted.
    Nothing,
}

/// The protection of an SMTP session against eavesdroppers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// TLS, from the first byte or after STARTTLS.
    Tls,
    /// None: everything is sent in clear text.
    None,
}

/// Forgejo's decision about SMTP AUTH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// No user is configured: the message is sent without authentication.
    NoUser,
    /// The server does not offer AUTH: the message is not sent.
    NotOffered,
    /// The server offers only mechanisms that Forgejo lacks: the message is sent without authentication.
    NoneKnown,
    /// PLAIN is selected without TLS, and the server's name is not localhost, as over a Unix-domain socket: Go refuses,
    /// and the message is not sent.
    PlainRefused,
    /// Forgejo authenticates by this mechanism. The second value is what an eavesdropper learns.
    Start(Mechanism, Exposure),
}

/// Returns Forgejo's decision about SMTP AUTH (RFC 4954). `auth` is the parameters of the AUTH extension, or `None` if
/// the server does not offer it.
#[must_use]
pub fn authentication(
    mailer: &EffectiveMailer,
    encryption: Encryption,
    auth: Option<&str>,
) -> Authentication {
    if mailer.user.is_empty() {
        return Authentication::NoUser;
    }
    let Some(offered) = auth else { return Authentication::NotOffered };
    let Some(mechanism) = mechanism(offered) else { return Authentication::NoneKnown };
    let local = matches!(mailer.server_name(), "localhost" | "127.0.0.1" | "::1");
    if mechanism == Mechanism::Plain && encryption == Encryption::None && !local {
        return Authentication::PlainRefused;
    }
    let exposure = match (encryption, mechanism) {
        (Encryption::Tls, _) => Exposure::Nothing,
        (Encryption::None, Mechanism::CramMd5 | Mechanism::Ntlm) => Exposure::Hash,
        (Encryption::None, Mechanism::Login | Mechanism::Plain) => Exposure::Password,
    };
    Authentication::Start(mechanism, exposure)
}
