//! Overhead of the program over bare `pg_upgrade` with the same data: `cargo bench -p upgrade-pg-cluster`.
//!
//! The bare commands are those of PostgreSQL's manual, without pauses: initdb, pg_upgrade --check, pg_upgrade, start,
//! vacuumdb as pg_upgrade recommends. The program runs the same commands, and its preflight, inventory, comparison and
//! journal. Both make no backup, and start with a copy of the same stopped cluster, with cold caches if root can drop
//! them. `SIZE` is the scale of pgbench (15 MB each), `ROUNDS` the number of rounds; the best of each are compared,
//! since other load only adds time.

#[path = "../tests/upgrade/lab/mod.rs"]
mod lab;

use lab::{ClusterOptions, Lab, as_account, succeed};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Returns the number in an environment variable, or `default` if it is unset or not a number.
fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() {
    let (scale, rounds) = (number("SIZE", 70), number("ROUNDS", 3));
    let folder = tempfile::Builder::new().prefix("overhead-").tempdir_in("/tmp").expect("a folder");
    lab::own(folder.path());
    let lab = Lab::within(&ClusterOptions::new("17", "18"), folder.path());
    lab.start_old();
    let mut pgbench = as_account(&lab.old_bin.join("pgbench"));
    pgbench.args(["-q", "-i", "-s", &scale.to_string(), "-h"]).arg(lab.socket_folder());
    pgbench.args(["-p", &lab.port.to_string(), "-U", "postgres", "postgres"]);
    succeed(&mut pgbench);
    lab.stop_old();
    let size = succeed(Command::new("du").arg("-sm").arg(lab.old()));
    println!(
        "cluster of {} MB",
        String::from_utf8_lossy(&size.stdout).split_whitespace().next().unwrap_or("?")
    );
    let master = folder.path().join("master");
    fs::rename(lab.old(), &master).expect("a rename");

    let (mut bare, mut short, mut whole, mut steps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        let program = || {
            fresh(&lab, &master);
            let began = Instant::now();
            let ended =
                lab.run(&["--json", "--mode", "copy", "--jobs", "1", "--backup-exists", "a copy of it"]);
            let took = began.elapsed();
            lab.pg_ctl(&lab.new_bin, &lab.new_data(), &["stop", "-w", "-m", "fast"]);
            (took, ended.expect(0).json())
        };
        let by_hand = || {
            fresh(&lab, &master);
            by_hand(&lab)
        };
        // The order alternates, so that neither side has a quieter disk.
        let ((took, record), (all, without)) = if round % 2 == 0 {
            let first = program();
            (first, by_hand())
        } else {
            let first = by_hand();
            (program(), first)
        };
        println!(
            "round {round}: by hand {:.2} s, the program {:.2} s",
            all.as_secs_f64(),
            took.as_secs_f64()
        );
        bare.push(all);
        short.push(without);
        whole.push(took);
        steps.push(record);
    }
    let (bare, short, whole) = (best(bare), best(short), best(whole));
    println!("by hand, as the manual says     {:.2} s", bare.as_secs_f64());
    println!("by hand, initdb and pg_upgrade  {:.2} s", short.as_secs_f64());
    println!("the program, without a backup   {:.2} s", whole.as_secs_f64());
    println!(
        "against the manual              {:+.1} %",
        (whole.as_secs_f64() / bare.as_secs_f64() - 1.0) * 100.0
    );
    let to_switch = |record: &serde_json::Value| -> u64 {
        // From the beginning of the run to the end of the switch, when the new cluster is ready, as after pg_upgrade.
        let entries = record["history"].as_array().expect("a list");
        let commit = entries.iter().rfind(|entry| entry["step"] == "commit").expect("it was taken");
        commit["ended"].as_u64().expect("a time") - entries[0]["began"].as_u64().expect("a time")
    };
    let ready = best(steps.iter().map(|record| Duration::from_millis(to_switch(record))).collect());
    println!("the program, to the switch      {:.2} s", ready.as_secs_f64());
    println!(
        "against initdb and pg_upgrade   {:+.1} %",
        (ready.as_secs_f64() / short.as_secs_f64() - 1.0) * 100.0
    );
    println!("the last round's steps");
    for entry in steps.last().and_then(|record| record["history"].as_array()).into_iter().flatten() {
        let time = |name: &str| entry[name].as_u64().unwrap_or(0);
        println!("  {:<11} {:>6} ms", entry["step"].as_str().unwrap_or(""), time("ended") - time("began"));
    }
}

/// Replaces the directories of the old cluster, the new one and the upgrade by a fresh copy of the old cluster,
/// `master`, and drops the kernel's caches if permitted.
fn fresh(lab: &Lab, master: &Path) {
    for path in [lab.old(), lab.new_data(), lab.work()] {
        let _ = fs::remove_dir_all(path);
    }
    succeed(Command::new("cp").args(["-a", "--reflink=never"]).arg(master).arg(lab.old()));
    succeed(&mut Command::new("sync"));
    // Only root may drop the caches; both sides have the same conditions.
    let _ = fs::write("/proc/sys/vm/drop_caches", "3");
}

/// Runs the commands of the manual, from initdb to vacuumdb, and stops the new server. Returns their total time without
/// the stop, and the time of initdb and pg_upgrade (without its check) alone.
fn by_hand(lab: &Lab) -> (Duration, Duration) {
    let began = Instant::now();
    let mut initdb = as_account(&lab.new_bin.join("initdb"));
    initdb.env("LC_ALL", "C").arg("-D").arg(lab.new_data()).args(["-U", "postgres", "-A", "trust"]);
    succeed(initdb.args(["--no-instructions", "--no-data-checksums", "--encoding=UTF8", "--locale=C"]));
    let mut alone = began.elapsed();
    let upgrade = |check: bool| {
        let began = Instant::now();
        let mut upgrade = as_account(&lab.new_bin.join("pg_upgrade"));
        upgrade.current_dir(lab.socket_folder()).arg("-b").arg(&lab.old_bin).arg("-B").arg(&lab.new_bin);
        upgrade.arg("-d").arg(lab.old()).arg("-D").arg(lab.new_data()).args(["-U", "postgres", "-s"]);
        upgrade.arg(lab.socket_folder());
        if check {
            upgrade.arg("--check");
        }
        succeed(&mut upgrade);
        began.elapsed()
    };
    upgrade(true);
    alone += upgrade(false);
    // As an operator would carry it over.
    fs::copy(lab.old().join("postgresql.conf"), lab.new_data().join("postgresql.conf")).expect("a copy");
    lab.start_new();
    for round in [&["--analyze-in-stages", "--missing-stats-only"][..], &["--analyze-only"]] {
        let mut vacuumdb = as_account(&lab.new_bin.join("vacuumdb"));
        vacuumdb.args(["--all", "-h"]).arg(lab.socket_folder()).args([
            "-p",
            &lab.port.to_string(),
            "-U",
            "postgres",
        ]);
        succeed(vacuumdb.args(round).stdout(Stdio::null()));
    }
    let all = began.elapsed();
    lab.pg_ctl(&lab.new_bin, &lab.new_data(), &["stop", "-w", "-m", "fast"]);
    (all, alone)
}

/// Returns the shortest duration, since other load only adds time. 0 for an empty list.
fn best(all: Vec<Duration>) -> Duration {
    all.into_iter().min().unwrap_or_default()
}
