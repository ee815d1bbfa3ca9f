//! Very many roles.

use crate::common::{apply, as_superuser, name, plan};
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
