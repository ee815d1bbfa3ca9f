//! What stands in the way is said at once, with the fix, and nothing is touched.

use crate::lab::{ClusterOptions, Lab, feed, fill, same, succeed};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The names, sizes and times of everything in a folder but what a running server writes.
fn listing(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").filter_map(Result::ok) {
            let about = entry.metadata().expect("it is there");
            if about.is_dir() {
                folders.push(entry.path());
            }
            all.push(format!(
                "{} {} {:?}",
                entry.path().display(),
                about.len(),
                about.modified().expect("a time")
            ));
        }
    }
    all.sort_unstable();
    all
}

fn codes(plan: &Value, severity: &str) -> Vec<String> {
    let findings = plan["findings"].as_array().expect("a list").iter();
    let mut codes: Vec<String> = findings
        .filter(|finding| finding["severity"] == severity)
        .filter_map(|finding| finding["code"].as_str().map(str::to_owned))
        .collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

#[test]
fn everything_at_once() {
    let mut made = ClusterOptions::new("17", "18");
    made.settings = "max_prepared_transactions = 5\nwal_level = logical\n";
    let lab = Lab::new(&made);
    let inside = lab.old().join("inside");
    fs::create_dir(&inside).expect("a folder");
    crate::lab::own(&inside);
    lab.start_old();
    fill(&lab);
    feed(&lab, "app", "CREATE EXTENSION pgcrypto; CREATE TABLE z (t text COMPRESSION lz4);");
    feed(&lab, "app", "BEGIN; INSERT INTO z VALUES ('x'); PREPARE TRANSACTION 'forgotten';");
    feed(&lab, "app", "SELECT pg_create_physical_replication_slot('standby');");
    feed(&lab, "postgres", &format!("CREATE TABLESPACE inside LOCATION '{}'", inside.display()));
    fs::create_dir(lab.new_data()).expect("a folder");
    fs::write(lab.new_data().join("something"), "").expect("a file");
    let plan = lab.run(&["plan", "--json", "--backup-exists", " "]).expect(3).json();
    assert_eq!(
        codes(&plan, "blocker"),
        ["backup", "compression", "extension", "live", "prepared-transactions", "tablespace", "target"]
    );
    assert_eq!(codes(&plan, "warning"), ["physical-slots"]);
    for finding in testkit::findings(&plan) {
        if finding["severity"] == "blocker" {
            assert!(!finding["fix"].as_str().expect("a text").is_empty(), "{finding}");
        }
    }
    let ended = lab.run(&["--backup-exists", " "]).expect(1);
    ended.says("DROP EXTENSION pgcrypto");
    ended.says("forgotten");
    assert!(lab.live(&lab.old()), "nothing was stopped");
    assert!(!lab.staging().exists() && !lab.backup().exists());
}

#[test]
fn a_plan_touches_nothing() {
    let lab = Lab::new(&ClusterOptions::new("17", "18"));
    let before = listing(&lab.base);
    lab.run(&["plan"]).expect(0).says("not-asked");
    lab.run(&["status"]).expect(0).says("no upgrade has begun");
    assert_eq!(before, listing(&lab.base));
    // Programs that are not there, versions that make no sense, folders that are not there.
    let mut missing = crate::lab::as_account(&crate::lab::program());
    missing.args(["plan", "--json", "--from", "17", "--to", "18", "--old-bin", "/nonexistent", "--base"]);
    let plan = crate::lab::ProgramOutput::of(missing.arg(&lab.base)).expect(3).json();
    assert!(codes(&plan, "blocker").contains(&"programs".to_owned()), "{plan}");
    let mut wrong = crate::lab::as_account(&crate::lab::program());
    wrong.args(["plan", "--from", "18", "--to", "17", "--base", "/nonexistent", "--json"]);
    let plan = crate::lab::ProgramOutput::of(&mut wrong).expect(3).json();
    let found = codes(&plan, "blocker");
    assert!(found.contains(&"versions".to_owned()) && found.contains(&"old-folder".to_owned()), "{plan}");
    let mut none = crate::lab::as_account(&crate::lab::program());
    crate::lab::ProgramOutput::of(none.arg("plan")).expect(2).says("--from");
    assert_eq!(before, listing(&lab.base));
}

#[test]
fn the_versions_are_in_the_name() {
    let lab = Lab::new(&ClusterOptions::new("17", "18"));
    let link = lab.socket_folder().join("upgrade-pg-cluster-17-18");
    std::os::unix::fs::symlink(crate::lab::program(), &link).expect("a link");
    let mut command = crate::lab::as_account(&link);
    command.args(["plan", "--json", "--base"]).arg(&lab.base).arg("--old-bin").arg(&lab.old_bin);
    let plan = crate::lab::ProgramOutput::of(command.arg("--new-bin").arg(&lab.new_bin)).expect(0).json();
    assert_eq!((&plan["from"], &plan["to"]), (&Value::from(17), &Value::from(18)));
}

#[test]
fn a_standby_a_restore_and_foreign_files() {
    let lab = Lab::new(&ClusterOptions::new("17", "18"));
    for (name, text) in [("standby.signal", "recovery"), ("backup_label", "recovery")] {
        fs::write(lab.old().join(name), "").expect("a file");
        crate::lab::own(&lab.old().join(name));
        let plan = lab.run(&["plan", "--json"]).expect(3).json();
        assert!(codes(&plan, "blocker").contains(&text.to_owned()), "{name}: {plan}");
        fs::remove_file(lab.old().join(name)).expect("it is there");
    }
    // The mode that the server refuses.
    succeed(Command::new("chmod").arg("755").arg(lab.old()));
    lab.run(&["plan"]).expect(3).says("chmod 700");
    succeed(Command::new("chmod").arg("700").arg(lab.old()));
    // A folder in its way that no journal knows.
    fs::create_dir(lab.staging()).expect("a folder");
    lab.run(&["plan"]).expect(3).says("no journal says why");
}

/// A file of another account, which only root can make.
#[test]
fn a_file_of_another_account() {
    if !testkit::needs_root("upgrade-pg-cluster: a_file_of_another_account") {
        return;
    }
    let lab = Lab::new(&ClusterOptions::new("17", "18"));
    lab.run(&["plan"]).expect(0);
    fs::write(lab.old().join("of-root"), "").expect("a file");
    lab.run(&["plan"]).expect(3).says("of-root");
}

#[test]
fn rules_that_change_their_meaning_need_consent() {
    let lab = Lab::new(&ClusterOptions::new("15", "18"));
    let rules = lab.old().join("pg_hba.conf");
    let text = fs::read_to_string(&rules).expect("initdb made it");
    fs::write(&rules, format!("local /^secret all reject\n{text}")).expect("it can be written");
    let plan = lab.run(&["plan", "--json"]).expect(3).json();
    assert_eq!(codes(&plan, "consent"), ["hba"]);
    lab.run(&["plan", "--accept", "hba"]).expect(0);
    fs::write(&rules, format!("local /( all trust\n{text}")).expect("it can be written");
    let plan = lab.run(&["plan", "--json", "--accept", "hba"]).expect(3).json();
    assert_eq!(codes(&plan, "blocker"), ["hba"]);
}

/// The server was killed: its pid file is stale, its cluster unclean. It recovers on a private socket first.
#[test]
fn a_killed_server_recovers_first() {
    let lab = Lab::new(&ClusterOptions::new("17", "18"));
    lab.start_old();
    fill(&lab);
    feed(
        &lab,
        "app",
        "CHECKPOINT; INSERT INTO shop.orders (id, name, amount) VALUES (99999, 'only in the log', 1); TRUNCATE shop.u",
    );
    let before = lab.dump();
    lab.pg_ctl(&lab.old_bin, &lab.old(), &["stop", "-m", "immediate"]);
    // As after a crash of the machine: the pid file is there, and its process is not.
    fs::write(
        lab.old().join("postmaster.pid"),
        format!("999999999\n{}\n1\n{}\n", lab.old().display(), lab.port),
    )
    .expect("it can be written");
    crate::lab::own(&lab.old().join("postmaster.pid"));
    let plan = lab.run(&["plan", "--json"]).expect(0).json();
    assert_eq!(codes(&plan, "warning"), ["unclean"]);
    assert!(codes(&plan, "note").contains(&"stale-pid-file".to_owned()));
    lab.run(&["--json"]).expect(0);
    same(&before, &lab.dump());
}

#[test]
fn logical_slots_are_carried_or_need_consent() {
    for (from, code) in [("17", "note"), ("15", "consent")] {
        let mut made = ClusterOptions::new(from, "18");
        made.settings = "wal_level = logical\n";
        let lab = Lab::new(&made);
        lab.start_old();
        lab.ask("postgres", "SELECT pg_create_logical_replication_slot('feed', 'pgoutput')");
        let plan = lab.run(&["plan", "--json", "--stop"]).json();
        assert!(codes(&plan, code).contains(&"logical-slots".to_owned()), "{from}: {plan}");
        if from == "17" {
            lab.ask("postgres", "SELECT pg_replication_slot_advance('feed', pg_current_wal_lsn())");
            lab.run(&["--stop", "--json", "--backup-exists", "nothing is in it"]).expect(0);
            assert_eq!(
                lab.ask("postgres", "SELECT slot_name, plugin FROM pg_replication_slots"),
                "feed|pgoutput"
            );
        }
    }
}

/// Without the right to log in for a base backup, it says how to go on; and each other kind of backup does.
#[test]
fn each_kind_of_backup() {
    let lab = Lab::new(&ClusterOptions::new("17", "18"));
    fs::write(lab.old().join("pg_hba.conf"), "local replication all reject\nlocal all all trust\n")
        .expect("written");
    lab.start_old();
    fill(&lab);
    let before = lab.dump();
    let plan = lab.run(&["plan", "--json", "--stop"]).expect(3).json();
    assert_eq!(codes(&plan, "blocker"), ["backup"]);
    let dump = lab.base.join("dump.sql").display().to_string();
    lab.run(&["--json", "--stop", "--backup-dump", &dump, "--until", "backup"]).expect(0);
    let text = fs::read_to_string(&dump).expect("a dump");
    assert!(text.contains("cluster dump complete") && text.contains("CREATE TABLE shop.orders"));
    lab.run(&["--rollback"]).expect(0);
    fs::remove_file(&dump).expect("it is there");
    let reason = "pgBackRest, restored on Monday";
    lab.run(&["--json", "--stop", "--backup-exists", reason]).expect(0);
    same(&before, &lab.dump());
    lab.run(&["report"]).expect(0).says(reason);
}

/// The programs of a base backup are needed for a base backup alone, and for a rehearsal, which copies the cluster.
#[test]
fn programs_of_a_base_backup() {
    let mut lab = Lab::new(&ClusterOptions::new("17", "18"));
    let bin = lab.base.join("bin");
    fs::create_dir(&bin).expect("a folder");
    crate::lab::own(&bin);
    for program in pg_upgrade::OLD_PROGRAMS {
        std::os::unix::fs::symlink(lab.old_bin.join(program), bin.join(program)).expect("a link");
    }
    lab.old_bin = bin;
    let plan = lab.run(&["plan", "--json"]).expect(3).json();
    assert_eq!(codes(&plan, "blocker"), ["backup"], "{plan}");
    let found = testkit::findings(&plan);
    let found = found.iter().find(|finding| finding["code"] == "backup").expect("a finding");
    assert!(found.to_string().contains("pg_basebackup and pg_verifybackup"), "{found}");
    lab.run(&["plan", "--backup-dump", "/tmp/dump.sql"]).expect(0);
    lab.run(&["plan", "--backup-exists", "pgBackRest, restored on Monday"]).expect(0);
    lab.start_old();
    lab.run(&["rehearse"]).expect(1).says("pg_basebackup of 17 is missing");
    assert!(lab.live(&lab.old()) && !lab.work().exists());
    lab.run(&["run", "--stop", "--json", "--backup-exists", "nothing is in it"]).expect(0);
}
