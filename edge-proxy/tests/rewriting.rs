//! What a site or a route changes on the way: paths, fields, cookies, errors, the target, and the identifier of a request.

mod common;

use common::{Edge, http1, tls};
use edge_proxy::config::{
    Action, Auth, BasicAuth, Coding, Compression, ErrorPage, PathMatch, PrefixRule, Route, RouteCompression,
    StickyCookie, Target, Timeouts, Upstream,
};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use testkit::Origin;

/// Sends a request over plain HTTP/1.1 and returns the whole response.
fn ask(edge: &Edge, target: &str, fields: &str) -> String {
    let mut stream = TcpStream::connect(edge.plain()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{fields}\r\n").unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    String::from_utf8_lossy(&all).into_owned()
}

/// An origin whose answer depends on the path.
fn origin() -> Origin {
    Origin::scripted(|bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let text = "text ".repeat(500);
        let answer = if head.contains("/slow") {
            std::thread::sleep(Duration::from_millis(1500));
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow".to_owned()
        } else if head.contains("/text") {
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            )
        } else if head.contains("/missing") {
            "HTTP/1.1 404 No\r\nContent-Length: 9\r\nSet-Cookie: s=1\r\nX-Secret: 1\r\n\r\nstack at 0"
                .to_owned()
        } else if head.contains("/login") {
            "HTTP/1.1 302 Found\r\nLocation: http://app.local/in?x=1\r\nSet-Cookie: a=1; Path=/; Domain=app.local\r\nSet-Cookie: b=2; path=/x; Secure\r\nContent-Length: 0\r\n\r\n".to_owned()
        } else {
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Request-ID: theirs\r\n\r\nok".to_owned()
        };
        Some((answer.into_bytes(), end))
    })
}

fn edge(origin: &Origin, change: impl FnOnce(&mut Edge)) -> Edge {
    let mut edge = Edge::before(origin.address(), 1);
    change(&mut edge);
    edge.proxy.reload(edge.config.clone()).unwrap();
    edge
}

fn forward(prefix: &str) -> Route {
    Route::new(PathMatch::Prefix(prefix.into()), Action::Forward { upstream: "origin".into() })
}

