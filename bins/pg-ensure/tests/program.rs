//! Each command of the program, on live servers.

mod libpq;
mod logged;
mod secrets;

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use testkit::TerminalOutput;
use testkit::postgres::{MAJORS, Options, Postgres};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pg-ensure")).args(args).output().expect("the program runs")
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
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path: PathBuf = folder.join(name);
    std::fs::write(&path, text).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("permissions");
    path.display().to_string()
}

fn connect(postgres: &Postgres) -> String {
    format!("host={} port={} user=postgres", postgres.socket_folder().display(), postgres.port())
}

/// While a machine starts, its resolver may not answer, or not know the names of a VPN yet.
#[test]
fn a_name_that_is_not_resolved_is_waited_for() {
    let begin = std::time::Instant::now();
    let to = "host=name.invalid user=postgres";
    expect(&["wait", "--connect", to, "--timeout", "2"], 1, &["cannot connect", "name.invalid"]);
    assert!(begin.elapsed() > std::time::Duration::from_secs(1), "{:?}", begin.elapsed());
}

#[test]
fn plan_apply_check_generate_and_wait() {
    for major in MAJORS {
        let postgres = Postgres::start(&Options::new(major));
        let folder = tempfile::tempdir().expect("a folder");
        let secret = write(folder.path(), "secret", "correct horse\n");
        let manifest = write(
            folder.path(),
            "manifest.toml",
            &format!(
                "[[ensure]]\nname = \"vaultwarden\"\npassword_file = \"{secret}\"\n\n[[ensure]]\nname = \"forgejo\"\n"
            ),
        );
        let to = connect(&postgres);
        expect(&["wait", "--connect", &to], 0, &["ready"]);
        expect(&["check", &manifest, "--offline"], 0, &[": OK: 2 roles, 2 databases"]);
        let plan =
            expect(&["plan", &manifest, "--connect", &to], 3, &["CREATE ROLE \"vaultwarden\" LOGIN", "adds"]);
        assert!(!plan.contains("correct horse") && !plan.contains("4096:"), "{plan}");
        expect(&["check", &manifest, "--connect", &to], 3, &["CREATE DATABASE \"forgejo\""]);
        expect(&["apply", &manifest, "--connect", &to], 0, &["applied: 5 steps"]);
        expect(&["apply", &manifest, "--connect", &to], 0, &["unchanged: 0 steps"]);
        expect(&["check", &manifest, "--connect", &to], 0, &[": OK: nothing to do"]);
        expect(&["plan", &manifest, "--connect", &to, "--json"], 0, &["\"steps\":[]"]);
        for (format, name) in [("toml", "all.toml"), ("json", "all.json")] {
            let generated = expect(&["generate", "--connect", &to, "--format", format], 0, &["vaultwarden"]);
            let generated = write(folder.path(), name, &generated);
            expect(&["apply", &generated, "--connect", &to], 0, &["unchanged"]);
        }
    }
}

#[test]
fn a_saved_plan_is_bound_to_its_state() {
    let postgres = Postgres::start(&Options::new(18));
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = write(folder.path(), "manifest.toml", "[[ensure]]\nname = \"app\"\n");
    let saved = folder.path().join("plan.json").display().to_string();
    let to = connect(&postgres);
    expect(&["plan", &manifest, "--connect", &to, "--out", &saved], 3, &[]);
    postgres.session().query("CREATE ROLE app").expect("a role");
    expect(&["apply", "--plan", &saved, "--connect", &to], 1, &["the state has moved"]);
    let databases = postgres.session().query("SELECT FROM pg_database WHERE datname = 'app'").expect("rows");
    assert!(databases.is_empty(), "nothing was done");
    expect(&["plan", &manifest, "--connect", &to, "--out", &saved], 3, &["ALTER ROLE \"app\" LOGIN"]);
    let read: Value = serde_json::from_str(&std::fs::read_to_string(&saved).expect("a file")).expect("JSON");
    assert_eq!(read["plan"]["steps"].as_array().map(Vec::len), Some(2));
    // What may be destroyed was said with the plan.
    let late = ["apply", "--plan", &saved, "--connect", &to, "--destroy", "role=app"];
    expect(&late, 2, &["--destroy", "cannot be used with"]);
    expect(&["apply", "--plan", &saved, "--connect", &to], 0, &["applied: 2 steps"]);
    expect(&["apply", "--plan", &saved, "--connect", &to], 1, &["the state has moved"]);
}

