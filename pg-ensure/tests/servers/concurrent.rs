//! Several runs at once, of one wish and of two.

use crate::common::{as_superuser, name, on_each, plan};
use pg_ensure::client::{ApplyOptions, NoopObserver, Outcome};
use pg_ensure::desired::{Database, Membership, Schema};
use pg_ensure::{DesiredState, Password, Role};

fn wish(extra: &str) -> DesiredState {
    let mut wish = DesiredState::new();
    for app in ["a", "b", "c", extra] {
        wish.ensure(&name(app), Some(Password::secret(app)));
        wish.role(name("team"), Role::new());
        wish.membership(name("team"), name(app), Membership::default());
    }
    let schema = Schema { owner: Some(name("a")), ..Schema::default() };
    wish.database(name("a"), Database::owned_by(&name("a")).schema(name("s"), schema));
    wish
}

#[test]
fn eight_runs_at_once_converge_without_error() {
    on_each(|postgres| {
        let runs = (0..8).map(|number| {
            let server = as_superuser(postgres);
            // Two programs that want different things of the same server.
            let wish = wish(if number % 2 == 0 { "even" } else { "odd" });
            std::thread::spawn(move || {
                let outcome =
                    crate::common::run(server.apply(&wish, &ApplyOptions::default(), &mut NoopObserver));
                match outcome {
                    Ok(Outcome::Applied(applied)) => {
                        assert!(applied.left.is_empty());
                        applied.done.len()
                    }
                    other => panic!("{other:?}"),
                }
            })
        });
        let runs: Vec<_> = runs.collect();
        let done: Vec<usize> = runs.into_iter().map(|run| run.join().expect("no error")).collect();
        assert!(plan(&as_superuser(postgres), &wish("even")).is_empty());
        assert!(plan(&as_superuser(postgres), &wish("odd")).is_empty());
        assert!(done.iter().filter(|steps| **steps == 0).count() >= 6, "each thing is done once: {done:?}");
    });
}

/// Somebody who takes no lock changes the same rows all the time.
#[test]
fn others_without_the_lock_are_outlasted() {
    on_each(|postgres| {
        let session = postgres.session();
        session.query("CREATE ROLE a; CREATE ROLE team").expect("roles");
        session.query("CREATE DATABASE a").expect("a database");
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let others: Vec<_> = (0..2)
            .map(|number| {
                let (session, stop) = (postgres.session(), std::sync::Arc::clone(&stop));
                std::thread::spawn(move || {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        let _ = session.query(&format!("ALTER ROLE a CONNECTION LIMIT {number}"));
                        let _ = session.query("GRANT CONNECT ON DATABASE a TO team");
                        std::thread::sleep(std::time::Duration::from_millis(3));
                    }
                })
            })
            .collect();
        let mut wish = wish("d");
        for round in 0..4 {
            let role = wish.roles.get_mut("a").expect("there");
            role.comment = pg_ensure::Text::new(&round.to_string()).ok();
            let outcome = crate::common::apply(&as_superuser(postgres), &wish);
            assert!(outcome.left.is_empty());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        others.into_iter().for_each(|other| other.join().expect("it ends"));
    });
}
