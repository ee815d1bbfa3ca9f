//! The plan is what is applied, statement by statement; what it calls blocked never happens; at boot it waits for what
//! will end by itself.

use crate::common::{apply, apply_with, as_superuser, config, name, on_each, plan, run, text};
use pg_ensure::client::{ApplyOptions, Error, Event, NoopObserver, Observer, Outcome, Server, Timeouts};
use pg_ensure::desired::{Database, Extension, Grant, GrantTarget, Membership, PrivilegeSet, Schema};
use pg_ensure::inside::event_trigger::{DatabaseEvent, EventTrigger, Firing};
use pg_ensure::plan::RoleChange;
use pg_ensure::{
    Change, Consent, DesiredState, DestructibleObject, Grantee, Object, Obstacle, Password, Plan, Privilege,
    Role, Setting, Text, Verifier,
};
use secrecy::ExposeSecret;
use std::time::{Duration, Instant};
use testkit::postgres::{Options, Postgres};
use tokio_postgres::{Config, NoTls};

fn setting(name: &str) -> Setting {
    Setting::new(name).expect(name)
}

fn consent(all: &[DestructibleObject]) -> Consent {
    all.iter().cloned().fold(Consent::none(), Consent::destroying)
}

/// A role and the database that it owns are dropped by one plan, which a saved plan can be.
#[test]
fn a_role_goes_with_its_database() {
    on_each(|postgres| {
        let server = as_superuser(postgres);
        let mut wish = DesiredState::new();
        wish.ensure(&name("app"), Some(Password::secret("x")));
        apply(&server, &wish);
        let session = postgres.session_in("app");
        session.query("SET ROLE app; CREATE TABLE t (x int); GRANT SELECT ON t TO PUBLIC").expect("a table");
        drop(session);
        let mut gone = DesiredState::new();
        gone.role(name("app"), Role::absent());
        gone.database(name("app"), Database::absent());
        let consent =
            consent(&[DestructibleObject::Role(name("app")), DestructibleObject::Database(name("app"))]);
        let planned = run(server.plan(&gone, &consent)).expect("a plan");
        assert_eq!(planned.blocked, []);
        let sql: Vec<String> = planned.steps.iter().map(|step| step.change.sql(planned.version)).collect();
        assert_eq!(sql, ["DROP DATABASE \"app\"", "DROP ROLE \"app\""]);
        let bound = ApplyOptions::default().consent(consent).expected(planned.digest);
        let applied = apply_with(&server, &gone, &bound).expect("it applies");
        assert!(applied.is_complete());
        assert_eq!(applied.done, planned.steps);
        assert!(plan(&server, &gone).is_empty());
    });
}

/// A step that another step makes possible, which the plan could not know, waits for a plan of its own.
#[test]
fn what_is_blocked_never_happens() {
    on_each(|postgres| {
        let session = postgres.session();
        session.query("CREATE ROLE old").expect("a role");
        session.query("CREATE DATABASE keep").expect("a database");
        let inside = postgres.session_in("keep");
        inside
            .query("CREATE SCHEMA gone; CREATE TABLE gone.t (x int); ALTER TABLE gone.t OWNER TO old")
            .expect("a table");
        drop(inside);
        let mut wish = DesiredState::new();
        wish.role(name("old"), Role::absent());
        let schema = Schema { presence: pg_ensure::desired::Presence::Absent, ..Schema::default() };
        wish.database(name("keep"), Database::new().schema(name("gone"), schema));
        let consent = consent(&[
            DestructibleObject::Role(name("old")),
            DestructibleObject::Schema(name("keep"), name("gone")),
        ]);
        let server = as_superuser(postgres);
        let planned = run(server.plan(&wish, &consent)).expect("a plan");
        assert_eq!(planned.blocked.len(), 1);
        assert_eq!(planned.blocked[0].what, "DROP ROLE \"old\"");
        let applied =
            apply_with(&server, &wish, &ApplyOptions::default().consent(consent.clone())).expect("it runs");
        assert_eq!(applied.done, planned.steps);
        assert!(!applied.is_complete());
        assert_eq!(applied.left.blocked[0].what, "DROP ROLE \"old\"");
        assert_eq!(applied.left.blocked[0].why, Obstacle::Unplanned);
        assert_eq!(session.query("SELECT FROM pg_roles WHERE rolname = 'old'").expect("rows").len(), 1);
        // The next plan has it.
        let next = apply_with(&server, &wish, &ApplyOptions::default().consent(consent)).expect("it runs");
        assert_eq!((next.done.len(), next.is_complete()), (1, true));
    });
}

