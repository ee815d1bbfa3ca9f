//! Every kind of object created, changed, drifted by hand and repaired.

use crate::common::{
    MAJORS, apply, apply_with, as_superuser, converge, import_is_a_no_op, name, on_each, plan, text,
};
use pg_ensure::client::ApplyOptions;
use pg_ensure::current::{DefaultKind, Provider};
use pg_ensure::desired::{
    Database, DefaultGrant, Extension, Grant, GrantTarget, Membership, Presence, PrivilegeSet, Schema,
};
use pg_ensure::{
    Consent, DesiredState, DestructibleObject, Grantee, Local, Object, ObjectKind, Obstacle, Password,
    Privilege, Privileges, Role, Setting,
};
use testkit::postgres::{Options, Postgres};

fn to(role: &str) -> Grantee {
    if role == "public" { Grantee::Public } else { Grantee::Role(name(role)) }
}

fn grant<const N: usize>(role: &str, on: Object, privileges: [Privilege; N], grantable: bool) -> Grant {
    Grant {
        to: to(role),
        on: GrantTarget::One(on),
        privileges: PrivilegeSet::Only(privileges.into()),
        grantable,
    }
}

fn inside(local: Local) -> Object {
    Object::Inside(name("shop"), local)
}

fn default_grant(schema: Option<&str>, kind: DefaultKind, privileges: Privileges) -> DefaultGrant {
    DefaultGrant {
        database: name("shop"),
        creator: name("owner"),
        schema: schema.map(name),
        kind,
        to: to("reader"),
        privileges: PrivilegeSet::Only(privileges),
        grantable: false,
    }
}

/// What is created by hand in the database, so that there is something to grant on.
const OBJECTS: &str = "SET ROLE owner;
    CREATE TABLE s.t (a int, b text); CREATE VIEW s.v AS SELECT a FROM s.t; CREATE SEQUENCE s.q;
    CREATE FUNCTION s.f(int, text DEFAULT '') RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE PROCEDURE s.p(numeric(4,2)[]) LANGUAGE sql AS 'SELECT 1';
    CREATE TYPE s.e AS ENUM ('x'); CREATE DOMAIN s.d AS int;
    RESET ROLE;
    CREATE FOREIGN DATA WRAPPER w; CREATE SERVER z FOREIGN DATA WRAPPER w; SELECT lo_create(4711);";

/// The first wish: databases, roles, schemas, extensions.
fn wish() -> DesiredState {
    let mut wish = DesiredState::new();
    wish.role(name("owner"), Role::new().login(true).comment(text("owns it")));
    wish.role(
        name("reader"),
        Role::new()
            .login(true)
            .connection_limit(7)
            .valid_until("2031-05-06T07:08:09Z".parse().expect("a time"))
            .createdb(true)
            .createrole(true)
            .replication(true)
            .bypassrls(true)
            .inherit(false)
            .password(Password::secret("x")),
    );
    wish.role(name("Odd \"role\" 'x' \\ ü"), Role::new());
    wish.role(name("team"), Role::new());
    wish.membership(name("team"), name("reader"), Membership { admin: Some(true), ..Membership::default() });
    let public = Schema { comment: Some(text("as ever")), ..Schema::default() };
    let s = Schema { owner: Some(name("owner")), comment: Some(text("it's \\ here")), ..Schema::default() };
    let hstore = Extension { version: Some(text("1.7")), schema: Some(name("s")), ..Extension::default() };
    let shop = Database::owned_by(&name("owner"))
        .encoding("UTF8")
        .locale(text("C"))
        .template(name("template0"))
        .connection_limit(50)
        .comment(text("the shop"))
        .schema(name("public"), public)
        .schema(name("s"), s)
        .extension(name("hstore"), hstore)
        .extension(name("pg_trgm"), Extension::default());
    wish.database(name("shop"), shop);
    let setting = |text: &str| Setting::new(text).expect(text);
    wish.setting(Some(name("reader")), None, setting("work_mem"), Some(text("8MB")));
    wish.setting(None, Some(name("shop")), setting("search_path"), Some(text("s, \"$user\", public")));
    wish.setting(Some(name("reader")), Some(name("shop")), setting("TimeZone"), Some(text("UTC")));
    wish.setting(None, Some(name("shop")), setting("app.tenant"), Some(text("it's \\ me")));
    wish
}

