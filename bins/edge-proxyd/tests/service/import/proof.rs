//! Proofs of imports: real nginx and edge-proxyd side by side, over a corpus of configurations and over random ones.

use super::{PROGRAM, nginx, random};
use serde_json::Value;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Returns a program that runs the nginx of the tests.
fn wrapper(folder: &Path) -> PathBuf {
    let command = nginx();
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let path = folder.join("nginx");
    let module = PathBuf::from(command.get_args().last().expect("the path of nginx"))
        .with_file_name("../lib/nginx/modules/ngx_stream_module.so");
    assert!(module.exists(), "{} is missing: cargo xtask tools installs it", module.display());
    let script =
        format!("#!/bin/sh\nexec {} -g 'load_module {};' \"$@\"\n", words.join(" "), module.display());
    std::fs::write(&path, script).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    path
}

fn prove(nginx: &Path, file: &Path, requests: u32) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(["import", "--prove", "--json", "--requests", &requests.to_string(), "--nginx"]);
    command.arg(nginx).arg(file);
    command.output().expect("it was built")
}

/// Returns the differences of a proof with this harm, as lines.
fn differences(output: &Output, harm: &str) -> Vec<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {said}"));
    assert!(found["requests"].as_u64().is_some_and(|count| count > 0), "{found}");
    let all = found["differences"].as_array().cloned().unwrap_or_default();
    all.iter().filter(|one| one["harm"] == harm).map(ToString::to_string).collect()
}

/// Runs work over items on two threads.
fn at_once<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

#[test]
fn the_corpus_answers_as_nginx_does_or_is_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let nginx = wrapper(folder.path());
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/service/import/corpus");
    let entries = std::fs::read_dir(corpus).expect("the corpus").flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    assert!(files.len() >= 60, "{}", files.len());
    at_once(&files, |file| {
        let text = std::fs::read_to_string(file).expect("a file");
        let output = prove(&nginx, file, OF_CORPUS);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{}: {said}", file.display());
        let none: Vec<String> = Vec::new();
        assert_eq!(differences(&output, "open"), none, "{}", file.display());
        if text.starts_with("# same: ") {
            assert_eq!(
                output.status.code(),
                Some(0),
                "{}: {}",
                file.display(),
                String::from_utf8_lossy(&output.stdout)
            );
        } else {
            assert!(text.starts_with("# closed: "), "{}", file.display());
        }
    });
}

/// The requests that a file of the corpus is asked: most have fewer.
const OF_CORPUS: u32 = 300;

/// The requests that a random configuration is asked: more configurations find more than more requests do.
const OF_RANDOM: u32 = 400;

/// How many random configurations are proven; `IMPORT_CASES` sets another number, and `IMPORT_SEED` the first seed.
fn cases() -> (u64, u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    (number("IMPORT_SEED").unwrap_or(1), number("IMPORT_CASES").unwrap_or(8))
}

#[test]
fn no_request_that_nginx_refuses_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let nginx = wrapper(folder.path());
    let (first, count) = cases();
    let seeds: Vec<u64> = (first..first + count).collect();
    let rejected = AtomicUsize::new(0);
    at_once(&seeds, |seed| {
        let text = random::configuration(*seed);
        let file = folder.path().join(format!("{seed}.conf"));
        std::fs::write(&file, &text).expect("a file");
        let output = prove(&nginx, &file, OF_RANDOM);
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("nginx: ended with") && said.contains("[emerg]") {
            // Not a configuration that nginx takes.
            rejected.fetch_add(1, Ordering::Relaxed);
            return;
        }
        assert!(matches!(output.status.code(), Some(0 | 3)), "seed {seed}: {said}\n{text}");
        let open = differences(&output, "open");
        assert!(open.is_empty(), "seed {seed}:\n{text}\n{}", open[..open.len().min(3)].join("\n"));
    });
    let rejected = rejected.into_inner() as u64;
    assert!(rejected * 10 <= count, "{rejected} of {count} are no configurations");
}

#[test]
fn a_service_of_the_machine_is_not_reached_by_a_proof() {
    let folder = tempfile::tempdir().expect("a folder");
    let nginx = wrapper(folder.path());
    let service = TcpListener::bind("127.0.0.1:0").expect("a port");
    service.set_nonblocking(true).expect("a socket");
    let port = service.local_addr().expect("an address").port();
    let file = folder.path().join("site.conf");
    let text = format!(
        "server {{ listen 80; server_name a.test; location / {{ proxy_pass http://127.0.0.1:{port}; }} }}"
    );
    std::fs::write(&file, text).expect("a file");
    let output = prove(&nginx, &file, OF_CORPUS);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let asked = service.accept().map_err(|why| why.kind());
    assert!(matches!(asked, Err(std::io::ErrorKind::WouldBlock)), "{asked:?}");
}

