//! The program as its user runs it: against Pebble 2.10, a name server that takes updates, and nginx.

use serde_json::Value;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::authoritative::{TSIG_NAME, TSIG_SECRET, free_port};
use testkit::{Knot, Pebble, PebbleVersion};

/// A group that nobody else is in.
const GROUP: u32 = 48_213;
/// An account without a name.
const ACCOUNT: &str = "48214";

struct Lab {
    knot: Knot,
    pebble: Pebble,
    folder: tempfile::TempDir,
}

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("{why}: {}\n{}", self.out, self.err))
    }
}

impl Lab {
    fn start() -> Self {
        let knot = Knot::start(&[("example.test", "")]);
        let pebble = Pebble::start(PebbleVersion::V2_10, knot.address(), &[]);
        let folder = tempfile::Builder::new().prefix("acme-").tempdir_in("/tmp").expect("a folder");
        // Others may pass through it: what they may not read is for the store to say.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("a mode");
        std::fs::write(folder.path().join("roots.pem"), pebble.tls_root()).expect("a file");
        let secret = folder.path().join("tsig");
        std::fs::write(&secret, TSIG_SECRET).expect("a file");
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).expect("a mode");
        let lab = Self { knot, pebble, folder };
        lab.configure("");
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, more: &str) {
        let home = self.folder.path().display();
        let dns = self.knot.address();
        let text = format!(
            r#"folder = "{home}/acme"
group = "{GROUP}"
email = "admin@example.test"
[dns]
resolvers = "{dns}"
authority_port = {port}
[authority.pebble]
directory = "{directory}"
roots = "{home}/roots.pem"
limits = false
[provider.knot]
kind = "rfc2136"
server = "{dns}"
key_name = "{TSIG_NAME}"
key = "file:{home}/tsig"
[[certificate]]
name = "site"
names = ["a.example.test", "*.a.example.test"]
authority = "pebble"
settle = 0
{more}"#,
            port = dns.port(),
            directory = self.pebble.directory(),
        );
        std::fs::write(self.path("acme.toml"), text).expect("a file");
    }

    /// Runs the program. Whatever it says, no secret is in it.
    fn run(&self, arguments: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_acme-dns01"))
            .arg("--config")
            .arg(self.path("acme.toml"))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("the program was built");
        let out = String::from_utf8(output.stdout).expect("text");
        let err = String::from_utf8(output.stderr).expect("text");
        for said in [&out, &err] {
            assert!(!said.contains(TSIG_SECRET) && !said.contains("PRIVATE KEY"), "{arguments:?}: {said}");
        }
        Ran { code: output.status.code(), out, err }
    }

    fn written(&self, name: &str) -> String {
        std::fs::read_to_string(self.path("acme/site").join(name)).expect("a file")
    }
}

#[test]
fn every_command_in_turn() {
    let lab = Lab::start();
    let checked = lab.run(&["check"]).ends(0);
    assert!(checked.out.contains("ok ") && !checked.out.contains("WRONG"), "{}", checked.out);
    assert_eq!(lab.pebble.logged("/order-plz"), 0, "it orders nothing: {}", lab.pebble.log());
    assert!(lab.run(&["--json", "check"]).ends(0).json().as_array().is_some_and(|found| !found.is_empty()));
    lab.run(&["issue", "--dry-run"]).ends(0);

    let before = lab.run(&["list"]).ends(0);
    assert!(before.out.contains("site") && before.out.contains("now"), "{}", before.out);
    let issued = lab.run(&["issue", "site"]).ends(0);
    assert!(issued.out.contains("site: issued"), "{}{}", issued.out, issued.err);
    assert!(lab.knot.txt("_acme-challenge.a.example.test").is_empty());
    let again = lab.run(&["once"]).ends(0);
    assert!(again.out.contains("site: fine: nothing to do before"), "{}", again.out);

    let table = lab.run(&["list"]).ends(0).out;
    for words in ["name", "renewal", "why then", "site", "*.a.example.test a.example.test"] {
        assert!(table.contains(words), "{words}: {table}");
    }
    let first = lab.run(&["list", "--json"]).ends(0).json()[0].clone();
    assert_eq!(first["name"], "site");
    let left = first["seconds_left"].as_u64().expect("a number") / 86_400;
    // Unless a profile is asked for, Pebble chooses one: of 6 days, or of 90.
    assert!((5..=6).contains(&left) || (88..=90).contains(&left), "{first}");

    let key = lab.written("key.pem");
    let renewed = lab.run(&["--json", "renew", "site"]).ends(0).json();
    assert_eq!((&renewed[0]["certificate"], &renewed[0]["how"]), (&"site".into(), &"issued".into()));
    let second = lab.run(&["list", "--json"]).ends(0).json()[0].clone();
    assert_ne!(first["serial"], second["serial"]);
    assert_ne!(key, lab.written("key.pem"));

    let account = lab.run(&["--json", "account", "show", "pebble"]).ends(0).json();
    let other = lab.run(&["--json", "account", "roll-over", "pebble"]).ends(0).json();
    assert_eq!(account["url"], other["url"]);
    assert_ne!(account["thumbprint"], other["thumbprint"]);

    let revoked = lab.run(&["revoke", "site", "--reason", "4"]).ends(0);
    assert!(revoked.out.contains("acme-dns01 renew site"), "{}", revoked.out);
    // The key after the roll-over is the one that orders.
    lab.run(&["renew", "site"]).ends(0);
    lab.run(&["account", "deactivate", "pebble"]).ends(0);
    // What was there is still there.
    assert!(lab.written("fullchain.pem").contains("BEGIN CERTIFICATE"));
}