/// The second: what is to be held on everything in it.
fn grants(wish: &mut DesiredState, major: u32) {
    use Privilege as P;
    let s = || name("s");
    wish.grant(grant("public", Object::Database(name("shop")), [], false));
    wish.grant(grant("reader", Object::Database(name("shop")), [P::Connect, P::Temporary], true));
    wish.grant(grant("reader", Object::Tablespace(name("pg_default")), [P::Create], false));
    if major >= 15 {
        let parameter = Object::Parameter(Setting::new("log_statement").expect("a name"));
        wish.grant(grant("reader", parameter, [P::Set, P::AlterSystem], false));
    }
    wish.grant(grant("reader", inside(Local::Schema(s())), [P::Usage], false));
    wish.grant(grant(
        "reader",
        inside(Local::Table(s(), name("t"))),
        [P::Select, P::Insert, P::Truncate],
        false,
    ));
    wish.grant(grant("reader", inside(Local::Column(s(), name("t"), name("b"))), [P::Update], false));
    wish.grant(grant("team", inside(Local::Table(s(), name("v"))), [P::Select], true));
    wish.grant(grant("reader", inside(Local::Sequence(s(), name("q"))), [P::Usage], false));
    let f = Local::Routine(s(), name("f"), text("integer, text"));
    wish.grant(grant("public", inside(f.clone()), [], false));
    wish.grant(grant("reader", inside(f), [P::Execute], false));
    wish.grant(grant(
        "reader",
        inside(Local::Routine(s(), name("p"), text("numeric[]"))),
        [P::Execute],
        false,
    ));
    wish.grant(grant("reader", inside(Local::Type(s(), name("e"))), [P::Usage], false));
    wish.grant(grant("public", inside(Local::Type(s(), name("d"))), [], false));
    wish.grant(grant("public", inside(Local::Language(name("sql"))), [], false));
    wish.grant(grant("reader", inside(Local::ForeignDataWrapper(name("w"))), [P::Usage], false));
    wish.grant(grant("reader", inside(Local::ForeignServer(name("z"))), [P::Usage], true));
    wish.grant(grant("reader", inside(Local::LargeObject(4711)), [P::Select], false));
    wish.grant(Grant {
        to: to("team"),
        on: GrantTarget::AllIn { database: name("shop"), schema: s(), kind: ObjectKind::Table },
        privileges: PrivilegeSet::All,
        grantable: false,
    });
    for (kind, privileges) in [
        (DefaultKind::Tables, Privileges::from([P::Select, P::Insert])),
        (DefaultKind::Sequences, P::Usage.into()),
        (DefaultKind::Routines, P::Execute.into()),
        (DefaultKind::Types, P::Usage.into()),
    ] {
        wish.default_grant(default_grant(Some("s"), kind, privileges));
    }
    wish.default_grant(default_grant(None, DefaultKind::Schemas, P::Usage.into()));
    let mut nobody = default_grant(None, DefaultKind::Routines, Privileges::NONE);
    nobody.to = Grantee::Public;
    wish.default_grant(nobody);
    if major >= 18 {
        wish.default_grant(default_grant(None, DefaultKind::LargeObjects, P::Select.into()));
    }
}

