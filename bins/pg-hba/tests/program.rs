//! Each command of the program; `install` against a live server.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use testkit::postgres::{MAJORS, Options, Postgres};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pg-hba")).args(args).output().expect("the program runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn expect(args: &[&str], code: i32, words: &[&str]) -> String {
    let output = run(args);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{text}");
    for word in words {
        assert!(text.contains(word), "{args:?} does not say {word:?}:\n{text}");
    }
    text
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path: PathBuf = folder.join(name);
    std::fs::write(&path, text).expect("a file");
    path.display().to_string()
}

const POLICY: &str = "\
privileged = [\"backup\"]
tailnet = \"scram\"
[[services]]
database = \"forgejo\"
role = \"forgejo\"
";

#[test]
fn render_check_explain_diff_and_matrix() {
    let folder = tempfile::tempdir().expect("a folder");
    let policy = write(folder.path(), "policy.toml", POLICY);
    let rendered = expect(&["render", "--policy", &policy], 0, &["# Managed by pg-hba", "forgejo"]);
    let file = write(folder.path(), "pg_hba.conf", &rendered);
    expect(&["check", &file], 0, &[": OK: "]);
    // A warning lets a build or a unit go on, an error does not.
    let shadowed =
        "local all postgres peer\nlocal all all scram-sha-256\nlocal forgejo forgejo scram-sha-256\n";
    let shadowed = write(folder.path(), "shadowed.conf", shadowed);
    expect(&["check", &shadowed], 3, &["warning[HBA002]"]);
    expect(&["check", &shadowed, "--errors-only"], 0, &["warning[HBA002]"]);
    let lockout = write(folder.path(), "lockout.conf", "local all all reject\n");
    expect(&["check", &lockout, "--errors-only"], 3, &["error[HBA003]"]);
    expect(
        &["explain", &file, "--db", "forgejo", "--user", "backup", "--from", "100.64.1.2"],
        0,
        &["reject", "decides"],
    );
    expect(
        &["explain", &file, "--db", "x", "--user", "x", "--from", "203.0.113.1", "--tls", "--json"],
        0,
        &["scram-sha-256"],
    );
    let open = write(folder.path(), "open.conf", &rendered.replace("scram-sha-256", "trust"));
    expect(&["diff", &file, &file], 0, &["equal"]);
    expect(&["diff", &file, &open], 3, &["different", "trust"]);
    expect(&["diff", &file, &open, "--json"], 3, &["\"equal\":false"]);
    expect(&["check", &open], 3, &["HBA004", "HBA017"]);
    let waived =
        ["check", &open, "--waive", "HBA004=a lab", "--waive", "HBA017=a lab", "--waive", "HBA018=a lab"];
    expect(&waived, 0, &["waived: a lab"]);
    expect(&["check", &open, "--waive", "HBA004="], 2, &["no reason"]);
    expect(&["matrix", &file], 0, &["forgejo", "local"]);
    expect(&["matrix", &file, "--html"], 0, &["<table>"]);
    expect(&["matrix", &file, "--svg"], 0, &["<svg"]);
    expect(&["matrix", &file, "--json"], 0, &["\"cells\""]);
    let bad = write(folder.path(), "bad.conf", "local all all oauth\n");
    expect(&["check", &bad, "--pg", "17"], 3, &["HBA001", ":1:15: ", "allowed from PostgreSQL 18"]);
    expect(&["explain", &bad, "--pg", "17", "--db", "a", "--user", "a"], 2, &["oauth"]);
    let unknown = write(folder.path(), "unknown.toml", "tailnets = \"off\"\n");
    expect(
        &["render", "--policy", &unknown],
        2,
        &["unknown.toml:1:1: error[unknown-key]: tailnets: unknown key: did you mean `tailnet`?"],
    );
}

#[test]
fn an_upgrade_gate_finds_names_that_become_patterns() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "pg_hba.conf", "local all postgres peer\nlocal /^app all trust\n");
    expect(&["diff", &file, &file, "--pg", "15", "--next", "18"], 3, &["different"]);
    expect(&["check", &file, "--pg", "15", "--next", "18"], 3, &["HBA011"]);
}

