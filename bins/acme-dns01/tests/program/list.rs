//! `list` shows what is there, whatever was done to the files, the configuration or the CA.

use crate::lab::Lab;
use acme_dns01::client::self_signed;
use acme_dns01::{KeyType, Name, Time};
use secrecy::ExposeSecret;
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use testkit::Authority;

const NAMES: [&str; 2] = ["a.example.test", "*.a.example.test"];

fn listed(lab: &Lab) -> Value {
    lab.run(&["list", "--json"]).ends(0).json()[0].clone()
}

fn put(lab: &Lab, (chain, key): &(String, String)) {
    let home = lab.path("acme/site");
    std::fs::create_dir_all(&home).expect("a folder");
    std::fs::write(home.join("fullchain.pem"), chain).expect("a file");
    std::fs::write(home.join("key.pem"), key).expect("a file");
}

/// The configuration with a line in place of another.
fn edit(lab: &Lab, from: &str, to: &str) {
    let text = std::fs::read_to_string(lab.path("acme.toml")).expect("a file");
    assert!(text.contains(from), "{text}");
    std::fs::write(lab.path("acme.toml"), text.replace(from, to)).expect("a file");
}

fn placeholder() -> (String, String) {
    let names: Vec<Name> = NAMES.iter().map(|name| name.parse().expect("a name")).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let (chain, key) = self_signed(&names, KeyType::Ec256, Time::from_secs(now)).expect("a pair");
    (chain, key.expose_secret().to_owned())
}

/// A pair that is its own issuer, as openssl makes it.
fn by_openssl(lab: &Lab) -> (String, String) {
    let (chain, key) = (lab.path("self.crt"), lab.path("self.key"));
    let names = NAMES.map(|name| format!("DNS:{name}")).join(",");
    let made = Command::new("/usr/bin/openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
        ])
        .args(["-subj", "/CN=a.example.test", "-addext", &format!("subjectAltName={names}"), "-out"])
        .arg(&chain)
        .arg("-keyout")
        .arg(&key)
        .output()
        .expect("openssl is installed: cargo xtask tools");
    assert!(made.status.success(), "{made:?}");
    let read = |path| std::fs::read_to_string(path).expect("a file");
    (read(chain), read(key))
}

#[test]
fn pairs_that_no_run_has_made_are_told_apart() {
    let lab = Lab::start();
    assert_eq!(listed(&lab)["status"], "missing");
    let cases = [
        ("placeholder", placeholder()),
        ("minica", Authority::named("minica root ca 4f8c2e").issue(&NAMES)),
        ("self_signed", by_openssl(&lab)),
        ("staging", Authority::named("(STAGING) Counterfeit Cashew R10").issue(&NAMES)),
        ("expired", Authority::new().issue_expired(&NAMES)),
        ("wrong_names", Authority::new().issue(&["other.example.test"])),
    ];
    for (status, pair) in cases {
        put(&lab, &pair);
        let found = listed(&lab);
        assert_eq!(found["status"], status, "{found}");
        // What cannot be served has no time left.
        let counts = ["staging", "wrong_names"].contains(&status);
        assert_eq!(found["seconds_left"].is_null(), !counts, "{found}");
        // A directory on this machine may issue from test roots itself.
        assert_eq!(found["renewal"] == "now", status != "staging", "{found}");
    }
    put(&lab, &Authority::named("(STAGING) Counterfeit Cashew R10").issue(&NAMES));
    edit(&lab, &lab.directory, "https://ca.example.org/dir");
    let found = listed(&lab);
    assert_eq!(
        (found["status"].as_str(), found["renewal"].as_str()),
        (Some("staging"), Some("now")),
        "{found}"
    );
    std::fs::write(lab.path("acme/site/fullchain.pem"), "no certificate\n").expect("a file");
    assert_eq!(listed(&lab)["status"], "unreadable");
}

#[test]
fn what_happens_to_an_issued_pair_is_shown() {
    let lab = Lab::start();
    lab.run(&["once"]).ends(0);
    let issued = (lab.written("fullchain.pem"), lab.written("key.pem"));
    assert_eq!(listed(&lab)["status"], "valid");
    let (foreign, foreign_key) = Authority::new().issue(&NAMES);

    std::fs::remove_file(lab.path("acme/site/key.pem")).expect("a file");
    assert_eq!(listed(&lab)["status"], "key_missing");
    put(&lab, &(issued.0.clone(), foreign_key.clone()));
    assert_eq!(listed(&lab)["status"], "key_mismatch");
    put(&lab, &(foreign, foreign_key));
    assert_eq!(listed(&lab)["status"], "foreign");
    put(&lab, &issued);
    std::fs::rename(lab.path("acme/site"), lab.path("elsewhere")).expect("a folder");
    assert_eq!(listed(&lab)["status"], "folder_deleted");
    std::fs::rename(lab.path("elsewhere"), lab.path("acme/site")).expect("a folder");
    assert_eq!(listed(&lab)["status"], "valid");

    // The configuration that is in force decides.
    edit(&lab, "settle = 0", "settle = 0\nkey_type = \"rsa2048\"");
    assert_eq!(listed(&lab)["status"], "wrong_key_type");
    edit(&lab, "key_type = \"rsa2048\"", "");
    edit(&lab, "\"*.a.example.test\"", "\"*.a.example.test\", \"b.example.test\"");
    assert_eq!(listed(&lab)["status"], "wrong_names");
    edit(&lab, ", \"b.example.test\"", "");
    edit(&lab, "authority = \"pebble\"", "authority = \"other\"");
    edit(
        &lab,
        "[provider.knot]",
        "[authority.other]\ndirectory = \"https://localhost:1/dir\"\nlimits = false\n[provider.knot]",
    );
    let found = listed(&lab);
    assert_eq!(found["status"], "other_issuer", "{found}");
    edit(&lab, "authority = \"other\"", "authority = \"pebble\"");
    assert_eq!(listed(&lab)["status"], "valid");
    lab.run(&["revoke", "site", "--reason", "4"]).ends(0);
    assert_eq!(listed(&lab)["status"], "revoked");
}

#[test]
fn an_order_under_way_a_pause_and_a_failed_reload_are_shown() {
    let lab = Lab::start();
    // The order waits for the records to settle.
    edit(&lab, "settle = 0", "settle = 600");
    let running = lab.spawn(&["once"]);
    let began = Instant::now();
    while listed(&lab)["activity"] != "order_under_way" {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", listed(&lab));
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(running);
    edit(&lab, "settle = 600", "settle = 0");
    lab.run(&["once"]).ends(0);
    assert_eq!(listed(&lab)["activity"], "idle");

    edit(&lab, "settle = 0", "settle = 0\npost_run = \"exit 7\"");
    lab.run(&["renew", "site"]).ends(1);
    let found = listed(&lab);
    assert_eq!(
        (found["status"].as_str(), found["activity"].as_str()),
        (Some("valid"), Some("reload_failed"))
    );

    // A name server that takes no updates from this key.
    let lab = Lab::start();
    lab.secret("tsig", "c29tZXRoaW5nIGVsc2UgZW50aXJlbHksIG9mIDMyIGI=");
    lab.run_with(&[], &["once"]).ends(1);
    let found = listed(&lab);
    // A placeholder stands in meanwhile.
    assert_eq!(
        (found["status"].as_str(), found["activity"].as_str()),
        (Some("placeholder"), Some("paused")),
        "{found}"
    );
    assert!(found["detail"].as_str().is_some_and(|detail| detail.contains("paused until")), "{found}");
}
