//! The commands as a user runs them.

use std::process::{Command, Output};

const MATRIX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/hosts/lab-matrix/edge.toml");
const PACMAN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/hosts/vps-pacman/edge.toml");
const PAIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/hosts/two-edges/edge.toml");
const ENIAC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/hosts/id3-eniac/edge.toml");

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_edge-proxyd")).args(args).output().unwrap()
}

fn explain(config: &str, args: &[&str]) -> serde_json::Value {
    let output = run(&[&["explain", "--no-files", "--json", "--config", config], args].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn check_accepts_the_hosts() {
    for config in [ENIAC, MATRIX, PACMAN, PAIR] {
        assert_eq!(run(&["check", "--no-files", "--config", config]).status.code(), Some(0));
        let output = run(&["check", "--no-files", "--json", "--config", config]);
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(value["ok"], true);
    }
}

#[test]
fn check_refuses_what_is_not_there() {
    for options in [&[][..], &["--no-files"]] {
        let output = run(&[&["check", "--config", "/nonexistent/edge.toml"], options].concat());
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("cannot be read") && said.trim_end().ends_with(": name a file that exists"),
            "{said}"
        );
    }
    assert_eq!(run(&["check"]).status.code(), Some(2));
}

/// Forwards to a socket and over IPv6, and the client's address by a field of a content delivery network.
#[test]
fn explain_forwards_and_fields_of_the_owner_s() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("edge.toml");
    let text = "listen = [{ name = 'socket', address = '127.0.0.1:22', forward = 'unix:/run/ssh.sock' },\n\
                { name = 'six', address = '[::1]:22', forward = 'tcp://[fd00::2]:22', deny = 'fd00:9::/32' },\n\
                { address = '127.0.0.1:80' }]\n\
                [trust]\nranges = ['203.0.113.0/24', '2001:db8:c::/48']\nheader = 'CF-Connecting-IP'\n\
                [[site]]\nhosts = 'a.test'\nplain = 'serve'\nupstream = 'http://[fd00::2]:80'\nallow = ['198.51.100.0/24', '2001:db8:7::/48']\nreject = 'alert'\n";
    std::fs::write(&config, text).unwrap();
    let ask = |args: &[&str]| explain(config.to_str().unwrap(), args);
    let value = ask(&["--listener", "socket", "--from", "192.0.2.1"]);
    assert_eq!(value["forwarded"]["targets"][0], "unix:/run/ssh.sock", "{value}");
    let value = ask(&["--listener", "six", "--from", "[2001:db8::1]:4000"]);
    assert_eq!(value["forwarded"]["targets"][0], "[fd00::2]:22", "{value}");
    let value = ask(&["--listener", "six", "--from", "[fd00:9::1]:4000"]);
    assert_eq!((&value["code"], &value["forwarded"]), (&"access-denied".into(), &serde_json::Value::Null));
    // From a range of the network's, and from one that only says so; in another spelling, twice, and as a list.
    let at = |from: &str, fields: &[&str]| {
        let fields = fields.iter().flat_map(|field| ["--header", field]);
        let args: Vec<&str> = ["http://a.test/", "--from", from].into_iter().chain(fields).collect();
        let value = ask(&args);
        (value["client"]["what"].as_str().unwrap().to_owned(), value["code"].as_str().map(String::from))
    };
    let denied = Some("access-denied".to_owned());
    for (field, client) in [("198.51.100.7", "198.51.100.7"), ("2001:db8:7::7", "2001:db8:7::7")] {
        let field = format!("CF-Connecting-IP: {field}");
        for hop in ["203.0.113.9", "[2001:db8:c::1]:4000"] {
            assert_eq!(at(hop, &[&field]), (client.to_owned(), None), "{hop}");
        }
        assert_eq!(at("192.0.2.1", &[&field]), ("192.0.2.1".to_owned(), denied.clone()));
    }
    for fields in [
        &["CF_Connecting_IP: 198.51.100.7"][..],
        &["CF-Connecting-IP: 198.51.100.7", "CF-Connecting-IP: 198.51.100.8"],
        &["CF-Connecting-IP: 198.51.100.7, 192.0.2.1"],
        &["X-Forwarded-For: 198.51.100.7"],
        &["X-Real-IP: 198.51.100.7"],
    ] {
        assert_eq!(at("203.0.113.9", fields), ("203.0.113.9".to_owned(), denied.clone()), "{fields:?}");
    }
}