/// Changes by hand: each undoes something that was wished for.
const DRIFT: &[&str] = &[
    "ALTER ROLE reader CONNECTION LIMIT 8 NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT SUPERUSER",
    "ALTER ROLE reader VALID UNTIL 'infinity'",
    "ALTER ROLE reader PASSWORD 'other'",
    "ALTER ROLE owner NOLOGIN",
    "COMMENT ON ROLE owner IS NULL",
    "ALTER ROLE reader RESET work_mem",
    "ALTER ROLE reader IN DATABASE shop SET timezone TO 'Europe/Berlin'",
    "ALTER DATABASE shop RESET search_path",
    "ALTER DATABASE shop SET app.tenant TO 'else'",
    "ALTER DATABASE shop OWNER TO postgres",
    "ALTER DATABASE shop CONNECTION LIMIT 3",
    "COMMENT ON DATABASE shop IS 'else'",
    "REVOKE ADMIN OPTION FOR team FROM reader",
    "REVOKE team FROM reader",
    "GRANT CONNECT ON DATABASE shop TO PUBLIC",
    "REVOKE GRANT OPTION FOR TEMPORARY ON DATABASE shop FROM reader",
    "REVOKE CREATE ON TABLESPACE pg_default FROM reader",
    "REVOKE SET ON PARAMETER log_statement FROM reader",
    "ALTER SCHEMA s OWNER TO postgres",
    "COMMENT ON SCHEMA s IS NULL",
    "COMMENT ON SCHEMA public IS 'else'",
    "ALTER EXTENSION hstore SET SCHEMA public",
    "DROP EXTENSION pg_trgm",
    "GRANT CREATE ON SCHEMA s TO reader",
    "GRANT DELETE ON s.t TO reader",
    "REVOKE SELECT ON s.t FROM reader",
    "GRANT SELECT ON s.t TO reader WITH GRANT OPTION",
    "GRANT SELECT (b) ON s.t TO reader",
    "REVOKE ALL ON s.v FROM team",
    "GRANT UPDATE ON SEQUENCE s.q TO reader",
    "GRANT EXECUTE ON FUNCTION s.f TO PUBLIC",
    "REVOKE EXECUTE ON PROCEDURE s.p FROM reader",
    "REVOKE USAGE ON TYPE s.e FROM reader",
    "GRANT USAGE ON DOMAIN s.d TO PUBLIC",
    "GRANT USAGE ON LANGUAGE sql TO PUBLIC",
    "REVOKE USAGE ON FOREIGN DATA WRAPPER w FROM reader",
    "REVOKE GRANT OPTION FOR USAGE ON FOREIGN SERVER z FROM reader",
    "GRANT UPDATE ON LARGE OBJECT 4711 TO reader",
    "ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA s GRANT DELETE ON TABLES TO reader",
    "ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA s REVOKE ALL ON TYPES FROM reader",
    "ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT EXECUTE ON ROUTINES TO PUBLIC",
];

#[test]
fn everything_created_drifted_and_repaired() {
    on_each(|postgres| {
        let server = as_superuser(postgres);
        let mut wish = wish();
        converge(&server, &wish, &Consent::none());
        import_is_a_no_op(&server);
        let by_hand = postgres.session_in("shop");
        by_hand.query(OBJECTS).expect("objects");
        grants(&mut wish, postgres.major());
        converge(&server, &wish, &Consent::none());
        assert!(plan(&server, &wish).is_empty());
        import_is_a_no_op(&server);
        for drift in DRIFT {
            by_hand.query(drift).unwrap_or_else(|why| panic!("{drift}: {why}"));
            let plan = plan(&server, &wish);
            assert!(!plan.steps.is_empty(), "{}: {drift} is not seen", postgres.major());
            // One change by hand is repaired by few: nothing else is touched.
            assert!(plan.steps.len() <= 3, "{drift}:\n{}", plan.script());
            let repaired = apply(&server, &wish);
            assert!(repaired.left.is_empty(), "{drift}: {:?}", repaired.left);
        }
        import_is_a_no_op(&server);
        // All of it at once.
        DRIFT.iter().for_each(|drift| drop(by_hand.query(drift)));
        converge(&server, &wish, &Consent::none());
    });
}

