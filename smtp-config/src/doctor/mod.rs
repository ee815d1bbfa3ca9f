//! Checks of a server over the wire, each with its own time limit (feature `doctor`). They need a Tokio runtime.
//!
//! The password is sent only over TLS to a server whose certificate is valid for its name. [`replay`] shows what Forgejo
//! would do, with a password that is made up.

mod auth;
mod dns;
mod imap;
mod policy;
mod replay;
mod send;
mod server;
mod session;
mod strip;
mod tls;
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

/// Options of the checks.
#[derive(Clone, Debug)]
pub struct Options {
    /// Time limit of one step, such as connecting or waiting for a reply. Default: 10 s.
    pub limit: Duration,
    /// The address to connect to instead of resolving `host`. The certificate is still verified for `host`.
    pub address: Option<IpAddr>,
    /// Root certificates in DER, trusted beside the system's. Default: none.
    pub roots: Vec<CertificateDer<'static>>,
    /// DNS server to query instead of the system's resolvers. Default: `None`.
    pub resolver: Option<SocketAddr>,
    /// Recipient for RCPT TO. `None`, the default, selects the sender.
    pub recipient: Option<String>,
    /// Host name of this machine, used for EHLO if `HELO_HOSTNAME` is not set. Default: `localhost`.
    pub machine: String,
    /// DKIM selectors to look up beside those of the provider. Default: none.
    pub selectors: Vec<String>,
    /// Whether SPF, DKIM and DMARC of the sender's domain are checked. Default: `true`.
    pub dns: bool,
    /// TCP ports whose reachability is checked. Default: 25, 465, 587 and 2525.
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

/// Result of a check, in ascending order of severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The check passed.
    Pass,
    /// Information; no change is needed.
    Note,
    /// The check was not run, since a previous one failed.
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

/// A check with its result. It contains no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Stable, machine-readable name of the check.
    pub name: &'static str,
    /// Subject of the check: an address, a port or a domain.
    pub about: String,
    /// The result of the check.
    pub verdict: Verdict,
    /// Facts that were found.
    pub detail: String,
    /// Fix for the user; empty if no change is needed.
    pub fix: String,
    /// Duration of the check.
    pub took: Duration,
}

/// The checks so far, in order.
struct Report {
    checks: Vec<Check>,
    about: String,
    began: Instant,
}

impl Report {
    fn new() -> Self {
        Self { checks: Vec::new(), about: String::new(), began: Instant::now() }
    }

    fn add(&mut self, name: &'static str, verdict: Verdict, detail: impl Into<String>, fix: &str) {
        let took = self.began.elapsed();
        self.began = Instant::now();
        let (about, detail) = (self.about.clone(), detail.into());
        self.checks.push(Check { name, about, verdict, detail, fix: fix.to_owned(), took });
    }

    fn pass(&mut self, name: &'static str, detail: impl Into<String>) {
        self.add(name, Verdict::Pass, detail, "");
    }

    fn fail(&mut self, name: &'static str, detail: impl Into<String>, fix: &str) {
        self.add(name, Verdict::Fail, detail, fix);
    }

    fn skip(&mut self, name: &'static str, why: &str) {
        self.add(name, Verdict::Skipped, why, "");
    }

    fn warn(&mut self, name: &'static str, detail: impl Into<String>, fix: &str) {
        self.add(name, Verdict::Warning, detail, fix);
    }
}

/// Runs every check of outgoing mail, and returns them in order. The password is sent only to a server whose certificate was
/// verified. No message is sent.
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

/// Returns the name for EHLO.
fn helo<'a>(mailer: &'a EffectiveMailer, options: &'a Options) -> &'a str {
    match &mailer.helo {
        Helo::Localhost => "localhost",
        Helo::Machine => &options.machine,
        Helo::Name(name) => name,
    }
}