#[test]
fn everything_wrong_is_said_before_the_server_is_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = format!("host={} user=postgres", folder.path().display());
    let open = write(folder.path(), "open", "secret\n");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).expect("permissions");
    let empty = write(folder.path(), "empty", "\n");
    for (text, said) in [
        (
            "[[ensure]]\nname = \"a\"\npassword_file = \"/none\"".to_owned(),
            vec!["m.toml:3:17:", "/none", "cannot be read"],
        ),
        (format!("[[ensure]]\nname = \"a\"\npassword_file = \"{open}\""), vec!["m.toml:3:17:", &open]),
        (format!("[[ensure]]\nname = \"a\"\npassword_file = \"{empty}\""), vec!["m.toml:3:17:", "empty"]),
        (
            "[[ensure]]\nname = \"a\"\npassword = \"hunter2\"".to_owned(),
            vec!["m.toml:3:12:", "not a reference to a secret"],
        ),
        ("[[database]]\nname = \"a\"\nowner = \"b\"".to_owned(), vec!["m.toml:3:9:", "not declared"]),
    ] {
        let manifest = write(folder.path(), "m.toml", &text);
        for command in ["plan", "apply", "check"] {
            let said = expect(&[command, &manifest, "--connect", &nowhere, "--timeout", "0"], 2, &said);
            assert!(!said.contains("hunter2"));
        }
        expect(&["check", &manifest, "--offline", "--json"], 2, &["\"error\":"]);
    }
    let good = write(folder.path(), "good.toml", "[[ensure]]\nname = \"a\"\n");
    let socket =
        format!("cannot connect to the database postgres at {}/.s.PGSQL.5432: ", folder.path().display());
    expect(&["plan", &good, "--connect", &nowhere, "--timeout", "0"], 1, &[&socket]);
    expect(&["wait", "--connect", "hostaddr=127.0.0.1 port=1", "--timeout", "0"], 1, &["at 127.0.0.1:1: "]);
    expect(&["plan", &good, "--connect", "host=x password=hunter2"], 2, &["--password file:"]);
    expect(&["plan", &good, "--destroy", "everything"], 2, &["does not name an object to destroy"]);
    expect(&["apply"], 2, &["/etc/pg-ensure/"]);
    expect(&["plan", "/none.toml"], 2, &["/none.toml"]);
}

#[test]
fn what_is_absent_goes_only_when_it_is_named() {
    let postgres = Postgres::start(&Options::new(17));
    let folder = tempfile::tempdir().expect("a folder");
    let to = connect(&postgres);
    postgres.session().query("CREATE ROLE old").expect("a role");
    let manifest = write(
        folder.path(),
        "m.toml",
        "[[role]]\nname = \"old\"\nabsent = true\n[[ensure]]\nname = \"new\"\n",
    );
    expect(
        &["plan", &manifest, "--connect", &to],
        3,
        &["error[destructive]: DROP ROLE \"old\": ", "role=old"],
    );
    for command in ["plan", "check"] {
        let answer = expect(&[command, &manifest, "--connect", &to, "--json"], 3, &["\"blocked\":[{"]);
        let found = testkit::findings(&serde_json::from_str(&answer).expect("JSON"));
        assert_eq!((&found[0]["code"], &found[0]["severity"]), (&"destructive".into(), &"error".into()));
        assert_eq!(found[0]["place"]["key"], "DROP ROLE \"old\"");
        assert!(found[0]["fix"].as_str().is_some_and(|fix| fix.contains("--destroy role=old")), "{found:?}");
    }
    // The rest is done, and the run says that it is not all.
    expect(&["apply", &manifest, "--connect", &to], 1, &["incomplete: 2 steps", "role=old"]);
    expect(&["apply", &manifest, "--connect", &to, "--destroy", "role=old"], 0, &["applied: 1 step"]);
    expect(&["check", &manifest, "--connect", &to], 0, &[]);
}

#[test]
fn a_standby_is_left_alone() {
    let mut options = Options::new(18);
    options.hba.push_str("local replication all trust\n");
    let primary = Postgres::start(&options);
    let standby = Postgres::standby_of(&primary);
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = write(folder.path(), "m.toml", "[[ensure]]\nname = \"a\"\n");
    expect(&["apply", &manifest, "--connect", &connect(&standby)], 0, &["standby: nothing was changed"]);
    let both = format!(
        "host={},{} port={},{} user=postgres",
        standby.socket_folder().display(),
        primary.socket_folder().display(),
        standby.port(),
        primary.port()
    );
    expect(&["apply", &manifest, "--connect", &both], 0, &["applied: 2 steps"]);
    expect(&["wait", "--connect", &both], 0, &["ready"]);
}