#[test]
fn without_namespaces_a_proof_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("site.conf");
    std::fs::write(&file, "server { listen 80; server_name a.test; return 204; }").expect("a file");
    // A system whose `unshare` is refused.
    let denied = folder.path().join("unshare");
    std::fs::write(&denied, "#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")
        .expect("a file");
    std::fs::set_permissions(&denied, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let mut command = Command::new(PROGRAM);
    command
        .args(["import", "--prove"])
        .arg(&file)
        .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()));
    let output = command.output().expect("it was built");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("namespaces"), "{said}");
    assert!(output.stdout.is_empty());
    // A side that is started by hand, where the network is in reach, refuses too.
    let job = r#"{"command":["true"],"said":"/dev/null","hosts":"/etc/hosts","folder":"/tmp","addresses":[],"recorders":[],"listens":[],"requests":[]}"#;
    let file = folder.path().join("job");
    std::fs::write(&file, job).expect("a file");
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    if routes.lines().count() > 1 {
        let output =
            Command::new(PROGRAM).args(["import", "--side"]).arg(&file).output().expect("it was built");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains("refused"), "{said}");
    }
}

#[test]
fn other_versions_certificates_and_tcp_reach_services() {
    let folder = tempfile::tempdir().expect("a folder");
    let nginx = wrapper(folder.path());
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/service/import/corpus");
    for (file, kinds) in [
        ("http3.conf", &["http1", "http2", "http3"][..]),
        ("mutual-tls-http2.conf", &["http2", "with_certificate"]),
        ("mutual-tls-revoked.conf", &["with_certificate", "kept_from_revoked"]),
        ("error-page-files.conf", &["pages"]),
        ("redirects-and-cookies.conf", &["redirected"]),
        ("weights.conf", &["http1", "balanced"]),
        ("stream-limits.conf", &["tcp"]),
        ("stream-ssh.conf", &["http1", "tcp"]),
        // TLS that is passed through reaches the service as HTTP within it.
        ("stream-names.conf", &["http1"]),
    ] {
        let output = prove(&nginx, &corpus.join(file), OF_CORPUS);
        let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        for kind in kinds {
            assert!(found["reached"][kind].as_u64().is_some_and(|count| count > 0), "{file} {kind}: {found}");
        }
    }
    // A way that only one version has is a difference of that version.
    let file = folder.path().join("site.conf");
    let text = "server {\n  listen 443 ssl;\n  listen 443 quic reuseport;\n  http2 on;\n  server_name a.test;\n  \
                location / {\n    if ($http3 = \"\") { return 403; }\n    proxy_pass http://127.0.0.1:1;\n  }\n}\n";
    std::fs::write(&file, text).expect("a file");
    let output = prove(&nginx, &file, OF_CORPUS);
    let closed = differences(&output, "closed");
    assert!(!closed.is_empty() && closed.iter().all(|one| one.contains(", HTTP/3")), "{closed:#?}");
}

#[test]
fn a_proof_needs_no_rights() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).expect("a mode");
    let nginx = wrapper(folder.path());
    // The account may not be able to read the folder that programs are built in.
    let program = testkit::postgres::readable(Path::new(PROGRAM));
    let file = folder.path().join("site.conf");
    let text = "server { listen 80; server_name a.test; location / { proxy_pass http://127.0.0.1:1; }\n\
                location /in/ { allow 10.0.0.0/8; deny all; proxy_pass http://127.0.0.1:1; } }";
    std::fs::write(&file, text).expect("a file");
    let mut command = Command::new(&program);
    command.args(["import", "--prove", "--nginx"]).arg(&nginx).arg(&file).env("TMPDIR", folder.path());
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let output = command.output().expect("it is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
}

#[test]
fn differences_have_the_line_that_decides() {
    let folder = tempfile::tempdir().expect("a folder");
    let nginx = wrapper(folder.path());
    let file = folder.path().join("site.conf");
    let text = "server {\n  listen 80;\n  server_name a.test;\n  location / {\n    proxy_pass http://127.0.0.1:1;\n  }\n  \
                location /in/ {\n    if ($http_x_key != secret) { return 404; }\n    return 200;\n  }\n  \
                location /agent/ {\n    if ($http_user_agent = bot) { return 403; }\n    proxy_pass http://127.0.0.1:1;\n  }\n}\n";
    std::fs::write(&file, text).expect("a file");
    let mut command = Command::new(PROGRAM);
    let output =
        command.args(["import", "--prove", "--nginx"]).arg(&nginx).arg(&file).output().expect("it was built");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}");
    let wanted = format!("{}:11: GET http://a.test/agent/ ", file.display());
    assert!(said.starts_with("This is now closed:\n") && said.contains(&wanted), "{said}");
    assert!(
        said.contains("    nginx: 200 from 127.0.0.1:1, which got GET /agent/")
            && said.contains("    edge-proxyd: 403"),
        "{said}"
    );
    assert!(said.lines().last().is_some_and(|line| line.contains("requests were asked")), "{said}");
}
