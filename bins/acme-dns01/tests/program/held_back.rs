//! A secret or file that comes later holds back what needs it, and nothing else. Nothing is spent at the CA meanwhile.

use crate::lab::{Lab, metrics};
use std::time::{Duration, Instant};
use testkit::authoritative::{TSIG_NAME, TSIG_SECRET};
use testkit::free_port;
use testkit::postgres::{Options, Postgres};

/// Configures a second provider `later`, whose key is the file `tsig-later`, with more keys, and a certificate of this
/// name beside `site`, with more keys. The first provider has the zone of `site` only.
fn configure(lab: &Lab, provider: &str, name: &str, certificate: &str) {
    let home = lab.folder.path().display();
    let text = lab.configuration(
        "acme",
        "",
        &format!(
            "[provider.later]\nkind = \"rfc2136\"\nserver = \"{}\"\nkey_name = \"{TSIG_NAME}\"\n\
             key = \"file:{home}/tsig-later\"\n{provider}\n[[certificate]]\nname = \"late\"\nnames = \"{name}\"\n\
             authority = \"pebble\"\nsettle = 0\n{certificate}",
            lab.knot.address()
        ),
    );
    let text = text.replacen("kind = \"rfc2136\"\n", "kind = \"rfc2136\"\nzone = \"example.test\"\n", 1);
    std::fs::write(lab.path("acme.toml"), text).expect("a file");
}

fn orders(lab: &Lab) -> usize {
    lab.pebble.logged("POST /order-plz")
}

