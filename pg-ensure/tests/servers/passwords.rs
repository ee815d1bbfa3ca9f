//! Passwords: every one of a nasty set logs in, and no log and no statistics hold any of it.

use crate::common::{MAJORS, apply, as_superuser, config, converge, name, plan, run, server};
use pg_ensure::{Consent, DEFAULT_ITERATIONS, DesiredState, Name, Password, PasswordError, Role, Verifier};
use std::num::NonZeroU32;
use testkit::postgres::{Options, Postgres};
use tokio_postgres::NoTls;

fn nasty() -> Vec<String> {
    let mut all: Vec<String> = [
        "s3cr3t",
        "with space",
        " around ",
        "quo'te",
        "dou\"ble",
        "back\\slash",
        "\\'; DROP ROLE postgres; --",
        "$pg_ensure$",
        "tab\there",
        "line\nbreak",
        "carriage\rreturn",
        "\\.",
        "\\N",
        "%s%I",
        "I\u{ad}X",
        "\u{2168}",
        "\u{aa}",
        "a\u{a0}b",
        "é",
        "e\u{301}",
        "\u{fb01}",
        "日本語のパスワード",
        "\u{1f600}",
        "\u{7}bell",
        "\u{627}\u{31}",
        "\u{0627}x\u{0628}",
        "md5d577273ff885c3f84dadb8578bb41399",
        "SCRAM-SHA-256$nothing",
        "scram-sha-256$4096:c2FsdA==$x:y",
    ]
    .map(str::to_owned)
    .into();
    all.push("x".repeat(1000));
    all.push("ß".repeat(500));
    all
}

const LOGGING: &str = "log_statement = all\nlog_min_duration_statement = 0\nlog_parameter_max_length = -1\n\
    log_error_verbosity = verbose\nshared_preload_libraries = 'pg_stat_statements'\npg_stat_statements.track = all\n\
    pg_stat_statements.track_utility = on\n";

fn logging(major: u32) -> Postgres {
    let mut options = Options::new(major);
    options.hba = "local all postgres trust\nlocal all admin trust\nlocal all all scram-sha-256\n".to_owned();
    options.settings = LOGGING.to_owned();
    Postgres::start(&options)
}

fn logs_in(postgres: &Postgres, role: &str, password: &str) -> bool {
    let mut config = config(postgres, role, "postgres");
    config.password(password);
    run(async move { config.connect(NoTls).await.is_ok() })
}

/// Everything that the server has written down of statements.
fn recorded(postgres: &Postgres) -> String {
    let session = postgres.session();
    session.query("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").expect("an extension");
    let rows = session.query("SELECT query FROM pg_stat_statements").expect("rows");
    let statements: Vec<String> = rows.into_iter().flatten().flatten().collect();
    assert!(statements.len() > 3, "statements are recorded");
    postgres.log() + &statements.join("\n")
}

fn stored(postgres: &Postgres, role: &str) -> Option<String> {
    let sql = format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{role}'");
    postgres.session().query(&sql).expect("rows")[0][0].clone()
}

fn clean(text: &str, passwords: &[String]) {
    for password in passwords.iter().filter(|password| password.len() > 3 && !password.starts_with('$')) {
        assert!(!text.contains(password.as_str()), "{password:?} is in it");
    }
    assert!(!text.contains("SCRAM-SHA-256$4096:"), "a verifier is in it");
}

#[test]
fn every_password_of_a_nasty_set_logs_in_and_none_is_recorded() {
    for major in MAJORS {
        let postgres = logging(major);
        let mut wish = DesiredState::new();
        let passwords = nasty();
        for (index, password) in passwords.iter().enumerate() {
            let role = Role::new().login(true).password(Password::secret(password));
            wish.role(name(&format!("r{index}")), role);
        }
        converge(&as_superuser(&postgres), &wish, &Consent::none());
        assert!(plan(&as_superuser(&postgres), &wish).is_empty());
        clean(&recorded(&postgres), &passwords);
        for (index, password) in passwords.iter().enumerate() {
            let role = format!("r{index}");
            assert!(stored(&postgres, &role).expect("a password").starts_with("SCRAM-SHA-256$4096:"));
            assert!(logs_in(&postgres, &role, password), "{major}: {password:?}");
            assert!(!logs_in(&postgres, &role, &format!("{password}x")), "{major}: {password:?} and more");
        }
    }
}

