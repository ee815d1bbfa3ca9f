//! Each command, and what is said when something is wrong.

use crate::lab::Lab;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::authoritative::TSIG_SECRET;

#[test]
fn every_command_in_turn() {
    let lab = Lab::start();
    let checked = lab.run(&["check"]).ends(0);
    assert!(checked.out.contains(": OK: ") && !checked.out.contains("error["), "{}", checked.out);
    assert_eq!(lab.pebble.logged("/order-plz"), 0, "it orders nothing: {}", lab.pebble.log());
    let found = testkit::findings(&lab.run(&["--json", "check"]).ends(0).json());
    assert!(found.iter().all(|found| found["fine"] == true && found["severity"] == "note"), "{found:?}");
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
    // What was there is still there; whatever is ordered now is by another account.
    assert!(lab.written("fullchain.pem").contains("BEGIN CERTIFICATE"));
    lab.run(&["renew", "site"]).ends(0);
    let next = lab.run(&["--json", "account", "show", "pebble"]).ends(0).json();
    assert_ne!(next["url"], account["url"]);
}

#[test]
fn two_kinds_of_keys_side_by_side() {
    let lab = Lab::start();
    lab.configure("keyType = [\"ec384\", \"rsa2048\"]\nreuse_key = true\n");
    let issued = lab.run(&["once"]).ends(0);
    assert_eq!(issued.out.matches(": issued").count(), 2, "{}", issued.out);
    let listed = lab.run(&["list", "--json"]).ends(0).json();
    assert_eq!((&listed[0]["name"], &listed[1]["name"]), (&"site".into(), &"site-rsa2048".into()));
    let key = || std::fs::read_to_string(lab.path("acme/site-rsa2048/key.pem")).expect("a file");
    let kept = key();
    lab.run(&["renew", "site-rsa2048"]).ends(0);
    assert_eq!(key(), kept);
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
    let place = |line: usize| format!("{home}/acme.toml:{line}:");
    for (more, line, words) in [
        ("keytype = \"ec256\"\n", 21, "did you mean `key_type`?"),
        ("key_type = \"dsa\"\n", 21, "ec256"),
        ("provider = \"cloudflair\"\n", 21, "`cloudflair`: write one of knot"),
        ("[[certificate]]\nnames = \"b.example.test\"\nauthority = \"letsencript\"\n", 23, "letsencrypt"),
        ("[[certificate]]\nnames = \"not a name\"\n", 22, "not a name"),
        ("[[certificate]]\nname = \"c\"\n", 21, "write the names"),
        ("[provider.x]\nkind = \"cloudflare\"\n", 21, "write a token"),
        ("[provider.x]\nkind = \"cloudflare\"\ntoken = \"env:NOWHERE\"\n", 23, "NOWHERE"),
    ] {
        lab.configure(more);
        let ran = lab.run(&["once"]).ends(2);
        assert!(ran.err.contains(&place(line)) && ran.err.contains(words), "{more}: {}", ran.err);
        let ran = lab.run(&["--json", "once"]).ends(2);
        assert!(ran.json()["error"].as_str().is_some_and(|said| said.contains(words)), "{more}: {}", ran.out);
    }
    // Keys do not cross a network as they are unless somebody says that it is encrypted.
    for (database, words) in [
        ("host=db.example.org user=x password=hunter2", "write sslmode=require"),
        ("host=db.example.org sslmode=nonsense password=hunter2", "not a valid connection string of libpq"),
    ] {
        lab.secret("database", database);
        let text = lab.configuration("acme", &format!("database = \"file:{home}/database\"\n"), "");
        std::fs::write(lab.path("acme.toml"), text).expect("a file");
        let ran = lab.run(&["once"]).ends(2);
        assert!(ran.err.contains(&place(4)) && ran.err.contains(words), "{}", ran.err);
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    }
    // A secret in the place of its reference is not said again.
    lab.configure(&format!("[provider.x]\nkind = \"cloudflare\"\ntoken = \"{TSIG_SECRET}\"\n"));
    lab.run(&["once"]).ends(2);
    lab.configure("");
    for command in ["abandon", "forget"] {
        for name in ["sight", "b/../x", ".."] {
            let ran = lab.run(&[command, name]).ends(2);
            let words = format!("no certificate is called `{name}`; there are site");
            assert!(ran.err.contains(&words), "{}", ran.err);
        }
    }
    assert!(!lab.path("acme/.acme-dns01/locks/sight").exists(), "no lock is left");
    let ran = lab.run(&["renew", "sight"]).ends(2);
    assert!(ran.err.contains("no certificate is called `sight`; there are site"), "{}", ran.err);
    lab.run(&["renew"]).ends(2);
    let ran = lab.run(&["--config", "/nowhere.toml", "once"]);
    assert!(ran.code == Some(2), "{}", ran.err);
}

