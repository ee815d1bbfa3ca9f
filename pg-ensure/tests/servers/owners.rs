//! Databases that change their owner, with their contents or without.

use crate::common::{apply, apply_with, as_superuser, config, converge, name, on_each, plan, run};
use pg_ensure::client::{ApplyOptions, Error, Server};
use pg_ensure::desired::Database;
use pg_ensure::{Consent, DesiredState, DestructibleObject, Obstacle, Role};
use testkit::postgres::{Options, Postgres};
use tokio_postgres::NoTls;

fn consent(all: &[DestructibleObject]) -> Consent {
    all.iter().cloned().fold(Consent::none(), Consent::destroying)
}

/// The contents of a database stay with a former owner, and the plan says so; or they are handed over.
#[test]
fn a_changed_owner_and_the_contents() {
    on_each(|postgres| {
        let session = postgres.session();
        session.query("CREATE ROLE before; CREATE ROLE after").expect("roles");
        session.query("CREATE DATABASE shop OWNER before").expect("a database");
        let inside = postgres.session_in("shop");
        inside
            .query("SET ROLE before; CREATE SCHEMA app; CREATE TABLE app.t (x serial); RESET ROLE")
            .expect("a table");
        drop(inside);
        let server = as_superuser(postgres);
        let mut wish = DesiredState::new();
        wish.external(name("after")).external(name("before"));
        wish.database(name("shop"), Database::owned_by(&name("after")));
        let noted = plan(&server, &wish);
        assert_eq!(noted.steps.len(), 1);
        assert!(
            noted.notes.iter().any(|note| note.contains("before") && note.contains("reassign_owned")),
            "{:?}",
            noted.notes
        );
        let mut handed = wish.clone();
        handed.databases.get_mut("shop").expect("there").reassign_owned = true;
        // What it also owns would go along.
        session.query("CREATE DATABASE other OWNER before").expect("a database");
        let blocked = plan(&server, &handed);
        // The owner stays, too: the next plan would not know whose the contents were.
        assert!(
            matches!(&blocked.blocked[..], [one] if one.to_string().contains("database other")
                && one.what == "ALTER DATABASE \"shop\" OWNER TO \"after\""),
            "{:?}",
            blocked.blocked
        );
        assert_eq!(blocked.steps, []);
        session.query("DROP DATABASE other").expect("it goes");
        let applied = apply(&server, &handed);
        assert_eq!(applied.done.len(), 2);
        let owners = postgres
            .session_in("shop")
            .query("SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'app'::regnamespace");
        assert_eq!(owners.expect("rows"), [[Some("after".to_owned())]]);
        assert!(plan(&server, &handed).is_empty());
    });
}

