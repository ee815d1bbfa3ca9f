//! Checks of a server over the network, each with its own time limit (feature `doctor`). They require a Tokio runtime.
//!
//! The password is sent only over TLS to a server whose certificate is valid for its name. [`replay`] shows what
//! Forgejo would do, with a made-up password.

mod auth;
mod dial;
mod dns;
mod imap;
mod policy;
mod replay;
mod send;
mod server;
mod session;
mod strip;
mod tls;
mod tls_error;
mod wire;

pub use auth::AuthError;
pub use imap::examine_incoming;
pub use replay::{Replay, Step, arrives, replay, replay_stripped};
pub use send::{SendError, Sent, send};
pub use wire::WireError;

use crate::effective::{EffectiveMailer, Helo};
use rustls::pki_types::CertificateDer;
use secrecy::SecretString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Options for connecting to a mail server, in checks, replays and test messages: time limit, address, trust, DNS and
/// recipient. The default is [`Options::default`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Time limit of one step, such as connecting or waiting for a reply. Default: 10 s.
    pub limit: Duration,
    /// IP address to connect to, instead of resolving the host. The certificate is still verified for the host.
    /// Default: `None`.
    pub address: Option<IpAddr>,
    /// Root certificates in DER, trusted in addition to those of the system. Default: none.
    pub roots: Vec<CertificateDer<'static>>,
    /// DNS server to query instead of the system's resolvers. Default: `None`.
    pub resolver: Option<SocketAddr>,
    /// Recipient for RCPT TO in [`examine`], which sends no message. `None`, the default, selects the envelope sender.
    pub recipient: Option<String>,
    /// Host name of this machine, sent in EHLO if `HELO_HOSTNAME` is not set. Default: `localhost`.
    pub machine: String,
    /// DKIM selectors to look up in addition to those of the provider. Default: none.
    pub selectors: Vec<String>,
    /// Whether SPF, DKIM and DMARC of the sender's domain are checked. Default: `true`.
    pub dns: bool,
    /// TCP ports whose reachability is checked, besides the configured one. Default: 25, 465, 587 and 2525.
    pub ports: Vec<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limit: Duration::from_secs(10),
            address: None,
            roots: Vec::new(),
            resolver: None,
            recipient: None,
            machine: "localhost".to_owned(),
            selectors: Vec::new(),
            dns: true,
            ports: vec![25, 465, 587, 2525],
        }
    }
}

/// Result of a check, in ascending order of severity. Displayed in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The check passed.
    Pass,
    /// Information that requires no change.
    Note,
    /// The check was not run, since a previous one failed or its precondition is missing.
    Skipped,
    /// The configuration works, but carries a risk.
    Warning,
    /// The configuration does not work, or exposes the password.
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Pass => "pass",
            Self::Note => "note",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Fail => "fail",
        })
    }
}

/// A check with its result. Contains no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Stable, machine-readable name of the check, such as `tls`.
    pub name: &'static str,
    /// Subject of the check: an address, a host, a domain or a mailbox.
    pub about: String,
    /// Result of the check.
    pub verdict: Verdict,
    /// Facts that were found, in words.
    pub detail: String,
    /// Action that resolves the problem, as an imperative phrase. Empty if none is known or needed.
    pub fix: String,
    /// Time since the previous check of the report; for the first one, since the beginning.
    pub took: Duration,
}

/// The checks so far, in order, with the subject of the next ones.
struct Report {
    checks: Vec<Check>,
    about: String,
    began: Instant,
}

impl Report {
    /// Creates an empty report.
    fn new() -> Self {
        Self { checks: Vec::new(), about: String::new(), began: Instant::now() }
    }

    /// Appends a check of the current subject.
    fn add(&mut self, name: &'static str, verdict: Verdict, detail: impl Into<String>, fix: &str) {
        let took = self.began.elapsed();
        self.began = Instant::now();
        let (about, detail) = (self.about.clone(), detail.into());
        self.checks.push(Check { name, about, verdict, detail, fix: fix.to_owned(), took });
    }

    /// Appends a check that passed.
    fn pass(&mut self, name: &'static str, detail: impl Into<String>) {
        self.add(name, Verdict::Pass, detail, "");
    }

    /// Appends a check that failed.
    fn fail(&mut self, name: &'static str, detail: impl Into<String>, fix: &str) {
        self.add(name, Verdict::Fail, detail, fix);
    }

    /// Appends a check that was not run.
    fn skip(&mut self, name: &'static str, why: &str) {
        self.add(name, Verdict::Skipped, why, "");
    }

    /// Appends a check with a warning.
    fn warn(&mut self, name: &'static str, detail: impl Into<String>, fix: &str) {
        self.add(name, Verdict::Warning, detail, fix);
    }
}

/// Runs every check of outgoing mail, and returns them in order. The password is sent only over TLS to a server whose
/// certificate was verified. No message is sent. Without a password, an empty one is used.
pub async fn examine(
    mailer: &EffectiveMailer,
    password: Option<&SecretString>,
    options: &Options,
) -> Vec<Check> {
    let mut report = Report::new();
    server::examine(&mut report, mailer, password, options).await;
    if options.dns {
        policy::examine(&mut report, mailer, options).await;
    }
    report.checks
}

/// Returns the host name that is sent in EHLO.
fn helo<'a>(mailer: &'a EffectiveMailer, options: &'a Options) -> &'a str {
    match &mailer.helo {
        Helo::Localhost => "localhost",
        Helo::Machine => &options.machine,
        Helo::Name(name) => name,
    }
}
