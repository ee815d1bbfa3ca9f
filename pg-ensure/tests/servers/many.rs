//! Very many roles, and the costs of a snapshot.

use crate::common::{apply, as_superuser, name, plan, run};
use pg_ensure::{DesiredState, Role};
use std::time::{Duration, Instant};
use testkit::postgres::{Options, Postgres};

/// In a debug build on a busy machine; a release creates them in a few seconds.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn ten_thousand_roles_are_created_in_seconds() {
    let postgres = Postgres::start(&Options::new(18));
    let server = as_superuser(&postgres);
    let mut wish = DesiredState::new();
    for number in 0..10_000 {
        wish.role(name(&format!("role{number}")), Role::new().login(true));
    }
    let began = Instant::now();
    let applied = apply(&server, &wish);
    let took = began.elapsed();
    assert_eq!(applied.done.len(), 10_000);
    println!("10,000 roles in {took:?}");
    assert!(took < LIMIT, "{took:?}");
    let began = Instant::now();
    assert!(plan(&server, &wish).is_empty());
    println!("nothing to do in {:?}", began.elapsed());
}

/// A server that compiles every query, and whose log shows which: none of a snapshot is compiled.
#[test]
fn a_snapshot_does_not_start_the_compiler_of_the_server() {
    let mut options = Options::new(15);
    options.settings = "jit = on\njit_above_cost = 0\nsession_preload_libraries = auto_explain\n\
        auto_explain.log_min_duration = 0\nauto_explain.log_analyze = on\n"
        .to_owned();
    let postgres = Postgres::start(&options);
    postgres.session().query("SELECT count(*) FROM pg_class").expect("a count");
    assert!(postgres.log().contains("JIT:"), "the server compiles: {}", postgres.log());
    let server = as_superuser(&postgres);
    let mut wish = DesiredState::new();
    wish.ensure(&name("app"), None);
    apply(&server, &wish);
    assert!(plan(&server, &wish).is_empty());
    run(server.inspect_all()).expect("a state");
    let log = postgres.log();
    let snapshots: Vec<&str> =
        log.split("Query Text:").filter(|query| query.contains("json_build_object")).collect();
    assert!(snapshots.len() >= 3, "{log}");
    let compiled = snapshots.iter().filter(|query| query.contains("JIT:"));
    assert_eq!(compiled.collect::<Vec<_>>(), Vec::<&&str>::new());
}
