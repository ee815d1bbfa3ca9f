//! Several targets: the distribution of requests, the failure of a target, and its effect on clients.

use edge_policy::balance::health::Availability;
use edge_proxy::config::{
    Balance, Check, Config, HashKey, Listener, Maintenance, PlainHttp, Response, Route, Site, Target,
    Upstream,
};
use edge_proxy::{Proxy, ProxyHandle};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use testkit::{Origin, answer, nobody};

fn target(address: SocketAddr) -> Target {
    Target::Tcp { host: address.ip().to_string(), port: address.port() }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    Some(bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4)
}

/// An origin that responds with its name.
fn named(name: &'static str) -> Origin {
    Origin::scripted(move |bytes| Some((answer(name), head_end(bytes)?)))
}

/// An origin that responds with an error while it is told to.
fn failing(name: &'static str, status: &'static str, fails: &Arc<AtomicBool>) -> Origin {
    let fails = fails.clone();
    Origin::scripted(move |bytes| {
        let end = head_end(bytes)?;
        let said = if fails.load(SeqCst) {
            format!("HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\nsad\n").into_bytes()
        } else {
            answer(name)
        };
        Some((said, end))
    })
}

fn config(targets: &[SocketAddr], edit: impl FnOnce(&mut Upstream)) -> Config {
    let mut site = Site::new("a.test", vec!["a.test".parse().unwrap()]).route(Route::forward("app"));
    site.plain = PlainHttp::Serve;
    let mut upstream = Upstream::new("app", target(targets[0]));
    upstream.targets = targets.iter().map(|address| target(*address)).collect();
    edit(&mut upstream);
    Config {
        listeners: vec![Listener::plain(([127, 0, 0, 1], 0).into())],
        sites: vec![site],
        upstreams: vec![upstream],
        ..Config::default()
    }
}

fn start(config: Config) -> ProxyHandle {
    Proxy::builder().workers(1).config(config).start().unwrap()
}

fn edge(targets: &[SocketAddr], edit: impl FnOnce(&mut Upstream)) -> ProxyHandle {
    start(config(targets, edit))
}

fn ask(edge: &ProxyHandle, request: &str) -> String {
    ask_from(edge, request, [127, 0, 0, 1])
}

