//! What keeps `run` from starting is what `check` calls an error, with the line and the fix.

use edge_http::encoding::base64;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use testkit::{Authority, free_port};

const PROGRAM: &str = env!("CARGO_BIN_EXE_edge-proxyd");
const SITE: &str = "[[site]]\nname = \"a\"\nhosts = [\"a.test\"]\nplain = \"serve\"\nupstream = \"api\"\n";

/// A configuration that does not start: what is added to a valid one, the line of the fault, its key, and words of the
/// fault and of its fix.
struct Fault {
    added: String,
    line: usize,
    key: &'static str,
    words: &'static str,
    fix: &'static str,
}

/// Returns the faults, each with its part of the configuration from line 11 on.
fn faults(folder: &Path, listener: &str) -> Vec<Fault> {
    let at = |name: &str| folder.join(name).display().to_string();
    let tls = |keys: &str| format!("[upstream.api.tls]\n{keys}");
    let ca = |name: &str| tls(&format!("ca = \"{}\"\n", at(name)));
    let pair = |certificate: &str, key: &str| {
        tls(&format!("certificate = \"{}\"\nkey = \"{}\"\n", at(certificate), at(key)))
    };
    let log = |path: &str| format!("[log]\nfile = \"{}\"\n", at(path));
    let status = |address: &str| format!("[status]\naddress = \"{address}\"\n");
    let tracing = |keys: &str| format!("[tracing]\ncollector = \"https://127.0.0.1:1\"\n{keys}\n");
    let shared = |database: &str, secret: &str, more: &str| {
        let (database, secret) = (at(database), at(secret));
        format!("[shared]\ndatabase = \"file:{database}\"\nsecret = \"file:{secret}\"\n{more}")
    };
    let long = "a".repeat(108);
    let rows = [
        (ca("none.pem"), 12, "upstream.api.tls.ca", "No such file", "write the path of the authorities"),
        (ca("empty"), 12, "upstream.api.tls.ca", "no certificate in it", "write the path of the authorities"),
        (
            ca("damaged.pem"),
            12,
            "upstream.api.tls.ca",
            "rustls refuses",
            "write the certificates of an authority",
        ),
        (
            pair("none.pem", "good/key.pem"),
            12,
            "upstream.api.tls.certificate",
            "No such file",
            "certificate in PEM",
        ),
        (
            pair("good/fullchain.pem", "none.pem"),
            13,
            "upstream.api.tls.key",
            "No such file",
            "private key in PEM",
        ),
        (
            pair("good/fullchain.pem", "other/key.pem"),
            12,
            "upstream.api.tls.certificate",
            "rustls refuses",
            "the key that belongs to it",
        ),
        (
            tls(&format!("pin = \"{}\"\n", at("none.pem"))),
            12,
            "upstream.api.tls.pin",
            "No such file",
            "write the path of the pinned certificate",
        ),
        (
            tracing(&format!("tls = {{ ca = \"{}\" }}", at("none.pem"))),
            13,
            "tracing.tls.ca",
            "No such file",
            "write the path of the authorities",
        ),
        (
            tracing(&format!("headers = {{ Authorization = \"file:{}\" }}", at("none"))),
            13,
            "tracing.headers.Authorization",
            "No such file",
            "write the secret to this file",
        ),
        (
            tracing(&format!("headers = {{ Authorization = \"file:{}\" }}", at("tab"))),
            13,
            "tracing.headers.Authorization",
            "control characters",
            "write the secret on one line",
        ),
        (log("none/access.log"), 12, "log.file", "No such file", "make its folder"),
        (log("empty/access.log"), 12, "log.file", "Not a directory", "make its folder"),
        (log("good"), 12, "log.file", "Is a directory", "write the path of a file"),
        (
            format!("[log.sites]\na = \"{}\"\n", at("none/a.log")),
            12,
            "log.sites.a",
            "No such file",
            "make its folder",
        ),
        (status(&format!("unix:{}", at("none/s"))), 12, "status.address", "No such file", "make its folder"),
        (status(&format!("unix:{}", at("empty"))), 12, "status.address", "not a socket", "remove it"),
        (status(&format!("unix:{}", at(&long))), 12, "status.address", "SUN_LEN", "write a shorter path"),
        (status(listener), 12, "status.address", "has this port", "write another"),
        (
            shared("none", "secret", ""),
            12,
            "shared.database",
            "No such file",
            "write the secret to this file",
        ),
        (shared("secret", "secret", ""), 12, "shared.database", "not a valid libpq", "expected host="),
        (
            shared("database", "none", ""),
            13,
            "shared.secret",
            "No such file",
            "write the secret to this file",
        ),
        (shared("database", "empty", ""), 13, "shared.secret", "/empty: empty", ""),
        (shared("database", "short", ""), 13, "shared.secret", "has 8 bytes", "openssl rand -base64 32"),
        (
            shared("database", "secret", &format!("database_roots = \"{}\"\n", at("none.pem"))),
            14,
            "shared.database_roots",
            "No such file",
            "write the path of the authorities",
        ),
    ];
    rows.into_iter().map(|(added, line, key, words, fix)| Fault { added, line, key, words, fix }).collect()
}

