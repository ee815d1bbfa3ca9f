//! Handlers answer, edit and forward; what fails in them fails closed.

#![cfg(feature = "server")]

use edge_proxy::config::{Action, Listener, PathMatch, PlainHttp, Route, Site, Target, Upstream};
use edge_proxy::handler::{Handler, HandlerAction, HandlerRequest, HandlerResponse, LocalReply};
use edge_proxy::{Proxy, ProxyHandle, Reason};
use std::io::{Read, Write};
use std::net::TcpStream;
use testkit::Origin;

/// Does what the path says.
struct PathHandler;

impl Handler for PathHandler {
    fn request(&self, request: &mut HandlerRequest<'_>) -> HandlerAction {
        match request.path() {
            "/h/answer" => {
                let text = format!("{} {} {:?}", request.client(), request.site(), request.query());
                HandlerAction::Respond(LocalReply::new(201).content("text/plain", text))
            }
            "/h/edit" => {
                request.set_target("/edited").unwrap();
                request.set_field("X-Added", "by-handler").unwrap();
                // A claim about the client is overwritten afterwards, as it is of clients.
                request.set_field("X-Real-IP", "6.6.6.6").unwrap();
                HandlerAction::Forward
            }
            "/h/panic" => panic!("a handler that fails"),
            _ => HandlerAction::Forward,
        }
    }

    fn response(&self, response: &mut HandlerResponse<'_>) {
        match response.request().target.as_str() {
            "/h/late" => panic!("a handler that fails at the response"),
            _ => response.set_field("X-Seen", response.status().to_string()).unwrap(),
        }
    }
}

fn edge(origin: &Origin) -> ProxyHandle {
    let address = origin.address();
    let prefix = |path: &str| PathMatch::Prefix(path.into());
    let mut site = Site::new("a", vec!["a.test".parse().unwrap()])
        .route(Route::new(prefix("/h"), Action::handle_or_forward(PathHandler, "origin")))
        .route(Route::new(prefix("/alone"), Action::handle(PathHandler)))
        .route(Route::forward("origin"));
    site.plain = PlainHttp::Serve;
    let target = Target::Tcp { host: address.ip().to_string(), port: address.port() };
    let builder = Proxy::builder().workers(1).site(site).upstream(Upstream::new("origin", target));
    builder.listener(Listener::plain(([127, 0, 0, 1], 0).into())).start().unwrap()
}

fn get(proxy: &ProxyHandle, path: &str) -> String {
    let mut stream = TcpStream::connect(proxy.addresses()[0]).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn count(proxy: &ProxyHandle, reason: Reason) -> u64 {
    proxy.metrics().refused.iter().filter(|(counted, _)| *counted == reason).map(|(_, count)| count).sum()
}

#[test]
fn handlers_answer_edit_and_forward() {
    let origin = Origin::simple();
    let proxy = edge(&origin);
    let answer = get(&proxy, "/h/answer?q");
    assert!(answer.starts_with("HTTP/1.1 201 ") && answer.ends_with("127.0.0.1 a Some(\"q\")"), "{answer}");
    assert!(!answer.contains("X-Seen"), "its own answer is not a response of the upstream: {answer}");
    let answer = get(&proxy, "/h/edit");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("X-Seen: 200\r\n"), "{answer}");
    let edited = |text: &str| text.contains("GET /edited ") && text.contains("X-Added: by-handler\r\n");
    assert!(origin.wait(edited), "{}", origin.text());
    assert!(origin.text().contains("X-Real-IP: 127.0.0.1\r\n") && !origin.text().contains("6.6.6.6"));
    assert!(!get(&proxy, "/other").contains("X-Seen"), "a route without a handler has none");
}

#[test]
fn handlers_that_fail_fail_closed() {
    let origin = Origin::simple();
    let proxy = edge(&origin);
    assert!(get(&proxy, "/h/panic").starts_with("HTTP/1.1 500 "));
    assert!(!origin.text().contains("/h/panic"), "nothing was forwarded");
    assert!(get(&proxy, "/h/late").starts_with("HTTP/1.1 500 "));
    assert_eq!(count(&proxy, Reason::HandlerFailed), 2);
    assert!(get(&proxy, "/alone").starts_with("HTTP/1.1 404 "), "there is nowhere to forward to");
    assert!(get(&proxy, "/h/answer").starts_with("HTTP/1.1 201 "), "the worker still serves");
    assert_eq!(proxy.worker_status().iter().filter(|worker| worker.error.is_some()).count(), 0);
    // Such a route refuses paths that can be read in two ways: the handler may decide by them.
    for path in ["/h/../alone", "/h//answer", "/h/%2e%2e/alone", "/h/a%2fb"] {
        assert!(get(&proxy, path).starts_with("HTTP/1.1 400 "), "{path}");
    }
    assert!(get(&proxy, "/h/a%20b?c=/../d").starts_with("HTTP/1.1 200 "), "one reading");
}