/// Values that the server would refuse are refused by the plan, and nothing else is held up by them.
#[test]
fn refused_values_are_in_the_plan() {
    on_each(|postgres| {
        let server = as_superuser(postgres);
        let mut wish = DesiredState::new();
        wish.role(name("r"), Role::new());
        for (parameter, value) in [
            ("nosuch_guc", "1"),
            ("max_connections", "7"),
            ("archive_mode", "on"),
            ("server_version", "1"),
            ("work_mem", "much"),
            ("log_connections", "on"),
            ("log_statement", "some"),
            ("statement_timeout", "-5"),
            // These are taken.
            ("maintenance_work_mem", "64MB"),
            ("app.tenant", "x"),
            ("search_path", "a, b"),
            ("role", "r"),
            ("default_tablespace", "not_there_yet"),
        ] {
            wish.setting(Some(name("r")), None, setting(parameter), Some(text(value)));
        }
        let planned = plan(&server, &wish);
        let mut blocked: Vec<&str> = planned
            .blocked
            .iter()
            .map(|blocked| {
                assert!(matches!(blocked.why, Obstacle::Refused(_)), "{blocked}");
                blocked.what.split(" SET ").nth(1).and_then(|rest| rest.split('"').nth(1)).unwrap_or_default()
            })
            .collect();
        blocked.sort_unstable();
        let expected = [
            "archive_mode",
            "log_connections",
            "log_statement",
            "max_connections",
            "nosuch_guc",
            "server_version",
            "statement_timeout",
            "work_mem",
        ];
        assert_eq!(blocked, expected, "{:#?}", planned.blocked);
        let applied = apply(&server, &wish);
        assert_eq!(applied.done, planned.steps);
        assert_eq!(applied.left.blocked.len(), expected.len());
        assert!(plan(&server, &wish).steps.is_empty());
    });
}

/// A database begins with what its template has, which the plan looks at.
#[test]
fn a_template_that_was_changed_is_planned_for() {
    on_each(|postgres| {
        let session = postgres.session_in("template1");
        session
            .query(
                "CREATE SCHEMA extra; CREATE TABLE extra.t (x int); REVOKE ALL ON SCHEMA public FROM PUBLIC",
            )
            .expect("changes");
        drop(session);
        let server = as_superuser(postgres);
        let mut wish = DesiredState::new();
        wish.ensure(&name("app"), None);
        let database = Database::owned_by(&name("app"))
            .schema(name("extra"), Schema { owner: Some(name("app")), ..Schema::default() });
        wish.database(name("app"), database);
        let on = GrantTarget::AllIn {
            database: name("app"),
            schema: name("extra"),
            kind: pg_ensure::ObjectKind::Table,
        };
        let select = PrivilegeSet::Only(Privilege::Select.into());
        wish.grant(Grant { to: Grantee::Public, on, privileges: select, grantable: false });
        let planned = plan(&server, &wish);
        let applied = apply(&server, &wish);
        assert_eq!(applied.done, planned.steps, "one plan is enough");
        assert!(applied.is_complete());
    });
}

/// A template that the session may not enter is no obstacle.
#[test]
fn a_template_that_is_closed_to_the_session() {
    let mut options = Options::new(17);
    options.hba = "local template1 all reject\nlocal all all trust\n".to_owned();
    let postgres = Postgres::start(&options);
    let server = as_superuser(&postgres);
    let mut wish = DesiredState::new();
    wish.ensure(&name("app"), None);
    let schema = Schema { owner: Some(name("app")), ..Schema::default() };
    wish.database(name("app"), Database::owned_by(&name("app")).schema(name("s"), schema));
    let planned = plan(&server, &wish);
    let applied = apply(&server, &wish);
    assert_eq!(applied.done, planned.steps);
    assert!(applied.is_complete());
}