/// Writes the files that the faults are about, and those of a valid configuration.
fn prepare(folder: &Path) {
    let authority = Authority::new();
    authority.write(&folder.join("good"), &["api.test"]);
    authority.write(&folder.join("other"), &["other.test"]);
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, text) in [
        ("damaged.pem", damaged),
        ("database", "host=127.0.0.1 port=1 user=a dbname=a"),
        ("empty", ""),
        ("roots.pem", authority.root()),
        ("secret", "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0ISEhISE="),
        ("short", "c2VjcmV0"),
        ("tab", "a\x01b"),
    ] {
        std::fs::write(folder.join(name), text).expect("a file");
        std::fs::set_permissions(folder.join(name), PermissionsExt::from_mode(0o600)).expect("a mode");
    }
}

/// Writes a configuration, which is valid without what is added.
fn write(folder: &Path, listener: &str, added: &str) {
    let upstream = "[upstream.api]\ntarget = \"https://127.0.0.1:1\"\n";
    let text = format!("[[listen]]\naddress = \"{listener}\"\n\n{SITE}{upstream}{added}");
    std::fs::write(folder.join("edge.toml"), text).expect("a file");
}

fn program(folder: &Path, command: &str) -> Command {
    let mut program = Command::new(PROGRAM);
    program.args([command, "--config"]).arg(folder.join("edge.toml"));
    program.env_remove("CREDENTIALS_DIRECTORY").env_remove("INVOCATION_ID").env_remove("NOTIFY_SOCKET");
    program.env("SSL_CERT_FILE", folder.join("roots.pem")).env_remove("SSL_CERT_DIR");
    program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    program
}

/// Runs the configuration in a folder for at most so long. Returns how the process ended. `None` if it still ran, and
/// was ended.
fn run(folder: &Path, limit: Duration) -> Option<ExitStatus> {
    let mut child = program(folder, "run").spawn().expect("it was built");
    let until = Instant::now() + limit;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().expect("a child") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("a child");
    child.wait().expect("a child");
    None
}

/// Asserts that `run` does not start with the configuration in a folder, and that `check` says why.
#[track_caller]
fn assert_found(folder: &Path, Fault { added, line, key, words, fix }: &Fault) {
    let ended = run(folder, Duration::from_secs(30));
    assert!(ended.is_some_and(|status| !status.success()), "{added}: run started: {ended:?}");
    let output = program(folder, "check").args(["--errors-only"]).output().expect("it was built");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{added}: {said}");
    let place = format!("edge.toml:{line}:");
    assert!(said.contains(&place) && said.contains(&format!(": {key} = ")), "{place} {key}: {said}");
    assert!(said.contains(words) && said.contains(fix), "{words} {fix}: {said}");
    let output = program(folder, "check").arg("--no-files").output().expect("it was built");
    assert_eq!(output.status.code(), Some(0), "{added}: {output:?}");
    let output = program(folder, "check").arg("--json").output().expect("it was built");
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(&value["problems"][0]["line"], line, "{value}");
}

#[test]
fn check_says_what_keeps_run_from_starting() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    prepare(folder);
    let listener = format!("127.0.0.1:{}", free_port());
    write(folder, &listener, "");
    let output = program(folder, "check").output().expect("it was built");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(run(folder, Duration::from_secs(3)), None, "it starts without a fault");
    for fault in faults(folder, &listener) {
        write(folder, &listener, &fault.added);
        assert_found(folder, &fault);
    }
    // Nothing was left behind, and nothing was made.
    let mut left: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    left.sort();
    let prepared = "damaged.pem database edge.toml empty good other roots.pem secret short tab";
    assert_eq!(left.join(" "), prepared);
}

