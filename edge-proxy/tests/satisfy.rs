//! `satisfy`: the union and the intersection of addresses and authentication, over every transport, with a password and with
//! forward authentication, on a site and on a route, also in early data.

mod common;

use common::Edge;
use common::wire2::{Field, Http2};
use common::wire3::{self, frame, section};
use edge_policy::auth::basic::users;
use edge_proxy::config::{Access, Auth, BasicAuth, ForwardAuth, Satisfy, Target, Upstream};
use quinn::crypto::rustls::QuicClientConfig;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use testkit::{Origin, tls_client};

/// `ann` with the password `correct horse`, by `htpasswd -nbB`, cost 4.
const BCRYPT: &str = "ann:$2y$04$hF18jhPtrl9WLt0T.QOzTO0p4dHFWlKr.qeDUoZKio8Tc5wL.vsFG";

/// The credentials that let in by either authentication.
const GIVEN: [(&str, &str); 2] =
    [("authorization", "Basic YW5uOmNvcnJlY3QgaG9yc2U="), ("cookie", "session=ann")];

/// A service that lets in who has a session.
fn portal() -> Origin {
    Origin::scripted(|bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let known = String::from_utf8_lossy(&bytes[..end]).to_lowercase().contains("cookie: session=ann\r\n");
        let status = if known { "200 OK" } else { "401 Unauthorized" };
        Some((format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes(), end))
    })
}

/// The rules of one round.
#[derive(Clone, Copy, Debug)]
struct Rules {
    satisfy: Satisfy,
    inside: bool,
    by_portal: bool,
    on_route: bool,
}

impl Rules {
    fn all() -> impl Iterator<Item = Self> {
        let both = [false, true];
        [Satisfy::All, Satisfy::Any].into_iter().flat_map(move |satisfy| {
            both.into_iter().flat_map(move |inside| {
                both.into_iter().flat_map(move |by_portal| {
                    both.map(|on_route| Self { satisfy, inside, by_portal, on_route })
                })
            })
        })
    }

    fn set(self, edge: &mut Edge) {
        let allow = if self.inside { "127.0.0.0/8" } else { "10.0.0.0/8" };
        let access = Access { allow: vec![allow.parse().unwrap()], deny: Vec::new() };
        let auth = if self.by_portal {
            Auth::Forward(ForwardAuth { upstream: "portal".into(), path: "/auth".into(), copy: Vec::new() })
        } else {
            Auth::Basic(BasicAuth { realm: "lab".into(), users: users(BCRYPT).unwrap(), user_field: None })
        };
        let site = &mut edge.config.sites[0];
        (site.access, site.satisfy, site.auth) = (Access::default(), Satisfy::All, None);
        let route = &mut site.routes[0];
        (route.access, route.satisfy, route.auth) = (Access::default(), Satisfy::All, None);
        if self.on_route {
            (route.access, route.satisfy, route.auth) = (access, self.satisfy, Some(auth));
        } else {
            (site.access, site.satisfy, site.auth) = (access, self.satisfy, Some(auth));
        }
        edge.proxy.reload(edge.config.clone()).unwrap();
    }

    /// The status of a request with or without credentials. `None` for silence.
    const fn expected(self, known: bool) -> Option<u16> {
        match (self.satisfy, self.inside) {
            (Satisfy::Any, true) => Some(200),
            (Satisfy::All, false) => None,
            (Satisfy::Any, false) | (Satisfy::All, true) => Some(if known { 200 } else { 401 }),
        }
    }
}

fn edge(origin: &Origin, portal: &Origin) -> Edge {
    let mut edge = Edge::before(origin.address(), 1);
    edge.config.sites[0].early_data = true;
    // Only what is asked for.
    edge.config.sites[0].routes.truncate(1);
    let target = Target::Tcp { host: "127.0.0.1".into(), port: portal.address().port() };
    edge.config.upstreams.push(Upstream::new("portal", target));
    edge.proxy.reload(edge.config.clone()).unwrap();
    edge
}

fn given(known: bool) -> &'static [(&'static str, &'static str)] {
    if known { &GIVEN } else { &[] }
}

/// A client of HTTP/1.1 that resumes its sessions, with requests in early data.
struct Http1(Arc<rustls::ClientConfig>);

impl Http1 {
    fn new(root: &str) -> Self {
        let mut config = tls_client(root, &[b"http/1.1"]);
        config.enable_early_data = true;
        Self(Arc::new(config))
    }

    /// Sends a request, in early data if a session allows it and `early` is true. Returns the status, and whether it was accepted
    /// as early data.
    fn ask(&self, address: SocketAddr, path: &str, known: bool, early: bool) -> (Option<u16>, bool) {
        let mut session =
            rustls::ClientConnection::new(self.0.clone(), "a.test".try_into().unwrap()).unwrap();
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n");
        given(known).iter().for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
        request += "\r\n";
        let sent = early
            && match session.early_data() {
                Some(mut early) => early.write_all(request.as_bytes()).is_ok(),
                None => false,
            };
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut tls = rustls::StreamOwned::new(session, stream);
        while tls.conn.is_handshaking() {
            if tls.conn.complete_io(&mut tls.sock).is_err() {
                return (None, false);
            }
        }
        let accepted = sent && tls.conn.is_early_data_accepted();
        if !accepted {
            let _ = tls.write_all(request.as_bytes());
        }
        let mut all = Vec::new();
        let _ = tls.read_to_end(&mut all);
        let text = String::from_utf8_lossy(&all).into_owned();
        (text.get(9..12).and_then(|status| status.parse().ok()), accepted)
    }
}

