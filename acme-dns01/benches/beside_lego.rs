//! Comparison of first orders with lego and certbot, at the same Pebble with the same name server:
//!
//! cargo bench -p acme-dns01 --all-features --bench beside_lego -- 200 200 20
//!
//! The numbers are how many certificates this crate, lego and certbot get; 200, 20 and 5 unless given. This crate works
//! with its default timeouts, five at once as it does by default, and twenty at once. The others run sequentially, one
//! process per certificate, as their timers start them. lego has no option for the port of the authoritative name
//! servers, so its own propagation check is disabled, which makes it faster. `cargo xtask tools` installs all of them.

use acme_dns01::client::{Acme, Http};
use acme_dns01::dns::Dns;
use acme_dns01::engine::{Authority, Certificate, Engine, Renewal, RoundOutcome};
use acme_dns01::provider::{Rfc2136, TsigAlgorithm};
use acme_dns01::store::{FileStore, Ownership};
use acme_dns01::{CertificateSpec, Limits};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use testkit::authoritative::{TSIG_NAME, TSIG_SECRET};
use testkit::{KnotServer, Pebble, PebbleVersion};

/// The servers that one contender is measured against: a Knot name server, a Pebble CA, and a folder for its state that
/// also contains the CA's TLS root (`roots.pem`).
struct Lab {
    knot: KnotServer,
    pebble: Pebble,
    folder: tempfile::TempDir,
}

impl Lab {
    /// Starts the servers, and writes Pebble's root to a new folder.
    fn start() -> Self {
        let knot = KnotServer::start(&[("example.test", "")]);
        let pebble = Pebble::start(PebbleVersion::V2_10, knot.address(), &[]);
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("roots.pem"), pebble.tls_root()).expect("a file");
        Self { knot, pebble, folder }
    }

    /// Returns the path of a file in the folder.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Issues `count` certificates with this crate's engine, at most `at_once` concurrently. Returns the total time and the