/// The superuser of a policy in force is the one that must keep a way in.
#[test]
fn a_check_takes_the_superuser_of_the_policy() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "superuser = \"chief\"\ntailnet = \"off\"\nafter = [\"host all all all reject\"]\n";
    let policy = write(folder.path(), "chief.toml", text);
    let rendered = expect(&["render", "--policy", &policy], 0, &["chief"]);
    let file = write(folder.path(), "chief.conf", &rendered);
    let check = ["check", &file, "--policy", &policy, "--errors-only"];
    expect(&check, 0, &[]);
    expect(&[&check[..], &["--superuser", "postgres"]].concat(), 3, &["postgres"]);
}

#[test]
fn install_puts_rules_into_force_or_leaves_everything_as_it_was() {
    for major in MAJORS {
        let postgres = Postgres::start(&Options::new(major));
        let session = postgres.session();
        let hba = postgres.hba_path();
        std::fs::set_permissions(&hba, std::fs::Permissions::from_mode(0o640)).expect("permissions");
        let before = std::fs::metadata(&hba).expect("metadata");
        let old = std::fs::read_to_string(&hba).expect("a file");
        let folder = tempfile::tempdir().expect("a folder");
        let connect = format!(
            "host={} port={} user=postgres dbname=postgres",
            postgres.socket_folder().display(),
            postgres.port()
        );
        // The superuser of these servers is not this account, so `peer` would keep the canary out.
        let open = write(
            folder.path(),
            "open.toml",
            &format!("before = [\"host all postgres 127.0.0.1/32 trust\"]\n{POLICY}"),
        );
        let shut = write(folder.path(), "shut.toml", POLICY);
        let other = write(
            folder.path(),
            "other.toml",
            "superuser = \"nobody\"\nbefore = [\"host all postgres all reject\"]\n",
        );
        let canary = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", postgres.port());
        let diff = ["+# Managed by pg-hba", "+local        all             postgres        peer"];
        expect(&["install", "--policy", &open, "--connect", &connect, "--dry-run"], 3, &diff);
        // These servers have no TLS: a rule that can never match is not installed.
        let tls = write(folder.path(), "tls.toml", &format!("tls = \"required\"\n{POLICY}"));
        expect(&["install", "--policy", &tls, "--connect", &connect], 2, &["can never match", "hostssl"]);
        let members =
            write(folder.path(), "members.conf", "host all +postgres all trust\nhost all all all reject\n");
        let explain = ["explain", &members, "--db", "a", "--user", "postgres", "--from", "192.0.2.1"];
        expect(&[&explain[..], &["--connect", &connect]].concat(), 0, &["trust", "decides"]);
        // Options stand in for the facts of the server, which has no TLS.
        let encrypted =
            write(folder.path(), "encrypted.conf", "hostssl all all all trust\nhost all all all reject\n");
        let explain = [
            "explain",
            &encrypted,
            "--db",
            "a",
            "--user",
            "a",
            "--from",
            "192.0.2.1",
            "--tls",
            "--connect",
            &connect,
        ];
        expect(&explain, 0, &["reject"]);
        expect(&[&explain[..], &["--ssl", "on"]].concat(), 0, &["trust", "decides"]);
        let pattern = write(folder.path(), "pattern.conf", "local /^a$ a trust\nlocal all all reject\n");
        let explain = ["explain", &pattern, "--db", "a", "--user", "a", "--connect", &connect];
        expect(&explain, 0, &[if major < 16 { "reject" } else { "trust" }, "decides"]);
        let said = expect(&[&explain[..], &["--pg", "15"]].concat(), 0, &["reject", "decides"]);
        assert_eq!(said.contains("the file is read as 15 reads it"), major != 15, "{said}");
        expect(&[&explain[..], &["--pg", "18"]].concat(), 0, &["trust", "decides"]);
        expect(&["install", "--policy", &other, "--connect", &connect], 2, &["locked out"]);
        expect(
            &["install", "--policy", &shut, "--connect", &connect],
            1,
            &["canary", "the old file is back"],
        );
        assert_eq!(std::fs::read_to_string(&hba).expect("a file"), old, "nothing is lost");
        session.query("CREATE ROLE dba SUPERUSER").expect("a role");
        session.query("CREATE ROLE ops LOGIN IN ROLE dba").expect("a role");
        expect(
            &["install", "--policy", &open, "--connect", &connect, "--canary", &canary],
            0,
            &["installed", "privileged on the server, so not trusted: dba, ops"],
        );
        let after = std::fs::metadata(&hba).expect("metadata");
        assert_eq!((after.uid(), after.gid(), after.mode()), (before.uid(), before.gid(), before.mode()));
        assert!(std::fs::read_to_string(&hba).expect("a file").starts_with("# Managed by pg-hba"));
        expect(&["install", "--policy", &open, "--connect", &canary], 0, &["unchanged"]);
        let rules = session
            .query("SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL")
            .expect("the view");
        assert_eq!(rules[0][0].as_deref(), Some("0"));
    }
}

