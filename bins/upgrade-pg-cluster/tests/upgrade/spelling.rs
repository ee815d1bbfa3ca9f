//! What the two servers spell differently, or the transfer leaves out, is no difference; and settings of roles and
//! databases do not hold for the sessions of the upgrade.

use crate::lab::{ClusterOptions, Lab, feed, succeed};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const CLUSTER: &str = "
CREATE ROLE late LOGIN VALID UNTIL '2027-01-01 00:00+02'; CREATE ROLE lists;
SELECT set_config('search_path', '\"$user\",public , \"A b\"', false); ALTER ROLE lists SET search_path FROM CURRENT;
ALTER DATABASE template0 OWNER TO late; ALTER DATABASE template0 CONNECTION LIMIT 5;
ALTER DATABASE template0 SET work_mem = '1MB'; ALTER TABLESPACE pg_default OWNER TO late;
CREATE DATABASE app; CREATE DATABASE bare; CREATE DATABASE arch;
\\connect bare
DROP SCHEMA public; DROP EXTENSION plpgsql;
\\connect app
CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
CREATE TABLE r (a int REFERENCES p); CREATE TABLE whole (id int, o int REFERENCES p) PARTITION BY LIST (id);
CREATE TABLE part (id int, o int REFERENCES p); ALTER TABLE whole ATTACH PARTITION part FOR VALUES IN (1);
CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER tr AFTER INSERT ON whole FOR EACH ROW EXECUTE FUNCTION t();
CREATE TABLE dup AS SELECT 1 AS x FROM generate_series(1, 2);
CREATE TABLE system_user (json_value int); INSERT INTO system_user VALUES (7);
CREATE FUNCTION f(system_user) RETURNS int LANGUAGE sql AS 'SELECT 1';
\\set ON_ERROR_STOP off
CREATE UNIQUE INDEX CONCURRENTLY broken ON dup (x);
\\set ON_ERROR_STOP on
CREATE FUNCTION inner_one(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
CREATE FUNCTION outer_one(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN inner_one($1); END';
CREATE TABLE unqualified AS SELECT generate_series(1, 100) AS i; CREATE INDEX ON unqualified (outer_one(i));
\\connect postgres
ALTER DATABASE arch SET default_transaction_read_only = on; ALTER DATABASE arch SET statement_timeout = 1;
ALTER ROLE postgres IN DATABASE arch SET lock_timeout = 1;
";

#[test]
fn what_is_only_spelled_differently_is_no_difference() {
    let mut made = ClusterOptions::new("15", "18");
    made.initdb.push("-g");
    made.settings = "timezone = 'Asia/Kolkata'\ndatestyle = 'German'\nquote_all_identifiers = on\n";
    let lab = Lab::new(&made);
    lab.start_old();
    feed(&lab, "postgres", CLUSTER);
    // Nothing is fed after this: no commit would return.
    let conf = lab.old().join("postgresql.conf");
    let text = fs::read_to_string(&conf).expect("a file");
    fs::write(&conf, format!("{text}synchronous_standby_names = 'gone'\n")).expect("written");
    succeed(Command::new("chmod").arg("640").arg(&conf));
    lab.pg_ctl(&lab.old_bin, &lab.old(), &["reload"]);
    crate::lab::until("the setting", || lab.ask("postgres", "SHOW synchronous_standby_names") == "gone");
    let plan = lab.run(&["plan", "--json", "--stop"]).expect(3);
    plan.says("synchronous-standbys");
    plan.says("broken in database");
    let args =
        ["run", "--stop", "--json", "--accept", "synchronous-standbys", "--backup-exists", "none is needed"];
    lab.run(&args).expect(0);
    assert_eq!(lab.ask("app", "SELECT json_value FROM public.\"system_user\""), "7");
    assert_eq!(lab.ask("app", "SELECT count(*) FROM pg_class WHERE relname = 'broken'"), "0");
    assert_eq!(lab.ask("arch", "SHOW default_transaction_read_only"), "on");
    assert_eq!(
        lab.ask(
            "postgres",
            "SELECT rolvaliduntil = '2027-01-01 00:00+02' FROM pg_authid WHERE rolname = 'late'"
        ),
        "t"
    );
    let report = lab.run(&["report"]).expect(0);
    report.says("bare/schema/public is there again");
    report.says("bare/extension/plpgsql is there again");
    // From 17 on the function of an index has no search path.
    report.says("statistics are not complete");
    report.says("indexes are invalid and are not transferred");
    for name in ["postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf"] {
        let mode = fs::metadata(lab.new_data().join(name)).expect(name).permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{name}");
    }
}

/// Another version of Unicode changes what `lower` returns under the builtin provider: `pg_upgrade` warns, its list is
/// kept, and the indexes on it are rebuilt. Indexes for text search are rebuilt too.
#[test]
fn indexes_that_another_unicode_affects_are_rebuilt() {
    let mut made = ClusterOptions::new("17", "18");
    made.initdb =
        vec!["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"];
    let lab = Lab::new(&made);
    lab.start_old();
    feed(
        &lab,
        "postgres",
        "CREATE DATABASE app;
         \\connect app
         CREATE EXTENSION pg_trgm; CREATE SCHEMA \"Odd s\"; CREATE TABLE \"Odd s\".t AS SELECT U&'\\A7DA' || i AS x FROM
           generate_series(1, 100) i;
         CREATE INDEX \"odd i\" ON \"Odd s\".t (lower(x)); CREATE INDEX words ON \"Odd s\".t USING gin (x gin_trgm_ops);
         ALTER TABLE \"Odd s\".t ADD CHECK (lower(x) <> '');",
    );
    let plan = lab.run(&["plan", "--json", "--stop"]).expect(0);
    plan.says("\"unicode\"");
    plan.says("\"text-search\"");
    let run = lab.run(&["run", "--stop", "--json", "--backup-exists", "none is needed"]).expect(0);
    run.says("pg_upgrade warns: Checking for objects affected by Unicode update");
    let found =
        "SET enable_seqscan = off; SELECT count(*) FROM \"Odd s\".t WHERE lower(x) = lower(U&'\\A7DA' || 7)";
    assert_eq!(lab.ask("app", found).lines().last(), Some("1"));
    let rebuilt = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relkind = 'i' AND relfilenode <> oid
                   AND relname IN ('odd i', 'words')";
    assert_eq!(lab.ask("app", rebuilt), "odd i words");
    let list =
        fs::read_to_string(lab.work().join("logs/unicode_dependent_rels.txt")).expect("the list is kept");
    assert!(list.contains("Odd s.odd i"), "{list}");
    assert!(!lab.new_data().join("pg_upgrade_output.d").exists());
    lab.run(&["report"]).expect(0).says("app: \"Odd s\".t may depend on the version of Unicode");
}
