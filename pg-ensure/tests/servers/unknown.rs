//! What a plan cannot know, it says: objects that extensions and scripts make, databases that cannot be entered.

use crate::common::{apply, apply_with, as_superuser, config, name, on_each, plan, text};
use pg_ensure::client::{ApplyOptions, Server};
use pg_ensure::desired::{Database, Extension, Grant, GrantTarget, PrivilegeSet};
use pg_ensure::{
    Consent, DesiredState, DestructibleObject, Grantee, Local, Object, ObjectKind, Obstacle, Privilege, Role,
};
use testkit::postgres::{Options, Postgres};
use tokio_postgres::NoTls;

fn wish(database: &str) -> DesiredState {
    let mut wish = DesiredState::new();
    wish.role(name("reader"), Role::new());
    let mut shop = Database::new().extension(name("hstore"), Extension::default());
    shop.initial_sql = Some(text("CREATE SCHEMA s; CREATE TABLE t (x int); CREATE TABLE s.u (x int)"));
    wish.database(name(database), shop);
    let all =
        |schema: &str, kind| GrantTarget::AllIn { database: name(database), schema: name(schema), kind };
    let table = Object::Inside(name(database), Local::Table(name("public"), name("t")));
    for (on, privilege) in [
        (all("public", ObjectKind::Routine), Privilege::Execute),
        (all("s", ObjectKind::Table), Privilege::Select),
        (GrantTarget::One(table), Privilege::Select),
    ] {
        let privileges = PrivilegeSet::Only(privilege.into());
        wish.grant(Grant { to: Grantee::Role(name("reader")), on, privileges, grantable: false });
    }
    wish
}

/// Privileges on what an extension or a script makes are noted by the plan. A run goes on with them; a saved plan, which
/// nothing is added to, ends with them left, as it said.
#[test]
fn what_an_extension_or_a_script_makes() {
    on_each(|postgres| {
        let server = as_superuser(postgres);
        let saved = plan(&server, &wish("saved"));
        assert_eq!(saved.blocked, []);
        assert_eq!(saved.notes.len(), 3, "{:?}", saved.notes);
        assert!(saved.notes.iter().all(|note| note.contains("not known yet")), "{:?}", saved.notes);
        let bound = ApplyOptions::default().expected(saved.digest);
        let applied = apply_with(&server, &wish("saved"), &bound).expect("it runs");
        assert_eq!(applied.done, saved.steps);
        assert!(!applied.is_complete());
        assert!(applied.left.blocked.iter().all(|blocked| blocked.why == Obstacle::Unplanned));
        let rest = apply(&server, &wish("saved"));
        assert!(rest.is_complete() && rest.done.len() > 3);
        // One run without a saved plan makes all of it.
        let applied = apply(&server, &wish("whole"));
        assert!(applied.is_complete(), "{:?}", applied.left.blocked);
        assert!(plan(&server, &wish("whole")).is_empty());
    });
}

/// A database that an interrupted DROP DATABASE left, or that does not let the session in, holds up nothing else.
#[test]
fn databases_that_cannot_be_entered() {
    on_each(|postgres| {
        let session = postgres.session();
        for sql in [
            "CREATE ROLE admin LOGIN CREATEDB CREATEROLE",
            "CREATE DATABASE broken",
            "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'broken'",
            "CREATE DATABASE theirs",
            "REVOKE CONNECT ON DATABASE theirs FROM PUBLIC",
        ] {
            session.query(sql).expect(sql);
        }
        let mut wish = DesiredState::new();
        wish.ensure(&name("app"), None);
        for database in ["broken", "theirs"] {
            let wanted = Database::new().extension(name("hstore"), Extension::default()).connection_limit(5);
            wish.database(name(database), wanted);
        }
        let admin = Server::new(config(postgres, "admin", "postgres"), NoTls);
        let planned = plan(&admin, &wish);
        let blocked: Vec<String> = planned.blocked.iter().map(ToString::to_string).collect();
        assert!(blocked.iter().any(|one| one.contains("broken") && one.contains("drop it")), "{blocked:?}");
        assert!(
            blocked.iter().any(|one| one.contains("theirs") && one.contains("permission denied")),
            "{blocked:?}"
        );
        let applied = apply(&admin, &wish);
        assert_eq!(applied.done, planned.steps);
        assert!(applied.done.iter().any(|step| step.change.sql(planned.version).contains("\"app\"")));
        // As a superuser only the broken one is left, and dropping it is possible.
        let server = as_superuser(postgres);
        let applied = apply(&server, &wish);
        assert_eq!(applied.left.blocked.len(), 1, "{:?}", applied.left.blocked);
        let mut gone = wish.clone();
        gone.database(name("broken"), Database::absent());
        let consent = Consent::none().destroying(DestructibleObject::Database(name("broken")));
        let options = ApplyOptions::default().consent(consent);
        assert!(apply_with(&server, &gone, &options).expect("it runs").is_complete());
        assert!(apply(&server, &wish).is_complete());
    });
}

/// The same where the rules of the server keep the session out of one database.
#[test]
fn a_database_that_the_rules_keep_shut() {
    let mut options = Options::new(18);
    options.hba = "local shut all reject\nlocal all all trust\n".to_owned();
    let postgres = Postgres::start(&options);
    postgres.session().query("CREATE DATABASE shut").expect("a database");
    let server = as_superuser(&postgres);
    let mut wish = DesiredState::new();
    wish.ensure(&name("app"), None);
    wish.database(name("shut"), Database::new().extension(name("hstore"), Extension::default()));
    let applied = apply(&server, &wish);
    assert_eq!(applied.done.len(), 2);
    let blocked = applied.left.blocked.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(matches!(&blocked[..], [one] if one.contains("pg_hba.conf")), "{blocked:?}");
}