/// Returns the field `activity` of each certificate that `list` prints, and the exit code that is expected.
fn activities(lab: &Lab) -> Vec<String> {
    let listed = lab.run(&["list", "--json"]).ends(0).json();
    let all = listed.as_array().expect("a list").iter();
    all.map(|one| one["activity"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn only_what_may_need_the_provider_waits_for_its_secret() {
    let lab = Lab::start();
    configure(&lab, "zone = \"later.test\"", "www.later.test", "");
    let port = free_port();
    let mut daemon = lab.spawn(&["run", "--metrics", &format!("127.0.0.1:{port}")]);
    let said = daemon.says("certificates that may need this provider are held back");
    assert!(said.contains("acme.toml:") && said.contains("error[secret]: provider.later.key"), "{said}");
    daemon.says("site: deployed");
    let mut said = daemon.heard();
    if !said.contains("late: held back") {
        said = daemon.says("late: held back");
    }
    assert!(said.contains("the provider later is not ready: provider.later.key"), "{said}");
    assert_eq!(orders(&lab), 1, "{}", daemon.heard());
    let text = metrics(port);
    for line in
        ["acme_dns01_held_back{certificate=\"late\"} 1", "acme_dns01_held_back{certificate=\"site\"} 0"]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(text.contains("acme_dns01_failed_total 0\n"), "{text}");
    // Something can be served all the same.
    assert!(lab.path("acme/late/fullchain.pem").exists());

    assert_eq!(activities(&lab), ["idle", "held_back"]);
    let checked = lab.run(&["check", "--dry", "--errors-only"]).ends(2);
    let secret = checked.out.lines().filter(|line| line.contains("error[secret]: provider.later.key"));
    assert_eq!(secret.filter(|line| line.contains("acme.toml:")).count(), 1, "{}", checked.out);
    let names = |line: &&str| line.contains("www.later.test: zone: the provider later is not ready");
    assert_eq!(checked.out.lines().filter(names).count(), 1, "{}", checked.out);
    assert!(checked.out.contains("a.example.test: zone: OK"), "{}", checked.out);
    let renewed = lab.run(&["--json", "renew", "late"]).ends(1).json();
    assert_eq!(renewed["certificates"][0]["how"], "held_back", "{renewed}");
    lab.run(&["once"]).ends(1);
    assert_eq!(orders(&lab), 1);

    lab.secret("tsig-later", TSIG_SECRET);
    daemon.says("late: no longer held back");
    daemon.says("late: deployed");
    assert_eq!(orders(&lab), 2, "{}", daemon.heard());
    let text = metrics(port);
    assert!(text.contains("acme_dns01_held_back{certificate=\"late\"} 0"), "{text}");
    assert!(
        text.contains("acme_dns01_failed_total 0\n") && text.contains("acme_dns01_alerts_total 0\n"),
        "{text}"
    );
    lab.run(&["check", "--dry"]).ends(0);
    // A reload without the file must not take the provider away that works by now.
    std::fs::remove_file(lab.path("tsig-later")).expect("a file");
    daemon.signal("HUP");
    let said = daemon.says("still keeps what it kept");
    assert!(said.contains("provider.later.key"), "{said}");
    // What is not due needs no provider.
    assert_eq!(activities(&lab), ["idle", "idle"]);
}

#[test]
fn a_provider_of_any_zone_holds_back_what_no_other_has() {
    let lab = Lab::start();
    // Only the service knows its zones.
    configure(&lab, "", "www.later.test", "");
    let once = lab.run(&["once"]).ends(1);
    assert!(once.out.contains("site: issued"), "{}{}", once.out, once.err);
    assert!(once.err.contains("1 of 2 failed: late: held back"), "{}", once.err);
    assert_eq!(activities(&lab), ["idle", "held_back"]);
    // A certificate may say whom it needs.
    configure(&lab, "", "b.example.test", "provider = \"later\"");
    lab.run(&["issue", "late"]).ends(1);
    configure(&lab, "", "b.example.test", "provider = \"knot\"");
    lab.run(&["issue", "late"]).ends(0);
    assert_eq!(orders(&lab), 2);
    // What another provider has as well needs none that is not ready.
    configure(&lab, "zone = \"example.test\"", "b.example.test", "");
    assert_eq!(activities(&lab), ["idle", "idle"]);
}

#[test]
fn an_order_under_way_waits_and_goes_on() {
    let lab = Lab::start();
    configure(&lab, "zone = \"later.test\"", "www.later.test", "settle = 60");
    let text = std::fs::read_to_string(lab.path("acme.toml")).expect("a file");
    let slow = text.replace("settle = 0\nsettle = 60", "settle = 60");
    assert_ne!(slow, text);
    std::fs::write(lab.path("acme.toml"), &slow).expect("a file");
    lab.secret("tsig-later", TSIG_SECRET);
    let mut daemon = lab.spawn(&["run"]);
    daemon.says("late: TXT _acme-challenge.www.later.test at later");
    daemon.signal("TERM");
    assert!(daemon.ended().success());
    let before = orders(&lab);
    std::fs::remove_file(lab.path("tsig-later")).expect("a file");
    std::fs::write(lab.path("acme.toml"), slow.replace("settle = 60", "settle = 0")).expect("a file");
    let mut daemon = lab.spawn(&["run"]);
    daemon.says("late: held back");
    let listed = lab.run(&["list", "--json"]).ends(0).json();
    let late = listed.as_array().expect("a list").iter().find(|one| one["name"] == "late").expect("it");
    assert_eq!((&late["activity"], &late["failures"]), (&"held_back".into(), &0.into()), "{late}");
    lab.secret("tsig-later", TSIG_SECRET);
    daemon.says("late: deployed");
    let site = usize::from(before == 1);
    assert!(orders(&lab) <= before + site, "the order goes on: {}", daemon.heard());
    // The certificate is in use first; the record is removed afterwards.
    let until = Instant::now() + Duration::from_secs(20);
    while !lab.knot.txt("_acme-challenge.www.later.test").is_empty() {
        assert!(Instant::now() < until, "the record is left: {}", daemon.heard());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_cannot_come_later_is_an_error_at_the_start() {
    let lab = Lab::start();
    configure(&lab, "zone = \"later.test\"", "www.later.test", "");
    let text = std::fs::read_to_string(lab.path("acme.toml")).expect("a file");
    let file = format!("file:{}", lab.path("tsig-later").display());
    for (reference, words) in
        [("env:NOWHERE", "NOWHERE is not set"), ("credential:x", "CREDENTIALS_DIRECTORY")]
    {
        std::fs::write(lab.path("acme.toml"), text.replace(&file, reference)).expect("a file");
        for command in ["run", "once", "check", "list"] {
            let ran = lab.run(&[command]).ends(2);
            assert!(ran.err.contains("provider.later.key") && ran.err.contains(words), "{}", ran.err);
        }
    }
    // A name that cannot be used is at fault itself, with its secret or without.
    let name = format!("key_name = \"{TSIG_NAME}\"\nkey = \"{file}\"");
    assert!(text.contains(&name), "{text}");
    let wrong = text.replace(&name, &format!("key_name = \"a..b\"\nkey = \"{file}\""));
    std::fs::write(lab.path("acme.toml"), wrong).expect("a file");
    for _ in 0..2 {
        let ran = lab.run(&["once"]).ends(2);
        assert!(ran.err.contains("provider.later.key_name"), "{}", ran.err);
        lab.secret("tsig-later", TSIG_SECRET);
    }
    std::fs::remove_file(lab.path("tsig-later")).expect("a file");
    // Neither does another kind of fault wait.
    std::fs::write(lab.path("acme.toml"), text.replace(&file, "file:tsig")).expect("a file");
    lab.run(&["once"]).ends(2);
    assert_eq!(orders(&lab), 0);
}

/// Returns the parts that the metrics at this port have, and whether each is not ready.
fn parts(port: u16) -> Vec<(String, bool)> {
    let text = metrics(port);
    let lines = text.lines().filter_map(|line| line.strip_prefix("acme_dns01_not_ready{part=\""));
    let part = |line: &str| {
        let (part, value) = line.split_once("\"} ").expect("a sample");
        (part.to_owned(), value == "1")
    };
    lines.map(part).collect()
}

#[test]
fn each_secret_and_file_holds_back_what_needs_it_and_nothing_else() {
    let lab = Lab::start();
    let (home, directory) = (lab.folder.path().display(), &lab.directory);
    lab.configure(&format!(
        "[authority.other]\ndirectory = \"{directory}\"\nroots = \"{home}/roots-later.pem\"\nlimits = false\n\
         [alert]\nwebhook = \"file:{home}/hook\"\n[alert.mail]\nserver = \"localhost\"\nuser = \"acme\"\n\
         password = \"file:{home}/mail\"\nfrom = \"acme@example.org\"\nto = \"admin@example.org\"\n\
         [[certificate]]\nname = \"rooted\"\nnames = \"c.example.test\"\nauthority = \"other\"\nsettle = 0\n"
    ));
    // A named pipe without a writer, which would be waited for without end.
    let roots = lab.path("roots-later.pem");
    let made = std::process::Command::new("mkfifo").arg(&roots).status().expect("mkfifo runs");
    assert!(made.success());
    let port = free_port();
    let mut daemon = lab.spawn(&["run", "--metrics", &format!("127.0.0.1:{port}")]);
    for (key, words) in [
        (
            "authority.other.roots",
            "not a regular file: certificates of this authority are held back until then",
        ),
        (
            "alert.webhook",
            "hook: cannot be read: No such file or directory (os error 2): alerts are not sent there",
        ),
        ("alert.mail.password", "alerts are not sent there until then"),
    ] {
        let said = daemon.says(words);
        assert!(said.contains("acme.toml:") && said.contains(key), "{said}");
    }
    daemon.says("site: deployed");
    let mut said = daemon.heard();
    if !said.contains("rooted: held back") {
        said = daemon.says("rooted: held back");
    }
    assert!(said.contains("the authority other is not ready") && said.contains("roots-later.pem"), "{said}");
    assert_eq!(orders(&lab), 1, "{}", daemon.heard());
    let keys = ["authority.other.roots", "alert.webhook", "alert.mail"];
    assert_eq!(parts(port), keys.map(|key| (key.to_owned(), true)));
    let checked = lab.run(&["check", "--dry"]).ends(2);
    for key in ["authority.other.roots", "alert.webhook", "alert.mail.password"] {
        let of_key = |line: &&str| line.contains("acme.toml:") && line.contains(key);
        assert_eq!(checked.out.lines().filter(of_key).count(), 1, "{key}: {}", checked.out);
    }

    std::fs::remove_file(&roots).expect("a file");
    std::fs::write(&roots, lab.pebble.tls_root()).expect("a file");
    lab.secret("hook", "http://127.0.0.1:9/");
    lab.secret("mail", "a password");
    let mut awaited = vec![
        "rooted: deployed",
        "authority.other.roots is ready",
        "alert.webhook is ready",
        "alert.mail is ready",
    ];
    while !awaited.is_empty() {
        let said = daemon.says("");
        awaited.retain(|words| !said.contains(words));
    }
    assert_eq!(parts(port), keys.map(|key| (key.to_owned(), false)));
    lab.run(&["check", "--dry"]).ends(0);
    // A reload must not disable what works.
    std::fs::remove_file(lab.path("hook")).expect("a file");
    daemon.signal("HUP");
    let said = daemon.says("still keeps what it kept");
    assert!(said.contains("alert.webhook"), "{said}");
}

#[test]
fn a_database_whose_secret_comes_later_is_used_as_soon_as_it_is_there() {
    let lab = Lab::start();
    let postgres = Postgres::start(&Options::new(18));
    let first = format!("database = \"file:{}/database\"\n", lab.folder.path().display());
    std::fs::write(lab.path("acme.toml"), lab.configuration("acme", &first, "")).expect("a file");
    let mut daemon = lab.spawn(&["run"]);
    let said = daemon.says("nothing is ordered until then; the certificates of this machine stay in use");
    assert!(said.contains("acme.toml:") && said.contains("error[secret]: database"), "{said}");
    let checked = lab.run(&["check", "--dry"]).ends(2);
    assert!(checked.out.contains("error[secret]: database"), "{}", checked.out);
    let once = lab.run(&["once"]).ends(1);
    assert!(
        once.err.contains("the database: database: ") && once.err.contains("cannot be read"),
        "{}",
        once.err
    );
    assert_eq!(orders(&lab), 0);
    lab.secret(
        "database",
        &format!("host={} port={} user=postgres\n", postgres.socket_folder().display(), postgres.port()),
    );
    daemon.says("site: deployed");
    assert_eq!(orders(&lab), 1);
}
