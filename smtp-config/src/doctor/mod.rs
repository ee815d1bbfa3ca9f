//! The feature `doctor`: what a server really does, checked over the wire, each check with its own time limit. It needs
//! a Tokio runtime.
//!
//! The password is sent to one place only: a server whose certificate is valid for its name, over TLS. [`replay`] shows
//! what Forgejo would do with a password that is made up.

mod auth;
mod dns;
mod policy;
mod replay;
mod send;
mod server;
mod session;
mod strip;
mod tls;
mod wire;

pub use auth::AuthError;
pub use replay::{Replay, Step, arrives, replay, replay_stripped};
pub use send::{SendError, send};
pub use wire::WireError;

use crate::forgejo::{Effective, Helo};
use rustls::pki_types::CertificateDer;
use secrecy::SecretString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// How to check.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long one step may take.
    pub limit: Duration,
    /// Where to connect instead of the addresses of the host. The certificate must be for the host all the same.
    pub address: Option<IpAddr>,
    /// Roots that are trusted beside the system's.
    pub roots: Vec<CertificateDer<'static>>,
    /// The DNS server to ask instead of the machine's.
    pub resolver: Option<SocketAddr>,
    /// The recipient to ask for; without it the sender.
    pub recipient: Option<String>,
    /// The name of this machine, which Forgejo says where `HELO_HOSTNAME` is not set.
    pub machine: String,
    /// The selectors of DKIM keys to look for beside those of the provider.
    pub selectors: Vec<String>,
    /// Whether the DNS is asked about the sender's domain.
    pub dns: bool,
    /// Ports whose reachability is looked at.
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

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// Worth knowing.
    Note,
    /// Not done, since something before it failed.
    Skipped,
    /// Works, with a risk.
    Warning,
    /// Does not work.
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

/// A check and what it found. Never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its stable name.
    pub name: &'static str,
    /// What it was done to: an address, a port, a domain.
    pub about: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found.
    pub detail: String,
    /// What to do; empty when there is nothing to do.
    pub fix: String,
    /// How long it took.
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
}

/// Every check. The password is used only where the server has proven who it is.
pub async fn examine(mailer: &Effective, password: Option<&SecretString>, options: &Options) -> Vec<Check> {
    let mut report = Report::new();
    server::examine(&mut report, mailer, password, options).await;
    if options.dns {
        policy::examine(&mut report, mailer, options).await;
    }
    if let Some(password) = password {
        for check in &mut report.checks {
            check.detail = auth::without_secret(&check.detail, &mailer.user, password);
        }
    }
    report.checks
}

/// The name for EHLO.
fn helo<'a>(mailer: &'a Effective, options: &'a Options) -> &'a str {
    match &mailer.helo {
        Helo::Localhost => "localhost",
        Helo::Machine => &options.machine,
        Helo::Name(name) => name,
    }
}
