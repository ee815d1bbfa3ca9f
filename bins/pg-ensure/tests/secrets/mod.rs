//! Passwords: set where they changed, also by a session that cannot see them, and stored as they are where they are verifiers.

use crate::{connect, expect, write};
use std::os::unix::fs::MetadataExt;
use testkit::postgres::{MAJORS, Options, Postgres};

/// A session without the right to read passwords, over a connection that asks for none, with a record of what it set.
#[test]
fn an_unseen_password_is_set_only_where_the_secret_changed() {
    for major in MAJORS {
        let postgres = Postgres::start(&Options::new(major));
        postgres.session().query("CREATE ROLE admin LOGIN CREATEROLE CREATEDB").expect("a role");
        let folder = tempfile::tempdir().expect("a folder");
        let secret = write(folder.path(), "secret", "correct horse\n");
        let manifest = write(
            folder.path(),
            "m.toml",
            &format!("[[role]]\nname = \"app\"\nlogin = true\npassword_file = \"{secret}\"\n"),
        );
        let state = folder.path().join("state");
        let to = format!(
            "host={} port={} user=admin dbname=postgres",
            postgres.socket_folder().display(),
            postgres.port()
        );
        let stored = || {
            let sql = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'";
            postgres.session().query(sql).expect("a row")[0][0].clone().expect("a password")
        };
        let shown = state.display().to_string();
        let apply = |said: &str| {
            let args = ["apply", &manifest, "--connect", &to, "--state", &shown];
            let out = expect(&args, 0, &[]);
            assert!(out.starts_with(said), "{major}: {said}: {out}");
        };
        apply("applied: ");
        let first = stored();
        apply("unchanged: 0 steps");
        assert_eq!(stored(), first, "{major}");
        write(folder.path(), "secret", "another horse\n");
        apply("applied: 1 step");
        let second = stored();
        assert_ne!(second, first, "{major}");
        apply("unchanged: 0 steps");
        assert_eq!(stored(), second, "{major}");
        // Without the record nothing is known, and it is set each time.
        for _ in 0..2 {
            expect(&["apply", &manifest, "--connect", &to], 0, &["applied: 1 step"]);
        }
        assert_ne!(stored(), second, "{major}");
        // The record is its owner's alone, and holds no password.
        let mode = |path: &std::path::Path| std::fs::metadata(path).expect("it is there").mode() & 0o777;
        let files: Vec<_> = std::fs::read_dir(&state)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        let [record] = files.as_slice() else { panic!("one record: {files:?}") };
        assert_eq!((mode(&state), mode(record)), (0o700, 0o600));
        let text = std::fs::read_to_string(record).expect("a record");
        assert!(text.starts_with("SCRAM-SHA-256$") && text.ends_with(" app\n"), "{text}");
        assert!(!text.contains("horse"), "{text}");
    }
}

/// A secret that is a verifier is stored as it is, and its password logs in.
#[test]
fn a_verifier_is_taken_as_it_is() {
    for major in MAJORS {
        let mut options = Options::new(major);
        options.hba = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n".to_owned();
        let postgres = Postgres::start(&options);
        let session = postgres.session();
        session.query("CREATE ROLE maker PASSWORD 'correct horse'").expect("a role");
        let verifier = |role: &str| {
            let sql = format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{role}'");
            session.query(&sql).expect("a row")[0][0].clone().expect("a password")
        };
        let made = verifier("maker");
        assert!(made.starts_with("SCRAM-SHA-256$"), "{made}");
        let folder = tempfile::tempdir().expect("a folder");
        let secret = write(folder.path(), "secret", &format!("{made}\n"));
        let manifest = write(
            folder.path(),
            "m.toml",
            &format!("[[ensure]]\nname = \"app\"\npassword_file = \"{secret}\"\n"),
        );
        let to = connect(&postgres);
        let plan = expect(&["plan", &manifest, "--connect", &to], 3, &["CREATE ROLE \"app\" LOGIN"]);
        assert!(!plan.contains(&made), "{plan}");
        expect(&["apply", &manifest, "--connect", &to], 0, &["applied: "]);
        assert_eq!(verifier("app"), made, "{major}");
        expect(&["apply", &manifest, "--connect", &to], 0, &["unchanged: 0 steps"]);
        assert_eq!(verifier("app"), made, "{major}");
        let login = format!("host=127.0.0.1 port={} user=app dbname=app", postgres.port());
        for (password, code, said) in [
            ("correct horse", 0, "ready"),
            ("wrong horse", 1, "password authentication"),
            (&made, 1, "password authentication"),
        ] {
            let reference = format!("file:{}", write(folder.path(), "typed", password));
            let args = ["wait", "--connect", &login, "--password", &reference, "--timeout", "1"];
            expect(&args, code, &[said]);
        }
    }
}