#[test]
fn the_policy_of_the_same_list_is_installed_or_nothing_is() {
    for major in [15, 18] {
        let mut options = Options::new(major);
        options.hba = "local all all trust\nhost all postgres 127.0.0.1/32 trust\n".to_owned();
        let postgres = Postgres::start(&options);
        let folder = tempfile::tempdir().expect("a folder");
        let to = connect(&postgres);
        let secret = write(folder.path(), "secret", "correct horse");
        let manifest = write(
            folder.path(),
            "m.toml",
            &format!(
                "[[ensure]]\nname = \"app\"\npassword_file = \"{secret}\"\n[[role]]\nname = \"backup\"\nreplication = true\n"
            ),
        );
        // The account of the test is not the server's, so that `peer` would keep the canary out.
        let way_in = "before = [\"host all postgres 127.0.0.1/32 trust\"]\n";
        let shut = write(folder.path(), "shut.toml", "tailnet = \"scram\"\n");
        let open = write(folder.path(), "open.toml", &format!("local = \"scram\"\n{way_in}"));
        let wrong = write(folder.path(), "wrong.toml", "tailnets = \"off\"\n");
        let canary = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", postgres.port());
        let old = std::fs::read_to_string(postgres.hba_path()).expect("a file");
        expect(
            &["apply", &manifest, "--connect", &to, "--hba", &wrong],
            2,
            &["tailnets: unknown key: did you mean `tailnet`?"],
        );
        let roles = postgres.session().query("SELECT FROM pg_roles WHERE rolname = 'app'").expect("rows");
        assert!(roles.is_empty(), "a wrong policy is found before anything is changed");
        expect(
            &["apply", &manifest, "--connect", &to, "--hba", &shut],
            1,
            &["canary", "the old file is back"],
        );
        assert_eq!(std::fs::read_to_string(postgres.hba_path()).expect("a file"), old);
        expect(
            &["apply", &manifest, "--connect", &to, "--hba", &open, "--canary", &canary],
            0,
            &["installed"],
        );
        let text = std::fs::read_to_string(postgres.hba_path()).expect("a file");
        assert!(text.lines().any(|line| line.contains("app") && line.contains("scram-sha-256")), "{text}");
        assert!(text.lines().any(|line| line.contains("backup") && line.contains("reject")), "{text}");
        let tcp = format!("host=127.0.0.1 port={} user=postgres", postgres.port());
        expect(&["apply", &manifest, "--connect", &tcp, "--hba", &open], 0, &["unchanged"]);
        // The password of the list is what the policy asks for.
        let login = format!(
            "host={} port={} user=app dbname=app",
            postgres.socket_folder().display(),
            postgres.port()
        );
        let reference = format!("file:{secret}");
        expect(&["wait", "--connect", &login, "--password", &reference], 0, &["ready"]);
        let other = write(folder.path(), "other", "wrong");
        let reference = format!("file:{other}");
        expect(
            &["wait", "--connect", &login, "--password", &reference, "--timeout", "1"],
            1,
            &["password authentication"],
        );
    }
}

/// Roles that are privileged by the manifest, by the server alone, or by memberships there, are not trusted by the
/// policy, neither as owners of databases nor from the tailnet.
#[test]
fn the_policy_trusts_no_privileged_role() {
    for major in [15, 18] {
        let mut options = Options::new(major);
        options.hba = "local all all trust\nhost all postgres 127.0.0.1/32 trust\n".to_owned();
        let postgres = Postgres::start(&options);
        let session = postgres.session();
        for sql in [
            "CREATE ROLE app SUPERUSER LOGIN",
            "CREATE ROLE dba SUPERUSER",
            "CREATE ROLE between IN ROLE dba",
            "CREATE ROLE ops LOGIN IN ROLE between",
            "CREATE ROLE runner LOGIN IN ROLE pg_execute_server_program",
            "CREATE ROLE \"odd role\" LOGIN BYPASSRLS",
            "CREATE ROLE plain LOGIN",
        ] {
            session.query(sql).expect(sql);
        }
        let folder = tempfile::tempdir().expect("a folder");
        let secret = write(folder.path(), "secret", "correct horse");
        let manifest = write(
            folder.path(),
            "m.toml",
            &format!(
                "[[role]]\nname = \"chief\"\nsuperuser = true\nlogin = true\npassword_file = \"{secret}\"\n\
                 [[database]]\nname = \"chief\"\nowner = \"chief\"\n[[ensure]]\nname = \"app\"\n\
                 [[ensure]]\nname = \"ops\"\n[[ensure]]\nname = \"plain\"\n"
            ),
        );
        let policy =
            write(folder.path(), "hba.toml", "before = [\"host all postgres 127.0.0.1/32 trust\"]\n");
        let canary = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", postgres.port());
        let to = connect(&postgres);
        let apply = ["apply", &manifest, "--connect", &to, "--hba", &policy, "--canary", &canary];
        expect(&apply, 0, &["privileged on the server", "app, between, dba, odd role, ops, runner"]);
        let rows =
            "SELECT coalesce(address, type), auth_method FROM pg_hba_file_rules WHERE user_name @> ARRAY[";
        for role in ["chief", "app", "ops", "runner", "odd role"] {
            let found = session.query(&format!("{rows}'{role}']")).expect("rows");
            let is_owner = ["chief", "app", "ops"].contains(&role);
            assert_eq!(found.len(), if is_owner { 4 } else { 1 }, "{role}: {found:?}");
            for row in &found {
                let expected =
                    if row[0].as_deref() == Some("100.64.0.0") { "reject" } else { "scram-sha-256" };
                assert_eq!(row[1].as_deref(), Some(expected), "{role}: {found:?}");
            }
        }
        let plain = session.query(&format!("{rows}'plain']")).expect("rows");
        assert!(plain.len() == 3 && plain.iter().all(|row| row[1].as_deref() == Some("trust")), "{plain:?}");
    }
}

