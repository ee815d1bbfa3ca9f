//! The program as a user runs it: the demo, and `run` with signals and curl as client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::{Authority, Origin, free_port};

const PROGRAM: &str = env!("CARGO_BIN_EXE_edge-proxyd");

#[test]
fn every_line_of_the_demonstration_holds() {
    let output = Command::new(PROGRAM)
        .args(["demo", "--once", "--json", "--tls-port", "0", "--http-port", "0"])
        .output()
        .expect("the program was built");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let lines: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let lines = lines.as_array().expect("a list");
    assert!(lines.len() >= 19, "{text}");
    assert!(lines.iter().all(|line| line["holds"] == true), "{text}");
}

/// The program, serving from its own folder.
struct ProxyProcess {
    child: Child,
    folder: tempfile::TempDir,
    authority: Authority,
    addresses: Vec<SocketAddr>,
    said: std::sync::mpsc::Receiver<String>,
}

impl ProxyProcess {
    fn start(origin: SocketAddr) -> Self {
        Self::start_with(|folder, authority| {
            authority.write(&folder.join("acme/a.test"), &["a.test"]);
            format!(
                "[certificates]\nfolder = \"{0}/acme\"\n[log]\nfile = \"{0}/access.log\"\n\
                 [[site]]\nhosts = [\"a.test\"]\nupstream = \"http://{origin}\"\n",
                folder.display()
            )
        })
    }

