//! The whole of what NixOS's `services.postgresql.ensure…` means, each by its name, and what is better here.

use crate::common::{apply, as_superuser, name, plan};
use pg_ensure::desired::Database;
use pg_ensure::{DesiredState, Role};
use testkit::postgres::{Options, Postgres};

/// The versions differ in nothing of this; `objects.rs` looks at each.
fn on_a_server(test: impl Fn(&Postgres)) {
    test(&Postgres::start(&Options::new(18)));
}

fn role(postgres: &Postgres, role: &str, attribute: &str) -> Option<String> {
    let sql = format!("SELECT {attribute} FROM pg_roles WHERE rolname = '{role}'");
    postgres.session().query(&sql).expect("rows").first().and_then(|row| row[0].clone())
}

fn owner(postgres: &Postgres, database: &str) -> Option<String> {
    let sql = format!("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '{database}'");
    postgres.session().query(&sql).expect("rows").first().and_then(|row| row[0].clone())
}

#[test]
fn ensure_databases_creates_what_is_missing() {
    on_a_server(|postgres| {
        let mut wish = DesiredState::new();
        wish.database(name("one"), Database::new()).database(name("two"), Database::new());
        assert_eq!(apply(&as_superuser(postgres), &wish).done.len(), 2);
        assert_eq!(owner(postgres, "one").as_deref(), Some("postgres"));
        assert_eq!(apply(&as_superuser(postgres), &wish).done.len(), 0);
    });
}

#[test]
fn ensure_users_creates_what_is_missing() {
    on_a_server(|postgres| {
        let mut wish = DesiredState::new();
        // NixOS says CREATE USER, which may log in.
        wish.role(name("app"), Role::new().login(true));
        apply(&as_superuser(postgres), &wish);
        assert_eq!(role(postgres, "app", "rolcanlogin").as_deref(), Some("t"));
    });
}

#[test]
fn ensure_db_ownership_gives_the_database_of_the_same_name() {
    on_a_server(|postgres| {
        postgres.session().query("CREATE DATABASE app").expect("a database of somebody else");
        let mut wish = DesiredState::new();
        wish.ensure(&name("app"), None);
        apply(&as_superuser(postgres), &wish);
        assert_eq!(owner(postgres, "app").as_deref(), Some("app"));
    });
}

#[test]
fn ensure_db_ownership_without_such_a_database_is_refused_early() {
    // There it is an assertion of the module; here an owner must be declared.
    let mut wish = DesiredState::new();
    wish.database(name("app"), Database::owned_by(&name("nobody")));
    assert!(wish.validate()[0].to_string().contains("the owner \"nobody\" is not declared"));
}

#[test]
fn ensure_clauses_sets_each_clause() {
    on_a_server(|postgres| {
        let session = postgres.session();
        session.query("CREATE ROLE app").expect("a role");
        type Clause = fn(Role, bool) -> Role;
        let clauses: [(&str, Clause); 7] = [
            ("rolsuper", Role::superuser),
            ("rolcreaterole", Role::createrole),
            ("rolcreatedb", Role::createdb),
            ("rolinherit", Role::inherit),
            ("rolcanlogin", Role::login),
            ("rolreplication", Role::replication),
            ("rolbypassrls", Role::bypassrls),
        ];
        for (column, clause) in clauses {
            for value in [true, false] {
                let mut wish = DesiredState::new();
                wish.role(name("app"), clause(Role::new(), value));
                apply(&as_superuser(postgres), &wish);
                let found = role(postgres, "app", column);
                assert_eq!(found.as_deref(), Some(if value { "t" } else { "f" }), "{column}");
            }
        }
    });
}

#[test]
fn ensure_clauses_left_out_are_left_alone() {
    on_a_server(|postgres| {
        postgres.session().query("CREATE ROLE app CREATEDB CONNECTION LIMIT 3").expect("a role");
        let mut wish = DesiredState::new();
        wish.role(name("app"), Role::new().login(true));
        apply(&as_superuser(postgres), &wish);
        assert_eq!(role(postgres, "app", "rolcreatedb").as_deref(), Some("t"));
        assert_eq!(role(postgres, "app", "rolconnlimit").as_deref(), Some("3"));
    });
}

#[test]
fn ensure_clauses_password_takes_a_verifier() {
    on_a_server(|postgres| {
        let salt = b"0123456789abcdef";
        let secret = "pw".to_owned().into();
        let verifier =
            pg_ensure::Verifier::derive(&secret, salt, pg_ensure::DEFAULT_ITERATIONS).expect("one");
        let mut wish = DesiredState::new();
        wish.role(name("app"), Role::new().password(pg_ensure::Password::Verifier(verifier)));
        apply(&as_superuser(postgres), &wish);
        assert!(plan(&as_superuser(postgres), &wish).is_empty());
        let stored = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'";
        let stored = postgres.session().query(stored).expect("rows")[0][0].clone();
        assert!(stored.expect("a password").starts_with("SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$"));
    });
}

#[test]
fn nothing_is_ever_removed() {
    on_a_server(|postgres| {
        let mut wish = DesiredState::new();
        wish.ensure(&name("app"), None);
        apply(&as_superuser(postgres), &wish);
        // What is taken out of the list stays on the server.
        let mut less = DesiredState::new();
        less.ensure(&name("other"), None);
        apply(&as_superuser(postgres), &less);
        assert_eq!(owner(postgres, "app").as_deref(), Some("app"));
    });
}

#[test]
fn a_second_run_does_nothing() {
    // NixOS's script says every clause again at every start.
    on_a_server(|postgres| {
        let mut wish = DesiredState::new();
        wish.ensure(&name("app"), None);
        wish.role(name("app"), Role::new().login(true).createdb(true));
        apply(&as_superuser(postgres), &wish);
        let position =
            || postgres.session().query("SELECT pg_current_wal_insert_lsn()").expect("rows")[0][0].clone();
        postgres.session().query("CHECKPOINT").expect("a checkpoint");
        let before = position();
        assert_eq!(apply(&as_superuser(postgres), &wish).done, []);
        assert_eq!(position(), before, "nothing was written");
    });
}

#[test]
fn names_need_no_care() {
    // NixOS's script takes names as they are, so that a dash needs quotes in the configuration.
    on_a_server(|postgres| {
        let mut wish = DesiredState::new();
        wish.ensure(&name("matrix-synapse"), None).ensure(&name("Mixed \"Case\""), None);
        apply(&as_superuser(postgres), &wish);
        assert_eq!(owner(postgres, "matrix-synapse").as_deref(), Some("matrix-synapse"));
        assert_eq!(owner(postgres, "Mixed \"Case\"").as_deref(), Some("Mixed \"Case\""));
    });
}

#[test]
fn initial_script_is_not_needed_for_a_locale() {
    // What is an initialScript there, since ensureDatabases knows no locale, is a word here.
    on_a_server(|postgres| {
        let mut wish = DesiredState::new();
        wish.ensure(&name("matrix-synapse"), None);
        let database = Database::owned_by(&name("matrix-synapse")).template(name("template0"));
        let database = database.encoding("UTF8").locale(pg_ensure::Text::new("C").expect("a text"));
        wish.database(name("matrix-synapse"), database);
        apply(&as_superuser(postgres), &wish);
        assert!(plan(&as_superuser(postgres), &wish).is_empty());
    });
}