fn ask_from(edge: &ProxyHandle, request: &str, from: [u8; 4]) -> String {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&edge.addresses()[0].into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

fn get(edge: &ProxyHandle) -> String {
    let got = ask(edge, GET);
    got.rsplit_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or(got)
}

fn shares(edge: &ProxyHandle, requests: usize) -> BTreeMap<String, usize> {
    let mut got = BTreeMap::new();
    (0..requests).for_each(|_| *got.entry(get(edge)).or_default() += 1);
    got
}

fn availability(edge: &ProxyHandle) -> Vec<Availability> {
    edge.targets().iter().map(|target| target.availability).collect()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn requests_go_round() {
    let origins = [named("a"), named("b"), named("c")];
    let addresses = origins.each_ref().map(Origin::address);
    let got = shares(&edge(&addresses, |_| {}), 30);
    assert_eq!(got, BTreeMap::from(["a", "b", "c"].map(|name| (name.to_owned(), 10))));
}

#[test]
fn a_target_that_is_dead_costs_no_request_and_is_left_alone() {
    let origins = [named("a"), named("b")];
    let addresses = [origins[0].address(), nobody(), origins[1].address()];
    let edge = edge(&addresses, |_| {});
    let got = shares(&edge, 60);
    assert_eq!(got.values().sum::<usize>(), 60);
    assert!(got.keys().all(|name| name == "a" || name == "b"), "{got:?}");
    let dead = &edge.targets()[1];
    assert_eq!(dead.availability, Availability::Ejected);
    // After three failures in a row it gets no more requests.
    assert_eq!((dead.requests, dead.failures, dead.in_flight), (3, 3, 0));
}

#[test]
fn an_ejected_target_comes_back_by_one_trial() {
    let fails = Arc::new(AtomicBool::new(true));
    let origins = [named("a"), failing("b", "503 Service Unavailable", &fails)];
    let edge = edge(&origins.each_ref().map(Origin::address), |upstream| {
        upstream.retry.statuses = vec![503];
        upstream.health.rules.eject = Duration::from_secs(2);
    });
    let got = shares(&edge, 10);
    assert_eq!(got, BTreeMap::from([("a".to_owned(), 10)]), "nobody saw the 503");
    assert_eq!(availability(&edge), [Availability::Healthy, Availability::Ejected]);
    let requests = edge.targets()[1].requests;
    assert_eq!(requests, 3);
    // It still fails: one request notices, and it is ejected for longer.
    until("its time is over", || availability(&edge)[1] == Availability::Trial);
    shares(&edge, 10);
    assert_eq!(edge.targets()[1].requests, 4);
    fails.store(false, SeqCst);
    until("its time is over", || availability(&edge)[1] == Availability::Trial);
    // The trial is out of turn.
    assert!((5..=6).contains(&shares(&edge, 10)["b"]));
    assert_eq!(availability(&edge)[1], Availability::Healthy);
}

#[test]
fn the_least_busy_gets_the_request() {
    // `a` responds only when allowed.
    let may = Arc::new(AtomicBool::new(false));
    let waits = may.clone();
    let slow = Origin::scripted(move |bytes| {
        let end = head_end(bytes)?;
        let until = Instant::now() + Duration::from_secs(10);
        while !waits.load(SeqCst) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        Some((answer("a"), end))
    });
    let quick = named("b");
    let edge = edge(&[slow.address(), quick.address()], |upstream| {
        upstream.balance = Balance::LeastConnections;
    });
    std::thread::scope(|scope| {
        let first = scope.spawn(|| get(&edge));
        until("the first request is under way", || edge.targets()[0].in_flight == 1);
        assert_eq!(shares(&edge, 10), BTreeMap::from([("b".to_owned(), 10)]));
        may.store(true, SeqCst);
        assert_eq!(first.join().unwrap(), "a");
    });
    until("nothing is under way", || edge.targets().iter().all(|target| target.in_flight == 0));
}

#[test]
fn a_client_stays_where_it_was_while_others_move() {
    let origins = [named("a"), named("b"), named("c")];
    let addresses = origins.each_ref().map(Origin::address);
    let by_client = |upstream: &mut Upstream| upstream.balance = Balance::Hash(HashKey::Client);
    let edge = edge(&addresses, by_client);
    let home =
        |client: u8| ask_from(&edge, GET, [127, 0, 0, client]).split("\r\n\r\n").nth(1).unwrap().to_owned();
    let before: Vec<String> = (1..40).map(home).collect();
    assert_eq!(before, (1..40).map(home).collect::<Vec<_>>());
    let mut names = before.clone();
    names.sort();
    names.dedup();
    assert_eq!(names, ["a", "b", "c"]);
    // Without `c`, only its clients move.
    edge.reload(config(&addresses[..2], by_client)).unwrap();
    for (client, before) in (1..40).zip(&before) {
        let after = home(client);
        assert!(*before == after || before == "c", "{client}: {before} → {after}");
    }
}

#[test]
fn checks_take_a_target_out_and_bring_it_back() {
    let sick = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicUsize::new(0));
    let (fails, counts) = (sick.clone(), asked.clone());
    let checked = Origin::scripted(move |bytes| {
        let end = head_end(bytes)?;
        let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
        if text.starts_with("GET /healthz ") {
            counts.fetch_add(1, SeqCst);
            assert!(text.contains("Host: health.test\r\n"), "{text}");
            let sick = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
            let well = b"HTTP/1.1 204 No Content\r\n\r\n";
            return Some((if fails.load(SeqCst) { sick.to_vec() } else { well.to_vec() }, end));
        }
        Some((answer("a"), end))
    });
    let other = Origin::scripted(|bytes| Some((answer("b"), head_end(bytes)?)));
    let edge = edge(&[checked.address(), other.address()], |upstream| {
        let check = Check {
            host: Some("health.test".into()),
            interval: Duration::from_millis(100),
            ..Check::new("/healthz")
        };
        upstream.health.check = Some(check);
    });
    until("it is asked", || asked.load(SeqCst) > 2);
    assert_eq!(shares(&edge, 10).len(), 2);
    sick.store(true, SeqCst);
    until("it is found down", || availability(&edge)[0] == Availability::Down);
    assert_eq!(shares(&edge, 10), BTreeMap::from([("b".to_owned(), 10)]));
    sick.store(false, SeqCst);
    until("it is found up", || availability(&edge)[0] == Availability::Healthy);
    assert_eq!(shares(&edge, 10).len(), 2);
    // A reload keeps the known health, without the removed check.
    sick.store(true, SeqCst);
    until("it is found down again", || availability(&edge)[0] == Availability::Down);
    let addresses = [checked.address(), other.address()];
    edge.reload(config(&addresses, |upstream| upstream.health.rules.failures = 5)).unwrap();
    assert_eq!(availability(&edge)[0], Availability::Down);
    std::thread::sleep(Duration::from_millis(300));
    let count = asked.load(SeqCst);
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(asked.load(SeqCst), count, "the old checks ended");
}

#[test]
fn only_what_may_be_repeated_is_sent_again() {
    // Each connection of this origin ends without a response.
    let broken = Origin::scripted(|bytes| head_end(bytes).map(|end| (Vec::new(), end)));
    let well = named("b");
    let edge = edge(&[broken.address(), well.address()], |upstream| upstream.health.rules.failures = 0);
    for _ in 0..10 {
        assert_eq!(get(&edge), "b");
    }
    let posts: Vec<String> = (0..10).map(|_| ask(&edge, POST)).collect();
    let refused = posts.iter().filter(|got| got.starts_with("HTTP/1.1 502")).count();
    assert_eq!(refused, 5, "{posts:?}");
    assert_eq!(broken.text().matches("POST").count() + well.text().matches("POST").count(), 10);
    // Consumed content cannot be sent again.
    let put = "PUT / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    let puts: Vec<String> = (0..4).map(|_| ask(&edge, put)).collect();
    assert_eq!(puts.iter().filter(|got| got.starts_with("HTTP/1.1 502")).count(), 2, "{puts:?}");
}

#[test]
fn repetitions_have_a_budget() {
    let fails = Arc::new(AtomicBool::new(true));
    let origins =
        [failing("a", "503 Service Unavailable", &fails), failing("b", "503 Service Unavailable", &fails)];
    let edge = edge(&origins.each_ref().map(Origin::address), |upstream| {
        upstream.retry.statuses = vec![503];
        upstream.retry.budget_percent = 10;
        upstream.health.rules.failures = 0;
    });
    for _ in 0..200 {
        // The upstream's own response is forwarded.
        assert!(ask(&edge, GET).ends_with("sad\n"));
    }
    let sent = origins.iter().map(|origin| origin.text().matches("GET / ").count()).sum::<usize>();
    assert!((200 + 20..=200 + 20 + 10 + 1).contains(&sent), "{sent}");
}

#[test]
fn a_post_goes_elsewhere_when_no_connection_can_be_made() {
    let well = named("b");
    let edge = edge(&[nobody(), well.address()], |upstream| upstream.health.rules.failures = 0);
    for _ in 0..6 {
        assert!(ask(&edge, POST).starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn while_nobody_is_there_the_owner_speaks_and_it_ends_by_itself() {
    let place = nobody();
    let mut config = config(&[place], |_| {});
    config.sites[0].maintenance = Some(Maintenance {
        response: Response {
            status: 503,
            content_type: "text/html".into(),
            body: b"<p>back at ten</p>".to_vec(),
        },
        retry_after: Some(30),
    });
    let edge = start(config);
    for _ in 0..5 {
        let got = ask(&edge, GET);
        assert!(got.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{got}");
        assert!(got.contains("Retry-After: 30\r\n") && got.contains("Content-Type: text/html\r\n"), "{got}");
        assert!(got.ends_with("<p>back at ten</p>"), "{got}");
    }
    assert_eq!(availability(&edge), [Availability::Ejected]);
    let head = ask(&edge, &GET.replace("GET", "HEAD"));
    assert!(head.contains("Content-Length: 18\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    // The origin is back at the same address: the next request is served, ejected or not.
    let listener = TcpListener::bind(place).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut part = [0; 4096];
            let _ = stream.read(&mut part);
            let _ = stream.write_all(&answer("back"));
        }
    });
    assert_eq!(get(&edge), "back");
    assert_eq!(availability(&edge), [Availability::Healthy]);
}
