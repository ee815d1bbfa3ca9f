//! A rehearsal beside a running server: it leaves nothing behind, acts on nobody, and knows what the upgrade will meet.

use crate::lab::{ClusterOptions, Lab, LoopMount, feed, fill, own, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testkit::postgres::{Options, Postgres};

/// Returns the size of the files below a folder.
fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => bytes(&entry.path()),
            Ok(about) => about.len(),
            Err(_) => 0,
        })
        .sum()
}

fn stage(lab: &Lab) -> PathBuf {
    lab.base.join(format!("rehearsal-{}-{}", lab.from, lab.to))
}

/// Returns the inodes of all TCP sockets of this host.
fn tcp_sockets() -> BTreeSet<String> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let rows = tables.iter().flat_map(|table| table.lines().skip(1));
    rows.filter_map(|row| row.split_whitespace().nth(9).map(str::to_owned)).collect()
}

/// Returns `true` if a process has a TCP socket.
fn has_tcp(process: &Path) -> bool {
    let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let links = files.filter_map(|file| fs::read_link(file.path()).ok()?.into_os_string().into_string().ok());
    let inodes: Vec<String> =
        links.filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect();
    !inodes.is_empty() && {
        let tcp = tcp_sockets();
        inodes.iter().any(|inode| tcp.contains(inode))
    }
}

/// Returns the titles of processes that work below a folder or have it in an argument; before those that have a TCP
/// socket, `TCP `.
fn processes(folder: &Path) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(title) = fs::read(process.path().join("cmdline")) else { continue };
        let title = String::from_utf8_lossy(&title).replace('\0', " ").trim().to_owned();
        let inside = fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        if inside || title.contains(&folder.display().to_string()) {
            let tcp = if has_tcp(&process.path()) { "TCP " } else { "" };
            seen.insert(format!("{tcp}{title}"));
        }
    }
    seen
}

