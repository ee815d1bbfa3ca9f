//! A session that is no superuser, as managed servers have it: it does what it may, and names what it may not.

use crate::common::{MAJORS, apply_with, config, converge, name, plan, server};
use pg_ensure::client::ApplyOptions;
use pg_ensure::current::DefaultKind;
use pg_ensure::desired::{
    Database, DefaultGrant, Extension, Grant, GrantTarget, Membership, PrivilegeSet, Schema,
};
use pg_ensure::{
    Consent, DesiredState, Grantee, Local, Object, Obstacle, Password, Privilege, Role, Setting, Text,
};
use testkit::postgres::{Options, Postgres};

/// A server with an administrator who has CREATEROLE and CREATEDB, and passwords that are asked for.
fn managed(major: u32) -> Postgres {
    let mut options = Options::new(major);
    options.hba = "local all postgres trust\nlocal all admin trust\nlocal all all scram-sha-256\n".to_owned();
    let postgres = Postgres::start(&options);
    let session = postgres.session();
    session.query("CREATE ROLE admin LOGIN CREATEROLE CREATEDB").expect("a role");
    session.query("CREATE ROLE foreign_one; CREATE ROLE boss SUPERUSER").expect("roles");
    postgres
}

#[test]
fn what_it_may_is_done() {
    for major in MAJORS {
        let postgres = managed(major);
        let admin = server(&postgres, "admin");
        let mut wish = DesiredState::new();
        wish.ensure(&name("app"), Some(Password::secret("x")));
        wish.role(name("reader"), Role::new().login(true).comment(Text::new("reads").expect("a text")));
        wish.membership(name("reader"), name("app"), Membership::default());
        let database = Database::owned_by(&name("app"))
            .schema(name("s"), Schema { owner: Some(name("app")), ..Schema::default() })
            // Trusted extensions need no superuser.
            .extension(name("hstore"), Extension::default());
        wish.database(name("app"), database);
        wish.setting(
            Some(name("app")),
            None,
            Setting::new("work_mem").expect("a name"),
            Text::new("8MB").ok(),
        );
        wish.setting(
            None,
            Some(name("app")),
            Setting::new("search_path").expect("a name"),
            Text::new("s").ok(),
        );
        let usage = PrivilegeSet::Only(Privilege::Usage.into());
        let on = Object::Inside(name("app"), Local::Schema(name("s")));
        let to = Grantee::Role(name("reader"));
        wish.grant(Grant { to: to.clone(), on: GrantTarget::One(on), privileges: usage, grantable: false });
        let connect = PrivilegeSet::Only(Privilege::Connect.into());
        let on = GrantTarget::One(Object::Database(name("app")));
        wish.grant(Grant { to: to.clone(), on, privileges: connect, grantable: false });
        wish.default_grant(DefaultGrant {
            database: name("app"),
            creator: name("app"),
            schema: Some(name("s")),
            kind: DefaultKind::Tables,
            to,
            privileges: PrivilegeSet::Only(Privilege::Select.into()),
            grantable: false,
        });
        let applied = apply_with(&admin, &wish, &ApplyOptions::default());
        let applied =
            applied.unwrap_or_else(|why| panic!("{major}: {why}: {:?}", std::error::Error::source(&why)));
        assert_eq!(applied.left.blocked, [], "{major}");
        assert!(plan(&admin, &wish).is_empty(), "{major}");
        // A superuser finds nothing to do either.
        let superuser = crate::common::as_superuser(&postgres);
        assert!(plan(&superuser, &wish).is_empty(), "{}", plan(&superuser, &wish).script());
    }
}