#[test]
fn what_is_not_known_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    for (address, option, value) in [
        ("samenet", "--server-address", "10.0.0.1/24"),
        ("samehost", "--server-address", "10.0.0.5/24"),
        (".example.com", "--client-name", "db.example.com"),
        ("db.example.com", "--client-name", "db.example.com"),
    ] {
        let file = write(
            folder.path(),
            "hba.conf",
            &format!("host all all {address} trust\nhost all all all reject\n"),
        );
        let explain = ["explain", &file, "--db", "a", "--user", "a", "--from", "10.0.0.5"];
        expect(&explain, 0, &["unknown, it depends on", "decides if", option]);
        let json = expect(
            &[&explain[..], &["--json"]].concat(),
            0,
            &["\"certain\":false", "\"outcome\":\"unknown\""],
        );
        let json: serde_json::Value = serde_json::from_str(json.trim()).expect("JSON");
        assert_eq!(json["possible"].as_array().map(Vec::len), Some(2), "{json}");
        assert_eq!(json["depends_on"], json["possible"][0]["if"], "{json}");
        assert_eq!(json["depends_on"].as_array().map(Vec::len), Some(1), "{json}");
        assert!(json["rule"].is_null(), "{json}");
        expect(&[&explain[..], &[option, value]].concat(), 0, &[": trust", "decides"]);
    }
    // Either of two memberships is enough, and both cases are said.
    let file = write(folder.path(), "roles.conf", "local all +a,+b trust\nlocal all all reject\n");
    let explain = ["explain", &file, "--db", "d", "--user", "u"];
    expect(&explain, 0, &["it depends on: the user is a member of a; the user is a member of b"]);
    let json = expect(&[&explain[..], &["--json"]].concat(), 0, &[]);
    let json: serde_json::Value = serde_json::from_str(json.trim()).expect("JSON");
    let ifs: Vec<&str> =
        json["possible"].as_array().expect("a list").iter().filter_map(|one| one["if"][0].as_str()).collect();
    assert_eq!(ifs, ["the user is a member of a", "the user is a member of b"], "{json}");
    let json =
        expect(&[&explain[..], &["--json", "--member-of", "b"]].concat(), 0, &["\"outcome\":\"trust\""]);
    assert!(json.contains("\"depends_on\":[]"), "{json}");
    // A file in Latin-1 is what the server makes of it.
    let path = folder.path().join("latin1.conf");
    std::fs::write(
        &path,
        b"# f\xfcr alle\nlocal all J\xf6rg trust\nlocal all /^\xe9$ trust\nlocal all all reject\n",
    )
    .expect("a file");
    let latin1 = path.display().to_string();
    expect(&["explain", &latin1, "--db", "d", "--user", "Jörg"], 0, &[": reject"]);
    expect(&["diff", &latin1, &latin1], 0, &["equal"]);
    let said = text(&run(&["check", &latin1]));
    assert!(!said.contains("UTF-8") && said.contains("HBA003"), "{said}");
    // A link-local address with its interface, as the server logs it; a rule's interface does not count.
    let file =
        write(folder.path(), "scoped.conf", "host all all fe80::1%lo/64 trust\nhost all all all reject\n");
    for address in ["fe80::2%eth0", "fe80::2"] {
        expect(
            &["explain", &file, "--db", "a", "--user", "a", "--from", address],
            0,
            &[": trust", "decides"],
        );
    }
    expect(&["explain", &file, "--db", "a", "--user", "a", "--from", "10.0.0.1%eth0"], 2, &["--from"]);
    // Loopback is on every server.
    let file = write(folder.path(), "net.conf", "local all all trust\nhost all all samenet trust\n");
    expect(&["explain", &file, "--db", "postgres", "--user", "pw1", "--from", "127.0.0.1"], 0, &[": trust"]);
    let file =
        write(folder.path(), "role.conf", "host all +staff all trust\nhost all all all scram-sha-256\n");
    let explain = ["explain", &file, "--db", "a", "--user", "bob", "--from", "10.0.0.5"];
    expect(&explain, 0, &["the user is a member of staff", "scram-sha-256"]);
    expect(&[&explain[..], &["--no-roles"]].concat(), 0, &[": scram-sha-256"]);
    expect(&[&explain[..], &["--member-of", "staff"]].concat(), 0, &[": trust"]);
    // An answer that is the same whatever holds is certain.
    let file = write(folder.path(), "same.conf", "host all +staff all reject\nhost all all all reject\n");
    expect(
        &["explain", &file, "--db", "a", "--user", "bob", "--from", "10.0.0.5", "--json"],
        0,
        &["\"certain\":true"],
    );
}