/// A client of HTTP/3 that resumes its sessions.
struct Http3(quinn::Endpoint);

impl Http3 {
    fn new(root: &str) -> Self {
        let mut config = tls_client(root, &[b"h3"]);
        config.enable_early_data = true;
        let mut endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let tls = QuicClientConfig::try_from(config).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
        Self(endpoint)
    }

    /// Sends a request on a connection of its own, in early data if `early`. Returns the status, and whether it was early data.
    async fn ask(&self, address: SocketAddr, path: &str, known: bool, early: bool) -> (Option<u16>, bool) {
        let connecting = self.0.connect(address, "a.test").unwrap();
        let (quic, accepted) = if early {
            let (quic, accepted) = connecting.into_0rtt().unwrap_or_else(|_| panic!("no session"));
            (quic, Some(accepted))
        } else {
            (connecting.await.unwrap(), None)
        };
        let mut control = quic.open_uni().await.unwrap();
        control.write_all(&[0, 4, 0]).await.unwrap();
        let mut fields: Vec<Field<'_>> = vec![
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":authority", b"a.test"),
            (b":path", path.as_bytes()),
        ];
        fields.extend(given(known).iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let (mut send, mut receive) = quic.open_bi().await.unwrap();
        send.write_all(&frame(1, &section(&fields))).await.unwrap();
        let _ = send.finish();
        let response = receive.read_to_end(1 << 16).await.unwrap_or_default();
        let accepted = match accepted {
            Some(accepted) => accepted.await,
            None => false,
        };
        // Tickets come after the handshake.
        tokio::time::sleep(Duration::from_millis(20)).await;
        quic.close(quinn::VarInt::from_u32(0x100), b"");
        (status(&response), accepted)
    }
}

/// Returns the status in the first HEADERS frame of a response. `None` for a stream that was reset.
fn status(mut bytes: &[u8]) -> Option<u16> {
    use edge_http::h3::varint;
    while !bytes.is_empty() {
        let (kind, a) = varint::read(bytes)?;
        let (length, b) = varint::read(&bytes[a..])?;
        let payload = bytes.get(a + b..a + b + length as usize)?;
        if kind == 1 {
            let fields = wire3::fields(payload);
            return fields
                .iter()
                .find(|(name, _)| name == ":status")
                .and_then(|(_, value)| value.parse().ok());
        }
        bytes = &bytes[a + b + length as usize..];
    }
    None
}

#[test]
fn s34_addresses_and_authentication_over_every_transport_and_in_early_data() {
    let (origin, portal) = (Origin::simple(), portal());
    let mut edge = edge(&origin, &portal);
    let tls = edge.tls();
    wire3::run(async {
        let (first, third) = (Http1::new(edge.root()), Http3::new(edge.root()));
        // Sessions for early data, and proof that it is accepted where nothing decides by address.
        for _ in 0..3 {
            assert_eq!(first.ask(tls, "/before", false, false).0, Some(200));
            assert_eq!(third.ask(tls, "/before", false, false).await.0, Some(200));
        }
        assert_eq!(first.ask(tls, "/early", false, true), (Some(200), true));
        assert_eq!(third.ask(tls, "/early", false, true).await, (Some(200), true));
        assert_eq!(origin.text().matches("Early-Data: 1").count(), 2, "{}", origin.text());
        for (number, rules) in Rules::all().enumerate() {
            for known in [false, true] {
                let expected = rules.expected(known);
                let path = format!("/round{number}-{known}");
                rules.set(&mut edge);
                let what = format!("{rules:?}, credentials {known}");
                assert_eq!(first.ask(tls, &path, known, false).0, expected, "HTTP/1.1, {what}");
                // The list of a site ends a handshake over TCP.
                if let Ok(mut http2) =
                    Http2::try_connect(tls, Arc::new(tls_client(edge.root(), &[b"h2"])), "a.test")
                {
                    let fields: Vec<Field<'_>> = given(known)
                        .iter()
                        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
                        .collect();
                    let stream = http2.request("GET", "a.test", &path, &fields, true);
                    let answer = http2.answer(stream);
                    assert_eq!(
                        answer.status().map(|status| status.parse().unwrap()),
                        expected,
                        "HTTP/2, {what}"
                    );
                } else {
                    assert_eq!(expected, None, "HTTP/2, {what}");
                }
                assert_eq!(third.ask(tls, &path, known, false).await.0, expected, "HTTP/3, {what}");
                // The same in early data.
                let (got, _) = first.ask(tls, &path, known, true);
                assert_eq!(got, expected, "HTTP/1.1 in early data, {what}");
                let (got, accepted) = third.ask(tls, &path, known, true).await;
                assert_eq!((got, accepted), (expected, true), "HTTP/3 in early data, {what}");
                let served = origin.text().matches(&format!("GET {path} ")).count();
                assert_eq!(served, if expected == Some(200) { 5 } else { 0 }, "{what}");
            }
        }
        // Where an address decides, nothing was passed on before the handshake.
        assert_eq!(origin.text().matches("Early-Data: 1").count(), 2, "{}", origin.text());
    });
}