/// Objects without privileges of their own, each the only one that the former owner of a database has in it: the plan
/// notes that it stays, or it goes along.
#[test]
fn objects_without_privileges_go_along() {
    const OBJECTS: [(&str, &str); 9] = [
        ("OPERATOR app.=== (int, int)", "(LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)"),
        ("OPERATOR FAMILY app.family USING btree", ""),
        ("OPERATOR CLASS app.class USING btree", "FUNCTION 1 btint4cmp(int, int)"),
        ("COLLATION app.collation", "FROM \"C\""),
        ("CONVERSION app.conversion", "FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8"),
        ("TEXT SEARCH DICTIONARY app.dictionary", "(TEMPLATE = simple)"),
        ("TEXT SEARCH CONFIGURATION app.configuration", "(COPY = simple)"),
        ("STATISTICS app.statistics", "ON x, y FROM app.t"),
        ("LARGE OBJECT 7777", ""),
    ];
    on_each(|postgres| {
        let session = postgres.session();
        session.query("CREATE ROLE before; CREATE ROLE after").expect("roles");
        let (mut kept, mut handed) = (DesiredState::new(), DesiredState::new());
        for wish in [&mut kept, &mut handed] {
            wish.external(name("after")).external(name("before"));
        }
        let databases: Vec<String> = (0..OBJECTS.len()).map(|at| format!("shop{at}")).collect();
        for ((object, rest), database) in OBJECTS.iter().zip(&databases) {
            session.query(&format!("CREATE DATABASE {database} OWNER before")).expect("a database");
            let inside = postgres.session_in(database);
            inside.query("CREATE SCHEMA app; CREATE TABLE app.t (x int, y int)").expect("a table");
            let create = match *object {
                "LARGE OBJECT 7777" => "SELECT lo_create(7777)".to_owned(),
                "OPERATOR app.=== (int, int)" => format!("CREATE OPERATOR app.=== {rest}"),
                "OPERATOR CLASS app.class USING btree" => {
                    format!("CREATE OPERATOR CLASS app.class FOR TYPE int USING btree AS {rest}")
                }
                object => format!("CREATE {object} {rest}"),
            };
            for statement in [create, format!("ALTER {object} OWNER TO before")] {
                inside.query(&statement).unwrap_or_else(|why| panic!("{statement}: {why}"));
            }
            let mut wanted = Database::owned_by(&name("after"));
            kept.database(name(database), wanted.clone());
            wanted.reassign_owned = true;
            handed.database(name(database), wanted);
        }
        let server = as_superuser(postgres);
        let planned = plan(&server, &kept);
        for (database, (object, _)) in databases.iter().zip(OBJECTS) {
            let note = format!("of before in database {database} stay as they are");
            assert!(planned.notes.iter().any(|found| found.contains(&note)), "{object}: {:?}", planned.notes);
        }
        let applied = converge(&server, &handed, &Consent::none());
        assert_eq!(applied.done.len(), 2 * OBJECTS.len());
        let owned = "SELECT count(*) FROM pg_shdepend WHERE refobjid = 'before'::regrole AND deptype = 'o'";
        assert_eq!(session.query(owned).expect("a row"), [[Some("0".to_owned())]]);
        assert!(plan(&server, &handed).is_empty());
        // The bootstrap superuser has no entries in pg_shdepend.
        session.query("CREATE DATABASE initial").expect("a database");
        postgres.session_in("initial").query("CREATE COLLATION public.c FROM \"C\"").expect("a collation");
        let mut wanted = Database::owned_by(&name("after"));
        wanted.reassign_owned = true;
        handed.database(name("initial"), wanted);
        let planned = plan(&server, &handed);
        assert!(
            matches!(&planned.blocked[..], [one] if one.to_string().contains("the system's own objects")),
            "{:?}",
            planned.blocked
        );
    });
}

/// Several databases of one former owner are handed over with their contents, each of them to its own owner; default
/// privileges of the former owner are named.
#[test]
fn several_databases_of_one_owner_are_handed_over() {
    on_each(|postgres| {
        let session = postgres.session();
        session.query("CREATE ROLE before; CREATE ROLE one; CREATE ROLE two; CREATE ROLE r").expect("roles");
        let mut wish = DesiredState::new();
        for role in ["before", "one", "two"] {
            wish.external(name(role));
        }
        for (database, owner) in [("a", "one"), ("b", "two")] {
            session.query(&format!("CREATE DATABASE {database} OWNER before")).expect("a database");
            let inside = postgres.session_in(database);
            inside
                .query("SET ROLE before; CREATE SCHEMA app; CREATE TABLE app.t (x serial)")
                .expect("a table");
            inside
                .query("ALTER DEFAULT PRIVILEGES FOR ROLE before GRANT SELECT ON TABLES TO r")
                .expect("default privileges");
            let mut wanted = Database::owned_by(&name(owner));
            wanted.reassign_owned = true;
            wish.database(name(database), wanted);
        }
        let server = as_superuser(postgres);
        let planned = plan(&server, &wish);
        let sql: Vec<String> = planned.steps.iter().map(|step| step.change.sql(planned.version)).collect();
        let expected = [
            "ALTER DATABASE \"a\" OWNER TO \"one\"",
            "ALTER DATABASE \"b\" OWNER TO \"two\"",
            "REASSIGN OWNED BY \"before\" TO \"one\"",
            "REASSIGN OWNED BY \"before\" TO \"two\"",
        ];
        assert_eq!(
            (sql.iter().map(String::as_str).collect::<Vec<_>>(), planned.blocked.len()),
            (expected.to_vec(), 0)
        );
        for owner in ["one", "two"] {
            let note = format!("creator = \"{owner}\"");
            assert!(planned.notes.iter().any(|found| found.contains(&note)), "{:?}", planned.notes);
        }
        assert_eq!(apply(&server, &wish).done, planned.steps);
        for (database, owner) in [("a", "one"), ("b", "two")] {
            let session = postgres.session_in(database);
            let owners = session.query(
                "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'app'::regnamespace \
                 UNION SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()",
            );
            assert_eq!(owners.expect("rows"), [[Some(owner.to_owned())]], "{database}");
        }
        assert!(plan(&server, &wish).is_empty());
    });
}

