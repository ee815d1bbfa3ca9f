//! Real upgrades: versions, modes, checksums, locales, names, tablespaces, segments; each compared by pg_dump.

use crate::lab::{ClusterOptions, Lab, LoopMount, feed, fill, same};
use std::fs;

/// One upgrade of a stopped cluster, with everything that is asked of every one of them.
fn upgraded(
    made: &ClusterOptions<'_>,
    mode: &str,
    more: &str,
    tablespace: bool,
    base: Option<&std::path::Path>,
) -> Lab {
    let lab = base.map_or_else(|| Lab::new(made), |base| Lab::within(made, base));
    lab.start_old();
    fill(&lab);
    if tablespace {
        let place = lab.socket_folder().join("space");
        fs::create_dir(&place).expect("a folder");
        crate::lab::own(&place);
        feed(
            &lab,
            "postgres",
            &format!(
                "CREATE TABLESPACE space LOCATION '{}';\n\\connect app\nCREATE TABLE there (a) TABLESPACE space AS SELECT \
                 generate_series(1, 500);",
                place.display()
            ),
        );
    }
    if !more.is_empty() {
        feed(&lab, "app", more);
    }
    let before = lab.dump();
    lab.stop_old();
    let ended = lab.run(&["--json", "--mode", mode]).expect(0);
    let record = ended.json();
    assert_eq!(record["outcome"], "done");
    assert_eq!(record["choices"]["mode"], mode);
    let after = lab.dump();
    same(&before, &after);
    let checksums = lab.ask("postgres", "SHOW data_checksums");
    assert_eq!(checksums, if made.checksums { "on" } else { "off" });
    assert!(lab.old().exists(), "the old folder is never removed");
    lab
}

fn made<'m>(from: &'m str, to: &'m str, checksums: bool) -> ClusterOptions<'m> {
    ClusterOptions { checksums, ..ClusterOptions::new(from, to) }
}

#[test]
fn copy_without_checksums_small_segments_other_superuser() {
    let mut made = made("15", "17", false);
    made.initdb.push("--wal-segsize=1");
    made.superuser = "the boss";
    let lab = upgraded(&made, "copy", "", false, None);
    assert_eq!(lab.ask("postgres", "SHOW wal_segment_size"), "1MB");
    assert_eq!(lab.ask("postgres", "SELECT rolname FROM pg_roles WHERE oid = 10"), "the boss");
    assert!(lab.ask("postgres", "SHOW server_version").starts_with("17."));
}

#[test]
fn copy_with_checksums_and_a_tablespace() {
    let lab = upgraded(&made("15", "18", true), "copy", "", true, None);
    assert_eq!(lab.ask("app", "SELECT count(*) FROM there"), "500");
    // Both clusters have a folder of their own in the tablespace.
    let names = fs::read_dir(lab.socket_folder().join("space")).expect("it is there").count();
    assert_eq!(names, 2);
}

#[test]
fn copy_file_range_without_checksums_large_segments() {
    let mut made = made("17", "18", false);
    made.initdb.push("--wal-segsize=64");
    let lab = upgraded(&made, "copy-file-range", "", false, None);
    assert_eq!(lab.ask("postgres", "SHOW wal_segment_size"), "64MB");
}

#[test]
fn copy_file_range_with_checksums_and_the_builtin_locale() {
    let mut made = made("17", "18", true);
    made.initdb =
        vec!["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"];
    let lab = upgraded(&made, "copy-file-range", "", false, None);
    let locale = lab.ask("app", "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'app'");
    assert_eq!(locale, "b|C.UTF-8");
}

#[test]
fn clone_with_and_without_checksums() {
    if !testkit::needs_root("upgrade-pg-cluster: clone_with_and_without_checksums") {
        return;
    }
    for (from, checksums) in [("15", true), ("17", false)] {
        let mounted = LoopMount::reflinks();
        let lab = upgraded(&made(from, "18", checksums), "clone", "", false, Some(&mounted.path));
        // It is also what is taken where nothing is asked for.
        let plan = lab.run(&["plan", "--json", "--new-data", &mounted.path.join("x").display().to_string()]);
        assert_eq!(plan.json()["mode"], "clone");
    }
}

#[test]
fn link_with_checksums_and_a_tablespace() {
    let lab = upgraded(&made("15", "17", true), "link", "", true, None);
    assert!(lab.old().join("global/pg_control.old").exists());
    // What it costs was said, and the backup was made after the last write.
    let report = fs::read_to_string(lab.work().join("report.txt")).expect("a report");
    assert!(report.contains("never be started again"), "{report}");
    let at = |step: &str| report.find(&format!("  {step}")).expect("it is in the report");
    assert!(at("quiesce ") < at("backup "), "{report}");
}

