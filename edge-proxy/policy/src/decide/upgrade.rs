//! The decision about protocol upgrades (RFC 9110 §7.8).

use edge_http::websocket::is_websocket;
use edge_http::{BodyLength, Method, Name, RequestHead, Version};

/// The decision about the protocol upgrade that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upgrade<'s> {
    /// The request asks for no upgrade, or none that is allowed. It continues without one, which a server may always
    /// decide.
    None,
    /// The request may switch to this protocol, spelled as in the configuration.
    Pass(&'s str),
    /// The request has content, so both sides could disagree about where the new protocol begins, and the request must
    /// be refused.
    Content,
}

/// Decides about a protocol switch by the protocols that the site or the route allows. Names are compared without
/// regard to letter case.
///
/// HTTP/2 and HTTP/3 support WebSocket by extended CONNECT only (RFC 8441, RFC 9220); HTTP/1.1 supports every allowed
/// protocol with any method but CONNECT, except that a WebSocket handshake must be a GET (RFC 6455 §4.1) with at most
/// one Sec-WebSocket-Key. Of several protocols the first allowed one is used. HTTP and TLS are never allowed: a
/// request inside such a tunnel would bypass every rule. [`Upgrade::Content`] is returned if an HTTP/1.1 request with
/// an allowed protocol has content.
pub(super) fn of<'s>(head: &RequestHead, allowed: &'s [String]) -> Upgrade<'s> {
    let Some(wish) = head.upgrade.as_deref() else { return Upgrade::None };
    let find = |wanted: &str| {
        let found = allowed.iter().find(|name| name.eq_ignore_ascii_case(wanted));
        found.map(String::as_str).filter(|name| !is_http(name))
    };
    match head.version {
        Version::Http2 | Version::Http3 if head.method == Method::Connect && is_websocket(wish) => {
            find(wish).map_or(Upgrade::None, Upgrade::Pass)
        }
        Version::Http11 if head.method != Method::Connect => {
            // A WebSocket handshake has one key: of two, each side could take another.
            let one_key = || head.fields.all(Name::SecWebSocketKey).count() <= 1;
            let passes = |name: &&str| !is_websocket(name) || head.method == Method::Get && one_key();
            match wish.split(',').filter_map(|wanted| find(wanted.trim())).find(passes) {
                None => Upgrade::None,
                Some(_) if head.body != BodyLength::None => Upgrade::Content,
                Some(name) => Upgrade::Pass(name),
            }
        }
        _ => Upgrade::None,
    }
}

/// Returns whether the request is an extended CONNECT over HTTP/2 or HTTP/3 for a protocol other than WebSocket (RFC
/// 8441, RFC 9220).
pub(super) fn is_unknown(head: &RequestHead) -> bool {
    let extended = head.version >= Version::Http2 && head.method == Method::Connect;
    extended && head.upgrade.as_deref().is_some_and(|wish| !is_websocket(wish))
}

/// Returns whether the protocol is HTTP or TLS, in any version: `h2`, `h2c`, `h3`, `http`, `https` or `tls`, alone or
/// before a `/`, without regard to case.
pub(crate) fn is_http(protocol: &str) -> bool {
    let name = protocol.split('/').next().unwrap_or_default();
    ["h2", "h2c", "h3", "http", "https", "tls"].iter().any(|http| name.eq_ignore_ascii_case(http))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: Method, wish: &str, body: BodyLength) -> RequestHead {
        let mut head = RequestHead::new(Version::Http11);
        (head.method, head.upgrade, head.body) = (method, Some(wish.into()), body);
        head
    }

    fn allowed(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_is_allowed_passes_by_any_method() {
        let names = allowed(&["websocket", "tailscale-control-protocol", "DERP", "tcp"]);
        for (method, wish, expected) in [
            (Method::Post, "tailscale-control-protocol", Upgrade::Pass("tailscale-control-protocol")),
            (Method::Get, "derp", Upgrade::Pass("DERP")),
            (Method::Post, "TCP", Upgrade::Pass("tcp")),
            (Method::Get, "h2c, websocket", Upgrade::Pass("websocket")),
            (Method::Post, "websocket", Upgrade::None),
            (Method::Post, "websocket, tcp", Upgrade::Pass("tcp")),
            (Method::Get, "h2c", Upgrade::None),
            (Method::Connect, "tcp", Upgrade::None),
            (Method::Get, "", Upgrade::None),
            (Method::Get, ",,", Upgrade::None),
        ] {
            assert_eq!(
                of(&asked(method.clone(), wish, BodyLength::None), &names),
                expected,
                "{method} {wish}"
            );
        }
        let with = of(&asked(Method::Post, "tcp", BodyLength::Exact(1)), &names);
        assert_eq!(with, Upgrade::Content);
        assert_eq!(of(&asked(Method::Post, "tcp", BodyLength::Unknown), &names), Upgrade::Content);
        assert_eq!(of(&asked(Method::Post, "other", BodyLength::Unknown), &names), Upgrade::None);
    }

    #[test]
    fn http_never_passes() {
        for name in ["h2c", "HTTP/2.0", "TLS/1.2", "http", "H2C"] {
            let names = allowed(&[name]);
            assert_eq!(of(&asked(Method::Get, name, BodyLength::None), &names), Upgrade::None, "{name}");
        }
    }

    #[test]
    fn extended_connect_is_for_websocket_alone() {
        let names = allowed(&["websocket", "tcp"]);
        let mut head = asked(Method::Connect, "WebSocket", BodyLength::Unknown);
        head.version = Version::Http2;
        assert_eq!(of(&head, &names), Upgrade::Pass("websocket"));
        assert!(!is_unknown(&head));
        assert_eq!(of(&head, &names[1..]), Upgrade::None);
        head.upgrade = Some("tcp".into());
        assert_eq!(of(&head, &names), Upgrade::None);
        assert!(is_unknown(&head));
    }
}