/// Creates the roles `one`, `f'g` and `two`, and databases with a table, each of its owner.
fn databases_with_tables(postgres: &Postgres, databases: &[(&str, &str)]) {
    let session = postgres.session();
    session.query("CREATE ROLE one; CREATE ROLE \"f'g\"; CREATE ROLE two").expect("roles");
    for (database, owner) in databases {
        session.query(&format!("CREATE DATABASE {database} OWNER \"{owner}\"")).expect("a database");
        let sql = format!("CREATE TABLE public.t (x int); ALTER TABLE public.t OWNER TO \"{owner}\"");
        postgres.session_in(database).query(&sql).expect("a table");
    }
}

/// Declares the new owners of databases, whose contents go along.
fn reassigned_to(databases: &[(&str, &str)]) -> DesiredState {
    let mut wish = DesiredState::new();
    for role in ["one", "f'g", "two"] {
        wish.external(name(role));
    }
    for (database, owner) in databases {
        let mut wanted = Database::owned_by(&name(owner));
        wanted.reassign_owned = true;
        wish.database(name(database), wanted);
    }
    wish
}

/// Asserts the owner of a database and of its table.
fn assert_owned(postgres: &Postgres, database: &str, owner: &str) {
    let owners = "SELECT pg_get_userbyid(datdba), (SELECT tableowner FROM pg_tables WHERE tablename = 't') \
                  FROM pg_database WHERE datname = current_database()";
    let owners = postgres.session_in(database).query(owners).expect("a row");
    let owner = Some(owner.to_owned());
    assert_eq!(owners, [[owner.clone(), owner]], "{database}");
}

/// A role that loses one database and gets another one: its objects are reassigned before it gets the other, which
/// REASSIGN OWNED would hand over too.
#[test]
fn a_former_owner_becomes_the_owner_of_another_database() {
    on_each(|postgres| {
        databases_with_tables(postgres, &[("a", "one"), ("b", "f'g"), ("c", "two")]);
        let server = as_superuser(postgres);
        let wish = reassigned_to(&[("a", "f'g"), ("b", "two"), ("c", "postgres")]);
        let planned = plan(&server, &wish);
        let sql: Vec<String> = planned.steps.iter().map(|step| step.change.sql(planned.version)).collect();
        let expected = [
            "ALTER DATABASE \"c\" OWNER TO \"postgres\"",
            "REASSIGN OWNED BY \"two\" TO \"postgres\"",
            "ALTER DATABASE \"b\" OWNER TO \"two\"",
            "REASSIGN OWNED BY \"f'g\" TO \"two\"",
            "ALTER DATABASE \"a\" OWNER TO \"f'g\"",
            "REASSIGN OWNED BY \"one\" TO \"f'g\"",
        ];
        assert_eq!(
            (sql.iter().map(String::as_str).collect(), &planned.blocked[..]),
            (expected.to_vec(), &[][..])
        );
        assert_eq!(apply(&server, &wish).done, planned.steps);
        for (database, owner) in [("a", "f'g"), ("b", "two"), ("c", "postgres")] {
            assert_owned(postgres, database, owner);
        }
        assert!(plan(&server, &wish).is_empty());
    });
}

/// Databases that exchange their owners: one of them keeps its owner and its contents, which the plan says with what to
/// do; both are exchanged after that was done.
#[test]
fn databases_exchange_their_owners() {
    on_each(|postgres| {
        databases_with_tables(postgres, &[("a", "one"), ("b", "two")]);
        let server = as_superuser(postgres);
        let wish = reassigned_to(&[("a", "two"), ("b", "one")]);
        let planned = plan(&server, &wish);
        let blocked = planned.blocked.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(
            blocked.starts_with(
                "ALTER DATABASE \"a\" OWNER TO \"two\": in use: databases exchange their owners, so that one"
            ) && blocked.ends_with(
                "objects of one in database a to two by ALTER … OWNER TO, or leave reassign_owned out"
            ),
            "{blocked}"
        );
        let applied = apply(&server, &wish);
        assert_eq!((applied.done, applied.left.blocked.len()), (planned.steps, 1));
        assert_owned(postgres, "a", "one");
        assert_owned(postgres, "b", "one");
        postgres.session_in("a").query("ALTER TABLE public.t OWNER TO two").expect("an owner");
        assert!(apply(&server, &wish).is_complete());
        assert_owned(postgres, "a", "two");
        assert_owned(postgres, "b", "one");
    });
}

