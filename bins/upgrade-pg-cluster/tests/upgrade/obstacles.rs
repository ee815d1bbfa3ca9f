//! Obstacles that `pg_upgrade` would meet with the server stopped: each is found by the plan, with a fix that helps, or
//! is none any more.

use crate::lab::{ClusterOptions, Lab, as_account, feed, own, succeed};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The findings of a severity: code, text and fix.
fn findings(plan: &Value, severity: &str) -> Vec<(String, String, String)> {
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let all = plan["findings"].as_array().expect("a list").iter();
    all.filter(|finding| finding["severity"] == severity)
        .map(|finding| (text(finding, "code"), text(finding, "what"), text(finding, "fix")))
        .collect()
}

fn codes(found: &[(String, String, String)]) -> Vec<&str> {
    found.iter().map(|(code, ..)| code.as_str()).collect()
}

/// Settings in the catalog that the new server does not know, and privileges on such parameters: each with the
/// statement that removes it, after which the upgrade goes through.
#[test]
fn settings_that_the_catalog_holds() {
    let lab = Lab::new(&ClusterOptions::new("15", "17"));
    lab.start_old();
    feed(
        &lab,
        "postgres",
        "CREATE ROLE \"odd role\"; ALTER ROLE \"odd role\" SET force_parallel_mode = on; CREATE DATABASE app;
         ALTER DATABASE app SET work_mem = '7MB';
         ALTER ROLE \"odd role\" IN DATABASE app SET search_path = a, \"B c\"; ALTER ROLE \"odd role\" SET app.tenant = 'x';
         ALTER ROLE \"odd role\" SET app.of.three = 'parts'; ALTER DATABASE app SET force_parallel_mode = off;
         ALTER ROLE ALL SET force_parallel_mode = off; CREATE ROLE \"Two\"; GRANT SET ON PARAMETER app.tenant TO \"Two\";
         GRANT SET, ALTER SYSTEM ON PARAMETER work_mem, force_parallel_mode TO \"Two\" WITH GRANT OPTION;
         SET ROLE \"Two\"; GRANT SET ON PARAMETER force_parallel_mode TO PUBLIC, \"odd role\"",
    );
    feed(
        &lab,
        "app",
        "CREATE FUNCTION ff(int) RETURNS int LANGUAGE sql SET force_parallel_mode = regress SET work_mem = '1MB' AS 'SELECT $1'",
    );
    let plan = lab.run(&["plan", "--json", "--stop"]).expect(3).json();
    let mut found = findings(&plan, "blocker");
    let privileges = found.iter().position(|(code, ..)| code == "parameter-privilege").expect("a finding");
    let (_, what, revoke) = found.remove(privileges);
    assert!(what.ends_with("does not know: force_parallel_mode"), "{what}");
    assert!(revoke.starts_with("REVOKE ALL ON PARAMETER force_parallel_mode FROM "), "{revoke}");
    assert_eq!(codes(&found), ["stored-setting"; 4], "{found:?}");
    let mut fixes: Vec<&str> =
        found.iter().map(|(.., fix)| fix.split(';').next().unwrap_or_default()).collect();
    fixes.sort_unstable();
    assert_eq!(
        fixes,
        [
            "ALTER DATABASE app RESET force_parallel_mode",
            "ALTER ROLE \"odd role\" RESET force_parallel_mode",
            "ALTER ROLE ALL RESET force_parallel_mode",
            "in database app: ALTER ROUTINE public.ff(integer) RESET force_parallel_mode"
        ]
    );
    assert!(found[0].2.contains("debug_parallel_query"), "{found:?}");
    fixes[..3].iter().for_each(|fix| feed(&lab, "postgres", fix));
    feed(&lab, "postgres", &revoke);
    feed(&lab, "app", fixes[3].strip_prefix("in database app: ").expect("a database"));
    lab.run(&["run", "--stop", "--json"]).expect(0);
    assert_eq!(lab.ask("app", "SHOW work_mem"), "7MB");
    let granted = "SELECT string_agg(parname, ' ' ORDER BY parname) FROM pg_parameter_acl";
    assert_eq!(lab.ask("postgres", granted), "app.tenant work_mem");
    let kept =
        "SELECT setconfig FROM pg_db_role_setting JOIN pg_roles r ON r.oid = setrole WHERE setdatabase = 0";
    assert_eq!(lab.ask("postgres", kept), "{app.tenant=x,app.of.three=parts}");
}