#[test]
fn a_key_that_the_name_server_does_not_take() {
    let lab = Lab::start();
    lab.secret("tsig", "d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmchhg==");
    let ran = lab.run(&["check"]).ends(2);
    let named = |line: &str| {
        line.starts_with("error[wrong]: a.example.test: update: ") && line.contains("TSIG key's name")
    };
    assert!(ran.out.lines().any(named), "{}", ran.out);
    let ran = lab.run(&["once"]).ends(1);
    assert!(ran.err.contains("1 of 1 failed: site: "), "{}", ran.err);
    // Something can be served all the same.
    assert!(lab.written("fullchain.pem").contains("BEGIN CERTIFICATE"));
}

/// A proxy for CONNECT, and how often it was asked.
fn connect_proxy() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let count = Arc::new(AtomicUsize::new(0));
    let asked = count.clone();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let asked = asked.clone();
            std::thread::spawn(move || {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if client.read_exact(&mut byte).is_err() {
                        return;
                    }
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let Some(target) = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next())
                else {
                    return;
                };
                asked.fetch_add(1, Ordering::SeqCst);
                let Ok(mut server) = TcpStream::connect(target) else { return };
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("a client");
                let (mut to, mut from) =
                    (client.try_clone().expect("a clone"), server.try_clone().expect("a clone"));
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                let _ = std::io::copy(&mut client, &mut server);
            });
        }
    });
    (address, count)
}

#[test]
fn requests_go_through_the_proxy_of_the_environment() {
    let lab = Lab::start();
    let (address, count) = connect_proxy();
    let shown = lab.run_with(&[("HTTPS_PROXY", &address)], &["account", "show", "pebble"]);
    assert!(shown.out.contains("/my-account/"), "{}{}", shown.out, shown.err);
    let asked = count.load(Ordering::SeqCst);
    assert!(asked > 0);
    let direct = [("HTTPS_PROXY", address.as_str()), ("NO_PROXY", "localhost")];
    lab.run_with(&direct, &["account", "show", "pebble"]).ends(0);
    assert_eq!(count.load(Ordering::SeqCst), asked, "NO_PROXY names the host");
}

#[test]
fn what_is_in_place_is_shown_and_replaced() {
    let lab = Lab::start();
    let status = || lab.run(&["list", "--json"]).ends(0).json()[0]["status"].clone();
    assert_eq!(status(), "missing");
    lab.run(&["once"]).ends(0);
    assert_eq!(status(), "valid");
    std::fs::remove_file(lab.path("acme/site/key.pem")).expect("a file");
    assert_eq!(status(), "key_missing");
    let checked = lab.run(&["check", "--dry", "--errors-only"]).ends(2);
    assert!(checked.out.contains("error[wrong]: site: files: key.pem is gone"), "{}", checked.out);
    assert!(lab.run(&["once"]).ends(0).out.contains("site: issued"));
    std::fs::remove_dir_all(lab.path("acme/site")).expect("a folder");
    assert_eq!(status(), "folder_deleted");
    assert!(lab.run(&["once"]).ends(0).out.contains("site: issued"));
    // A failed reload is shown until it works.
    lab.configure("post_run = \"test -e full.pem && test \\\"$ACME_FOLDER\\\" = \\\"$PWD\\\" && false\"\n");
    let failed = lab.run(&["renew", "site"]).ends(1);
    assert!(failed.err.contains("the certificate is not deployed"), "{}", failed.err);
    let listed = lab.run(&["list", "--json"]).ends(0).json();
    assert_eq!(listed[0]["activity"], "reload_failed", "{listed}");
    assert!(listed[0]["reload_error"].as_str().is_some_and(|error| error.contains("/bin/sh")), "{listed}");
    lab.configure("post_run = \"cp full.pem backup.pem\"\n");
    lab.run(&["renew", "site"]).ends(0);
    assert_eq!(lab.written("full.pem"), lab.written("backup.pem"));
}