#[test]
fn what_it_may_not_is_named_and_the_rest_is_done() {
    for major in MAJORS {
        let postgres = managed(major);
        let admin = server(&postgres, "admin");
        let mut wish = DesiredState::new();
        wish.role(name("good"), Role::new().login(true));
        wish.role(name("root"), Role::new().superuser(true));
        wish.role(name("copy"), Role::new().replication(true));
        wish.role(name("eyes"), Role::new().bypassrls(true));
        wish.role(name("boss"), Role::new().login(true));
        wish.external(name("foreign_one"));
        wish.database(name("theirs"), Database::owned_by(&name("foreign_one")));
        wish.database(name("postgres"), Database::new().connection_limit(5));
        wish.database(
            name("good"),
            Database::owned_by(&name("good")).extension(name("file_fdw"), Extension::default()),
        );
        let setting = Setting::new("log_statement").expect("a name");
        wish.setting(Some(name("good")), None, setting.clone(), Text::new("all").ok());
        let set = PrivilegeSet::Only(Privilege::Set.into());
        let on = GrantTarget::One(Object::Parameter(setting));
        wish.grant(Grant { to: Grantee::Role(name("good")), on, privileges: set, grantable: false });
        let applied = apply_with(&admin, &wish, &ApplyOptions::default()).expect("it runs");
        let blocked: Vec<String> = applied.left.blocked.iter().map(ToString::to_string).collect();
        let mut expected =
            vec!["root", "copy", "eyes", "boss", "ALTER DATABASE \"postgres\"", "file_fdw", "log_statement"];
        // Before PostgreSQL 16 CREATEROLE was enough to become a member of any role that is no superuser.
        if major >= 16 {
            expected.push("theirs");
        }
        for word in expected {
            let found = applied.left.blocked.iter().find(|blocked| blocked.what.contains(word));
            let found = found.unwrap_or_else(|| panic!("{major}: {word} is not named: {blocked:#?}"));
            assert!(matches!(found.why, Obstacle::NotPermitted(_) | Obstacle::Unsupported(_)), "{found}");
        }
        let there = postgres.session().query("SELECT FROM pg_database WHERE datname = 'good'").expect("rows");
        assert_eq!(there.len(), 1, "the rest is done");
        // Nothing of what is left was tried: the server has refused nothing.
        assert!(!postgres.log().contains("permission denied"), "{}", postgres.log());
        assert!(plan(&admin, &wish).steps.is_empty());
    }
}

#[test]
fn only_what_differs_is_said() {
    // NOSUPERUSER on a role that is none is denied to whoever is no superuser, though nothing changes.
    for major in MAJORS {
        let postgres = managed(major);
        let admin = server(&postgres, "admin");
        let mut wish = DesiredState::new();
        let role = Role::new()
            .superuser(false)
            .replication(false)
            .bypassrls(false)
            .createdb(false)
            .createrole(false);
        wish.role(name("plain"), role.login(true).inherit(true));
        converge(&admin, &wish, &Consent::none());
        assert!(plan(&admin, &wish).is_empty());
    }
}

#[test]
fn its_own_password_is_its_own_to_change() {
    let postgres = managed(18);
    let session = postgres.session();
    session.query("CREATE ROLE nobody LOGIN PASSWORD 'old'").expect("a role");
    let mut config = config(&postgres, "nobody", "postgres");
    config.password("old");
    let own = pg_ensure::client::Server::new(config, tokio_postgres::NoTls);
    let mut wish = DesiredState::new();
    wish.role(name("nobody"), Role::new().password(Password::secret("new")));
    // The connection for looking again afterwards is the one that is there.
    let applied = apply_with(&own, &wish, &ApplyOptions::default()).expect("it runs");
    assert_eq!(applied.done.len(), 1);
}

/// A grant option is a right to grant what it is for, and no ownership.
#[test]
fn a_grant_option_is_no_ownership() {
    for major in MAJORS {
        let postgres = managed(major);
        let session = postgres.session();
        for statement in [
            "CREATE ROLE owner; CREATE ROLE reader",
            "CREATE SCHEMA s AUTHORIZATION owner",
            "CREATE TABLE s.t (a int, b int); ALTER TABLE s.t OWNER TO owner",
            "GRANT SELECT ON s.t TO admin WITH GRANT OPTION; GRANT UPDATE (a) ON s.t TO admin WITH GRANT OPTION",
            "GRANT USAGE ON SCHEMA s TO admin WITH GRANT OPTION; GRANT INSERT ON s.t TO reader",
        ] {
            session.query(statement).unwrap_or_else(|why| panic!("{statement}: {why}"));
        }
        session.query("GRANT CONNECT ON DATABASE postgres TO admin WITH GRANT OPTION").expect("a grant");
        let admin = server(&postgres, "admin");
        let mut wish = DesiredState::new();
        wish.external(name("owner")).external(name("reader"));
        let reader = || Grantee::Role(name("reader"));
        let mut grant = |on: Object, privileges: &[Privilege]| {
            let privileges = PrivilegeSet::Only(privileges.iter().copied().collect());
            wish.grant(Grant { to: reader(), on: GrantTarget::One(on), privileges, grantable: false });
        };
        let inside = |local| Object::Inside(name("postgres"), local);
        // These it may grant; the option on the table counts for its columns.
        grant(Object::Database(name("postgres")), &[Privilege::Connect]);
        grant(inside(Local::Schema(name("s"))), &[Privilege::Usage]);
        grant(inside(Local::Column(name("s"), name("t"), name("a"))), &[Privilege::Select]);
        let planned = plan(&admin, &wish);
        assert_eq!(
            (planned.steps.len(), planned.blocked.len()),
            (3, 0),
            "{}{:?}",
            planned.script(),
            planned.blocked
        );
        converge(&admin, &wish, &Consent::none());
        // These it is not permitted to do, and the server would reply with no more than a warning: other privileges,
        // those that another role granted, and properties of the object.
        let mut more = DesiredState::new();
        more.external(name("owner")).external(name("reader"));
        let select = PrivilegeSet::Only([Privilege::Select, Privilege::Delete].into());
        let table = GrantTarget::One(inside(Local::Table(name("s"), name("t"))));
        more.grant(Grant { to: reader(), on: table, privileges: select, grantable: false });
        let schema = Schema { comment: Text::new("x").ok(), ..Schema::default() };
        more.database(name("postgres"), Database::new().schema(name("s"), schema));
        let planned = plan(&admin, &more);
        if major < 16 {
            // CREATEROLE was a right to every role: it makes itself a member of the owner.
            assert!(planned.script().contains("GRANT \"owner\" TO \"admin\""), "{}", planned.script());
            assert!(
                planned.blocked.iter().all(|one| one.what.starts_with("COMMENT")),
                "{:?}",
                planned.blocked
            );
            continue;
        }
        assert_eq!(planned.steps, [], "{}", planned.script());
        let mut blocked: Vec<&str> = planned.blocked.iter().map(|blocked| blocked.what.as_str()).collect();
        blocked.sort_unstable();
        let expected = [
            "COMMENT ON SCHEMA \"s\" IS 'x'",
            "GRANT SELECT, DELETE ON TABLE \"s\".\"t\" TO \"reader\"",
            "REVOKE INSERT ON TABLE \"s\".\"t\" FROM \"reader\"",
        ];
        assert_eq!(blocked, expected);
        assert!(planned.blocked.iter().all(|one| matches!(one.why, Obstacle::NotPermitted(_))));
    }
}

