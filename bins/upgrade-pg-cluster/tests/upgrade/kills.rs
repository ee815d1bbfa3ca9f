//! The program killed by kill -9: as each step begins and in the middle of the long ones, then resumed, then rolled back.

use crate::lab::{ClusterOptions, Lab, ProgramOutput, as_account, feed, fill, same, state, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const STEPS: [&str; 14] = [
    "discover",
    "preflight",
    "prepare",
    "check",
    "backup",
    "quiesce",
    "transfer",
    "verify",
    "reindex",
    "carry",
    "commit",
    "start",
    "statistics",
    "extensions",
];

/// The program under strace, which holds it for a moment after each rename. The journal is written by renames, so no
/// state is too short to be seen.
fn held(lab: &Lab, args: &[&str]) -> Child {
    assert!(Path::new("/usr/bin/strace").exists(), "strace is not there: run `cargo xtask tools` first");
    let mut command = as_account(Path::new("/usr/bin/strace"));
    command.args(["-qq", "-o", "/dev/null", "-e", "trace=rename,renameat,renameat2"]);
    command.args(["-e", "inject=rename,renameat,renameat2:delay_exit=150000"]);
    command.arg(crate::lab::program());
    lab.arguments(&mut command, args);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("strace runs")
}

/// The process that strace has started.
fn traced(strace: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// A shell that waits for the process to kill. Starting one only then takes longer than a state may last on a busy machine.
struct Killer(Child);

impl Killer {
    fn new() -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "read pid && kill -9 \"$pid\""]).stdin(Stdio::piped());
        Self(command.spawn().expect("a shell"))
    }

    fn kill(mut self, pid: u32) {
        let mut stdin = self.0.stdin.take().expect("it is piped");
        writeln!(stdin, "{pid}").expect("it waits");
        assert!(self.0.wait().expect("it ends").success());
    }
}

/// Kills a process.
fn kill(pid: u32) {
    Killer::new().kill(pid);
}

