//! Standbys are left alone; of several hosts the primary is followed; after a promotion all is made true.

use crate::common::{as_superuser, name, plan, run, text};
use pg_ensure::client::{ApplyOptions, NoopObserver, Outcome, Server, Timeouts};
use pg_ensure::{DesiredState, Password};
use std::time::Duration;
use testkit::postgres::{Options, Postgres};
use tokio_postgres::{Config, NoTls};

fn apply(server: &Server<NoTls>, wish: &DesiredState) -> Outcome {
    run(server.apply(wish, &ApplyOptions::default(), &mut NoopObserver)).expect("it runs")
}

#[test]
fn a_standby_is_left_alone_and_after_promotion_it_converges() {
    let mut options = Options::new(17);
    options.hba.push_str("local replication all trust\n");
    let primary = Postgres::start(&options);
    let standby = Postgres::standby_of(&primary);
    let mut wish = DesiredState::new();
    wish.ensure(&name("app"), Some(Password::secret("x")));
    assert!(matches!(apply(&as_superuser(&standby), &wish), Outcome::Standby));
    // Both are named, the standby first: the primary is found.
    let mut both = Config::new();
    both.host_path(standby.socket_folder()).host_path(primary.socket_folder());
    both.port(standby.port()).port(primary.port()).user("postgres");
    let both = Server::new(both, NoTls)
        .timeouts(Timeouts { connect: Duration::from_secs(60), ..Timeouts::default() });
    assert!(matches!(apply(&both, &wish), Outcome::Applied(_)));
    assert!(plan(&as_superuser(&primary), &wish).is_empty());
    // The primary dies; the other is promoted while a run is waiting for one that takes writes.
    primary.kill();
    wish.roles.get_mut("app").expect("there").comment = Some(text("after"));
    let waiting = wish.clone();
    let run = std::thread::spawn(move || apply(&both, &waiting));
    std::thread::sleep(Duration::from_millis(300));
    standby.promote();
    assert!(matches!(run.join().expect("it ends"), Outcome::Applied(_)));
    assert!(plan(&as_superuser(&standby), &wish).is_empty());
}

#[test]
fn a_server_that_is_not_there_yet_is_waited_for() {
    let postgres = Postgres::start(&Options::new(18));
    postgres.kill();
    let server = as_superuser(&postgres);
    let hurried =
        server.clone().timeouts(Timeouts { connect: Duration::from_millis(200), ..Timeouts::default() });
    assert!(run(hurried.wait()).is_err());
    let waiting = std::thread::spawn(move || run(server.wait()));
    std::thread::sleep(Duration::from_millis(300));
    postgres.restart();
    waiting.join().expect("it ends").expect("it answers");
}