/// A plan is serialized as the program prints it: with the SQL for its server, and a code for what is blocked.
#[test]
fn a_plan_is_serialized_for_machines() {
    let postgres = Postgres::start(&Options::new(17));
    postgres.session().query("CREATE ROLE old").expect("a role");
    let mut wish = DesiredState::new();
    wish.role(name("app"), Role::new().login(true));
    wish.role(name("old"), Role::absent());
    let schema = Schema { owner: Some(name("app")), ..Schema::default() };
    wish.database(name("postgres"), Database::new().schema(name("s"), schema));
    let planned = plan(&as_superuser(&postgres), &wish);
    let shown = serde_json::json!(planned);
    assert_eq!(shown["server"], planned.version.to_string());
    assert_eq!(shown["digest"], planned.digest.to_string());
    let step = |at: usize| &shown["steps"][at];
    assert_eq!(shown["steps"].as_array().map(Vec::len), Some(planned.steps.len()));
    assert_eq!(step(0)["sql"], "CREATE ROLE \"app\" LOGIN");
    assert_eq!(step(0)["reason"], planned.steps[0].reason);
    assert_eq!((&step(0)["risk"], &step(0)["database"]), (&"adds".into(), &serde_json::Value::Null));
    assert_eq!(step(1)["database"], "postgres");
    assert_eq!(
        shown["blocked"],
        serde_json::json!([{"code": "destructive", "what": "DROP ROLE \"old\"",
            "why": "destructive: allow it with --destroy role=old"}])
    );
}

/// A run of a saved plan that is interrupted by the server goes on with the same plan; and what the plan calls blocked
/// is part of what was agreed.
#[test]
fn a_saved_plan_goes_on_after_an_interruption() {
    struct RestartingObserver<'p>(&'p Postgres, bool);
    impl Observer for RestartingObserver<'_> {
        fn event(&mut self, event: &Event<'_>) {
            // The roles are there, and the database is not.
            if matches!(event, Event::Committed) && !std::mem::replace(&mut self.1, true) {
                self.0.kill();
                self.0.restart();
            }
        }
    }
    let postgres = Postgres::start(&Options::new(18));
    let server = as_superuser(&postgres);
    let mut wish = DesiredState::new();
    wish.ensure(&name("app"), Some(Password::secret("x")));
    let planned = plan(&server, &wish);
    let options = ApplyOptions::default().expected(planned.digest).pipeline(1);
    let mut observer = RestartingObserver(&postgres, false);
    let outcome = run(server.apply(&wish, &options, &mut observer));
    let outcome = outcome.unwrap_or_else(|why| panic!("{why}: {:?}", std::error::Error::source(&why)));
    assert!(observer.1 && matches!(outcome, Outcome::Applied(applied) if applied.is_complete()));
    assert!(plan(&server, &wish).is_empty());
    // The steps are the same, and something else is blocked.
    wish.role(name("other"), Role::new());
    wish.setting(Some(name("other")), None, setting("app.x"), Some(text("1")));
    wish.external(name("stranger"));
    wish.membership(name("stranger"), name("other"), Membership::default());
    postgres.session().query("CREATE ROLE other").expect("a role");
    let blocked = plan(&server, &wish);
    assert_eq!((blocked.steps.len(), blocked.blocked.len()), (1, 1), "{:?}", blocked.blocked);
    postgres.session().query("CREATE ROLE stranger").expect("a role");
    let moved = apply_with(&server, &wish, &ApplyOptions::default().expected(blocked.digest));
    assert!(matches!(moved, Err(Error::Moved { .. })), "{moved:?}");
}

/// A saved plan is compared again after an attempt that was interrupted before it had an effect.
#[test]
fn a_saved_plan_is_compared_until_it_has_an_effect() {
    struct InterveningObserver<'p>(&'p Postgres, u32);
    impl Observer for InterveningObserver<'_> {
        fn event(&mut self, event: &Event<'_>) {
            // The plan was agreed, and nothing of it was sent.
            if matches!(event, Event::Planned { .. }) {
                self.1 += 1;
                self.0.kill();
                self.0.restart();
                // A session has a runtime of its own.
                let postgres = self.0;
                let intervene = || postgres.session().query("CREATE ROLE app SUPERUSER").expect("a role");
                std::thread::scope(|scope| scope.spawn(intervene).join().expect("it intervenes"));
            }
        }
    }
    let postgres = Postgres::start(&Options::new(17));
    let server = as_superuser(&postgres);
    let mut wish = DesiredState::new();
    wish.ensure(&name("app"), None);
    let planned = plan(&server, &wish);
    let mut observer = InterveningObserver(&postgres, 0);
    let outcome = run(server.apply(&wish, &ApplyOptions::default().expected(planned.digest), &mut observer));
    assert!(matches!(outcome, Err(Error::Moved { .. })), "{outcome:?}");
    assert_eq!(observer.1, 1);
    let databases = postgres.session().query("SELECT FROM pg_database WHERE datname = 'app'").expect("rows");
    assert!(databases.is_empty(), "nothing was done");
}