/// Collects the [`processes`] of a folder until it is stopped.
fn watch(folder: PathBuf, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<BTreeSet<String>> {
    std::thread::spawn(move || {
        let mut seen = BTreeSet::new();
        while !stop.load(Ordering::Relaxed) {
            seen.extend(processes(&folder));
            // Servers and their workers run for some tenths of a second at least.
            std::thread::sleep(Duration::from_millis(20));
        }
        seen
    })
}

#[test]
fn the_world_is_left_alone_and_the_upgrade_is_as_rehearsed() {
    let publisher =
        Postgres::start(&Options { settings: "wal_level = logical\n".to_owned(), ..Options::new(17) });
    let session = publisher.session();
    session.query("CREATE TABLE news (id int PRIMARY KEY)").expect("a table");
    session.query("CREATE PUBLICATION news FOR TABLE news").expect("a publication");
    let outside = tempfile::tempdir().expect("a folder");
    own(outside.path());
    let outside_path = outside.path().display();
    let settings = format!(
        "archive_mode = on\narchive_command = 'pwd >> {outside_path}/archived'\nexternal_pid_file = '{outside_path}/pid'\n\
         shared_preload_libraries = 'pg_prewarm'\nlogging_collector = on\nlog_directory = '{outside_path}/log'\n"
    );
    let mut made = ClusterOptions::new("17", "18");
    made.settings = &settings;
    let lab = Lab::new(&made);
    lab.start_old();
    fill(&lab);
    feed(&lab, "app", "CREATE SCHEMA cron; CREATE TABLE cron.job_run_details AS SELECT 1 AS runid;");
    feed(&lab, "app", "CREATE TABLE news (id int PRIMARY KEY);");
    let connection = format!(
        "host={} port={} user=postgres dbname=postgres",
        publisher.socket_folder().display(),
        publisher.port()
    );
    feed(&lab, "app", &format!("CREATE SUBSCRIPTION news CONNECTION '{connection}' PUBLICATION news;"));
    lab.ask("postgres", "SELECT pg_create_physical_replication_slot('kept', true)");
    // The copied server listens on TCP, and so says the configuration that the copy has.
    lab.ask("postgres", "ALTER SYSTEM SET listen_addresses = '127.0.0.1'");
    lab.stop_old();
    lab.start_old();
    until("the subscription works", || {
        lab.ask("app", "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate = 'r'") == "1"
    });
    let slots = || {
        let theirs = session.query("SELECT slot_name, active_pid FROM pg_replication_slots").expect("slots");
        let ours = lab.ask("postgres", "SELECT slot_name, restart_lsn FROM pg_replication_slots");
        (format!("{theirs:?}"), ours)
    };
    let connections = || publisher.log().matches("START_REPLICATION").count();
    let world = || {
        let pid = fs::read_to_string(outside.path().join("pid")).expect("it is there");
        (slots(), pid, lab.dump(), connections(), lab.ask("postgres", "SELECT pg_postmaster_start_time()"))
    };
    let before = world();

    let stop = Arc::new(AtomicBool::new(false));
    let watching = watch(stage(&lab), stop.clone());
    let began = Instant::now();
    let ended = lab.run(&["rehearse", "--json", "--max-rate", "16M", "--runs", "2"]).expect(0);
    let took = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    let seen = watching.join().expect("it ends");

    assert_eq!(before, world());
    let live = processes(&lab.old());
    assert!(
        live.iter().any(|title| title.starts_with("TCP ")),
        "the copied server has a TCP socket: {live:?}"
    );
    assert!(!seen.iter().any(|title| title.starts_with("TCP ")), "{seen:?}");
    assert!(
        seen.iter().any(|title| title.contains("pg_basebackup") && title.contains("--max-rate=16M")),
        "{seen:?}"
    );
    // The write-ahead log is not limited.
    let (data, wal) = (bytes(&lab.old()), bytes(&lab.old().join("pg_wal")));
    let least = Duration::from_secs_f64((data - wal) as f64 / f64::from(16 << 20) * 0.8);
    assert!(took >= least, "{} MB in {took:?}, {least:?} at that rate", (data - wal) >> 20);
    let archived = fs::read_to_string(outside.path().join("archived")).unwrap_or_default();
    let live = lab.old().display().to_string();
    assert!(archived.lines().all(|folder| folder == live), "{archived}");
    assert!(seen.iter().any(|title| title.contains("checkpointer")), "the copy was seen at work: {seen:?}");
    for worker in ["autoprewarm", "logical replication", "archiver", "walreceiver"] {
        assert!(!seen.iter().any(|title| title.contains(worker)), "{worker}: {seen:?}");
    }
    assert!(!stage(&lab).exists() && !lab.work().exists() && !lab.new_data().exists());
    let left: Vec<_> =
        fs::read_dir(&lab.base).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 1, "{left:?}");

    // Both bounds are there, and the upgrade itself passes as it was rehearsed.
    let told: Value = ended.json();
    let bound = |name: &str| told["outage_ms"][name].as_u64().unwrap_or_else(|| panic!("{told}"));
    assert!(bound("shortest") > 0 && bound("longest") <= 2 * bound("shortest"), "{told}");
    let steps: Vec<&str> =
        told["steps"].as_array().expect("steps").iter().filter_map(|step| step["step"].as_str()).collect();
    session.query("INSERT INTO news VALUES (1)").expect("a row");
    until("the subscription goes on", || lab.ask("app", "SELECT count(*) FROM news") == "1");
    let record = lab.run(&["run", "--stop", "--json"]).expect(0).json();
    let done: Vec<&str> = record["history"]
        .as_array()
        .expect("steps")
        .iter()
        .filter_map(|step| step["step"].as_str())
        .collect();
    assert_eq!(steps, done);
    println!("rehearsed {} to {} ms, then {} ms", bound("shortest"), bound("longest"), record["downtime_ms"]);
}

#[test]
fn what_only_a_real_run_shows_is_found_while_everything_serves() {
    let lab = Lab::new(&ClusterOptions::new("15", "18"));
    lab.start_old();
    fill(&lab);
    // `pg_upgrade --check` passes; the column is gone from 17 on, so that restoring the view fails.
    feed(&lab, "app", "CREATE VIEW shop.w AS SELECT checkpoints_timed FROM pg_catalog.pg_stat_bgwriter;");
    let started = lab.ask("postgres", "SELECT pg_postmaster_start_time()");
    let ended = lab.run(&["rehearse", "--runs", "1"]).expect(1);
    ended.says("checkpoints_timed");
    ended.says("the running server was only read from");
    assert!(!stage(&lab).exists() && !lab.work().exists() && !lab.new_data().exists());
    assert_eq!(lab.ask("postgres", "SELECT pg_postmaster_start_time()"), started);
    lab.ask("app", "DROP VIEW shop.w");
    lab.run(&["rehearse", "--runs", "1"]).expect(0);
}

