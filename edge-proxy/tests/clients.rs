//! Third-party clients through the edge: a browser, curl, Python's gRPC and WebSocket.

use edge_http::websocket;
use edge_proxy::config::{Listener, Protocol, Route, Site, Target, Upstream};
use edge_proxy::{Certificates, Proxy, ProxyHandle};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::{Authority, Origin, answer};

/// The programs that the tests' setup installed.
fn tool(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let path = target.join("tools").join(name);
    assert!(path.exists(), "{} is missing: cargo xtask tools installs it", path.display());
    path
}

/// A page that loads resources, opens a WebSocket, and reports its observations to the origin.
const PAGE: &str = r#"<!doctype html><title>edge</title><script>
const report = (name, value) => fetch('/report/' + name + '/' + encodeURIComponent(value));
(async () => {
    const first = performance.getEntriesByType('navigation')[0].nextHopProtocol;
    const text = await (await fetch('/echo', { method: 'POST', body: 'x'.repeat(100000) })).text();
    await report('page', first + ' ' + text);
    const socket = new WebSocket('wss://' + location.host + '/socket');
    socket.onopen = () => socket.send('through the edge');
    socket.onmessage = message => report('socket', message.data);
    socket.onerror = () => report('socket', 'error');
})();
</script>"#;

/// An origin that serves the page, responds `ok` to everything else, and echoes WebSocket messages.
fn origin() -> Origin {
    Origin::scripted(|bytes| {
        if !bytes.first()?.is_ascii_uppercase() {
            return websocket_echo(bytes);
        }
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
        let field = |name: &str| {
            text.lines().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        if let Some(key) = field("sec-websocket-key") {
            let accept = websocket::accept(key.as_bytes());
            let mut answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ".to_vec();
            answer.extend_from_slice(&accept);
            answer.extend_from_slice(b"\r\n\r\n");
            return Some((answer, head));
        }
        let end = if text.to_lowercase().contains("transfer-encoding: chunked") {
            head + bytes[head..].windows(5).position(|window| window == b"0\r\n\r\n")? + 5
        } else {
            head + field("content-length").and_then(|value| value.parse::<usize>().ok()).unwrap_or(0)
        };
        if bytes.len() < end {
            return None;
        }
        let page = text.starts_with("GET /page ");
        let said = if page {
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{PAGE}",
                PAGE.len()
            )
            .into()
        } else {
            answer("ok")
        };
        Some((said, end))
    })
}

/// Reads one short message and sends it back unmasked (RFC 6455 §5.2).
fn websocket_echo(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let length = usize::from(*bytes.get(1)? & 0x7f);
    assert!(length < 126, "only short messages are sent here");
    let frame = bytes.get(..6 + length)?;
    let data: Vec<u8> = frame[6..].iter().enumerate().map(|(at, byte)| byte ^ frame[2 + at % 4]).collect();
    let mut answer = vec![frame[0], length as u8];
    answer.extend_from_slice(&data);
    Some((answer, 6 + length))
}

struct Edge {
    port: u16,
    folder: tempfile::TempDir,
    _proxy: ProxyHandle,
}

fn edge(upstream: Upstream) -> Edge {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    authority.write(&folder.path().join("acme/test"), &["a.test", "localhost"]);
    std::fs::write(folder.path().join("root.pem"), authority.root()).unwrap();
    let (certificates, _) = Certificates::load(folder.path().join("acme")).unwrap();
    let hosts = vec!["a.test".parse().unwrap(), "localhost".parse().unwrap()];
    let proxy = Proxy::builder()
        .workers(1)
        .certificates(certificates)
        .listener(Listener::tls(([127, 0, 0, 1], 0).into()).http3(true))
        .site(Site::new("test", hosts).route(Route::forward("origin")))
        .upstream(upstream)
        .start()
        .unwrap();
    Edge { port: proxy.addresses()[0].port(), folder, _proxy: proxy }
}

fn before(origin: &Origin) -> Edge {
    edge(Upstream::new("origin", Target::Tcp { host: "127.0.0.1".into(), port: origin.address().port() }))
}

/// Kills its process when the test ends.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("it can be run");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn curl_over_three_versions() {
    let origin = origin();
    let edge = before(&origin);
    let upload = edge.folder.path().join("upload");
    std::fs::write(&upload, vec![b'u'; 3 << 20]).unwrap();
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2"), ("--http3-only", "3")] {
        let text = run(Command::new(tool("newer/curl"))
            .args(["-sS", "--max-time", "20", flag, "--cacert"])
            .arg(edge.folder.path().join("root.pem"))
            .args(["--resolve", &format!("a.test:{}:127.0.0.1", edge.port), "-T"])
            .arg(&upload)
            .args(["-w", " %{http_code} %{http_version}", &format!("https://a.test:{}/up", edge.port)]));
        assert_eq!(text, format!("ok 200 {version}"));
    }
    assert!(origin.bytes().len() > 9 << 20, "three uploads arrived whole");
}

