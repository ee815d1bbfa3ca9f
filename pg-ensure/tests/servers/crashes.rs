//! kill -9 of the program and of the server, at every step of a run: another run then makes everything true.

use crate::common::{apply, as_superuser, config, converge, name, plan, run, text};
use pg_ensure::client::{ApplyOptions, Event, Observer, Outcome};
use pg_ensure::desired::{Database, Extension, Membership, Schema};
use pg_ensure::{Consent, DesiredState, Password, Role, Setting};
use testkit::Process;
use testkit::postgres::{Options, Postgres};

fn wish() -> DesiredState {
    let mut wish = DesiredState::new();
    for app in ["one", "two"] {
        wish.ensure(&name(app), Some(Password::secret(app)));
    }
    wish.role(name("team"), Role::new().comment(text("a team")));
    wish.membership(name("team"), name("one"), Membership::default());
    let inside = Database::owned_by(&name("one"))
        .schema(name("s"), Schema { owner: Some(name("one")), ..Schema::default() })
        .extension(name("pg_trgm"), Extension::default());
    wish.database(name("one"), inside);
    wish.setting(None, Some(name("two")), Setting::new("work_mem").expect("a name"), Some(text("8MB")));
    wish
}

/// Says at every event where it is, and at one of them stays until it is killed.
struct StoppingObserver {
    at: usize,
    seen: usize,
}

impl Observer for StoppingObserver {
    fn event(&mut self, event: &Event<'_>) {
        if matches!(event, Event::Step { .. } | Event::Commit | Event::Committed | Event::Verify) {
            self.seen += 1;
            if self.seen == self.at {
                testkit::say("here");
                testkit::serve_until_parent_ends();
            }
        }
    }
}

/// The program that is killed: this test's own, with a role.
fn child() {
    let text = std::env::var("PG_ENSURE_AT").expect("where to stop");
    let mut parts = text.split(' ');
    let mut next = || parts.next().expect("a part").to_owned();
    let (folder, port, at) = (next(), next().parse().expect("a port"), next().parse().expect("a number"));
    let mut config = tokio_postgres::Config::new();
    config.host_path(folder).port(port).user("postgres").dbname("postgres");
    let server = pg_ensure::client::Server::new(config, tokio_postgres::NoTls);
    let options = ApplyOptions::default().pipeline(1);
    let outcome = run(server.apply(&wish(), &options, &mut StoppingObserver { at, seen: 0 }));
    testkit::say(if outcome.is_ok() { "done" } else { "failed" });
}

#[test]
fn the_program_is_killed_at_every_step() {
    if testkit::role().is_some() {
        return child();
    }
    let postgres = Postgres::start(&Options::new(18));
    let server = as_superuser(&postgres);
    let mut killed = 0;
    for at in 1.. {
        let place = format!("{} {} {at}", postgres.socket_folder().display(), postgres.port());
        let mut process = Process::start(
            "crashes::the_program_is_killed_at_every_step",
            "killed",
            &[("PG_ENSURE_AT", place)],
        );
        match process.hear().as_str() {
            "here" => killed += 1,
            "done" => break,
            other => panic!("{other}"),
        }
        // Dropping it kills it, as kill -9 does.
        drop(process);
        // What an ended session held is given back in a moment; the lock is waited for.
        converge_again(&server, &wish());
        clear(&postgres);
    }
    assert!(killed >= 15, "{killed} places");
}

fn converge_again(server: &pg_ensure::client::Server<tokio_postgres::NoTls>, wish: &DesiredState) {
    let applied = apply(server, wish);
    assert!(applied.left.is_empty());
    assert!(plan(server, wish).is_empty());
}

fn clear(postgres: &Postgres) {
    let session = postgres.session();
    for statement in [
        "DROP DATABASE IF EXISTS one WITH (FORCE)",
        "DROP DATABASE IF EXISTS two WITH (FORCE)",
        "DROP ROLE IF EXISTS one",
        "DROP ROLE IF EXISTS two",
        "DROP ROLE IF EXISTS team",
    ] {
        session.query(statement).unwrap_or_else(|why| panic!("{statement}: {why}"));
    }
}

/// Kills the server at one event, and starts it again by another thread.
struct CrashingObserver<'a> {
    postgres: &'a Postgres,
    at: usize,
    seen: usize,
    reached: bool,
}

impl Observer for CrashingObserver<'_> {
    fn event(&mut self, event: &Event<'_>) {
        if matches!(event, Event::Step { .. } | Event::Commit | Event::Committed | Event::Verify) {
            self.seen += 1;
            if self.seen == self.at {
                self.reached = true;
                self.postgres.kill();
                self.postgres.restart();
            }
        }
    }
}

#[test]
fn the_server_is_killed_at_every_step() {
    let postgres = Postgres::start(&Options::new(17));
    let server = as_superuser(&postgres);
    let mut crashes = 0;
    for at in 1.. {
        let mut crashing = CrashingObserver { postgres: &postgres, at, seen: 0, reached: false };
        let options = ApplyOptions::default().pipeline(1);
        // The same run goes on once the server is back.
        let outcome = run(server.apply(&wish(), &options, &mut crashing));
        outcome.unwrap_or_else(|why| panic!("event {at}: {why}: {:?}", std::error::Error::source(&why)));
        assert!(plan(&server, &wish()).is_empty());
        if !crashing.reached {
            break;
        }
        crashes += 1;
        clear(&postgres);
    }
    assert!(crashes >= 15, "{crashes} places");
    converge(&server, &wish(), &Consent::none());
}

/// The primary dies within a run, and its standby takes over: the run goes on with that.
#[test]
fn a_failover_within_a_run_is_outlasted() {
    struct FailoverObserver<'a> {
        primary: &'a Postgres,
        standby: &'a Postgres,
        at: usize,
        seen: usize,
    }
    impl Observer for FailoverObserver<'_> {
        fn event(&mut self, event: &Event<'_>) {
            if matches!(event, Event::Step { .. } | Event::Commit | Event::Committed | Event::Verify) {
                self.seen += 1;
                if self.seen == self.at {
                    self.primary.kill();
                    self.standby.promote();
                }
            }
        }
    }
    // Within the transaction of the roles, after it, and in the new database.
    for at in [2, 6, 11] {
        let mut options = Options::new(18);
        options.hba.push_str("local replication all trust\n");
        let primary = Postgres::start(&options);
        let standby = Postgres::standby_of(&primary);
        let mut both = config(&primary, "postgres", "postgres");
        both.host_path(standby.socket_folder()).port(standby.port());
        let server = pg_ensure::client::Server::new(both, tokio_postgres::NoTls);
        let mut failing = FailoverObserver { primary: &primary, standby: &standby, at, seen: 0 };
        let options = ApplyOptions::default().pipeline(1);
        let outcome = run(server.apply(&wish(), &options, &mut failing));
        let outcome =
            outcome.unwrap_or_else(|why| panic!("{at}: {why}: {:?}", std::error::Error::source(&why)));
        assert!(matches!(outcome, Outcome::Applied(applied) if applied.is_complete()), "{at}");
        assert!(failing.seen > at, "the run went on");
        assert!(plan(&as_superuser(&standby), &wish()).is_empty(), "{at}");
    }
}
