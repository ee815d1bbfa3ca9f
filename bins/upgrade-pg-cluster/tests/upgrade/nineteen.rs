//! Upgrades to PostgreSQL 19: the plan names everything that it refuses, and the rest is carried over.

use crate::lab::{ClusterOptions, Lab, feed};
use serde_json::Value;
use std::fs;

/// The code, text and fix of each finding of a severity.
fn findings(plan: &Value, severity: &str) -> Vec<[String; 3]> {
    let all = plan["findings"].as_array().expect("a list").iter();
    all.filter(|finding| finding["severity"] == severity)
        .map(|finding| {
            ["code", "what", "fix"].map(|key| finding[key].as_str().unwrap_or_default().to_owned())
        })
        .collect()
}

#[test]
fn what_19_refuses_is_found_before_the_outage() {
    let mut made = ClusterOptions::new("18-icu", "19");
    made.settings = "io_workers = 5\nmax_locks_per_transaction = 100\nescape_string_warning = off\n";
    let lab = Lab::new(&made);
    let hba = lab.old().join("pg_hba.conf");
    let rules = fs::read_to_string(&hba).expect("initdb made it");
    fs::write(&hba, format!("{rules}host all all 10.0.0.0/8 radius radiusservers=::1 radiussecrets=s\n"))
        .expect("it can be written");
    lab.start_old();
    feed(
        &lab,
        "postgres",
        "CREATE DATABASE app; CREATE DATABASE mule TEMPLATE template0 ENCODING 'MULE_INTERNAL' LOCALE 'C';
         SET password_encryption = md5; CREATE ROLE hashed PASSWORD 'x'; CREATE ROLE \"two\nlines\";
         CREATE ROLE legacy; ALTER ROLE legacy SET standard_conforming_strings = off;
         ALTER DATABASE app SET escape_string_warning = off;",
    );
    feed(
        &lab,
        "app",
        "CREATE EXTENSION btree_gist; CREATE TABLE net (a inet, n int);
         CREATE INDEX by_address ON net USING gist (a gist_inet_ops); CREATE INDEX by_n ON net USING gist (n);",
    );
    let plan = lab.run(&["plan", "--json", "--stop"]).expect(3).json();
    let mut found = findings(&plan, "blocker");
    found.sort_unstable();
    let codes: Vec<&str> = found.iter().map(|[code, ..]| code.as_str()).collect();
    let expected = ["btree-gist", "encoding", "hba", "names", "stored-setting", "stored-setting"];
    assert_eq!(codes, expected, "{found:?}");
    let warned = findings(&plan, "warning");
    assert!(warned.iter().any(|[code, what, _]| code == "md5" && what.contains("hashed")), "{warned:?}");
    assert!(found[0][1].contains("by_address") && !found[0][1].contains("by_n"), "{found:?}");

    fs::write(&hba, rules).expect("it can be written");
    feed(&lab, "app", "DROP INDEX by_address");
    feed(&lab, "postgres", "DROP DATABASE mule; ALTER ROLE \"two\nlines\" RENAME TO one_line;");
    for [.., fix] in &found[4..] {
        feed(&lab, "postgres", fix.split(';').next().unwrap_or_default());
    }
    let report = lab.run(&["run", "--stop", "--json"]).expect(0).json();
    assert_eq!(report["outcome"], "done");
    for (setting, value) in [("io_max_workers", "5"), ("max_locks_per_transaction", "200")] {
        assert_eq!(lab.ask("postgres", &format!("SHOW {setting}")), value, "{setting}");
    }
}