#[test]
fn ten_years_are_soon_over() {
    let lab = Lab::start();
    let decade = lab.run(&["--json", "simulate"]).ends(0).json();
    assert_eq!((&decade["expired"], &decade["limited"]), (&0.into(), &0.into()), "{decade}");
    let words = lab.run(&["simulate", "--seed", "2"]).ends(0).out;
    assert!(words.contains("nearest miss:") && words.contains("busiest week:"), "{words}");
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_what_to_write() {
    let lab = Lab::start();
    let home = lab.folder.path().display().to_string();
    let place = |line: usize| format!("{home}/acme.toml: line {line}: ");
    for (more, line, words) in [
        ("keytype = \"ec256\"\n", 21, "expected one of"),
        ("key_type = \"dsa\"\n", 21, "ec256"),
        ("provider = \"cloudflair\"\n", 21, "`cloudflair` is none of knot"),
        ("[[certificate]]\nnames = \"b.example.test\"\nauthority = \"letsencript\"\n", 23, "letsencrypt"),
        ("[[certificate]]\nnames = \"not a name\"\n", 22, "not a name"),
        ("[[certificate]]\nname = \"c\"\n", 21, "write the names"),
        ("[provider.x]\nkind = \"cloudflare\"\n", 21, "write a token"),
        ("[provider.x]\nkind = \"cloudflare\"\ntoken = \"file:/nowhere/token\"\n", 23, "/nowhere/token"),
    ] {
        lab.configure(more);
        let ran = lab.run(&["once"]).ends(2);
        assert!(ran.err.contains(&place(line)) && ran.err.contains(words), "{more}: {}", ran.err);
        let ran = lab.run(&["--json", "once"]).ends(2);
        assert!(ran.json()["error"].as_str().is_some_and(|said| said.contains(words)), "{more}: {}", ran.out);
    }
    // A secret in the place of its reference is not said again.
    lab.configure(&format!("[provider.x]\nkind = \"cloudflare\"\ntoken = \"{TSIG_SECRET}\"\n"));
    lab.run(&["once"]).ends(2);
    lab.configure("");
    let ran = lab.run(&["renew", "sight"]).ends(2);
    assert!(ran.err.contains("no certificate is called `sight`; there are site"), "{}", ran.err);
    lab.run(&["renew"]).ends(2);
    let ran = lab.run(&["--config", "/nowhere.toml", "once"]);
    assert!(ran.code == Some(2), "{}", ran.err);
}

#[test]
fn a_key_that_the_name_server_does_not_take() {
    let lab = Lab::start();
    std::fs::write(lab.path("tsig"), "d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmchhg==").expect("a file");
    let ran = lab.run(&["check"]).ends(3);
    let named =
        |line: &str| line.starts_with("WRONG  a.example.test: update: ") && line.contains("TSIG key's name");
    assert!(ran.out.lines().any(named), "{}", ran.out);
    let ran = lab.run(&["once"]).ends(1);
    assert!(ran.err.contains("1 of 1 failed: site: "), "{}", ran.err);
    // Something can be served all the same.
    assert!(lab.written("fullchain.pem").contains("BEGIN CERTIFICATE"));
}

struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        // The first process ends its workers if it is asked to.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

fn as_account(group: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", ACCOUNT, "--regid", ACCOUNT]);
    if group.is_empty() {
        command.arg("--clear-groups")
    } else {
        command.args(["--groups", group])
    };
    command
}

fn reads(group: &str, path: &Path) -> bool {
    as_account(group)
        .arg("cat")
        .arg(path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("setpriv")
        .success()
}

#[test]
fn nginx_as_a_member_of_the_group_is_reloaded() {
    assert!(Path::new("/usr/sbin/nginx").exists(), "nginx is not there: run `cargo xtask tools` first");
    let lab = Lab::start();
    let port = free_port();
    let more = format!(
        "post_run = \"test ! -e {pid} || kill -HUP $(cat {pid})\"\n",
        pid = lab.path("nginx/pid").display()
    );
    lab.configure(&more);
    lab.run(&["once"]).ends(0);
    let site = lab.path("acme/site");
    for name in ["fullchain.pem", "key.pem", "chain.pem", "full.pem"] {
        let found = site.join(name).metadata().expect("a file");
        assert_eq!((found.mode() & 0o7777, found.gid()), (0o640, GROUP), "{name}");
    }
    let member = GROUP.to_string();
    assert!(reads(&member, &site.join("key.pem")) && reads(&member, &site.join("cert.pem")));
    assert!(!reads("", &site.join("key.pem")), "a stranger reads the key");
    assert!(!reads(&member, &lab.path("acme/.acme-dns01")), "the account's key is for nobody else");

    let home = lab.path("nginx");
    std::fs::create_dir(&home).expect("a folder");
    std::os::unix::fs::chown(&home, Some(ACCOUNT.parse().expect("a number")), None).expect("root");
    let (at, pair) = (home.display(), site.display());
    let config = format!(
        "daemon off;\nworker_processes 1;\npid {at}/pid;\nerror_log {at}/error.log;\nevents {{ }}\nhttp {{\n\
         access_log off;\nclient_body_temp_path {at}/b;\nproxy_temp_path {at}/p;\nfastcgi_temp_path {at}/f;\n\
         uwsgi_temp_path {at}/u;\nscgi_temp_path {at}/s;\nserver {{\nlisten 127.0.0.1:{port} ssl;\n\
         ssl_certificate {pair}/fullchain.pem;\nssl_certificate_key {pair}/key.pem;\nreturn 200 ok;\n}}\n}}\n"
    );
    std::fs::write(home.join("nginx.conf"), config).expect("a file");
    let nginx = as_account(&member)
        .args(["/usr/sbin/nginx", "-e"])
        .arg(home.join("error.log"))
        .arg("-c")
        .arg(home.join("nginx.conf"))
        .spawn()
        .expect("setpriv");
    let _nginx = Nginx(nginx);
    let until = Instant::now() + Duration::from_secs(30);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() || !home.join("pid").exists() {
        let log = std::fs::read_to_string(home.join("error.log")).unwrap_or_default();
        assert!(Instant::now() < until, "nginx does not start: {log}");
        std::thread::sleep(Duration::from_millis(50));
    }
    // The program itself looks whether nginx shows the new one: it fails, and takes it back, if not.
    lab.configure(&format!("{more}check = \"127.0.0.1:{port}\"\n"));
    let before = lab.written("fullchain.pem");
    let renewed = lab.run(&["renew", "site"]).ends(0);
    assert_ne!(lab.written("fullchain.pem"), before, "{}", renewed.err);
    let serial =
        lab.run(&["list", "--json"]).ends(0).json()[0]["serial"].as_str().expect("a serial").to_owned();
    let shown = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "openssl s_client -connect 127.0.0.1:{port} -servername a.example.test </dev/null 2>/dev/null | \
             openssl x509 -noout -serial"
        ))
        .output()
        .expect("a shell");
    let shown = String::from_utf8_lossy(&shown.stdout).to_lowercase();
    assert!(shown.trim().ends_with(serial.trim_start_matches('0')), "{shown} is not {serial}");
}
