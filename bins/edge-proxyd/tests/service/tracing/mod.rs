//! Tracing: the sandboxed program between curl and origins, and a collector that parses with OpenTelemetry's own
//! definitions.

use super::{KillOnDrop, Manager, PROGRAM, ends, signal};
use serde_json::Value;
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use testkit::{Authority, Origin, free_port, nobody};

const SPOOFED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const HOP: &str = "00-11111111111111111111111111111111-2222222222222222-01";
const UNSAMPLED: &str = "00-33333333333333333333333333333333-4444444444444444-00";

fn tools() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    target.join("tools")
}

/// A collector on this port, and the spans it receives.
fn collector(port: u16) -> (KillOnDrop, Receiver<Value>) {
    let python = tools().join("python");
    assert!(
        python.join("opentelemetry/proto").exists(),
        "opentelemetry-proto is missing: cargo xtask tools installs it"
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/service/tracing/collector.py");
    let mut child = Command::new("/usr/bin/python3")
        .arg("-B")
        .arg(script)
        .arg(port.to_string())
        .env("PYTHONPATH", python)
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let (sender, spans) = channel();
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let _ = sender.send(serde_json::from_str(&line).expect("JSON"));
        }
    });
    (KillOnDrop(child), spans)
}

/// A trace as the client sent it, and as the origin received it.
struct RecordedTrace {
    server: Value,
    clients: Vec<Value>,
}

fn of<'a>(spans: &'a [Value], path: &str) -> Vec<&'a Value> {
    let matches = |span: &&Value| {
        span["attributes"]["url.path"] == path
            || span["attributes"]["url.full"].as_str().is_some_and(|full| full.ends_with(path))
    };
    spans.iter().filter(matches).collect()
}

/// Returns the spans of the request for this path.
#[track_caller]
fn seen(spans: &[Value], path: &str) -> RecordedTrace {
    let mine = of(spans, path);
    let kind = |wanted: &str| -> Vec<Value> {
        mine.iter().filter(|span| span["kind"] == wanted).map(|span| (*span).clone()).collect()
    };
    let servers = kind("SPAN_KIND_SERVER");
    assert_eq!(servers.len(), 1, "{path}: {mine:#?}");
    let mut clients = kind("SPAN_KIND_CLIENT");
    clients.sort_by_key(|span| span["start"].as_u64());
    for client in &clients {
        assert_eq!((&client["trace"], &client["parent"]), (&servers[0]["trace"], &servers[0]["span"]));
        assert!(client["start"].as_u64() >= servers[0]["start"].as_u64(), "{client:#}");
        assert!(client["end"].as_u64() <= servers[0]["end"].as_u64(), "{client:#}");
        assert!(client["start"].as_u64() <= client["end"].as_u64(), "{client:#}");
    }
    RecordedTrace { server: servers[0].clone(), clients }
}

/// Returns the head of the request for this path as an origin received it, in lower case.
#[track_caller]
fn head(origin: &Origin, path: &str) -> String {
    let text = origin.text();
    let at = text.find(&format!("GET {path}")).unwrap_or_else(|| panic!("{path} did not arrive: {text}"));
    text[at..].split("\r\n\r\n").next().expect("a head").to_lowercase()
}

fn field(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
}

fn parent(context: &Value) -> String {
    let text = |key: &str| context[key].as_str().expect("text").to_owned();
    format!("00-{}-{}-0{}", text("trace"), text("span"), context["flags"].as_u64().expect("flags") & 3)
}

struct Lab {
    manager: Manager,
    origin: Origin,
    tls: u16,
    collector: u16,
}