/// A cluster whose owner has dropped the database `postgres` gets it back by `initdb`, and that is no difference.
#[test]
fn without_the_database_postgres() {
    let lab = Lab::new(&ClusterOptions::new("17", "18"));
    lab.start_old();
    feed(&lab, "postgres", "CREATE DATABASE app");
    feed(&lab, "app", "DROP DATABASE postgres; CREATE TABLE t AS SELECT 7 AS x");
    lab.run(&["run", "--stop", "--json"]).expect(0);
    assert_eq!(lab.ask("app", "SELECT x FROM t"), "7");
}

/// Templates that were dropped are a blocker, with the statement that makes them again, after which the upgrade goes
/// through.
#[test]
fn templates_that_are_missing() {
    let lab = Lab::new(&ClusterOptions::new("17", "18"));
    lab.start_old();
    for dropped in ["template1", "template0"] {
        feed(
            &lab,
            "postgres",
            &format!("ALTER DATABASE {dropped} IS_TEMPLATE false; DROP DATABASE {dropped}"),
        );
        let plan = lab.run(&["plan", "--json", "--stop"]).expect(3).json();
        let found = findings(&plan, "blocker");
        assert_eq!(codes(&found), ["template"], "{found:?}");
        feed(&lab, "postgres", &found[0].2);
    }
    let sound = lab.dump();
    lab.run(&["run", "--stop", "--json"]).expect(0);
    crate::lab::same(&sound, &lab.dump());
}

#[test]
fn databases_types_and_libraries() {
    let mut made = ClusterOptions::new("15", "18");
    made.settings = "shared_preload_libraries = 'adminpack'\n";
    let lab = Lab::new(&made);
    lab.start_old();
    feed(&lab, "postgres", "CREATE DATABASE closed; CREATE DATABASE broken; CREATE DATABASE app;");
    feed(
        &lab,
        "app",
        "CREATE TABLE t (p regproc, c regclass); CREATE DOMAIN d AS regoperator; CREATE TABLE u (x d[]);
         CREATE TABLE a (x aclitem); CREATE TABLE rows (x pg_class); CREATE TABLE p (a int NOT NULL);
         CREATE TABLE child () INHERITS (p); ALTER TABLE child ALTER a DROP NOT NULL;
         CREATE ROLE loads; ALTER ROLE loads SET session_preload_libraries = 'old_snapshot';",
    );
    feed(
        &lab,
        "postgres",
        "ALTER DATABASE closed ALLOW_CONNECTIONS false; UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'broken';",
    );
    let plan = lab.run(&["plan", "--json", "--stop"]).expect(3).json();
    let mut found = findings(&plan, "blocker");
    found.sort_unstable();
    let expected = ["closed-database", "column-type", "invalid-database", "library", "library", "not-null"];
    assert_eq!(codes(&found), expected, "{found:?}");
    let of = |code: &str| found.iter().find(|(known, ..)| known == code).expect("it is there");
    for column in ["t.p regproc", "u.x regoperator", "a.x aclitem", "rows.x pg_class"] {
        assert!(of("column-type").1.contains(column), "{found:?}");
    }
    assert!(!of("column-type").1.contains("regclass"));
    let libraries = found.iter().filter(|(code, ..)| code == "library").map(|(_, what, _)| what.as_str());
    let libraries = libraries.collect::<String>();
    assert!(libraries.contains("adminpack") && libraries.contains("old_snapshot"), "{libraries}");
    assert!(of("not-null").1.contains("child.a"), "{found:?}");
    assert_eq!(of("invalid-database").2, "DROP DATABASE \"broken\"");
    assert!(of("closed-database").2.starts_with("ALTER DATABASE \"closed\" ALLOW_CONNECTIONS true"));
}

