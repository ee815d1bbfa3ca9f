//! A database that several machines share: one order for all, the certificate in the folder of each.

use crate::lab::Lab;
use std::time::{Duration, Instant};
use testkit::postgres::{Options, Postgres};

/// Further machines of a laboratory: the same configuration with folders of their own.
fn machine(lab: &Lab, name: &str, first: &str, more: &str) -> String {
    let text = lab.configuration(name, first, more);
    std::fs::write(lab.path(&format!("{name}.toml")), text).expect("a file");
    lab.path(&format!("{name}.toml")).display().to_string()
}

#[test]
fn two_machines_share_one_order_and_both_serve_what_it_brought() {
    let lab = Lab::start();
    let postgres = Postgres::start(&Options::new(18));
    lab.secret(
        "database",
        &format!("host={} port={} user=postgres\n", postgres.socket_folder().display(), postgres.port()),
    );
    let first = format!("database = \"file:{}/database\"\n", lab.folder.path().display());
    let mark = |name: &str| lab.path(&format!("{name}-told"));
    let more = |name: &str| format!("post_run = \"echo told >> {}\"\n", mark(name).display());
    let one = machine(&lab, "one", &first, &more("one"));
    let other = machine(&lab, "other", &first, &more("other"));
    let mut one_runs = lab.spawn(&["--config", &one, "run"]);
    let other_runs = lab.spawn(&["--config", &other, "run"]);
    let chain =
        |name: &str| std::fs::read_to_string(lab.path(name).join("site/fullchain.pem")).unwrap_or_default();
    let key = |name: &str| std::fs::read_to_string(lab.path(name).join("site/key.pem")).unwrap_or_default();
    let issued = |name: &str| chain(name).matches("BEGIN CERTIFICATE").count() > 1;
    let wait = |what: &str, holds: &dyn Fn() -> bool| {
        let until = Instant::now() + Duration::from_secs(180);
        while !holds() {
            assert!(Instant::now() < until, "{what}: {}", lab.pebble.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    wait("both have it", &|| issued("one") && issued("other"));
    assert_eq!((chain("one"), key("one")), (chain("other"), key("other")));
    wait("both were told", &|| mark("one").exists() && mark("other").exists());
    assert_eq!(lab.pebble.logged("There are now 1 orders"), 1, "one order for both");
    assert_eq!(lab.pebble.logged("There are now 2 orders"), 0, "one order for both");
    assert_eq!(lab.pebble.logged("There are now 2 accounts"), 0, "one account for both");

    // The database goes away, without a word, and comes again; a third one renews: both hear of it.
    postgres.kill();
    assert!(issued("one") && issued("other"));
    postgres.restart();
    let before = chain("one");
    let third = machine(&lab, "third", &first, "");
    lab.run(&["--config", &third, "renew", "site"]).ends(0);
    wait("both have the new one", &|| chain("one") != before && chain("one") == chain("other"));
    assert_eq!((chain("one"), key("one")), (chain("third"), key("third")));
    assert_eq!(lab.pebble.logged("There are now 3 orders"), 0, "two orders in all");

    // A machine that starts while the database is away serves what it has.
    one_runs.signal("TERM");
    assert!(one_runs.ended().success());
    postgres.kill();
    let mut one_runs = lab.spawn(&["--config", &one, "run"]);
    one_runs.says("the pair of this machine is used for now");
    postgres.restart();
    one_runs.says("in use here");
    for mut running in [one_runs, other_runs] {
        running.signal("TERM");
        assert!(running.ended().success());
    }
}

#[test]
fn a_database_that_restarts_in_the_middle_of_an_order_makes_no_second_one() {
    let lab = Lab::start();
    let postgres = Postgres::start(&Options::new(18));
    let config =
        format!("host={} port={} user=postgres", postgres.socket_folder().display(), postgres.port());
    lab.secret("database", &config);
    let first = format!("database = \"file:{}/database\"\n", lab.folder.path().display());
    // Every name server has the record; for a while it is waited all the same.
    let text = lab.configuration("acme", &first, "").replace("settle = 0", "settle = 2");
    std::fs::write(lab.path("acme.toml"), text).expect("a file");
    let mut daemon = lab.spawn(&["run"]);
    daemon.says("site: TXT _acme-challenge.a.example.test");
    daemon.says("the CA validates");
    postgres.kill();
    postgres.restart();
    daemon.says("site: deployed");
    assert_eq!(lab.pebble.logged("There are now 1 orders"), 1);
    assert_eq!(lab.pebble.logged("There are now 2 orders"), 0, "the same order goes on");
    daemon.signal("TERM");
    assert!(daemon.ended().success());
    // A restart is nothing that a person has to hear of.
    assert!(!daemon.heard().contains("alert:"), "{}", daemon.heard());
}