#[test]
fn nothing_is_destroyed_unless_named() {
    on_each(|postgres| {
        let server = as_superuser(postgres);
        let by_hand = postgres.session();
        by_hand.query("CREATE ROLE old; CREATE ROLE heir").expect("roles");
        by_hand.query("CREATE DATABASE old OWNER old IS_TEMPLATE true").expect("a database");
        by_hand.query("CREATE DATABASE kept").expect("a database");
        postgres
            .session_in("kept")
            .query(
                "CREATE SCHEMA old AUTHORIZATION old; CREATE TABLE old.t (); CREATE EXTENSION hstore;
                 CREATE TABLE public.u (); ALTER TABLE public.u OWNER TO old; GRANT SELECT ON public.u TO heir",
            )
            .expect("objects");
        let mut wish = DesiredState::new();
        let mut leaving = Role::absent();
        wish.role(name("heir"), Role::new());
        wish.role(name("old"), leaving.clone());
        wish.database(name("old"), Database::absent());
        let gone = Schema { presence: Presence::Absent, ..Schema::default() };
        let extension = Extension { presence: Presence::Absent, ..Extension::default() };
        wish.database(
            name("kept"),
            Database::new().schema(name("old"), gone).extension(name("hstore"), extension),
        );
        let refused = apply_with(&server, &wish, &ApplyOptions::default()).expect("it runs");
        assert_eq!(refused.done, []);
        let named = refused.left.blocked.iter().filter(|found| matches!(found.why, Obstacle::NotNamed(_)));
        assert_eq!(named.count(), 4, "{:?}", refused.left.blocked);
        let consent = Consent::none()
            .destroying(DestructibleObject::Role(name("old")))
            .destroying(DestructibleObject::Database(name("old")))
            .destroying("schema=kept/old".parse().expect("it names one"))
            .destroying("extension=kept/hstore".parse().expect("it names one"));
        // What a role owns keeps it, until somebody inherits.
        let half =
            apply_with(&server, &wish, &ApplyOptions::default().consent(consent.clone())).expect("it runs");
        assert!(half.left.blocked[0].to_string().contains("reassign_to"), "{:?}", half.left.blocked);
        assert!(by_hand.query("SELECT FROM pg_database WHERE datname = 'old'").expect("rows").is_empty());
        leaving = leaving.reassign_to(name("heir"));
        wish.role(name("old"), leaving);
        let rest = apply_with(&server, &wish, &ApplyOptions::default().consent(consent)).expect("it runs");
        assert_eq!(rest.left.blocked, []);
        assert!(by_hand.query("SELECT FROM pg_roles WHERE rolname = 'old'").expect("rows").is_empty());
        let owner =
            postgres.session_in("kept").query("SELECT tableowner FROM pg_tables WHERE tablename = 'u'");
        assert_eq!(owner.expect("rows")[0][0].as_deref(), Some("heir"));
        assert!(plan(&server, &wish).is_empty());
    });
}

#[test]
fn databases_of_every_kind() {
    for major in MAJORS {
        let postgres = Postgres::start(&Options::new(major));
        let server = as_superuser(&postgres);
        let by_hand = postgres.session();
        let place = postgres.folder("space");
        by_hand
            .query(&format!("CREATE TABLESPACE space LOCATION '{}'", place.display()))
            .expect("a tablespace");
        let mut wish = DesiredState::new();
        let kinds = Database::new().encoding("LATIN1").locale(text("C")).provider(Provider::Libc);
        wish.database(name("latin"), kinds.tablespace(name("space")).marked_template(true));
        wish.database(name("a copy"), Database::new().template(name("latin")).allow_connections(false));
        wish.database(
            name("utf"),
            Database::new().encoding("UTF8").collate(text("C")).ctype(text("C.UTF-8")),
        );
        if major == 15 {
            let icu = Database::new().provider(Provider::Icu).locale(text("de-DE")).encoding("UTF8");
            wish.database(name("icu"), icu.template(name("template0")));
        }
        if major >= 17 {
            let builtin =
                Database::new().provider(Provider::Builtin).locale(text("C.UTF-8")).encoding("UTF8");
            wish.database(name("builtin"), builtin);
        }
        converge(&server, &wish, &Consent::none());
        assert!(plan(&server, &wish).is_empty());
        import_is_a_no_op(&server);
        // Another spelling is the same.
        let spelled = Database::new().encoding("utf-8").ctype(text("C.utf8"));
        wish.database(name("utf"), spelled);
        assert!(plan(&server, &wish).is_empty());
        // They move, open and close.
        let moved = Database::new().tablespace(name("pg_default")).marked_template(false);
        wish.database(name("latin"), moved);
        wish.database(name("a copy"), Database::new().allow_connections(true).connection_limit(0));
        converge(&server, &wish, &Consent::none());
        // What cannot change is named, and the rest is done.
        let other = Database::new().encoding("UTF8").locale(text("de_DE.UTF-8")).connection_limit(9);
        wish.database(name("latin"), other);
        let applied = apply_with(&server, &wish, &ApplyOptions::default()).expect("it runs");
        assert_eq!(applied.done.len(), 1);
        assert_eq!(applied.left.blocked.len(), 3, "{:?}", applied.left.blocked);
        assert!(matches!(applied.left.blocked[0].why, Obstacle::Immutable(_)));
        if major == 19 {
            // The server stores `de-DE`.
            let mut wish = DesiredState::new();
            let icu = Database::new().provider(Provider::Icu).locale(text("deu_DE")).encoding("UTF8");
            wish.database(name("tagged"), icu);
            apply_with(&server, &wish, &ApplyOptions::default()).expect("it runs");
            assert!(plan(&server, &wish).is_empty());
        }
    }
}