impl Lab {
    fn new() -> Self {
        let origin = Origin::simple();
        // Every connection of this one ends without a response.
        let broken = Origin::scripted(|bytes| {
            bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|end| (Vec::new(), end + 4))
        });
        let manager = Manager::new(origin.address());
        let (tls, collector) = (free_port(), free_port());
        let folder = manager.folder.path();
        let authority = Authority::new();
        authority.write(&folder.join("acme/a.test"), &["a.test"]);
        std::fs::write(folder.join("root.pem"), authority.root()).expect("a file");
        std::fs::create_dir(folder.join("secrets")).expect("a folder");
        let secret = folder.join("secrets/otlp");
        std::fs::write(&secret, "Bearer hunter2\n").expect("a file");
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("ours");
        let config = std::fs::read_to_string(manager.config()).expect("the file");
        let config = format!(
            "{config}[[site.route]]\npath = \"/pair\"\nupstream = \"pair\"\n\
             [[site.route]]\nexact = \"/here\"\nrespond = {{ body = \"here\" }}\n\
             [upstream.pair]\ntargets = [\"http://{}\", \"http://{}\", \"http://{}\"]\nhealth.failures = 0\n\
             [[listen]]\naddress = \"127.0.0.1:{tls}\"\ntls = true\nhttp3 = true\n\
             [certificates]\nfolder = \"{}\"\n[trust]\nranges = \"127.0.0.2\"\n[sandbox]\nconnect = \"configured\"\n\
             [tracing]\ncollector = \"http://127.0.0.1:{collector}\"\nservice = \"edge\"\nqueue = 64\n\
             interval = \"100ms\"\ntimeout = \"5s\"\nheaders.Authorization = \"file:{}\"\n",
            broken.address(),
            nobody(),
            origin.address(),
            folder.join("acme").display(),
            secret.display(),
        );
        std::fs::write(manager.config(), config).expect("a file");
        Self { manager, origin, tls, collector }
    }

    /// Sends a request with curl, from this address.
    #[track_caller]
    fn ask(&self, version: &str, from: &str, path: &str, fields: &[&str]) {
        let mut curl = Command::new(tools().join("newer/curl"));
        curl.args(["-sS", "--max-time", "30", version, "--interface", from, "--cacert"]);
        curl.arg(self.manager.folder.path().join("root.pem"));
        curl.args(["--resolve", &format!("a.test:{}:127.0.0.1", self.tls), "-w", "%{http_code}"]);
        for field in fields {
            curl.args(["-H", field]);
        }
        let output = curl.arg(format!("https://a.test:{}{path}", self.tls)).output();
        let output = output.expect("curl with HTTP/3 is missing: cargo xtask tools installs it");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.ends_with("200"), "{path}: {text} {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Returns counts of spans: exported, dropped for lack of room, and rejected.
    fn counts(&self) -> [u64; 3] {
        let mut stream = TcpStream::connect(("127.0.0.1", self.manager.status)).expect("the status page");
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("it is open");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("text");
        ["exported", "dropped", "failed"].map(|outcome| {
            let begin = format!("edge_spans_total{{outcome=\"{outcome}\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&begin));
            line.unwrap_or_else(|| panic!("{text}")).parse().expect("a number")
        })
    }
}

#[test]
fn a_trace_is_taken_from_hops_alone_and_told_to_services_and_to_a_collector_that_comes_late() {
    let lab = Lab::new();
    let mut service = KillOnDrop(lab.manager.start(Path::new(PROGRAM)));
    lab.manager.hear("READY=1");
    // A thread sets its name once it runs.
    let until = Instant::now() + Duration::from_secs(20);
    while !confined(service.0.id(), "edge-spans") {
        assert!(Instant::now() < until, "no thread of that name is confined");
        std::thread::sleep(Duration::from_millis(5));
    }
    let spoofed = format!("traceparent: {SPOOFED}");
    let (stranger, hop) = ("127.0.0.1", "127.0.0.2");
    // The collector is down.
    let versions = [("--http1.1", "1.1"), ("--http2", "2"), ("--http3-only", "3")];
    for (flag, version) in versions {
        lab.ask(
            flag,
            stranger,
            &format!("/from-outside-{version}?secret=hunter3"),
            &[&spoofed, "tracestate: a=1"],
        );
        let fields =
            [&format!("traceparent: {HOP}"), "tracestate: a=1, b@c=2", "X-Forwarded-For: 203.0.113.7"];
        lab.ask(flag, hop, &format!("/by-hop-{version}"), &fields);
    }
    lab.ask("--http2", hop, "/unsampled", &[&format!("traceparent: {UNSAMPLED}"), "tracestate: c=3"]);
    lab.ask("--http2", hop, "/malformed", &["traceparent: 00-zz", "tracestate: d=4"]);
    lab.ask("--http1.1", stranger, "/here", &[]);
    // One target aborts, one is down, one is healthy; the worker's turn decides where the first attempt goes.
    for at in 0..6 {
        lab.ask("--http1.1", stranger, &format!("/pair/{at}"), &[]);
    }
    assert_eq!(lab.counts(), [0, 0, 0], "nobody took any, and there is room");
    // More spans than fit into the queue.
    let mut stream = TcpStream::connect(lab.manager.plain).expect("it serves");
    for _ in 0..100 {
        stream.write_all(b"GET /flood HTTP/1.1\r\nHost: a.test\r\n\r\n").expect("it is open");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            answer.push(byte[0]);
        }
    }
    drop(stream);
    let [_, dropped, _] = lab.counts();
    assert!(dropped >= 100, "{dropped} of 200 spans for 64 places");
    let told = Command::new(PROGRAM).args(["status", "--config"]).arg(lab.manager.config()).output();
    let told = String::from_utf8_lossy(&told.expect("it was built").stdout).into_owned();
    let lost = told.lines().find_map(|line| line.split_once(" spans were lost")?.0.parse().ok());
    // The last of them may have been counted in between.
    assert!(lost.is_some_and(|lost: u64| (dropped..=200).contains(&lost)), "{lost:?}: {told}");
    // The collector starts, rejects the first export, and then receives all queued spans.
    let (_collector, arriving) = collector(lab.collector);
    let mut spans: Vec<Value> = Vec::new();
    let until = Instant::now() + Duration::from_secs(60);
    // The attempt that succeeded is the last span of a request.
    let whole = |spans: &[Value], path: &str| {
        of(spans, path).iter().any(|span| {
            span["kind"] == "SPAN_KIND_CLIENT" && span["attributes"]["http.response.status_code"] == 200
        })
    };
    // The last request before the flood; the queue preserves order.
    let wanted = |spans: &[Value]| whole(spans, "/pair/5");
    while !wanted(&spans) {
        assert!(Instant::now() < until, "not all arrived: {spans:#?}");
        spans.extend(arriving.recv_timeout(Duration::from_millis(100)));
    }
    let identifiers: HashSet<_> = spans.iter().map(|span| span["span"].as_str()).collect();
    assert_eq!(identifiers.len(), spans.len(), "no span came twice");
    let text = serde_json::to_string(&spans).expect("JSON");
    assert!(!text.contains("hunter") && !text.contains("b7ad6b7169203331"), "{text}");
    assert!(!text.contains(&SPOOFED[3..35]) && !text.contains(&UNSAMPLED[3..35]), "{text}");
    for (_, version) in versions {
        strangers(&lab, &spans, version);
        by_hop(&lab, &spans, version);
    }
    // Not sampled, and passed on as such.
    let told = head(&lab.origin, "/unsampled");
    let passed = field(&told, "traceparent").expect("it is passed on");
    assert!(passed.starts_with(&UNSAMPLED[..36]) && passed.ends_with("-00"), "{passed}");
    assert_ne!(passed[36..52], UNSAMPLED[36..52], "by a span of the proxy's");
    assert_eq!(field(&told, "tracestate").as_deref(), Some("c=3"));
    let RecordedTrace { server, .. } = seen(&spans, "/malformed");
    assert_eq!((&server["parent"], &server["state"]), (&"".into(), &"".into()));
    assert_eq!(field(&head(&lab.origin, "/malformed"), "tracestate"), None);
    let RecordedTrace { server, clients } = seen(&spans, "/here");
    assert_eq!((server["attributes"]["http.route"].as_str(), clients.len()), (Some("/here"), 0));
    repeated(&lab, &spans);
    // Requests in flight at shutdown are exported too.
    lab.ask("--http2", stranger, "/at-the-end", &[]);
    signal(service.0.id(), "TERM");
    ends(&mut service.0);
    let until = Instant::now() + Duration::from_secs(20);
    while !whole(&spans, "/at-the-end") {
        assert!(Instant::now() < until, "the end was not told");
        spans.extend(arriving.recv_timeout(Duration::from_millis(100)));
    }
}