#[test]
fn groups_are_checked_and_enforced() {
    use std::os::unix::fs::MetadataExt;
    if !testkit::needs_root("acme-dns01-cli: groups_are_checked_and_enforced") {
        return;
    }
    let lab = Lab::start();
    lab.run(&["once"]).ends(0);
    let group = || lab.path("acme/site/key.pem").metadata().expect("a file").gid();
    assert_eq!(group(), crate::lab::GROUP);
    // Another program's decision stays; one of the configuration is applied at once.
    for file in ["acme/site", "acme/site/key.pem"] {
        std::os::unix::fs::chown(lab.path(file), None, Some(48_214)).expect("root");
    }
    lab.run(&["renew", "site"]).ends(0);
    assert_eq!(group(), 48_214);
    lab.configure("group = \"48215\"\n");
    lab.run(&["once"]).ends(0);
    assert_eq!(group(), 48_215);
    lab.configure("group = \"no-such-group\"\n");
    let checked = lab.run(&["check", "--dry"]).ends(3);
    assert!(checked.out.contains("there is no group `no-such-group`"), "{}", checked.out);
}

#[test]
fn output_without_a_reader_ends_the_program_quietly() {
    let lab = Lab::start();
    lab.run(&["once"]).ends(0);
    let config = lab.path("acme.toml").display().to_string();
    for command in ["list", "check", "completions zsh"] {
        let args: Vec<&str> = ["--config", &config].into_iter().chain(command.split(' ')).collect();
        testkit::assert_ends_quietly_without_a_reader(env!("CARGO_BIN_EXE_acme-dns01"), &args);
    }
}

/// A resolver that implements no query, as some do that are made for one network.
fn refusing_resolver() -> std::net::SocketAddr {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let mut answer = query[..length].to_vec();
            // A response, of which nothing is implemented.
            answer[2] |= 0x80;
            answer[3] = (answer[3] & 0xf0) | 4;
            let _ = socket.send_to(&answer, from);
        }
    });
    address
}

#[test]
fn check_finds_what_an_order_would_meet() {
    let lab = Lab::start();
    let replaced = |from: &str, to: &str| {
        lab.configure("");
        let text = std::fs::read_to_string(lab.path("acme.toml")).expect("a file");
        assert!(text.contains(from), "{text}");
        std::fs::write(lab.path("acme.toml"), text.replace(from, to)).expect("a file");
        lab.run(&["check", "--dry"])
    };
    let profile = replaced("settle = 0", "settle = 0\nprofile = \"nosuch\"").ends(2);
    assert!(profile.out.contains("has no profile `nosuch`; it has"), "{}", profile.out);
    let away = replaced(&lab.directory, "https://localhost:1/dir").ends(2);
    assert!(away.out.contains("error[wrong]: authority pebble"), "{}", away.out);
    let resolver = refusing_resolver();
    let dns = format!("resolvers = \"{}\"", lab.knot.address());
    let refused = replaced(&dns, &format!("resolvers = \"{resolver}\"")).ends(2);
    assert!(refused.out.contains("does not answer") && refused.out.contains("MagicDNS"), "{}", refused.out);
    // One resolver of several that fails is passed over.
    let both = replaced(&dns, &format!("resolvers = [\"{resolver}\", \"{}\"]", lab.knot.address())).ends(0);
    assert!(!both.out.contains("error["), "{}", both.out);
    // A key that the name server does not know: nothing is written in vain.
    lab.configure("");
    lab.secret("tsig", "c29tZXRoaW5nIGVsc2UgZW50aXJlbHksIG9mIDMyIGI=");
    let key = lab.run_with(&[], &["check"]).ends(2);
    assert!(key.out.contains("error["), "{}", key.out);
    let found = testkit::findings(&lab.run(&["check", "--json"]).ends(2).json());
    assert!(found.iter().any(|found| found["severity"] == "error" && found["fine"] == false), "{found:?}");
}