#[test]
fn a_nul_is_refused_before_the_server_is_asked() {
    let mut wish = DesiredState::new();
    wish.role(name("r"), Role::new().password(Password::secret("a\0b")));
    wish.role(name("s"), Role::new().password(Password::secret("")));
    let found: Vec<String> = wish.validate().iter().map(ToString::to_string).collect();
    assert_eq!(found, ["role \"r\": the password holds a NUL byte", "role \"s\": the password is empty"]);
    let derived = Verifier::derive(&"a\0b".to_owned().into(), b"salt", DEFAULT_ITERATIONS);
    assert_eq!(derived, Err(PasswordError::Nul));
}

#[test]
fn an_error_while_passwords_are_set_shows_no_verifier() {
    for major in MAJORS {
        let postgres = logging(major);
        let session = postgres.session();
        session.query("CREATE ROLE admin LOGIN CREATEROLE; CREATE ROLE other").expect("roles");
        let mut wish = DesiredState::new();
        wish.role(name("other"), Role::new().password(Password::secret("correct horse")));
        // The role vanishes between the plan and the step, and the session is no superuser that could hide anything.
        let server = server(&postgres, "admin");
        if major >= 16 {
            session.query("GRANT other TO admin WITH ADMIN TRUE").expect("a grant");
        }
        session.query("ALTER ROLE other RENAME TO gone").expect("a name");
        let error = fail_to_set(&postgres, &name("other"));
        assert!(error.contains("role other: role \"other\" does not exist"), "{error}");
        session.query("ALTER ROLE gone RENAME TO other").expect("a name");
        apply(&server, &wish);
        // With track = all, pg_stat_statements keeps nested statements where a session may not forbid it: a verifier,
        // never a password. The log keeps neither.
        assert!(!recorded(&postgres).contains("correct horse"));
        clean(&(postgres.log() + &error), &["correct horse".to_owned()]);
        assert!(stored(&postgres, "other").expect("a password").starts_with("SCRAM-SHA-256$4096:"));
    }
}

/// What a failing step says, as the library makes it: the same statements by hand.
fn fail_to_set(postgres: &Postgres, role: &Name) -> String {
    let session = postgres.session();
    let sql = format!(
        "BEGIN; CREATE TEMPORARY TABLE pg_ensure_verifiers (name text, verifier text) ON COMMIT DROP;
         INSERT INTO pg_ensure_verifiers SELECT '{role}', 'SCRAM-' || 'SHA-256$' || '4096:hidden'; {}; COMMIT",
        pg_ensure::client::SET_PASSWORDS
    );
    session.query(&sql).expect_err("there is no such role")
}