#[test]
fn link_without_checksums() {
    upgraded(&made("17", "18", false), "link", "", false, None);
}

#[test]
fn swap_with_checksums_and_a_tablespace() {
    let lab = upgraded(&made("17", "18", true), "swap", "", true, None);
    let report = fs::read_to_string(lab.work().join("report.txt")).expect("a report");
    assert!(report.contains("the old cluster is gone"), "{report}");
}

#[test]
fn swap_without_checksums() {
    upgraded(&made("15", "18", false), "swap", "", false, None);
}

#[test]
fn to_19_by_copy_with_a_tablespace() {
    let lab = upgraded(&made("18", "19", true), "copy", "", true, None);
    assert!(lab.ask("postgres", "SHOW server_version").starts_with("19"));
}

#[test]
fn to_19_by_link_without_checksums() {
    upgraded(&made("15", "19", false), "link", "", false, None);
}

/// ICU 72 to 76: what was sorted by the old one is rebuilt before anybody can connect.
#[test]
fn icu_is_reindexed_before_the_switch() {
    let mut made = made("15", "17-icu", true);
    made.initdb = vec!["--encoding=UTF8", "--locale-provider=icu", "--icu-locale=de-DE", "--locale=C"];
    let more = "CREATE COLLATION sv (provider = icu, locale = 'sv-SE');
        CREATE TABLE words (w text PRIMARY KEY, s text COLLATE sv, n int);
        INSERT INTO words SELECT md5(i::text), md5(i::text), i FROM generate_series(1, 2000) i;
        CREATE INDEX by_s ON words (s); CREATE INDEX by_n ON words (n); CREATE INDEX by_lower ON words (lower(w));";
    let lab = upgraded(&made, "copy-file-range", more, false, None);
    let record = lab.journal();
    assert!(record["recollated"].as_array().is_some_and(|list| !list.is_empty()), "{record}");
    let steps: Vec<&str> = record["history"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|entry| entry["step"].as_str())
        .collect();
    let at = |step: &str| steps.iter().position(|other| *other == step).expect("it was taken");
    assert!(at("reindex") < at("commit"));
    // Every version that is recorded is the one that is there, and the indexes are in its order.
    assert_eq!(
        lab.ask(
            "app",
            "SELECT (SELECT datcollversion = pg_database_collation_actual_version(oid) FROM pg_database WHERE datname = 'app')
             AND (SELECT collversion = pg_collation_actual_version(oid) FROM pg_collation WHERE collname = 'sv')"
        ),
        "t"
    );
    lab.ask(
        "app",
        "CREATE EXTENSION amcheck; SELECT bt_index_check(c.oid, true) FROM pg_class c JOIN pg_index ON indexrelid = c.oid
         JOIN pg_am am ON am.oid = relam WHERE amname = 'btree' AND relnamespace = 'public'::regnamespace; DROP EXTENSION amcheck",
    );
    // Only what a collation can have put into another order: the index on numbers keeps its file.
    let moved = |index: &str| {
        lab.ask("app", &format!("SELECT pg_relation_filenode('{index}') <> '{index}'::regclass::oid"))
    };
    assert_eq!(
        (moved("by_n").as_str(), moved("by_s").as_str(), moved("words_pkey").as_str()),
        ("f", "t", "t")
    );
}

/// ICU 72 to 78; at the end and concurrently, where its owner wants it so.
#[test]
fn icu_is_reindexed_online_where_that_is_asked_for() {
    let mut made = made("15", "18-icu", false);
    made.initdb = vec!["--encoding=UTF8", "--locale-provider=icu", "--icu-locale=en", "--locale=C"];
    let lab = Lab::new(&made);
    lab.start_old();
    fill(&lab);
    let before = lab.dump();
    lab.run(&["--json", "--stop", "--reindex-online"]).expect(0);
    same(&before, &lab.dump());
    let record = lab.journal();
    let last = record["history"].as_array().and_then(|list| list.last()).expect("steps");
    assert_eq!(last["step"], "reindex");
    let stale = "SELECT count(*) FROM pg_database WHERE datallowconn AND datcollversion <> pg_database_collation_actual_version(oid)";
    assert_eq!(lab.ask("postgres", stale), "0");
}