#[test]
fn a_service_below_another_prefix() {
    let origin = origin();
    let edge = edge(&origin, |edge| {
        let mut route = forward("/app");
        (route.strip_prefix, route.add_prefix) = (Some("/app".into()), Some("/v2/".into()));
        route.response_fields.replace =
            vec![("Location".into(), vec![PrefixRule::new("http://app.local/", "/app/")])];
        route.request_fields.replace =
            vec![("Destination".into(), vec![PrefixRule::new("https://a.test/app/", "http://app.local/")])];
        route.cookies.path = vec![PrefixRule::new("/", "/app/")];
        route.cookies.domain = vec![PrefixRule::new("app.local", "a.test")];
        edge.config.sites[0].routes.push(route);
    });
    let said = ask(&edge, "/app/login?next=%2F", "Destination: https://a.test/app/b%20c\r\n");
    assert!(said.contains("\r\nLocation: /app/in?x=1\r\n"), "{said}");
    assert!(said.contains("\r\nSet-Cookie: a=1; Path=/app/; Domain=a.test\r\n"), "{said}");
    assert!(said.contains("\r\nSet-Cookie: b=2; path=/app/x; Secure\r\n"), "{said}");
    let seen = origin.text();
    assert!(seen.starts_with("GET /v2/login?next=%2F HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("\r\nDestination: http://app.local/b%20c\r\n"), "{seen}");
    ask(&edge, "/app", "");
    assert!(origin.text().contains("GET /v2/ HTTP/1.1\r\n"), "{}", origin.text());
}

#[test]
fn error_pages_of_the_proxy_and_of_services() {
    let origin = origin();
    let page = |statuses: &[u16], body: &str, intercept| ErrorPage {
        statuses: statuses.to_vec(),
        content_type: "text/html; charset=utf-8".into(),
        body: body.as_bytes().to_vec(),
        intercept,
    };
    let edge = edge(&origin, |edge| {
        let site = &mut edge.config.sites[0];
        site.error_pages = vec![
            page(&[404], "<p>not here", true),
            page(&[401, 403], "<p>who", false),
            page(&[502], "<p>down", false),
        ];
        let mut secret = forward("/secret");
        let users = edge_policy::auth::basic::users(
            "ann:$2y$05$abcdefghijklmnopqrstuuJ6p8XYeKQnRrRrPR8XO0Xg1bQ2w1gXq",
        );
        secret.auth =
            Some(Auth::Basic(BasicAuth { realm: "r".into(), users: users.unwrap(), user_field: None }));
        site.routes.push(secret);
        site.routes
            .push(Route::new(PathMatch::Prefix("/gone".into()), Action::Forward { upstream: "gone".into() }));
        let nobody = testkit::nobody();
        let target = Target::Tcp { host: nobody.ip().to_string(), port: nobody.port() };
        edge.config.upstreams.push(Upstream::new("gone", target));
    });
    let said = ask(&edge, "/missing", "");
    assert!(said.starts_with("HTTP/1.1 404 ") && said.ends_with("\r\n\r\n<p>not here"), "{said}");
    // What the client needs stays, the rest of the service's answer does not.
    assert!(
        said.contains("Set-Cookie: s=1") && !said.contains("X-Secret") && !said.contains("stack"),
        "{said}"
    );
    let said = ask(&edge, "/secret", "");
    assert!(said.starts_with("HTTP/1.1 401 ") && said.ends_with("<p>who"), "{said}");
    assert!(said.contains("WWW-Authenticate: Basic"), "{said}");
    let said = ask(&edge, "/gone", "");
    assert!(said.starts_with("HTTP/1.1 502 ") && said.ends_with("<p>down"), "{said}");
    // The upstream is not blamed for a status that a page replaces, and its next answer is its own.
    assert!(ask(&edge, "/", "").ends_with("ok"));
    assert!(edge.proxy.targets().iter().all(|target| target.upstream != "origin" || target.failures == 0));
}

#[test]
fn settings_of_a_route_take_the_place_of_the_sites() {
    let origin = origin();
    let edge = edge(&origin, |edge| {
        let site = &mut edge.config.sites[0];
        site.compression = Some(Compression::default());
        let mut plain = forward("/text/plain");
        plain.compression = RouteCompression::Off;
        let mut gzip = forward("/text/gzip");
        gzip.compression =
            RouteCompression::On(Compression { codings: vec![Coding::Gzip], ..Compression::default() });
        let mut quick = forward("/slow/quick");
        quick.timeouts = Some(Timeouts { response: Duration::from_millis(200), ..Timeouts::default() });
        site.routes.extend([plain, gzip, quick]);
    });
    let accept = "Accept-Encoding: zstd, gzip\r\n";
    assert!(ask(&edge, "/text", accept).contains("Content-Encoding: zstd"));
    assert!(ask(&edge, "/text/gzip", accept).contains("Content-Encoding: gzip"));
    assert!(!ask(&edge, "/text/plain", accept).contains("Content-Encoding"));
    assert!(ask(&edge, "/slow/quick", "").starts_with("HTTP/1.1 504 "));
    assert!(ask(&edge, "/slow", "").ends_with("slow"));
}

#[test]
fn every_request_has_one_identifier() {
    let origin = origin();
    let mut edge = edge(&origin, |edge| edge.config.request_id = Some("X-Request-ID".into()));
    let id = |said: &str| {
        let ids: Vec<_> = said
            .lines()
            .filter_map(|line| line.to_ascii_lowercase().strip_prefix("x-request-id: ").map(str::to_owned))
            .collect();
        assert_eq!(ids.len(), 1, "{said}");
        ids[0].clone()
    };
    let forged = "X-Request-ID: forged\r\nx_request_id: forged\r\n";
    let said = ask(&edge, "/", forged);
    let first = id(&said);
    assert!(first.len() == 32 && first.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first}");
    assert_eq!(id(&origin.text()), first);
    assert!(!origin.text().contains("forged"));
    // Also in answers of the proxy itself, and over TLS.
    assert_ne!(id(&ask(&edge, "/here", "")), first);
    let mut stream = tls(edge.tls(), &http1(edge.root())).unwrap();
    write!(stream, "TRACE / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut said = String::new();
    let _ = stream.read_to_string(&mut said);
    assert!(said.starts_with("HTTP/1.1 405"), "{said}");
    id(&said);
    // A trusted proxy's is kept, if it is one.
    edge.config.trust.ranges = vec!["127.0.0.0/8".parse().unwrap()];
    edge.proxy.reload(edge.config.clone()).unwrap();
    let hop = "X-Forwarded-For: 203.0.113.7\r\n";
    assert_eq!(id(&ask(&edge, "/", &format!("{hop}X-Request-ID: abc-1\r\n"))), "abc-1");
    assert_eq!(id(&ask(&edge, "/", &format!("{hop}X-Request-ID: a b\r\n"))).len(), 32);
}

#[test]
fn a_cookie_keeps_a_client_at_its_target() {
    let origins = [origin(), origin(), origin()];
    let edge = edge(&origins[0], |edge| {
        let target = |origin: &Origin| Target::Tcp {
            host: origin.address().ip().to_string(),
            port: origin.address().port(),
        };
        edge.config.upstreams[0].targets = origins.iter().map(target).collect();
        edge.config.upstreams[0].sticky = Some(StickyCookie::new("at"));
    });
    let cookie = |said: &str| {
        let at = said.find("Set-Cookie: at=").map(|at| &said[at + 12..]);
        at.map(|rest| rest.split(';').next().unwrap().to_owned())
    };
    let cookies: BTreeSet<_> = (0..3).map(|_| cookie(&ask(&edge, "/", "")).expect("a cookie")).collect();
    assert_eq!(cookies.len(), 3, "{cookies:?}");
    for kept in &cookies {
        for _ in 0..4 {
            let said = ask(&edge, "/kept", &format!("Cookie: x=1; {kept}\r\n"));
            assert_eq!(cookie(&said), None, "{said}");
        }
    }
    let asked: Vec<_> = origins.iter().map(|origin| origin.text().matches("GET /kept").count()).collect();
    assert_eq!(asked, [4, 4, 4]);
    assert!(
        origins
            .iter()
            .all(|origin| !origin.text().contains("at=") && origin.text().contains("Cookie: x=1\r\n"))
    );
    // One that names no target is replaced.
    assert!(cookie(&ask(&edge, "/", "Cookie: at=0000000000000000\r\n")).is_some());
}

#[test]
fn a_cookie_keeps_a_client_at_a_target_of_each_upstream() {
    let origins = [origin(), origin(), origin(), origin()];
    let target = |origin: &Origin| Target::Tcp {
        host: origin.address().ip().to_string(),
        port: origin.address().port(),
    };
    let edge = edge(&origins[0], |edge| {
        let first = &mut edge.config.upstreams[0];
        (first.targets, first.sticky) =
            (origins[..2].iter().map(target).collect(), Some(StickyCookie::new("at")));
        let mut second = Upstream { name: "second".into(), ..first.clone() };
        second.targets = origins[2..].iter().map(target).collect();
        edge.config.upstreams.push(second);
        edge.config.sites[0].routes.push(Route::new(
            PathMatch::Prefix("/second".into()),
            Action::Forward { upstream: "second".into() },
        ));
    });
    let cookie = |said: &str| {
        let at = said.find("Set-Cookie: at=").map(|at| &said[at + 12..]);
        at.map(|rest| rest.split(';').next().unwrap().to_owned())
    };
    let mut kept = cookie(&ask(&edge, "/first", "")).expect("a cookie");
    kept = cookie(&ask(&edge, "/second", &format!("Cookie: {kept}\r\n"))).expect("a cookie");
    // From now on neither moves the client at the other.
    for _ in 0..4 {
        for path in ["/first/x", "/second/x"] {
            let said = ask(&edge, path, &format!("Cookie: {kept}\r\n"));
            assert_eq!(cookie(&said), None, "{said}");
        }
    }
    let asked = |path: &str| {
        let of = |origin: &Origin| origin.text().matches(&format!("GET {path}/x")).count();
        let mut asked: Vec<usize> = origins.iter().map(of).collect();
        asked.sort_unstable();
        asked
    };
    assert_eq!((asked("/first"), asked("/second")), (vec![0, 0, 0, 4], vec![0, 0, 0, 4]));
}

#[test]
fn weights_and_backups() {
    let origins = [origin(), origin(), origin()];
    let mut edge = edge(&origins[0], |edge| {
        let target = |origin: &Origin| Target::Tcp {
            host: origin.address().ip().to_string(),
            port: origin.address().port(),
        };
        let upstream = &mut edge.config.upstreams[0];
        upstream.targets = origins.iter().map(target).collect();
        (upstream.weights, upstream.backups) = (vec![3, 1], 1);
    });
    for _ in 0..8 {
        assert!(ask(&edge, "/", "").ends_with("ok"));
    }
    let asked: Vec<_> = origins.iter().map(|origin| origin.text().matches("GET /").count()).collect();
    assert_eq!(asked, [6, 2, 0]);
    let nobody = testkit::nobody();
    for target in &mut edge.config.upstreams[0].targets[..2] {
        *target = Target::Tcp { host: "127.0.0.1".into(), port: nobody.port() };
    }
    edge.config.upstreams[0].targets.remove(0);
    edge.proxy.reload(edge.config.clone()).unwrap();
    assert!(ask(&edge, "/", "").ends_with("ok"));
    assert_eq!(origins[2].text().matches("GET /").count(), 1);
}