#[test]
fn weak_and_foreign_hashes_are_replaced_and_right_ones_stay() {
    for major in MAJORS {
        let postgres = logging(major);
        let session = postgres.session();
        session
            .query(
                "CREATE ROLE md5 LOGIN; CREATE ROLE weak LOGIN; CREATE ROLE wrong LOGIN; CREATE ROLE right_one LOGIN;
                 CREATE ROLE none LOGIN; CREATE ROLE copied LOGIN; SET password_encryption = md5;
                 ALTER ROLE md5 PASSWORD 'pw'; RESET password_encryption;
                 ALTER ROLE wrong PASSWORD 'other'; ALTER ROLE right_one PASSWORD 'pw'; ALTER ROLE none PASSWORD 'pw'",
            )
            .or_else(|_| session.query("SELECT 1"))
            .expect("roles");
        let names = ["md5", "weak", "wrong", "right_one", "none", "copied"];
        for role in names {
            let made = session.query(&format!("CREATE ROLE \"{role}\" LOGIN"));
            assert!(
                made.is_ok()
                    || made.is_err_and(|why| why.contains("already exists") || why.contains("reserved"))
            );
        }
        let few = NonZeroU32::new(1000).expect("a number");
        let weak = Verifier::derive(&"pw".to_owned().into(), b"0123456789abcdef", few).expect("a verifier");
        use secrecy::ExposeSecret;
        session
            .query(&format!("ALTER ROLE weak PASSWORD '{}'", weak.to_secret().expose_secret()))
            .expect("weak");
        session.query("SET password_encryption = md5; ALTER ROLE md5 PASSWORD 'pw'").expect("md5");
        session
            .query("SET password_encryption = 'scram-sha-256'; ALTER ROLE wrong PASSWORD 'other'")
            .expect("wrong");
        session.query("ALTER ROLE right_one PASSWORD 'pw'").expect("right");
        let before = stored(&postgres, "right_one");
        let mut wish = DesiredState::new();
        for role in ["md5", "weak", "wrong", "right_one"] {
            wish.role(name(role), Role::new().password(Password::secret("pw")));
        }
        let there = Verifier::derive(&"pw".to_owned().into(), b"fedcba9876543210", DEFAULT_ITERATIONS);
        let there = there.expect("a verifier");
        wish.role(name("copied"), Role::new().login(true).password(Password::Verifier(there.clone())));
        let steps = plan(&as_superuser(&postgres), &wish);
        let reasons: Vec<&str> = steps.steps.iter().map(|step| step.reason.as_str()).collect();
        assert!(reasons.contains(&"its password is hashed by MD5"), "{reasons:?}");
        assert!(reasons.contains(&"it is hashed with 1000 iterations instead of 4096"), "{reasons:?}");
        assert!(reasons.contains(&"its password differs"), "{reasons:?}");
        converge(&as_superuser(&postgres), &wish, &Consent::none());
        assert_eq!(stored(&postgres, "right_one"), before, "what is right is not touched");
        assert_eq!(stored(&postgres, "copied").as_deref(), Some(there.to_secret().expose_secret()));
        for role in ["md5", "weak", "wrong", "right_one", "copied"] {
            assert!(logs_in(&postgres, role, "pw"), "{major}: {role}");
        }
        wish.role(name("wrong"), Role::new().password(Password::None));
        converge(&as_superuser(&postgres), &wish, &Consent::none());
        assert_eq!(stored(&postgres, "wrong"), None);
        if major >= 16 {
            // The server's own policy counts.
            session.query("ALTER SYSTEM SET scram_iterations = 5000").expect("a setting");
            postgres.reload(&session);
            converge(&as_superuser(&postgres), &wish, &Consent::none());
            assert!(stored(&postgres, "md5").expect("a password").starts_with("SCRAM-SHA-256$5000:"));
            assert!(logs_in(&postgres, "md5", "pw"));
        }
    }
}

#[test]
fn without_pg_authid_a_login_tells() {
    for major in MAJORS {
        let postgres = logging(major);
        let session = postgres.session();
        session.query("CREATE ROLE admin LOGIN CREATEROLE CREATEDB").expect("a role");
        let admin = server(&postgres, "admin");
        let mut wish = DesiredState::new();
        wish.ensure(&name("app"), Some(Password::secret("I\u{ad}X")));
        apply(&admin, &wish);
        assert!(logs_in(&postgres, "app", "IX"));
        let before = stored(&postgres, "app");
        assert!(plan(&admin, &wish).is_empty(), "the login says that it is right");
        apply(&admin, &wish);
        assert_eq!(stored(&postgres, "app"), before, "nothing was set again");
        wish.ensure(&name("app"), Some(Password::secret("another")));
        let found = plan(&admin, &wish);
        assert_eq!(found.steps[0].reason, "its password differs", "{}", found.script());
        apply(&admin, &wish);
        assert!(logs_in(&postgres, "app", "another"));
        // A server that asks for nothing says nothing, and is not asked in the clear.
        postgres.write_hba("local all postgres trust\nlocal all admin trust\nlocal all all trust\n");
        postgres.reload(&session);
        assert_eq!(
            plan(&admin, &wish).steps[0].reason,
            "its password cannot be read, and no record says that it was set"
        );
        postgres.write_hba("local all postgres trust\nlocal all admin trust\nlocal all all password\n");
        postgres.reload(&session);
        assert_eq!(
            plan(&admin, &wish).steps[0].reason,
            "its password cannot be read, and no record says that it was set"
        );
        apply(&admin, &wish);
        assert!(logs_in(&postgres, "app", "another"));
    }
}