#[test]
fn trust_beyond_loopback_is_found_and_waived() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = "local all postgres peer\n";
    for (rules, code) in [
        ("local all all trust\n", "HBA017"),
        ("local all all trust\n", "HBA019"),
        ("host all postgres 10.0.0.0/8 trust\n", "HBA017"),
        ("host all all 172.16.0.0/12 trust\n", "HBA017"),
        ("host all all 172.16.0.0/12 trust\n", "HBA018"),
        ("host all all samenet trust\n", "HBA020"),
        ("host all all .example.com trust\n", "HBA020"),
        ("host all all 126.0.0.0/7 trust\n", "HBA004"),
    ] {
        let file = write(folder.path(), "hba.conf", rules);
        expect(&["check", &file], 3, &[code]);
        let waivers =
            ["HBA003", "HBA004", "HBA017", "HBA018", "HBA019", "HBA020"].map(|code| format!("{code}=lab"));
        let mut args = vec!["check", file.as_str()];
        waivers.iter().for_each(|waiver| args.extend(["--waive", waiver.as_str()]));
        expect(&args, 0, &[code, "waived: lab"]);
    }
    // A rule that the superuser never reaches is not about it; loopback and pairs of service and role are meant.
    for rules in [
        "local app app trust\n",
        "host all all 127.0.0.1/32 trust\nhost all all ::1/128 trust\n",
        "host all postgres all reject\nhost app app 10.0.0.0/8 trust\n",
    ] {
        let file = write(folder.path(), "hba.conf", &format!("{first}{rules}"));
        let said = expect(&["check", &file], 0, &[]);
        assert!(!said.contains("HBA01"), "{said}");
    }
    // What the policy states is waived by it.
    let policy = write(folder.path(), "trust.toml", "[[services]]\ndatabase = \"a\"\nrole = \"a\"\n");
    let rendered =
        expect(&["render", "--policy", &policy], 0, &["local        replication     postgres        peer"]);
    let file = write(folder.path(), "rendered.conf", &rendered);
    expect(&["check", &file], 3, &["HBA018"]);
    expect(&["check", &file, "--policy", &policy], 0, &["waived: stated by the policy"]);
    let strict =
        write(folder.path(), "strict.toml", "strict = true\n[[services]]\ndatabase = \"a\"\nrole = \"a\"\n");
    let rendered = expect(&["render", "--policy", &strict], 0, &["hostssl", "peer"]);
    assert!(!rendered.contains("trust"), "{rendered}");
    let file = write(folder.path(), "strict.conf", &rendered);
    expect(&["check", &file], 0, &[]);
    expect(&["check", &file, "--ssl", "off"], 0, &["HBA013"]);
}

#[test]
fn rules_are_structured_and_pg_ident_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "hostssl a,\"b c\",/^x samerole,+staff 10.0.0.0/8 cert map=m clientcert=verify-full\n";
    let text = text.replace("samerole,+staff", "u,+staff");
    let file = write(folder.path(), "hba.conf", &text);
    let explain = ["explain", &file, "--db", "a", "--user", "u", "--from", "10.1.1.1", "--tls", "--json"];
    let json: serde_json::Value = serde_json::from_str(expect(&explain, 0, &[]).trim()).expect("JSON");
    let rule = &json["rule"];
    assert_eq!(rule["type"], "hostssl");
    assert_eq!(rule["databases"][1]["name"], "b c");
    assert_eq!(rule["databases"][2]["pattern"], "^x");
    assert_eq!(rule["users"][1]["member_of"], "staff");
    assert_eq!(rule["address"]["mask"], "255.0.0.0");
    assert_eq!(rule["options"]["map"], "m");
    let ident = write(folder.path(), "pg_ident.conf", "m root postgres\nm /^(.*)@example\\.com$ \\1\n");
    let ask = |user: &str, role: &str, code, words: &[&str]| {
        expect(&["ident", &ident, "--map", "m", "--system-user", user, "--role", role], code, words)
    };
    ask("root", "postgres", 0, &["root may be postgres under m"]);
    ask("bob@example.com", "bob", 0, &["may be bob"]);
    ask("bob@example.com", "eve", 3, &["may not be eve"]);
    expect(&["ident", &ident], 0, &["OK: "]);
    let bad = write(folder.path(), "bad.conf", "m root\n");
    expect(&["ident", &bad], 3, &["bad.conf:1:7: error[refused]: missing entry at end of line"]);
    let answer = expect(&["ident", &bad, "--json"], 3, &["\"errors\":[{"]);
    let found = testkit::findings(&serde_json::from_str(answer.trim()).expect("JSON"));
    assert_eq!((&found[0]["place"]["file"], &found[0]["code"]), (&bad.as_str().into(), &"refused".into()));
    // A network of a policy has no bits below its prefix, as everywhere in this family.
    let bits = write(folder.path(), "bits.toml", "tailnet_ranges = [\"100.64.0.1/10\"]\n");
    expect(&["render", "--policy", &bits], 2, &["100.64.0.1/10", "write 100.64.0.0/10"]);
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "hba.conf", "local all all trust\n");
    testkit::assert_ends_quietly_without_a_reader(env!("CARGO_BIN_EXE_pg-hba"), &["check", &file]);
}