#[test]
fn tls_is_used_as_asked_and_a_login_over_it_tells() {
    let mut options = Options::new(15);
    options.tls = true;
    options.hba =
        "local all postgres trust\nhostssl all admin all scram-sha-256\nhostssl all all all scram-sha-256\n"
            .to_owned();
    let postgres = Postgres::start(&options);
    let session = postgres.session();
    session.query("CREATE ROLE admin LOGIN CREATEROLE CREATEDB PASSWORD 'pw'").expect("a role");
    let folder = tempfile::tempdir().expect("a folder");
    let root = write(
        folder.path(),
        "root.pem",
        &std::fs::read_to_string(postgres.data().join("server.crt")).expect("a certificate"),
    );
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let other = write(folder.path(), "other.pem", &other.cert.pem());
    let admin = format!("file:{}", write(folder.path(), "admin", "pw\n"));
    let secret = write(folder.path(), "secret", "one\n");
    let manifest = write(
        folder.path(),
        "m.toml",
        &format!("[[ensure]]\nname = \"app\"\npassword_file = \"{secret}\"\n"),
    );
    let to = |host: &str, rest: &str| {
        format!("host={host} port={} user=admin dbname=postgres {rest}", postgres.port())
    };
    let run = |to: &str, code: i32, words: &[&str]| {
        // A refusal is tried again until the time is over; what succeeds may take its time on a busy machine.
        let timeout = if code == 0 { "60" } else { "1" };
        expect(
            &["apply", &manifest, "--connect", to, "--password", &admin, "--timeout", timeout],
            code,
            words,
        )
    };
    run(&to("localhost", "sslmode=disable"), 1, &["no encryption"]);
    run(&to("localhost", &format!("sslmode=verify-full sslrootcert={other}")), 1, &["cannot connect"]);
    run(&to("127.0.0.1", &format!("sslmode=verify-full sslrootcert={root}")), 1, &["cannot connect"]);
    run(&to("localhost", &format!("sslmode=verify-full sslrootcert={root}")), 0, &["applied: 4 steps"]);
    // The stored password cannot be read, and a login over TLS, bound to the certificate, says that it is right.
    run(&to("127.0.0.1", &format!("sslmode=verify-ca sslrootcert={root}")), 0, &["unchanged"]);
    run(&to("127.0.0.1", "sslmode=require"), 0, &["unchanged"]);
    write(folder.path(), "secret", "two\n");
    run(&to("127.0.0.1", "sslmode=prefer"), 0, &["applied: 1 step"]);
    run(&to("127.0.0.1", ""), 0, &["unchanged"]);
}

/// `sslcert` and `sslkey` are what a rule with the method `cert` asks for.
#[test]
fn a_client_certificate_logs_in() {
    let (authority, folder) = (testkit::Authority::new(), tempfile::tempdir().expect("a folder"));
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("permissions");
    let roots = write(folder.path(), "ca.pem", authority.root());
    std::fs::set_permissions(&roots, std::fs::Permissions::from_mode(0o644)).expect("permissions");
    let mut options = Options::new(15);
    options.tls = true;
    options.settings = format!("ssl_ca_file = '{roots}'\n");
    options.hba = "local all postgres trust\nhostssl all admin 127.0.0.1/32 cert\n".to_owned();
    let postgres = Postgres::start(&options);
    postgres.session().query("CREATE ROLE admin SUPERUSER LOGIN").expect("a role");
    let manifest = write(folder.path(), "m.toml", "[[ensure]]\nname = \"app\"\n");
    let client = |name: &str, by: &testkit::Authority| {
        let (chain, key) = by.issue_client(name, 7);
        let chain = write(folder.path(), &format!("{name}.crt"), &chain);
        (chain, write(folder.path(), &format!("{name}.key"), &key))
    };
    let plan = |rest: &str, code: i32, words: &[&str]| {
        let to = format!(
            "host=127.0.0.1 port={} user=admin dbname=postgres sslmode=require {rest}",
            postgres.port()
        );
        let output = Command::new(env!("CARGO_BIN_EXE_pg-ensure"))
            .args(["plan", &manifest, "--connect", &to, "--timeout", "5"])
            // Where libpq would look for a certificate.
            .env("HOME", folder.path())
            .output()
            .expect("the program runs");
        let said = text(&output);
        assert_eq!(output.status.code(), Some(code), "{rest}: {said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{rest}: {word}: {said}"));
    };
    let (certificate, key) = client("admin", &authority);
    plan(&format!("sslcert={certificate} sslkey={key}"), 3, &["CREATE ROLE \"app\""]);
    plan("", 1, &["cannot connect", "valid client certificate"]);
    plan(&format!("sslcert={certificate}"), 2, &["admin.crt: sslkey is missing for it"]);
    let (other, other_key) = client("other", &authority);
    plan(&format!("sslcert={other} sslkey={other_key}"), 1, &["cannot connect", "admin"]);
    let (strange, strange_key) = client("admin", &testkit::Authority::named("another authority"));
    plan(&format!("sslcert={strange} sslkey={strange_key}"), 1, &["cannot connect"]);
    // In the place where libpq looks for them.
    let (certificate, key) = client("admin", &authority);
    let home = folder.path().join(".postgresql");
    std::fs::create_dir(&home).expect("a folder");
    std::fs::copy(certificate, home.join("postgresql.crt")).expect("a copy");
    std::fs::copy(key, home.join("postgresql.key")).expect("a copy");
    plan("", 3, &["CREATE ROLE \"app\""]);
}

