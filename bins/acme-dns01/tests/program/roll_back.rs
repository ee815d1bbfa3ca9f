//! Certificates that no server shows: the previous pair is put back only if it can be served.

use crate::lab::Lab;
use serde_json::Value;
use testkit::free_port;

/// A check of a port at which nothing listens.
fn closed() -> String {
    format!("check = \"127.0.0.1:{}\"\ncheck_timeout = 1\n", free_port())
}

fn listed(lab: &Lab) -> Value {
    lab.run(&["list", "--json"]).ends(0).json()[0].clone()
}

#[test]
fn a_revoked_pair_is_not_put_back() {
    let lab = Lab::start();
    lab.run(&["once"]).ends(0);
    let first = listed(&lab);
    lab.run(&["revoke", "site", "--reason", "1"]).ends(0);
    assert_eq!(listed(&lab)["status"], "revoked");
    lab.configure(&closed());
    let failed = lab.run(&["once"]).ends(1);
    let words = "it stays in place: the previous one cannot be served (revoked)";
    assert!(failed.err.contains(words) && !failed.err.contains("rolled back"), "{}", failed.err);
    let second = listed(&lab);
    assert_eq!((&second["status"], &second["activity"]), (&"valid".into(), &"reload_failed".into()));
    assert_ne!(first["serial"], second["serial"]);
}

#[test]
fn a_placeholder_is_not_put_back_and_a_changed_check_ends_the_pause() {
    let lab = Lab::start();
    lab.configure(&closed());
    let failed = lab.run(&["once"]).ends(1);
    assert!(failed.err.contains("(self-signed by acme-dns01)"), "{}", failed.err);
    let first = listed(&lab);
    assert_eq!(first["status"], "valid", "{first}");
    // The check is left out, as a wrong one would be.
    lab.configure("");
    lab.run(&["once"]).ends(0);
    assert_eq!(listed(&lab)["reload_error"], Value::Null);
    assert_eq!(lab.pebble.logged("POST /order-plz"), 1);

    // A good pair is put back; the pause is a minute.
    lab.configure(&closed());
    let failed = lab.run(&["renew", "site"]).ends(1);
    assert!(failed.err.contains("rolled back"), "{}", failed.err);
    assert_eq!(listed(&lab)["serial"], first["serial"]);
    lab.run(&["once"]).ends(1);
    lab.configure("");
    lab.run(&["once"]).ends(0);
    let second = listed(&lab);
    assert_ne!(second["serial"], first["serial"]);
    assert_eq!((&second["status"], &second["activity"]), (&"valid".into(), &"idle".into()));
    assert_eq!(lab.pebble.logged("POST /order-plz"), 2);
}