#[test]
fn what_only_the_service_can_read_hides_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    prepare(folder);
    let none = folder.join("none").display().to_string();
    let listener = format!("127.0.0.1:{}", free_port());
    let added = format!(
        "[shared]\ndatabase = \"credential:database\"\nsecret = \"file:{none}\"\n\
         [tracing]\ncollector = \"http://127.0.0.1:1\"\nheaders.A = \"credential:a\"\nheaders.B = \"file:{none}\"\n"
    );
    write(folder, &listener, &added);
    let output = program(folder, "check").output().expect("it was built");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 2), "{said}");
    for place in [
        "edge.toml:13:10: error[unusable]: shared.secret = ",
        "edge.toml:17:13: error[unusable]: tracing.headers.B = ",
    ] {
        assert!(said.contains(place), "{place}: {said}");
    }
}

/// Returns the PEM of a certificate or list in DER with another version. `written` are the bytes that end with its
/// version.
fn with_version(content: &[u8], label: &str, written: &[u8], version: u8) -> String {
    let mut der = content.to_vec();
    let at = der.windows(written.len()).position(|bytes| bytes == written).expect("a version");
    der[at + written.len() - 1] = version;
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", base64(&der))
}

#[test]
fn authorities_and_lists_that_a_verifier_rejects_are_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    prepare(folder);
    let authority = Authority::new();
    let list = authority.revoke(&[7], 2090);
    let (ca, crl) = (folder.join("clients.pem"), folder.join("revoked.pem"));
    authority.write(&folder.join("acme/a.test"), &["a.test"]);
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:{}\"\ntls = true\n[certificates]\nfolder = \"{}\"\n\
         [[site]]\nhosts = [\"a.test\"]\nupstream = \"http://127.0.0.1:1\"\n[site.client_certificates]\nca = {ca:?}\ncrl = {crl:?}\n",
        free_port(),
        folder.join("acme").display()
    );
    std::fs::write(folder.join("edge.toml"), text).expect("a file");
    let root = CertificateDer::from_pem_slice(authority.root().as_bytes()).expect("PEM");
    let root_of_version_2 = with_version(&root, "CERTIFICATE", &[0xa0, 3, 2, 1, 2], 1);
    let revoked = CertificateRevocationListDer::from_pem_slice(list.as_bytes()).expect("PEM");
    let list_of_version_1 = with_version(&revoked, "X509 CRL", &[2, 1, 1], 0);
    let (key, fix) = ("site[0].client_certificates.ca", "write the file of the authority that issues");
    let of_ca =
        Fault { added: "authority".into(), line: 10, key, words: "cannot be used as an authority", fix };
    let (key, fix) = ("site[0].client_certificates.crl", "a complete list of version 2");
    let of_crl = Fault { added: "list".into(), line: 11, key, words: "cannot be used (", fix };
    for (root, list, fault) in
        [(&*root_of_version_2, &*list, of_ca), (authority.root(), &*list_of_version_1, of_crl)]
    {
        std::fs::write(&ca, root).expect("a file");
        std::fs::write(&crl, list).expect("a file");
        assert_found(folder, &fault);
    }
}

#[test]
fn a_store_that_cannot_be_written_is_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    prepare(folder);
    let acme = folder.join("acme");
    write(
        folder,
        &format!("127.0.0.1:{}", free_port()),
        &format!(
            "[certificates]\nfolder = \"{}\"\n[acme.provider.a]\nkind = \"cloudflare\"\ntoken = \"file:{}\"\n\
             [[acme.certificate]]\nnames = [\"a.test\"]\n",
            acme.display(),
            folder.join("secret").display()
        ),
    );
    std::fs::create_dir(&acme).expect("a folder");
    let output = program(folder, "check").output().expect("it was built");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(std::fs::read_dir(&acme).expect("a folder").count(), 0, "nothing is made");
    // A file where a folder should be, as root may write everywhere.
    std::fs::create_dir(acme.join(".acme-dns01")).expect("a folder");
    std::fs::write(acme.join(".acme-dns01/locks"), "").expect("a file");
    let output = program(folder, "check").output().expect("it was built");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.lines().count()), (Some(3), 1), "{said}");
    assert!(said.contains("edge.toml:12:") && said.contains("nothing is renewed until"), "{said}");
}