#[test]
fn what_19_changes_is_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let radius = "local all postgres peer\nhost all all 10.0.0.0/8 radius radiusservers=a radiussecrets=b\n";
    let radius = write(folder.path(), "radius.conf", radius);
    expect(&["check", &radius, "--pg", "19"], 3, &["radius", "PostgreSQL 19 has no radius"]);
    expect(&["check", &radius, "--next", "19"], 3, &["radius"]);
    let hosts = "db.example.org db.crt db.key\n/no_sni/ old.crt old.key\n";
    let hosts = write(folder.path(), "pg_hosts.conf", hosts);
    expect(&["hosts", &hosts], 0, &[": OK: 2 entries"]);
    expect(&["hosts", &hosts, "--sni", "DB.example.org"], 0, &["line 1", "db.crt"]);
    expect(&["hosts", &hosts, "--no-sni"], 0, &["line 2", "old.crt"]);
    expect(&["hosts", &hosts, "--sni", "other"], 3, &["no entry"]);
    let wrong = write(folder.path(), "wrong.conf", "* a b\n* a b\n");
    expect(&["hosts", &wrong], 3, &["wrong.conf:2:1: error[refused]: * has an entry already"]);
    let answer = expect(&["hosts", &wrong, "--json"], 3, &["\"errors\":[{\"line\":2,"]);
    let found = testkit::findings(&serde_json::from_str(answer.trim()).expect("JSON"));
    assert_eq!((&found[0]["place"]["file"], &found[0]["place"]["line"]), (&wrong.as_str().into(), &2.into()));
}

/// HBA006 says what a server does, by the passwords that it has stored: each role here has the method that libpq
/// insists on.
#[test]
fn md5_is_scram_for_those_who_have_a_verifier() {
    for major in [17, 18] {
        let mut options = Options::new(major);
        options.hba = "local all postgres trust\nlocal all all md5\n".to_owned();
        let postgres = Postgres::start(&options);
        let session = postgres.session();
        session.query("CREATE ROLE verifier LOGIN PASSWORD 'pw'").expect("a role");
        session.query("SET password_encryption = 'md5'").expect("a setting");
        session.query("CREATE ROLE hash LOGIN PASSWORD 'pw'").expect("a role");
        let logs_in = |user: &str, method: &str| {
            let to = format!(
                "host={} port={} user={user} dbname=postgres password=pw require_auth={method}",
                postgres.socket_folder().display(),
                postgres.port()
            );
            let psql =
                Command::new(postgres.programs().join("psql")).args(["-XAtqc", "SELECT 1", &to]).output();
            psql.expect("psql runs").status.success()
        };
        assert!(logs_in("verifier", "scram-sha-256") && !logs_in("verifier", "md5"), "{major}");
        assert!(logs_in("hash", "md5") && !logs_in("hash", "scram-sha-256"), "{major}");
        let file = postgres.hba_path().display().to_string();
        let said = expect(&["check", &file, "--pg", &major.to_string()], 3, &[":2:1: "]);
        for words in [
            "HBA006",
            "with a stored MD5 hash the client can answer with the hash itself",
            "with a stored SCRAM verifier the server uses SCRAM-SHA-256 all the same",
            "store SCRAM verifiers and write scram-sha-256",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}
