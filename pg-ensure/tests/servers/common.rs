//! What the tests on real servers share.

use pg_ensure::client::{AppliedChanges, ApplyOptions, Error, NoopObserver, Outcome, Server, Timeouts};
use pg_ensure::current::StoredPassword;
use pg_ensure::{Consent, DesiredState, Name, Plan, Text, import};
use std::future::Future;
use std::time::Duration;
pub(crate) use testkit::postgres::MAJORS;
use testkit::postgres::{Options, Postgres};
use tokio_postgres::{Config, NoTls};

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect(text)
}

pub(crate) fn text(text: &str) -> Text {
    Text::new(text).expect(text)
}

pub(crate) fn run<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(work)
}

pub(crate) fn config(server: &Postgres, user: &str, database: &str) -> Config {
    let mut config = Config::new();
    config.host_path(server.socket_folder()).port(server.port()).user(user).dbname(database);
    config
}

pub(crate) fn server(server: &Postgres, user: &str) -> Server<NoTls> {
    Server::new(config(server, user, "postgres"), NoTls)
        .timeouts(Timeouts { connect: Duration::from_secs(60), lock: Duration::from_secs(120) })
}

pub(crate) fn as_superuser(postgres: &Postgres) -> Server<NoTls> {
    server(postgres, "postgres")
}

/// A test on each version.
pub(crate) fn on_each(test: impl Fn(&Postgres)) {
    for major in MAJORS {
        test(&Postgres::start(&Options::new(major)));
    }
}

pub(crate) fn apply(server: &Server<NoTls>, desired: &DesiredState) -> AppliedChanges {
    apply_with(server, desired, &ApplyOptions::default()).expect("it applies")
}

pub(crate) fn apply_with(
    server: &Server<NoTls>,
    desired: &DesiredState,
    options: &ApplyOptions,
) -> Result<AppliedChanges, Error> {
    match run(server.apply(desired, options, &mut NoopObserver))? {
        Outcome::Applied(applied) => Ok(applied),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn plan(server: &Server<NoTls>, desired: &DesiredState) -> Plan {
    run(server.plan(desired, &Consent::none())).expect("a plan")
}

/// Applies, and holds what is then there against what the model says would be; applying again does nothing.
pub(crate) fn converge(server: &Server<NoTls>, desired: &DesiredState, consent: &Consent) -> AppliedChanges {
    let before = run(server.inspect(desired)).expect("a state");
    let plan = pg_ensure::diff(&before, desired, consent);
    let mut predicted = before;
    for step in &plan.steps {
        let change = &step.change;
        pg_ensure::model::change(&mut predicted, change).unwrap_or_else(|why| panic!("{change:?}: {why}"));
    }
    let applied = apply_with(server, desired, &ApplyOptions::default().consent(consent.clone()));
    let applied = applied
        .unwrap_or_else(|why| panic!("{why}: {:?}\n{}", std::error::Error::source(&why), plan.script()));
    assert!(applied.left.steps.is_empty());
    assert_eq!(applied.done.len(), plan.steps.len(), "one round is enough:\n{}", plan.script());
    let found = run(server.inspect(desired)).expect("a state");
    same(predicted, found);
    applied
}

/// What a model cannot know is taken away from both.
fn same(mut one: pg_ensure::CurrentState, mut other: pg_ensure::CurrentState) {
    for state in [&mut one, &mut other] {
        for database in state.databases.values_mut() {
            if let Some(contents) = &mut database.contents {
                contents.occupied.clear();
                contents.unpublishable.clear();
                // Extensions bring objects of their own.
                contents.objects.retain(|local, _| local.schema().is_none());
                contents.other_owners.retain(|(_, schema)| schema.is_none());
            }
        }
        for role in state.roles.values_mut() {
            if let StoredPassword::Scram(verifier) = &role.password {
                role.password = StoredPassword::Right(Some(verifier.iterations()));
            }
        }
        state.dependencies.clear();
    }
    for (name, role) in &mut one.roles {
        // A session that cannot see passwords does not see that there is none.
        if let Some(found) = other.roles.get(name).filter(|found| found.password == StoredPassword::Unknown) {
            role.password = found.password.clone();
        }
    }
    assert_eq!(one.roles, other.roles);
    assert_eq!(one.memberships, other.memberships);
    assert_eq!(one.settings, other.settings);
    for (name, database) in &one.databases {
        let found = other.databases.get_mut(name).unwrap_or_else(|| panic!("no database {name}"));
        if database.contents.is_none() || found.contents.is_none() {
            found.contents.clone_from(&database.contents);
        }
        assert_eq!(database, found, "{name}");
    }
    assert_eq!(one.tablespaces, other.tablespaces);
    assert_eq!(one.parameters, other.parameters);
    assert_eq!(one.databases.len(), other.databases.len());
}

/// The state imported, applied: nothing is to be done.
pub(crate) fn import_is_a_no_op(server: &Server<NoTls>) {
    let current = run(server.inspect_all()).expect("a state");
    let desired = import(&current);
    assert_eq!(desired.validate(), []);
    let plan = plan(server, &desired);
    assert!(plan.is_empty(), "{}{:?}", plan.script(), plan.blocked);
}