/// What a session may not reassign is named, and the owner of the database stays; with the permission both go along.
#[test]
fn contents_that_it_may_not_reassign() {
    for major in MAJORS {
        let postgres = managed(major);
        let session = postgres.session();
        for statement in [
            "CREATE ROLE before; CREATE ROLE after",
            if major >= 16 {
                "GRANT before, after TO admin WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"
            } else {
                "GRANT before, after TO admin WITH ADMIN OPTION"
            },
            "CREATE DATABASE shop OWNER before",
        ] {
            session.query(statement).expect("it is done");
        }
        let inside = postgres.session_in("shop");
        for statement in [
            "CREATE SCHEMA theirs; GRANT CREATE, USAGE ON SCHEMA theirs TO before",
            "CREATE SCHEMA rules; GRANT CREATE, USAGE ON SCHEMA rules TO before",
            "SET ROLE before",
            "CREATE COLLATION rules.c FROM \"C\"",
            "CREATE SCHEMA own",
            "CREATE FUNCTION theirs.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "RESET ROLE",
            "CREATE PUBLICATION everything FOR ALL TABLES",
            "ALTER ROLE before SUPERUSER",
            "ALTER PUBLICATION everything OWNER TO before",
            "ALTER ROLE before NOSUPERUSER",
        ] {
            inside.query(statement).unwrap_or_else(|why| panic!("{major}: {statement}: {why}"));
        }
        let admin = server(&postgres, "admin");
        let mut wish = DesiredState::new();
        wish.external(name("before")).external(name("after"));
        let mut wanted = Database::owned_by(&name("after"));
        wanted.reassign_owned = true;
        wish.database(name("shop"), wanted);
        for (named, remedy) in [
            ("publication everything is for all tables", "DROP PUBLICATION everything"),
            ("after, who would own theirs.f, may not create", "GRANT CREATE ON SCHEMA theirs TO after"),
            ("after, who would own objects of schema rules", "GRANT CREATE ON SCHEMA rules TO after"),
        ] {
            let planned = plan(&admin, &wish);
            let blocked: Vec<String> = planned.blocked.iter().map(ToString::to_string).collect();
            assert!(matches!(&blocked[..], [one] if one.contains(named)), "{major}: {blocked:?}");
            // Nor does the session get memberships for it.
            assert_eq!(planned.steps, [], "{major}");
            inside.query(remedy).expect("a remedy");
        }
        let planned = plan(&admin, &wish);
        assert_eq!(planned.blocked, [], "{major}");
        let applied = apply_with(&admin, &wish, &ApplyOptions::default());
        let applied = applied.unwrap_or_else(|why| {
            panic!("{major}: {why}: {:?}\n{}", std::error::Error::source(&why), planned.script())
        });
        assert_eq!(applied.done, planned.steps, "{major}");
        let owners = "SELECT DISTINCT pg_get_userbyid(owner) FROM (SELECT proowner AS owner FROM pg_proc WHERE proname = 'f' \
                      UNION SELECT collowner FROM pg_collation WHERE collnamespace = 'rules'::regnamespace) found";
        assert_eq!(inside.query(owners).expect("a row"), [[Some("after".to_owned())]], "{major}");
        assert!(!postgres.log().contains("permission denied"), "{}", postgres.log());
    }
}