/// Tablespaces and a write-ahead log on a volume of its own are copied, and nothing is written where they are.
#[test]
fn tablespaces_and_a_log_elsewhere_are_left_alone() {
    let lab = Lab::new(&ClusterOptions::new("17", "18"));
    let wal = lab.socket_folder().join("wal-17");
    assert!(Command::new("mv").arg(lab.old().join("pg_wal")).arg(&wal).status().expect("it runs").success());
    std::os::unix::fs::symlink(&wal, lab.old().join("pg_wal")).expect("a link");
    let space = lab.socket_folder().join("space = 1");
    fs::create_dir(&space).expect("a folder");
    own(&space);
    lab.start_old();
    feed(
        &lab,
        "postgres",
        &format!(
            "CREATE TABLESPACE space LOCATION '{}'; CREATE TABLE there (a) TABLESPACE space AS SELECT 1;",
            space.display()
        ),
    );
    let new = lab.socket_folder().join("wal-18");
    let before = lab.dump();
    // The second run begins without what the first has made in the tablespace and beside it.
    let rehearsed = lab.run(&["rehearse", "--json", "--runs", "2", "--waldir", &new.display().to_string()]);
    let told = rehearsed.expect(0).json();
    assert!(told["outage_ms"]["longest"].as_u64().is_some_and(|longest| longest > 0), "{told}");
    assert!(!stage(&lab).exists() && !new.exists());
    let versions: Vec<_> =
        fs::read_dir(&space).expect("a folder").flatten().map(|one| one.file_name()).collect();
    assert!(matches!(&versions[..], [one] if one.to_string_lossy().starts_with("PG_17_")), "{versions:?}");
    assert_eq!(fs::read_link(lab.old().join("pg_wal")).expect("a link"), wal);
    assert_eq!(lab.dump(), before);
    // The upgrade itself puts the log where it is to be.
    lab.run(&["run", "--stop", "--json", "--waldir", &new.display().to_string()]).expect(0);
    assert_eq!(fs::read_link(lab.new_data().join("pg_wal")).expect("a link"), new);
    assert_eq!(lab.ask("postgres", "SELECT a FROM there"), "1");
}

#[test]
fn a_rehearsal_that_is_killed_is_cleared_by_the_next() {
    let lab = Lab::new(&ClusterOptions::new("17", "18"));
    lab.start_old();
    fill(&lab);
    let mut child = lab.program(&["rehearse", "--json"]).spawn().expect("it runs");
    until("it works on the copy", || stage(&lab).join("upgrade-17-18/journal.json").exists());
    child.kill().expect("it is killed");
    child.wait().expect("it ends");
    assert!(stage(&lab).exists());
    let started = lab.ask("postgres", "SELECT pg_postmaster_start_time()");
    lab.run(&["rehearse", "--runs", "1"]).expect(0).says("Expected outage:");
    assert!(!stage(&lab).exists());
    assert_eq!(lab.ask("postgres", "SELECT pg_postmaster_start_time()"), started);
    // Only a running server is rehearsed.
    lab.stop_old();
    lab.run(&["rehearse"]).expect(1).says("does not run");
    assert!(!stage(&lab).exists());
}

#[test]
fn room_is_asked_for_first_and_another_folder_can_be_named() {
    if !testkit::needs_root("upgrade-pg-cluster: room_is_asked_for_first_and_another_folder_can_be_named") {
        return;
    }
    let mounted = LoopMount::memory(300);
    own(&mounted.path);
    let lab = Lab::within(&ClusterOptions::new("17", "18"), &mounted.path);
    lab.start_old();
    let refused = lab.run(&["rehearse"]);
    assert_eq!(refused.code, Some(1), "{}\n{}", refused.out, refused.err);
    refused.says("the rehearsal needs");
    refused.says("--at");
    let elsewhere = crate::lab::folder();
    let at = elsewhere.path().display().to_string();
    lab.run(&["rehearse", "--at", &at, "--max-rate", "64M", "--runs", "1"])
        .expect(0)
        .says("Expected outage:");
    assert!(fs::read_dir(Path::new(&at)).expect("a folder").next().is_none());
    drop(lab);
    drop(mounted);
}