/// Killed at whatever step it is, another run makes everything true.
#[test]
fn the_program_may_be_killed() {
    let postgres = Postgres::start(&Options::new(18));
    let folder = tempfile::tempdir().expect("a folder");
    let text: String = (0..40).map(|number| format!("[[ensure]]\nname = \"app_{number}\"\n")).collect();
    let manifest = write(folder.path(), "m.toml", &text);
    let to = connect(&postgres);
    for pause in [5, 20, 60, 150, 400] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pg-ensure"))
            .args(["apply", &manifest, "--connect", &to, "--json"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("the program runs");
        std::thread::sleep(std::time::Duration::from_millis(pause));
        let _ = child.kill();
        child.wait().expect("it ends");
    }
    expect(&["apply", &manifest, "--connect", &to], 0, &["steps"]);
    expect(&["check", &manifest, "--connect", &to], 0, &[": OK: nothing to do"]);
}

/// The commands of the README, as they stand there.
#[test]
fn the_quick_start_of_the_readme_provisions_a_throwaway_server() {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("the README");
    let script =
        readme.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("its script");
    // The server refuses to run as root, so that everything is done as its account.
    let postgres = Postgres::start(&Options::new(18));
    let program = testkit::postgres::readable(Path::new(env!("CARGO_BIN_EXE_pg-ensure")));
    let program = program.parent().expect("a folder").display();
    let path = format!("{}:{program}:/usr/bin:/bin", postgres.programs().display());
    let output =
        postgres.as_account("sh", &["-euc", script]).env("PATH", path).env("TMPDIR", "/tmp").output();
    let output = output.expect("a shell");
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for words in ["CREATE ROLE \"vaultwarden\" LOGIN", "applied: 3 steps", ": OK: nothing to do"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// The manifest of the README, and the owner's.
#[test]
fn every_manifest_that_is_shown_is_valid() {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("the README");
    let folder = tempfile::tempdir().expect("a folder");
    let secret = write(folder.path(), "secret", "x");
    let own = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/hosts/lab-matrix/databases.toml"
    ));
    let own = own.expect("the owner's manifest");
    for name in ["vaultwarden", "headscale", "forgejo"] {
        assert!(own.contains(&format!("name = \"{name}\"")));
    }
    let shown: Vec<&str> =
        readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let [short, application, long] = shown.as_slice() else { panic!("three manifests are shown") };
    // The long one refers to the role of the short one.
    let (head, tail) = long.split_once("[[role]]").expect("a role");
    let joined = format!("{head}{short}{application}[[role]]{tail}");
    let pair = include_str!("../../../examples/hosts/two-edges/databases.toml").to_owned();
    for text in [joined, own, pair] {
        let mut text = text.replace("credential:grafana-db", &format!("file:{secret}"));
        text = text.replace("credential:replicator", &format!("file:{secret}"));
        for name in ["vaultwarden", "headscale", "forgejo", "immich"] {
            text = text.replace(&format!("/run/secrets/{name}-db"), &secret);
        }
        let manifest = write(folder.path(), "m.toml", &text);
        expect(&["check", &manifest, "--offline"], 0, &[": OK: "]);
    }
}

#[test]
fn the_unit_says_what_the_program_takes() {
    let unit = include_str!("../packaging/pg-ensure.service");
    let command =
        unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/pg-ensure ")).expect("a command");
    assert!(unit.contains("Type=oneshot") && unit.contains("After=postgresql.service"));
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = write(folder.path(), "manifest.toml", "[[ensure]]\nname = \"a\"\n");
    let postgres = Postgres::start(&Options::new(18));
    let command = command.replace("/etc/pg-ensure/pg-ensure.toml", &manifest);
    let command = command.replace("host=/run/postgresql user=postgres", &connect(&postgres));
    let script = format!("exec '{}' {command}", env!("CARGO_BIN_EXE_pg-ensure"));
    let status = Command::new("sh").args(["-c", &script]).status().expect("a shell");
    assert!(status.success());
}

/// Enough of nixpkgs to evaluate the module: options are not checked, and files are their text.
const NIX: &str = r##"
let
  types = builtins.listToAttrs (map (name: { inherit name; value = x: x; })
    [ "str" "bool" "path" "package" "nullOr" "listOf" "attrsOf" "submodule" ]);
  lib = {
    inherit types;
    inherit (builtins) elem filter mapAttrs;
    mapAttrsToList = f: set: map (name: f name set.${name}) (builtins.attrNames set);
    mkEnableOption = x: x; mkOption = x: x; mkIf = condition: x: if condition then x else { };
    mkMerge = builtins.foldl' (all: one: all // one) { }; mkForce = x: x; mkDefault = x: x;
    literalExpression = x: x; toUpper = x: x;
    genAttrs = names: f: builtins.listToAttrs (map (name: { inherit name; value = f name; }) names);
    filterAttrs = keep: set: builtins.listToAttrs (builtins.concatMap
      (name: if keep name set.${name} then [ { inherit name; value = set.${name}; } ] else [ ]) (builtins.attrNames set));
    optionalAttrs = condition: set: if condition then set else { };
    optionals = condition: list: if condition then list else [ ];
    unique = builtins.foldl' (seen: one: if builtins.elem one seen then seen else seen ++ [ one ]) [ ];
    escapeShellArgs = builtins.concatStringsSep " ";
    getExe' = package: name: "${package}/bin/${name}";
  };
  pkgs = {
    pg-ensure = "/x"; pg-hba = "/x";
    formats = builtins.listToAttrs (map (name: { inherit name; value = _: { type = null; generate = _: builtins.toJSON; }; })
      [ "json" "toml" ]);
  };
  clauses = { superuser = null; createrole = null; createdb = true; "inherit" = null; login = null; replication = null;
    bypassrls = null; };
  cfg = {
    enable = true; package = "/x"; connect = "host=/run/postgresql user=postgres"; hbaPolicy = null; hba = null; credentials = { }; requiredBy = [ "vaultwarden.service" ];
    adoptPostgresqlOptions = true;
    ensures = [
      { name = "vaultwarden"; passwordFile = "/run/secrets/vaultwarden-db"; database = null; }
      { name = "head-scale"; passwordFile = null; database = "mesh"; }
    ];
    ensureDatabases = [ "forgejo" "shared" "forgejo" ];
    ensureUsers = [ { name = "forgejo"; ensureDBOwnership = true; ensureClauses = clauses; passwordFile = null; } ];
    settings = { role = [ { name = "reader"; } ]; };
  };
  postgresql = {
    ensures = [ { name = "immich"; passwordFile = null; database = null; } ];
    ensureDatabases = [ "nextcloud" "forgejo" ];
    ensureUsers = [
      { name = "nextcloud"; ensureDBOwnership = true; ensureClauses = { login = true; password = "x"; }; }
      { name = "forgejo"; ensureClauses = { createdb = true; }; }
    ];
  };
  module = import MODULE { config.services = { pgEnsure = cfg; inherit postgresql; }; inherit lib pkgs; };
  service = module.config.systemd.services.pg-ensure;
in
{
  manifest = builtins.head service.restartTriggers;
  credentials = service.serviceConfig.LoadCredential;
  asserted = builtins.all (entry: entry.assertion) module.config.assertions;
  start = service.serviceConfig.ExecStart;
  before = service.before;
}
"##;

#[test]
fn the_nixos_module_makes_a_manifest_that_the_program_takes() {
    let nix = "/usr/bin/nix-instantiate";
    assert!(Path::new(nix).exists(), "{nix} is not there: run `cargo xtask tools` first");
    let folder = tempfile::tempdir().expect("a folder");
    let module = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/module.nix");
    let expression = write(folder.path(), "eval.nix", &NIX.replace("MODULE", module));
    let mut command = Command::new(nix);
    command.args(["--eval", "--strict", "--json", &expression]);
    // Nothing is built, and nothing outside this folder is written.
    for (variable, place) in
        [("NIX_STORE_DIR", "store"), ("NIX_STATE_DIR", "state"), ("NIX_LOG_DIR", "log"), ("HOME", "home")]
    {
        command.env(variable, folder.path().join(place));
    }
    let output = command.output().expect("nix-instantiate runs");
    assert!(output.status.success(), "{}", text(&output));
    let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(value["asserted"], true);
    assert_eq!(value["before"], serde_json::json!(["postgresql.target", "vaultwarden.service"]));
    assert!(value["start"].as_str().expect("a command").starts_with("/x/bin/pg-ensure apply "));
    let credential = value["credentials"][0].as_str().expect("a credential");
    let (name, file) = credential.split_once(':').expect("a name and a file");
    assert_eq!(file, "/run/secrets/vaultwarden-db");
    write(folder.path(), name, "correct horse\n");
    let manifest = write(folder.path(), "m.json", value["manifest"].as_str().expect("a text"));
    let postgres = Postgres::start(&Options::new(18));
    let run = |command: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_pg-ensure"))
            .args([command, &manifest, "--connect", &connect(&postgres)])
            .env("CREDENTIALS_DIRECTORY", folder.path())
            .output();
        output.expect("the program runs")
    };
    let applied = run("apply");
    assert!(applied.status.success(), "{}", text(&applied));
    let sql = "SELECT string_agg(datname || '=' || pg_get_userbyid(datdba), ' ' ORDER BY datname) FROM pg_database \
               WHERE NOT datistemplate";
    let owners = postgres.session().query(sql).expect("rows")[0][0].clone();
    let expected = "forgejo=forgejo immich=immich mesh=head-scale nextcloud=nextcloud postgres=postgres shared=postgres vaultwarden=vaultwarden";
    assert_eq!(owners.as_deref(), Some(expected));
    assert_eq!(run("check").status.code(), Some(0));
}