/// A former owner of two databases that keeps one keeps the other too, with its contents: the owner without them would
/// leave them behind.
#[test]
fn a_database_that_stays_keeps_the_others_of_its_owner() {
    on_each(|postgres| {
        databases_with_tables(postgres, &[("a", "f'g"), ("b", "f'g")]);
        let session = postgres.session_in("b");
        session.query("CREATE FOREIGN DATA WRAPPER w; ALTER ROLE \"f'g\" SUPERUSER").expect("a wrapper");
        session.query("ALTER FOREIGN DATA WRAPPER w OWNER TO \"f'g\"").expect("an owner");
        let server = as_superuser(postgres);
        let wish = reassigned_to(&[("a", "one"), ("b", "two")]);
        let planned = plan(&server, &wish);
        let blocked: Vec<String> = planned.blocked.iter().map(ToString::to_string).collect();
        assert_eq!((blocked.len(), &planned.steps[..]), (2, &[][..]), "{blocked:?}");
        assert!(
            blocked[0].contains("f'g keeps database b") && blocked[0].contains("leave reassign_owned out")
        );
        assert!(blocked[1].contains("foreign-data wrapper w"), "{blocked:?}");
        session.query("ALTER FOREIGN DATA WRAPPER w OWNER TO postgres").expect("an owner");
        assert!(apply(&server, &wish).is_complete());
        assert_owned(postgres, "a", "one");
        assert_owned(postgres, "b", "two");
    });
}

/// The owner and the contents are one transaction, so that a run that is cut short does not forget whose they were.
#[test]
fn a_changed_owner_and_its_contents_are_one_transaction() {
    let postgres = Postgres::start(&Options::new(15));
    let session = postgres.session();
    session.query("CREATE ROLE before; CREATE ROLE after").expect("roles");
    session.query("CREATE DATABASE shop OWNER before").expect("a database");
    let inside = postgres.session_in("shop");
    inside.query("SET ROLE before; CREATE TABLE public.t (x int)").expect("a table");
    // Another session has the table, which no plan knows.
    inside.query("RESET ROLE; BEGIN; LOCK TABLE public.t").expect("a lock");
    let mut wish = DesiredState::new();
    wish.external(name("after")).external(name("before"));
    let mut wanted = Database::owned_by(&name("after"));
    wanted.reassign_owned = true;
    wish.database(name("shop"), wanted);
    // What the connection asks for holds, unlike settings of roles and databases.
    let mut limited = config(&postgres, "postgres", "postgres");
    limited.options("-c lock_timeout=500ms");
    let server = Server::new(limited, NoTls);
    let refused = apply_with(&server, &wish, &ApplyOptions::default().attempts(1));
    assert!(matches!(refused, Err(Error::Step { .. })), "{refused:?}");
    let owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'shop'";
    assert_eq!(session.query(owner).expect("a row"), [[Some("before".to_owned())]]);
    drop(inside);
    assert_eq!(apply(&server, &wish).done.len(), 2);
}

/// A subscription that does not connect.
const SUBSCRIPTION: &str = "CREATE SUBSCRIPTION p CONNECTION '' PUBLICATION p \
    WITH (connect = false, enabled = false, create_slot = false, slot_name = NONE)";

