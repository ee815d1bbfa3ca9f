//! The proxy obtains certificates from Pebble by DNS-01, serves them over TCP and QUIC, and renews them by ARI without
//! dropping a connection.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use testkit::authoritative::{TSIG_NAME, TSIG_SECRET};
use testkit::free_port;
use testkit::postgres::{Options, Postgres};
use testkit::{Authority, Fault, FaultProxy, KnotServer, Origin, Pebble, PebbleVersion, tls_client};

const PROGRAM: &str = env!("CARGO_BIN_EXE_edge-proxyd");

/// A running proxy, and its output.
struct ProxyProcess(Child);

impl Drop for ProxyProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(said: &Receiver<String>, words: &str) {
    let until = Instant::now() + Duration::from_secs(60);
    let mut all = String::new();
    while let Ok(line) = said.recv_timeout(until.saturating_duration_since(Instant::now())) {
        if line.contains(words) {
            return;
        }
        all.push_str(&line);
        all.push('\n');
    }
    panic!("`{words}` was not said:\n{all}");
}

/// The servers and files that a proxy with `[acme]` needs.
struct Lab {
    knot: KnotServer,
    pebble: Pebble,
    origin: Origin,
    folder: tempfile::TempDir,
}

impl Lab {
    fn start() -> Self {
        let knot = KnotServer::start(&[("example.test", ""), ("later.test", ""), ("never.test", "")]);
        let pebble = Pebble::start(PebbleVersion::V2_10, knot.address(), &[]);
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("roots.pem"), pebble.tls_root()).expect("a file");
        std::fs::write(folder.path().join("issuing.pem"), pebble.issuing_root()).expect("a file");
        Self { knot, pebble, origin: Origin::simple(), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a proxy of this name, with its certificates in a folder of this name. `more` is the beginning of
    /// `[acme]`.
    fn serve(&self, name: &str, port: u16, directory: &str, more: &str) -> (ProxyProcess, Receiver<String>) {
        self.serve_with(name, port, directory, (more, "", ""))
    }

    /// Like [`serve`](Self::serve), with more lines of the provider, and more at the end.
    fn serve_with(
        &self,
        name: &str,
        port: u16,
        directory: &str,
        (more, provider, end): (&str, &str, &str),
    ) -> (ProxyProcess, Receiver<String>) {
        let home = self.folder.path().display();
        let config = format!(
            r#"https_port = {port}
[[listen]]
address = "127.0.0.1:{port}"
tls = true
http3 = true
[certificates]
folder = "{home}/{name}"
[[site]]
hosts = ["a.example.test", "b.example.test"]
upstream = "http://{}"
[acme]
{more}email = "admin@example.test"
dns.resolvers = "{dns}"
dns.authority_port = {}
[acme.authority.pebble]
directory = "{directory}"
roots = "{home}/roots.pem"
limits = false
[acme.provider.knot]
kind = "rfc2136"
server = "{dns}"
key_name = "{TSIG_NAME}"
key = "env:TSIG"
{provider}[[acme.certificate]]
names = "a.example.test"
authority = "pebble"
settle = 0
ari_floor = 1
{end}"#,
            self.origin.address(),
            self.knot.address().port(),
            dns = self.knot.address(),
        );
        let path = self.path(&format!("{name}.toml"));
        std::fs::write(&path, config).expect("a file");
        let mut child = Command::new(PROGRAM)
            .args(["run", "--workers", "2", "--grace", "5", "--config"])
            .arg(path)
            .env("TSIG", TSIG_SECRET)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program was built");
        let errors = child.stderr.take().expect("it is piped");
        let (sender, said) = channel();
        std::thread::spawn(move || {
            BufReader::new(errors).lines().map_while(Result::ok).for_each(|line| {
                let _ = sender.send(line);
            });
        });
        (ProxyProcess(child), said)
    }

    fn chain(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name).join("a.example.test/fullchain.pem")).expect("a chain")
    }
}

