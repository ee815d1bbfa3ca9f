//! The owner's hosts, run as they are configured: a public edge and a node behind it, each in a network namespace of its own
//! with a tailnet between them. Needs root, for the namespaces.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use testkit::Authority;

const PROGRAM: &str = env!("CARGO_BIN_EXE_edge-proxyd");
const HOSTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/hosts");

/// A service of the node: it says the head that it got.
const SERVICE: &str = "
import http.server
class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        text = (self.requestline + '\\n' + str(self.headers)).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(('127.0.0.1', 8222), Echo).serve_forever()
";

/// The namespaces and what runs in them; all of it goes when the test ends.
struct Net {
    tag: String,
    children: Vec<Child>,
    folder: tempfile::TempDir,
}

impl Net {
    fn new() -> Self {
        let uid = Command::new("id").arg("-u").output().expect("id runs").stdout;
        assert_eq!(uid, b"0\n", "network namespaces take root: sudo cargo test -p edge-proxyd --test hosts");
        let tag = format!("hosts{}", std::process::id());
        let net = Self { tag, children: Vec::new(), folder: tempfile::tempdir().expect("a folder") };
        for host in ["edge", "node", "public"] {
            net.root(&format!("ip netns add {0}-{host} && ip -n {0}-{host} link set lo up", net.tag));
        }
        net.link("edge", "tailscale0", "100.64.0.1/10", "node", "tailscale0", "100.64.0.2/10");
        net.link("edge", "eth0", "203.0.113.1/24", "public", "eth0", "203.0.113.7/24");
        // What MagicDNS would say.
        let names = PathBuf::from(format!("/etc/netns/{}-edge", net.tag));
        std::fs::create_dir_all(&names).expect("a folder for the names");
        std::fs::write(names.join("hosts"), "127.0.0.1 localhost\n100.64.0.2 lab-matrix id3-eniac\n")
            .expect("names");
        net
    }

    fn root(&self, script: &str) {
        let output = Command::new("sh").args(["-c", script]).output().expect("sh runs");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn link(&self, a: &str, a_name: &str, a_address: &str, b: &str, b_name: &str, b_address: &str) {
        let tag = &self.tag;
        self.root(&format!(
            "ip link add {a_name} netns {tag}-{a} type veth peer name {b_name} netns {tag}-{b} &&
             ip -n {tag}-{a} address add {a_address} dev {a_name} && ip -n {tag}-{a} link set {a_name} up &&
             ip -n {tag}-{b} address add {b_address} dev {b_name} && ip -n {tag}-{b} link set {b_name} up"
        ));
    }

    /// A command in a namespace. What it mounts is seen by nobody else.
    fn at(&self, host: &str, script: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}-{host}", self.tag), "sh", "-c", script]);
        command
    }

    fn start(&mut self, mut command: Command) {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("ip runs");
        self.children.push(child);
    }

    /// curl from the public side.
    fn curl(&self, arguments: &str) -> Output {
        let root = self.folder.path().join("root.pem");
        let script = format!(
            "exec /usr/bin/curl -sS --max-time 10 --cacert {} --resolve '*:443:203.0.113.1' --resolve '*:80:203.0.113.1' {arguments}",
            root.display()
        );
        self.at("public", &script).output().expect("ip runs")
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for host in ["edge", "node", "public"] {
            let _ = Command::new("ip").args(["netns", "delete", &format!("{}-{host}", self.tag)]).status();
        }
        let _ = std::fs::remove_dir_all(format!("/etc/netns/{}-edge", self.tag));
    }
}

fn config(host: &str) -> PathBuf {
    Path::new(HOSTS).join(host).join("edge.toml")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_client_is_known_through_both_hosts() {
    let mut net = Net::new();
    let authority = Authority::new();
    std::fs::write(net.folder.path().join("root.pem"), authority.root()).expect("a file");
    let acme = net.folder.path().join("acme");
    authority.write(&acme.join("example.org"), &["vault.example.org", "git.example.org", "example.org"]);

    let service = net.folder.path().join("service.py");
    std::fs::write(&service, SERVICE).expect("a file");
    let run = net.at("node", &format!("exec /usr/bin/python3 {}", service.display()));
    net.start(run);
    let node = config("lab-matrix");
    let run = net.at("node", &format!("exec {PROGRAM} run --workers 1 --config {}", node.display()));
    net.start(run);
    let script = format!(
        "mount -t tmpfs none /var/lib && mkdir /var/lib/acme && mount --bind {} /var/lib/acme && exec {PROGRAM} run --workers 1 --config {}",
        acme.display(),
        config("vps-pacman").display()
    );
    let run = net.at("edge", &script);
    net.start(run);

    // All three are up when the first request passes.
    let until = Instant::now() + Duration::from_secs(15);
    let first = loop {
        let output =
            net.curl("-H 'X-Forwarded-For: 6.6.6.6' -H 'X-Real-IP: 6.6.6.6' https://vault.example.org/a");
        if output.status.success() && text(&output).starts_with("GET /a") || Instant::now() > until {
            break text(&output);
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(first.contains("X-Real-IP: 203.0.113.7\n"), "{first}");
    assert!(first.contains("X-Forwarded-For: 203.0.113.7, 100.64.0.1\n"), "{first}");
    assert!(first.contains("X-Forwarded-Proto: https\n"), "{first}");
    assert!(!first.contains("6.6.6.6"), "a spoofed address arrived: {first}");

    // Administration is for the tailnet only, whatever the edge is asked.
    let refused = text(&net.curl("-o /dev/null -w '%{http_code}' https://vault.example.org/admin"));
    assert_eq!(refused, "502", "the node closes without a byte");
    let script = "exec /usr/bin/curl -sS --max-time 10 -H 'Host: vault.example.org' http://lab-matrix/admin";
    let allowed = text(&net.at("edge", script).output().expect("ip runs"));
    assert!(allowed.starts_with("GET /admin") && allowed.contains("X-Real-IP: 100.64.0.1"), "{allowed}");

    let redirect = text(&net.curl("-I http://git.example.org/x"));
    assert!(redirect.contains("308") && redirect.contains("https://git.example.org/x"), "{redirect}");
    for stranger in ["-k https://unknown.example/", "-k https://203.0.113.1/", "http://203.0.113.1/"] {
        let output = net.curl(stranger);
        assert!(!output.status.success() && output.stdout.is_empty(), "{stranger}: {}", text(&output));
    }
}
