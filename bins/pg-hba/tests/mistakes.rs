//! Realistic mistakes: each is answered with its file, line, value and fix.

use testkit::mistakes::{Mistake, check, file, together, usage};

const POLICIES: [Mistake; 28] = [
    file(1, "tailnet = \"scram-sha256\"\n", "scram-sha256", "write `scram`"),
    file(1, "local = \"md5\"\n", "md5", "write `scram`"),
    file(1, "local = \"pear\"\n", "pear", "did you mean `peer`?"),
    file(1, "tailnets = \"off\"\n", "tailnets", "did you mean `tailnet`?"),
    file(1, "tls = \"require\"\n", "require", "write `required`"),
    file(1, "tls = true\n", "tls", "in quotes"),
    file(1, "tailnet_ranges = [\"100.64.0.1/10\"]\n", "100.64.0.1/10", "write 100.64.0.0/10"),
    file(1, "tailnet_ranges = \"100.64.0.0/10\"\n", "100.64.0.0/10", "tailnet_ranges = [\"100.64.0.0/10\"]"),
    file(1, "tailnet_ranges = [\"100.64.0.0/40\"]\n", "100.64.0.0/40", "100.64.0.0/10"),
    file(1, "tailnet_ranges = [\"tailnet\"]\n", "tailnet", "100.64.0.0/10"),
    file(1, "superuser = \"\"\n", "superuser", "name of a role"),
    file(1, "superuser = 1\n", "superuser", "quotes"),
    file(1, "strict = \"yes\"\n", "\"yes\"", "true or false"),
    file(1, "privileged = \"backup\"\n", "backup", "privileged = [\"backup\"]"),
    file(1, "[services]\ndatabase = \"a\"\nrole = \"a\"\n", "services", "[[services]]"),
    file(1, "[[services]]\ndatabase = \"a\"\n", "services[0].role", "role = \"forgejo\""),
    file(1, "[[services]]\nrole = \"a\"\n", "services[0].database", "database = \"forgejo\""),
    file(3, "[[services]]\ndatabase = \"a\"\nrole = \"\"\n", "services[0].role", "name of a role"),
    file(4, "[[services]]\ndatabase = \"a\"\nrole = \"a\"\nfrom = \"x\"\n", "services[0].from", "known keys"),
    file(3, "[[replication]]\nrole = \"a\"\nfrom = \"10.0.0.1/8\"\n", "10.0.0.1/8", "write 10.0.0.0/8"),
    file(3, "[[replication]]\nrole = \"a\"\naddress = \"10.0.0.0/8\"\n", "address", "from"),
    file(1, "before = [\"host all all scram\"]\n", "before[0]", "add the"),
    file(1, "before = [\"host all all all scram-sha256\"]\n", "scram-sha256", "write scram-sha-256"),
    file(1, "users = [\"a\"]\n", "users", "[[services]]"),
    file(1, "rules = [\"a\"]\n", "rules", "before"),
    file(1, "local = peer\n", "not valid TOML", "quotes"),
    usage(&["rendr"], "rendr", "render"),
    usage(&["check", "x", "--pg", "11"], "11", "13"),
];

const FILES: [Mistake; 9] = [
    file(1, "include a.conf b.conf\n", "include", "takes one name"),
    file(1, "\u{FEFF}local all all peer\n", "local", "byte order mark"),
    file(1, "local all all scram-sha256\n", "scram-sha256", "write scram-sha-256"),
    file(1, "local all all SCRAM-SHA-256\n", "SCRAM-SHA-256", "lower case"),
    file(1, "hosts all all all trust\n", "hosts", "local, host"),
    file(1, "host all all 10.0.0.0/33 trust\n", "10.0.0.0/33", "0 to 32"),
    file(1, "host all all 10.0.0.0 trust\n", "trust", "write a prefix length"),
    file(1, "host all all all peer\n", "peer", "scram-sha-256"),
    file(1, "local all all\n", "end-of-line", "add the"),
];