#[test]
fn certificates_from_pebble_over_tcp_and_quic_renewed_by_ari() {
    let lab = Lab::start();
    // Pebble sends a Retry-After of six hours.
    let before = FaultProxy::start(lab.pebble.address(), lab.pebble.tls_root(), |line, _| {
        if line.starts_with("GET /draft-ietf-acme-ari") || line.contains("renewal") {
            return Fault::Replace("Retry-After: 21600".into(), "Retry-After: 1".into());
        }
        Fault::Pass
    });
    std::fs::write(lab.path("roots.pem"), before.root()).expect("a file");
    let port = free_port();
    let (_served, said) = lab.serve("acme", port, &before.directory(), "");
    wait_for(&said, "a.example.test: deployed");

    let tools = std::env::current_exe().expect("a path");
    let tools = tools.ancestors().map(|at| at.join("tools/newer/curl")).find(|at| at.exists());
    let newer = tools.expect("curl with HTTP/3 is there; cargo xtask tools installs it");
    let curl = |arguments: &[&str]| {
        let output = Command::new(&newer)
            .args([
                "-sS",
                "--max-time",
                "10",
                "--resolve",
                &format!("a.example.test:{port}:127.0.0.1"),
                "--cacert",
            ])
            .arg(lab.path("issuing.pem"))
            .args(["-o", "/dev/null", "-w", "%{http_code} %{http_version}"])
            .args(arguments)
            .arg(format!("https://a.example.test:{port}/"))
            .output()
            .expect("curl runs");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    assert_eq!(curl(&["--http2"]), "200 2");
    assert_eq!(curl(&["--http3-only"]), "200 3");

    // A connection that stays open across the renewal.
    let first = lab.chain("acme");
    let name = rustls::pki_types::ServerName::try_from("a.example.test").expect("a name");
    let config = Arc::new(tls_client(&lab.pebble.issuing_root(), &[b"http/1.1"]));
    let tcp = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    tcp.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    let tls = rustls::ClientConnection::new(config, name).expect("a client");
    let mut kept = rustls::StreamOwned::new(tls, tcp);
    let mut ask = || {
        kept.write_all(b"GET / HTTP/1.1\r\nHost: a.example.test\r\n\r\n").expect("it is open");
        let mut part = [0; 4096];
        let n = kept.read(&mut part).expect("an answer");
        assert!(String::from_utf8_lossy(&part[..n]).starts_with("HTTP/1.1 200"));
    };
    ask();
    lab.pebble.set_renewal_info(
        &first,
        r#"{"suggestedWindow":{"start":"2026-01-01T00:00:00Z","end":"2026-01-02T00:00:00Z"}}"#,
    );
    wait_for(&said, "the CA suggests 2026-01-01");
    wait_for(&said, "a.example.test: deployed");
    ask();
    assert_ne!(lab.chain("acme"), first);
    assert_eq!(curl(&["--http3-only"]), "200 3");
    assert_eq!(curl(&["--http1.1"]), "200 1.1");
    assert_eq!(lab.knot.txt("_acme-challenge.a.example.test"), Vec::<String>::new());
}

#[test]
fn what_acme_lacks_may_come_later_and_keeps_nothing_else_from_being_served() {
    let lab = Lab::start();
    // The roots of the CA, and the secret of an alert.
    let (roots, aside) = (lab.path("roots.pem"), lab.path("roots-aside.pem"));
    std::fs::rename(&roots, &aside).expect("a file");
    let port = free_port();
    // A name that has its certificate.
    let other = Authority::new();
    other.write(&lab.path("acme/b.example.test"), &["b.example.test"]);
    let (status, hook) = (free_port(), lab.path("hook"));
    let end = format!(
        "[acme.alert]\nwebhook = \"file:{}\"\n[status]\naddress = \"127.0.0.1:{status}\"\n",
        hook.display()
    );
    let (_served, said) = lab.serve_with("acme", port, &lab.pebble.directory(), ("", "", &end));
    wait_for(&said, "certificates of this authority are held back until then");
    wait_for(&said, "alerts are not sent there until then");
    wait_for(&said, "a.example.test: held back");
    assert!(shown(other.root(), port, "b.example.test").is_some(), "the name with a certificate is served");
    let page = ask(status, "/");
    assert!(page.contains("a.example.test is not renewed: the authority pebble is not ready"), "{page}");
    assert!(page.contains("[acme] alert.webhook: ") && page.contains("alerts are not sent there"), "{page}");
    let json: serde_json::Value = serde_json::from_str(&ask(status, "/status.json")).expect("JSON");
    let parts: Vec<&str> =
        json["not_ready"].as_array().expect("a list").iter().filter_map(|one| one["part"].as_str()).collect();
    assert_eq!(parts, ["authority.pebble.roots", "alert.webhook"], "{json}");
    std::fs::rename(&aside, &roots).expect("a file");
    wait_for(&said, "a.example.test: deployed");
    let sample = |value: u8| format!("edge_acme_not_ready{{part=\"alert.webhook\"}} {value}\n");
    assert!(ask(status, "/metrics").contains(&sample(1)));
    std::fs::write(&hook, "http://127.0.0.1:9/").expect("a file");
    std::fs::set_permissions(&hook, Permissions::from_mode(0o600)).expect("a mode");
    wait_for(&said, "[acme] alert.webhook is ready");
    assert!(ask(status, "/metrics").contains(&sample(0)) && !ask(status, "/").contains("alert.webhook"));
}

#[test]
fn two_stores_of_which_one_fails_take_down_no_site_that_has_its_certificate() {
    let lab = Lab::start();
    let postgres = Postgres::start(&Options::new(18));
    let database = lab.path("database");
    let more = format!("database = \"file:{}\"\n", database.display());
    let other = Authority::new();
    other.write(&lab.path("acme/b.example.test"), &["b.example.test"]);
    let port = free_port();
    let directory = lab.pebble.directory();
    let is_served = |root: &str, name: &str| {
        let until = Instant::now() + Duration::from_secs(20);
        while shown(root, port, name).is_none() {
            assert!(Instant::now() < until, "{name} is not served");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    // The shared store has no secret yet: what the folder has is served, and nothing is ordered.
    let (served, said) = lab.serve("acme", port, &directory, &more);
    wait_for(&said, "everything else is served");
    is_served(other.root(), "b.example.test");
    assert_eq!(lab.pebble.logged("POST /order-plz"), 0);
    let text = format!("host={} port={} user=postgres", postgres.socket_folder().display(), postgres.port());
    std::fs::write(&database, text).expect("a file");
    std::fs::set_permissions(&database, Permissions::from_mode(0o600)).expect("a mode");
    wait_for(&said, "a.example.test: deployed");
    drop(served);
    // At the next start it is away again, for another reason: the copy in the folder is served too.
    drop(postgres);
    let (served, said) = lab.serve("acme", port, &directory, &more);
    wait_for(&said, "listening on");
    is_served(&lab.pebble.issuing_root(), "a.example.test");
    is_served(other.root(), "b.example.test");
    drop(served);
    // And the folder's own records cannot be written: a file is in the place of their folder.
    std::fs::remove_dir_all(lab.path("acme/.acme-dns01")).expect("a folder");
    std::fs::write(lab.path("acme/.acme-dns01"), "").expect("a file");
    let (_served, said) = lab.serve("acme", port, &directory, &more);
    wait_for(&said, "everything else is served");
    is_served(&lab.pebble.issuing_root(), "a.example.test");
    is_served(other.root(), "b.example.test");
}

#[test]
fn a_secret_that_is_missing_holds_back_the_certificates_of_its_provider_only() {
    let lab = Lab::start();
    let (port, status) = (free_port(), free_port());
    let other = Authority::new();
    other.write(&lab.path("acme/b.example.test"), &["b.example.test"]);
    let dns = lab.knot.address();
    let provider = |name: &str, key: &str| {
        format!(
            "[acme.provider.{name}]\nkind = \"rfc2136\"\nserver = \"{dns}\"\nkey_name = \"{TSIG_NAME}\"\n\
             key = \"{key}\"\nzone = \"later.test\"\n"
        )
    };
    let file = lab.path("tsig-later");
    let end = format!(
        "{}{}{}[status]\naddress = \"127.0.0.1:{status}\"\n\
         [[site]]\nhosts = [\"www.later.test\"]\nupstream = \"http://{}\"\n",
        provider("later", &format!("file:{}", file.display())),
        provider("never", "env:NOWHERE").replace("later.test", "never.test"),
        "[[acme.certificate]]\nnames = \"www.later.test\"\nprovider = \"later\"\nauthority = \"pebble\"\nsettle = 0\n\
         [[acme.certificate]]\nnames = \"www.never.test\"\nprovider = \"never\"\nauthority = \"pebble\"\nsettle = 0\n",
        lab.origin.address(),
    );
    let (_served, said) =
        lab.serve_with("acme", port, &lab.pebble.directory(), ("", "zone = \"example.test\"\n", &end));
    wait_for(&said, "listening on");
    assert!(shown(other.root(), port, "b.example.test").is_some(), "the name with a certificate is served");
    wait_for(&said, "a.example.test: deployed");
    let orders = || lab.pebble.logged("POST /order-plz");
    assert_eq!(orders(), 1);
    let held = |certificate: &str| {
        let text = ask(status, "/metrics");
        let of = format!("edge_acme_held_back{{certificate=\"{certificate}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&of));
        line.unwrap_or_else(|| panic!("{certificate}: {text}")).to_owned()
    };
    assert_eq!(["a.example.test", "www.later.test", "www.never.test"].map(held), ["0", "1", "1"]);
    let json: serde_json::Value = serde_json::from_str(&ask(status, "/status.json")).expect("JSON");
    let reason = json["held_back"][0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("the provider later is not ready") && reason.contains("tsig-later"), "{json}");
    let page = ask(status, "/");
    assert!(page.contains("www.never.test is not renewed") && page.contains("NOWHERE"), "{page}");

    std::fs::write(&file, TSIG_SECRET).expect("a file");
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("a mode");
    wait_for(&said, "www.later.test: no longer held back");
    wait_for(&said, "www.later.test: deployed");
    assert_eq!(orders(), 2);
    assert_eq!(["www.later.test", "www.never.test"].map(held), ["0", "1"]);
}

/// Requests a path of the status page, and returns the content of the response.
fn ask(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a response");
    let (head, content) = text.split_once("\r\n\r\n").expect("a response");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    content.to_owned()
}

/// The certificates that both proxies present.
type PresentedCertificates = [Option<Vec<u8>>; 2];

/// Returns the certificate of the proxy at this port, verified against a CA's root.
fn shown(root: &str, port: u16, name: &str) -> Option<Vec<u8>> {
    let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n");
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).expect("a name");
    let config = Arc::new(tls_client(root, &[b"http/1.1"]));
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).ok()?;
    tcp.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
    let mut tls = rustls::ClientConnection::new(config, name).expect("a client");
    let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
    stream.write_all(request.as_bytes()).ok()?;
    let mut part = [0; 4096];
    let n = stream.read(&mut part).ok()?;
    assert!(String::from_utf8_lossy(&part[..n]).starts_with("HTTP/1.1 200"));
    tls.peer_certificates()?.first().map(|der| der.to_vec())
}

#[test]
fn two_proxies_share_one_order_by_postgres_and_both_swap_while_they_serve() {
    let lab = Lab::start();
    let postgres = Postgres::start(&Options::new(18));
    let database =
        format!("host={} port={} user=postgres", postgres.socket_folder().display(), postgres.port());
    std::fs::write(lab.path("database"), database).expect("a file");
    std::fs::set_permissions(lab.path("database"), Permissions::from_mode(0o600)).expect("a mode");
    let more = format!("database = \"file:{}\"\n", lab.path("database").display());
    let ports = [free_port(), free_port()];
    let directory = lab.pebble.directory();
    let start = |name: &str, port| lab.serve(name, port, &directory, &more);
    let one = start("one", ports[0]);
    let (mut other, _said) = start("other", ports[1]);
    let wait = |what: &str, holds: &dyn Fn(&PresentedCertificates) -> bool| {
        let until = Instant::now() + Duration::from_secs(180);
        loop {
            let seen = ports.map(|port| shown(&lab.pebble.issuing_root(), port, "a.example.test"));
            if holds(&seen) {
                return seen;
            }
            assert!(Instant::now() < until, "{what}: {:?}", seen.map(|seen| seen.is_some()));
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let first = wait("both serve it", &|seen| seen[0].is_some() && seen[0] == seen[1]);
    assert_eq!(lab.pebble.logged("There are now 1 orders"), 1, "one order for both");
    assert_eq!(lab.pebble.logged("There are now 2 orders"), 0, "one order for both");
    assert_eq!(lab.pebble.logged("There are now 2 accounts"), 0, "one account for both");
    assert_eq!(lab.chain("one"), lab.chain("other"));

    // The CA wants the certificate replaced. One proxy renews at its next start, and both serve the new one; the
    // other's connections and process are unaffected.
    lab.pebble.set_renewal_info(
        &lab.chain("one"),
        r#"{"suggestedWindow":{"start":"2026-01-01T00:00:00Z","end":"2026-01-02T00:00:00Z"}}"#,
    );
    let session = postgres.session();
    // Forget the renewal information, as after its Retry-After.
    session
        .query(
            "UPDATE acme_dns01_journal SET record = regexp_replace(record, '\"next\":[0-9]+', '\"next\":0')",
        )
        .expect("an answer");
    drop(one);
    let _one = start("one", ports[0]);
    wait("both serve the new one", &|seen| seen[0].is_some() && seen[0] == seen[1] && seen[0] != first[0]);
    assert_eq!(lab.pebble.logged("There are now 3 orders"), 0, "one order for both");
    assert!(other.0.try_wait().expect("a child").is_none(), "it runs as it did");
    // The certificate is served first; the record is removed afterwards.
    wait("no TXT record is left", &|_| lab.knot.txt("_acme-challenge.a.example.test").is_empty());

    // A proxy starts while the database hangs: its port is open, and nothing responds on it however long a client
    // waits.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let hangs = format!(
        "host=127.0.0.1 port={} user=postgres connect_timeout=600",
        silent.local_addr().expect("an address").port()
    );
    std::fs::write(lab.path("database"), hangs).expect("a file");
    let kept = shown(&lab.pebble.issuing_root(), ports[1], "a.example.test").expect("it is served");
    drop(other);
    let _other = start("other", ports[1]);
    wait("what it has is served", &|seen| seen[1].as_ref() == Some(&kept));
}