/// A publication of all tables goes to another superuser, whoever gives it to them.
#[test]
fn a_publication_of_all_tables_goes_to_a_superuser() {
    for major in MAJORS {
        let postgres = managed(major);
        let session = postgres.session();
        for statement in
            ["CREATE ROLE before; GRANT before, boss TO admin", "CREATE DATABASE shop OWNER before"]
        {
            session.query(statement).expect("it is done");
        }
        let inside = postgres.session_in("shop");
        for statement in [
            "CREATE PUBLICATION everything FOR ALL TABLES",
            "ALTER ROLE before SUPERUSER",
            "ALTER PUBLICATION everything OWNER TO before",
            "ALTER ROLE before NOSUPERUSER",
        ] {
            inside.query(statement).unwrap_or_else(|why| panic!("{major}: {statement}: {why}"));
        }
        let mut wish = DesiredState::new();
        wish.external(name("boss"));
        let mut wanted = Database::owned_by(&name("boss"));
        wanted.reassign_owned = true;
        wish.database(name("shop"), wanted);
        let applied = apply_with(&server(&postgres, "admin"), &wish, &ApplyOptions::default());
        let applied = applied.unwrap_or_else(|why| panic!("{major}: {why}"));
        assert_eq!((applied.done.len(), applied.is_complete()), (2, true), "{major}: {:?}", applied.left);
        let owner = "SELECT pg_get_userbyid(pubowner) FROM pg_publication";
        assert_eq!(inside.query(owner).expect("a row"), [[Some("boss".to_owned())]], "{major}");
    }
}

/// A change that the session may not make does not get it memberships.
#[test]
fn blocked_changes_plan_no_memberships() {
    for major in [17, 19] {
        let postgres = managed(major);
        let session = postgres.session();
        for statement in [
            "CREATE ROLE before; CREATE ROLE after; ALTER ROLE admin NOCREATEDB",
            "GRANT before, after TO admin WITH ADMIN TRUE, INHERIT FALSE, SET FALSE",
            "CREATE DATABASE shop OWNER before",
            "CREATE DATABASE other",
        ] {
            session.query(statement).expect("it is done");
        }
        postgres.session_in("other").query("CREATE SCHEMA s AUTHORIZATION before").expect("a schema");
        let mut wish = DesiredState::new();
        wish.external(name("before")).external(name("after"));
        wish.database(name("shop"), Database::owned_by(&name("after")));
        wish.database(name("new"), Database::owned_by(&name("after")));
        // A schema needs CREATE on the database.
        let owned = || Schema { owner: Some(name("after")), ..Schema::default() };
        wish.database(name("other"), Database::new().schema(name("s"), owned()).schema(name("t"), owned()));
        let planned = plan(&server(&postgres, "admin"), &wish);
        assert_eq!(planned.steps, [], "{major}");
        assert_eq!(planned.blocked.len(), 4, "{major}: {:?}", planned.blocked);
    }
}

/// Privileges that cannot be granted do not get the session memberships either, and those that can get one.
#[test]
fn blocked_privileges_plan_no_memberships() {
    for major in [17, 19] {
        let postgres = managed(major);
        let session = postgres.session();
        for statement in [
            "CREATE ROLE before; CREATE ROLE creator; CREATE ROLE reader",
            "CREATE DATABASE shop",
            "GRANT before, creator TO admin WITH ADMIN TRUE, INHERIT FALSE, SET FALSE",
        ] {
            session.query(statement).expect("it is done");
        }
        let inside = postgres.session_in("shop");
        inside.query("CREATE TABLE t (k int); ALTER TABLE t OWNER TO before").expect("a table");
        let wish = |reader: &str| {
            let mut wish = DesiredState::new();
            for role in ["before", "creator", "reader", "ghost"] {
                wish.external(name(role));
            }
            let select = PrivilegeSet::Only(Privilege::Select.into());
            let to = Grantee::Role(name(reader));
            let on = GrantTarget::One(Object::Inside(name("shop"), Local::Table(name("public"), name("t"))));
            wish.grant(Grant { to: to.clone(), on, privileges: select, grantable: false });
            wish.default_grant(DefaultGrant {
                database: name("shop"),
                creator: name("creator"),
                schema: None,
                kind: DefaultKind::Tables,
                to,
                privileges: select,
                grantable: false,
            });
            wish
        };
        // A role that does not exist.
        let planned = plan(&server(&postgres, "admin"), &wish("ghost"));
        assert_eq!(planned.steps, [], "{major}");
        assert_eq!(planned.blocked.len(), 2, "{major}: {:?}", planned.blocked);
        let applied = converge(&server(&postgres, "admin"), &wish("reader"), &Consent::none());
        assert_eq!((applied.done.len(), applied.is_complete()), (4, true), "{major}: {:?}", applied.left);
    }
}