#[test]
fn slots_whose_changes_nobody_has_read() {
    let mut made = ClusterOptions::new("17", "18");
    made.settings = "wal_level = logical\n";
    let lab = Lab::new(&made);
    lab.start_old();
    feed(
        &lab,
        "postgres",
        "CREATE TABLE t (x int); SELECT pg_create_logical_replication_slot('read', 'test_decoding');",
    );
    lab.run(&["plan", "--json", "--stop"]).expect(0);
    feed(&lab, "postgres", "SELECT pg_create_logical_replication_slot('un''read', 'test_decoding')
        WHERE false; SELECT pg_create_logical_replication_slot('unread', 'test_decoding'); INSERT INTO t VALUES (1);
        SELECT count(*) FROM pg_logical_slot_get_changes('read', NULL, NULL);");
    let plan = lab.run(&["plan", "--json", "--stop"]).expect(3).json();
    let found = findings(&plan, "blocker");
    assert_eq!(codes(&found), ["logical-slots"], "{found:?}");
    assert!(found[0].2.ends_with("SELECT pg_drop_replication_slot('unread')"), "{found:?}");
    // A rehearsal finds it too, although no slot is in its copy, and leaves nothing.
    let rehearsed = lab.run(&["rehearse", "--json"]).expect(1).json();
    let shown = testkit::findings(&rehearsed);
    let found = findings(&rehearsed, "blocker");
    assert_eq!(codes(&found), ["logical-slots"], "{shown:?}");
    assert!(found[0].2.ends_with("SELECT pg_drop_replication_slot('unread')"), "{found:?}");
    assert!(lab.live(&lab.old()) && !lab.work().exists() && !lab.new_data().exists());
    feed(&lab, "postgres", "SELECT pg_drop_replication_slot('unread')");
    lab.run(&["plan", "--json", "--stop"]).expect(0);
    let passed = lab.run(&["rehearse", "--json", "--runs", "1"]).expect(0).json();
    assert_eq!(passed["runs_ms"].as_array().map(Vec::len), Some(1), "{passed}");
    testkit::findings(&passed);
}

/// Extensions of an older version than the new server has are brought to that by their own scripts. One that a script
/// cannot change stays as it is, which is said.
#[test]
fn extensions_are_updated() {
    let lab = Lab::new(&ClusterOptions::new("17", "18"));
    lab.start_old();
    feed(&lab, "postgres", "CREATE DATABASE app; CREATE DATABASE shut;");
    for database in ["app", "shut"] {
        feed(
            &lab,
            database,
            "CREATE EXTENSION hstore VERSION '1.4'; CREATE TABLE t AS SELECT 'a=>1'::hstore AS h;",
        );
    }
    feed(
        &lab,
        "shut",
        "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not in this database'; END $$;
         CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('ALTER EXTENSION') EXECUTE FUNCTION refuse();",
    );
    let version = "SELECT extversion FROM pg_extension WHERE extname = 'hstore'";
    // What the script from 1.7 to 1.8 brings.
    let subscripts = "SELECT count(*) FROM pg_proc WHERE proname = 'hstore_subscript_handler'";
    assert_eq!((lab.ask("app", version), lab.ask("app", subscripts)), ("1.4".to_owned(), "0".to_owned()));
    let latest = lab.ask("app", "SELECT default_version FROM pg_available_extensions WHERE name = 'hstore'");
    assert_ne!(latest, "1.4");
    let record = lab.run(&["run", "--stop", "--json"]).expect(0).json();
    let latest_of_new =
        lab.ask("app", "SELECT default_version FROM pg_available_extensions WHERE name = 'hstore'");
    assert_eq!(
        (lab.ask("app", version), lab.ask("app", subscripts)),
        (latest_of_new.clone(), "1".to_owned())
    );
    assert_eq!(lab.ask("app", "SELECT h['a'] FROM t"), "1");
    assert_eq!((lab.ask("shut", version), lab.ask("shut", subscripts)), ("1.4".to_owned(), "0".to_owned()));
    let notes = record["history"].to_string();
    assert!(notes.contains(&format!("app: hstore 1.4 is now {latest_of_new}")), "{notes}");
    let left = record["left"].to_string();
    let stays = format!("shut: hstore stays at 1.4, not {latest_of_new}: ");
    assert!(left.contains(&stays) && left.contains("not in this database"), "{left}");
    lab.run(&["report"]).expect(0).says(&stays);
}

/// Columns that use ICU, where the database does not, and programs without it.
#[test]
fn collations_of_columns() {
    let mut made = ClusterOptions::new("17-icu", "18");
    made.initdb = vec!["--locale=C", "--encoding=UTF8"];
    let lab = Lab::new(&made);
    lab.start_old();
    feed(&lab, "postgres", "CREATE TABLE t (x text COLLATE \"en-x-icu\")");
    let plan = lab.run(&["plan", "--json", "--stop"]).expect(3).json();
    assert!(codes(&findings(&plan, "blocker")).contains(&"locale"), "{plan}");
}

/// A minor version of the old server that stores an option with columns, which the new programs do not know: only columns
/// that are transferred stand in the way. Columns of the system have the option from the beginning.
#[test]
fn options_of_columns() {
    let lab = Lab::new(&ClusterOptions::new("17-icu", "18"));
    lab.start_old();
    // A plan with a blocker ends with another code.
    let blockers = |code: i32| {
        let plan = lab.run(&["plan", "--json", "--stop"]).expect(code).json();
        codes(&findings(&plan, "blocker")).join(" ")
    };
    assert_eq!(
        lab.ask("postgres", "SELECT count(*) > 0 FROM pg_attribute WHERE attoptions IS NOT NULL"),
        "t"
    );
    assert_eq!(blockers(0), "");
    feed(&lab, "postgres", "CREATE VIEW v AS SELECT 1 AS a");
    assert_eq!(blockers(3), "minor-version");
    feed(&lab, "postgres", "DROP VIEW v");
    assert_eq!(blockers(0), "");
}

/// Names that pg_upgrade or the new version refuses, and a template that is not marked as one, are found with the server
/// up. Names in other encodings, tables of another access method and a trigger at login that refuses everybody stand in no
/// way.
#[test]
fn names_templates_triggers_and_encodings() {
    let mut made = ClusterOptions::new("17", "18");
    made.settings = "client_encoding = latin1\n";
    let lab = Lab::new(&made);
    lab.start_old();
    feed(
        &lab,
        "postgres",
        "CREATE DATABASE \"a\nb\"; ALTER DATABASE template1 IS_TEMPLATE false; CREATE DATABASE app;
         CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C';
         \\connect ascii
         DO $$ BEGIN EXECUTE format('CREATE TABLE %I AS SELECT 7 AS x', convert_from('\\xf6', 'SQL_ASCII')); END $$;
         \\connect app
         SET client_encoding = 'UTF8'; CREATE TABLE \"Größe\" AS SELECT 7 AS x;
         CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler; CREATE TABLE o (x int) USING other;
         INSERT INTO o VALUES (7);
         CREATE TABLE named (a int NOT NULL, CONSTRAINT named_a_not_null UNIQUE (a));
         CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'nobody gets in'; END $$;
         CREATE EVENT TRIGGER refuse ON login EXECUTE FUNCTION refuse(); ALTER EVENT TRIGGER refuse ENABLE ALWAYS;",
    );
    let plan = lab.run(&["plan", "--json", "--stop"]).expect(3).json();
    let mut found = findings(&plan, "blocker");
    found.sort_unstable();
    assert_eq!(codes(&found), ["names", "not-null", "template"], "{found:?}");
    assert!(found[1].1.contains("named: named_a_not_null"), "{found:?}");
    feed(&lab, "postgres", &format!("ALTER DATABASE \"a\nb\" RENAME TO ab; {}", found[2].2));
    let rename = "ALTER TABLE named RENAME CONSTRAINT named_a_not_null TO named_a_key";
    let mut inside = lab.psql();
    inside.env("PGOPTIONS", "-c event_triggers=off").args(["-d", "app", "-c", rename]);
    succeed(&mut inside);
    let run = lab.run(&["run", "--stop", "--json", "--backup-exists", "nothing is in it"]).expect(0);
    assert!(!run.out.contains("statistics are not complete"), "{}", run.out);
    let mut inside = lab.psql();
    inside.env("PGOPTIONS", "-c event_triggers=off").env("PGCLIENTENCODING", "UTF8");
    let output = succeed(inside.args(["-d", "app", "-c", "SELECT x FROM \"Größe\""]));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "7");
}

