//! WebSocket handshakes that say more than one thing.

use crate::edge::{Edge, site};
use crate::wire2::{Field, Http2};
use crate::wire3::{Http3, headers, run};
use edge_proxy::config::{Auth, ForwardAuth};
use testkit::Origin;

const EXTENDED: [Field<'static>; 7] = [
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    (b":scheme", b"https"),
    (b":authority", b"a.test"),
    (b":path", b"/ws"),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-key", b"c3RyYW5nZXItc3RyYW5nZQ=="),
];

/// Sends an extended CONNECT by HTTP/2 or 3 and returns what reached the service.
fn extended(edge: &Edge, version: u8) -> String {
    if version == 2 {
        let mut client = Http2::connect(edge.tls, &edge.root, "a.test");
        let stream = client.open(&EXTENDED, false);
        assert!(edge.origin.wait(|text| text.contains("GET /ws")), "{}", edge.origin.text());
        let _ = client.answer(stream);
    } else {
        run(async {
            let client = Http3::connect(edge.tls, &edge.root, "a.test").await;
            let _open = client.open(&headers(&EXTENDED)).await;
            for _ in 0..100 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                if edge.origin.text().contains("GET /ws") {
                    break;
                }
            }
        });
    }
    edge.origin.text()
}

#[test]
fn s21_one_key_reaches_the_service() {
    for version in [2, 3] {
        let edge = Edge::before(Origin::simple());
        let text = extended(&edge, version).to_lowercase();
        assert_eq!(text.matches("sec-websocket-key").count(), 1, "version {version}: {text}");
        assert!(!text.contains("c3ryyw5nzxitc3ryyw5nzq=="), "version {version}: {text}");
    }
    // Two of them in HTTP/1.1 are no handshake.
    let edge = Edge::before(Origin::simple());
    edge.send(
        b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c3RyYW5nZXItc3RyYW5nZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let text = edge.origin.text().to_lowercase();
    assert!(text.contains("get /ws"), "{text}");
    assert!(!text.contains("sec-websocket-key") && !text.contains("upgrade"), "{text}");
}

#[test]
fn s22_forward_authentication_sees_the_services_method() {
    for version in [2, 3] {
        let mut asked = site("a.test");
        asked.auth = Some(Auth::Forward(ForwardAuth {
            upstream: "origin".into(),
            path: "/auth".into(),
            copy: Vec::new(),
        }));
        let edge = Edge::with(Origin::simple(), vec![asked]);
        let text = extended(&edge, version);
        assert!(text.contains("GET /auth") && text.contains("X-Forwarded-Method: GET"), "{text}");
        assert!(!text.contains("CONNECT"), "version {version}: {text}");
    }
}
