//! The work of one side of a comparison, as it is passed into its namespaces.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// The work of one side of a comparison: the server to run, its environment, and the requests to send.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Job {
    /// The program of the server, and its arguments.
    pub(super) command: Vec<String>,
    /// The path of the file for the server's standard error.
    pub(super) said: String,
    /// The path of the file that replaces `/etc/hosts`.
    pub(super) hosts: String,
    /// The temporary folder of the comparison, with certificates, passwords and sockets.
    pub(super) folder: String,
    /// The addresses to add to the loopback interface.
    pub(super) addresses: Vec<IpAddr>,
    /// The recorders to start in place of services.
    pub(super) recorders: Vec<Recorder>,
    /// The addresses on which the server must listen before requests are sent.
    pub(super) listens: Vec<SocketAddr>,
    /// The requests to send.
    pub(super) requests: Vec<Probe>,
}

/// A recorder, which stands for a service and reports the requests that it receives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recorder {
    /// The address and port, or the path of a Unix socket.
    pub(super) at: String,
    /// The name of the service in reports.
    pub(super) name: String,
}

/// The line that is sent where the server forwards TCP.
pub(super) const LINE: &str = "hello";

/// The protocol of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Version {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 over TLS.
    Http2,
    /// HTTP/3 over QUIC.
    Http3,
    /// A line of text over TCP, without HTTP.
    Text,
}

/// The issuer and state of a client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ClientCertificateKind {
    /// Issued by the authority that the servers trust.
    Known,
    /// Issued by another authority.
    Foreign,
    /// Issued and revoked by the authority that the servers trust.
    Revoked,
}

/// A request to send to both servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Probe {
    /// The client's address.
    pub(super) from: IpAddr,
    /// The server's address and port.
    pub(super) to: SocketAddr,
    /// True if the request is sent over TLS.
    pub(super) tls: bool,
    /// True if a PROXY header with the client's address precedes the request.
    pub(super) proxied: bool,
    /// The server name in the ClientHello. `None` to send none.
    pub(super) sni: Option<String>,
    /// The host of the request.
    pub(super) host: String,
    /// The request method.
    pub(super) method: String,
    /// The request target: path and query.
    pub(super) path: String,
    /// The names and values of further fields, in their order.
    pub(super) fields: Vec<(String, String)>,
    /// The protocol of the request.
    pub(super) version: Version,
    /// The client certificate. `None` to present none.
    pub(super) certificate: Option<ClientCertificateKind>,
}

/// The reply to a probe. The default stands for a connection that was closed without a reply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reply {
    /// The status. `None` without a response.
    pub(super) status: Option<u16>,
    /// The field `Location`. `None` without it.
    pub(super) location: Option<String>,
    /// The values of the fields `Set-Cookie`, in their order.
    pub(super) cookies: Vec<String>,
    /// The first line of the content, if it is an error page of the comparison. `None` otherwise.
    pub(super) page: Option<String>,
    /// The request as a service received it. `None` if none reached a service.
    pub(super) service: Option<ReceivedRequest>,
    /// True if the server does not support the protocol of the probe.
    pub(super) unspoken: bool,
}

/// A request as it reached a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReceivedRequest {
    /// The name of the service.
    pub(super) name: String,
    /// The request line without the HTTP version, or the line of text.
    pub(super) line: String,
    /// The names, in lower case, and values of the fields, in their order. Empty for a line of text.
    pub(super) fields: Vec<(String, String)>,
}

impl ReceivedRequest {
    /// Returns the value of the first field with this name, ignoring case. `None` if there is none.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}
