//! Queries to a single server, over UDP with fallback to TCP.

use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::{Name, RecordType};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// Error of a DNS lookup.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DnsError {
    /// No resolver is configured.
    #[error("no resolver is configured")]
    NoResolver,
    /// The text is not a valid domain name.
    #[error("`{name}` cannot be asked for: {why}")]
    Name {
        /// The name that was looked up.
        name: String,
        /// The human-readable reason.
        why: String,
    },
    /// The server could not be reached, or did not send a valid response within the time limit.
    #[error("{server}: {why}")]
    Unreachable {
        /// Address of the server.
        server: SocketAddr,
        /// Description of the error.
        why: String,
    },
    /// The server responded with a code other than NOERROR and NXDOMAIN.
    #[error("{server} answered {code} for {name}")]
    Code {
        /// Address of the server.
        server: SocketAddr,
        /// The name that was queried.
        name: String,
        /// Name of the response code.
        code: String,
    },
    /// No name server of the zone has an address to which there is a route.
    #[error("no name server of {zone} has an address that can be reached")]
    NoAuthority {
        /// Name of the zone.
        zone: String,
    },
    /// No zone with at least two labels contains the name, according to the resolvers.
    #[error("no zone is found for {name}: is the domain registered and delegated?")]
    NoZone {
        /// The name that was looked up.
        name: String,
    },
    /// A name server to which the zone is delegated does not answer authoritatively for it (lame delegation).
    #[error("{server} is lame: {zone} is delegated to it, but it is not authoritative for it")]
    Lame {
        /// Address of the server.
        server: SocketAddr,
        /// Name of the zone.
        zone: String,
    },
    /// A server that should be authoritative responds as a recursive resolver: port 53 is intercepted.
    #[error("the connection to {server} is intercepted: set dns.mode = \"resolvers\"")]
    Hijacked {
        /// Address of the server.
        server: SocketAddr,
    },
    /// A resolver responded with NOTIMP to queries of this record type.
    #[error(
        "{server} does not answer {record_type} queries (Tailscale's MagicDNS is such a resolver): set [dns] resolvers to one that \
         does, such as 1.1.1.1"
    )]
    Unsupported {
        /// Address of the resolver.
        server: SocketAddr,
        /// Record type of the query, such as `CAA`.
        record_type: String,
    },
    /// CNAME records form a loop or a chain that is too long, or there are more than eight nested delegations.
    #[error("the CNAMEs form a loop: {chain}")]
    Loop {
        /// The names of the CNAME chain, in lookup order, separated by arrows, or the zone at which delegations were
        /// given up.
        chain: String,
    },
}

/// Sends one query with EDNS (payload size 1232) to a server and returns its response, whatever its code. `recursion`
/// sets the RD bit. `within` is the time limit per transport.
///
/// # Errors
/// Returns [`DnsError::Name`] for a name that cannot be encoded, or the error of the exchange.
pub(crate) async fn ask(
    server: SocketAddr,
    name: &str,
    kind: RecordType,
    recursion: bool,
    within: Duration,
) -> Result<Message, DnsError> {
    let mut dotted = Name::from_ascii(name)
        .map_err(|why| DnsError::Name { name: name.to_owned(), why: why.to_string() })?;
    dotted.set_fqdn(true);
    let mut message = Message::query();
    message.metadata.recursion_desired = recursion;
    message.add_query(Query::query(dotted, kind));
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    message.set_edns(edns);
    let bytes =
        message.to_vec().map_err(|why| DnsError::Name { name: name.to_owned(), why: why.to_string() })?;
    let (answer, _) = exchange(server, &bytes, message.id, false, within).await?;
    Ok(answer)
}

/// Sends a message and returns the response, parsed and as bytes. If `reliably`, over TCP only; otherwise over UDP,
/// twice with half of the time limit each, and then over TCP if the response was truncated or none arrived. Responses
/// over UDP must have this `id`; others are ignored. `within` is the time limit per transport.
///
/// # Errors
/// Returns [`DnsError::Unreachable`] without a response within the time limit.
pub(crate) async fn exchange(
    server: SocketAddr,
    bytes: &[u8],
    id: u16,
    reliably: bool,
    within: Duration,
) -> Result<(Message, Vec<u8>), DnsError> {
    let unreachable = |why: String| DnsError::Unreachable { server, why };
    if !reliably {
        let mut last = format!("no answer within {} s", within.as_secs());
        // Datagrams can be lost.
        for _ in 0..2 {
            match tokio::time::timeout(within / 2, by_udp(server, bytes, id)).await {
                Ok(Ok((answer, _))) if answer.truncation => break,
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(why)) => last = why.to_string(),
                Err(_) => {}
            }
        }
        // TCP may be allowed where UDP is blocked, and has room for a response that was truncated.
        return match tokio::time::timeout(within, by_tcp(server, bytes)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(unreachable(last)),
        };
    }
    match tokio::time::timeout(within, by_tcp(server, bytes)).await {
        Ok(found) => found.map_err(|why| unreachable(why.to_string())),
        Err(_) => Err(unreachable(format!("no answer within {} s", within.as_secs()))),
    }
}

/// Sends a datagram and waits, without a time limit, for a DNS message with this `id`. Other datagrams are ignored.
///
/// # Errors
/// Returns an error if the socket cannot be opened, or the datagram cannot be sent or is rejected.
async fn by_udp(server: SocketAddr, bytes: &[u8], id: u16) -> std::io::Result<(Message, Vec<u8>)> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; 65_535];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let found = buffer.get(..length).unwrap_or_default();
        // Datagrams that are not a response to this query are ignored.
        if let Ok(message) = Message::from_vec(found)
            && message.id == id
        {
            return Ok((message, found.to_vec()));
        }
    }
}

/// Sends a message over a new TCP connection, with its length in two octets (RFC 1035 §4.2.2), and returns the
/// response, whose id is not compared.
///
/// # Errors
/// Returns an error if the connection fails, or the response is not a DNS message.
async fn by_tcp(server: SocketAddr, bytes: &[u8]) -> std::io::Result<(Message, Vec<u8>)> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(std::io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(bytes);
    stream.write_all(&framed).await?;
    let mut buffer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut buffer).await?;
    let message = Message::from_vec(&buffer).map_err(std::io::Error::other)?;
    Ok((message, buffer))
}

/// Returns `true` if the kernel has a route to the address. No packet is sent.
pub(super) fn routed(address: SocketAddr) -> bool {
    let local: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    std::net::UdpSocket::bind(local).and_then(|socket| socket.connect(address)).is_ok()
}