#[test]
fn explain_the_real_client() {
    let hop =
        ["--plain", "--from", "100.64.0.1:40000", "--interface", "tailscale0", "--host", "git.example.org"];
    let spoofed = "X-Forwarded-For: 6.6.6.6, 203.0.113.7";
    let value =
        explain(MATRIX, &[&hop[..], &["--header", spoofed, "--header", "X-Forwarded-Proto: https"]].concat());
    assert_eq!(value["client"]["what"], "203.0.113.7");
    assert_eq!(value["forwarded"]["upstream"], "forgejo");
    let fields = value["forwarded"]["fields"].to_string();
    assert!(fields.contains(r#"["X-Forwarded-For","203.0.113.7, 100.64.0.1"]"#), "{fields}");
    assert!(fields.contains(r#"["X-Forwarded-Proto","https"]"#), "{fields}");
    assert!(!fields.contains("6.6.6.6"));
    let stranger = ["--plain", "--from", "100.64.0.1", "--interface", "eth0", "--host", "git.example.org"];
    let value = explain(MATRIX, &[&stranger[..], &["--header", spoofed]].concat());
    assert_eq!(value["client"]["what"], "100.64.0.1");
}

#[test]
fn explain_who_hops_are() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("edge.toml");
    let text = "[[listen]]\naddress = '127.0.0.1:80'\n[tailnet]\n[trust]\nranges = '100.64.0.0/10'\nwho = 'tag:edge'\n\
                [[site]]\nhosts = 'a.test'\nplain = 'serve'\nupstream = 'http://127.0.0.1:1'\n";
    std::fs::write(&config, text).unwrap();
    let asked = ["--plain", "--from", "100.64.0.1", "--who", "tag:edge", "--host", "a.test", "--header"];
    let asked = [&asked[..], &["X-Forwarded-For: 203.0.113.7, 100.64.0.9"]].concat();
    let client = |more: &[&str]| {
        explain(config.to_str().unwrap(), &[&asked[..], more].concat())["client"]["what"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(client(&[]), "100.64.0.9");
    assert_eq!(client(&["--hop", "100.64.0.9=login:ann@a.test"]), "100.64.0.9");
    assert_eq!(client(&["--hop", "100.64.0.9=node:other", "--hop", "100.64.0.9=tag:edge"]), "203.0.113.7");
    let wrong = run(&[
        "explain",
        "--config",
        config.to_str().unwrap(),
        "--from",
        "1.1.1.1",
        "--host",
        "a",
        "--hop",
        "x",
    ]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn explain_the_sinkhole() {
    let value = explain(PACMAN, &["--from", "192.0.2.1", "--host", "other.org"]);
    assert_eq!(value["handshake"]["what"], "dropped without a response");
    // The answer ends where the connection does.
    assert_eq!((&value["ended"], &value["verdict"]["what"]), (&"handshake".into(), &"no request".into()));
    assert_eq!((&value["code"], &value["forwarded"]), (&"unknown-name".into(), &serde_json::Value::Null));
    let value = explain(PACMAN, &["--plain", "--from", "192.0.2.1", "--host", "198.51.100.7"]);
    assert_eq!(value["code"], "raw-address");
    let value =
        explain(PACMAN, &["--from", "192.0.2.1", "--sni", "git.example.org", "--host", "vault.example.org"]);
    assert_eq!(value["verdict"]["what"], "refused with 421");
}

#[test]
fn explain_a_url() {
    let value = explain(PACMAN, &["https://git.example.org/a?b#c", "--from", "192.0.2.1"]);
    assert_eq!(value["forwarded"]["target"], "/a?b", "{value}");
    let value = explain(PACMAN, &["http://git.example.org", "--from", "192.0.2.1"]);
    assert_eq!(value["verdict"]["what"], "308 to https://git.example.org/", "{value}");
    for wrong in ["git.example.org/a", "ftp://git.example.org/", "https:///a", "https://me@git.example.org/"]
    {
        let output = run(&["explain", "--config", PACMAN, "--from", "192.0.2.1", wrong]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains("is not a valid URL"), "{said}");
    }
    assert_eq!(run(&["explain", "--config", PACMAN, "--from", "192.0.2.1"]).status.code(), Some(2));
}

/// Listeners and certificates are part of the answer.
#[test]
fn explain_what_no_connection_reaches() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("edge.toml");
    let text = format!(
        "[[listen]]\naddress = '127.0.0.1:443'\ntls = true\n[certificates]\nfolder = '{}'\n[[site]]\n\
         hosts = ['a.test']\nupstream = 'http://127.0.0.1:1'\n",
        folder.path().join("acme").display()
    );
    std::fs::write(&config, text).unwrap();
    let explained = |more: &[&str]| {
        let given = ["explain", "--json", "--from", "192.0.2.1", "--config", config.to_str().unwrap()];
        let output = run(&[&given[..], more].concat());
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    // The folder is not there: unknown, and the rest is explained.
    let value = explained(&["https://a.test/"]);
    assert_eq!(
        (&value["certificate"]["what"], &value["ended"]),
        (&"unknown".into(), &serde_json::Value::Null)
    );
    std::fs::create_dir(folder.path().join("acme")).unwrap();
    let value = explained(&["https://a.test/"]);
    assert_eq!((&value["ended"], &value["forwarded"]), (&"certificate".into(), &serde_json::Value::Null));
    testkit::Authority::new().write(&folder.path().join("acme/a.test"), &["a.test"]);
    let value = explained(&["https://a.test/"]);
    assert_eq!(
        (&value["certificate"]["what"], &value["forwarded"]["target"]),
        (&"found".into(), &"/".into())
    );
    // Neither HTTP/3 nor plain HTTP has a listener.
    assert_eq!(explained(&["https://a.test/", "--quic"])["ended"], "listener");
    assert_eq!(explained(&["http://a.test/"])["ended"], "listener");
}

/// The readings of a path and the authentication are part of the answer.
#[test]
fn explain_readings_and_authentication() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("edge.toml");
    let users = folder.path().join("users");
    std::fs::write(&users, "ann:$2y$05$abcdefghijklmnopqrstuuJ6p8XYeKQnRrRrPR8XO0Xg1bQ2w1gXq\n").unwrap();
    let text = format!(
        "listen = [{{ address = '127.0.0.1:80' }}]\n[upstream.portal]\ntarget = 'http://127.0.0.1:2'\n\
         [[site]]\nhosts = 'a.test'\nplain = 'serve'\nupstream = 'http://127.0.0.1:1'\nauth = {{ upstream = 'portal', path = '/verify' }}\n\
         [[site.route]]\npath = '/admin'\nupstream = 'http://127.0.0.1:1'\nallow = '10.0.0.0/8'\n\
         [[site.route]]\npath = '/me'\nupstream = 'http://127.0.0.1:1'\nauth = {{ users = '{}', realm = 'mine' }}\n\
         [[site.route]]\npath = '/open'\nupstream = 'http://127.0.0.1:1'\nauth = 'open'\n",
        users.display()
    );
    std::fs::write(&config, text).unwrap();
    let at = |path: &str| {
        let url = format!("http://a.test{path}");
        explain(config.to_str().unwrap(), &[&url, "--from", "192.0.2.1"])
    };
    // A reading that would be decided otherwise is named, with the route that it would have.
    let value = at("/x/..%2fadmin");
    assert_eq!(
        (&value["code"], &value["verdict"]["what"]),
        (&"ambiguous-path".into(), &"refused with 400".into())
    );
    let readings = value["readings"].as_array().unwrap();
    let admin = readings.iter().find(|reading| reading["path"] == "/admin").unwrap();
    assert_eq!((&admin["route"], &admin["same"]), (&"/admin".into(), &false.into()));
    assert_eq!(value["authentication"], serde_json::Value::Null, "{value}");
    // The service that is asked hears of each reading.
    let value = at("/npm/@scope%2fpkg");
    assert_eq!(value["readings"][0]["path"], "/npm/@scope/pkg");
    assert!(
        value["authentication"]["what"]
            .as_str()
            .is_some_and(|what| what.starts_with("`portal` is asked at /"))
    );
    assert!(value["authentication"]["why"].as_str().unwrap().contains("1 other"), "{value}");
    assert_eq!(at("/me")["authentication"]["what"], "a password");
    assert_eq!(at("/open")["authentication"], serde_json::Value::Null);
    let output = run(&[
        "explain",
        "--no-files",
        "--config",
        config.to_str().unwrap(),
        "--from",
        "192.0.2.1",
        "http://a.test/x/..%2fadmin",
    ]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("may be read  /admin: the route /admin, decided otherwise\n"), "{text}");
}

/// A listener with an interface accepts what comes by it and nothing else, so that the explanation knows the interface.
#[test]
fn the_interface_of_the_listener_is_that_of_the_connection() {
    let asked =
        ["--from", "100.64.0.1", "--header", "X-Forwarded-For: 203.0.113.7", "http://vault.example.org/"];
    let value = explain(MATRIX, &asked);
    assert_eq!(value["client"]["what"], "203.0.113.7", "{value}");
    let value = explain(MATRIX, &[&["--interface", "eth0"], &asked[..]].concat());
    assert_eq!(value["listener"]["what"], "none", "{value}");
    // One on every interface does not know it.
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("edge.toml");
    let text = std::fs::read_to_string(MATRIX).unwrap();
    let first = text.replacen("\ninterface = \"tailscale0\"", "", 1);
    assert_ne!(first, text);
    std::fs::write(&config, first).unwrap();
    let config = config.to_str().unwrap();
    let value = explain(config, &asked);
    assert_eq!(value["client"]["what"], "100.64.0.1", "{value}");
    assert!(value["client"]["why"].as_str().unwrap().contains("not known: --interface"), "{value}");
    let value = explain(config, &[&["--interface", "tailscale0"], &asked[..]].concat());
    assert_eq!(value["client"]["what"], "203.0.113.7", "{value}");
}

#[test]
fn explain_early_data() {
    let early = ["--from", "192.0.2.1", "--host", "git.example.org", "--early"];
    let value = explain(PACMAN, &early);
    assert!(value["forwarded"]["fields"].to_string().contains(r#"["Early-Data","1"]"#));
    let value = explain(PACMAN, &[&early[..], &["--method", "POST"]].concat());
    assert_eq!(value["early"]["what"], "waits for the handshake");
    let asked = ["--from", "192.0.2.1", "--host", "git.example.org", "--no-files"];
    let output = run(&[&["explain", "--config", PACMAN], &asked[..]].concat());
    assert!(String::from_utf8_lossy(&output.stdout).contains("forwarded to `lab-matrix`"));
}

/// Verifies that the program accepts the examples of the guide.
#[test]
fn every_block_of_the_migration_guide_is_valid() {
    let guide = include_str!("../../../MIGRATING.md");
    let blocks: Vec<&str> =
        guide.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 3);
    let folder = tempfile::tempdir().unwrap();
    for block in blocks {
        let path = folder.path().join("edge.toml");
        std::fs::write(&path, block).unwrap();
        let output = run(&["check", "--no-files", "--config", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// What `check` warns of, and what `import` does not take over, are findings in the form of the family.
#[test]
fn warnings_and_notes_are_findings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.toml");
    std::fs::write(&path, "[[listen]]\naddress = \"127.0.0.1:8080\"\n").unwrap();
    let output = run(&["check", "--no-files", "--json", "--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    let found = testkit::findings(&serde_json::from_slice(&output.stdout).unwrap());
    assert_eq!((&found[0]["code"], &found[0]["severity"]), (&"degraded".into(), &"warning".into()));
    let path = folder.path().join("nginx.conf");
    let text = "events {}\nhttp {\n  server {\n    listen 80;\n    server_name a.test;\n    auth_jwt on;\n    location / { return 200; }\n  }\n}\n";
    std::fs::write(&path, text).unwrap();
    let output = run(&["import", path.to_str().unwrap(), "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = testkit::findings(&answer);
    let notes = answer["not_taken_over"].as_array().unwrap();
    assert_eq!(found.len(), notes.len(), "{answer}");
    let of_line = |line: u64| {
        found.iter().find(|found| found["place"]["line"] == line).unwrap_or_else(|| panic!("{answer}"))
    };
    assert!(of_line(6)["place"]["key"].as_str().unwrap().contains("auth_jwt"), "{answer}");
    assert_eq!(of_line(6)["severity"], "warning", "{answer}");
}

#[test]
fn output_without_a_reader_ends_the_program_quietly() {
    let program = env!("CARGO_BIN_EXE_edge-proxyd");
    for args in [&["check", "--config", MATRIX][..], &["schema"], &["completions", "fish"]] {
        testkit::assert_ends_quietly_without_a_reader(program, args);
    }
}

/// What a connection is decides as much as the request: the listener, the certificate, the address beside a password,
/// the method, and names whose TLS is passed on.
#[test]
fn explain_each_axis_of_a_decision() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("edge.toml");
    let users = folder.path().join("users");
    std::fs::write(&users, "ann:$2y$05$abcdefghijklmnopqrstuuJ6p8XYeKQnRrRrPR8XO0Xg1bQ2w1gXq\n").unwrap();
    let text = format!(
        "[[listen]]\nname = 'public'\naddress = '192.0.2.1:443'\ntls = true\n\
         [[listen]]\nname = 'tailnet'\naddress = '100.64.0.1:443'\ntls = true\n\
         [certificates]\nfolder = '/var/lib/acme'\n\
         [[site]]\nhosts = 'inside.test'\nlisten = 'tailnet'\nupstream = 'http://127.0.0.1:1'\n\
         [[site]]\nhosts = 'proven.test'\nupstream = 'http://127.0.0.1:1'\nclient_certificates = {{ ca = '/ca.pem' }}\n\
         [[site]]\nhosts = 'any.test'\nupstream = 'http://127.0.0.1:1'\nallow = '10.0.0.0/8'\nsatisfy = 'any'\nauth = {{ users = '{}' }}\n\
         [[site]]\nhosts = 'read.test'\n[[site.route]]\npath = '/'\nmethods = ['GET']\nupstream = 'http://127.0.0.1:1'\n\
         [[site]]\nhosts = 'raw.test'\npassthrough = 'tcp://127.0.0.1:2'\n",
        users.display()
    );
    std::fs::write(&config, text).unwrap();
    let at = |args: &str| {
        let words: Vec<&str> = args.split(' ').collect();
        explain(config.to_str().unwrap(), &words)
    };
    let none = serde_json::Value::Null;
    // The listener that a site is not at knows no such name.
    let value = at("--from 192.0.2.9 https://inside.test/ --listener tailnet");
    assert_eq!((&value["code"], &value["forwarded"]["target"]), (&none, &"/".into()), "{value}");
    let value = at("--from 192.0.2.9 https://inside.test/ --listener public");
    assert_eq!((&value["code"], &value["ended"]), (&"unknown-name".into(), &"handshake".into()), "{value}");
    // A listener without a name is called by its address.
    assert_eq!(at("--from 192.0.2.9 https://inside.test/ --listener 192.0.2.1:443")["code"], "unknown-name");
    // The certificate that a site requires.
    let value = at("--from 192.0.2.9 https://proven.test/");
    assert_eq!(value["code"], "client-certificate-rejected", "{value}");
    let value = at("--from 192.0.2.9 https://proven.test/ --client-certificate CN=ann");
    assert_eq!(
        (&value["code"], &value["verdict"]["what"]),
        (&none, &"forwarded to `http://127.0.0.1:1`".into())
    );
    assert!(value["forwarded"]["fields"].to_string().contains("Client-Cert"), "{value}");
    // Inside no password is asked for, and outside one is.
    assert_eq!(at("--from 10.1.2.3 https://any.test/")["authentication"], none);
    let value = at("--from 192.0.2.9 https://any.test/");
    assert_eq!((&value["authentication"]["what"], &value["code"]), (&"a password".into(), &none), "{value}");
    // Another method.
    assert_eq!(at("--from 192.0.2.9 https://read.test/")["code"], none);
    let value = at("--from 192.0.2.9 https://read.test/ --method POST");
    assert_eq!(
        (&value["code"], &value["verdict"]["what"]),
        (&"method-not-allowed".into(), &"refused with 405".into())
    );
    // TLS that goes on without being decrypted.
    let value = at("--from 192.0.2.9 https://raw.test/");
    assert_eq!(value["handshake"]["what"], "passed through to `tcp://127.0.0.1:2`", "{value}");
    assert_eq!((&value["ended"], &value["forwarded"]), (&"handshake".into(), &none), "{value}");
    assert_eq!(at("--from 192.0.2.9 https://read.test/")["handshake"]["what"], "accepted");
}

#[test]
fn explain_a_listener_that_forwards() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("edge.toml");
    let text = "[[listen]]\nname = 'ssh'\naddress = '192.0.2.1:22'\nforward = 'git'\nallow = '10.0.0.0/8'\n\
                deny = '10.6.6.6'\nproxy_protocol = '100.64.0.1'\nidle = '2h'\nrate = { client = '30/m', concurrent = 9 }\n\
                [[listen]]\nname = 'web'\naddress = '192.0.2.1:80'\n\
                [upstream.git]\ntarget = 'tcp://127.0.0.1:2222'\nproxy_protocol = 'v2'\n";
    std::fs::write(&config, text).unwrap();
    let at = |args: &str| {
        let words: Vec<&str> = args.split(' ').collect();
        explain(config.to_str().unwrap(), &words)
    };
    let none = serde_json::Value::Null;
    let value = at("--from 10.1.2.3 --listener ssh");
    assert_eq!((&value["verdict"]["what"], &value["code"]), (&"forwarded to `git`".into(), &none), "{value}");
    assert_eq!(value["forwarded"]["targets"][0], "127.0.0.1:2222");
    assert_eq!(
        (&value["forwarded"]["proxy_protocol"], &value["forwarded"]["idle"]),
        (&"v2".into(), &7200.0.into())
    );
    assert_eq!(value["limits"]["what"], "one per 2s, burst 1 of a client, 9 open of all clients");
    for outside in ["192.0.2.9", "10.6.6.6"] {
        let value = at(&format!("--from {outside} --listener ssh"));
        assert_eq!((&value["code"], &value["forwarded"]), (&"access-denied".into(), &none), "{value}");
    }
    // The source in the header is the client where the header is read, and nowhere else.
    let value = at("--from 100.64.0.1 --proxied 10.1.2.3 --listener 192.0.2.1:22");
    assert_eq!((&value["client"]["what"], &value["code"]), (&"10.1.2.3".into(), &none), "{value}");
    assert_eq!(at("--from 100.64.0.1 --proxied 192.0.2.9 --listener ssh")["code"], "access-denied");
    assert_eq!(at("--from 100.64.0.1 --listener ssh")["code"], "proxy-header");
    let value = at("--from 192.0.2.9 --proxied 10.1.2.3 --listener ssh");
    assert_eq!((&value["client"]["what"], &value["code"]), (&"192.0.2.9".into(), &"access-denied".into()));
    let file = config.to_str().unwrap();
    let output = run(&["explain", "--no-files", "--config", file, "--from", "10.1.2.3", "--listener", "ssh"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("upstream     git at 127.0.0.1:2222, which gets a PROXY header of v2\n"), "{text}");
    // What does not go together.
    for (listener, more, said) in
        [("web", "", "add the URL of the request"), ("ssh", "http://a.test/", "leave out the URL")]
    {
        let mut words =
            vec!["explain", "--no-files", "--config", file, "--from", "10.1.2.3", "--listener", listener];
        words.extend((!more.is_empty()).then_some(more));
        let output = run(&words);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && error.contains(said), "{error}");
    }
}
