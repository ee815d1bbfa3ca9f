//! The status of a running program: the page in a browser, the metrics in Prometheus' own parser, the command, and the
//! failures of services.

mod failures;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::{Authority, Origin, free_port};

const PROGRAM: &str = env!("CARGO_BIN_EXE_edge-proxyd");

struct Running {
    child: Child,
    folder: tempfile::TempDir,
    plain: u16,
    tls: u16,
    status: u16,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(origin: SocketAddr, extra: &str) -> Self {
        let authority = Authority::new();
        let folder = tempfile::tempdir().expect("a folder");
        authority.write(&folder.path().join("acme/a.test"), &["a.test"]);
        std::fs::write(folder.path().join("root.pem"), authority.root()).expect("a file");
        let [plain, tls, status] = [free_port(), free_port(), free_port()];
        let dead = free_port();
        let config = format!(
            "[[listen]]\naddress = \"127.0.0.1:{tls}\"\ntls = true\nhttp3 = true\n\
             [[listen]]\naddress = \"127.0.0.1:{plain}\"\n\
             [certificates]\nfolder = \"{0}/acme\"\n[log]\nfile = \"{0}/access.log\"\n\
             [status]\naddress = \"127.0.0.1:{status}\"\n\
             [[site]]\nname = \"the <b>lab</b>\"\nhosts = [\"a.test\"]\nplain = \"serve\"\nupstream = \"app\"\n\
             [upstream.app]\ntargets = [\"http://{origin}\", \"http://127.0.0.1:{dead}\"]\n{extra}",
            folder.path().display()
        );
        std::fs::write(folder.path().join("edge.toml"), config).expect("a file");
        let child = Command::new(PROGRAM)
            .args(["run", "--workers", "2", "--config"])
            .arg(folder.path().join("edge.toml"))
            .stderr(Stdio::null())
            .spawn()
            .expect("the program was built");
        let running = Self { child, folder, plain, tls, status };
        let until = Instant::now() + Duration::from_secs(20);
        while running.curl(&[&running.page("")]).is_none() {
            assert!(Instant::now() < until, "it does not serve its page");
            std::thread::sleep(Duration::from_millis(50));
        }
        running
    }

    fn page(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.status)
    }

    fn curl(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new("/usr/bin/curl")
            .args(["-sS", "--max-time", "10", "--resolve", &format!("a.test:{}:127.0.0.1", self.tls)])
            .arg("--cacert")
            .arg(self.folder.path().join("root.pem"))
            .args(arguments)
            .output()
            .expect("curl is there; cargo xtask tools installs it");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Sends requests of several kinds: 12 that succeed, 3 for unknown names, 2 handshakes without a name.
    fn traffic(&self) {
        for _ in 0..6 {
            let (plain, tls) =
                (format!("http://127.0.0.1:{}/", self.plain), format!("https://a.test:{}/", self.tls));
            assert!(self.curl(&["-H", "Host: a.test", &plain]).is_some());
            assert!(self.curl(&["--http2", &tls]).is_some());
        }
        for _ in 0..3 {
            assert!(
                self.curl(&["-H", "Host: other.test", &format!("http://127.0.0.1:{}/", self.plain)])
                    .is_none()
            );
        }
        for _ in 0..2 {
            assert!(self.curl(&["-k", &format!("https://127.0.0.1:{}/", self.tls)]).is_none());
        }
    }
}

fn tools() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    target.join("tools")
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let origin = Origin::simple();
    let running = Running::start(origin.address(), "");
    running.traffic();
    let text = running.curl(&[&running.page("metrics")]).expect("metrics");
    let file = running.folder.path().join("metrics");
    std::fs::write(&file, &text).expect("a file");
    // The parser of Prometheus' client library prints one sample per line.
    let script = "import sys\nfrom prometheus_client.parser import text_string_to_metric_families as parse\n\
                  for family in parse(open(sys.argv[1]).read()):\n  assert family.type != 'unknown', family\n  \
                  for s in family.samples: print(s.name, sorted(s.labels.items()), float(s.value))";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(&file)
        .env("PYTHONPATH", tools().join("python"))
        .output()
        .expect("python3 is there; cargo xtask tools installs it");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\ncargo xtask tools installs prometheus_client\n{text}");
    let read = String::from_utf8_lossy(&output.stdout);
    for line in [
        "edge_requests_total [('site', 'the <b>lab</b>'), ('status', '2xx')] 12.0",
        "edge_requests_by_version_total [('site', 'the <b>lab</b>'), ('version', '2')] 6.0",
        "edge_requests_total [('site', ''), ('status', 'none')] 3.0",
        "edge_requests_refused_total [('reason', 'unknown-name')] 3.0",
        "edge_connections_turned_away_total [('reason', 'no-sni')] 2.0",
        "edge_request_duration_seconds_bucket [('le', '+Inf'), ('site', 'the <b>lab</b>')] 12.0",
        "edge_request_duration_seconds_count [('site', 'the <b>lab</b>')] 12.0",
        "edge_tls_handshakes_total [('kind', 'full')] 6.0",
    ] {
        assert!(read.lines().any(|found| found == line), "{line}\nin\n{read}");
    }
    let up: Vec<_> = read.lines().filter(|line| line.starts_with("edge_upstream_up")).collect();
    assert!(up.len() == 2 && up[0].ends_with("1.0") && up[1].ends_with("0.0"), "{up:?}");
}