/// A role that does not exist is named with the option that names another one.
#[test]
fn a_superuser_of_another_name() {
    let mut made = ClusterOptions::new("17", "18");
    made.superuser = "chief";
    let lab = Lab::new(&made);
    lab.start_old();
    lab.run(&["plan", "--stop"]).expect(3).says("name one by --superuser ROLE");
    lab.run(&["plan", "--stop", "--superuser", "chief"]).expect(0);
}

/// Reached by TCP alone, and in a folder whose path leaves no room for a socket's name.
#[test]
fn by_tcp_and_in_a_deep_folder() {
    let mut made = ClusterOptions::new("17", "18");
    made.settings = "unix_socket_directories = ''\nlisten_addresses = '127.0.0.1'\n";
    let outer = crate::lab::folder();
    let deep = outer
        .path()
        .join("a-folder-with-a-long-name-that-leaves-no-room-for-the-name-of-a-socket")
        .join("below");
    fs::create_dir_all(&deep).expect("folders");
    own(deep.parent().expect("a folder"));
    own(&deep);
    let lab = Lab::within(&made, &deep);
    lab.start_old();
    lab.run(&["run", "--stop", "--json"]).expect(0);
    let mut psql = as_account(&lab.new_bin.join("psql"));
    psql.args([
        "-XAtq",
        "-h",
        "127.0.0.1",
        "-p",
        &lab.port.to_string(),
        "-U",
        "postgres",
        "-c",
        "SHOW server_version_num",
    ]);
    let answer = String::from_utf8_lossy(&succeed(&mut psql).stdout).into_owned();
    assert!(answer.starts_with("18"), "{answer}");
}