/// A server's own certificate, made as PostgreSQL's manual says: no alternative name, and no authority above it.
#[test]
fn a_self_signed_certificate_is_verified_as_by_libpq() {
    let mut options = Options::new(15);
    options.hba = "local all postgres trust\nhostssl all all all scram-sha-256\n".to_owned();
    options.tls = true;
    let postgres = Postgres::start(&options);
    let made = Command::new("openssl")
        .args([
            "req",
            "-new",
            "-x509",
            "-days",
            "365",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-newkey",
            "rsa:2048",
        ])
        .arg("-out")
        .arg(postgres.data().join("server.crt"))
        .arg("-keyout")
        .arg(postgres.data().join("server.key"))
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", text(&made));
    let session = postgres.session();
    session.query("CREATE ROLE admin SUPERUSER LOGIN PASSWORD 'pw'").expect("a role");
    postgres.reload(&session);
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root.crt");
    std::fs::copy(postgres.data().join("server.crt"), &root).expect("a copy");
    let admin = format!("file:{}", write(folder.path(), "admin", "pw\n"));
    let manifest = write(folder.path(), "m.toml", "[[ensure]]\nname = \"app\"\n");
    let to = |host: &str, mode: &str| {
        format!(
            "host={host} port={} user=admin dbname=postgres sslmode={mode} sslrootcert={}",
            postgres.port(),
            root.display()
        )
    };
    let run = |host: &str, mode: &str, code: i32, words: &[&str]| {
        let to = to(host, mode);
        expect(&["plan", &manifest, "--connect", &to, "--password", &admin, "--timeout", "20"], code, words)
    };
    run("localhost", "verify-full", 3, &["CREATE ROLE"]);
    run("localhost", "verify-ca", 3, &["CREATE ROLE"]);
    run("127.0.0.1", "verify-ca", 3, &["CREATE ROLE"]);
    run("127.0.0.1", "verify-full", 1, &["cannot connect"]);
    // Another certificate of the same name is not trusted for it.
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(&root, other.cert.pem()).expect("a file");
    run("localhost", "verify-full", 1, &["cannot connect"]);
}