/// A copy has the encoding, locale and ICU rules of its template, and the plan says where others are declared.
#[test]
fn a_template_passes_on_its_locale() {
    let postgres = Postgres::start(&Options::new(19));
    let server = as_superuser(&postgres);
    postgres
        .session()
        .query(
            "CREATE DATABASE sorted TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER icu \
             ICU_LOCALE 'de-DE' ICU_RULES '&b < a'",
        )
        .expect("a database");
    let copy = || Database::new().template(name("sorted"));
    let sorted = |rules| copy().provider(Provider::Icu).locale(text("de-DE")).icu_rules(text(rules));
    let mut wish = DesiredState::new();
    wish.database(name("plain"), copy());
    wish.database(name("declared"), sorted("&b < a"));
    converge(&server, &wish, &Consent::none());
    // Another spelling is the same, and a locale without a provider is for that of the template.
    wish.database(name("spelled"), copy().encoding("utf-8").locale(text("de_DE")));
    let applied = apply_with(&server, &wish, &ApplyOptions::default()).expect("it applies");
    assert_eq!((applied.done.len(), applied.is_complete()), (1, true), "{:?}", applied.left);
    assert!(plan(&server, &wish).is_empty());
    // The server stores a language tag for a name with a codeset.
    wish.database(name("coded"), copy().locale(text("de_DE.UTF-8")));
    let new = Database::new().provider(Provider::Icu).collate(text("C")).ctype(text("C"));
    wish.database(name("fresh"), new.locale(text("de_DE.UTF-8@collation=phonebook")));
    let applied = apply_with(&server, &wish, &ApplyOptions::default()).expect("it applies");
    assert_eq!((applied.done.len(), applied.is_complete()), (2, true), "{:?}", applied.left);
    assert!(plan(&server, &wish).is_empty());
    let rules = postgres.session().query("SELECT daticurules FROM pg_database WHERE datname = 'plain'");
    assert_eq!(rules.expect("a row"), [[Some("&b < a".to_owned())]]);
    for (declared, why) in [
        (copy().encoding("LATIN1"), "encoding of the template sorted"),
        (copy().collate(text("C.UTF-8")), "LC_COLLATE of the template sorted"),
        (copy().locale(text("fr")), "locale of the template sorted"),
        (copy().provider(Provider::Libc), "locale provider of the template sorted"),
        (sorted("&a < b"), "ICU rules of the template sorted"),
    ] {
        let mut wish = DesiredState::new();
        wish.database(name("other"), declared);
        let planned = plan(&server, &wish);
        assert_eq!((planned.steps.len(), planned.blocked.len()), (0, 1), "{why}: {}", planned.script());
        assert!(planned.blocked[0].to_string().contains(why), "{why}: {}", planned.blocked[0]);
    }
    // The server refuses each of them.
    for options in [
        "TEMPLATE sorted ENCODING 'LATIN1'",
        "TEMPLATE sorted LC_COLLATE 'C.UTF-8'",
        "TEMPLATE sorted ICU_LOCALE 'fr'",
        "TEMPLATE sorted LOCALE_PROVIDER libc",
        "TEMPLATE sorted ICU_RULES '&a < b'",
    ] {
        let made = postgres.session().query(&format!("CREATE DATABASE other {options}"));
        assert!(made.is_err(), "{options}");
    }
}

