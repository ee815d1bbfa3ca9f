//! Event triggers created, changed, drifted by hand and repaired.

use crate::common::{as_superuser, converge, import_is_a_no_op, name, on_each, plan, text};
use pg_ensure::desired::{Database, Grant, GrantTarget, Presence, PrivilegeSet, Schema};
use pg_ensure::{Consent, DesiredState, Grantee, Local, Object, Privilege};

/// An event trigger that refuses all other changes comes after them when it is new, and ends before them.
#[test]
fn event_triggers_that_refuse_changes() {
    use pg_ensure::inside::event_trigger::{DatabaseEvent, EventTrigger, Firing};
    on_each(|postgres| {
        postgres.session().query("CREATE ROLE reader").expect("a role");
        postgres.session().query("CREATE DATABASE shop").expect("a database");
        let inside = postgres.session_in("shop");
        inside
            .query(
                "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''not now''; END'",
            )
            .expect("a function");
        let server = as_superuser(postgres);
        let mut guard = EventTrigger::default();
        guard.event = Some(DatabaseEvent::DdlCommandEnd);
        guard.function = Some((name("public"), name("no")));
        let mut gone = EventTrigger::default();
        gone.presence = Presence::Absent;
        guard.enabled = Some(Firing::Origin);
        let mut disabled = guard.clone();
        disabled.enabled = Some(Firing::Disabled);
        let consent = Consent::none().destroying("event_trigger=shop/guard".parse().expect("it names one"));
        for (round, trigger) in [guard.clone(), disabled, guard.clone(), gone].into_iter().enumerate() {
            let mut wish = DesiredState::new();
            wish.external(name("reader"));
            let mut shop = Database::new();
            shop.inside.event_triggers = [(name("guard"), trigger)].into();
            let schema = format!("s{round}");
            if round != 2 {
                shop.inside.schemas.insert(name(&schema), Schema::default());
                wish.grant(Grant {
                    to: Grantee::Role(name("reader")),
                    on: GrantTarget::One(Object::Inside(name("shop"), Local::Schema(name(&schema)))),
                    privileges: PrivilegeSet::Only(Privilege::Usage.into()),
                    grantable: false,
                });
            }
            wish.database(name("shop"), shop);
            let applied = converge(&server, &wish, &consent);
            assert!(applied.left.blocked.is_empty(), "{round}: {:?}", applied.left.blocked);
        }
    });
}

/// Event triggers created, drifted by hand and repaired; what the server would refuse is in the plan.
#[test]
fn event_triggers_of_every_kind() {
    use pg_ensure::inside::event_trigger::{DatabaseEvent, EventTrigger, Firing};
    const DRIFT: &[&str] = &[
        "ALTER EVENT TRIGGER audit DISABLE",
        "ALTER EVENT TRIGGER audit OWNER TO postgres",
        "COMMENT ON EVENT TRIGGER audit IS 'other'",
        "DROP EVENT TRIGGER audit; CREATE EVENT TRIGGER audit ON sql_drop EXECUTE FUNCTION \"S\".\"f.f\"()",
        "DROP EVENT TRIGGER audit; CREATE EVENT TRIGGER audit ON ddl_command_end EXECUTE FUNCTION g()",
        "DROP EVENT TRIGGER audit",
    ];
    on_each(|postgres| {
        let session = postgres.session();
        session.query("CREATE ROLE boss SUPERUSER; CREATE ROLE plain").expect("roles");
        session.query("CREATE DATABASE shop").expect("a database");
        let inside = postgres.session_in("shop");
        inside
            .query(
                "CREATE SCHEMA \"S\";
                 CREATE FUNCTION \"S\".\"f.f\"() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
                 CREATE FUNCTION g() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
                 CREATE FUNCTION h() RETURNS int LANGUAGE sql AS 'SELECT 1';
                 CREATE EVENT TRIGGER old ON sql_drop EXECUTE FUNCTION g();
                 CREATE EVENT TRIGGER by_hand ON table_rewrite EXECUTE FUNCTION g()",
            )
            .expect("functions");
        let server = as_superuser(postgres);
        let mut audit = EventTrigger::default();
        audit.owner = Some(name("boss"));
        audit.event = Some(DatabaseEvent::DdlCommandEnd);
        audit.function = Some((name("S"), name("f.f")));
        audit.tags = Some([text("CREATE TABLE"), text("ALTER TABLE")].into());
        audit.enabled = Some(Firing::Always);
        audit.comment = Some(text("it's one"));
        let mut old = EventTrigger::default();
        old.presence = Presence::Absent;
        let mut wish = DesiredState::new();
        wish.external(name("boss")).external(name("plain"));
        let mut shop = Database::new();
        shop.inside.event_triggers = [(name("audit"), audit.clone()), (name("old"), old)].into();
        wish.database(name("shop"), shop);
        assert!(wish.validate().is_empty(), "{:?}", wish.validate());
        assert_eq!(plan(&server, &wish).blocked.len(), 1, "one is to be dropped without consent");
        let consent = Consent::none().destroying("event_trigger=shop/old".parse().expect("it names one"));
        let applied = converge(&server, &wish, &consent);
        assert_eq!((applied.done.len(), applied.left.blocked.len()), (5, 0), "{:?}", applied.done);
        import_is_a_no_op(&server);
        for drift in DRIFT {
            inside.query(drift).unwrap_or_else(|why| panic!("{drift}: {why}"));
            assert!(!plan(&server, &wish).steps.is_empty(), "{}: {drift} is not seen", postgres.major());
            converge(&server, &wish, &Consent::none());
        }
        // What is not declared survives the replacement of the trigger.
        let set = |wish: &mut DesiredState, changed: EventTrigger| {
            let shop = wish.databases.get_mut("shop").expect("there");
            shop.inside.event_triggers = [(name("audit"), changed)].into();
        };
        let mut other = EventTrigger::default();
        other.event = audit.event;
        other.function = Some((name("public"), name("g")));
        set(&mut wish, other);
        converge(&server, &wish, &Consent::none());
        let row = "SELECT evtenabled::text || array_length(evttags, 1) || pg_get_userbyid(evtowner)
            || obj_description(oid, 'pg_event_trigger') FROM pg_event_trigger WHERE evtname = 'audit'";
        assert_eq!(inside.query(row).expect("a row")[0][0].as_deref(), Some("A2bossit's one"));
        let kept = inside.query("SELECT FROM pg_event_trigger WHERE evtname = 'by_hand'").expect("rows");
        assert_eq!(kept.len(), 1);
        // Each is refused in words, before anything is changed.
        let with = |change: fn(&mut EventTrigger)| {
            let mut changed = audit.clone();
            change(&mut changed);
            changed
        };
        for (changed, why) in [
            (with(|one| one.function = Some((name("public"), name("h")))), "no function public.h()"),
            (with(|one| one.function = Some((name("public"), name("gone")))), "no function public.gone()"),
            (with(|one| one.owner = Some(name("plain"))), "not a superuser"),
        ] {
            set(&mut wish, changed);
            let refused = plan(&server, &wish);
            let said = refused.blocked.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            assert!(said.contains(why), "{why}: {said}");
            let drops = refused.script().contains("DROP EVENT TRIGGER");
            assert!(!drops || why == "not a superuser", "{why}: {}", refused.script());
        }
        set(&mut wish, with(|one| (one.event, one.tags) = (Some(DatabaseEvent::Login), None)));
        let login = plan(&server, &wish);
        assert_eq!(login.blocked.is_empty(), postgres.major() >= 17, "{:?}", login.blocked);
        if postgres.major() >= 17 {
            // Tags of the event before are not kept, since the server takes none.
            converge(&server, &wish, &Consent::none());
        }
    });
}