/// Parameters whose names are longer than an identifier, or not ASCII, are settings like others.
#[test]
fn settings_with_long_names() {
    on_each(|postgres| {
        let part = "x".repeat(63);
        let session = postgres.session();
        session.query("CREATE ROLE by_hand").expect("a role");
        session.query(&format!("ALTER ROLE by_hand SET \"{part}\".\"{part}\" TO '1'")).expect("a setting");
        session.query("ALTER DATABASE postgres SET \"app\".\"größe\" TO '1'").expect("a setting");
        let server = as_superuser(postgres);
        let mut wish = DesiredState::new();
        wish.role(name("r"), Role::new());
        let long = setting(&format!("{part}.{part}"));
        wish.setting(Some(name("r")), None, long.clone(), Some(text("2")));
        wish.setting(Some(name("by_hand")), None, long, None).external(name("by_hand"));
        wish.setting(None, Some(name("postgres")), setting("app.größe"), Some(text("3")));
        assert_eq!(apply(&server, &wish).done.len(), 4);
        assert!(plan(&server, &wish).is_empty());
        crate::common::import_is_a_no_op(&server);
    });
}

/// A restored server is waited for until its recovery has ended; it is no standby.
#[test]
fn archive_recovery_is_waited_for() {
    struct RecordingObserver(bool);
    impl Observer for RecordingObserver {
        fn event(&mut self, event: &Event<'_>) {
            self.0 |= matches!(event, Event::Recovering);
        }
    }
    let mut options = Options::new(18);
    options.hba.push_str("local replication all trust\n");
    let origin = Postgres::start(&options);
    // Each file that the archive is asked for takes its time, and is not there.
    let restored = Postgres::restored_from(&origin, "sleep 2; false");
    let mut wish = DesiredState::new();
    wish.ensure(&name("app"), None);
    let hurried = as_superuser(&restored)
        .timeouts(Timeouts { connect: Duration::from_millis(300), ..Timeouts::default() });
    let early = run(hurried.apply(&wish, &ApplyOptions::default(), &mut NoopObserver));
    assert!(matches!(early, Err(Error::Recovering(_))), "{early:?}");
    let mut heard = RecordingObserver(false);
    let outcome =
        run(as_superuser(&restored).apply(&wish, &ApplyOptions::default(), &mut heard)).expect("it runs");
    let Outcome::Applied(applied) = outcome else { panic!("{outcome:?}") };
    assert!(heard.0 && applied.is_complete() && applied.done.len() == 2);
}

/// One time limit holds for all attempts together.
#[test]
fn a_server_that_is_not_there_takes_the_time_limit_once() {
    let mut nowhere = Config::new();
    nowhere.host("127.0.0.1").port(testkit::free_port()).user("x");
    let server = Server::new(nowhere, NoTls)
        .timeouts(Timeouts { connect: Duration::from_secs(1), ..Timeouts::default() });
    let mut wish = DesiredState::new();
    wish.ensure(&name("app"), None);
    let began = Instant::now();
    let why =
        run(server.apply(&wish, &ApplyOptions::default(), &mut NoopObserver)).expect_err("nobody is there");
    assert!(why.is_unreachable() && why.to_string().contains("127.0.0.1:"), "{why}");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

/// A session that cannot read passwords, over a connection that asks for none: set once, and again when the secret
/// changes.
#[test]
fn a_password_that_cannot_be_seen_is_set_once() {
    let postgres = Postgres::start(&Options::new(17));
    postgres.session().query("CREATE ROLE admin LOGIN CREATEROLE CREATEDB").expect("a role");
    let server = || Server::new(config(&postgres, "admin", "postgres"), NoTls);
    let wish = |secret: &str| {
        let mut wish = DesiredState::new();
        wish.role(name("app"), Role::new().login(true).password(Password::secret(secret)));
        wish
    };
    let first = apply(&server(), &wish("one"));
    let known = |applied: &pg_ensure::client::AppliedChanges| {
        let all = applied.passwords.iter();
        all.map(|(name, secret)| (name.clone(), Verifier::parse(secret.expose_secret()).expect("a verifier")))
            .collect()
    };
    let record: std::collections::BTreeMap<_, _> = known(&first);
    assert_eq!(record.len(), 1);
    let with = server().known_passwords(record);
    assert!(apply(&with, &wish("one")).done.is_empty());
    let changed = apply(&with, &wish("two"));
    assert!(
        matches!(&changed.done[..], [step] if matches!(step.change, Change::Role(RoleChange::SetPassword { .. })))
    );
    assert!(apply(&server().known_passwords(known(&changed)), &wish("two")).done.is_empty());
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.roll(2) == 0).then(|| value(self))
    }
}