/// Publications and subscriptions go with their database to a new owner, and stay where another database would lose its
/// own; a database with a subscription is not dropped, which the plan says.
#[test]
fn publications_and_subscriptions_go_along() {
    on_each(|postgres| {
        let session = postgres.session();
        // A subscription of a role that is not a superuser came with PostgreSQL 16.
        let after = if postgres.major() < 16 { "SUPERUSER" } else { "NOSUPERUSER" };
        session.query("CREATE ROLE before SUPERUSER").expect("a role");
        session.query(&format!("CREATE ROLE after {after}")).expect("a role");
        for database in ["shop", "other"] {
            session.query(&format!("CREATE DATABASE {database} OWNER before")).expect("a database");
        }
        // What it owns inside is no table, schema or function.
        let inside = postgres.session_in("shop");
        inside.query("SET ROLE before; CREATE PUBLICATION everything FOR ALL TABLES").expect("a publication");
        inside.query(SUBSCRIPTION).expect("a subscription");
        drop(inside);
        session.query("ALTER DATABASE other OWNER TO postgres").expect("an owner");
        let elsewhere = postgres.session_in("other");
        elsewhere.query(&format!("SET ROLE before; {SUBSCRIPTION}")).expect("a subscription");
        drop(elsewhere);
        let server = as_superuser(postgres);
        let mut wish = DesiredState::new();
        wish.external(name("after")).external(name("before"));
        let mut wanted = Database::owned_by(&name("after"));
        wanted.reassign_owned = true;
        wish.database(name("shop"), wanted);
        // REASSIGN OWNED in one database gives the subscriptions of all databases away.
        let blocked = plan(&server, &wish);
        assert_eq!(blocked.steps, [], "{}", blocked.script());
        assert!(
            blocked.blocked[0].to_string().contains("subscription p in database other"),
            "{:?}",
            blocked.blocked
        );
        postgres.session_in("other").query("DROP SUBSCRIPTION p").expect("it goes");
        let planned = plan(&server, &wish);
        assert!(
            planned.script().contains("REASSIGN OWNED BY \"before\" TO \"after\""),
            "{}",
            planned.script()
        );
        assert_eq!(apply(&server, &wish).done, planned.steps);
        let owners = "SELECT pg_get_userbyid(pubowner) FROM pg_publication \
                      UNION ALL SELECT pg_get_userbyid(subowner) FROM pg_subscription";
        let after = || vec![Some("after".to_owned())];
        assert_eq!(postgres.session_in("shop").query(owners).expect("rows"), [after(), after()]);
        assert!(plan(&server, &wish).is_empty());
        let mut gone = DesiredState::new();
        gone.database(name("shop"), Database::absent());
        let consent = consent(&[DestructibleObject::Database(name("shop"))]);
        let planned = run(server.plan(&gone, &consent)).expect("a plan");
        assert_eq!(planned.steps, []);
        assert!(
            matches!(&planned.blocked[0].why, Obstacle::InUse(why) if why.contains("has the subscription p")),
            "{:?}",
            planned.blocked
        );
        postgres.session_in("shop").query("DROP SUBSCRIPTION p").expect("it goes");
        let options = ApplyOptions::default().consent(consent);
        assert!(apply_with(&server, &gone, &options).expect("it applies").is_complete());
    });
}

/// An object that only a superuser can own is not reassigned to another role, neither with a database nor when its
/// owner is removed; the plan names it.
#[test]
fn objects_of_superusers_are_not_reassigned() {
    for (major, object, named) in [
        (17, "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()", "event trigger e "),
        (17, "CREATE FOREIGN DATA WRAPPER w", "foreign-data wrapper w "),
        (15, SUBSCRIPTION, "subscription p in database shop "),
    ] {
        let postgres = Postgres::start(&Options::new(major));
        let session = postgres.session();
        session.query("CREATE ROLE before SUPERUSER; CREATE ROLE after").expect("roles");
        session.query("CREATE DATABASE shop OWNER before").expect("a database");
        let inside = postgres.session_in("shop");
        inside
            .query(
                "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; \
                 SET ROLE before; CREATE TABLE public.t (x int)",
            )
            .expect("a table");
        inside.query(object).expect("an object");
        drop(inside);
        session.query("ALTER ROLE before NOSUPERUSER").expect("a role");
        let server = as_superuser(&postgres);
        let mut wish = DesiredState::new();
        wish.external(name("after")).external(name("before"));
        let mut wanted = Database::owned_by(&name("after"));
        wanted.reassign_owned = true;
        wish.database(name("shop"), wanted);
        let mut removal = DesiredState::new();
        removal.external(name("after"));
        let mut before = Role::absent();
        before.reassign_to = Some(name("after"));
        removal.role(name("before"), before);
        let mut taken = Database::new();
        taken.owner = Some(name("after"));
        removal.database(name("shop"), taken);
        let consent = consent(&[DestructibleObject::Role(name("before"))]);
        let planned = run(server.plan(&removal, &consent)).expect("a plan");
        for refused in [plan(&server, &wish), planned] {
            let said = refused.blocked.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            assert!(said.contains(named) && said.contains("after is not a superuser"), "{named}: {said}");
            assert!(!refused.script().contains(" OWNED "), "{}", refused.script());
        }
    }
}

/// What every database has from the beginning stays with the bootstrap superuser, and is no note.
#[test]
fn an_empty_database_is_taken_over_without_a_note() {
    let postgres = Postgres::start(&Options::new(15));
    postgres.session().query("CREATE DATABASE app").expect("a database");
    let mut wish = DesiredState::new();
    wish.ensure(&name("app"), None);
    let server = as_superuser(&postgres);
    let planned = plan(&server, &wish);
    assert_eq!(planned.notes, Vec::<String>::new());
    postgres.session_in("app").query("CREATE TABLE t (a int)").expect("a table");
    let planned = plan(&server, &wish);
    assert!(planned.notes[0].starts_with("0 schemas and 1 other objects of postgres"), "{:?}", planned.notes);
    assert!(!planned.notes[0].contains("reassign_owned"), "{:?}", planned.notes);
}