    /// Starts the program with two listeners and what `prepare` writes below them.
    fn start_with(prepare: impl FnOnce(&Path, &Authority) -> String) -> Self {
        let authority = Authority::new();
        let folder = tempfile::tempdir().expect("a folder");
        let (tls, plain) = (free_port(), free_port());
        let config = format!(
            "https_port = {tls}\n[[listen]]\naddress = \"127.0.0.1:{tls}\"\ntls = true\nhttp3 = true\n\
             [[listen]]\naddress = \"127.0.0.1:{plain}\"\n{}",
            prepare(folder.path(), &authority)
        );
        std::fs::write(folder.path().join("edge.toml"), config).expect("a file");
        let mut child = Command::new(PROGRAM)
            .args(["run", "--workers", "2", "--grace", "5", "--config"])
            .arg(folder.path().join("edge.toml"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program was built");
        let (sender, said) = std::sync::mpsc::channel();
        let errors = child.stderr.take().expect("it is piped");
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let addresses = [tls, plain].map(|port| ([127, 0, 0, 1], port).into()).to_vec();
        let served = Self { child, folder, authority, addresses, said };
        served.wait_for(&format!("listening on 127.0.0.1:{plain}"));
        served
    }

    /// Waits until the program prints this.
    #[track_caller]
    fn wait_for(&self, text: &str) {
        let until = Instant::now() + Duration::from_secs(10);
        let mut all = Vec::new();
        while let Ok(line) = self.said.recv_timeout(until.saturating_duration_since(Instant::now())) {
            if line.contains(text) {
                return;
            }
            all.push(line);
        }
        panic!("it did not say {text:?} but {all:?}");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    fn curl(&self, arguments: &[&str]) -> String {
        let root = self.folder.path().join("root.pem");
        std::fs::write(&root, self.authority.root()).expect("a file");
        let (tls, plain) = (self.addresses[0].port(), self.addresses[1].port());
        let output = Command::new("/usr/bin/curl")
            .args(["-sS", "--max-time", "10", "--resolve", &format!("a.test:{tls}:127.0.0.1")])
            .args(["--resolve", &format!("a.test:{plain}:127.0.0.1"), "--cacert"])
            .arg(root)
            .args(arguments)
            .output()
            .expect("curl is there; cargo xtask tools installs it");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }
}

impl Drop for ProxyProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn run_serves_reloads_and_ends() {
    let origin = Origin::simple();
    let mut served = ProxyProcess::start(origin.address());
    let (tls, plain) = (served.addresses[0].port(), served.addresses[1].port());
    let url = format!("https://a.test:{tls}/");
    let shown = ["-o", "/dev/null", "-w", "%{http_code} %{http_version}"];

    assert_eq!(served.curl(&[&["--http1.1", &url][..], &shown].concat()), "200 1.1");
    assert_eq!(served.curl(&[&["--http2", &url][..], &shown].concat()), "200 2");
    let head = served.curl(&["-I", "--http1.1", &url]);
    assert!(head.contains(&format!("h3=\":{tls}\"")), "HTTP/3 is advertised: {head}");
    let redirected = served.curl(&["-I", &format!("http://a.test:{plain}/x?y")]);
    assert!(redirected.contains(&format!("https://a.test:{tls}/x?y")), "{redirected}");
    let unknown = served.curl(&["-H", "Host: unknown.test", &format!("http://127.0.0.1:{plain}/")]);
    assert!(unknown.contains("Empty reply from server"), "{unknown}");

    // A connection that stays open through the whole test.
    let mut kept = TcpStream::connect(served.addresses[1]).expect("it listens");
    let ask = |stream: &mut TcpStream, host: &str| {
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
        write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("it is open");
        let mut part = [0; 1024];
        let n = stream.read(&mut part).expect("an answer");
        String::from_utf8_lossy(&part[..n]).into_owned()
    };
    assert!(ask(&mut kept, "a.test").starts_with("HTTP/1.1 308"));

    // An invalid file is rejected with line and nearest key, and nothing changes.
    let path = served.folder.path().join("edge.toml");
    let good = std::fs::read_to_string(&path).expect("the file");
    std::fs::write(&path, good.replace("hosts =", "hots =")).expect("a file");
    served.signal("HUP");
    served.wait_for("hots");
    served.wait_for("the configuration is unchanged");
    assert!(ask(&mut kept, "a.test").starts_with("HTTP/1.1 308"));

    // A valid file takes effect with the next request, on the same connection.
    std::fs::write(&path, good.replace("[\"a.test\"]", "[\"a.test\"]\nplain = \"serve\"")).expect("a file");
    served.signal("HUP");
    served.wait_for("reloaded");
    std::thread::sleep(Duration::from_millis(100));
    assert!(ask(&mut kept, "a.test").starts_with("HTTP/1.1 200"));

    // A replaced certificate is served without any signal.
    let serial = || {
        let script = format!(
            "openssl s_client -connect 127.0.0.1:{tls} -servername a.test </dev/null 2>/dev/null | openssl x509 -noout -serial"
        );
        let output = Command::new("sh").args(["-c", &script]).output().expect("sh runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.starts_with("serial="), "no certificate was served: {text}");
        text
    };
    let before = serial();
    served.authority.write(&served.folder.path().join("acme/a.test"), &["a.test"]);
    served.wait_for("in use");
    assert_ne!(serial(), before, "the old certificate is still served");
    assert_eq!(served.curl(&[&["--http2", &url][..], &shown].concat()), "200 2");

    let log = std::fs::read_to_string(served.folder.path().join("access.log")).expect("the access log");
    for line in log.lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON a line");
        assert_eq!(value["client"], "127.0.0.1");
    }
    assert!(log.lines().count() >= 6, "{log}");

    served.signal("TERM");
    let until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < until {
        if let Some(status) = served.child.try_wait().expect("a child") {
            assert!(status.success(), "{status}");
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it did not end");
}

#[test]
fn run_says_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("edge.toml");
    let run = |text: &str| {
        std::fs::write(&path, text).expect("a file");
        let output =
            Command::new(PROGRAM).arg("run").arg("--config").arg(&path).output().expect("it was built");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = run("[[listen]]\nadress = \"127.0.0.1:0\"\n");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("edge.toml:2:1") && text.contains("address"), "{text}");

    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address");
    let (code, text) = run(&format!("[[listen]]\naddress = \"{address}\"\n"));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&address.to_string()) && text.contains("ss -lntup"), "{text}");
}

#[test]
fn a_key_that_everybody_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let origin = Origin::simple();
    let served = ProxyProcess::start(origin.address());
    let folder = served.folder.path().join("acme/b.test");
    served.authority.write(&folder, &["b.test"]);
    std::fs::set_permissions(folder.join("key.pem"), PermissionsExt::from_mode(0o644)).expect("a mode");
    served.wait_for("chmod 0640");
}

/// The files as certbot leaves them: links to numbered files in another folder, the key readable by root alone.
#[test]
fn a_pair_of_certbot_s_is_checked_explained_and_served() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let origin = Origin::simple();
    let mut live = std::path::PathBuf::new();
    let served = ProxyProcess::start_with(|folder, authority| {
        let archive = folder.join("letsencrypt/archive/a.test");
        live = folder.join("letsencrypt/live/a.test");
        std::fs::create_dir_all(&archive).expect("a folder");
        std::fs::create_dir_all(&live).expect("a folder");
        let (chain, key) = authority.issue(&["a.test"]);
        for (name, text) in [("fullchain", chain), ("privkey", key)] {
            let file = archive.join(format!("{name}1.pem"));
            std::fs::write(&file, text).expect("a file");
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("a mode");
            symlink(format!("../../archive/a.test/{name}1.pem"), live.join(format!("{name}.pem")))
                .expect("a link");
        }
        let pair =
            format!("certificate = \"{0}/fullchain.pem\"\nkey = \"{0}/privkey.pem\"\n", live.display());
        format!(
            "[[site]]\nhosts = [\"a.test\"]\nupstream = \"http://{0}\"\n{pair}\
             [[site]]\nhosts = [\"*\"]\nplain = \"serve\"\nupstream = \"http://{0}\"\n{pair}",
            origin.address()
        )
    });
    let config = served.folder.path().join("edge.toml");
    let run = |arguments: &[&str]| {
        let output = Command::new(PROGRAM).args(arguments).arg("--config").arg(&config).output();
        let output = output.expect("it was built");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    let (code, said) = run(&["check", "--json"]);
    // Neither name lacks a certificate.
    assert!(code == Some(0) && said.contains("\"warnings\":[]"), "{said}");
    for name in ["a.test", "elsewhere.test"] {
        let (code, said) = run(&["explain", &format!("https://{name}/"), "--from", "192.0.2.1"]);
        assert!(code == Some(0) && said.contains("certificate  found: that of the site"), "{said}");
    }
    let port = served.addresses[0].port();
    let status = ["-o", "/dev/null", "-w", "%{http_code}"];
    let url = format!("https://a.test:{port}/");
    assert_eq!(served.curl(&[&[url.as_str()][..], &status].concat()), "200");
    // For every other name it is used as it is.
    let url = format!("https://elsewhere.test:{port}/");
    let to = format!("elsewhere.test:{port}:127.0.0.1:{port}");
    let any = ["--connect-to", &to, "-k", &url];
    assert_eq!(served.curl(&[&any[..], &status].concat()), "200");
    // A renewal changes where the links lead.
    let archive = served.folder.path().join("letsencrypt/archive/a.test");
    let (chain, key) = served.authority.issue(&["a.test"]);
    for (name, text) in [("fullchain", chain), ("privkey", key)] {
        let file = archive.join(format!("{name}2.pem"));
        std::fs::write(&file, text).expect("a file");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("a mode");
        let link = live.join(format!("{name}.pem"));
        std::fs::remove_file(&link).expect("a link");
        symlink(format!("../../archive/a.test/{name}2.pem"), link).expect("a link");
    }
    served.wait_for("in use");
    let url = format!("https://a.test:{port}/");
    assert_eq!(served.curl(&[&[url.as_str()][..], &status].concat()), "200");
}

/// A reload that the proxy rejects changes no certificate, and neither does what follows it.
#[test]
fn a_site_keeps_its_certificate_after_a_reload_that_failed() {
    let origin = Origin::simple();
    let mut pair = String::new();
    let other = Authority::named("the authority of the folder");
    let served = ProxyProcess::start_with(|folder, authority| {
        // Clients trust that of the site alone.
        other.write(&folder.join("acme/a.test"), &["a.test"]);
        authority.write(&folder.join("own"), &["a.test"]);
        let own = folder.join("own");
        pair = format!("certificate = \"{0}/fullchain.pem\"\nkey = \"{0}/key.pem\"\n", own.display());
        format!(
            "[sandbox]\nmode = \"off\"\n[certificates]\nfolder = \"{}/acme\"\n\
             [[site]]\nhosts = [\"a.test\"]\nupstream = \"http://{}\"\n{pair}",
            folder.display(),
            origin.address()
        )
    });
    let file = served.folder.path().join("edge.toml");
    let url = format!("https://a.test:{}/", served.addresses[0].port());
    let status = || served.curl(&["-o", "/dev/null", "-w", "%{http_code}", &url]);
    assert_eq!(status(), "200");
    let good = std::fs::read_to_string(&file).expect("a file");
    // Without the certificate of the site, and with an address that is in use.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let bad = format!("{}[[listen]]\naddress = \"{address}\"\n", good.replace(&pair, ""));
    std::fs::write(&file, bad).expect("a file");
    served.signal("HUP");
    served.wait_for("Address already in use");
    assert_eq!(status(), "200", "its own certificate");
    // What is read anew is not that of the file that was rejected.
    served.authority.write(&served.folder.path().join("own"), &["a.test"]);
    served.wait_for("own/fullchain.pem: in use");
    assert_eq!(status(), "200", "its own certificate, renewed");
    // One that is accepted does without.
    drop(taken);
    served.signal("HUP");
    served.wait_for("reloaded");
    assert!(status().contains("certificate"), "{}", status());
    std::fs::write(&file, good).expect("a file");
    served.signal("HUP");
    served.wait_for("reloaded");
    assert_eq!(status(), "200", "its own certificate again");
}

/// The soft limit of descriptors is raised to the hard one. A hard limit that is too low is reported.
#[test]
fn the_limit_of_descriptors_is_raised_and_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let config = folder.path().join("edge.toml");
    std::fs::write(
        &config,
        format!("[[listen]]\naddress = \"127.0.0.1:{port}\"\n[[site]]\nname = \"a\"\nhosts = [\"a.test\"]\ndrop = true\n"),
    )
    .expect("a file");
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -Sn 300 && ulimit -Hn 500 && exec \"$0\" \"$@\"", PROGRAM])
        .args(["run", "--workers", "1", "--config"])
        .arg(&config)
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut said = BufReader::new(child.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
    let mut warned = false;
    for line in said.by_ref() {
        warned |= line.contains("and the limit is 500");
        if line.contains(&format!("listening on 127.0.0.1:{port}")) {
            break;
        }
    }
    // The launcher is a child of the process, which is the shell's.
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).expect("limits");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    let figures: Vec<&str> = files.split_whitespace().skip(3).take(2).collect();
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_eq!(figures, ["500", "500"]);
    assert!(warned || said.any(|line| line.contains("and the limit is 500")));
}
