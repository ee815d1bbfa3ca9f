//! Settings of roles and databases that would end the sessions of a run, or refuse its changes.

use crate::common::{apply, as_superuser, name, plan};
use pg_ensure::DesiredState;
use pg_ensure::desired::{Database, Extension};
use testkit::postgres::{Options, Postgres};

/// A database whose sessions are read-only and may do nothing for longer than a millisecond is managed as any other,
/// and so is one of a role with such settings.
#[test]
fn settings_of_roles_and_databases_do_not_hold_for_a_run() {
    let postgres = Postgres::start(&Options::new(18));
    let session = postgres.session();
    session.query("CREATE DATABASE app").expect("a database");
    for holder in ["DATABASE app", "ROLE postgres"] {
        for setting in [
            "default_transaction_read_only = on",
            "statement_timeout = 1",
            "lock_timeout = 1",
            "idle_in_transaction_session_timeout = 20",
            "idle_session_timeout = 20",
            "transaction_timeout = 1",
        ] {
            session.query(&format!("ALTER {holder} SET {setting}")).expect(setting);
        }
    }
    let server = as_superuser(&postgres);
    let mut wish = DesiredState::new();
    wish.ensure(&name("app"), None);
    let database = Database::owned_by(&name("app"));
    wish.database(name("app"), database.extension(name("hstore"), Extension::default()));
    assert!(!plan(&server, &wish).is_empty());
    apply(&server, &wish);
    assert!(plan(&server, &wish).is_empty());
}