/// The key digest by which a browser is told to trust this certificate.
fn spki(folder: &Path) -> String {
    let script = "openssl x509 -in \"$chain\" -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64";
    let chain = folder.join("acme/test/fullchain.pem");
    run(Command::new("sh").args(["-c", script]).env("chain", chain)).trim().to_owned()
}

fn browse(edge: &Edge, origin: &Origin, quic: bool, protocol: &str) {
    let chromium = Path::new("/usr/bin/chromium");
    assert!(chromium.exists(), "chromium is missing: cargo xtask tools installs it");
    let port = edge.port;
    let mut command = Command::new(chromium);
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
        ])
        .args(["--disable-component-update", "--disable-sync", "--remote-debugging-port=0"])
        .arg(format!("--user-data-dir={}", edge.folder.path().join(protocol).display()))
        .arg(format!("--ignore-certificate-errors-spki-list={}", spki(edge.folder.path())))
        .arg("--host-resolver-rules=MAP a.test 127.0.0.1");
    if quic {
        command.arg(format!("--origin-to-force-quic-on=a.test:{port}"));
    } else {
        command.arg("--disable-quic");
    }
    command.arg(format!("https://a.test:{port}/page")).stdout(Stdio::null()).stderr(Stdio::null());
    let _browser = Process(command.spawn().expect("chromium runs"));
    let until = Instant::now() + Duration::from_secs(40);
    let wanted =
        [format!("GET /report/page/{protocol}%20ok "), "GET /report/socket/through%20the%20edge ".into()];
    while Instant::now() < until {
        let text = origin.text();
        if wanted.iter().all(|line| text.contains(line)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let text = origin.text();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(" HTTP/1.1")).collect();
    panic!("the browser did not report {wanted:?}, but asked {lines:?}");
}

#[test]
fn a_browser_over_http2() {
    let origin = origin();
    browse(&before(&origin), &origin, false, "h2");
}

#[test]
fn a_browser_over_http3() {
    let origin = origin();
    browse(&before(&origin), &origin, true, "h3");
}

fn python(script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.env("PYTHONPATH", tool("python")).args(["-c", script]).args(arguments);
    command
}

#[test]
fn a_websocket_client() {
    let origin = origin();
    let edge = before(&origin);
    let script = "
import asyncio, ssl, sys, websockets
async def main(port, root):
    context = ssl.create_default_context(cafile=root)
    async with websockets.connect(f'wss://localhost:{port}/', ssl=context, compression=None, proxy=None) as socket:
        for n in range(100):
            await socket.send(f'message {n}')
            assert await socket.recv() == f'message {n}'
    print('done')
asyncio.run(main(sys.argv[1], sys.argv[2]))
";
    let root = edge.folder.path().join("root.pem");
    let text = run(&mut python(script, &[&edge.port.to_string(), root.to_str().unwrap()]));
    assert_eq!(text.trim(), "done");
}

#[test]
fn a_grpc_client() {
    let server = "
import grpc, sys
from concurrent import futures
class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method == '/t.Echo/Unary':
            return grpc.unary_unary_rpc_method_handler(lambda request, context: request + b'!')
        if details.method == '/t.Echo/Chat':
            def chat(requests, context):
                for request in requests:
                    yield request + b'?'
                context.set_trailing_metadata((('x-said', 'bye'),))
            return grpc.stream_stream_rpc_method_handler(chat)
server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Echo()])
print(server.add_insecure_port('127.0.0.1:0'), flush=True)
server.start()
sys.stdin.read()
";
    let mut child =
        Process(python(server, &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port: u16 = line.trim().parse().expect("the server says its port");
    let mut upstream = Upstream::new("origin", Target::Tcp { host: "127.0.0.1".into(), port });
    upstream.protocol = Protocol::Http2;
    let edge = edge(upstream);
    let client = "
import grpc, sys
root = open(sys.argv[2], 'rb').read()
channel = grpc.secure_channel(f'localhost:{sys.argv[1]}', grpc.ssl_channel_credentials(root), [('grpc.enable_http_proxy', 0)])
assert channel.unary_unary('/t.Echo/Unary')(b'hi', timeout=10) == b'hi!'
call = channel.stream_stream('/t.Echo/Chat')(iter([b'a', b'b', b'c']), timeout=10)
assert list(call) == [b'a?', b'b?', b'c?']
assert ('x-said', 'bye') in [(m.key, m.value) for m in call.trailing_metadata()]
try:
    channel.unary_unary('/t.Echo/None')(b'', timeout=10)
    raise SystemExit('an unknown method was answered')
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
print('done')
";
    let root = edge.folder.path().join("root.pem");
    let text = run(&mut python(client, &[&edge.port.to_string(), root.to_str().unwrap()]));
    assert_eq!(text.trim(), "done");
    child.0.stdin.take().unwrap().flush().unwrap();
}