const NAMES: [&str; 4] = ["a", "b c", "D\"e", "f'g"];

fn random_wish(dice: &mut Random) -> (DesiredState, Consent) {
    let mut wish = DesiredState::new();
    let mut destroy = Consent::none();
    for role in NAMES {
        if dice.roll(5) == 0 {
            wish.role(name(role), Role::absent());
            if dice.roll(2) == 0 {
                destroy = destroy.destroying(DestructibleObject::Role(name(role)));
            }
            continue;
        }
        let wanted = Role {
            login: dice.maybe(|dice| dice.roll(2) == 0),
            createdb: dice.maybe(|dice| dice.roll(2) == 0),
            inherit: dice.maybe(|dice| dice.roll(2) == 0),
            connection_limit: dice.maybe(|dice| i32::try_from(dice.roll(5)).expect("small")),
            comment: dice.maybe(|dice| text(&format!("comment {}", dice.roll(3)))),
            ..Role::default()
        };
        wish.role(name(role), wanted);
        if let Some(value) = dice.maybe(|dice| format!("{}MB", 1 + dice.roll(3))) {
            wish.setting(Some(name(role)), None, setting("work_mem"), Text::new(&value).ok());
        }
    }
    let present =
        |wish: &DesiredState, role: &str| wish.roles[role].presence == pg_ensure::desired::Presence::Present;
    for (role, member) in [("a", "b c"), ("b c", "f'g"), ("a", "D\"e")] {
        if present(&wish, role) && present(&wish, member) && dice.roll(2) == 0 {
            wish.membership(
                name(role),
                name(member),
                Membership { admin: dice.maybe(|dice| dice.roll(2) == 0), ..Membership::default() },
            );
        }
    }
    for database in ["x", "y z"] {
        if dice.roll(5) == 0 {
            wish.database(name(database), Database::absent());
            destroy = destroy.destroying(DestructibleObject::Database(name(database)));
            continue;
        }
        let owner = NAMES[usize::try_from(dice.roll(4)).expect("small")];
        let mut wanted =
            if present(&wish, owner) { Database::owned_by(&name(owner)) } else { Database::new() };
        if dice.roll(2) == 0 {
            wanted = wanted.schema(
                name("s"),
                Schema { owner: present(&wish, "a").then(|| name("a")), ..Schema::default() },
            );
        }
        if dice.roll(3) == 0 {
            wanted = wanted.extension(name("hstore"), Extension::default());
        }
        wanted.reassign_owned = dice.roll(2) == 0;
        wanted.initial_sql = dice
            .maybe(|dice| text(&format!("CREATE TABLE made (k int);\n\tSELECT {} -- the end", dice.roll(9))));
        if let Some(trigger) = dice.maybe(random_event_trigger) {
            wanted.inside.event_triggers.insert(name("e"), trigger);
        }
        wish.database(name(database), wanted);
        if present(&wish, "b c") && dice.roll(2) == 0 {
            let on = GrantTarget::One(Object::Database(name(database)));
            let connect = PrivilegeSet::Only(Privilege::Connect.into());
            wish.grant(Grant { to: Grantee::Role(name("b c")), on, privileges: connect, grantable: false });
        }
    }
    (wish, destroy)
}

/// An event trigger of a function that `template1` has.
fn random_event_trigger(dice: &mut Random) -> EventTrigger {
    let mut wanted = EventTrigger::default();
    wanted.event =
        Some([DatabaseEvent::DdlCommandEnd, DatabaseEvent::SqlDrop][usize::from(dice.roll(2) == 0)]);
    wanted.function = Some((name("public"), name("on_event")));
    wanted.enabled = dice.maybe(|dice| {
        [Firing::Origin, Firing::Replica, Firing::Always, Firing::Disabled]
            [usize::try_from(dice.roll(4)).expect("small")]
    });
    wanted.comment = dice.maybe(|dice| text(&format!("event {}", dice.roll(2))));
    wanted
}

const DRIFT: [&str; 7] = [
    "ALTER ROLE a CONNECTION LIMIT 9 CREATEROLE",
    "COMMENT ON ROLE \"b c\" IS 'by hand'",
    "ALTER ROLE \"f'g\" SET work_mem TO '9MB'",
    "GRANT \"D\"\"e\" TO a",
    "ALTER DATABASE x OWNER TO postgres",
    "GRANT CONNECT ON DATABASE \"y z\" TO a",
    "CREATE ROLE by_hand; ALTER DATABASE x CONNECTION LIMIT 5",
];