/// The environment, a service and a password file, as psql takes them.
#[test]
fn it_connects_as_libpq_does() {
    let mut options = Options::new(17);
    options.hba = "local all postgres trust\nhost all all all scram-sha-256\n".to_owned();
    let postgres = Postgres::start(&options);
    postgres.session().query("CREATE ROLE admin SUPERUSER LOGIN PASSWORD 'pw'").expect("a role");
    let home = tempfile::tempdir().expect("a folder");
    let manifest = write(home.path(), "m.toml", "[[ensure]]\nname = \"app\"\n");
    write(home.path(), ".pgpass", &format!("localhost:{}:*:admin:pw\n", postgres.port()));
    write(
        home.path(),
        ".pg_service.conf",
        &format!("[here]\nhost=localhost\nport={}\nuser=admin\n", postgres.port()),
    );
    let run = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pg-ensure"));
        command.args(["plan", &manifest, "--timeout", "20"]).args(args).env("HOME", home.path());
        let output = command.envs(variables.iter().copied()).output().expect("the program runs");
        (output.status.code(), text(&output))
    };
    let secret = format!("file:{}", write(home.path(), "secret", "pw\n"));
    let port = postgres.port().to_string();
    let (port, socket) = (port.as_str(), postgres.socket_folder().display().to_string());
    for (args, variables) in [
        (&["--connect", "service=here"][..], &[][..]),
        (&[][..], &[("PGSERVICE", "here")][..]),
        (&[][..], &[("PGHOST", "localhost"), ("PGPORT", port), ("PGUSER", "admin")][..]),
        (&[][..], &[("PGHOST", socket.as_str()), ("PGPORT", port)][..]),
        (&["--connect", "host=localhost user=admin"][..], &[("PGPORT", port), ("PGPASSWORD", "pw")][..]),
        // An address alone, also without --connect, where the default is a socket.
        (
            &[][..],
            &[("PGHOSTADDR", "127.0.0.1"), ("PGPORT", port), ("PGUSER", "admin"), ("PGPASSWORD", "pw")][..],
        ),
        (&["--connect", "hostaddr=127.0.0.1 user=admin"][..], &[("PGPORT", port), ("PGPASSWORD", "pw")][..]),
        // --password counts before all the others.
        (
            &["--connect", "host=127.0.0.1 user=admin", "--password", &secret][..],
            &[("PGPORT", port), ("PGPASSWORD", "no")][..],
        ),
    ] {
        let (code, said) = run(args, variables);
        assert_eq!(code, Some(3), "{args:?} {variables:?}: {said}");
    }
    let (code, said) = run(&["--connect", "host=localhost require_auth=none"], &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("require_auth=none is not supported"), "{said}");
}