/// Runs the program until a step has begun, waits, and kills it. What the program had started goes on without it.
/// Returns false if the program ended before.
fn killed_at(lab: &Lab, step: &str, wait: Duration, args: &[&str]) -> bool {
    let wanted = format!("running {step}");
    // A journal of an earlier run may say the same.
    let began = |journal: &Value| {
        journal["history"].as_array().map_or(0, |list| list.iter().filter(|e| e["step"] == step).count())
    };
    let before = began(&lab.journal());
    let killer = Killer::new();
    let mut child = held(lab, args);
    let started = Instant::now();
    loop {
        let journal = lab.journal();
        if state(&journal) == wanted && began(&journal) > before {
            std::thread::sleep(wait);
            let program = traced(child.id());
            if let Some(program) = program {
                killer.kill(program);
            }
            let _ = child.wait();
            return program.is_some();
        }
        if child.try_wait().expect("it can be asked").is_some() {
            return false;
        }
        assert!(started.elapsed() < Duration::from_secs(180), "{step} does not begin: {}", lab.journal());
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn filled(from: &str, to: &str) -> (Lab, String) {
    let lab = Lab::new(&ClusterOptions::new(from, to));
    lab.start_old();
    fill(&lab);
    let dump = lab.dump();
    (lab, dump)
}

/// Killed as every step begins, each time going on from there; and again in the middle of those that take time.
#[test]
fn killed_at_every_step_it_goes_on_to_its_end() {
    let (lab, before) = filled("17", "18");
    let args = ["--stop", "--json"];
    let mut killed = BTreeSet::new();
    for step in STEPS {
        if killed_at(&lab, step, Duration::ZERO, &args) {
            killed.insert(step);
            assert_eq!(lab.state(), format!("running {step}"));
        }
        let middle = match step {
            "backup" | "prepare" | "check" | "verify" | "statistics" => 150,
            "transfer" => 1_000,
            _ => continue,
        };
        killed_at(&lab, step, Duration::from_millis(middle), &args);
    }
    assert_eq!(killed.into_iter().collect::<Vec<_>>().len(), STEPS.len(), "{}", lab.journal());
    assert_eq!(lab.run(&args).expect(0).json()["outcome"], "done");
    same(&before, &lab.dump());
    assert!(lab.old().join("PG_VERSION").exists() && !lab.staging().exists());
    // Nothing of the killed runs is left: no program, no private server.
    let id = lab.journal()["id"].as_str().expect("an id").to_owned();
    assert_eq!(marked(&id), 0);
}

fn marked(id: &str) -> usize {
    let mark = format!("UPGRADE_PG_CLUSTER_ID={id}");
    let processes = std::fs::read_dir("/proc").expect("Linux").filter_map(Result::ok);
    let environments = processes.filter_map(|entry| std::fs::read(entry.path().join("environ")).ok());
    environments
        .filter(|environment| environment.split(|byte| *byte == 0).any(|one| one == mark.as_bytes()))
        .count()
}

/// A process of the private server that is left without its postmaster, and cannot end by itself, does not stop the next
/// run.
#[test]
fn what_a_killed_postmaster_leaves_behind_is_ended() {
    let (lab, _) = filled("17", "18");
    // The new cluster recovers from a crash, after which an unlogged table is empty.
    feed(&lab, "app", "TRUNCATE shop.u");
    let before = lab.dump();
    let args = ["--stop", "--json", "--backup-exists", "the test keeps a dump"];
    let mut program = held(&lab, &args);
    let postmaster = || {
        let file = std::fs::read_to_string(lab.staging().join("postmaster.pid")).ok()?;
        file.lines().next()?.parse::<u32>().ok().filter(|_| lab.state() == "running verify")
    };
    let orphan = || {
        let postmaster = postmaster()?;
        let children =
            std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).ok()?;
        let title = |pid: &&str| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let pid =
            children.split_whitespace().find(|pid| title(pid).starts_with(b"postgres: checkpointer"))?;
        Some((postmaster, pid.to_owned()))
    };
    let mut found = None;
    until("the private server runs", || {
        found = orphan();
        found.is_some()
    });
    let (postmaster, orphan) = found.expect("it runs");
    // A stopped process neither notices the end of its postmaster nor handles a signal but SIGKILL.
    crate::lab::succeed(Command::new("kill").args(["-STOP", &orphan]));
    traced(program.id()).into_iter().for_each(kill);
    let _ = program.wait();
    kill(postmaster);
    let began = Instant::now();
    let ended = lab.run(&args);
    // Whoever inherited the process may not have looked at its end yet.
    let status = std::fs::read_to_string(format!("/proc/{orphan}/status")).unwrap_or_default();
    if !status.is_empty() && !status.contains("State:\tZ") {
        kill(orphan.parse().expect("a number"));
        panic!("process {orphan} is still there: {}", ended.out);
    }
    assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
    assert_eq!(ended.expect(0).json()["outcome"], "done");
    same(&before, &lab.dump());
}

/// Killed at each step before the switch and rolled back: the old server runs again with what it had, and there is no
/// trace of the new one.
#[test]
fn killed_at_every_step_it_can_be_rolled_back() {
    let (lab, before) = filled("17", "18");
    // One after another on the same cluster; the backup is made anew each time.
    for (step, wait) in [
        ("prepare", 200),
        ("check", 100),
        ("backup", 100),
        ("quiesce", 0),
        ("transfer", 700),
        ("verify", 100),
        ("reindex", 0),
        ("carry", 0),
        ("commit", 0),
    ] {
        let args = ["--stop", "--json", "--backup-exists", "the test keeps a dump"];
        let args = if step == "backup" { &args[..2] } else { &args[..] };
        assert!(!lab.backup().exists(), "a backup that was cut short is removed");
        assert!(killed_at(&lab, step, Duration::from_millis(wait), args), "{step}: {}", lab.journal());
        let ended = lab.run(&["--rollback", "--json"]);
        if step == "commit" && ended.code == Some(1) {
            // The kill came after the rename.
            ended.says("the switch to the new cluster has happened");
            assert!(lab.new_data().join("PG_VERSION").exists());
            lab.run(args).expect(0);
        } else {
            ended.expect(0);
            assert_eq!(lab.state(), "undone");
            assert!(!lab.staging().exists() && !lab.new_data().exists(), "{step}");
        }
        same(&before, &lab.dump());
    }
}

/// In the modes that cost the old cluster, the way back is the backup, which has the last write.
#[test]
fn swapping_cut_short_is_undone_from_the_backup() {
    let lab = Lab::new(&ClusterOptions::new("17", "18"));
    lab.start_old();
    fill(&lab);
    // No base backup has the rows of an unlogged table, which the preflight says.
    lab.run(&["plan", "--stop", "--mode", "swap"]).expect(0).says("unlogged tables");
    feed(&lab, "app", "TRUNCATE shop.u");
    let place = lab.socket_folder().join("space");
    std::fs::create_dir(&place).expect("a folder");
    crate::lab::own(&place);
    feed(
        &lab,
        "postgres",
        &format!(
            "CREATE TABLESPACE space LOCATION '{}';\n\\connect app\nCREATE TABLE there (a) TABLESPACE space AS SELECT 1;",
            place.display()
        ),
    );
    let before = lab.dump();
    let args = ["--stop", "--json", "--mode", "swap"];
    let mut child = held(&lab, &args);
    // As soon as the control file is aside, files are on their way.
    until("swapping", || lab.old().join("global/pg_control.old").exists());
    traced(child.id()).into_iter().for_each(kill);
    let _ = child.wait();
    assert_eq!(lab.state(), "running transfer");
    let ended = lab.run(&args).expect(1);
    ended.says("`rollback` restores the old one from the backup");
    lab.run(&["--rollback", "--json"]).expect(0);
    assert!(lab.live(&lab.old()), "it ran when the upgrade began");
    same(&before, &lab.dump());
    assert!(!lab.staging().exists());
    // And it can be upgraded after all; the backup that was put back is kept.
    lab.run(&["--stop", "--json", "--mode", "copy"]).expect(0);
    assert!(lab.backup().exists() && lab.base.join("backup-17-before-18-2").exists());
    same(&before, &lab.dump());
}

/// Linking is undone by giving the control file its name back, as long as the new server has not run.
#[test]
fn linking_cut_short_is_undone_and_done_again() {
    let (lab, before) = filled("17", "18");
    let args = ["--stop", "--json", "--mode", "link"];
    let mut child = held(&lab, &args);
    until("linking", || lab.old().join("global/pg_control.old").exists());
    traced(child.id()).into_iter().for_each(kill);
    let _ = child.wait();
    // pg_upgrade itself goes on until the next run ends it.
    lab.run(&["--rollback", "--json"]).expect(0);
    same(&before, &lab.dump());
    let ended = killed_at(&lab, "verify", Duration::from_millis(300), &args);
    assert!(ended, "{}", lab.journal());
    // Now the new server has run: only the backup leads back, and a resumed run leads on.
    let status: ProgramOutput = lab.run(&["status", "--json"]);
    assert_eq!(status.json()["rollback"]["possible"], true, "there is a backup: {}", status.out);
    lab.run(&args).expect(0);
    same(&before, &lab.dump());
}

/// Somebody starts the old server between two runs and writes to it: that is not lost.
#[test]
fn what_the_old_server_wrote_meanwhile_is_transferred() {
    let (lab, _) = filled("17", "18");
    lab.run(&["--stop", "--json", "--until", "verify"]).expect(0);
    assert_eq!(lab.state(), "ready reindex");
    lab.start_old();
    feed(
        &lab,
        "app",
        "INSERT INTO shop.orders (name, amount) VALUES ('meanwhile', 1); CREATE TABLE meanwhile (x int);",
    );
    let before = lab.dump();
    // Stopped again or not, it is seen.
    lab.stop_old();
    let ended = lab.run(&["--stop"]).expect(0);
    ended.says("the old server was started meanwhile");
    same(&before, &lab.dump());
    assert_eq!(lab.ask("app", "SELECT count(*) FROM shop.orders WHERE name = 'meanwhile'"), "1");
}