/// Returns whether the process has a thread of this name with the restrictions of the sandbox.
fn confined(process: u32, name: &str) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("a process");
    let mut of = tasks.map(|task| std::fs::read_to_string(task.expect("a thread").path().join("status")));
    of.any(|status| {
        let status = status.unwrap_or_default();
        status.starts_with(&format!("Name:\t{name}\n")) && status.contains("\nSeccomp:\t2\n")
    })
}

/// Requests of an untrusted client get a new trace, whatever the client sent.
fn strangers(lab: &Lab, spans: &[Value], version: &str) {
    let path = format!("/from-outside-{version}");
    let RecordedTrace { server, clients } = seen(spans, &path);
    assert_eq!((server["service"].as_str(), server["parent"].as_str()), (Some("edge"), Some("")));
    assert_eq!((server["name"].as_str(), server["state"].as_str()), (Some("GET /*"), Some("")));
    // Sampled, with random bits, and without state of other vendors.
    assert_eq!((server["flags"].as_u64(), server["failed"].as_bool()), (Some(0b1_0000_0011), Some(false)));
    let said = &server["attributes"];
    let wanted = serde_json::json!({
        "client.address": "127.0.0.1",
        "edge.site": "a.test",
        "edge.upstream": said["edge.upstream"],
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/*",
        "network.peer.address": "127.0.0.1",
        "network.peer.port": said["network.peer.port"],
        "network.protocol.version": version,
        "server.address": "a.test",
        "server.port": lab.tls,
        "url.path": path,
        "url.scheme": "https",
        "user_agent.original": said["user_agent.original"],
    });
    assert_eq!(*said, wanted);
    assert!(said["user_agent.original"].as_str().is_some_and(|agent| agent.starts_with("curl/")), "{said:#}");
    assert_eq!(clients.len(), 1);
    let address = lab.origin.address();
    let wanted = serde_json::json!({
        "edge.upstream": said["edge.upstream"],
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": address.port(),
        "url.full": format!("http://{address}{path}"),
    });
    assert_eq!(clients[0]["attributes"], wanted);
    let told = head(&lab.origin, &path);
    assert_eq!(field(&told, "traceparent"), Some(parent(&clients[0])));
    assert_eq!(field(&told, "tracestate"), None);
}

/// Requests of a client behind a trusted proxy continue the trace.
fn by_hop(lab: &Lab, spans: &[Value], version: &str) {
    let path = format!("/by-hop-{version}");
    let RecordedTrace { server, clients } = seen(spans, &path);
    assert_eq!(
        (server["trace"].as_str(), server["parent"].as_str()),
        (Some(&HOP[3..35]), Some(&HOP[36..52]))
    );
    // Sampled, with state of another vendor.
    assert_eq!(
        (server["flags"].as_u64(), server["state"].as_str()),
        (Some(0b11_0000_0001), Some("a=1,b@c=2"))
    );
    let said = &server["attributes"];
    assert_eq!(
        (&said["client.address"], &said["network.peer.address"]),
        (&"203.0.113.7".into(), &"127.0.0.2".into())
    );
    let told = head(&lab.origin, &path);
    assert_eq!(field(&told, "traceparent"), Some(parent(&clients[0])));
    assert_eq!(field(&told, "tracestate").as_deref(), Some("a=1,b@c=2"));
}

/// A request whose first attempts fail: each attempt has a span, and the successful one has the number of earlier
/// attempts.
fn repeated(lab: &Lab, spans: &[Value]) {
    let mut kinds = HashSet::new();
    for at in 0..6 {
        let path = format!("/pair/{at}");
        let RecordedTrace { server, clients } = seen(spans, &path);
        assert_eq!(server["attributes"]["http.response.status_code"], 200);
        assert_eq!((server["name"].as_str(), server["failed"].as_bool()), (Some("GET /pair/*"), Some(false)));
        let (last, before) = clients.split_last().expect("it was sent");
        assert_eq!(
            (last["failed"].as_bool(), &last["attributes"]["error.type"]),
            (Some(false), &Value::Null)
        );
        assert_eq!(field(&head(&lab.origin, &path), "traceparent"), Some(parent(last)));
        for one in before {
            assert_eq!(one["failed"], true, "{one:#}");
            kinds.insert(one["attributes"]["error.type"].as_str().expect("a reason").to_owned());
        }
        let broken = |span: &&Value| span["attributes"]["error.type"] == "upstream-broke-off";
        let sent = before.iter().filter(broken).count();
        assert_eq!(last["attributes"]["http.request.resend_count"].as_u64().unwrap_or(0), sent as u64);
    }
    assert_eq!(kinds, HashSet::from(["upstream-broke-off".into(), "upstream-unreachable".into()]));
}
