//! External servers: told by their reload command, looked at by a handshake, and given the old pair back if they do not serve
//! the new one.

use crate::lab::{GROUP, Lab};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::free_port;
use testkit::mail::{CertificateFiles, Postfix};

/// An account without a name.
const ACCOUNT: &str = "48214";

struct Nginx {
    child: Child,
    port: u16,
    home: PathBuf,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The first process ends its workers if it is asked to.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
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
    let mut command = as_account(group);
    command.arg("cat").arg(path).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("setpriv").success()
}

impl Nginx {
    /// nginx as a member of the group, which serves the certificate `site`.
    fn start(lab: &Lab) -> Self {
        assert!(Path::new("/usr/sbin/nginx").exists(), "nginx is not there: run `cargo xtask tools` first");
        let (home, port) = (lab.path("nginx"), free_port());
        std::fs::create_dir(&home).expect("a folder");
        std::os::unix::fs::chown(&home, Some(ACCOUNT.parse().expect("a number")), None).expect("root");
        let (at, pair) = (home.display(), lab.path("acme/site"));
        let pair = pair.display();
        let config = format!(
            "daemon off;\nworker_processes 1;\npid {at}/pid;\nerror_log {at}/error.log;\nevents {{ }}\nhttp {{\n\
             access_log off;\nclient_body_temp_path {at}/b;\nproxy_temp_path {at}/p;\nfastcgi_temp_path {at}/f;\n\
             uwsgi_temp_path {at}/u;\nscgi_temp_path {at}/s;\nserver {{\nlisten 127.0.0.1:{port} ssl;\n\
             ssl_certificate {pair}/fullchain.pem;\nssl_certificate_key {pair}/key.pem;\nreturn 200 ok;\n}}\n}}\n"
        );
        std::fs::write(home.join("nginx.conf"), config).expect("a file");
        let child = as_account(&GROUP.to_string())
            .args(["/usr/sbin/nginx", "-e"])
            .arg(home.join("error.log"))
            .arg("-c")
            .arg(home.join("nginx.conf"))
            .spawn()
            .expect("setpriv");
        let nginx = Self { child, port, home };
        let until = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() || !nginx.home.join("pid").exists() {
            let log = std::fs::read_to_string(nginx.home.join("error.log")).unwrap_or_default();
            assert!(Instant::now() < until, "nginx does not start: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        nginx
    }

    fn reload(&self) -> String {
        format!("kill -HUP $(cat {})", self.home.join("pid").display())
    }
}

/// The serial number that is really shown, by another's client.
fn shown(port: u16, more: &str) -> String {
    let script = format!(
        "openssl s_client -connect 127.0.0.1:{port} -servername a.example.test {more} </dev/null 2>/dev/null | \
         openssl x509 -noout -serial"
    );
    let output = Command::new("sh").args(["-c", &script]).output().expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout).to_lowercase();
    text.trim().trim_start_matches("serial=").trim_start_matches('0').to_owned()
}

/// Waits until it is shown: a process of before the reload may answer for a moment.
#[track_caller]
fn shows(port: u16, more: &str, serial: &str) {
    let until = Instant::now() + Duration::from_secs(20);
    while shown(port, more) != serial {
        assert!(Instant::now() < until, "{} is shown, not {serial}", shown(port, more));
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn serial(lab: &Lab) -> String {
    lab.run(&["list", "--json"]).ends(0).json()[0]["serial"].as_str().expect("a serial").to_owned()
}

#[test]
fn nginx_as_a_member_of_the_group_is_reloaded_or_the_old_pair_is_back() {
    if !testkit::needs_root(
        "acme-dns01-cli: nginx_as_a_member_of_the_group_is_reloaded_or_the_old_pair_is_back",
    ) {
        return;
    }
    let lab = Lab::start();
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

    let nginx = Nginx::start(&lab);
    let first = serial(&lab);
    shows(nginx.port, "", &first);
    let check = format!("check = \"127.0.0.1:{}\"\ncheck_timeout = 2\n", nginx.port);
    let reloading = format!("{check}post_run = \"{}\"\n", nginx.reload());
    lab.configure(&reloading);
    lab.run(&["renew", "site"]).ends(0);
    let second = serial(&lab);
    assert_ne!(first, second);
    shows(nginx.port, "", &second);

    // The same by the unit's name: systemd is asked as its command is.
    let bin = lab.path("bin");
    std::fs::create_dir(&bin).expect("a folder");
    let script = format!(
        "#!/bin/sh\n[ \"$*\" = '--no-ask-password try-reload-or-restart nginx.service' ] || exit 4\n{}\n",
        nginx.reload()
    );
    std::fs::write(bin.join("systemctl"), script).expect("a file");
    std::fs::set_permissions(bin.join("systemctl"), PermissionsExt::from_mode(0o755)).expect("a mode");
    lab.configure(&format!("{check}reload_services = [\"nginx.service\"]\n"));
    lab.run(&["renew", "site"]).ends(0);
    let unit = serial(&lab);
    assert_ne!(unit, second);
    shows(nginx.port, "", &unit);
    let second = unit;

    // A reload that changes nothing: the handshake shows the old one, so it is put back.
    let (chain, key) = (lab.written("fullchain.pem"), lab.written("key.pem"));
    lab.configure(&format!("{check}post_run = \"true\"\n"));
    let refused = lab.run(&["renew", "site"]).ends(1);
    let words = format!("shows the certificate {second}");
    assert!(refused.err.contains(&words) && refused.err.contains("rolled back"), "{}", refused.err);
    assert!(refused.err.contains("rolled back"), "{}", refused.err);
    assert_eq!((lab.written("fullchain.pem"), lab.written("key.pem")), (chain, key));
    // What is in place is what nginx would serve after any restart.
    assert_eq!(shown(nginx.port, ""), second);
    let orders = lab.pebble.logged("POST /order-plz");
    lab.run(&["once"]).ends(1);
    assert_eq!(lab.pebble.logged("POST /order-plz"), orders, "that is no reason for another order");

    // The reload works again.
    lab.configure(&reloading);
    lab.run(&["renew", "site"]).ends(0);
    let third = serial(&lab);
    assert_ne!(third, second);
    shows(nginx.port, "", &third);
}

#[test]
fn postfix_is_reloaded_and_read_by_starttls() {
    if !testkit::needs_root("acme-dns01-cli: postfix_is_reloaded_and_read_by_starttls") {
        return;
    }
    let lab = Lab::start();
    lab.run(&["once"]).ends(0);
    let site = lab.path("acme/site");
    let pair = CertificateFiles { chain: site.join("fullchain.pem"), key: site.join("key.pem") };
    let postfix = Postfix::start(&pair, "site", "secret");
    let first = serial(&lab);
    shows(postfix.submission, "-starttls smtp", &first);
    let (smtps, submission) = (postfix.smtps, postfix.submission);
    lab.configure(&format!(
        "check = [\"127.0.0.1:{smtps}\", \"smtp:127.0.0.1:{submission}\"]\npost_run = \"{} 2>&1\"\n",
        postfix.reload().join(" ")
    ));
    lab.run(&["renew", "site"]).ends(0);
    let second = serial(&lab);
    assert_ne!(first, second);
    shows(smtps, "", &second);
    shows(submission, "-starttls smtp", &second);
    // Without its reload it goes on with the old one, or not at all: the old pair is back.
    lab.configure(&format!("check = \"smtp:127.0.0.1:{}\"\ncheck_timeout = 1\n", free_port()));
    let chain = lab.written("fullchain.pem");
    let refused = lab.run(&["renew", "site"]).ends(1);
    assert!(refused.err.contains("rolled back: 127.0.0.1:"), "{}", refused.err);
    assert_eq!(lab.written("fullchain.pem"), chain);
    shows(submission, "-starttls smtp", &second);
}
