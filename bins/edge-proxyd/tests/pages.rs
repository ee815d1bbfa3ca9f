//! Pages of the book whose commands need no root: each command is run with the page's own files.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use testkit::free_port;

const PROGRAM: &str = env!("CARGO_BIN_EXE_edge-proxyd");
const MONITORING: &str = include_str!("../../../examples/book/monitoring.md");
const TWO_EDGES: &str = include_str!("../../../examples/book/two-edges.md");
const EDGES: &str = include_str!("../../../examples/hosts/two-edges/edge.toml");

/// Kills the process when the test ends.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the contents of the fenced blocks of a page whose fences begin with this text.
fn blocks<'p>(page: &'p str, info: &str) -> Vec<&'p str> {
    let mut parts = page.split("```");
    parts.next();
    let found = parts.step_by(2).filter_map(|block| block.split_once('\n'));
    found.filter(|(begin, _)| *begin == info).map(|(_, content)| content).collect()
}

/// Runs a command of a page in this folder, as a shell does.
#[track_caller]
fn run(folder: &Path, line: &str) -> Output {
    let line = line.replace("sudo ", "").replace("edge-proxyd ", &format!("{PROGRAM} "));
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", &line])
        .current_dir(folder)
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {said}{}", String::from_utf8_lossy(&output.stdout));
    output
}

/// Returns a page of the status address. `None` if nothing listens there.
fn page(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

#[test]
fn monitoring() {
    let folder = tempfile::tempdir().expect("a folder");
    let (plain, status) = (free_port(), free_port());
    let config = blocks(MONITORING, "toml edge.toml").concat();
    assert!(config.contains("0.0.0.0:80") && config.contains("127.0.0.1:9180"), "{config}");
    let config = config.replace("0.0.0.0:80", &format!("127.0.0.1:{plain}"));
    let config = config.replace("127.0.0.1:9180", &format!("127.0.0.1:{status}"));
    std::fs::write(folder.path().join("edge.toml"), config).expect("a file");
    let service = Command::new(PROGRAM)
        .args(["run", "--workers", "1", "--config", "edge.toml"])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _service = KillOnDrop(service.expect("it was built"));
    let until = Instant::now() + Duration::from_secs(30);
    while page(status, "/metrics").is_none() {
        assert!(Instant::now() < until, "it does not serve its metrics");
        std::thread::sleep(Duration::from_millis(50));
    }
    let commands = blocks(MONITORING, "sh").concat();
    let ours: Vec<&str> = commands.lines().filter(|line| line.starts_with("edge-proxyd ")).collect();
    assert_eq!(ours, ["edge-proxyd status --config edge.toml --json"]);
    let shown = run(folder.path(), ours[0]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert!(shown.is_object(), "{shown}");
    // Prometheus knows the names in the alerts.
    let metrics = page(status, "/metrics").expect("metrics");
    let alerts = blocks(MONITORING, "yaml").concat();
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let names: Vec<&str> = alerts.split(word).filter(|name| name.starts_with("edge_")).collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        assert!(metrics.contains(&format!("# TYPE {name} ")), "{name}: {metrics}");
    }
}

#[test]
fn two_edges() {
    // The parts of the page are those of the whole configuration.
    let parts = blocks(TWO_EDGES, "toml").concat();
    assert!(parts.contains("[shared]"), "{parts}");
    for line in parts.lines().filter(|line| !line.is_empty()) {
        assert!(EDGES.lines().any(|known| known == line), "{line}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("edge.toml"), EDGES).expect("a file");
    let secret = folder.path().join("shared");
    let commands = blocks(TWO_EDGES, "sh").concat();
    assert_eq!(commands.lines().count(), 2, "{commands}");
    for line in commands.lines() {
        run(folder.path(), &line.replace("/etc/edge-proxyd/shared", &secret.display().to_string()));
    }
    let made = std::fs::metadata(&secret).expect("the secret");
    assert_eq!((made.len(), made.permissions().mode() & 0o777), (32, 0o600));
}