/// Tags that the server does not take are in the plan, each by itself.
#[test]
fn tags_are_those_that_the_server_takes() {
    use pg_ensure::inside::event_trigger::{DatabaseEvent, EventTrigger};
    const OBJECTS: &str = "ACCESS METHOD|AGGREGATE|CAST|COLLATION|CONSTRAINT|CONVERSION|DATABASE|DEFAULT PRIVILEGES|DOMAIN|\
        EVENT TRIGGER|EXTENSION|FOREIGN DATA WRAPPER|FOREIGN SCHEMA|FOREIGN TABLE|FUNCTION|GROUP|INDEX|LANGUAGE|LARGE OBJECT|\
        MATERIALIZED VIEW|OPERATOR|OPERATOR CLASS|OPERATOR FAMILY|OWNED|POLICY|PROCEDURE|PUBLICATION|ROLE|ROUTINE|RULE|SCHEMA|\
        SEQUENCE|SERVER|STATISTICS|SUBSCRIPTION|SYSTEM|TABLE|TABLE AS|TABLESPACE|TEXT SEARCH CONFIGURATION|\
        TEXT SEARCH DICTIONARY|TEXT SEARCH PARSER|TEXT SEARCH TEMPLATE|TRANSFORM|TRIGGER|TYPE|USER MAPPING|VIEW";
    const OTHERS: &str = "ANALYZE|CLUSTER|COMMENT|COPY|DO|GRANT|GRANT ROLE|IMPORT FOREIGN SCHEMA|LOGIN|NO SUCH TAG|REASSIGN OWNED|\
        REFRESH MATERIALIZED VIEW|REINDEX|REVOKE|REVOKE ROLE|SECURITY LABEL|SELECT|SELECT INTO|TRUNCATE TABLE|VACUUM";
    let made = OBJECTS
        .split('|')
        .flat_map(|object| ["CREATE", "ALTER", "DROP"].map(|verb| format!("{verb} {object}")));
    let tags: Vec<String> = made.chain(OTHERS.split('|').map(str::to_owned)).collect();
    on_each(|postgres| {
        let session = postgres.session();
        session
            .query("CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
            .expect("a function");
        let server = as_superuser(postgres);
        for event in [DatabaseEvent::DdlCommandEnd, DatabaseEvent::SqlDrop, DatabaseEvent::TableRewrite] {
            let (mut wanted, mut refused) = (Database::new(), std::collections::BTreeSet::new());
            for tag in &tags {
                let mut trigger = EventTrigger::default();
                (trigger.event, trigger.function) = (Some(event), Some((name("public"), name("f"))));
                trigger.tags = Some([text(tag)].into());
                wanted.inside.event_triggers.insert(name(tag), trigger);
                let create = format!(
                    "CREATE EVENT TRIGGER \"{tag}\" ON {} WHEN TAG IN ('{tag}') EXECUTE FUNCTION f()",
                    event.as_str()
                );
                // The trigger is not kept, so that the plan has all of them.
                if session.query(&format!("BEGIN; {create}")).is_err() {
                    refused.insert(format!("CREATE EVENT TRIGGER \"{tag}\""));
                }
                session.query("ROLLBACK").expect("it ends");
            }
            let mut wish = DesiredState::new();
            wish.database(name("postgres"), wanted);
            let planned = plan(&server, &wish);
            let begins = |what: &str| what.split(" ON ").next().unwrap_or_default().to_owned();
            let blocked: std::collections::BTreeSet<_> =
                planned.blocked.iter().map(|held| begins(&held.what)).collect();
            assert_eq!(blocked, refused, "{}: {}", postgres.major(), event.as_str());
            assert_eq!(planned.steps.len(), tags.len() - refused.len());
        }
    });
}
