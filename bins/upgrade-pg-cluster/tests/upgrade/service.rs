//! The upgrade of a server that is in use: how long its clients wait, what is carried over, and what comes after.

use crate::lab::{ClusterOptions, Lab, as_account, feed, fill, same, succeed};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A client that asks again and again. Returns the longest time without an answer.
fn longest_silence(lab: &Lab, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<Duration> {
    let mut config =
        format!("host={} port={} user=postgres dbname=app", lab.socket_folder().display(), lab.port);
    config.push_str(" connect_timeout=5");
    std::thread::spawn(move || {
        let (mut answered, mut longest) = (Instant::now(), Duration::ZERO);
        let mut session = None;
        while !stop.load(Ordering::Relaxed) {
            session = session.or_else(|| testkit::postgres::Session::open(&config).ok());
            let sql = "INSERT INTO shop.orders (name, amount) VALUES ('live', 1)";
            match session.as_ref().map(|session| session.query(sql)) {
                Some(Ok(_)) => {
                    longest = longest.max(answered.elapsed());
                    answered = Instant::now();
                }
                _ => session = None,
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        longest
    })
}

#[test]
fn clients_wait_only_while_data_are_transferred() {
    let mut made = ClusterOptions::new("15", "18");
    made.settings = "old_snapshot_threshold = -1\nforce_parallel_mode = off\ninclude_if_exists = 'more.conf'\nssl = off\n\
        ssl_cert_file = 'own.crt'\nshared_preload_libraries = 'pg_stat_statements'\n";
    let lab = Lab::new(&made);
    for (name, text) in [("more.conf", "work_mem = 5MB # here\n"), ("own.crt", "a certificate\n")] {
        fs::write(lab.old().join(name), text).expect("a file");
        crate::lab::own(&lab.old().join(name));
    }
    let rules = fs::read_to_string(lab.old().join("pg_hba.conf")).expect("initdb made it");
    let rules = format!("local all alice reject # ours\n{rules}");
    fs::write(lab.old().join("pg_hba.conf"), &rules).expect("it can be written");
    lab.start_old();
    fill(&lab);
    feed(&lab, "app", "CREATE EXTENSION pg_stat_statements");
    lab.ask("postgres", "ALTER SYSTEM SET log_min_duration_statement = 4321");
    let stop = Arc::new(AtomicBool::new(false));
    let client = longest_silence(&lab, stop.clone());
    let record = lab.run(&["--stop", "--json"]).expect(0).json();
    let count = lab.ask("app", "SELECT count(*) FROM shop.orders WHERE name = 'live'");
    stop.store(true, Ordering::Relaxed);
    let silence = client.join().expect("the client ends");

    // From the stop of the old server to the start of the new one, and no longer: the backup, the new cluster, the check,
    // the statistics and the extensions are not in it. A second is for a machine that is busy otherwise.
    let took = |step: &str| -> u64 {
        let entries =
            record["history"].as_array().expect("a list").iter().filter(|entry| entry["step"] == step);
        entries
            .map(|entry| entry["ended"].as_u64().expect("a time") - entry["began"].as_u64().expect("a time"))
            .sum()
    };
    let down: u64 = ["quiesce", "transfer", "verify", "reindex", "carry", "commit", "start"]
        .iter()
        .map(|step| took(step))
        .sum();
    let silence_ms = u64::try_from(silence.as_millis()).expect("it is small");
    assert!(
        silence_ms < down + 1_000,
        "clients waited {silence_ms} ms, without a server {down} ms: {record}"
    );
    assert!(took("backup") + took("prepare") + took("check") > 0);
    // The client had answers from both servers.
    assert!(count.parse::<u32>().expect("a number") > 20, "{count}");

    // The configuration came along.
    assert_eq!(lab.ask("postgres", "SHOW debug_parallel_query"), "off");
    assert_eq!(lab.ask("postgres", "SHOW work_mem"), "5MB");
    assert_eq!(lab.ask("postgres", "SHOW log_min_duration_statement"), "4321ms");
    assert_eq!(fs::read_to_string(lab.new_data().join("pg_hba.conf")).expect("carried"), rules);
    assert_eq!(fs::read_to_string(lab.new_data().join("own.crt")).expect("carried"), "a certificate\n");
    let named: Vec<&str> =
        record["edits"].as_array().expect("a list").iter().filter_map(|edit| edit["name"].as_str()).collect();
    assert_eq!(named, ["old_snapshot_threshold", "force_parallel_mode"]);
    // Extensions have the version of the new server; statistics are there.
    let behind = "SELECT count(*) FROM pg_available_extensions WHERE installed_version <> default_version";
    assert_eq!(lab.ask("app", behind), "0");
    assert_ne!(lab.ask("app", "SELECT count(*) FROM pg_stats WHERE schemaname = 'shop'"), "0");
    let updated = record["history"].to_string();
    assert!(updated.contains("pg_stat_statements 1.10 is now 1.12"), "{updated}");

    after_it_is_done(&lab);
}

/// A second run is a no-op; the old cluster goes only when it is old enough; the report is there.
fn after_it_is_done(lab: &Lab) {
    let journal = fs::read(lab.work().join("journal.json")).expect("a journal");
    let pid = fs::read_to_string(lab.new_data().join("postmaster.pid")).expect("it runs");
    lab.run(&["--stop"]).expect(0).says("nothing was touched");
    assert_eq!(lab.run(&["--json"]).expect(0).json()["outcome"], "was-done");
    assert_eq!(fs::read(lab.work().join("journal.json")).expect("a journal"), journal);
    assert_eq!(fs::read_to_string(lab.new_data().join("postmaster.pid")).expect("it runs"), pid);
    lab.run(&["--rollback"]).expect(1).says("the switch to the new cluster has happened");
    lab.run(&["status"]).expect(0).says("done");
    let page = lab.run(&["report", "--html"]).expect(0).out;
    assert!(
        page.starts_with("<!doctype html>") && !page.contains("<script") && !page.contains("http"),
        "{page}"
    );
    assert_eq!(page, fs::read_to_string(lab.work().join("report.html")).expect("a report"));

    let gc = |args: &[&str]| {
        let mut command = as_account(&crate::lab::program());
        crate::lab::ProgramOutput::of(command.arg("gc").args(args).arg("--base").arg(&lab.base))
    };
    gc(&["--older-than", "30d"]).expect(0).says("0 days ago");
    assert!(lab.old().exists());
    gc(&["--older-than", "30d", "--dry-run"]).expect(0).says("0 days ago");
    gc(&["--older-than", "0s", "--dry-run"]).expect(3).says("would remove");
    assert_eq!(gc(&["--older-than", "0s", "--dry-run", "--json"]).expect(3).json()["dry_run"], true);
    assert!(lab.old().exists());
    gc(&["--older-than", "0s"]).expect(0).says("removed");
    assert!(!lab.old().exists() && lab.backup().exists());
    assert_eq!(lab.ask("postgres", "SELECT 1"), "1");
    lab.run(&[]).expect(0).says("nothing was touched");
}

/// What differs is found before the switch, and there is a way back.
#[test]
fn a_difference_stops_it_before_the_switch() {
    let lab = Lab::new(&ClusterOptions::new("17", "18"));
    lab.start_old();
    fill(&lab);
    let before = lab.dump();
    let args = ["--stop", "--json", "--backup-exists", "the test keeps a dump"];
    lab.run(&[&args[..], &["--until", "transfer"]].concat()).expect(0);
    let path = lab.work().join("inventory.json");
    let text = fs::read_to_string(&path).expect("an inventory");
    let wrong = text.replace("app/rows/shop.orders\":\"1819", "app/rows/shop.orders\":\"1820");
    assert_ne!(text, wrong, "{text}");
    fs::write(&path, wrong).expect("it can be written");
    let differing = lab.run(&args).expect(1);
    differing.says("app/rows/shop.orders: 1820 before, 1819 after");
    differing.says("--accept app/rows/shop.orders");
    assert!(!lab.new_data().exists());
    // What the operator accepts by its name is no obstacle, and is in the report.
    let accepted = ["--accept", "app/rows/shop.orders", "--until", "verify"];
    lab.run(&[&args[..], &accepted].concat()).expect(0);
    lab.run(&["report"]).expect(0).says("accepted difference: app/rows/shop.orders: 1820 before");
    lab.run(&["--rollback"]).expect(0);
    assert!(lab.live(&lab.old()), "it ran when the upgrade began");
    same(&before, &lab.dump());
}

/// Two runs at once: the second one says so.
#[test]
fn only_one_run_at_a_time() {
    let lab = Lab::new(&ClusterOptions::new("17", "18"));
    let mut first =
        lab.program(&["--json"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    crate::lab::until("a journal", || lab.work().join("journal.json").exists());
    lab.run(&["--json"]).expect(1).says("another run is at work");
    assert!(first.wait().expect("it ends").success());
}

/// Root becomes the owner for everything but the service, which is stopped and started by systemctl.
#[test]
fn root_becomes_the_owner_and_keeps_the_service() {
    // Without root there is nobody to become; the rest of the tests run as the owner.
    if !testkit::needs_root("upgrade-pg-cluster: root_becomes_the_owner_and_keeps_the_service") {
        return;
    }
    let account = crate::lab::account().expect("root has one for servers");
    let lab = Lab::new(&ClusterOptions::new("17", "18"));
    lab.start_old();
    fill(&lab);
    let before = lab.dump();
    // A systemd that knows one unit, whose program changes its version as a new configuration would.
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let script = format!(
        "#!/bin/sh\necho \"$(id -un) $*\" >> {log}\nas='setpriv --reuid {account} --regid nogroup --clear-groups \
         --inh-caps=-all'\ncd /\ncase $2 in\n\
         stop) exec $as {old}/pg_ctl stop -w -D {old_data} > /dev/null ;;\n\
         start) exec $as {new}/pg_ctl start -w -D {new_data} -l {new_data}/log > /dev/null 2>&1 ;;\nesac\n",
        log = log.display(),
        old = lab.old_bin.display(),
        new = lab.new_bin.display(),
        old_data = lab.old().display(),
        new_data = lab.new_data().display()
    );
    let systemctl = folder.path().join("systemctl");
    fs::write(&systemctl, script).expect("a script");
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).expect("permissions");
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(crate::lab::program());
    command.env("PATH", path).args([
        "--from",
        "17",
        "--to",
        "18",
        "--json",
        "--service",
        "pg.service",
        "--base",
    ]);
    command.arg(&lab.base).arg("--old-bin").arg(&lab.old_bin).arg("--new-bin").arg(&lab.new_bin);
    let record = crate::lab::ProgramOutput::of(command.stdin(Stdio::null())).expect(0).json();
    assert_eq!(record["outcome"], "done");
    let said = fs::read_to_string(&log).expect("it was called");
    assert_eq!(
        said,
        "root --no-ask-password stop -- pg.service\nroot --no-ask-password start -- pg.service\n"
    );
    // Nothing that was made belongs to root.
    let owners = succeed(Command::new("find").arg(&lab.base).args(["-user", "root"]));
    assert_eq!(String::from_utf8_lossy(&owners.stdout), "");
    same(&before, &lab.dump());
}

/// A program in a folder that only root may enter, as a build in root's home: the message names the program, the account
/// that cannot read it, and what to do.
#[test]
fn root_names_the_program_and_the_account_that_cannot_read_it() {
    if !testkit::needs_root("upgrade-pg-cluster: root_names_the_program_and_the_account_that_cannot_read_it")
    {
        return;
    }
    let account = crate::lab::account().expect("root has one for servers");
    let folder = tempfile::tempdir().expect("a folder");
    let (base, own) = (folder.path().join("clusters"), folder.path().join("home"));
    for path in [&base, &own] {
        fs::create_dir(path).expect("a folder");
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).expect("permissions");
    crate::lab::own(&base);
    let program = own.join("upgrade-pg-cluster");
    fs::copy(crate::lab::program(), &program).expect("a copy");
    let output =
        Command::new(&program).args(["plan", "--from", "17", "--to", "18", "--base"]).arg(&base).output();
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in
        [&program.display().to_string(), account, &own.display().to_string(), "0700", "/usr/local/bin"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// As on Debian: a name below the version's folder, and the configuration elsewhere.
#[test]
fn the_configuration_may_be_elsewhere() {
    let lab = Lab::new(&ClusterOptions::new("15", "18"));
    let config = lab.base.join("etc");
    fs::create_dir(&config).expect("a folder");
    crate::lab::own(&config);
    let main = lab.old().join("main");
    let flat = lab.base.join("flat");
    fs::rename(lab.old(), &flat).expect("a rename");
    fs::create_dir(lab.old()).expect("a folder");
    crate::lab::own(&lab.old());
    fs::rename(&flat, &main).expect("a rename");
    for name in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
        fs::rename(main.join(name), config.join(name)).expect("it is moved");
    }
    let file = config.join("postgresql.conf");
    let text = fs::read_to_string(&file).expect("it was moved");
    let more = format!(
        "data_directory = '{}'\nhba_file = '{1}/pg_hba.conf'\nident_file = '{1}/pg_ident.conf'\nwork_mem = 6MB\n",
        main.display(),
        config.display()
    );
    fs::write(&file, text + &more).expect("it can be written");
    let start = |lab: &Lab| {
        let option = format!("-c config_file={}", file.display());
        let log = lab.socket_folder().join("log").display().to_string();
        lab.pg_ctl(&lab.old_bin, &main, &["start", "-w", "-l", &log, "-o", &option]);
    };
    start(&lab);
    fill(&lab);
    let before = lab.dump();
    let folder = config.display().to_string();
    let args = ["--stop", "--json", "--old-config", &folder, "--backup-exists", "the test keeps a dump"];
    // Back once, which starts the old server as it was, then through.
    lab.run(&[&args[..], &["--until", "transfer"]].concat()).expect(0);
    lab.run(&["--rollback", "--old-config", &folder]).expect(0);
    same(&before, &lab.dump());
    lab.run(&args).expect(0);
    same(&before, &lab.dump());
    assert_eq!(lab.ask("postgres", "SHOW work_mem"), "6MB");
    let new = lab.new_data().join("main");
    assert_eq!(lab.ask("postgres", "SHOW hba_file"), new.join("pg_hba.conf").display().to_string());
    lab.pg_ctl(&lab.new_bin, &new, &["stop", "-w", "-m", "fast"]);
}
