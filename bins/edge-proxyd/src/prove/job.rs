//! The work of one side, as it is handed into its namespaces.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// The work of one side of a proof: the server to run, its surroundings, and the requests to send.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) command: Vec<String>,
    /// The file that the server's messages go to.
    pub(super) said: String,
    /// The file that replaces /etc/hosts.
    pub(super) hosts: String,
    /// The folder with certificates.
    pub(super) folder: String,
    /// The addresses to put on the loopback interface.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) recorders: Vec<Recorder>,
    pub(super) listens: Vec<SocketAddr>,
    pub(super) requests: Vec<Probe>,
}

/// The address of a recorder, which stands for a service and returns what it received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recorder {
    /// An address with its port, or the path of a Unix socket.
    pub(super) at: String,
    /// The name of the service in reports.
    pub(super) name: String,
}

/// The line that is sent where no HTTP is forwarded.
pub(super) const LINE: &str = "hello";

/// The protocol that a request is sent over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Version {
    #[default]
    Http1,
    Http2,
    Http3,
    /// A line of text, which is no HTTP.
    Text,
}

/// The authority of a certificate that a client presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ClientCertificateKind {
    /// One of the authority that servers know.
    Known,
    /// One of another authority.
    Foreign,
    /// One of the authority that servers know, which has revoked it.
    Revoked,
}

/// A request to send to both servers: the client and listener addresses, the head, and the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Probe {
    pub(super) from: IpAddr,
    pub(super) to: SocketAddr,
    pub(super) tls: bool,
    pub(super) proxied: bool,
    pub(super) sni: Option<String>,
    pub(super) host: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) fields: Vec<(String, String)>,
    pub(super) version: Version,
    pub(super) certificate: Option<ClientCertificateKind>,
}

/// The reply to a probe. The default stands for a connection that was closed without one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) status: Option<u16>,
    pub(super) location: Option<String>,
    /// The values of Set-Cookie, in their order.
    pub(super) cookies: Vec<String>,
    /// The content, if it is an error page of the comparison.
    pub(super) page: Option<String>,
    pub(super) service: Option<ReceivedRequest>,
    /// True if the server does not speak the version.
    pub(super) unspoken: bool,
}

/// The request that reached a service, as its recorder received it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReceivedRequest {
    pub(super) name: String,
    pub(super) line: String,
    pub(super) fields: Vec<(String, String)>,
}

impl ReceivedRequest {
    /// Returns the value of the first field of a name, compared without regard to case. `None` if there is none.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}
