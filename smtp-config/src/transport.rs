//! Transports of messages: a server, a Unix-domain socket or `sendmail`.

use crate::presets::Preset;
use crate::protocol::Protocol;

/// An SMTP server, reached over TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Host name, for which its certificate is verified, or IP address.
    pub host: String,
    /// TCP port. 0 is not valid.
    pub port: u16,
    /// Protocol. `None` selects the one that the provider documents for the port, or else the one that Forgejo infers
    /// from it; with a user, STARTTLS takes the place of SMTP without TLS.
    pub protocol: Option<Protocol>,
}

impl Server {
    /// Returns the protocol that is used without a user: the one that is set, or else the one that the provider documents
    /// for the port, or else the one that Forgejo infers from it. With a user, it is
    /// [`Mailer::protocol`](crate::Mailer::protocol).
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        let known = || Preset::of_host(&self.host).and_then(|preset| preset.protocol_at(self.port));
        self.protocol.or_else(known).unwrap_or_else(|| Protocol::of_port(self.port))
    }
}

/// Transport over which messages are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// SMTP over TCP.
    Network(Server),
    /// The program `sendmail` of this host.
    Sendmail {
        /// Absolute path of the program, or a name that is looked up in `PATH`.
        path: String,
        /// Arguments before the recipients, without quotes. `--` is appended to them.
        args: Vec<String>,
    },
    /// SMTP over the Unix-domain socket at this absolute path, without TLS.
    Unix(String),
}