/// The statements that change something in a log. The further lines of a statement begin with a tab there.
fn statements(log: &str) -> Vec<String> {
    let words = [
        "ALTER",
        "COMMENT",
        "CREATE",
        "DROP",
        "GRANT",
        "REASSIGN",
        "REVOKE",
        "SET LOCAL search_path TO DEFAULT",
    ];
    let mut found: Vec<String> = Vec::new();
    let mut open = false;
    for line in log.lines() {
        match (line.split_once("LOG:  statement: "), line.strip_prefix('\t'), found.last_mut()) {
            (Some((_, sql)), ..) => {
                found.push(sql.to_owned());
                open = true;
            }
            (None, Some(further), Some(last)) if open => *last = format!("{last}\n{further}"),
            _ => open = false,
        }
    }
    for sql in &mut found {
        // As another role where only that one can.
        if let Some((_, rest)) = sql.strip_prefix("SET LOCAL ROLE ").and_then(|rest| rest.split_once("; ")) {
            *sql = rest.strip_suffix("; RESET ROLE").unwrap_or(rest).to_owned();
        }
    }
    found
        .retain(|sql| words.iter().any(|word| sql.starts_with(word)) && !sql.contains("pg_ensure_verifiers"));
    found
}

fn planned_statements(plan: &Plan) -> Vec<String> {
    let shown =
        plan.steps.iter().filter(|step| !matches!(step.change, Change::Role(RoleChange::SetPassword { .. })));
    shown.map(|step| step.change.sql(plan.version)).collect()
}

/// For random manifests and random drift, what the plan shows is what the server's log shows, statement by statement,
/// and the second plan has no steps.
#[test]
fn the_log_of_the_server_shows_the_plan() {
    on_each(|postgres| {
        postgres.session().query("ALTER SYSTEM SET log_statement = 'all'").expect("a setting");
        postgres.reload(&postgres.session());
        postgres
            .session_in("template1")
            .query("CREATE FUNCTION on_event() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
            .expect("a function");
        let server = as_superuser(postgres);
        let mut seldom = ["EVENT TRIGGER", "REASSIGN OWNED", "CREATE TABLE made"].map(|word| (word, 0));
        let mut dice = Random(u64::from(postgres.major()));
        let mut compared = 0;
        for round in 0..25 {
            let (wish, consent) = random_wish(&mut dice);
            let drift = DRIFT[usize::try_from(dice.roll(7)).expect("small")];
            // Not everything that it names exists.
            let _ = postgres.session().query(drift);
            // Each database has a table of its owner, who so leaves something behind.
            let owners = "SELECT datname, quote_ident(pg_get_userbyid(datdba)) FROM pg_database WHERE datname IN ('x', 'y z')";
            for row in postgres.session().query(owners).expect("databases") {
                let [database, owner] = &row[..] else { panic!("{row:?}") };
                let sql = "CREATE TABLE IF NOT EXISTS of_owner (); ALTER TABLE of_owner OWNER TO";
                let session = postgres.session_in(database.as_deref().expect("a name"));
                session.query(&format!("{sql} {}", owner.as_deref().expect("a name"))).expect("a table");
            }
            let planned = run(server.plan(&wish, &consent)).expect("a plan");
            let before = postgres.log().len();
            let options = ApplyOptions::default().consent(consent.clone());
            let applied = apply_with(&server, &wish, &options);
            let applied = applied.unwrap_or_else(|why| {
                panic!("{round}: {why}: {:?}\n{}", std::error::Error::source(&why), planned.script())
            });
            let logged = statements(&postgres.log()[before..]);
            assert_eq!(logged, planned_statements(&planned), "round {round} on {}", postgres.major());
            compared += logged.len();
            for (word, count) in &mut seldom {
                *count += logged.iter().filter(|sql| sql.contains(*word)).count();
            }
            assert_eq!(applied.left.steps, []);
            let again = run(server.plan(&wish, &consent)).expect("a plan");
            // Nothing is left but what the plan had called blocked and a step made possible.
            let held = |what: &String| {
                let mut held = applied.left.blocked.iter().filter(|held| held.why == Obstacle::Unplanned);
                held.any(|held| held.what == *what)
            };
            assert!(planned_statements(&again).iter().all(held), "round {round}: {}", again.script());
        }
        assert!(compared > 100, "{compared}");
        assert!(seldom.iter().all(|(_, count)| *count > 0), "{seldom:?}");
    });
}