#[test]
fn the_page_is_shown_by_a_browser() {
    let origin = Origin::simple();
    let running = Running::start(origin.address(), "");
    running.traffic();
    let chromium = Path::new("/usr/bin/chromium");
    assert!(chromium.exists(), "chromium is missing: cargo xtask tools installs it");
    // Once the charts have two points.
    std::thread::sleep(Duration::from_secs(11));
    let output = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", running.folder.path().join("chromium").display()))
        .arg(running.page(""))
        .output()
        .expect("chromium runs");
    let page = String::from_utf8_lossy(&output.stdout);
    assert!(page.contains("<td>the &lt;b&gt;lab&lt;/b&gt;</td>"), "a name is text, not markup: {page}");
    for part in
        ["<h1>edge-proxyd</h1>", "a.test", "<span class=\"bad\">", "unknown-name", "no-sni", "Certificates"]
    {
        assert!(page.contains(part), "{part:?} in {page}");
    }
    assert!(page.matches("<path class=").count() == 6 && page.contains('L'), "lines are drawn: {page}");
}

#[test]
fn nobody_reads_it_by_another_name() {
    let origin = Origin::simple();
    let running = Running::start(origin.address(), "");
    for host in ["evil.test", "192.0.2.1", "127.0.0.1.evil.test"] {
        let got = running
            .curl(&["-i", "-H", &format!("Host: {host}"), &running.page("status.json")])
            .expect("an answer");
        assert!(got.starts_with("HTTP/1.1 421"), "{host}: {got}");
    }
    for host in ["localhost", "127.0.0.1:80", "[::1]"] {
        let got = running
            .curl(&["-i", "-H", &format!("Host: {host}"), &running.page("status.json")])
            .expect("an answer");
        assert!(got.starts_with("HTTP/1.1 200"), "{host}: {got}");
    }
    assert!(
        running
            .curl(&["-i", "-X", "POST", &running.page("")])
            .expect("an answer")
            .starts_with("HTTP/1.1 405")
    );
}

#[test]
fn the_command_shows_the_same() {
    let origin = Origin::simple();
    let running = Running::start(origin.address(), "");
    running.traffic();
    let status = |arguments: &[&str]| {
        let output = Command::new(PROGRAM)
            .args(["status", "--config"])
            .arg(running.folder.path().join("edge.toml"))
            .args(arguments)
            .output()
            .expect("the program was built");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let shown = status(&[]);
    let line = shown.lines().find(|line| line.starts_with("the <b>lab</b>")).expect("the site");
    assert_eq!(line.split_whitespace().nth(2), Some("12"), "{shown}");
    let report: serde_json::Value = serde_json::from_str(&status(&["--json"])).expect("JSON");
    assert_eq!(report["sites"][0]["requests"], 12);
    assert!(report["certificates"][0]["days"].as_i64().is_some_and(|days| days > 0), "{report}");
}

#[test]
fn failures_of_services_are_shown_with_their_causes() {
    let origin = Origin::simple();
    let dead = free_port();
    let upstreams = format!(
        "[[site]]\nhosts = [\"b.test\"]\nplain = \"serve\"\nupstream = \"refuses\"\n\
         [[site]]\nhosts = [\"c.test\"]\nplain = \"serve\"\nupstream = \"nowhere\"\n\
         [upstream.refuses]\ntarget = \"http://127.0.0.1:{dead}\"\n\
         [upstream.nowhere]\ntarget = \"http://255.255.255.255\"\n"
    );
    let running = Running::start(origin.address(), &upstreams);
    for host in ["b.test", "c.test"] {
        for _ in 0..5 {
            let plain = format!("http://127.0.0.1:{}/", running.plain);
            let got = running.curl(&["-i", "-H", &format!("Host: {host}"), &plain]).expect("an answer");
            assert!(got.starts_with("HTTP/1.1 502"), "{host}: {got}");
        }
    }
    let report = running.curl(&[&running.page("status.json")]).expect("the report");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let targets = report["targets"].as_array().expect("targets");
    let target = |name: &str| targets.iter().find(|target| target["upstream"] == name).expect("the target");
    assert_eq!(target("refuses")["error"], "connection refused");
    assert!(target("refuses")["failures"].as_u64().is_some_and(|failures| failures > 0), "{report}");
    // What this machine does not let through is said, and counts against nobody.
    assert!(
        target("nowhere")["error"].as_str().is_some_and(|error| error.contains("this system")),
        "{report}"
    );
    assert_eq!((&target("nowhere")["failures"], &target("nowhere")["state"]), (&0.into(), &"well".into()));
    let page = running.curl(&[&running.page("")]).expect("the page");
    assert!(page.contains("connection refused, "), "{page}");
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let log = std::fs::read_to_string(running.folder.path().join("access.log")).unwrap_or_default();
        if log.contains("connection refused") && log.contains("edge-cannot-connect") {
            break;
        }
        assert!(Instant::now() < until, "{log}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_log_that_was_moved_away_begins_anew() {
    let origin = Origin::simple();
    let running = Running::start(origin.address(), "");
    let log = running.folder.path().join("access.log");
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(20);
        while !holds() {
            assert!(Instant::now() < end, "not within 20 s: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let ask = || running.curl(&["-H", "Host: a.test", &format!("http://127.0.0.1:{}/", running.plain)]);
    assert!(ask().is_some());
    until("the first line", &|| lines(&log) == 1);
    let moved = running.folder.path().join("access.log.1");
    std::fs::rename(&log, &moved).expect("it is there");
    let signalled = Command::new("kill").args(["-USR1", &running.child.id().to_string()]).status();
    assert!(signalled.expect("kill runs").success());
    until("the new file", &|| log.exists());
    assert!(ask().is_some());
    until("the second line", &|| lines(&log) == 1);
    assert_eq!(lines(&moved), 1);
}
