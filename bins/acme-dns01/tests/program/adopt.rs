//! Certificates and accounts of lego and certbot, made by these programs, taken over.

use crate::lab::Lab;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use testkit::authoritative::{TSIG_NAME, TSIG_SECRET};

const NAMES: [&str; 2] = ["a.example.test", "*.a.example.test"];

fn tool(name: &str) -> PathBuf {
    let program = std::env::current_exe().expect("the path of this program");
    let found = program.ancestors().map(|folder| folder.join("tools").join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is not there: run `cargo xtask tools` first"))
}

fn run(mut command: Command) {
    let output = command.stdin(Stdio::null()).output().expect("it is installed");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}");
}

fn lego(lab: &Lab) {
    let dns = lab.knot.address().to_string();
    let mut command = Command::new(tool("newer-pebble/usr/bin/lego"));
    command.args(["--accept-tos", "--email", "admin@example.test", "--server", &lab.directory]);
    command.args(["--dns", "rfc2136", "--dns.resolvers", &dns, "--dns.propagation-wait", "1s"]);
    for name in NAMES {
        command.args(["--domains", name]);
    }
    command.arg("--path").arg(lab.path("lego")).arg("run");
    command.env("LEGO_CA_CERTIFICATES", lab.path("roots.pem")).env("RFC2136_NAMESERVER", &dns);
    command.env("RFC2136_TSIG_KEY", TSIG_NAME).env("RFC2136_TSIG_SECRET", TSIG_SECRET);
    command.env("RFC2136_TSIG_ALGORITHM", "hmac-sha256.");
    run(command);
}

fn certbot(lab: &Lab) {
    let port = lab.knot.address().port();
    for (name, what) in [("present", "add"), ("cleanup", "del")] {
        let script = format!(
            "#!/bin/sh\nprintf 'server 127.0.0.1 {port}\\nkey hmac-sha256:{TSIG_NAME} {TSIG_SECRET}\\nzone example.test.\\n{what} \
             _acme-challenge.%s. 5 TXT \"%s\"\\nsend\\n' \"$CERTBOT_DOMAIN\" \"$CERTBOT_VALIDATION\" | knsupdate\n"
        );
        std::fs::write(lab.path(name), script).expect("a file");
        std::fs::set_permissions(lab.path(name), PermissionsExt::from_mode(0o755)).expect("a mode");
    }
    let mut command = Command::new("/usr/bin/certbot");
    command.args(["certonly", "--non-interactive", "--agree-tos", "-m", "admin@example.test", "--manual"]);
    command.args(["--preferred-challenges", "dns", "--server", &lab.directory, "--key-type", "ecdsa"]);
    for name in NAMES {
        command.args(["-d", name]);
    }
    command.arg("--manual-auth-hook").arg(lab.path("present"));
    command.arg("--manual-cleanup-hook").arg(lab.path("cleanup"));
    for folder in ["config", "work", "logs"] {
        command.arg(format!("--{folder}-dir")).arg(lab.path("certbot").join(folder));
    }
    command.env("REQUESTS_CA_BUNDLE", lab.path("roots.pem"));
    run(command);
}

/// Takes over what another client made, and issues nothing; the account orders from then on.
fn adopted(lab: &Lab, folder: &str) {
    let folder = lab.path(folder).display().to_string();
    let orders = lab.pebble.logged("POST /order-plz");
    let dry = lab.run(&["adopt", &folder, "--dry-run"]).ends(3);
    assert!(dry.out.contains("would be taken from"), "{}", dry.out);
    testkit::findings(&lab.run(&["adopt", &folder, "--dry-run", "--json"]).ends(3).json());
    assert_eq!(lab.run(&["list", "--json"]).ends(0).json()[0]["status"], "missing");
    let done = lab.run(&["adopt", &folder]).ends(0);
    assert!(done.out.contains("certificate site: OK: taken from"), "{}", done.out);
    assert_eq!(lab.run(&["list", "--json"]).ends(0).json()[0]["status"], "valid");
    let nothing = lab.run(&["adopt", &folder, "--dry-run"]).ends(0);
    assert!(nothing.out.contains("a valid one is in place already"), "{}", nothing.out);
    let again = lab.run(&["once"]).ends(0);
    assert!(again.out.contains("site: fine"), "{}{}", again.out, again.err);
    assert_eq!(lab.pebble.logged("POST /order-plz"), orders, "nothing is issued again");
    let account = lab.run(&["--json", "account", "show", "pebble"]).ends(0).json();
    let url = account["url"].as_str().expect("a URL");
    assert!(done.out.contains(url), "{url}: {}", done.out);
    lab.run(&["renew", "site"]).ends(0);
    assert_eq!(lab.pebble.logged("There are now 2 accounts"), 0, "the same account orders");
}

#[test]
fn from_lego() {
    let lab = Lab::start();
    lego(&lab);
    adopted(&lab, "lego");
}

#[test]
fn from_certbot() {
    let lab = Lab::start();
    certbot(&lab);
    adopted(&lab, "certbot/config");
}