/// Files that the configuration includes by their absolute paths, in the old data folder, and a write-ahead log on a
/// volume of its own.
#[test]
fn absolute_includes_and_a_log_elsewhere() {
    let lab = Lab::new(&ClusterOptions::new("17", "18"));
    let old = lab.old().display().to_string();
    for (name, text) in
        [("extra.conf", "work_mem = '6MB'\n"), ("conf.d/a.conf", "maintenance_work_mem = '17MB'\n")]
    {
        let path = lab.old().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, text).expect("a file");
        own(&path);
        own(path.parent().expect("a folder"));
    }
    fs::set_permissions(lab.old(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("permissions");
    let conf = lab.old().join("postgresql.conf");
    let text = fs::read_to_string(&conf).expect("a file");
    fs::write(&conf, format!("{text}include '{old}/extra.conf'\ninclude_dir '{old}/conf.d'\n"))
        .expect("a file");
    let wal = lab.socket_folder().join("wal-17");
    succeed(std::process::Command::new("mv").arg(lab.old().join("pg_wal")).arg(&wal));
    std::os::unix::fs::symlink(&wal, lab.old().join("pg_wal")).expect("a link");
    lab.start_old();
    let plan = lab.run(&["plan", "--json", "--stop"]).expect(3).json();
    let found = findings(&plan, "consent");
    assert_eq!(codes(&found), ["wal-folder"], "{found:?}");
    let new = lab.socket_folder().join("wal-18").display().to_string();
    lab.run(&["run", "--stop", "--json", "--waldir", &new]).expect(0);
    assert_eq!(fs::read_link(lab.new_data().join("pg_wal")).expect("a link"), Path::new(&new));
    assert_eq!(lab.ask("postgres", "SHOW work_mem"), "6MB");
    assert_eq!(lab.ask("postgres", "SHOW maintenance_work_mem"), "17MB");
    let file = lab.ask("postgres", "SELECT sourcefile FROM pg_settings WHERE name = 'work_mem'");
    assert!(file.starts_with(&lab.new_data().display().to_string()), "{file}");
}

/// Files in any encoding are carried to the byte, with the files that rules name beside themselves; and a port that
/// only the environment of the old server has.
#[test]
fn files_of_any_encoding_and_a_port_from_the_environment() {
    let lab = Lab::new(&ClusterOptions::new("17", "18"));
    let put = |name: &str, bytes: &[u8]| {
        let path = lab.old().join(name);
        let folder = path.parent().expect("a folder");
        if !folder.exists() {
            fs::create_dir_all(folder).expect("a folder");
            own(folder);
        }
        fs::write(&path, bytes).expect("a file");
        own(&path);
    };
    let conf = lab.old().join("postgresql.conf");
    let port = format!("port = {}\n", lab.port);
    let mut settings = fs::read_to_string(&conf).expect("a file").replace(&port, "").into_bytes();
    settings.extend_from_slice(
        b"work_mem = 7MB # f\xfcr alle\ncluster_name = 'gro\xdf'\ninclude 'gr\xfcn.conf'\n",
    );
    fs::write(&conf, &settings).expect("a file");
    let green = std::os::unix::ffi::OsStrExt::from_bytes(b"gr\xfcn.conf");
    let green: &std::ffi::OsStr = green;
    fs::write(lab.old().join(green), "maintenance_work_mem = 17MB\n").expect("a file");
    own(&lab.old().join(green));
    let rules =
        b"# f\xfcr alle\nlocal all,replication @admins trust\ninclude_dir rules\nlocal all J\xf6rg trust\n";
    put("pg_hba.conf", rules);
    put("pg_ident.conf", b"# f\xfcr alle\n");
    put("admins", b"postgres\n");
    put("rules/one.conf", b"local app @team trust\ninclude more/two.conf\n");
    put("rules/team", b"alice\n");
    put("rules/more/two.conf", b"local all all reject\n");
    fs::set_permissions(lab.old(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("permissions");
    let mut start = as_account(&lab.old_bin.join("pg_ctl"));
    start.env("PGPORT", lab.port.to_string()).arg("-D").arg(lab.old()).args(["start", "-w", "-l"]);
    let log = lab.socket_folder().join("log");
    assert!(start.arg(&log).stdout(std::process::Stdio::null()).status().expect("it runs").success());
    let plan = lab.run(&["plan", "--json", "--stop"]).expect(0).json();
    let hba = findings(&plan, "note").into_iter().find(|(code, ..)| code == "hba").expect("a finding");
    assert!(hba.1.contains("alike"), "{hba:?}");
    lab.run(&["run", "--stop", "--json"]).expect(0);
    // The server answers at the same port.
    assert_eq!(lab.ask("postgres", "SHOW work_mem"), "7MB");
    assert_eq!(lab.ask("postgres", "SHOW maintenance_work_mem"), "17MB");
    assert_eq!(lab.ask("postgres", "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL"), "0");
    assert_eq!(lab.ask("postgres", "SELECT count(*) FROM pg_hba_file_rules"), "4");
    assert_eq!(fs::read(lab.new_data().join("pg_hba.conf")).expect("a file"), rules);
    assert_eq!(fs::read(lab.new_data().join("pg_ident.conf")).expect("a file"), b"# f\xfcr alle\n");
    let carried = fs::read(lab.new_data().join("postgresql.conf")).expect("a file");
    assert_eq!(carried, settings);
}

/// What PostgreSQL 19 changes is found without its programs.
#[test]
fn the_next_version() {
    let lab = Lab::new(&ClusterOptions::new("18", "18"));
    lab.start_old();
    feed(
        &lab,
        "postgres",
        "CREATE EXTENSION btree_gist; CREATE TABLE t (x inet); CREATE INDEX ON t USING gist (x gist_inet_ops);
         ALTER ROLE postgres SET escape_string_warning = off; SET password_encryption = 'md5'; CREATE ROLE old PASSWORD 'x';
         CREATE ROLE \"a\nb\"; CREATE DATABASE mule TEMPLATE template0 ENCODING 'MULE_INTERNAL' LC_COLLATE 'C' LC_CTYPE 'C';",
    );
    let rules = lab.old().join("pg_hba.conf");
    let text = fs::read_to_string(&rules).expect("initdb made it");
    let radius = "host all all 192.0.2.0/24 radius radiusservers=a radiussecrets=b\n";
    fs::write(&rules, format!("{text}{radius}")).expect("it can be written");
    let mut check = as_account(&crate::lab::program());
    check.args(["check", "--next", "19", "--from", "18", "--json", "--old-bin"]).arg(&lab.old_bin);
    let found = crate::lab::ProgramOutput::of(check.arg("--base").arg(&lab.base)).expect(3).json();
    let mut blockers = findings(&found, "blocker");
    blockers.sort_unstable();
    testkit::findings(&found);
    assert_eq!(codes(&blockers), ["btree-gist", "encoding", "hba", "names", "stored-setting"], "{found}");
    assert!(blockers[1].1.contains("MULE_INTERNAL: mule"), "{blockers:?}");
    assert!(blockers[2].1.contains("no radius"), "{blockers:?}");
    assert!(blockers[3].1.contains("a\nb") && blockers[3].2 == "rename them", "{blockers:?}");
    assert!(blockers[4].2.starts_with("ALTER ROLE postgres RESET escape_string_warning"), "{blockers:?}");
    assert_eq!(codes(&findings(&found, "consent")), Vec::<&str>::new(), "{found}");
    assert!(codes(&findings(&found, "warning")).contains(&"md5"), "{found}");
}

/// `plan` knows of an upgrade that is under way, errors name the way on and back, and `gc` knows what it has removed.
#[test]
fn an_upgrade_that_is_under_way() {
    let lab = Lab::new(&ClusterOptions::new("17", "18"));
    let drawn = testkit::TerminalOutput::of(&lab.program(&["run", "--until", "check"]), 60);
    each_step_is_drawn_and_replaced(&drawn);
    let plan = lab.run(&["plan", "--json"]).expect(0).json();
    assert_eq!(codes(&findings(&plan, "blocker")), Vec::<&str>::new());
    assert!(codes(&findings(&plan, "note")).contains(&"under-way"), "{plan}");
    lab.start_old();
    let ended = lab.run(&["run"]).expect(1);
    ended.says("upgrade-pg-cluster run` resumes");
    ended.says("upgrade-pg-cluster rollback` returns to the old cluster");
    lab.stop_old();
    // Without a command it still runs, and says how it is to be called.
    lab.run(&[]).expect(0).says("deprecated without a command: use `upgrade-pg-cluster run`");
    lab.run(&["plan"]).expect(0).says("done before");
    let gc = |more: &[&str]| {
        let mut command = as_account(&crate::lab::program());
        command.args(["gc", "--older-than", "0s", "--json", "--base"]).arg(&lab.base).args(more);
        crate::lab::ProgramOutput::of(&mut command).expect(0).json()
    };
    assert_eq!(gc(&[])["removed"].as_array().map(Vec::len), Some(1));
    assert!(lab.backup().exists() && !lab.old().exists());
    let second = gc(&["--backups"]);
    assert_eq!(second["removed"].as_array().map(Vec::len), Some(1), "{second}");
    assert!(!lab.backup().exists());
    assert_eq!(gc(&["--backups"])["removed"], serde_json::json!([]));
    assert_eq!(gc(&["--backups", "--dry-run"])["removed"], serde_json::json!([]));
}

/// Checks what a run that stops before its end has drawn on a terminal: a line of each step, which the line of its
/// result replaced, and the outcome.
fn each_step_is_drawn_and_replaced(output: &testkit::TerminalOutput) {
    assert_eq!(output.code, Some(0), "{output:?}");
    let running = output.drawn.matches("\r\x1b[K… ").count();
    let done = output.screen.iter().filter(|line| line.ends_with(" s)")).count();
    assert!(running > 1 && running == done, "{running} steps were drawn, and {done} remain: {output:?}");
    assert!(output.screen.iter().any(|line| line.starts_with("stopped before")), "{output:?}");
    assert!(!output.screen.iter().any(|line| line.contains('…')), "{output:?}");
    assert!(!output.has_colours(), "{output:?}");
}

#[test]
fn output_without_a_reader_ends_the_program_quietly() {
    let program = env!("CARGO_BIN_EXE_upgrade-pg-cluster");
    testkit::assert_ends_quietly_without_a_reader(program, &["completions", "bash"]);
}

/// Statistics come along to 18, where only the missing ones are gathered in stages; before, all of them are.
#[test]
fn statistics_are_carried_and_the_missing_ones_gathered() {
    for (from, to) in [("17", "18"), ("15", "17")] {
        let mut made = ClusterOptions::new(from, to);
        // Nothing else gathers any, and the log shows who does.
        made.settings =
            "autovacuum = off\nlogging_collector = on\nlog_filename = 'log'\nlog_statement = all\n";
        let lab = Lab::new(&made);
        lab.start_old();
        feed(
            &lab,
            "postgres",
            "CREATE TABLE known AS SELECT i % 10 AS a, i % 10 AS b FROM generate_series(1, 5000) i; ANALYZE known;
             CREATE TABLE extended AS SELECT * FROM known; CREATE STATISTICS both_columns ON a, b FROM extended;
             ANALYZE extended; CREATE TABLE bare AS SELECT generate_series(1, 3000) AS x;",
        );
        lab.run(&["run", "--stop", "--json", "--until", "start"]).expect(0);
        let tables = "SELECT string_agg(DISTINCT tablename, ' ' ORDER BY tablename) FROM pg_stats
                      WHERE tablename IN ('known', 'extended', 'bare')";
        let is_carried = to.parse::<u32>().expect("a version") >= 18;
        let carried = if is_carried { "extended known" } else { "" };
        assert_eq!(lab.ask("postgres", tables), carried, "{from} to {to}");
        lab.run(&["run", "--json"]).expect(0);
        assert_eq!(lab.ask("postgres", tables), "bare extended known", "{from} to {to}");
        let both = "SELECT count(*) FROM pg_stats_ext WHERE statistics_name = 'both_columns'";
        assert_eq!(lab.ask("postgres", both), "1", "{from} to {to}");
        let log = fs::read_to_string(lab.new_data().join("log/log")).expect("a log");
        let times = |table: &str| {
            let name = format!("public.{table}");
            log.lines().filter(|line| line.contains("ANALYZE") && line.contains(&name)).count()
        };
        // Three stages, and once more for autovacuum where statistics came along.
        let expected = if is_carried { (1, 4, 4) } else { (3, 3, 3) };
        assert_eq!((times("known"), times("extended"), times("bare")), expected, "{from} to {to}\n{log}");
        lab.run(&["report"]).expect(0).says(if is_carried {
            "carried over by pg_upgrade"
        } else {
            "gathered anew"
        });
    }
}