/// A standby is left alone, and ensured once it is promoted.
#[test]
fn a_standby_is_followed_until_it_is_promoted() {
    let mut options = Options::new(18);
    options.hba.push_str("local replication all trust\n");
    let primary = Postgres::start(&options);
    let standby = Postgres::standby_of(&primary);
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = write(folder.path(), "m.toml", "[[ensure]]\nname = \"app\"\n");
    let to = connect(&standby);
    expect(&["apply", &manifest, "--connect", &to], 0, &["standby"]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_pg-ensure"))
        .args(["apply", &manifest, "--connect", &to, "--follow", "1"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut notes = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut said = String::new();
    while !said.contains("standby") {
        assert!(notes.read_line(&mut said).expect("a line") > 0, "it ended: {said}");
    }
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert!(child.try_wait().expect("a status").is_none(), "it waits");
    standby.promote();
    let ended = child.wait_with_output().expect("it ends");
    notes.read_to_string(&mut said).expect("text");
    assert!(ended.status.success(), "{said}");
    // It looked several times, and said so once.
    let applied = text(&ended);
    assert_eq!((said.matches("standby").count(), applied.contains("applied:")), (1, true), "{said}{applied}");
    expect(&["check", &manifest, "--connect", &to], 0, &[]);
}

/// A name that the policy cannot hold is found before anything is changed.
#[test]
fn a_name_that_the_policy_cannot_hold_stops_it_before_the_first_step() {
    let postgres = Postgres::start(&Options::new(18));
    let folder = tempfile::tempdir().expect("a folder");
    let manifest =
        write(folder.path(), "m.toml", "[[ensure]]\nname = \"/regex\"\n[[ensure]]\nname = \"good\"\n");
    let policy = write(folder.path(), "hba.toml", "");
    let to = connect(&postgres);
    expect(&["apply", &manifest, "--connect", &to, "--hba", &policy], 2, &["hba.toml", "regular expression"]);
    let roles =
        postgres.session().query("SELECT FROM pg_roles WHERE rolname IN ('/regex', 'good')").expect("rows");
    assert!(roles.is_empty(), "nothing was done");
}

#[test]
fn output_without_a_reader_ends_the_program_quietly() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = write(folder.path(), "manifest.toml", "[[ensure]]\nname = \"forgejo\"\n");
    let program = env!("CARGO_BIN_EXE_pg-ensure");
    testkit::assert_ends_quietly_without_a_reader(program, &["check", &manifest, "--offline"]);
    testkit::assert_ends_quietly_without_a_reader(program, &["completions", "bash"]);
}

#[test]
fn errors_have_their_priority_in_the_journal() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = write(folder.path(), "manifest.toml", "nonsense = 1\n");
    let path = folder.path().join("journal");
    let journal = std::fs::File::create(&path).expect("a file");
    let found = journal.metadata().expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pg-ensure"));
    command.args(["check", "--offline", &manifest]).stderr(journal);
    command.env("JOURNAL_STREAM", format!("{}:{}", found.dev(), found.ino()));
    assert_eq!(command.status().expect("the program runs").code(), Some(2));
    let text = std::fs::read_to_string(&path).expect("a file");
    assert!(text.starts_with(&format!("<3>{manifest}:1:1: ")), "{text}");
}

/// Progress: each step with `--verbose`, the whole without it, nothing with `--quiet`. Results are the same.
#[test]
fn progress_is_as_loud_as_asked() {
    let postgres = Postgres::start(&Options::new(17));
    let folder = tempfile::tempdir().expect("a folder");
    let to = connect(&postgres);
    for (name, option, shown, hidden) in [
        ("plain", &[][..], &["2 steps: done (", "verifying: done ("][..], &["1 of 2: "][..]),
        ("loud", &["--verbose"], &["2 steps: 1 of 2: ", "2 steps: done ("], &[]),
        ("still", &["--quiet"], &[], &["steps", "verifying"]),
        ("short", &["-q"], &[], &["steps", "verifying"]),
        ("machine", &["--json"], &[], &["steps", "verifying"]),
    ] {
        let manifest = write(folder.path(), "m.toml", &format!("[[ensure]]\nname = \"{name}\"\n"));
        let output = run(&[&["apply", &manifest, "--connect", &to][..], option].concat());
        assert!(output.status.success(), "{}", text(&output));
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(out.contains("applied"), "{out}");
        for words in shown {
            assert!(err.contains(words), "{option:?} does not show {words:?}: {err}");
        }
        for words in hidden {
            assert!(!err.contains(words), "{option:?} shows {words:?}: {err}");
        }
        assert!(!shown.is_empty() || err.is_empty(), "{option:?}: {err}");
    }
}

/// On a terminal the line of the running step is drawn at once, also where it is wider than the terminal, and the line
/// of its result takes its place. Colours are those of clap alone, and follow `NO_COLOR`; `TERM=dumb` gets plain lines.
#[test]
fn progress_on_a_terminal_is_drawn_and_replaced() {
    let postgres = Postgres::start(&Options::new(17));
    let folder = tempfile::tempdir().expect("a folder");
    let to = connect(&postgres);
    let apply = |name: &str, variables: &[(&str, &str)], columns: usize| {
        let manifest = write(folder.path(), "m.toml", &format!("[[ensure]]\nname = \"{name}\"\n"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_pg-ensure"));
        command.args(["apply", &manifest, "--connect", &to]).envs(variables.iter().copied());
        let output = TerminalOutput::of(&command, columns);
        assert_eq!(output.code, Some(0), "{output:?}");
        output
    };
    let begins =
        |output: &TerminalOutput, line: &str| output.screen.iter().any(|shown| shown.starts_with(line));
    for (name, columns) in [("wide", 120), ("a_name_that_is_wider_than_the_terminal_of_this_test", 40)] {
        let output = apply(name, &[("NO_COLOR", "1")], columns);
        for drawn in ["\r\x1b[K… 2 steps", "\r\x1b[K… 2 steps: 1 of 2: ", "\r\x1b[K… verifying"] {
            assert!(output.drawn.contains(drawn), "{drawn:?} is not in {output:?}");
        }
        assert!(begins(&output, "2 steps: done (") && begins(&output, "verifying: done ("), "{output:?}");
        assert!(!output.screen.iter().any(|line| line.contains('…')), "{output:?}");
        assert!(!output.has_colours(), "{output:?}");
    }
    let dumb = apply("dumb", &[("TERM", "dumb")], 80);
    assert!(begins(&dumb, "2 steps: done (") && !dumb.drawn.contains(['\x1b', '…']), "{dumb:?}");
    for (variables, colours) in [(&[][..], true), (&[("NO_COLOR", "1")], false), (&[("TERM", "dumb")], false)]
    {
        let mut help = Command::new(env!("CARGO_BIN_EXE_pg-ensure"));
        help.arg("--help").env_remove("NO_COLOR").envs(variables.iter().copied());
        let output = TerminalOutput::of(&help, 80);
        assert_eq!(
            (output.code, output.has_colours()),
            (Some(0), colours),
            "{variables:?}: {}",
            output.drawn
        );
    }
}
