//! `run`: it issues, renews when the CA says so, reads its configuration again, ends when it is told to, and goes on where it
//! was.

use crate::lab::{Lab, metrics};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use testkit::free_port;
use testkit::{Fault, FaultProxy};

/// Returns the rows about metrics that README.md lacks, and those that it has too many.
fn documented(text: &str) -> Vec<String> {
    let mut lines = text.lines().peekable();
    let mut rows = Vec::new();
    while let Some(line) = lines.next() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            let kind = lines.peek().and_then(|line| line.rsplit(' ').next()).unwrap_or_default();
            rows.push(format!("| `{name}` | {kind} | {help} |"));
        }
    }
    rows.sort();
    let readme = include_str!("../../README.md");
    let written: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `acme_dns01_")).collect();
    let missing = rows.iter().filter(|row| !written.contains(&row.as_str())).cloned();
    let unknown =
        written.iter().filter(|row| !rows.iter().any(|known| known == *row)).map(ToString::to_string);
    missing.chain(unknown).collect()
}

#[track_caller]
fn value(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    line.unwrap_or_else(|| panic!("no {name}: {text}"))
}

#[test]
fn it_issues_renews_by_ari_reads_again_and_ends_when_it_is_told_to() {
    let mut lab = Lab::start();
    // Pebble says to ask again after six hours.
    let proxy = FaultProxy::start(lab.pebble.address(), lab.pebble.tls_root(), |line, _| {
        if line.contains("renewal") || line.contains("draft-ietf-acme-ari") {
            return Fault::Replace("Retry-After: 21600".into(), "Retry-After: 1".into());
        }
        Fault::Pass
    });
    std::fs::write(lab.path("roots.pem"), proxy.root()).expect("a file");
    lab.directory = proxy.directory();
    lab.configure("ari_floor = 1\n");
    let port = free_port();
    let run = ["run", "--metrics", &format!("127.0.0.1:{port}")];
    let mut daemon = lab.spawn(&run);
    daemon.says("keeps 1 certificates");
    daemon.says("site: installed");
    daemon.says("site: deployed");
    // A client that says nothing keeps nobody from the metrics.
    let _silent = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let text = metrics(port);
    assert_eq!(documented(&text), Vec::<String>::new(), "the table of README.md");
    assert_eq!(value(&text, "acme_dns01_issued_total"), 1);
    assert_eq!(value(&text, "acme_dns01_orders_total"), 1);
    assert_eq!(value(&text, "acme_dns01_failed_total"), 0);
    let end = value(&text, "acme_dns01_not_after_seconds{certificate=\"site\"}");
    let renewal = value(&text, "acme_dns01_renewal_seconds{certificate=\"site\"}");
    assert!(end > renewal && renewal > end - 91 * 86_400, "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, _) = line.split_once([' ', '{']).expect("a name");
        assert!(
            text.contains(&format!("# TYPE {name} ")) && text.contains(&format!("# HELP {name} ")),
            "{line}"
        );
    }

    let first = lab.written("fullchain.pem");
    lab.pebble.set_renewal_info(
        &first,
        r#"{"suggestedWindow":{"start":"2026-01-01T00:00:00Z","end":"2026-01-02T00:00:00Z"}}"#,
    );
    daemon.says("the CA suggests 2026-01-01");
    daemon.says("site: installed");
    daemon.says("site: deployed");
    assert_ne!(lab.written("fullchain.pem"), first);
    assert_eq!(value(&metrics(port), "acme_dns01_issued_total"), 2);

    // A configuration that is wrong changes nothing; one that is right is in use at once.
    lab.configure("ari_floor = 1\nkey_typ = \"ec256\"\n");
    daemon.signal("HUP");
    let said = daemon.says("still keeps what it kept");
    assert!(said.contains(":22:1: error[unknown-key]: certificate[0].key_typ"), "{said}");
    lab.configure(
        "ari_floor = 1\n[[certificate]]\nnames = \"b.example.test\"\nauthority = \"pebble\"\nsettle = 0\n",
    );
    daemon.signal("HUP");
    daemon.says("read again: keeps 2 certificates");
    daemon.says("b.example.test: deployed");
    assert!(lab.path("acme/b.example.test/fullchain.pem").exists());
    let text = metrics(port);
    assert!(value(&text, "acme_dns01_not_after_seconds{certificate=\"b.example.test\"}") > 0);

    daemon.signal("TERM");
    assert!(daemon.ended().success());
    let orders = lab.pebble.logged("POST /order-plz");
    let mut daemon = lab.spawn(&run);
    daemon.says("keeps 2 certificates");
    assert_eq!(value(&metrics(port), "acme_dns01_undeployed{certificate=\"site\"}"), 0);
    // It asks the CA about both, and finds that there is nothing to do.
    let asked = proxy.count("GET /draft-ietf-acme-ari-03") + proxy.count("GET /renewal-info");
    let until = Instant::now() + Duration::from_secs(20);
    while proxy.requests().iter().filter(|line| line.contains("ari") || line.contains("renewal")).count()
        < asked + 2
    {
        assert!(Instant::now() < until, "it does not ask: {:?}", proxy.requests());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(lab.pebble.logged("POST /order-plz"), orders);
    daemon.signal("INT");
    assert!(daemon.ended().success());
}

#[test]
fn it_ends_in_the_middle_of_an_order_and_goes_on_with_it() {
    let lab = Lab::start();
    // Every name server has the record; for a while it is waited all the same.
    let text = lab.configuration("acme", "", "").replace("settle = 0", "settle = 3");
    std::fs::write(lab.path("acme.toml"), text).expect("a file");
    let mut daemon = lab.spawn(&["run"]);
    daemon.says("site: TXT _acme-challenge.a.example.test");
    daemon.says("the CA validates");
    daemon.signal("TERM");
    assert!(daemon.ended().success());
    assert!(!lab.pebble.log().contains("Issued certificate"), "{}", lab.pebble.log());
    let mut daemon = lab.spawn(&["run"]);
    daemon.says("site: deployed");
    // The record is removed after what serves.
    let until = Instant::now() + Duration::from_secs(20);
    while !lab.knot.txt("_acme-challenge.a.example.test").is_empty() {
        assert!(Instant::now() < until, "a TXT record is left");
        std::thread::sleep(Duration::from_millis(50));
    }
    daemon.signal("TERM");
    assert!(daemon.ended().success());
    assert_eq!(lab.pebble.logged("There are now 1 orders"), 1);
    assert_eq!(lab.pebble.logged("There are now 2 orders"), 0);
}
