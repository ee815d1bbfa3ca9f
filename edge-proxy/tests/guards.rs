//! The guards of a site as clients see them: authentication, rate limits, HSTS, compression.

mod common;

use common::wire2::{self, Http2};
use common::wire3::{self, Http3};
use common::{http1, tls};
use edge_policy::auth::basic::users;
use edge_policy::rate::Rate;
use edge_proxy::config::{
    Action, AllowedOrigin, Auth, BasicAuth, Compression, Config, ForwardAuth, Hsts, PathMatch,
    PermissionsPolicy, Response, Route, Target, Upstream,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use testkit::{Origin, answer};

/// `ann` with the password `correct horse`, by `htpasswd -nbB`, cost 4.
const BCRYPT: &str = "ann:$2y$04$hF18jhPtrl9WLt0T.QOzTO0p4dHFWlKr.qeDUoZKio8Tc5wL.vsFG";

/// Waits until no other test of this process has passwords verified: all edges of a process share the queue, in which a
/// client has few places, and all clients here have one address.
fn password_queue() -> MutexGuard<'static, ()> {
    static QUEUE: Mutex<()> = Mutex::new(());
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn edge(origin: SocketAddr, edit: impl FnOnce(&mut Config)) -> common::Edge {
    let edge = common::Edge::before(origin, 1);
    let mut config = edge.config.clone();
    edit(&mut config);
    edge.proxy.reload(config).unwrap();
    edge
}

fn send(edge: &common::Edge, request: &str) -> String {
    let mut stream = TcpStream::connect(edge.plain()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut got = Vec::new();
    // A connection that is closed without being read is reset.
    match stream.read_to_end(&mut got) {
        Err(why) if why.kind() != std::io::ErrorKind::ConnectionReset => panic!("{why}"),
        _ => {}
    }
    String::from_utf8_lossy(&got).into_owned()
}

fn get(edge: &common::Edge, path: &str, fields: &str) -> String {
    send(edge, &format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{fields}\r\n"))
}

fn basic(user: &str, password: &str) -> String {
    let output = run("base64", &["-w0"], format!("{user}:{password}").as_bytes());
    format!("Authorization: Basic {}\r\n", String::from_utf8(output).unwrap())
}

fn run(program: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap_or_else(|why| panic!("{program}: {why}; `cargo xtask tools` installs it"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(output.status.success(), "{program} {args:?}");
    output.stdout
}

#[test]
fn a_password_is_asked_for_and_kept_from_the_service() {
    let _queue = password_queue();
    let origin = Origin::simple();
    // As written by the distribution's `htpasswd` and `argon2`.
    let argon2 = run("argon2", &["some-salt", "-id", "-t", "1", "-k", "64", "-p", "1", "-e"], b"gr\xc3\xbcn");
    let argon2 = format!("bob:{}", String::from_utf8(argon2).unwrap().trim());
    let htpasswd = String::from_utf8(run("htpasswd", &["-nbB", "-C", "4", "cy", "x:y"], b"")).unwrap();
    let text = format!("{BCRYPT}\n{argon2}\n{htpasswd}");
    let edge = edge(origin.address(), |config| {
        config.sites[0].auth = Some(Auth::Basic(BasicAuth {
            realm: "the lab".into(),
            users: users(&text).unwrap(),
            user_field: Some("Remote-User".into()),
        }));
        config.sites[0].routes[1].auth = Some(Auth::Open);
    });
    let asked = get(&edge, "/", "Remote-User: root\r\n");
    assert!(asked.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{asked}");
    assert!(asked.contains("WWW-Authenticate: Basic realm=\"the lab\", charset=\"UTF-8\"\r\n"), "{asked}");
    for (user, password) in [("ann", "wrong"), ("ann", ""), ("eve", "correct horse"), ("", "")] {
        assert!(get(&edge, "/", &basic(user, password)).starts_with("HTTP/1.1 401"), "{user}");
    }
    assert_eq!(origin.bytes(), b"", "nothing of it reached the service");
    for (user, password) in
        [("ann", "correct horse"), ("bob", "gr\u{fc}n"), ("cy", "x:y"), ("ann", "correct horse")]
    {
        let fields = format!("{}Remote-User: root\r\nremote_user: root\r\n", basic(user, password));
        assert!(get(&edge, "/", &fields).starts_with("HTTP/1.1 200"), "{user}");
        assert!(origin.wait(|text| text.contains(&format!("Remote-User: {user}\r\n"))));
    }
    assert!(!origin.text().to_lowercase().contains("authorization"));
    assert!(!origin.text().contains("root"));
    // A route with `auth = "open"`; claimed identities are removed there too.
    assert!(get(&edge, "/here", "").starts_with("HTTP/1.1 200"));
}

#[test]
fn whoever_guesses_passwords_is_slowed_down() {
    let _queue = password_queue();
    let origin = Origin::simple();
    // A hash of its own: a password that was right in another test is remembered by the process.
    let hash = String::from_utf8(run("htpasswd", &["-nbB", "-C", "4", "ann", "correct horse"], b"")).unwrap();
    let edge = edge(origin.address(), |config| {
        let auth = BasicAuth { realm: "lab".into(), users: users(hash.trim()).unwrap(), user_field: None };
        config.sites[0].auth = Some(Auth::Basic(auth));
    });
    let got: Vec<String> = (0..30).map(|n| get(&edge, "/", &basic("ann", &n.to_string()))).collect();
    let refused = got.iter().filter(|got| got.starts_with("HTTP/1.1 429")).count();
    assert!((8..=10).contains(&refused), "{refused}");
    assert!(got[29].contains("Retry-After: "), "{}", got[29]);
    assert_eq!(counted(&edge, "wrong-passwords", refused as u64), refused as u64);
    let series = format!("edge_requests_refused_total{{reason=\"wrong-passwords\"}} {refused}\n");
    assert!(edge.proxy.metrics().to_prometheus().contains(&series));
    // Nothing tells a guesser that this one is right, and other names are no way around.
    assert!(get(&edge, "/", &basic("ann", "correct horse")).starts_with("HTTP/1.1 429"));
    let others: Vec<String> =
        (0..100).map(|n| get(&edge, "/", &basic(&format!("user{n}"), "wrong"))).collect();
    assert!(others[0].starts_with("HTTP/1.1 401"), "{}", others[0]);
    assert!(others[99].starts_with("HTTP/1.1 429"), "{}", others[99]);
    assert_eq!(origin.bytes(), b"");
}

#[test]
fn d12_a_household_does_not_lock_itself_out() {
    let _queue = password_queue();
    let origin = Origin::simple();
    let edge = edge(origin.address(), |config| {
        let auth = BasicAuth { realm: "lab".into(), users: users(BCRYPT).unwrap(), user_field: None };
        config.sites[0].auth = Some(Auth::Basic(auth));
    });
    let right = || get(&edge, "/", &basic("ann", "correct horse"));
    assert!(right().starts_with("HTTP/1.1 200"));
    for n in 0..40 {
        assert!(!get(&edge, "/", &basic("ann", &n.to_string())).starts_with("HTTP/1.1 200"));
        assert!(right().starts_with("HTTP/1.1 200"), "after {n} wrong ones");
    }
    assert!(get(&edge, "/", &basic("ann", "41")).starts_with("HTTP/1.1 429"));
}

/// The limit is the client's, whatever version of HTTP it speaks.
#[test]
fn d12_guesses_count_together_over_every_version() {
    let _queue = password_queue();
    let origin = Origin::simple();
    let all = [1, 2, 3];
    for first in all {
        let hash = String::from_utf8(run("htpasswd", &["-nbB", "-C", "4", "ann", "correct horse"], b""));
        let edge = edge(origin.address(), |config| {
            let users = users(hash.unwrap().trim()).unwrap();
            config.sites[0].auth =
                Some(Auth::Basic(BasicAuth { realm: "lab".into(), users, user_field: None }));
        });
        let once = |version: u8, password: &str| {
            let line = basic("ann", password);
            let value = line.trim_end().split_once(": ").unwrap().1;
            let field: (&[u8], &[u8]) = (b"authorization", value.as_bytes());
            match version {
                1 => get(&edge, "/", &line).get(9..12).map(str::to_owned),
                2 => {
                    let mut client = Http2::connect(edge.tls(), edge.root(), "a.test");
                    let stream = client.request("GET", "a.test", "/", &[field], true);
                    client.answer(stream).status().map(str::to_owned)
                }
                _ => wire3::run(async {
                    let client = Http3::connect(edge.tls(), edge.root(), "a.test").await;
                    let request = wire3::request("GET", "a.test", "/", &[field]);
                    client.ask(&request).await.status().map(str::to_owned)
                }),
            }
        };
        // Other tests take the places of this address, too.
        let guess = |version: u8, password: &str| loop {
            let status = once(version, password);
            if status.as_deref() != Some("503") {
                break status;
            }
        };
        for n in 0..20 {
            assert_eq!(guess(first, &n.to_string()).as_deref(), Some("401"), "version {first}: {n}");
        }
        for version in all {
            // Two are restored a minute.
            let got: Vec<_> = (0..8).map(|n| guess(version, &format!("{version}-{n}"))).collect();
            let refused = got.iter().filter(|status| status.as_deref() == Some("429")).count();
            assert!(refused >= 6, "version {first}, then {version}: {got:?}");
        }
    }
    assert_eq!(origin.bytes(), b"");
}

#[test]
fn d12_one_guesser_takes_neither_the_places_nor_the_resolver_of_others() {
    let _queue = password_queue();
    let origin = Origin::simple();
    // Cost 10: a tenth of a second each.
    let slow = run("htpasswd", &["-nbB", "-C", "10", "ann", "correct horse"], b"");
    let slow = String::from_utf8(slow).unwrap();
    let edge = edge(origin.address(), |config| {
        let auth = BasicAuth { realm: "lab".into(), users: users(slow.trim()).unwrap(), user_field: None };
        config.sites[0].routes[1].auth = Some(Auth::Basic(auth));
        // A name that is not asked for before.
        let named = Target::Tcp { host: "localhost".into(), port: origin.address().port() };
        config.upstreams[0] = Upstream::new("origin", named);
    });
    std::thread::scope(|scope| {
        let guesses: Vec<_> = (0..16)
            .map(|n| {
                scope.spawn({
                    let edge = &edge;
                    move || get(edge, "/here", &basic("ann", &format!("wrong{n}")))
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(100));
        let begin = Instant::now();
        assert!(get(&edge, "/", "").starts_with("HTTP/1.1 200"));
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        let got: Vec<String> = guesses.into_iter().map(|guess| guess.join().unwrap()).collect();
        // Four at a time of one client; the others are told to come again.
        assert!(got.iter().any(|got| got.starts_with("HTTP/1.1 503")), "{got:?}");
        assert!(got.iter().all(|got| !got.starts_with("HTTP/1.1 200")), "{got:?}");
    });
}

/// Clients such as backup programs and browsers send a password over several connections at once.
#[test]
fn d12_one_login_over_many_connections_takes_one_place() {
    let _queue = password_queue();
    let origin = Origin::simple();
    let slow = run("htpasswd", &["-nbB", "-C", "10", "ann", "correct horse"], b"");
    let slow = String::from_utf8(slow).unwrap();
    let edge = edge(origin.address(), |config| {
        let auth = BasicAuth { realm: "lab".into(), users: users(slow.trim()).unwrap(), user_field: None };
        config.sites[0].auth = Some(Auth::Basic(auth));
    });
    let at_once = |fields: &str| -> Vec<String> {
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..12).map(|_| scope.spawn(|| get(&edge, "/", fields))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        })
    };
    let wrong = at_once(&basic("ann", "wrong"));
    assert!(wrong.iter().all(|got| got.starts_with("HTTP/1.1 401")), "{wrong:?}");
    let right = at_once(&basic("ann", "correct horse"));
    assert!(right.iter().all(|got| got.starts_with("HTTP/1.1 200")), "{right:?}");
}

/// The responses of Authelia and authentik, by the session in the cookie.
fn portal() -> Origin {
    Origin::scripted(|bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let said = if text.contains("Cookie: authelia_session=ann") {
            "HTTP/1.1 200 OK\r\nRemote-User: ann\r\nRemote-Groups: admins,dev\r\nRemote-Email: ann@a.test\r\n\
             Set-Cookie: authelia_session=ann2; path=/; HttpOnly\r\nContent-Length: 6\r\n\r\n200 OK"
        } else if text.contains("Authorization: Bearer") {
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 2\r\n\r\nno"
        } else {
            "HTTP/1.1 302 Found\r\nLocation: https://auth.a.test/?rd=https%3A%2F%2Fa.test%2Fx&rm=GET\r\n\
             Set-Cookie: a=b\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n<a>go</a>"
        };
        Some((said.as_bytes().to_vec(), end))
    })
}

fn asks(config: &mut Config, portal: SocketAddr) {
    let target = Target::Tcp { host: portal.ip().to_string(), port: portal.port() };
    config.upstreams.push(Upstream::new("authelia", target));
    config.sites[0].auth = Some(Auth::Forward(ForwardAuth {
        upstream: "authelia".into(),
        path: "/api/authz/forward-auth".into(),
        copy: ["Remote-User", "Remote-Groups", "Remote-Name", "Remote-Email"].map(String::from).to_vec(),
    }));
}

#[test]
fn another_service_says_who_it_is() {
    let (origin, portal) = (Origin::simple(), portal());
    let edge = edge(origin.address(), |config| asks(config, portal.address()));
    // Without a session: the response is the portal's redirect, with its cookie.
    let got = get(&edge, "/x?y=1", "Accept: text/html\r\nRemote-User: root\r\n");
    assert!(got.starts_with("HTTP/1.1 302 Found\r\n"), "{got}");
    assert!(got.contains("Location: https://auth.a.test/?rd=https%3A%2F%2Fa.test%2Fx&rm=GET\r\n"), "{got}");
    assert!(got.contains("Set-Cookie: a=b\r\n") && got.ends_with("<a>go</a>"), "{got}");
    let asked = portal.text();
    for line in [
        "GET /api/authz/forward-auth HTTP/1.1\r\n",
        "Host: a.test\r\n",
        "X-Forwarded-Method: GET\r\n",
        "X-Forwarded-Uri: /x?y=1\r\n",
        "X-Forwarded-Proto: http\r\n",
        "X-Forwarded-Host: a.test\r\n",
        "X-Forwarded-For: 127.0.0.1\r\n",
        "Accept: text/html\r\n",
    ] {
        assert!(asked.contains(line), "{line:?} in {asked}");
    }
    assert!(!asked.contains("root"));
    assert!(get(&edge, "/", "Authorization: Bearer x\r\n").starts_with("HTTP/1.1 401"));
    assert_eq!(origin.bytes(), b"", "nothing of it reached the service");
    // With a session: the upstream gets the identity, the client the renewed cookie, and the content passes.
    let post = "POST /form HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nCookie: authelia_session=ann\r\n\
                Remote-User: root\r\nREMOTE_GROUPS: root\r\nRemote-Name: root\r\nContent-Length: 5\r\n\r\nhello";
    let got = send(&edge, post);
    assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{got}");
    assert!(got.contains("Set-Cookie: authelia_session=ann2; path=/; HttpOnly\r\n"), "{got}");
    let served = origin.text();
    for line in ["Remote-User: ann\r\n", "Remote-Groups: admins,dev\r\n", "Remote-Email: ann@a.test\r\n"] {
        assert!(served.contains(line), "{line:?} in {served}");
    }
    assert!(
        served.ends_with("hello") && !served.contains("root") && !served.contains("Remote-Name"),
        "{served}"
    );
    assert!(!portal.text().contains("hello"), "the content is the service's alone");
}

#[test]
fn nobody_gets_in_while_the_other_service_is_away() {
    let origin = Origin::simple();
    let gone = testkit::nobody();
    let edge = edge(origin.address(), |config| asks(config, gone));
    assert!(get(&edge, "/", "Cookie: authelia_session=ann\r\n").starts_with("HTTP/1.1 503"));
    assert_eq!(origin.bytes(), b"");
}

#[test]
fn whoever_asks_too_often_is_told_when_to_come_again() {
    let origin = Origin::simple();
    let edge = edge(origin.address(), |config| {
        config.sites[0].rate.client = Rate::new(2, Duration::from_secs(1), 5);
    });
    let began = Instant::now();
    let got: Vec<String> = (0..20).map(|_| get(&edge, "/", "")).collect();
    let served = got.iter().filter(|got| got.starts_with("HTTP/1.1 200")).count();
    let most = 5 + (began.elapsed().as_secs_f32() * 2.0) as usize + 1;
    assert!((5..=most).contains(&served), "{served} of {most}");
    let refused = got.iter().find(|got| got.starts_with("HTTP/1.1 429 Too Many Requests\r\n")).unwrap();
    assert!(refused.contains("Retry-After: 1\r\n"), "{refused}");
    // Another client has its own rate.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 9], 0)).into()).unwrap();
    socket.connect(&edge.plain().into()).unwrap();
    let mut other = TcpStream::from(socket);
    other.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    other.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    let edge = self::edge(origin.address(), |config| {
        config.sites[0].rate.site = Rate::new(1, Duration::from_secs(3600), 3);
    });
    let got: Vec<String> = (0..6).map(|_| get(&edge, "/", "")).collect();
    assert_eq!(got.iter().filter(|got| got.starts_with("HTTP/1.1 503")).count(), 3);
}

#[test]
fn a_site_has_so_many_requests_at_once() {
    let slow = Origin::scripted(|bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        std::thread::sleep(Duration::from_millis(1500));
        Some((answer("slow"), end))
    });
    let edge = edge(slow.address(), |config| config.sites[0].rate.concurrent = Some(2));
    let got: Vec<String> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..5).map(|_| scope.spawn(|| get(&edge, "/", ""))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(got.iter().filter(|got| got.starts_with("HTTP/1.1 200")).count(), 2, "{got:?}");
    assert_eq!(got.iter().filter(|got| got.starts_with("HTTP/1.1 503")).count(), 3, "{got:?}");
    assert!(get(&edge, "/", "").starts_with("HTTP/1.1 200"), "there is room again");
}

#[test]
fn a_client_has_so_many_connections_at_once() {
    let origin = Origin::simple();
    let edge = edge(origin.address(), |config| config.limits.connections_per_client = 3);
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(edge.plain()).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
        common::read_until(&mut stream, "ok");
        held.push(stream);
    }
    assert_eq!(get(&edge, "/", ""), "", "the fourth is closed without a byte");
    drop(held);
    let until = Instant::now() + Duration::from_secs(10);
    while get(&edge, "/", "").is_empty() {
        assert!(Instant::now() < until, "there is no room again");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn browsers_are_told_to_use_https_over_https_only() {
    let origin = Origin::scripted(|bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        Some((
            b"HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1\r\nContent-Length: 2\r\n\r\nok"
                .to_vec(),
            end,
        ))
    });
    let edge = edge(origin.address(), |config| {
        let said = Response { status: 404, content_type: "text/plain".into(), body: b"no".to_vec() };
        config.sites[0].routes.push(Route::new(PathMatch::Prefix("/no".into()), Action::Respond(said)));
        config.sites[0].response_policies.hsts =
            Some(Hsts { max_age: 31_536_000, include_subdomains: true, preload: false });
    });
    for path in ["/", "/no"] {
        let mut stream = tls(edge.tls(), &http1(edge.root())).unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").as_bytes())
            .unwrap();
        let mut got = String::new();
        stream.read_to_string(&mut got).unwrap();
        let all: Vec<_> = got.lines().filter(|line| line.starts_with("Strict-Transport-Security")).collect();
        assert_eq!(all, ["Strict-Transport-Security: max-age=31536000; includeSubDomains"], "{path}");
    }
    assert!(!get(&edge, "/no", "").contains("Strict-Transport-Security"));
}

#[test]
fn a_permissions_policy_replaces_that_of_the_service() {
    let origin = Origin::scripted(|bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = "HTTP/1.1 200 OK\r\npermissions-policy: camera=*\r\nPermissions-Policy: usb=()\r\n";
        Some((format!("{head}Content-Length: 2\r\n\r\nok").into_bytes(), end))
    });
    let edge = edge(origin.address(), |config| {
        let mut policy = PermissionsPolicy::default();
        policy.allow("camera", Vec::new()).unwrap();
        policy.allow("geolocation", vec![AllowedOrigin::Own, "https://a.example".parse().unwrap()]).unwrap();
        config.sites[0].response_policies.permissions = Some(policy);
        let mut own =
            Route::new(PathMatch::Exact("/own".into()), Action::Forward { upstream: "origin".into() });
        own.response_fields.set.push(("Permissions-Policy".into(), "usb=()".into()));
        config.sites[0].routes.insert(0, own);
    });
    let fields = |path: &str| {
        let got = get(&edge, path, "");
        let named = got.lines().filter(|line| line.to_ascii_lowercase().starts_with("permissions-policy:"));
        named.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(fields("/"), [r#"Permissions-Policy: camera=(), geolocation=(self "https://a.example")"#]);
    assert_eq!(fields("/own"), ["Permissions-Policy: usb=()"], "a route may have its own");
}

/// An origin of text: with a length, in chunks, and with a pause in the middle.
fn texts() -> Origin {
    Origin::scripted(|bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let text = text();
        let said = match bytes.split(|byte| *byte == b' ').nth(1)? {
            b"/short" => answer("short"),
            b"/chunks" => {
                let mut said = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
                for part in text.as_bytes().chunks(1000) {
                    said.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                    said.extend_from_slice(part);
                    said.extend_from_slice(b"\r\n");
                }
                said.extend_from_slice(b"0\r\n\r\n");
                said
            }
            _ => format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"one\"\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            )
            .into_bytes(),
        };
        Some((said, end))
    })
}

fn text() -> String {
    (0..5000).map(|n| format!("line {n} of a text that is long enough\n")).collect()
}

#[test]
fn content_is_compressed_for_curl_over_every_version() {
    let edge = edge(texts().address(), |config| config.sites[0].compression = Some(Compression::default()));
    let root = edge.folder.path().join("root.pem");
    std::fs::write(&root, edge.root()).unwrap();
    let resolve = format!("a.test:{}:127.0.0.1", edge.tls().port());
    let curl = testkit_curl();
    for version in ["--http1.1", "--http2", "--http3-only"] {
        for coding in ["gzip", "br", "zstd"] {
            for path in ["/", "/chunks"] {
                let url = format!("https://a.test:{}{path}", edge.tls().port());
                let dump = edge.folder.path().join("head");
                let accept = format!("Accept-Encoding: {coding}");
                let output = run(
                    &curl,
                    &[
                        "-sS",
                        version,
                        "--cacert",
                        root.to_str().unwrap(),
                        "--resolve",
                        &resolve,
                        "-H",
                        &accept,
                        "-D",
                        dump.to_str().unwrap(),
                        "--raw",
                        &url,
                    ],
                    b"",
                );
                let head = std::fs::read_to_string(&dump).unwrap().to_lowercase();
                assert!(head.contains(&format!("content-encoding: {coding}")), "{version} {coding}: {head}");
                assert!(head.contains("vary: accept-encoding"), "{head}");
                assert_eq!(head.contains("etag: w/\"one\""), path == "/", "{head}");
                assert!(!head.contains("content-length"), "{head}");
                assert!(output.len() < text().len() / 5, "{version} {coding}: {}", output.len());
                if version == "--http1.1" {
                    // --raw keeps the chunks; other encodings are decoded below.
                    continue;
                }
                let decoder: (&str, &[&str]) = match coding {
                    "gzip" => ("gzip", &["-dc"]),
                    "br" => ("brotli", &["-dc"]),
                    _ => ("zstd", &["-dcq"]),
                };
                let decoded = run(decoder.0, decoder.1, &output);
                assert!(decoded == text().as_bytes(), "{version} {coding} {path}");
            }
        }
    }
}

#[test]
fn lengths_tell_nothing_of_a_password_that_the_service_never_sees() {
    let _queue = password_queue();
    let edge = edge(texts().address(), |config| {
        let auth = BasicAuth { realm: "lab".into(), users: users(BCRYPT).unwrap(), user_field: None };
        config.sites[0].auth = Some(Auth::Basic(auth));
        config.sites[0].compression = Some(Compression::default());
    });
    let fields = format!("{}Accept-Encoding: gzip\r\n", basic("ann", "correct horse"));
    let plain = get(&edge, "/", &fields);
    assert!(
        plain.contains("line 4999 of a text") && !plain.contains("Content-Encoding"),
        "{}",
        &plain[..300]
    );
    // A browser that sends same-origin requests cannot be tricked.
    let same = get(&edge, "/", &format!("{fields}Sec-Fetch-Site: same-origin\r\n"));
    assert!(same.contains("Content-Encoding: gzip\r\n"), "{}", &same[..300]);
}

/// The curl with HTTP/3 that `cargo xtask tools` unpacks.
fn testkit_curl() -> String {
    let tools = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        std::path::PathBuf::from,
    );
    let curl = tools.join("tools/newer/curl");
    assert!(curl.exists(), "{} is missing: `cargo xtask tools` installs it", curl.display());
    curl.to_str().unwrap().to_owned()
}

#[test]
fn what_comes_slowly_is_not_held_back() {
    let origin = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = origin.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in origin.incoming() {
            let mut stream = stream.unwrap();
            let mut part = [0; 4096];
            let _ = stream.read(&mut part);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
            std::thread::sleep(Duration::from_secs(3));
            let _ = stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n");
        }
    });
    let edge = edge(address, |config| config.sites[0].compression = Some(Compression::default()));
    let mut stream = TcpStream::connect(edge.plain()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\r\n")
        .unwrap();
    let head = common::read_until(&mut stream, "\r\n\r\n");
    assert!(head.contains("Content-Encoding: gzip"), "{head}");
    // The first chunk arrives while the origin still waits, with the first word.
    let size = common::read_until(&mut stream, "\r\n");
    let mut first = vec![0; usize::from_str_radix(size.trim(), 16).unwrap()];
    stream.read_exact(&mut first).unwrap();
    let mut word = Vec::new();
    let _ = flate2::read::GzDecoder::new(&first[..]).read_to_end(&mut word);
    assert_eq!(word, b"first");
}

#[test]
fn certificates_are_compressed_for_those_who_can() {
    // RFC 8879: the same handshake with and without compression, in bytes on the wire.
    let edge = common::Edge::before(Origin::simple().address(), 1);
    let with = handshake(&edge, true);
    let without = handshake(&edge, false);
    assert!(with < without, "{with} bytes with, {without} without");
}

fn handshake(edge: &common::Edge, compressed: bool) -> u64 {
    let mut config = testkit::tls_client(edge.root(), &[b"http/1.1"]);
    config.cert_decompressors =
        if compressed { rustls::compress::default_cert_decompressors().to_vec() } else { Vec::new() };
    let mut session =
        rustls::ClientConnection::new(std::sync::Arc::new(config), "a.test".try_into().unwrap()).unwrap();
    let mut stream = TcpStream::connect(edge.tls()).unwrap();
    let mut read = 0;
    while session.is_handshaking() {
        let (got, _) = session.complete_io(&mut stream).unwrap();
        read += got as u64;
    }
    read
}

/// Returns the count of connections or requests with this reason, once it has reached this value.
fn counted(edge: &common::Edge, reason: &str, least: u64) -> u64 {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let metrics = edge.proxy.metrics();
        let all = metrics.rejected.iter().chain(&metrics.refused);
        let count = all.filter(|(name, _)| name.as_str() == reason).map(|(_, count)| count).sum();
        if count >= least || Instant::now() > until {
            return count;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn heads_of_answers_and_targets_have_limits_of_their_own() {
    // The path is the length of a field of the answer.
    let origin = Origin::scripted(|bytes| {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let target = std::str::from_utf8(&bytes[..end]).unwrap().split(' ').nth(1).unwrap();
        let length = target.trim_start_matches('/').split('?').next().unwrap().parse().unwrap_or(0);
        let field = "x".repeat(length);
        Some((format!("HTTP/1.1 200 OK\r\nA: {field}\r\nContent-Length: 0\r\n\r\n").into_bytes(), end))
    });
    let status =
        |edge: &common::Edge, target: &str| get(edge, target, "").get(9..12).unwrap_or_default().to_owned();
    let usual = edge(origin.address(), |_| {});
    assert_eq!(status(&usual, "/30000"), "200");
    assert_eq!(status(&usual, "/40000"), "502");
    assert_eq!(status(&usual, &format!("/0?{}", "x".repeat(28_000))), "200");
    assert_eq!(status(&usual, &format!("/0?{}", "x".repeat(33_000))), "414");
    let wide = edge(origin.address(), |config| config.limits.response_header_bytes = 60_000);
    assert_eq!(status(&wide, "/40000"), "200");
    let few = edge(origin.address(), |config| config.limits.response_header_fields = 1);
    assert_eq!(status(&few, "/1"), "502");
}

#[test]
fn what_a_client_may_use_up_is_configured_and_counted() {
    use common::wire3::run;
    let origin = Origin::simple();
    let edge = edge(origin.address(), |config| {
        config.limits.header_fields = 5;
        config.limits.header_bytes = 1000;
        config.limits.target_bytes = 100;
        config.limits.resets = 10;
        config.limits.control_frames = 50;
        config.timeouts.header = Duration::from_millis(300);
    });
    let (many, long) = ("A: b\r\n".repeat(6), "x".repeat(101));
    assert!(get(&edge, "/", &many).starts_with("HTTP/1.1 431"));
    assert!(get(&edge, "/", &format!("A: {}\r\n", "b".repeat(2000))).starts_with("HTTP/1.1 431"));
    assert!(get(&edge, &format!("/{long}"), "").starts_with("HTTP/1.1 414"));
    assert!(get(&edge, "/", "").starts_with("HTTP/1.1 200"));
    let mut http2 = Http2::connect(edge.tls(), edge.root(), "a.test");
    let field: wire2::Field<'_> = (b"a", b"b");
    let fields = [field; 6];
    let stream = http2.request("GET", "a.test", "/", &fields, true);
    assert_eq!(http2.answer(stream).status(), Some("431"));
    assert_eq!(http2.get("a.test", &format!("/{long}")).status(), Some("414"));
    assert_eq!(http2.get("a.test", "/").status(), Some("200"));
    // All that the limit allows, and a few more.
    (0..60).for_each(|_| http2.frame(6, 0, 0, &[0; 8]));
    assert_eq!(counted(&edge, "http2-flood", 1), 1);
    run(async {
        let client = Http3::connect(edge.tls(), edge.root(), "a.test").await;
        let field: wire3::Field<'_> = (b"a", b"b");
        let answer = client.ask(&wire3::request("GET", "a.test", "/", &[field; 6])).await;
        assert_eq!(answer.status(), Some("431"));
        assert_eq!(client.get("a.test", &format!("/{long}")).await.status(), Some("414"));
        assert_eq!(client.get("a.test", "/").await.status(), Some("200"));
        let (_send, mut reader) = client.open(&wire3::request("GET", "a.test", "/", &[])[..5]).await;
        assert!(reader.frame().await.is_err(), "a head that never ends");
        let mut client = Http3::connect(edge.tls(), edge.root(), "a.test").await;
        let _ = client.take_control().write_all(&wire3::frame(0x21, b"").repeat(200)).await;
        client.quic.closed().await;
    });
    assert_eq!(counted(&edge, "http3-flood", 1), 1);
    let mut slow = TcpStream::connect(edge.plain()).unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    assert_eq!(counted(&edge, "head-too-slow", 2), 2);
    assert_eq!((counted(&edge, "head-too-large", 4), counted(&edge, "target-too-long", 3)), (4, 3));
}
