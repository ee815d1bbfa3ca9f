//! Scripts that are run once, in a new database.

use crate::common::{apply, apply_with, as_superuser, converge, name, on_each, plan, text};
use pg_ensure::client::ApplyOptions;
use pg_ensure::desired::{Database, Extension};
use pg_ensure::{Consent, DesiredState};

fn wish(script: &str) -> DesiredState {
    let mut wish = DesiredState::new();
    wish.ensure(&name("app"), None);
    let mut database = Database::owned_by(&name("app")).extension(name("pg_trgm"), Extension::default());
    database.initial_sql = Some(text(script));
    wish.database(name("app"), database);
    wish
}

const SCRIPT: &str = "CREATE TABLE words (word text); -- with a comment at its end\n\
    CREATE INDEX ON words USING gin (word gin_trgm_ops);\n\
    INSERT INTO words SELECT 'a;b' WHERE current_schemas(false) = '{public}'; -- the end";

#[test]
fn a_script_is_run_once_with_the_extensions_in_place() {
    on_each(|postgres| {
        let server = as_superuser(postgres);
        converge(&server, &wish(SCRIPT), &Consent::none());
        let rows = postgres.session_in("app").query("SELECT count(*) FROM words").expect("a table");
        assert_eq!(rows[0][0].as_deref(), Some("1"));
        // Never again: neither as it is, nor changed, nor once everything is gone.
        assert!(plan(&server, &wish(SCRIPT)).is_empty());
        postgres.session_in("app").query("DROP TABLE words").expect("dropped");
        assert!(plan(&server, &wish("SELECT 1")).is_empty());
    });
}

#[test]
fn a_script_that_fails_is_run_again_and_leaves_nothing() {
    on_each(|postgres| {
        let server = as_superuser(postgres);
        let broken = wish("CREATE TABLE words (word text); SELECT 1 / 0");
        apply_with(&server, &broken, &ApplyOptions::default()).expect_err("it fails");
        let session = postgres.session_in("app");
        assert_eq!(session.query("SELECT to_regclass('words')").expect("an answer")[0][0], None);
        drop(session);
        let right = wish("CREATE TABLE words (word text)");
        assert!(!plan(&server, &right).is_empty());
        apply(&server, &right);
        assert!(plan(&server, &right).is_empty());
    });
}

/// A script may act as another role; it may not end its transaction, so that it is run as a whole or not at all.
#[test]
fn a_script_may_set_a_role_and_not_commit() {
    let postgres = testkit::postgres::Postgres::start(&testkit::postgres::Options::new(18));
    let server = as_superuser(&postgres);
    let commits = wish("CREATE TABLE words (word text); COMMIT; SELECT 1 / 0");
    let why = apply_with(&server, &commits, &ApplyOptions::default()).expect_err("it is refused");
    assert!(why.to_string().contains("initial_sql ends its transaction"), "{why}");
    let acts = wish(
        "SET ROLE app; CREATE SCHEMA own; SET LOCAL SESSION AUTHORIZATION app; CREATE TABLE own.words (a int)",
    );
    apply(&server, &acts);
    assert!(plan(&server, &acts).is_empty());
    let rows = postgres.session_in("app").query("SELECT tableowner FROM pg_tables WHERE schemaname = 'own'");
    assert_eq!(rows.expect("rows")[0][0].as_deref(), Some("app"));
}

#[test]
fn a_database_with_contents_is_left_alone() {
    on_each(|postgres| {
        let server = as_superuser(postgres);
        let mut before = DesiredState::new();
        before.ensure(&name("app"), None);
        apply(&server, &before);
        postgres.session_in("app").query("CREATE TABLE theirs (a int)").expect("a table");
        let planned = plan(&server, &wish(SCRIPT));
        assert!(planned.steps.iter().all(|step| !step.change.sql(planned.version).contains("words")));
        assert!(
            planned.notes.iter().any(|note| note.contains("no record of initial_sql")),
            "{:?}",
            planned.notes
        );
    });
}