#[test]
fn every_mistake_in_a_policy_is_named_with_its_place_value_and_fix() {
    check(env!("CARGO_BIN_EXE_pg-hba"), "hba.toml", &["render", "--policy", "FILE"], &POLICIES);
}

#[test]
fn every_mistake_in_a_file_of_the_server_is_named_with_its_line_and_fix() {
    check(env!("CARGO_BIN_EXE_pg-hba"), "pg_hba.conf", &["check", "FILE"], &FILES);
}

#[test]
fn mistakes_of_form_and_of_meaning_are_named_together() {
    let text = "tailnets = \"off\"\nsuperuser = \"\"\ntailnet_ranges = [\"100.64.0.1/10\"]\n\n\
                [[services]]\ndatabase = \"a\"\n\n[[services]]\ndatabase = \"b\"\nrole = \"\"\n";
    let wanted = [
        (1, "tailnets"),
        (2, "superuser"),
        (3, "tailnet_ranges[0]"),
        (5, "services[0].role"),
        (10, "services[1].role"),
    ];
    let args = ["render", "--policy", "FILE"];
    assert_eq!(together(env!("CARGO_BIN_EXE_pg-hba"), "hba.toml", &args, text, &wanted), wanted.len());
}

/// Whatever happens, programs read one document.
#[test]
fn each_answer_is_one_document() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    write("policy.toml", "");
    write("good.conf", "local all postgres peer\nlocal all all scram-sha-256\n");
    write("open.conf", "local all postgres peer\nlocal all all trust\n");
    write("bad.conf", "local all all scram-sha256\nhosts all all all trust\n");
    write("ident.conf", "m\n");
    let answer =
        |code: i32, args: &[&str]| testkit::document(env!("CARGO_BIN_EXE_pg-hba"), folder.path(), args, code);
    answer(0, &["check", "good.conf"]);
    answer(0, &["render", "--policy", "policy.toml"]);
    answer(0, &["diff", "good.conf", "good.conf"]);
    answer(3, &["diff", "good.conf", "open.conf"]);
    answer(3, &["check", "open.conf"]);
    answer(3, &["ident", "ident.conf"]);
    // Every line that the server refuses has its place, in each command that needs the rules.
    for args in [
        &["explain", "bad.conf", "--db", "a", "--user", "a"][..],
        &["matrix", "bad.conf"],
        &["diff", "good.conf", "bad.conf"],
    ] {
        let refused = testkit::findings(&answer(2, args));
        let lines: Vec<_> = refused.iter().map(|finding| finding["place"]["line"].as_u64()).collect();
        assert_eq!(lines, [Some(1), Some(2)], "{args:?}");
    }
    answer(2, &["check", "nowhere.conf"]);
    answer(1, &["install", "--policy", "policy.toml", "--connect", "host=FOLDER user=a"]);
    answer(2, &["rendr"]);
}

/// tokio-postgres says only what the system said. The parameters are read before anything else is done.
#[test]
fn connections_that_fail_name_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("hba.toml"), "").expect("a file");
    std::fs::write(folder.path().join("pg_hba.conf"), "local all all peer\n").expect("a file");
    let install = ["install", "--policy", "hba.toml", "--connect"];
    let explain = ["explain", "pg_hba.conf", "--db", "a", "--user", "a", "--connect"];
    let socket = format!("host={} port=5433 user=a", folder.path().display());
    for (text, code, said) in [
        ("host=127.0.0.1 port=1 user=a", 1, "cannot connect to 127.0.0.1:1: "),
        ("hostaddr=127.0.0.1 port=1 user=a", 1, "cannot connect to 127.0.0.1:1: "),
        (&socket, 1, &format!("cannot connect to {}/.s.PGSQL.5433: ", folder.path().display())),
        ("user=a", 2, "--connect: names no server: write host=/run/postgresql"),
        ("hots=a", 2, "`hots`"),
    ] {
        for command in [&install[..], &explain[..]] {
            let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_pg-hba"));
            let output =
                program.args(command).arg(text).current_dir(folder.path()).output().expect("it runs");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.code() == Some(code) && errors.contains(said),
                "{command:?} {text}: {output:?}"
            );
        }
    }
}