/// highest number of attempts that were under way at the same time.
///
/// # Panics
/// Panics if a certificate is not issued.
fn ours(count: usize, at_once: usize) -> (Duration, usize) {
    let lab = Lab::start();
    let mut dns = Dns::new(vec![lab.knot.address()]);
    dns.authority_port = lab.knot.address().port();
    let secret =
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, TSIG_SECRET).expect("base64");
    let updates = Rfc2136::new(lab.knot.address())
        .tsig(TSIG_NAME, TsigAlgorithm::HmacSha256, &secret.into())
        .expect("a key");
    let acme = Acme::new(lab.pebble.directory(), Http::new(Some(lab.pebble.tls_root())).expect("a client"));
    let store = FileStore::open(lab.path("acme"), Ownership::default()).expect("a store");
    let (active, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let peak = most.clone();
    let engine = Engine::new(Arc::new(store), dns)
        .authority("pebble", Authority::new(acme))
        .provider("knot", Arc::new(updates))
        .parallel(at_once)
        .observer(Arc::new(move |_, event| {
            let what = event.to_string();
            if what.starts_with("begins") {
                most.fetch_max(active.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            } else if what == "deployed" {
                active.fetch_sub(1, Ordering::SeqCst);
            }
        }));
    let certificates: Vec<Certificate> = (0..count)
        .map(|number| {
            let name = format!("c{number}.example.test").parse().expect("a name");
            let mut spec = CertificateSpec::new([name], "pebble");
            spec.limits = Limits::none();
            spec.into()
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let engine = Arc::new(engine);
    let began = Instant::now();
    let outcomes = runtime.expect("a runtime").block_on(engine.run_once(&certificates, Renewal::WhenDue));
    let took = began.elapsed();
    assert!(outcomes.iter().all(|outcome| outcome.outcome == RoundOutcome::Issued), "{outcomes:?}");
    assert_eq!(lab.pebble.logged("Issued certificate"), count);
    (took, peak.load(Ordering::SeqCst))
}

/// Returns the path of a program below the `tools` folder of the build's target folder.
///
/// # Panics
/// Panics if the program is missing.
fn tool(name: &str) -> PathBuf {
    let program = std::env::current_exe().expect("the path of this program");
    let found = program.ancestors().map(|folder| folder.join("tools").join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is not there: run `cargo xtask tools` first"))
}

/// Runs another client `count` times in sequence, one process per certificate, with the command built for the name
/// `cN.example.test`. Returns the total time.
///
/// # Panics
/// Panics if a run fails, or Pebble did not issue `count` certificates.
fn theirs(count: usize, lab: &Lab, command: impl Fn(&str) -> Command) -> Duration {
    let began = Instant::now();
    for number in 0..count {
        let name = format!("c{number}.example.test");
        let mut command = command(&name);
        let output = command.stdin(Stdio::null()).output().expect("it is installed");
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command:?}: {said}");
    }
    let took = began.elapsed();
    assert_eq!(lab.pebble.logged("Issued certificate"), count);
    took
}

/// Returns the time in which lego issues `count` certificates, one process each.
fn lego(count: usize) -> Duration {
    let lab = Lab::start();
    let (program, dns) = (tool("newer-pebble/usr/bin/lego"), lab.knot.address().to_string());
    theirs(count, &lab, |name| {
        let mut command = Command::new(&program);
        command.args(["--accept-tos", "--email", "admin@example.test", "--server", &lab.pebble.directory()]);
        command.args(["--dns", "rfc2136", "--dns.resolvers", &dns, "--dns.propagation-wait", "1s"]);
        command.args(["--domains", name, "--path"]).arg(lab.path("lego")).arg("run");
        command.env("LEGO_CA_CERTIFICATES", lab.path("roots.pem")).env("RFC2136_NAMESERVER", &dns);
        command.env("RFC2136_TSIG_KEY", TSIG_NAME).env("RFC2136_TSIG_SECRET", TSIG_SECRET);
        command.env("RFC2136_TSIG_ALGORITHM", "hmac-sha256.");
        command
    })
}

/// Writes an executable certbot hook that adds (`what` is `add`) or deletes (`del`) the TXT record of a challenge by a
/// dynamic update to the name server at `port`.
fn hook(path: &Path, what: &str, port: u16) {
    let script = format!(
        "#!/bin/sh\nprintf 'server 127.0.0.1 {port}\\nkey hmac-sha256:{TSIG_NAME} {TSIG_SECRET}\\nzone example.test.\\n{what} \
         _acme-challenge.%s. 5 TXT \"%s\"\\nsend\\n' \"$CERTBOT_DOMAIN\" \"$CERTBOT_VALIDATION\" | knsupdate\n"
    );
    std::fs::write(path, script).expect("a file");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("a mode");
}

/// Returns the time in which certbot issues `count` certificates, one process each.
fn certbot(count: usize) -> Duration {
    let lab = Lab::start();
    let port = lab.knot.address().port();
    hook(&lab.path("present"), "add", port);
    hook(&lab.path("cleanup"), "del", port);
    theirs(count, &lab, |name| {
        let mut command = Command::new("/usr/bin/certbot");
        command.args([
            "certonly",
            "--non-interactive",
            "--agree-tos",
            "-m",
            "admin@example.test",
            "--manual",
        ]);
        command.args(["--preferred-challenges", "dns", "--server", &lab.pebble.directory(), "-d", name]);
        command.arg("--manual-auth-hook").arg(lab.path("present"));
        command.arg("--manual-cleanup-hook").arg(lab.path("cleanup"));
        for folder in ["config", "work", "logs"] {
            command.arg(format!("--{folder}-dir")).arg(lab.path(folder));
        }
        command.env("REQUESTS_CA_BUNDLE", lab.path("roots.pem"));
        command
    })
}

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let count = |at: usize, usual: usize| numbers.get(at).copied().unwrap_or(usual);
    let (us, by_lego, by_certbot) = (count(0, 200), count(1, 20), count(2, 5));
    let mut rows: Vec<(String, usize, Duration)> = Vec::new();
    for at_once in [5, 20] {
        let (took, most) = ours(us, at_once);
        assert!(most <= at_once, "{most} at once, not {at_once}");
        rows.push((format!("acme-dns01, {at_once} at once (at most {most} were)"), us, took));
    }
    if by_lego > 0 {
        rows.push(("lego, one after the other".to_owned(), by_lego, lego(by_lego)));
    }
    if by_certbot > 0 {
        rows.push(("certbot, one after the other".to_owned(), by_certbot, certbot(by_certbot)));
    }
    let each = |(_, count, took): &(String, usize, Duration)| took.as_secs_f64() / (*count).max(1) as f64;
    let fastest = rows.iter().map(each).fold(f64::INFINITY, f64::min);
    println!("{:<44} {:>5} {:>9} {:>9} {:>7}", "", "certs", "seconds", "s a cert", "ratio");
    for row in &rows {
        let (what, count, took) = row;
        let ratio = each(row) / fastest;
        println!("{what:<44} {count:>5} {:>9.1} {:>9.2} {ratio:>7.1}", took.as_secs_f64(), each(row));
    }
}