#[test]
fn memberships_of_every_kind() {
    on_each(|postgres| {
        let server = as_superuser(postgres);
        let by_hand = postgres.session();
        let sixteen = postgres.major() >= 16;
        let mut wish = DesiredState::new();
        for role in ["group", "member", "other"] {
            wish.role(name(role), Role::new());
        }
        let states = [
            (Some(true), None, None),
            (Some(false), Some(true), Some(false)),
            (None, Some(false), Some(true)),
        ];
        for (admin, inherit, set) in states {
            let options = Membership {
                admin,
                inherit: inherit.filter(|_| sixteen),
                set: set.filter(|_| sixteen),
                ..Membership::default()
            };
            wish.membership(name("group"), name("member"), options);
            converge(&server, &wish, &Consent::none());
            assert!(plan(&server, &wish).is_empty());
        }
        if sixteen {
            // Granted by several: what any of them gives counts, and each is taken back as theirs.
            by_hand
                .query(
                    "GRANT \"group\" TO other WITH ADMIN TRUE; SET ROLE other;
                     GRANT \"group\" TO member WITH INHERIT TRUE, SET TRUE; RESET ROLE",
                )
                .expect("grants");
            let plan = plan(&server, &wish);
            assert!(plan.script().contains("GRANTED BY \"other\""), "{}", plan.script());
            converge(&server, &wish, &Consent::none());
        }
        let gone = Membership { presence: Presence::Absent, ..Membership::default() };
        wish.membership(name("group"), name("member"), gone);
        converge(&server, &wish, &Consent::none());
        let rows = by_hand.query("SELECT FROM pg_auth_members WHERE member = 'member'::regrole");
        assert!(rows.expect("rows").is_empty());
        // A circle with what is there already is named.
        by_hand.query("GRANT other TO member").expect("a grant");
        wish.membership(name("member"), name("other"), Membership::default());
        let applied = apply_with(&server, &wish, &ApplyOptions::default()).expect("it runs");
        assert!(applied.left.blocked[0].to_string().contains("is a member of"), "{:?}", applied.left.blocked);
    });
}

#[test]
fn names_and_texts_of_every_sort_round_trip_through_the_server() {
    let postgres = Postgres::start(&Options::new(18));
    let server = as_superuser(&postgres);
    let odd = [
        "select",
        "SELECT",
        "with space",
        "semi;colon",
        "quo\"te",
        "ap'os",
        "back\\slash",
        "dollar$$",
        "--",
        "/*",
        "ünï",
        "日本語",
        "\u{1}",
        "tab\there",
        "new\nline",
        "=r/x",
        "a,b",
        "{x}",
        "%I",
        "%s",
        "E'x'",
        "U&\"x\"",
        " ",
        "123456789012345678901234567890123456789012345678901234567890123",
    ];
    let mut wish = DesiredState::new();
    for text_of in odd {
        let role = Role::new().comment(text(text_of)).password(Password::secret(text_of));
        wish.role(name(text_of), role);
        wish.database(name(text_of), Database::owned_by(&name(text_of)).comment(text(text_of)));
        let setting = Setting::new("app.x").expect("a name");
        wish.setting(Some(name(text_of)), Some(name(text_of)), setting, Some(text(text_of)));
        wish.grant(grant(text_of, Object::Database(name("postgres")), [Privilege::Connect], true));
    }
    for conforming in ["on", "off"] {
        let session = postgres.session();
        session
            .query(&format!("ALTER ROLE postgres SET standard_conforming_strings = {conforming}"))
            .expect("set");
        session.query("ALTER ROLE postgres SET escape_string_warning = off").expect("set");
        let changed = if conforming == "on" { "" } else { " again" };
        for text_of in odd {
            let again = text(&format!("{text_of}{changed}"));
            wish.roles.get_mut(text_of).expect("there").comment = Some(again);
        }
        converge(&server, &wish, &Consent::none());
        assert!(plan(&server, &wish).is_empty());
        session.query("ALTER ROLE postgres RESET ALL").expect("reset");
        import_is_a_no_op(&server);
    }
    let rows =
        postgres.session().query("SELECT count(*) FROM pg_roles WHERE rolname !~ '^pg_'").expect("rows");
    assert_eq!(rows[0][0].as_deref(), Some((odd.len() + 1).to_string().as_str()));
}
